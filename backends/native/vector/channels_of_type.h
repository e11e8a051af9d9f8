/* Batch normalization of vector.h for one type: see channels.c, which includes this file with T and
 * TAG defined. Formulas in ops/batch_norm.c. */

/* Elements, and rows, that are added in T before the sum goes on as a double. */
#define LANES ((int64_t)(256 / sizeof(T)))
#define CHUNK (32 * LANES)
#define ROWS 32
#define LINE ((int64_t)(64 / sizeof(T)))

/* What is known of a row when the loop over it is compiled. */
typedef struct NAME(form) {
    int step; /* of the numbers: 0 in a run, 1 in a row of channels */
    bool has_other, relu;
} NAME(form);

/* Numbers of the first element of a row, and those of the ones that follow. */
typedef struct NAME(numbers) {
    const T *mean, *factor, *shift, *slope, *offset;
} NAME(numbers);

INLINE NAME(numbers) NAME(numbers_at)(const void *data, int64_t stride, int64_t j)
{
    const T *first = (const T *)data + j;
    return (NAME(numbers)){ first, first + stride, first + 2 * stride, first + 3 * stride,
                            first + 4 * stride };
}

/* (x - mean) factor + shift of element i, rounded as this is written wherever it is computed. */
INLINE T NAME(normalized)(const T *x, NAME(numbers) k, int64_t i, int64_t j)
{
    return (x[i] - k.mean[j]) * k.factor[j] + k.shift[j];
}

INLINE void NAME(affine_piece)(int64_t n, const T *x, const T *other, T *y, NAME(numbers) k,
                               int64_t at, NAME(form) f)
{
    INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        T value = NAME(normalized)(x, k, i, f.step * (at + i));
        if (f.has_other)
            value += other[i];
        y[i] = f.relu && value <= 0 ? 0 : value;
    }
}

INLINE void NAME(affine_row)(const ebb_channel_rows *rows, const T *x, const T *other, T *y,
                             NAME(numbers) k, NAME(form) f)
{
    const int64_t n = rows->n_columns;
    int64_t i = 0;
    if (rows->is_streamed) {
        _Alignas(64) T line[64 / sizeof(T)];
        i = (int64_t)(-(uintptr_t)y % 64 / sizeof(T));
        i = i < n ? i : n;
        NAME(affine_piece)(i, x, other, y, k, 0, f);
        for (; n - i >= LINE; i += LINE) {
            if (f.step || n - i > AHEAD_BYTES / (int64_t)sizeof(T)) {
                ask_ahead(x + i, 64);
                if (f.has_other)
                    ask_ahead(other + i, 64);
            }
            NAME(affine_piece)(LINE, x + i, f.has_other ? other + i : NULL, line, k, i, f);
            stream_line(y + i, line);
        }
    }
    NAME(affine_piece)(n - i, x + i, f.has_other ? other + i : NULL, y + i, k, i, f);
}

INLINE void NAME(affine_all)(const ebb_channel_rows *rows, const void *numbers, int64_t stride,
                             NAME(form) f)
{
    for (int64_t i = 0; i < rows->n_rows; i++)
        NAME(affine_row)
    (rows, (const T *)rows->x + i * rows->x_step,
     f.has_other ? (const T *)rows->other + i * rows->other_step : NULL,
     (T *)rows->y + i * rows->y_step, NAME(numbers_at)(numbers, stride, 0), f);
}

INLINE void NAME(affine_any)(const ebb_channel_rows *rows, const void *numbers, int64_t stride,
                             int step)
{
    if (rows->other && rows->relu)
        NAME(affine_all)(rows, numbers, stride, (NAME(form)){ step, true, true });
    else if (rows->other)
        NAME(affine_all)(rows, numbers, stride, (NAME(form)){ step, true, false });
    else if (rows->relu)
        NAME(affine_all)(rows, numbers, stride, (NAME(form)){ step, false, true });
    else
        NAME(affine_all)(rows, numbers, stride, (NAME(form)){ step, false, false });
}

