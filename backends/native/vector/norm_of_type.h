/* The normalizations of vector.h for one type: see norm.c, which includes this file with T and TAG
 * defined. Formulas in ops/norm.c. */

/* Partial sums that run side by side; a power of two. */
#define LANES ((int64_t)(256 / sizeof(T)))
/* Elements that are added in T before the sum goes on as a double. */
#define CHUNK (32 * LANES)

/* The mean in two parts: x - high is exact where x is near the mean. */
typedef struct NAME(centre) {
    T high, low;
} NAME(centre);
#define CENTRED(c, x) (((x) - (c).high) - (c).low)

/* The sum over i of `term`, an expression of k. */
#define DEFINE_SUM(name, term, ...)                                                                \
    static double NAME(name)(int64_t n, __VA_ARGS__)                                               \
    {                                                                                              \
        double sum = 0;                                                                            \
        for (int64_t begin = 0; begin < n; begin += CHUNK) {                                       \
            const int64_t end = n - begin < CHUNK ? n : begin + CHUNK;                             \
            T partial[256 / sizeof(T)] = { 0 };                                                    \
            int64_t i = begin;                                                                     \
            for (; i + LANES <= end; i += LANES)                                                   \
                for (int64_t j = 0; j < LANES; j++) {                                              \
                    const int64_t k = i + j;                                                       \
                    partial[j] += term;                                                            \
                }                                                                                  \
            for (int64_t j = 0; i + j < end; j++) {                                                \
                const int64_t k = i + j;                                                           \
                partial[j] += term;                                                                \
            }                                                                                      \
            for (int64_t half = LANES / 2; half >= 1; half /= 2)                                   \
                for (int64_t j = 0; j < half; j++)                                                 \
                    partial[j] += partial[half + j];                                               \
            sum += (double)partial[0];                                                             \
        }                                                                                          \
        return sum;                                                                                \
    }
DEFINE_SUM(sum, x[k], const T *x)
DEFINE_SUM(sum_squares, CENTRED(c, x[k]) * CENTRED(c, x[k]), const T *x, NAME(centre) c)
DEFINE_SUM(sum_products, x[k] * y[k], const T *x, const T *y)
DEFINE_SUM(sum_centred, x[k] * y[k] * CENTRED(c, z[k]), const T *x, const T *y, const T *z,
           NAME(centre) c)

/* The centre of a row, and 1 / sqrt(mean of squares + epsilon). */
static NAME(centre) NAME(measure)(const ebb_norm_rows *rows, const T *x, T *r)
{
    const double n = (double)rows->n;
    NAME(centre) c = { 0, 0 };
    if (rows->is_centred) {
        const double mean = NAME(sum)(rows->n, x) / n;
        c.high = (T)mean;
        c.low = (T)(mean - (double)c.high);
    }
    *r = (T)(1 / sqrt(NAME(sum_squares)(rows->n, x, c) / n + rows->epsilon));
    return c;
}

/* Elements of a row that go to the result at a time. */
#define PIECE ((int64_t)(2048 / sizeof(T)))

/* ---- short rows of whole vectors, as many side by side as a vector has lanes ---- */

#define WIDTH ((int64_t)(LANES_BYTES / sizeof(T)))
#define SHORT_ROW 128

/* As measure, of n_rows <= WIDTH rows; high and low are the parts of their centres. */
static void NAME(measure_group)(const ebb_norm_rows *rows, int64_t n_rows, const T *x, T *high,
                                T *low, T *factors)
{
    const double n = (double)rows->n;
    NAME(lanes) vectors[LANES_BYTES / sizeof(T)];
    for (int64_t i = 0; i < WIDTH; i++)
        high[i] = low[i] = 0;
    if (rows->is_centred) {
        for (int64_t i = 0; i < WIDTH; i++) {
            const T *row = x + (i < n_rows ? i : n_rows - 1) * rows->n;
            vectors[i] = NAME(lanes_load)(row);
            for (int64_t k = WIDTH; k < rows->n; k += WIDTH)
                vectors[i] += NAME(lanes_load)(row + k);
        }
        NAME(lanes_store)(high, NAME(lanes_sums)(vectors));
        for (int64_t i = 0; i < WIDTH; i++) {
            const double mean = (double)high[i] / n;
            high[i] = (T)mean;
            low[i] = (T)(mean - (double)high[i]);
        }
    }
    for (int64_t i = 0; i < WIDTH; i++) {
        const T *row = x + (i < n_rows ? i : n_rows - 1) * rows->n;
        ask_ahead(row, rows->n / 2 * (int64_t)sizeof(T));
        const NAME(lanes) first = (NAME(lanes)){ 0 } + high[i];
        const NAME(lanes) second = (NAME(lanes)){ 0 } + low[i];
        vectors[i] = (NAME(lanes)){ 0 };
        for (int64_t k = 0; k < rows->n; k += WIDTH) {
            const NAME(lanes) u = (NAME(lanes_load)(row + k) - first) - second;
            vectors[i] += u * u;
        }
    }
    NAME(lanes_store)(factors, NAME(lanes_sums)(vectors));
    for (int64_t i = 0; i < WIDTH; i++)
        factors[i] = (T)(1 / sqrt((double)factors[i] / n + rows->epsilon));
}

