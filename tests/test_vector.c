/* The inner loops of the native kernels, on every instruction set that this processor has: the
 * kernels themselves only use the best one. */
#include "backends/native/vector/vector.h"
#include "ops/descriptors.h"
#include "tests/support/kernels.h"
#include "tests/support/runner.h"
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N_MOST = 3000 };

static uint32_t next_bits(uint32_t *seed) /* xorshift32, Marsaglia 2003 */
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static double draw(uint32_t *seed, double low, double high)
{
    return low + (high - low) * (next_bits(seed) >> 8) * 0x1p-24;
}

/* An array of floats or doubles, whichever is looked at. */
typedef struct numbers {
    float f32[N_MOST];
    double f64[N_MOST];
} numbers;

static void fill(numbers *x, int64_t n, double low, double high, uint32_t *seed)
{
    REQUIRE(n <= N_MOST, "too many numbers");
    for (int64_t i = 0; i < n; i++)
        x->f64[i] = x->f32[i] = (float)draw(seed, low, high);
}

static bool is_near(double got, double expected, double scale, double tolerance)
{
    return isnan(expected) ? isnan(got)
                           : got == expected || fabs(got - expected) <= tolerance * scale;
}

static const double tolerances[2] = { 2e-6, 1e-14 }; /* F32, F64 */

/* ---- element-wise maps: all rows, lengths around whole vectors ---- */

static void check_map(const ebb_vector_isa *isa, const ebb_map_row *row, ebb_dtype dtype, int64_t n)
{
    ebb_tensor inputs[2], expected, result;
    ebb_error error = { 0 };
    ebb_type type;
    uint32_t seed = (uint32_t)n + 7;
    const union {
        char bytes[256];
        max_align_t align;
    } zero = { { 0 } };
    for (int i = 0; i < row->op->n_inputs; i++) {
        REQUIRE(!ebb_tensor_init(&inputs[i], ebb_type_of(dtype, EBB_SHAPE(n)), NULL), "memory");
        for (int64_t j = 0; j < n; j++)
            ebb_tensor_set(&inputs[i], j,
                           dtype == EBB_BOOL ? next_bits(&seed) & 1 : draw(&seed, -3, 3));
    }
    if (!infer_results(row->op, zero.bytes, inputs, row->op->n_inputs, &type, &error)) {
        REQUIRE(!ebb_tensor_init(&expected, type, NULL), "memory");
        REQUIRE(!ebb_tensor_init(&result, type, NULL), "memory");
        ebb_eval eval = { row->op, zero.bytes, row->op->n_inputs, 1, inputs, &expected, &error };
        REQUIRE(!row->op->eval(&eval), "%s: %s", row->op->name, error.message);
        const void *data[3] = { inputs[0].data, NULL, NULL };
        if (row->op->n_inputs == 2)
            data[1] = inputs[1].data;
        data[row->op->n_inputs] = zero.bytes;
        row->maps[dtype](n, result.data, data);
        for (int64_t j = 0; j < n; j++) {
            double x = ebb_tensor_get(&result, j), y = ebb_tensor_get(&expected, j);
            bool is_exact = !ebb_dtype_is_float(type.dtype);
            double scale = is_exact ? 0 : fmax(fabs(y), 1e-3);
            REQUIRE(is_near(x, y, scale, tolerances[dtype == EBB_F64]),
                    "%s: %s of %s: element %lld of %lld is %.17g, not %.17g", isa->name,
                    row->op->name, ebb_dtype_name(dtype), (long long)j, (long long)n, x, y);
        }
        ebb_tensor_finish(&expected);
        ebb_tensor_finish(&result);
    }
    for (int i = 0; i < row->op->n_inputs; i++)
        ebb_tensor_finish(&inputs[i]);
}

START_TEST(test_maps)
{
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    static const int64_t lengths[] = { 1, 7, 16, 33, 64, 127, 200 };
    if (!isa)
        SKIP_TEST("this processor has no instruction set %d", _i);
    for (int r = 0; r < isa->map->n_rows; r++)
        for (int dtype = EBB_F64; dtype < EBB_N_DTYPES; dtype++)
            for (int i = 0; i < 7 && isa->map->rows[r].maps[dtype]; i++)
                check_map(isa, &isa->map->rows[r], (ebb_dtype)dtype, lengths[i]);
}
END_TEST

/* pow and mod of F32 have loops for stretches of plain arguments: the same bits as beside others,
 * few units in the last place, and mod exact as fmodf is. */
