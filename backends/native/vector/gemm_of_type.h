/* Products of large matrices for one type: part of product_of_type.h. b is packed into panels of
 * two vectors of columns, a piece of k at a time, which stay in the second-level cache; blocks of
 * up to GEMM_ROWS rows of a go over all panels, and their sums stay in registers. The order of
 * additions depends on k alone. (Goto and van de Geijn, Anatomy of high-performance matrix
 * multiplication, ACM TOMS 34, 2008.) */

#define GEMM_NAME(name) ISA_PASTE(gemm_##name, TAG)
#define GEMM_WIDTH (2 * LANES)

/* One block of rows on one panel. */
typedef struct NAME(gemm_step) {
    const ebb_gemm *g;
    int64_t k; /* of the piece */
    const T *a;
    int64_t a_m; /* unless it is packed */
    const T *panel;
    int64_t row, column; /* of c */
    bool is_first, is_last;
} NAME(gemm_step);

INLINE VECTOR NAME(gemm_relu)(VECTOR x) /* NaN stays */
{
    return (VECTOR)((NAME(bits))x & ~(NAME(bits))(x <= 0));
}

/* Adds the sums to what is there: in the first piece the residual, which may lie where the result
 * goes. What follows comes with the last. */
static __attribute__((noinline)) void NAME(gemm_finish)(const NAME(gemm_step) * s, int64_t n_rows,
                                                        const VECTOR *sums)
{
    const ebb_gemm *g = s->g;
    const int64_t left = g->n - s->column;
    const bool is_whole = left >= GEMM_WIDTH, has_relu = s->is_last && g->relu;
    const NAME(part) part[2] = { PART(left < LANES ? left : LANES),
                                 PART(left < LANES ? 0 : (is_whole ? LANES : left - LANES)) };
    T *c = (T *)g->c + s->row * g->c_m + s->column;
    const T *there = s->is_first ? g->residual : g->c;
    const int64_t there_m = s->is_first ? g->residual_m : g->c_m;
    if (there)
        there += s->row * there_m + s->column;
    VECTOR bias[2] = { { 0 } };
    if (s->is_last && g->bias) {
        bias[0] = LOAD_PART(part[0], (const T *)g->bias + s->column);
        if (left > LANES)
            bias[1] = LOAD_PART(part[1], (const T *)g->bias + s->column + LANES);
    }
    const bool has_bias = s->is_last && g->bias;
    for (int64_t i = 0; i < n_rows; i++, c += g->c_m, sums += 2) {
        VECTOR x = sums[0], y = sums[1];
        if (there && is_whole) {
            x += NAME(load)(there);
            y += NAME(load)(there + LANES);
        } else if (there) {
            x += LOAD_PART(part[0], there);
            if (left > LANES)
                y += LOAD_PART(part[1], there + LANES);
        }
        there += there ? there_m : 0;
        if (has_bias) {
            x += bias[0];
            y += bias[1];
        }
        if (has_relu) {
            x = NAME(gemm_relu)(x);
            y = NAME(gemm_relu)(y);
        }
        if (is_whole) {
            NAME(store)(c, x);
            NAME(store)(c + LANES, y);
        } else {
            STORE_PART(part[0], c, x);
            if (left > LANES)
                STORE_PART(part[1], c + LANES, y);
        }
    }
}

