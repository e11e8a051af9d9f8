/* Local response normalization of vector.h for one type: see lrn.c, which includes this file with
 * T, TAG and FN defined. Formulas in ops/lrn.c. */

/* s <- s^-beta; the exponent of the paper without pow. */
static void NAME(powers)(int64_t n, T *s, double beta)
{
    const T exponent = (T)-beta;
    if (beta == 0.75) {
        INDEPENDENT
        for (int64_t i = 0; i < n; i++) {
            const T root = FN(sqrt)(s[i]);
            s[i] = 1 / (root * FN(sqrt)(root));
        }
    } else if (beta == 0.5) {
        INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            s[i] = 1 / FN(sqrt)(s[i]);
    } else if (beta == 1) {
        INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            s[i] = 1 / s[i];
    } else {
        INDEPENDENT
        for (int64_t i = 0; i < n; i++)
            s[i] = FN(pow)(s[i], exponent);
    }
}

/* sum[j] = sum of rows[c][j] over the window of channel c; rows have n columns. */
static void NAME(window_rows)(const ebb_lrn_params *l, int64_t c, int64_t n, const T *rows, T *sum)
{
    const int64_t first = c > l->half ? c - l->half : 0;
    const int64_t last = l->half < l->n_channels - c ? c + l->half : l->n_channels - 1;
    memcpy(sum, rows + first * n, (size_t)n * sizeof(T));
    for (int64_t k = first + 1; k <= last; k++)
        for (int64_t j = 0; j < n; j++)
            sum[j] += rows[k * n + j];
}

static void NAME(square_rows)(const ebb_lrn_params *l, int64_t n, const T *x, int64_t x_stride,
                              T *squares)
{
    for (int64_t c = 0; c < l->n_channels; c++)
        for (int64_t j = 0; j < n; j++)
            squares[c * n + j] = x[c * x_stride + j] * x[c * x_stride + j];
}

static void NAME(lrn_columns)(const ebb_lrn_params *l, int64_t n, const void *x_data,
                              int64_t x_stride, void *y_data, int64_t y_stride, void *scratch)
{
    const T a = (T)l->factor, k = (T)l->k;
    T *squares = scratch, *sum = squares + l->n_channels * n;
    NAME(square_rows)(l, n, x_data, x_stride, squares);
    for (int64_t c = 0; c < l->n_channels; c++) {
        const T *x = (const T *)x_data + c * x_stride;
        T *y = (T *)y_data + c * y_stride;
        NAME(window_rows)(l, c, n, squares, sum);
        for (int64_t j = 0; j < n; j++)
            sum[j] = k + a * sum[j];
        NAME(powers)(n, sum, l->beta);
        INDEPENDENT
        for (int64_t j = 0; j < n; j++)
            y[j] = x[j] * sum[j];
    }
}

static void NAME(lrn_grad_columns)(const ebb_lrn_params *l, int64_t n, const void *x_data,
                                   int64_t x_stride, const void *dy_data, int64_t dy_stride,
                                   void *dx_data, int64_t dx_stride, void *scratch)
{
    const T a = (T)l->factor, k = (T)l->k, slope = (T)(2 * l->factor * l->beta);
    const int64_t size = l->n_channels * n;
    T *squares = scratch, *power = squares + size, *sum = power + size, *products = sum + n;
    NAME(square_rows)(l, n, x_data, x_stride, squares);
    for (int64_t c = 0; c < l->n_channels; c++) {
        const T *x = (const T *)x_data + c * x_stride, *dy = (const T *)dy_data + c * dy_stride;
        T *p = power + c * n, *q = products + c * n;
        NAME(window_rows)(l, c, n, squares, sum);
        for (int64_t j = 0; j < n; j++)
            p[j] = sum[j] = k + a * sum[j];
        NAME(powers)(n, p, l->beta);
        for (int64_t j = 0; j < n; j++)
            q[j] = dy[j] * x[j] * p[j] / sum[j];
    }
    for (int64_t c = 0; c < l->n_channels; c++) {
        const T *x = (const T *)x_data + c * x_stride, *dy = (const T *)dy_data + c * dy_stride;
        const T *p = power + c * n;
        T *dx = (T *)dx_data + c * dx_stride;
        NAME(window_rows)(l, c, n, products, sum);
        INDEPENDENT
        for (int64_t j = 0; j < n; j++)
            dx[j] = dy[j] * p[j] - slope * x[j] * sum[j];
    }
}

