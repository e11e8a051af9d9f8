/* Resampling of vector.h for one type: see resize.c, which includes this file with T and TAG
 * defined. A weight of 0 leaves a neighbour out, whatever it is. */

static void NAME(blend)(int64_t n, const void *a_data, const void *b_data, double weight,
                        void *result)
{
    const T *a = a_data, *b = b_data;
    const T w = (T)weight, v = (T)(1 - weight);
    T *y = result;
    if (weight == 0 || weight == 1) {
        memcpy(y, weight == 0 ? a : b, (size_t)n * sizeof(T));
        return;
    }
    INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        y[i] = v * a[i] + w * b[i];
}

static void NAME(add)(int64_t n, double weight, const void *a_data, void *sum_data)
{
    const T *a = a_data, w = (T)weight;
    T *sum = sum_data;
    if (weight == 0)
        return;
    INDEPENDENT
    for (int64_t i = 0; i < n; i++)
        sum[i] += w * a[i];
}

static void NAME(pick)(const ebb_resize_row *row, const void *x_data, void *result)
{
    const T *x = x_data, *w = row->weights;
    T *y = result;
    if (row->is_nearest) {
        INDEPENDENT
        for (int64_t j = 0; j < row->n; j++)
            y[j] = x[row->low[j]];
        return;
    }
    INDEPENDENT
    for (int64_t j = 0; j < row->n; j++) {
        const T a = x[row->low[j]], b = x[row->high[j]];
        y[j] = w[j] == 0 ? a : (1 - w[j]) * a + w[j] * b;
    }
}

static void NAME(scatter)(const ebb_resize_row *row, const void *y_data, void *x_data)
{
    const T *y = y_data, *w = row->weights;
    T *x = x_data;
    for (int64_t j = 0; j < row->n; j++) {
        if (row->is_nearest || w[j] == 0) {
            x[row->low[j]] += y[j];
        } else {
            x[row->low[j]] += (1 - w[j]) * y[j];
            x[row->high[j]] += w[j] * y[j];
        }
    }
}

const ebb_resize_table ISA_NAME(NAME(ebb_resize)) = {
    .blend = NAME(blend),
    .add = NAME(add),
    .pick = NAME(pick),
    .scatter = NAME(scatter),
};

#undef T
#undef TAG