START_TEST(test_guarded_maps)
{
    enum { N = 2000 };
    static float a[N], b[N], plain[N], mixed[N];
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    const void *inputs[3] = { a, b, NULL };
    uint32_t seed = 3;
    if (!isa)
        SKIP_TEST("this processor has no instruction set %d", _i);
    for (int r = 0; r < isa->map->n_rows; r++) {
        const ebb_map_row *row = &isa->map->rows[r];
        const bool is_pow = row->op == &ebb_op_pow;
        if (!is_pow && row->op != &ebb_op_mod)
            continue;
        for (int i = 0; i < N; i++) {
            a[i] = (float)exp(draw(&seed, -30, 30));
            b[i] = i % 100 == 7 ? 0 : (float)draw(&seed, -3, 3);
            if (is_pow && i % 3 == 0) {
                a[i] = (float)draw(&seed, 0.7, 1.5);
                b[i] = (float)draw(&seed, -150, 150);
            }
            if (!is_pow) {
                a[i] = i % 2 ? a[i] : -a[i];
                b[i] *= fmaxf(1, fabsf(a[i]) * 0x1p-20f);
            }
        }
        row->maps[EBB_F32](N, plain, inputs);
        for (int i = 0; i < N; i++) {
            const float rest = fmodf(a[i], b[i]);
            const double expected = is_pow                     ? pow(a[i], b[i])
                                    : rest == 0                ? 0
                                    : (rest < 0) != (b[i] < 0) ? (double)(rest + b[i])
                                                               : (double)rest;
            REQUIRE(is_near(plain[i], expected, fabs(expected), is_pow ? 4e-7 : 0),
                    "%s: %s(%.9g, %.9g) is %.9g, not %.9g", isa->name, row->op->name, (double)a[i],
                    (double)b[i], (double)plain[i], expected);
        }
        for (int i = 0; i < N; i += 50)
            a[i] = NAN;
        row->maps[EBB_F32](N, mixed, inputs);
        for (int i = 0; i < N; i++)
            if (i % 50 != 0)
                ck_assert(memcmp(&plain[i], &mixed[i], sizeof *plain) == 0);
    }
}
END_TEST

/* atan2 of F32: few units in the last place in all quadrants, signs and special values as C has
 * them.
 */
START_TEST(test_atan2)
{
    static const float special[] = { 0,       -0.0F,    1,       -1,     INFINITY, -INFINITY,
                                     FLT_MAX, -FLT_MAX, FLT_MIN, 1e-45F, -1e-45F,  NAN };
    enum { N_SPECIAL = sizeof special / sizeof *special, N = N_SPECIAL * N_SPECIAL + 4000 };
    static float y[N], x[N], result[N];
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    const void *inputs[3] = { y, x, NULL };
    uint32_t seed = 5;
    if (!isa)
        SKIP_TEST("this processor has no instruction set %d", _i);
    for (int i = 0; i < N; i++) {
        const float sizes[2] = { (float)exp(draw(&seed, -20, 20)),
                                 (float)exp(draw(&seed, -20, 20)) };
        y[i] = i < N_SPECIAL * N_SPECIAL ? special[i / N_SPECIAL] : i % 2 ? sizes[0] : -sizes[0];
        x[i] = i < N_SPECIAL * N_SPECIAL ? special[i % N_SPECIAL] : i & 2 ? sizes[1] : -sizes[1];
    }
    for (int r = 0; r < isa->map->n_rows; r++) {
        if (isa->map->rows[r].op != &ebb_op_atan2)
            continue;
        isa->map->rows[r].maps[EBB_F32](N, result, inputs);
        for (int i = 0; i < N; i++) {
            const double expected = atan2((double)y[i], (double)x[i]);
            REQUIRE(isnan(expected)
                        ? isnan(result[i]) != 0
                        : fabs((double)result[i] - expected) <= 4e-7 * fabs(expected) + 1e-44 &&
                              (!signbit(result[i]) == !signbit(expected)),
                    "%s: atan2(%.9g, %.9g) is %.9g, not %.9g", isa->name, (double)y[i],
                    (double)x[i], (double)result[i], expected);
        }
    }
}
END_TEST

/* ---- products: all strides of a, all sizes of blocks, the rest apart or not ---- */

typedef struct product_case {
    int64_t m, n, k;
    bool is_transposed, accumulate;
} product_case;

typedef enum product_way { WHOLE, REST_APART, FEW_ROWS } product_way;