/* a as it lies, along k, and packed: with strides that the compiler knows as far as can be. */
#define DEFINE_GEMM_OF(name, rows, m_stride, k_stride)                                             \
    static void GEMM_NAME(name##_##rows)(const NAME(gemm_step) * s)                                \
    {                                                                                              \
        const int64_t a_m = m_stride, a_k = k_stride;                                              \
        const T *a = s->a, *panel = s->panel;                                                      \
        VECTOR first[rows], second[rows], sums[2 * (rows)];                                        \
        UNROLL for (int i = 0; i < (rows); i++) first[i] = second[i] = (VECTOR){ 0 };              \
        for (int64_t k = s->k; k > 0; k--, a += a_k, panel += GEMM_WIDTH) {                        \
            const VECTOR x = NAME(load)(panel), y = NAME(load)(panel + LANES);                     \
            UNROLL for (int i = 0; i < (rows); i++)                                                \
            {                                                                                      \
                first[i] += a[i * a_m] * x;                                                        \
                second[i] += a[i * a_m] * y;                                                       \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int i = 0; i < (rows); i++)                                                    \
        {                                                                                          \
            sums[2 * i] = first[i];                                                                \
            sums[2 * i + 1] = second[i];                                                           \
        }                                                                                          \
        NAME(gemm_finish)(s, rows, sums);                                                          \
    }
#define DEFINE_GEMM(rows)                                                                          \
    DEFINE_GEMM_OF(along, rows, s->a_m, 1)                                                         \
    DEFINE_GEMM_OF(packed, rows, 1, GEMM_STEP)
EACH_GEMM(DEFINE_GEMM)

/* n_k rows of b as panels [panel][k][GEMM_WIDTH], 0 behind the last column. */
static void NAME(gemm_pack_b)(const ebb_gemm *g, int64_t k_begin, int64_t n_k, T *to)
{
    const T *b = (const T *)g->b + k_begin * g->b_k;
    for (int64_t j = 0; j < g->n;
         j += GEMM_WIDTH, to += n_k * GEMM_WIDTH, b += GEMM_WIDTH * g->b_n) {
        const int64_t n = g->n - j < GEMM_WIDTH ? g->n - j : GEMM_WIDTH;
        if (n < GEMM_WIDTH)
            memset(to, 0, (size_t)(n_k * GEMM_WIDTH) * sizeof(T));
        if (g->b_n == 1 && n == GEMM_WIDTH) {
            for (int64_t k = 0; k < n_k; k++) {
                NAME(store)(to + k * GEMM_WIDTH, NAME(load)(b + k * g->b_k));
                NAME(store)(to + k * GEMM_WIDTH + LANES, NAME(load)(b + k * g->b_k + LANES));
            }
        } else if (g->b_k == 1) {
            TRANSPOSE(b, g->b_n, to, GEMM_WIDTH, n_k, n);
        } else {
            for (int64_t k = 0; k < n_k; k++)
                for (int64_t l = 0; l < n; l++)
                    to[k * GEMM_WIDTH + l] = b[k * g->b_k + l * g->b_n];
        }
    }
}

/* Block i of n_blocks of the rows begins here. */
INLINE int64_t NAME(gemm_row)(const ebb_gemm *g, int64_t n_blocks, int64_t i)
{
    return g->m * i / n_blocks;
}

/* Blocks of rows as [block][k][GEMM_STEP]. */
static void NAME(gemm_pack_a)(const ebb_gemm *g, int64_t n_blocks, int64_t begin, int64_t end,
                              int64_t k_begin, int64_t n_k, T *to)
{
    for (int64_t k = 0; k < n_k; k++)
        for (int64_t i = begin; i < end; i++) {
            const int64_t row = NAME(gemm_row)(g, n_blocks, i);
            const int64_t n = NAME(gemm_row)(g, n_blocks, i + 1) - row;
            const T *from = (const T *)g->a + row * g->a_m + (k_begin + k) * g->a_k;
            T *at = to + ((i - begin) * n_k + k) * GEMM_STEP;
            if (g->a_m == 1 && row + GEMM_STEP <= g->m) {
                UNROLL for (int l = 0; l < GEMM_STEP / LANES; l++)
                    NAME(store)(at + l * LANES, NAME(load)(from + l * LANES));
            } else {
                for (int64_t l = 0; l < n; l++)
                    at[l] = from[l * g->a_m];
            }
        }
}

/* Asks for part `index` of n of n_rows rows of a, which lie along k. */
static void NAME(gemm_prefetch)(const ebb_gemm *g, int64_t row, int64_t n_rows, int64_t k_begin,
                                int64_t n_k, int64_t index, int64_t n)
{
    const int64_t line = 64 / (int64_t)sizeof(T), n_lines = (n_k + line - 1) / line;
    for (int64_t i = n_rows * n_lines * index / n; i < n_rows * n_lines * (index + 1) / n; i++)
        __builtin_prefetch((const T *)g->a + (row + i / n_lines) * g->a_m + k_begin +
                           i % n_lines * line);
}

static void NAME(gemm_piece)(const ebb_gemm *g, int64_t k_begin, int64_t n_k, T *packed_b,
                             T *packed_a)
{
    static void (*const with[][2])(const NAME(gemm_step) *) = { { NULL, NULL },
#define GEMM_ENTRY(rows) { GEMM_NAME(along_##rows), GEMM_NAME(packed_##rows) },
                                                                EACH_GEMM(GEMM_ENTRY) };
    const int64_t n_blocks = (g->m + GEMM_ROWS - 1) / GEMM_ROWS;
    const int64_t n_panels = (g->n + GEMM_WIDTH - 1) / GEMM_WIDTH;
    const bool packs = g->a_k != 1;
    NAME(gemm_pack_b)(g, k_begin, n_k, packed_b);
    for (int64_t i = 0; i < n_blocks; i++) {
        const int64_t row = NAME(gemm_row)(g, n_blocks, i);
        const int64_t next = NAME(gemm_row)(g, n_blocks, i + 1);
        if (packs && i % GEMM_BLOCKS == 0)
            NAME(gemm_pack_a)
        (g, n_blocks, i, i + GEMM_BLOCKS < n_blocks ? i + GEMM_BLOCKS : n_blocks, k_begin, n_k,
         packed_a);
        NAME(gemm_step)
        step = { .g = g,
                 .k = n_k,
                 .a = packs ? packed_a + i % GEMM_BLOCKS * n_k * GEMM_STEP
                            : (const T *)g->a + row * g->a_m + k_begin,
                 .a_m = g->a_m,
                 .panel = packed_b,
                 .row = row,
                 .is_first = k_begin == 0,
                 .is_last = k_begin + n_k == g->k };
        for (int64_t p = 0; p < n_panels; p++) {
            if (!packs && next < g->m)
                NAME(gemm_prefetch)
            (g, next, NAME(gemm_row)(g, n_blocks, i + 2) - next, k_begin, n_k, p, n_panels);
            with[next - row][packs](&step);
            step.panel += n_k * GEMM_WIDTH;
            step.column += GEMM_WIDTH;
        }
    }
}

static size_t NAME(gemm_scratch)(const ebb_gemm *g)
{
    const int64_t depth = g->k < EBB_GEMM_DEPTH ? g->k : EBB_GEMM_DEPTH;
    const int64_t columns = (g->n + GEMM_WIDTH - 1) / GEMM_WIDTH * GEMM_WIDTH;
    return (size_t)(depth * (columns + (g->a_k == 1 ? 0 : GEMM_BLOCKS * GEMM_STEP))) * sizeof(T);
}

static void NAME(gemm)(const ebb_gemm *g, void *scratch)
{
    const int64_t columns = (g->n + GEMM_WIDTH - 1) / GEMM_WIDTH * GEMM_WIDTH;
    /* Pieces of about equal depth. */
    const int64_t n_pieces = (g->k + EBB_GEMM_DEPTH - 1) / EBB_GEMM_DEPTH;
    for (int64_t i = 0; i < n_pieces; i++) {
        const int64_t begin = g->k * i / n_pieces, end = g->k * (i + 1) / n_pieces;
        NAME(gemm_piece)(g, begin, end - begin, scratch, (T *)scratch + (end - begin) * columns);
    }
}

#undef GEMM_NAME
#undef GEMM_WIDTH
#undef DEFINE_GEMM_OF
#undef DEFINE_GEMM
#undef GEMM_ENTRY