static void NAME(affine_rows)(const ebb_channel_rows *rows, const void *numbers, int64_t stride)
{
    NAME(affine_any)(rows, numbers, stride, 1);
}

static void NAME(affine_run)(const ebb_channel_rows *rows, const ebb_channel_numbers *k)
{
    const T numbers[EBB_CHANNEL_NUMBERS] = { (T)k->mean, (T)k->factor, (T)k->shift };
    NAME(affine_any)(rows, numbers, 1, 0);
}

/* A mean in T is near enough to take deviations from; what it lacks is in their sum. Squares of all
 * rows so far and of these are joined by Chan, Golub & LeVeque 1983, eq. 2.1. */
static void NAME(moment_rows)(int64_t n_rows, int64_t n_columns, const void *x_data,
                              int64_t x_stride, int64_t count, double *means, double *squares)
{
    T centre[EBB_REDUCE_COLUMNS], s[EBB_REDUCE_COLUMNS], q[EBB_REDUCE_COLUMNS];
    for (int64_t begin = 0; begin < n_rows; begin += ROWS) {
        const int64_t n = n_rows - begin < ROWS ? n_rows - begin : ROWS;
        const T *x = (const T *)x_data + begin * x_stride, share = 1 / (T)n;
        for (int64_t j = 0; j < n_columns; j++)
            centre[j] = x[j];
        for (int64_t i = 1; i < n; i++)
            for (int64_t j = 0; j < n_columns; j++)
                centre[j] += x[i * x_stride + j];
        for (int64_t j = 0; j < n_columns; j++) {
            centre[j] *= share;
            s[j] = q[j] = 0;
        }
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n_columns; j++) {
                const T d = x[i * x_stride + j] - centre[j];
                s[j] += d;
                q[j] += d * d;
            }
        const double weight = (double)n / (double)(count + n), factor = (double)count * weight;
        const double each = 1 / (double)n;
        for (int64_t j = 0; j < n_columns; j++) {
            const double shift = (double)s[j] * each, change = (double)centre[j] + shift - means[j];
            squares[j] += (double)q[j] - (double)s[j] * shift + change * change * factor;
            means[j] += change * weight;
        }
        count += n;
    }
}

/* dy of element i, or 0 where the relu let nothing through. */
INLINE T NAME(cotangent)(const T *x, const T *dy, NAME(numbers) k, int64_t i, int64_t j, bool relu)
{
    return !relu || NAME(normalized)(x, k, i, j) > 0 ? dy[i] : 0;
}

INLINE void NAME(grad_sum_run_of)(int64_t n, const T *x, const T *dy, NAME(numbers) k, double *sum,
                                  double *product, bool relu)
{
    const T mean = *k.mean;
    for (int64_t begin = 0; begin < n; begin += CHUNK) {
        const int64_t end = n - begin < CHUNK ? n : begin + CHUNK;
        T sums[256 / sizeof(T)] = { 0 }, products[256 / sizeof(T)] = { 0 };
        int64_t i = begin;
        for (; i + LANES <= end; i += LANES)
            for (int64_t j = 0; j < LANES; j++) {
                const T g = NAME(cotangent)(x, dy, k, i + j, 0, relu);
                sums[j] += g;
                products[j] += g * (x[i + j] - mean);
            }
        for (int64_t j = 0; i + j < end; j++) {
            const T g = NAME(cotangent)(x, dy, k, i + j, 0, relu);
            sums[j] += g;
            products[j] += g * (x[i + j] - mean);
        }
        for (int64_t half = LANES / 2; half >= 1; half /= 2)
            for (int64_t j = 0; j < half; j++) {
                sums[j] += sums[half + j];
                products[j] += products[half + j];
            }
        *sum += (double)sums[0];
        *product += (double)products[0];
    }
}