static void check_product(const ebb_vector_isa *isa, const product_case *c, bool is_f64,
                          product_way way)
{
    static numbers a, b, to;
    const ebb_product_table *table = is_f64 ? isa->product_f64 : isa->product_f32;
    const int64_t c_m = c->n + 3, b_k = c->n + 1;
    uint32_t seed = (uint32_t)(c->m * 100 + c->n);
    fill(&a, c->m * c->k, -1, 1, &seed);
    fill(&b, c->k * b_k, -1, 1, &seed);
    fill(&to, c->m * c_m, -1, 1, &seed);
    const numbers before = to;
    ebb_product product = { .m = c->m,
                            .n = c->n,
                            .k = c->k,
                            .a = is_f64 ? (const void *)a.f64 : a.f32,
                            .a_m = c->is_transposed ? 1 : c->k,
                            .a_k = c->is_transposed ? c->m : 1,
                            .b = is_f64 ? (const void *)b.f64 : b.f32,
                            .b_k = b_k,
                            .c = is_f64 ? (void *)to.f64 : to.f32,
                            .c_m = c_m,
                            .accumulate = c->accumulate,
                            .rest_apart = way == REST_APART };
    (way == FEW_ROWS ? table->multiply_few : table->multiply)(&product);
    for (int64_t i = 0; i < c->m; i++)
        for (int64_t j = 0; j < c_m; j++) {
            int64_t at = i * c_m + j;
            double sum = c->accumulate || j >= c->n ? before.f64[at] : 0;
            for (int64_t l = 0; l < c->k && j < c->n; l++)
                sum += a.f64[i * product.a_m + l * product.a_k] * b.f64[l * b_k + j];
            double got = is_f64 ? to.f64[at] : (double)to.f32[at];
            REQUIRE(is_near(got, sum, j < c->n ? 1 + sqrt((double)c->k) : 0, tolerances[is_f64]),
                    "%s: [%lld,%lld,%lld]%s%s f%d: element %lld, %lld is %.17g, not %.17g",
                    isa->name, (long long)c->m, (long long)c->n, (long long)c->k,
                    c->is_transposed ? " transposed" : "",
                    way == REST_APART ? " apart" : (way == FEW_ROWS ? " few" : ""),
                    is_f64 ? 64 : 32, (long long)i, (long long)j, got, sum);
        }
}

START_TEST(test_products)
{
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    static const int64_t ms[] = { 1, 2, 3, 5, 8, 13, 21, 35 }, ks[] = { 0, 1, 17, 40 };
    static const int64_t ns[] = { 1, 2, 3, 4, 5, 8, 11, 16, 17, 20, 31, 33, 48, 50, 64, 65, 70 };
    if (!isa)
        SKIP_TEST("this processor has no instruction set %d", _i);
    for (size_t i = 0; i < sizeof ms / sizeof *ms; i++)
        for (size_t j = 0; j < sizeof ns / sizeof *ns; j++)
            for (size_t l = 0; l < sizeof ks / sizeof *ks; l++)
                for (int flags = 0; flags < 8; flags++) {
                    const product_case c = { ms[i], ns[j], ks[l], flags & 1, flags & 2 };
                    const bool is_f64 = flags & 4;
                    const ebb_product_table *table = is_f64 ? isa->product_f64 : isa->product_f32;
                    const int64_t n_rest = c.n % table->lanes;
                    if (c.k * (c.n + 1) > N_MOST || c.m * (c.n + 3) > N_MOST)
                        continue;
                    check_product(isa, &c, is_f64, WHOLE);
                    if (c.m <= EBB_FEW_ROWS)
                        check_product(isa, &c, is_f64, FEW_ROWS);
                    if (c.k > 0 && n_rest > 0 && n_rest <= table->most_rest)
                        check_product(isa, &c, is_f64, REST_APART);
                }
    /* Deeper and longer than the pieces in which the rest is computed. */
    const product_case deep = { 3, 2, 900, false, false }, more = { 9, 3, 300, false, true };
    const product_case rows = { 300, 1, 9, false, true };
    const product_case few[] = { deep, more, rows };
    for (int i = 0; i < 6; i++)
        check_product(isa, &few[i / 2], i % 2, REST_APART);
    /* More columns than are summed at a time. */
    for (int64_t m = 1; m <= EBB_FEW_ROWS; m++)
        for (int is_f64 = 0; is_f64 < 2; is_f64++) {
            const product_case wide = { m, m == 1 ? 2500 : 2990 / m - 3, m == 1 ? 1 : m / 2, false,
                                        m % 2 };
            check_product(isa, &wide, is_f64, FEW_ROWS);
        }
}
END_TEST

/* ---- softmax ---- */

