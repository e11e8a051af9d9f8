/* The sums of rows.c for vectors of LANES floats. */
#define NAME(name) ISA_PASTE(name, LANES)

typedef float NAME(wide) __attribute__((vector_size(LANES * sizeof(float))));

static inline __attribute__((always_inline)) void
NAME(add_block)(const ebb_rows *r, int64_t row, int64_t vector, int n_rows, int n_vectors)
{
    NAME(wide) sums[MOST_ROWS * MOST_VECTORS];
    const int64_t from = row * r->source_step + LANES * vector, step = r->source_step;
    float *to = r->sums + row * r->sums_step + LANES * vector;
#pragma GCC unroll 5
    for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < n_vectors; v++)
            memcpy(&sums[i * n_vectors + v], to + i * r->sums_step + LANES * v, sizeof *sums);
    for (int64_t k = 0; k < r->n; k++) {
        const float *source = r->sources[k] + from;
        const float value = r->values[k];
#pragma GCC unroll 5
        for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 4
            for (int v = 0; v < n_vectors; v++) {
                NAME(wide) x;
                memcpy(&x, source + i * step + LANES * v, sizeof x);
                sums[i * n_vectors + v] += value * x;
            }
    }
#pragma GCC unroll 5
    for (int i = 0; i < n_rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < n_vectors; v++)
            memcpy(to + i * r->sums_step + LANES * v, &sums[i * n_vectors + v], sizeof *sums);
}

#define WITH_VECTORS(n)                                                                            \
    static void NAME(add_##n)(const ebb_rows *r, int64_t row, int64_t vector, int n_rows)          \
    {                                                                                              \
        switch (n_rows) {                                                                          \
        case 1:                                                                                    \
            NAME(add_block)(r, row, vector, 1, n);                                                 \
            break;                                                                                 \
        case 2:                                                                                    \
            NAME(add_block)(r, row, vector, 2, n);                                                 \
            break;                                                                                 \
        case 3:                                                                                    \
            NAME(add_block)(r, row, vector, 3, n);                                                 \
            break;                                                                                 \
        case 4:                                                                                    \
            NAME(add_block)(r, row, vector, 4, n);                                                 \
            break;                                                                                 \
        default:                                                                                   \
            NAME(add_block)(r, row, vector, 5, n);                                                 \
        }                                                                                          \
    }