static void NAME(norm_short_rows)(const ebb_norm_rows *rows, const T *x, const T *scale,
                                  const T *shift, void *result)
{
    const int64_t n = rows->n;
    T highs[LANES_BYTES / sizeof(T)], lows[LANES_BYTES / sizeof(T)];
    T factors[LANES_BYTES / sizeof(T)];
    sink out;
    sink_start(&out, result, rows->is_streamed);
    for (int64_t begin = 0; begin < rows->n_rows; begin += WIDTH) {
        const int64_t n_rows = rows->n_rows - begin < WIDTH ? rows->n_rows - begin : WIDTH;
        NAME(measure_group)(rows, n_rows, x + begin * n, highs, lows, factors);
        for (int64_t i = 0; i < n_rows; i++) {
            const T *row = x + (begin + i) * n;
            T *y = sink_place(&out);
            ask_ahead(row + n / 2, n / 2 * (int64_t)sizeof(T));
            const NAME(lanes) high = (NAME(lanes)){ 0 } + highs[i];
            const NAME(lanes) low = (NAME(lanes)){ 0 } + lows[i];
            const NAME(lanes) r = (NAME(lanes)){ 0 } + factors[i];
            for (int64_t k = 0; k < n; k += WIDTH) {
                NAME(lanes) u = (NAME(lanes_load)(row + k) - high) - low;
                u = u * r * NAME(lanes_load)(scale + k);
                NAME(lanes_store)(y + k, shift ? u + NAME(lanes_load)(shift + k) : u);
            }
            sink_take(&out, (size_t)n * sizeof(T));
        }
    }
    sink_finish(&out);
}

/* ---- rows ---- */

static void NAME(norm_rows)(const ebb_norm_rows *rows, const void *x_data, const void *scale_data,
                            const void *shift_data, void *result)
{
    const T *x = x_data, *scale = scale_data, *shift = shift_data;
    const int64_t n = rows->n;
    if (n <= SHORT_ROW && n % WIDTH == 0) {
        NAME(norm_short_rows)(rows, x, scale, shift, result);
        return;
    }
    T r;
    sink out;
    sink_start(&out, result, rows->is_streamed);
    for (int64_t i = 0; i < rows->n_rows; i++, x += n) {
        const NAME(centre) c = NAME(measure)(rows, x, &r);
        for (int64_t begin = 0; begin < n; begin += PIECE) {
            const int64_t end = n - begin < PIECE ? n : begin + PIECE;
            ask_ahead(x + begin, (end - begin) * (int64_t)sizeof(T));
            T *y = sink_place(&out);
            if (shift) {
                INDEPENDENT
                for (int64_t k = begin; k < end; k++)
                    y[k - begin] = CENTRED(c, x[k]) * r * scale[k] + shift[k];
            } else {
                INDEPENDENT
                for (int64_t k = begin; k < end; k++)
                    y[k - begin] = CENTRED(c, x[k]) * r * scale[k];
            }
            sink_take(&out, (size_t)(end - begin) * sizeof(T));
        }
    }
    sink_finish(&out);
}

static void NAME(norm_grad_rows)(const ebb_norm_rows *rows, const void *x_data,
                                 const void *scale_data, const void *dy_data, void *result)
{
    const T *x = x_data, *scale = scale_data, *dy = dy_data;
    const int64_t n = rows->n;
    T r;
    sink out;
    sink_start(&out, result, rows->is_streamed);
    for (int64_t i = 0; i < rows->n_rows; i++, x += n, dy += n) {
        const NAME(centre) c = NAME(measure)(rows, x, &r);
        const double mean_h = rows->is_centred ? NAME(sum_products)(n, scale, dy) / (double)n : 0;
        const double mean_hu = NAME(sum_centred)(n, scale, dy, x, c) / (double)n;
        /* n mean(hn) = u r^2 mean(hu) */
        const T offset = (T)mean_h, slope = (T)(mean_hu * (double)r * (double)r);
        for (int64_t begin = 0; begin < n; begin += PIECE) {
            const int64_t end = n - begin < PIECE ? n : begin + PIECE;
            ask_ahead(x + begin, (end - begin) * (int64_t)sizeof(T));
            ask_ahead(dy + begin, (end - begin) * (int64_t)sizeof(T));
            T *dx = sink_place(&out);
            INDEPENDENT
            for (int64_t k = begin; k < end; k++)
                dx[k - begin] = (scale[k] * dy[k] - offset - CENTRED(c, x[k]) * slope) * r;
            sink_take(&out, (size_t)(end - begin) * sizeof(T));
        }
    }
    sink_finish(&out);
}

const ebb_norm_table ISA_NAME(NAME(ebb_norm)) = {
    .rows = NAME(norm_rows),
    .grad_rows = NAME(norm_grad_rows),
};

#undef DEFINE_SUM
#undef CENTRED
#undef CHUNK
#undef PIECE
#undef LANES
#undef WIDTH
#undef SHORT_ROW
#undef T
#undef TAG