static void check_softmax(const ebb_vector_isa *isa, bool is_f64, int64_t n_rows, int64_t n_classes,
                          bool by_columns)
{
    static numbers x, plain, logs;
    const ebb_softmax_table *table = is_f64 ? isa->softmax_f64 : isa->softmax_f32;
    uint32_t seed = (uint32_t)(n_rows + 3 * n_classes);
    fill(&x, n_rows * n_classes, -9, 9, &seed);
    const void *data = is_f64 ? (const void *)x.f64 : x.f32;
    void *to = is_f64 ? (void *)plain.f64 : plain.f32,
         *log_to = is_f64 ? (void *)logs.f64 : logs.f32;
    static numbers streamed;
    const size_t n_bytes = (size_t)(n_rows * n_classes) * (is_f64 ? 8 : 4);
    const int64_t n_blocks = (n_rows + EBB_SOFTMAX_COLUMNS - 1) / EBB_SOFTMAX_COLUMNS;
    void *past = is_f64 ? (void *)(streamed.f64 + 3) : streamed.f32 + 3;
    for (int is_log = 0; is_log < 2; is_log++) {
        void *const here = is_log ? log_to : to;
        for (int is_past = 0; is_past < 2; is_past++) {
            void *const result = is_past ? past : here;
            const ebb_softmax_columns columns = { n_classes, n_rows, n_blocks, is_past };
            if (by_columns)
                (is_log ? table->log_columns : table->columns)(&columns, 0, n_blocks, data, result);
            else
                (is_log ? table->log_rows : table->rows)(n_rows, n_classes, data, result, is_past);
        }
        REQUIRE(memcmp(past, here, n_bytes) == 0, "%s: %s past the caches differs", isa->name,
                is_log ? "log_softmax" : "softmax");
    }
    const int64_t row_step = by_columns ? 1 : n_classes, step = by_columns ? n_rows : 1;
    for (int64_t i = 0; i < n_rows; i++) {
        double sum = 0;
        for (int64_t j = 0; j < n_classes; j++)
            sum += exp(x.f64[i * row_step + j * step]);
        const double log_sum = log(sum);
        for (int64_t j = 0; j < n_classes; j++) {
            int64_t at = i * row_step + j * step;
            double got = is_f64 ? plain.f64[at] : (double)plain.f32[at];
            double log_got = is_f64 ? logs.f64[at] : (double)logs.f32[at];
            REQUIRE(is_near(got, exp(x.f64[at]) / sum, 1, tolerances[is_f64]),
                    "%s: softmax %lld, %lld of [%lld,%lld] is %.17g", isa->name, (long long)i,
                    (long long)j, (long long)n_rows, (long long)n_classes, got);
            REQUIRE(is_near(log_got, x.f64[at] - log_sum, 20, tolerances[is_f64]),
                    "%s: log_softmax %lld, %lld of [%lld,%lld] is %.17g", isa->name, (long long)i,
                    (long long)j, (long long)n_rows, (long long)n_classes, log_got);
        }
    }
}

START_TEST(test_softmax)
{
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    static const int64_t classes[] = { 1, 2, 10, 16, 33, 64, 65, 100, 1025, 2500 };
    if (!isa)
        SKIP_TEST("this processor has no instruction set %d", _i);
    for (int is_f64 = 0; is_f64 < 2; is_f64++)
        for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
            for (int64_t n_rows = 1; n_rows <= 3 * EBB_SOFTMAX_COLUMNS; n_rows += 21)
                for (int by_columns = 0; by_columns < 2; by_columns++)
                    if (n_rows * classes[i] <= N_MOST - 3)
                        check_softmax(isa, is_f64, n_rows, classes[i], by_columns);
}
END_TEST

/* Rows with infinities and NaN; long rows, too. Row 0 has one -inf, which becomes 0; rows of -inf
 * alone, with +inf and with NaN become NaN. */
static void check_special_rows(const ebb_vector_isa *isa, int64_t n_classes, bool by_columns)
{
    enum { N_ROWS = 4, MOST_CLASSES = 9000 };
    static float x[N_ROWS * MOST_CLASSES], y[N_ROWS * MOST_CLASSES];
    const ebb_softmax_table *table = isa->softmax_f32;
    const ebb_softmax_columns columns = { n_classes, N_ROWS, 1, false };
    const int64_t row_step = by_columns ? 1 : n_classes, step = by_columns ? N_ROWS : 1;
    for (int64_t i = 0; i < N_ROWS; i++)
        for (int64_t j = 0; j < n_classes; j++)
            x[i * row_step + j * step] = i == 1 ? -INFINITY : (float)(j % 7) - 100 * (float)i;
    x[(n_classes - 1) * step] = -INFINITY;
    x[2 * row_step + n_classes / 2 * step] = INFINITY;
    x[3 * row_step + n_classes / 3 * step] = NAN;
    for (int is_log = 0; is_log < 2; is_log++) {
        if (by_columns)
            (is_log ? table->log_columns : table->columns)(&columns, 0, 1, x, y);
        else
            (is_log ? table->log_rows : table->rows)(N_ROWS, n_classes, x, y, false);
        for (int64_t i = 0; i < N_ROWS; i++)
            for (int64_t j = 0; j < n_classes; j++) {
                const float got = y[i * row_step + j * step];
                const bool is_last = j == n_classes - 1;
                REQUIRE(i > 0     ? isnan(got)
                        : is_last ? got == (is_log ? -INFINITY : 0)
                                  : isfinite(got) && (is_log || got > 0),
                        "%s: %ssoftmax of row %lld, class %lld of %lld is %g", isa->name,
                        is_log ? "log_" : "", (long long)i, (long long)j, (long long)n_classes,
                        (double)got);
            }
    }
    if (by_columns)
        return;
    float largest[N_ROWS], logs[N_ROWS];
    table->log_sum_rows(N_ROWS, n_classes, x, largest, logs);
    for (int64_t i = 0; i < N_ROWS; i++) /* of the loss of a label */
        REQUIRE((i == 0) == isfinite(largest[i] + logs[i] - x[i * n_classes]),
                "%s: log sum of row %lld of %lld", isa->name, (long long)i, (long long)n_classes);
}

