/* Cross entropy by labels, out of log_sum_rows: see softmax_of_type.h, which includes this file. */

/* to[i] = x[i, labels[i]] */
#define PICK(L)                                                                                    \
    do {                                                                                           \
        const L *const places = labels;                                                            \
        for (int64_t i = 0; i < n_rows; i++)                                                       \
            to[i] = x[i * n_classes + (int64_t)places[i]];                                         \
    } while (0)
static void NAME(pick_labels)(int64_t n_rows, int64_t n_classes, const T *x, ebb_dtype dtype,
                              const void *labels, T *to)
{
    if (dtype == EBB_I64)
        PICK(int64_t);
    else if (dtype == EBB_I32)
        PICK(int32_t);
    else
        PICK(uint8_t);
}
#undef PICK

static double NAME(label_losses)(int64_t n_rows, int64_t n_classes, const void *data,
                                 ebb_dtype dtype, const void *labels, const void *maxima,
                                 const void *logs, void *losses)
{
    enum { TOGETHER = 64, PARTS = 8 };
    const T *x = data, *most = maxima, *log = logs;
    double sums[PARTS] = { 0 };
    for (int64_t begin = 0; begin < n_rows; begin += TOGETHER) {
        const int64_t left = n_rows - begin, n = left < TOGETHER ? left : TOGETHER;
        const char *places = (const char *)labels + begin * (int64_t)ebb_dtype_bytes(dtype);
        T there[TOGETHER];
        double loss[TOGETHER] = { 0 };
        NAME(pick_labels)(n, n_classes, x + begin * n_classes, dtype, places, there);
        for (int64_t i = 0; i < n; i++)
            loss[i] = ((double)most[begin + i] + (double)log[begin + i]) - (double)there[i];
        for (int64_t i = 0; i < n && losses; i++)
            ((T *)losses)[begin + i] = (T)loss[i];
        for (int i = 0; i < TOGETHER; i += PARTS)
            for (int k = 0; k < PARTS; k++)
                sums[k] += loss[i + k];
    }
    for (int half = PARTS / 2; half >= 1; half /= 2)
        for (int k = 0; k < half; k++)
            sums[k] += sums[half + k];
    return sums[0];
}
