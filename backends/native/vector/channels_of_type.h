/* Batch normalization of vector.h for one type: see channels.c, which includes this file with T and
 * TAG defined. Formulas in ops/batch_norm.c. */

/* Elements, and rows, that are added in T before the sum goes on as a double. */
#define LANES ((int64_t)(256 / sizeof(T)))
#define CHUNK (32 * LANES)
#define ROWS 32
#define LINE ((int64_t)(64 / sizeof(T)))

static void NAME(affine_run)(int64_t n, const void *x_data, void *y_data, double mean,
                             double factor, double shift, bool is_streamed)
{
    const T *x = x_data;
    T *y = y_data;
    /* x - high is exact where x is near the mean */
    const T high = (T)mean, low = (T)(mean - (double)high), a = (T)factor, b = (T)shift;
    if (is_streamed) {
        _Alignas(64) T line[64 / sizeof(T)];
        for (; n > 0 && (uintptr_t)y % 64 != 0; n--, x++, y++)
            *y = ((*x - high) - low) * a + b;
        for (; n >= LINE; n -= LINE, x += LINE, y += LINE) {
            if (n > AHEAD_BYTES / (int64_t)sizeof(T))
                ask_ahead(x, 64);
            for (int64_t j = 0; j < LINE; j++)
                line[j] = ((x[j] - high) - low) * a + b;
            stream_line(y, line);
        }
    }
    INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        y[i] = ((x[i] - high) - low) * a + b;
}

static void NAME(affine_rows)(int64_t n_rows, int64_t n_columns, const void *x_data,
                              int64_t x_stride, void *y_data, int64_t y_stride,
                              const void *coefficients, int64_t stride)
{
    const T *high = coefficients, *low = high + stride, *a = low + stride, *b = a + stride;
    for (int64_t i = 0; i < n_rows; i++) {
        const T *x = (const T *)x_data + i * x_stride;
        T *y = (T *)y_data + i * y_stride;
        INDEPENDENT
        for (int64_t j = 0; j < n_columns; j++)
            y[j] = ((x[j] - high[j]) - low[j]) * a[j] + b[j];
    }
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

static void NAME(grad_sum_run)(int64_t n, const void *x_data, const void *dy_data, double mean,
                               double *sum, double *product)
{
    const T *x = x_data, *dy = dy_data, centre = (T)mean;
    for (int64_t begin = 0; begin < n; begin += CHUNK) {
        const int64_t end = n - begin < CHUNK ? n : begin + CHUNK;
        T sums[256 / sizeof(T)] = { 0 }, products[256 / sizeof(T)] = { 0 };
        int64_t i = begin;
        for (; i + LANES <= end; i += LANES)
            for (int64_t j = 0; j < LANES; j++) {
                sums[j] += dy[i + j];
                products[j] += dy[i + j] * (x[i + j] - centre);
            }
        for (int64_t j = 0; i + j < end; j++) {
            sums[j] += dy[i + j];
            products[j] += dy[i + j] * (x[i + j] - centre);
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

static void NAME(grad_sum_rows)(int64_t n_rows, int64_t n_columns, const void *x_data,
                                int64_t x_stride, const void *dy_data, int64_t dy_stride,
                                const void *means, double *sums, double *products)
{
    const T *mean = means;
    T s[EBB_REDUCE_COLUMNS], p[EBB_REDUCE_COLUMNS];
    for (int64_t begin = 0; begin < n_rows; begin += ROWS) {
        const int64_t end = n_rows - begin < ROWS ? n_rows : begin + ROWS;
        for (int64_t j = 0; j < n_columns; j++)
            s[j] = p[j] = 0;
        for (int64_t i = begin; i < end; i++) {
            const T *x = (const T *)x_data + i * x_stride;
            const T *dy = (const T *)dy_data + i * dy_stride;
            for (int64_t j = 0; j < n_columns; j++) {
                s[j] += dy[j];
                p[j] += dy[j] * (x[j] - mean[j]);
            }
        }
        for (int64_t j = 0; j < n_columns; j++) {
            sums[j] += (double)s[j];
            products[j] += (double)p[j];
        }
    }
}

static void NAME(grad_run)(int64_t n, const void *x_data, const void *dy_data, void *dx_data,
                           double mean, double factor, double slope, double offset)
{
    const T *x = x_data, *dy = dy_data;
    T *dx = dx_data;
    const T centre = (T)mean, a = (T)factor, b = (T)slope, c = (T)offset;
    INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        dx[i] = (dy[i] - c - (x[i] - centre) * b) * a;
}

static void NAME(grad_rows)(int64_t n_rows, int64_t n_columns, const void *x_data, int64_t x_stride,
                            const void *dy_data, int64_t dy_stride, void *dx_data,
                            int64_t dx_stride, const void *coefficients, int64_t stride)
{
    const T *mean = coefficients, *a = mean + stride, *b = a + stride, *c = b + stride;
    for (int64_t i = 0; i < n_rows; i++) {
        const T *x = (const T *)x_data + i * x_stride;
        const T *dy = (const T *)dy_data + i * dy_stride;
        T *dx = (T *)dx_data + i * dx_stride;
        INDEPENDENT
        for (int64_t j = 0; j < n_columns; j++)
            dx[j] = (dy[j] - c[j] - (x[j] - mean[j]) * b[j]) * a[j];
    }
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