START_TEST(test_softmax_special)
{
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    static const int64_t classes[] = { 3, 10, 16, 40, 64, 65, 200, 1000, 4096, 5000, 9000 };
    if (!isa)
        SKIP_TEST("this processor has no instruction set %d", _i);
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        for (int by_columns = 0; by_columns < 2; by_columns++)
            check_special_rows(isa, classes[i], by_columns);
}
END_TEST

/* ---- own exponential ---- */

/* Seen in softmax of (0, x), which is 1/(1 + e^x) and e^x times that. */
START_TEST(test_exp)
{
    enum { N_ROWS = 1000 };
    static float x[N_ROWS][2], result[N_ROWS][2];
    static const float least[] = { -88, -104, -FLT_MAX, -INFINITY };
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    if (!isa)
        SKIP_TEST("this processor has no instruction set %d", _i);
    double worst = 0;
    for (float begin = 0; begin >= -87.2F;) {
        for (int i = 0; i < N_ROWS; i++) {
            x[i][1] = begin;
            begin = fmaxf(nextafterf(begin, -INFINITY) - 1e-5F, -87.33F);
        }
        isa->softmax_f32->rows(N_ROWS, 2, x, result, false);
        for (int i = 0; i < N_ROWS; i++) {
            const double e = exp((double)x[i][1]), right = e / (1 + e);
            const double ulp = (double)(nextafterf((float)right, INFINITY) - (float)right);
            worst = fmax(worst, fabs((double)result[i][1] - right) / ulp);
        }
    }
    printf("%s: softmax of (0, x): %.2f ulp\n", isa->name, worst);
    ck_assert_double_le(worst, 3);
    for (size_t i = 0; i < sizeof least / sizeof *least; i++) {
        x[0][1] = least[i];
        isa->softmax_f32->rows(1, 2, x, result, false);
        ck_assert(result[0][0] == 1);
        ck_assert(result[0][1] == 0);
    }
}
END_TEST

/* ---- normalizations: what goes past the caches has the same bits ---- */

START_TEST(test_norms_past_caches)
{
    static numbers x, scale, shift, plain, past;
    static const int64_t shapes[][2] = { { 1, 1 }, { 3, 7 }, { 5, 64 }, { 2, 1100 }, { 40, 33 } };
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    uint32_t seed = 5;
    if (!isa)
        SKIP_TEST("this processor has no instruction set %d", _i);
    fill(&x, N_MOST, -2, 2, &seed);
    fill(&scale, N_MOST, -2, 2, &seed);
    fill(&shift, N_MOST, -2, 2, &seed);
    for (int i = 0; i < 5 * 2 * 2; i++) {
        const bool is_f64 = i / 5 % 2, is_gradient = i / 10;
        const ebb_norm_table *table = is_f64 ? isa->norm_f64 : isa->norm_f32;
        ebb_norm_rows rows = { shapes[i % 5][0], shapes[i % 5][1], true, false, 1e-5 };
        void *results[2] = { is_f64 ? (void *)plain.f64 : plain.f32,
                             is_f64 ? (void *)(past.f64 + 5) : past.f32 + 5 };
        for (int r = 0; r < 2; r++) {
            rows.is_streamed = r;
            (is_gradient ? table->grad_rows : table->rows)(
                &rows, is_f64 ? (void *)x.f64 : x.f32, is_f64 ? (void *)scale.f64 : scale.f32,
                is_f64 ? (void *)shift.f64 : shift.f32, results[r]);
        }
        ck_assert(
            memcmp(results[0], results[1], (size_t)(rows.n_rows * rows.n) * (is_f64 ? 8 : 4)) == 0);
    }
}
END_TEST

/* ---- moving ---- */