/* sum[c] = sum of padded[c .. c + 2 half]; the pixel's channels begin at padded[half], zeros
 * around. */
static void NAME(window_pixel)(const ebb_lrn_params *l, const T *padded, T *sum)
{
    memcpy(sum, padded, (size_t)l->n_channels * sizeof(T));
    for (int64_t k = 1; k <= 2 * l->half; k++)
        for (int64_t c = 0; c < l->n_channels; c++)
            sum[c] += padded[c + k];
}

static void NAME(lrn_pixels)(const ebb_lrn_params *l, int64_t n, const void *x_data,
                             int64_t x_stride, void *y_data, int64_t y_stride, void *scratch)
{
    const T a = (T)l->factor, k = (T)l->k;
    T *padded = scratch, *sum = padded + l->n_channels + 2 * l->half;
    memset(padded, 0, (size_t)(l->n_channels + 2 * l->half) * sizeof(T));
    for (int64_t i = 0; i < n; i++) {
        const T *x = (const T *)x_data + i * x_stride;
        T *y = (T *)y_data + i * y_stride;
        for (int64_t c = 0; c < l->n_channels; c++)
            padded[l->half + c] = x[c] * x[c];
        NAME(window_pixel)(l, padded, sum);
        for (int64_t c = 0; c < l->n_channels; c++)
            sum[c] = k + a * sum[c];
        NAME(powers)(l->n_channels, sum, l->beta);
        INDEPENDENT
        for (int64_t c = 0; c < l->n_channels; c++)
            y[c] = x[c] * sum[c];
    }
}

static void NAME(lrn_grad_pixels)(const ebb_lrn_params *l, int64_t n, const void *x_data,
                                  int64_t x_stride, const void *dy_data, int64_t dy_stride,
                                  void *dx_data, int64_t dx_stride, void *scratch)
{
    const T a = (T)l->factor, k = (T)l->k, slope = (T)(2 * l->factor * l->beta);
    const int64_t room = l->n_channels + 2 * l->half;
    T *padded = scratch, *sum = padded + room, *power = sum + l->n_channels;
    memset(padded, 0, (size_t)room * sizeof(T));
    for (int64_t i = 0; i < n; i++) {
        const T *x = (const T *)x_data + i * x_stride, *dy = (const T *)dy_data + i * dy_stride;
        T *dx = (T *)dx_data + i * dx_stride;
        for (int64_t c = 0; c < l->n_channels; c++)
            padded[l->half + c] = x[c] * x[c];
        NAME(window_pixel)(l, padded, sum);
        for (int64_t c = 0; c < l->n_channels; c++)
            power[c] = sum[c] = k + a * sum[c];
        NAME(powers)(l->n_channels, power, l->beta);
        for (int64_t c = 0; c < l->n_channels; c++)
            padded[l->half + c] = dy[c] * x[c] * power[c] / sum[c];
        NAME(window_pixel)(l, padded, sum);
        INDEPENDENT
        for (int64_t c = 0; c < l->n_channels; c++)
            dx[c] = dy[c] * power[c] - slope * x[c] * sum[c];
    }
}

const ebb_lrn_table ISA_NAME(NAME(ebb_lrn)) = {
    .columns = NAME(lrn_columns),
    .grad_columns = NAME(lrn_grad_columns),
    .pixels = NAME(lrn_pixels),
    .grad_pixels = NAME(lrn_grad_pixels),
};

#undef T
#undef TAG
#undef FN