static void NAME(grad_sum_run)(const ebb_channel_rows *rows, const ebb_channel_numbers *k,
                               double *sum, double *product)
{
    const T numbers[EBB_CHANNEL_NUMBERS] = { (T)k->mean, (T)k->factor, (T)k->shift };
    const NAME(numbers) at = NAME(numbers_at)(numbers, 1, 0);
    if (rows->relu)
        NAME(grad_sum_run_of)(rows->n_columns, rows->x, rows->other, at, sum, product, true);
    else
        NAME(grad_sum_run_of)(rows->n_columns, rows->x, rows->other, at, sum, product, false);
}

INLINE void NAME(grad_sum_rows_of)(const ebb_channel_rows *rows, NAME(numbers) k, double *sums,
                                   double *products, bool relu)
{
    T s[EBB_REDUCE_COLUMNS], p[EBB_REDUCE_COLUMNS];
    const int64_t n = rows->n_columns;
    for (int64_t begin = 0; begin < rows->n_rows; begin += ROWS) {
        const int64_t end = rows->n_rows - begin < ROWS ? rows->n_rows : begin + ROWS;
        for (int64_t j = 0; j < n; j++)
            s[j] = p[j] = 0;
        for (int64_t i = begin; i < end; i++) {
            const T *x = (const T *)rows->x + i * rows->x_step;
            const T *dy = (const T *)rows->other + i * rows->other_step;
            for (int64_t j = 0; j < n; j++) {
                const T g = NAME(cotangent)(x, dy, k, j, j, relu);
                s[j] += g;
                p[j] += g * (x[j] - k.mean[j]);
            }
        }
        for (int64_t j = 0; j < n; j++) {
            sums[j] += (double)s[j];
            products[j] += (double)p[j];
        }
    }
}

static void NAME(grad_sum_rows)(const ebb_channel_rows *rows, const void *numbers, int64_t stride,
                                double *sums, double *products)
{
    const NAME(numbers) k = NAME(numbers_at)(numbers, stride, 0);
    if (rows->relu)
        NAME(grad_sum_rows_of)(rows, k, sums, products, true);
    else
        NAME(grad_sum_rows_of)(rows, k, sums, products, false);
}

INLINE void NAME(grad_all)(const ebb_channel_rows *rows, NAME(numbers) k, int step, bool relu)
{
    for (int64_t i = 0; i < rows->n_rows; i++) {
        const T *x = (const T *)rows->x + i * rows->x_step;
        const T *dy = (const T *)rows->other + i * rows->other_step;
        T *dx = (T *)rows->y + i * rows->y_step;
        INDEPENDENT
        for (int64_t n = 0; n < rows->n_columns; n++) {
            const int64_t j = step * n;
            const T g = NAME(cotangent)(x, dy, k, n, j, relu);
            dx[n] = (g - k.offset[j] - (x[n] - k.mean[j]) * k.slope[j]) * k.factor[j];
        }
    }
}

static void NAME(grad_rows)(const ebb_channel_rows *rows, const void *numbers, int64_t stride)
{
    const NAME(numbers) k = NAME(numbers_at)(numbers, stride, 0);
    if (rows->relu)
        NAME(grad_all)(rows, k, 1, true);
    else
        NAME(grad_all)(rows, k, 1, false);
}

static void NAME(grad_run)(const ebb_channel_rows *rows, const ebb_channel_numbers *k)
{
    const T numbers[EBB_CHANNEL_NUMBERS] = { (T)k->mean, (T)k->factor, (T)k->shift, (T)k->slope,
                                             (T)k->offset };
    const NAME(numbers) at = NAME(numbers_at)(numbers, 1, 0);
    if (rows->relu)
        NAME(grad_all)(rows, at, 0, true);
    else
        NAME(grad_all)(rows, at, 0, false);
}

const ebb_channels_table ISA_NAME(NAME(ebb_channels)) = {
    .affine_run = NAME(affine_run),
    .affine_rows = NAME(affine_rows),
    .moment_rows = NAME(moment_rows),
    .grad_sum_run = NAME(grad_sum_run),
    .grad_sum_rows = NAME(grad_sum_rows),
    .grad_run = NAME(grad_run),
    .grad_rows = NAME(grad_rows),
};

#undef LANES
#undef CHUNK
#undef ROWS
#undef LINE
#undef T
#undef TAG