/* Runs and rows past the caches, from any place on: the same bits, and nothing behind them. */
START_TEST(test_affine_past_caches)
{
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    const ebb_channel_numbers k = { .mean = 0.3, .factor = 1.7, .shift = -0.2 };
    static numbers x, expected, result;
    uint32_t seed = 3;
    fill(&x, N_MOST, -3, 3, &seed);
    for (int64_t n = 0; isa && n < N_MOST - 40; n = n < 70 ? n + 1 : n + 997)
        for (int way = 0; way < 7 * 2 * 2 * 2; way++) {
            const int64_t skipped = way % 7 * 3;
            const bool is_f64 = way / 7 % 2, relu = way / 14 % 2, has_rows = way / 28;
            const ebb_channels_table *table = is_f64 ? isa->channels_f64 : isa->channels_f32;
            ebb_channel_rows rows = { .n_rows = has_rows ? 3 : 1, .n_columns = n, .relu = relu };
            if (has_rows) {
                rows.n_columns /= EBB_CHANNEL_NUMBERS;
                rows.x_step = rows.y_step = rows.other_step = rows.n_columns;
            }
            result = expected = x;
            for (int past = 0; past < 2; past++) {
                numbers *to = past ? &result : &expected;
                rows.x = is_f64 ? (void *)(x.f64 + 1) : x.f32 + 1;
                rows.other = relu ? rows.x : NULL;
                rows.y = is_f64 ? (void *)(to->f64 + skipped) : to->f32 + skipped;
                rows.is_streamed = past;
                if (has_rows)
                    table->affine_rows(&rows, is_f64 ? (void *)x.f64 : x.f32, rows.n_columns);
                else
                    table->affine_run(&rows, &k);
            }
            isa->move->finish_stream();
            REQUIRE(memcmp(&result, &expected, sizeof result) == 0, "%s: %lld elements, way %d",
                    isa->name, (long long)n, way);
        }
}
END_TEST

START_TEST(test_transposes)
{
    enum { ROOM = 10000 };
    static uint32_t from[ROOM];
    static _Alignas(64) uint32_t to[ROOM];
    static const int64_t sizes[] = { 0, 1, 3, 4, 7, 8, 12, 13, 15, 16 };
    static const int64_t lasts[] = { 0, 1, 3, 8, 15, 16, 17, 31, 32, 160 };
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    if (!isa)
        SKIP_TEST("this processor has no instruction set %d", _i);
    for (uint32_t i = 0; i < ROOM; i++)
        from[i] = i;
    for (int c = 0; c < 10 * 10 * 2; c++) {
        const int64_t m = sizes[c % 10], n = lasts[c / 10 % 10] + c % 3 * 48; /* i, j */
        const bool is_loose = c / 100;
        const int64_t from_last = is_loose ? m + 3 : 16;
        const int64_t to_near = is_loose ? n + (c % 2 || n == 0) * 5 : 256;
        memset(to, 0xFF, sizeof to);
        isa->move->transpose(&(ebb_transposed){ from + 1, to, from_last, to_near, m, n });
        for (int64_t i = 0; i < ROOM; i++) {
            const int64_t row = i / to_near, column = i % to_near;
            const bool is_written = row < m && column < n;
            REQUIRE(to[i] == (is_written ? (uint32_t)(1 + row + column * from_last) : UINT32_MAX),
                    "%s: [%lld,%lld]: element %lld", isa->name, (long long)m, (long long)n,
                    (long long)i);
        }
    }
}
END_TEST

START_TEST(test_streams)
{
    static _Alignas(64) char from[600], to[600];
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    if (!isa)
        SKIP_TEST("this processor has no instruction set %d", _i);
    for (int i = 0; i < 600; i++)
        from[i] = (char)(i % 127);
    for (int start = 0; start < 70; start++)
        for (int n = 0; n < 300; n += 7) {
            memset(to, -1, sizeof to);
            isa->move->stream(to + start, from + 5, (size_t)n);
            isa->move->finish_stream();
            for (int i = 0; i < 600; i++)
                REQUIRE(to[i] == (i >= start && i < start + n ? from[i - start + 5] : -1),
                        "%s: %d bytes at %d: byte %d", isa->name, n, start, i);
        }
}
END_TEST

/* ---- reductions ---- */

/* By the definition, in double; `second` for pairs. */
static double reduce(int fold, bool is_pair, int64_t n, int64_t stride, const double *x,
                     double *second)
{
    double sum = 0, squares = 0, product = 1, magnitudes = 0, exps = 0, deviations = 0;
    double largest = -INFINITY, smallest = INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double value = x[i * stride];
        sum += value;
        squares += value * value;
        product *= value;
        magnitudes += fabs(value);
        largest = fmax(largest, value);
        smallest = fmin(smallest, value);
    }
    for (int64_t i = 0; i < n; i++) {
        exps += exp(x[i * stride] - largest);
        deviations += pow(x[i * stride] - sum / (double)n, 2);
    }
    if (is_pair) {
        *second = fold == EBB_REDUCE_EXP_SUM ? exps : deviations;
        return fold == EBB_REDUCE_EXP_SUM ? largest : sum / (double)n;
    }
    *second = 0;
    switch (fold) {
    case EBB_REDUCE_SUM:
        return sum;
    case EBB_REDUCE_MAGNITUDES:
        return magnitudes;
    case EBB_REDUCE_SQUARES:
        return squares;
    case EBB_REDUCE_MAX:
        return largest;
    case EBB_REDUCE_MIN:
        return smallest;
    default:
        return product;
    }
}

