/* The product of vector.h for one type: see product.c, which includes this file with T and TAG defined.
 * Every element of c is summed along k in an order that depends on the shape alone, so that the same product
 * gives the same bits however its rows are shared out. */

#define LANES ((int64_t)(VECTOR_BYTES / sizeof(T)))
#define VECTOR NAME(vector)

typedef T VECTOR __attribute__((vector_size(VECTOR_BYTES)));

INLINE VECTOR NAME(load)(const T *p)
{
    VECTOR v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void NAME(store)(T *p, VECTOR v) { memcpy(p, &v, sizeof v); }

#ifndef __AVX512F__
INLINE VECTOR NAME(load_elements)(int n, const T *p)
{
    if (n == LANES)
        return NAME(load)(p);
    T elements[VECTOR_BYTES / sizeof(T)] = { 0 };
    for (int i = 0; i < n; i++)
        elements[i] = p[i];
    return NAME(load)(elements);
}

INLINE void NAME(store_elements)(int n, T *p, VECTOR v)
{
    T elements[VECTOR_BYTES / sizeof(T)];
    NAME(store)(elements, v);
    for (int i = 0; i < n; i++)
        p[i] = elements[i];
}
#endif

/* c[rows, vectors] = a b, with only `part` of the last vector. */
#define BLOCK_NAME(rows, vectors) ISA_PASTE(block_##rows##_##vectors, TAG)
#define DEFINE_BLOCK(rows, vectors) \
    static void BLOCK_NAME(rows, vectors)(const ebb_product *product, const T *a, const T *b, \
                                          T *c, NAME(part) part) \
    { \
        const int64_t a_m = product->a_m, a_k = product->a_k; \
        const int64_t b_k = product->b_k, c_m = product->c_m; \
        VECTOR sum[rows][vectors]; \
        UNROLL for (int i = 0; i < rows; i++) \
        { \
            UNROLL for (int j = 0; j < vectors; j++) sum[i][j] = (VECTOR){ 0 }; \
        } \
        for (int64_t k = product->k; k > 0; k--, a += a_k, b += b_k) { \
            VECTOR row[vectors]; \
            UNROLL for (int j = 0; j < vectors - 1; j++) row[j] = NAME(load)(b + j * LANES); \
            row[vectors - 1] = LOAD_PART(part, b + (vectors - 1) * LANES); \
            UNROLL for (int i = 0; i < rows; i++) \
            { \
                UNROLL for (int j = 0; j < vectors; j++) sum[i][j] += a[i * a_m] * row[j]; \
            } \
        } \
        UNROLL for (int i = 0; i < rows; i++) \
        { \
            T *last = c + i * c_m + (vectors - 1) * LANES; \
            if (product->accumulate) { \
                UNROLL for (int j = 0; j < vectors - 1; j++) sum[i][j] += \
                    NAME(load)(c + i * c_m + j * LANES); \
                sum[i][vectors - 1] += LOAD_PART(part, last); \
            } \
            UNROLL for (int j = 0; j < vectors - 1; j++) \
                NAME(store)(c + i * c_m + j * LANES, sum[i][j]); \
            STORE_PART(part, last, sum[i][vectors - 1]); \
        } \
    }
EACH_BLOCK(DEFINE_BLOCK)

typedef struct NAME(block) {
    int rows, vectors;
    void (*run)(const ebb_product *product, const T *a, const T *b, T *c, NAME(part) part);
} NAME(block);

/* By number of vectors, then from many rows to one. */
static const NAME(block) NAME(blocks)[] = {
#define BLOCK_ENTRY(rows, vectors) { rows, vectors, BLOCK_NAME(rows, vectors) },
    EACH_BLOCK(BLOCK_ENTRY)
};

/* A few columns left over would cost a whole vector of multiplications for each element of a. Here they are
 * summed apart, two at a time (a single one twice): along k, LANES at a time, if a lies that way (a_k == 1). */
static void NAME(rest_along_k)(const ebb_product *product, int64_t m_begin, int64_t m_end,
                               int64_t n_begin, const T *columns)
{
    const int64_t n_rest = product->n - n_begin, k = product->k, whole = k / LANES * LANES;
    const NAME(part) part = PART(k - whole);
    for (int64_t m = m_begin; m < m_end; m += 4) {
        const T *a[4];
        for (int i = 0; i < 4; i++) /* behind the last row the last row again */
            a[i] = (const T *)product->a + (m + i < m_end ? m + i : m_end - 1) * product->a_m;
        for (int64_t j = 0; j < n_rest; j += 2) {
            const T *first = columns + j * EBB_PRODUCT_K;
            const T *second = j + 1 < n_rest ? first + EBB_PRODUCT_K : first;
            VECTOR sum[8];
            UNROLL for (int i = 0; i < 8; i++) sum[i] = (VECTOR){ 0 };
            for (int64_t l = 0; l < whole; l += LANES) {
                VECTOR x = NAME(load)(first + l), y = NAME(load)(second + l);
                UNROLL for (int i = 0; i < 4; i++)
                {
                    VECTOR row = NAME(load)(a[i] + l);
                    sum[i] += row * x;
                    sum[4 + i] += row * y;
                }
            }
            if (whole < k) {
                VECTOR x = LOAD_PART(part, first + whole), y = LOAD_PART(part, second + whole);
                UNROLL for (int i = 0; i < 4; i++)
                {
                    VECTOR row = LOAD_PART(part, a[i] + whole);
                    sum[i] += row * x;
                    sum[4 + i] += row * y;
                }
            }
            T lanes[VECTOR_BYTES / sizeof(T)][8], total[8] = { 0 };
            UNROLL for (int i = 0; i < 8; i++)
            {
                T elements[VECTOR_BYTES / sizeof(T)];
                NAME(store)(elements, sum[i]);
                for (int64_t l = 0; l < LANES; l++)
                    lanes[l][i] = elements[l];
            }
            for (int64_t l = 0; l < LANES; l++)
                for (int i = 0; i < 8; i++)
                    total[i] += lanes[l][i];
            for (int i = 0; i < 4 && m + i < m_end; i++) {
                T *c = (T *)product->c + (m + i) * product->c_m + n_begin + j;
                c[0] = total[i] + (product->accumulate ? c[0] : 0);
                if (j + 1 < n_rest)
                    c[1] = total[4 + i] + (product->accumulate ? c[1] : 0);
            }
        }
    }
}

/* The same for a that lies along m (a_m == 1): LANES rows at a time. */
static void NAME(rest_along_m)(const ebb_product *product, int64_t n_begin)
{
    const int64_t n_rest = product->n - n_begin;
    for (int64_t m = 0; m < product->m; m += 4 * LANES) {
        NAME(part) part[4];
        int64_t n_lanes[4];
        for (int i = 0; i < 4; i++) {
            int64_t left = product->m - m - i * LANES;
            n_lanes[i] = left < 0 ? 0 : (left > LANES ? LANES : left);
            part[i] = PART(n_lanes[i]);
        }
        for (int64_t j = 0; j < n_rest; j += 2) {
            const T *a = (const T *)product->a + m, *b = (const T *)product->b + n_begin + j;
            int64_t second = j + 1 < n_rest;
            VECTOR sum[8];
            UNROLL for (int i = 0; i < 8; i++) sum[i] = (VECTOR){ 0 };
            for (int64_t k = product->k; k > 0; k--, a += product->a_k, b += product->b_k) {
                UNROLL for (int i = 0; i < 4; i++)
                {
                    VECTOR column = LOAD_PART(part[i], a + (n_lanes[i] ? i * LANES : 0));
                    sum[i] += b[0] * column;
                    sum[4 + i] += b[second] * column;
                }
            }
            UNROLL for (int i = 0; i < 4; i++)
            {
                T x[VECTOR_BYTES / sizeof(T)], y[VECTOR_BYTES / sizeof(T)];
                NAME(store)(x, sum[i]);
                NAME(store)(y, sum[4 + i]);
                T *c = (T *)product->c + (m + i * LANES) * product->c_m + n_begin + j;
                for (int64_t l = 0; l < n_lanes[i]; l++, c += product->c_m) {
                    c[0] = x[l] + (product->accumulate ? c[0] : 0);
                    if (second)
                        c[1] = y[l] + (product->accumulate ? c[1] : 0);
                }
            }
        }
    }
}

/* Columns that are left over beside whole vectors and better done apart: up to this many. */
#define MOST_REST 4

static void NAME(multiply)(const ebb_product *product)
{
    const T *b = product->b;
    T *c = product->c;
    const int64_t n_whole = product->n / LANES, n_rest = product->n % LANES;
    const bool apart = product->rest_apart, along_k = apart && product->a_k == 1;
    T columns[MOST_REST * EBB_PRODUCT_K];
    if (along_k) {
        for (int64_t j = 0; j < n_rest; j++)
            for (int64_t k = 0; k < product->k; k++)
                columns[j * EBB_PRODUCT_K + k] = b[k * product->b_k + n_whole * LANES + j];
        if (n_whole == 0)
            NAME(rest_along_k)(product, 0, product->m, 0, columns);
    }
    int64_t n_vectors = n_whole + (n_rest > 0 && !apart);
    int64_t n_panels = (n_vectors + MAX_VECTORS - 1) / MAX_VECTORS, done = 0;
    for (int64_t panel = 0; panel < n_panels; panel++) {
        int64_t width = (n_vectors - done + n_panels - panel - 1) / (n_panels - panel);
        bool is_part = done + width > n_whole;
        NAME(part) part = PART(is_part ? n_rest : LANES);
        const NAME(block) *block = NAME(blocks);
        while (block->vectors != width)
            block++;
        for (int64_t m = 0; m < product->m; m += block->rows) {
            while (block->rows > product->m - m)
                block++;
            if (along_k && panel == 0) /* brings these rows of a near, too */
                NAME(rest_along_k)(product, m, m + block->rows, n_whole * LANES, columns);
            block->run(product, (const T *)product->a + m * product->a_m, b + done * LANES,
                       c + m * product->c_m + done * LANES, part);
        }
        done += width;
    }
    if (apart && !along_k)
        NAME(rest_along_m)(product, n_whole * LANES);
}

const ebb_product_table ISA_NAME(NAME(ebb_product)) = {
    .multiply = NAME(multiply),
    .lanes = (int)LANES,
    .most_rest = MOST_REST,
};

#undef LANES
#undef VECTOR
#undef BLOCK_NAME
#undef DEFINE_BLOCK
#undef BLOCK_ENTRY
#undef MOST_REST
#undef T
#undef TAG