static double start_of(int fold, bool is_pair)
{
    if (is_pair)
        return fold == EBB_REDUCE_EXP_SUM ? -(double)INFINITY : 0;
    return fold == EBB_REDUCE_MAX       ? -(double)INFINITY
           : fold == EBB_REDUCE_MIN     ? (double)INFINITY
           : fold == EBB_REDUCE_PRODUCT ? 1
                                        : 0;
}

static void check_reduction(const ebb_vector_isa *isa, int fold, bool is_pair, bool is_f64,
                            int64_t n_rows, int64_t n_columns)
{
    static numbers x;
    const ebb_reduce_table *table = is_f64 ? isa->reduce_f64 : isa->reduce_f32;
    const double tolerance = 4 * tolerances[is_f64];
    uint32_t seed = (uint32_t)(n_rows + 5 * n_columns);
    double first[EBB_REDUCE_COLUMNS], second[EBB_REDUCE_COLUMNS] = { 0 }, wanted[2];
    fill(&x, n_rows * n_columns, 0.9, 1.1, &seed);
    const void *data = is_f64 ? (const void *)x.f64 : x.f32;
    for (int64_t j = 0; j < n_columns; j++)
        first[j] = start_of(fold, is_pair);
    if (is_pair)
        table->pair_rows[fold](n_rows, n_columns, n_columns, data, 0, first, second);
    else
        table->rows[fold](n_rows, n_columns, n_columns, data, first);
    for (int64_t j = 0; j < n_columns; j++) {
        wanted[0] = reduce(fold, is_pair, n_rows, n_columns, x.f64 + j, &wanted[1]);
        REQUIRE(is_near(first[j], wanted[0], fabs(wanted[0]), tolerance) &&
                    is_near(second[j], wanted[1], fmax(1, wanted[1]), tolerance),
                "%s: reduction %d%s of f%d, column %lld of [%lld,%lld] is %.17g, not %.17g",
                isa->name, fold, is_pair ? " (pair)" : "", is_f64 ? 64 : 32, (long long)j,
                (long long)n_rows, (long long)n_columns, first[j], wanted[0]);
    }
    const int64_t n = n_rows * n_columns;
    first[0] = start_of(fold, is_pair);
    second[0] = 0;
    if (is_pair)
        table->pair_run[fold](n, data, 0, first, second);
    else
        first[0] = table->run[fold](n, data);
    wanted[0] = reduce(fold, is_pair, n, 1, x.f64, &wanted[1]);
    REQUIRE(is_near(first[0], wanted[0], fabs(wanted[0]), tolerance) &&
                is_near(second[0], wanted[1], fmax(1, wanted[1]), tolerance),
            "%s: reduction %d%s of f%d, run of %lld is %.17g, not %.17g", isa->name, fold,
            is_pair ? " (pair)" : "", is_f64 ? 64 : 32, (long long)n, first[0], wanted[0]);
}

START_TEST(test_reductions)
{
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    static const int64_t columns[] = { 1, 3, 16, 50, 256 };
    if (!isa)
        SKIP_TEST("this processor has no instruction set %d", _i);
    for (int is_f64 = 0; is_f64 < 2; is_f64++)
        for (int i = 0; i < 5; i++)
            for (int64_t n_rows = 1; n_rows * columns[i] <= N_MOST; n_rows += n_rows / 3 + 1) {
                for (int fold = 0; fold < EBB_REDUCE_N; fold++)
                    check_reduction(isa, fold, false, is_f64, n_rows, columns[i]);
                for (int fold = 0; fold < EBB_REDUCE_N_PAIRS; fold++)
                    check_reduction(isa, fold, true, is_f64, n_rows, columns[i]);
            }
}
END_TEST

/* logsumexp: an infinite element is the largest one and the sum, NaN shows in the sum. */
START_TEST(test_exp_sums_special)
{
    enum { N = 3000, COLUMNS = 3 };
    static float x[N];
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    if (!isa)
        SKIP_TEST("this processor has no instruction set %d", _i);
    for (int kind = 0; kind < 4; kind++)
        for (int by_columns = 0; by_columns < 2; by_columns++) {
            double largest[COLUMNS], sums[COLUMNS];
            for (int i = 0; i < COLUMNS; i++) {
                largest[i] = -(double)INFINITY;
                sums[i] = 0;
            }
            for (int i = 0; i < N; i++)
                x[i] = kind == 0 ? -INFINITY : (float)(i % 5);
            x[COLUMNS * 700 + 1] = kind == 1 ? INFINITY : kind == 2 ? NAN : -INFINITY;
            if (by_columns)
                isa->reduce_f32->pair_rows[EBB_REDUCE_EXP_SUM](N / COLUMNS, COLUMNS, COLUMNS, x, 0,
                                                               largest, sums);
            else
                isa->reduce_f32->pair_run[EBB_REDUCE_EXP_SUM](N, x, 0, largest, sums);
            const double m = largest[by_columns ? 1 : 0], sum = sums[by_columns ? 1 : 0];
            REQUIRE(kind == 0   ? isinf(m) && m < 0 && sum == 0
                    : kind == 1 ? isinf(m) && m > 0 && isinf(sum)
                    : kind == 2 ? isnan(sum)
                                : m == 4 && sum > 100 && sum < N,
                    "%s: kind %d: %g and %g", isa->name, kind, m, sum);
            if (by_columns)
                REQUIRE(kind == 0 || (largest[2] == 4 && isfinite(sums[2])), "%s: column beside",
                        isa->name);
        }
}
END_TEST

/* Columns whose mean is large, or whose rows drift away from where they began. */
START_TEST(test_deviations_of_columns)
{
    enum { N_ROWS = 700, COLUMNS = 4 };
    static float x[N_ROWS * COLUMNS];
    const ebb_vector_isa *isa = ebb_vector_isa_at(_i);
    uint32_t seed = 3;
    double means[COLUMNS] = { 0 }, squares[COLUMNS] = { 0 };
    if (!isa)
        SKIP_TEST("this processor has no instruction set %d", _i);
    for (int i = 0; i < N_ROWS; i++) {
        const double noise = draw(&seed, -1, 1);
        x[i * COLUMNS] = (float)(1e6 + 8 * noise);
        x[i * COLUMNS + 1] = (float)(100.0 * i + noise);
        x[i * COLUMNS + 2] = (float)(i == 0 ? 1e5 : noise);
        x[i * COLUMNS + 3] = (float)(1e-3 * noise + (i < 350 ? -1000 : 1000));
    }
    isa->reduce_f32->pair_rows[EBB_REDUCE_DEVIATIONS](300, COLUMNS, COLUMNS, x, 0, means, squares);
    isa->reduce_f32->pair_rows[EBB_REDUCE_DEVIATIONS](N_ROWS - 300, COLUMNS, COLUMNS,
                                                      x + 300 * COLUMNS, 300, means, squares);
    for (int j = 0; j < COLUMNS; j++) {
        double mean = 0, sum = 0;
        for (int i = 0; i < N_ROWS; i++)
            mean += (double)x[i * COLUMNS + j] / N_ROWS;
        for (int i = 0; i < N_ROWS; i++)
            sum += pow((double)x[i * COLUMNS + j] - mean, 2);
        const double scale = fabs(mean) + sqrt(sum / N_ROWS);
        REQUIRE(is_near(squares[j], sum, sum, 3e-6) && is_near(means[j], mean, scale, 1e-6),
                "%s: column %d: %.9g, %.9g, not %.9g, %.9g", isa->name, j, means[j], squares[j],
                mean, sum);
    }
}
END_TEST

START_TEST(test_list)
{
    int n = 0;
    while (ebb_vector_isa_at(n))
        n++;
    ck_assert_int_ge(n, 1);
    ck_assert_ptr_null(ebb_vector_isa_at(-1));
    ck_assert_str_eq(ebb_vector_isa_at(0)->name, "base");
    ck_assert_ptr_eq(ebb_vector_isa_at(n - 1), ebb_vector_isa_here());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vector");
    TCase *all = tcase_create("instruction sets");
    tcase_set_timeout(all, 120);
    tcase_add_loop_test(all, test_maps, 0, 3);
    tcase_add_loop_test(all, test_products, 0, 3);
    tcase_add_loop_test(all, test_softmax, 0, 3);
    tcase_add_loop_test(all, test_softmax_special, 0, 3);
    tcase_add_loop_test(all, test_exp, 0, 3);
    tcase_add_loop_test(all, test_norms_past_caches, 0, 3);
    tcase_add_loop_test(all, test_guarded_maps, 0, 3);
    tcase_add_loop_test(all, test_atan2, 0, 3);
    tcase_add_loop_test(all, test_affine_past_caches, 0, 3);
    tcase_add_loop_test(all, test_transposes, 0, 3);
    tcase_add_loop_test(all, test_streams, 0, 3);
    tcase_add_loop_test(all, test_reductions, 0, 3);
    tcase_add_loop_test(all, test_exp_sums_special, 0, 3);
    tcase_add_loop_test(all, test_deviations_of_columns, 0, 3);
    tcase_add_test(all, test_list);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
