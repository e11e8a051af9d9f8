/* The pooling of vector.h for one type: see pool.c, which includes this file with T, TAG and an
 * integer I of T's size defined. A run of channels is cut into pieces of 16, 4 or 1; the last piece
 * overlaps the one before where the run is longer than a piece, which changes nothing, as results
 * are never read. Conversions go in steps of two, which compilers know. */

#define WIDE_NAME(name, lanes) ISA_PASTE(name##_##lanes, TAG)
#define DEFINE_WIDTH(L)                                                                            \
    typedef T WIDE_NAME(floats, L) __attribute__((vector_size(L * sizeof(T))));                    \
    typedef I WIDE_NAME(ints, L) __attribute__((vector_size(L * sizeof(T))));                      \
    typedef uint8_t WIDE_NAME(bytes, L) __attribute__((vector_size(L)));                           \
    typedef uint16_t WIDE_NAME(shorts, L) __attribute__((vector_size(L * 2)));                     \
    typedef int32_t WIDE_NAME(places, L) __attribute__((vector_size(L * 4)));                      \
    static inline void WIDE_NAME(max, L)(int64_t c, int64_t n_taps, const int64_t *offsets,        \
                                         const int32_t *taps, const T *x, T *y, void *where,       \
                                         bool is_wide, bool has_where)                             \
    {                                                                                              \
        WIDE_NAME(floats, L) most = (WIDE_NAME(floats, L)){ 0 } - (T)INFINITY, value;              \
        WIDE_NAME(ints, L) tap = { 0 };                                                            \
        if (n_taps > 0) {                                                                          \
            memcpy(&most, x + offsets[0] + c, sizeof most);                                        \
            tap += (I)taps[0];                                                                     \
        }                                                                                          \
        for (int64_t t = 1; t < n_taps; t++) {                                                     \
            memcpy(&value, x + offsets[t] + c, sizeof value);                                      \
            const WIDE_NAME(ints, L) takes = (value > most) | ((value != value) & (most == most)); \
            most = (WIDE_NAME(floats, L))((takes & (WIDE_NAME(ints, L))value) |                    \
                                          (~takes & (WIDE_NAME(ints, L))most));                    \
            tap = (takes & (I)taps[t]) | (~takes & tap);                                           \
        }                                                                                          \
        memcpy(y + c, &most, sizeof most);                                                         \
        if (!has_where)                                                                            \
            return;                                                                                \
        if (is_wide) {                                                                             \
            const WIDE_NAME(places, L) numbers =                                                   \
                __builtin_convertvector(tap, WIDE_NAME(places, L));                                \
            memcpy((int32_t *)where + c, &numbers, sizeof numbers);                                \
        } else {                                                                                   \
            const WIDE_NAME(places, L) places =                                                    \
                __builtin_convertvector(tap, WIDE_NAME(places, L));                                \
            const WIDE_NAME(shorts, L) shorts =                                                    \
                __builtin_convertvector(places, WIDE_NAME(shorts, L));                             \
            const WIDE_NAME(bytes, L) numbers =                                                    \
                __builtin_convertvector(shorts, WIDE_NAME(bytes, L));                              \
            memcpy((uint8_t *)where + c, &numbers, sizeof numbers);                                \
        }                                                                                          \
    }                                                                                              \
    static inline void WIDE_NAME(pick, L)(int64_t c, int64_t n_taps, const int64_t *offsets,       \
                                          const int32_t *taps, const T *dy, const void *where,     \
                                          bool is_wide, T *dx)                                     \
    {                                                                                              \
        WIDE_NAME(floats, L) sum = { 0 }, value;                                                   \
        for (int64_t t = 0; t < n_taps; t++) {                                                     \
            WIDE_NAME(ints, L) tap;                                                                \
            if (is_wide) {                                                                         \
                WIDE_NAME(places, L) numbers;                                                      \
                memcpy(&numbers, (const int32_t *)where + offsets[t] + c, sizeof numbers);         \
                tap = __builtin_convertvector(numbers, WIDE_NAME(ints, L));                        \
            } else {                                                                               \
                WIDE_NAME(bytes, L) numbers;                                                       \
                memcpy(&numbers, (const uint8_t *)where + offsets[t] + c, sizeof numbers);         \
                const WIDE_NAME(shorts, L) shorts =                                                \
                    __builtin_convertvector(numbers, WIDE_NAME(shorts, L));                        \
                const WIDE_NAME(places, L) places =                                                \
                    __builtin_convertvector(shorts, WIDE_NAME(places, L));                         \
                tap = __builtin_convertvector(places, WIDE_NAME(ints, L));                         \
            }                                                                                      \
            memcpy(&value, dy + offsets[t] + c, sizeof value);                                     \
            sum += (WIDE_NAME(floats, L))((tap == (I)taps[t]) & (WIDE_NAME(ints, L))value);        \
        }                                                                                          \
        memcpy(dx + c, &sum, sizeof sum);                                                          \
    }                                                                                              \
    static inline void WIDE_NAME(sum, L)(int64_t c, int64_t n_taps, const int64_t *offsets,        \
                                         const double *factors, double factor, const T *x, T *y)   \
    {                                                                                              \
        WIDE_NAME(floats, L) sum = { 0 }, value;                                                   \
        for (int64_t t = 0; t < n_taps; t++) {                                                     \
            memcpy(&value, x + offsets[t] + c, sizeof value);                                      \
            sum += factors ? value * (T)factors[t] : value;                                        \
        }                                                                                          \
        sum *= factors ? (T)1 : (T)factor;                                                         \
        memcpy(y + c, &sum, sizeof sum);                                                           \
    }
DEFINE_WIDTH(16)
DEFINE_WIDTH(4)
DEFINE_WIDTH(1)

/* Calls name_L(c, ...) for pieces that cover 0..n-1. */
#ifdef MASKED
#define EACH_PIECE(name, ...)                                                                      \
    for (int64_t c = 0; c < n; c += 16)                                                            \
    name##_masked((__mmask16)(n - c >= 16 ? 0xffff : (1 << (n - c)) - 1), c, __VA_ARGS__)
#else
#define EACH_PIECE(name, ...)                                                                      \
    do {                                                                                           \
        int64_t c = 0;                                                                             \
        for (; c + 16 <= n; c += 16)                                                               \
            WIDE_NAME(name, 16)(c, __VA_ARGS__);                                                   \
        if (c < n && n >= 16) {                                                                    \
            WIDE_NAME(name, 16)(n - 16, __VA_ARGS__);                                              \
        } else if (c < n) {                                                                        \
            for (; c + 4 <= n; c += 4)                                                             \
                WIDE_NAME(name, 4)(c, __VA_ARGS__);                                                \
            if (c < n && n >= 4)                                                                   \
                WIDE_NAME(name, 4)(n - 4, __VA_ARGS__);                                            \
            else                                                                                   \
                for (; c < n; c++)                                                                 \
                    WIDE_NAME(name, 1)(c, __VA_ARGS__);                                            \
        }                                                                                          \
    } while (0)
#endif

/* The taps of the few windows that are common are constants of a loop of their own. */
#define EACH_COUNT(name, ...)                                                                      \
    switch (p->n_taps) {                                                                           \
    case 1:                                                                                        \
        NAME(name)(p, 1, __VA_ARGS__);                                                             \
        break;                                                                                     \
    case 2:                                                                                        \
        NAME(name)(p, 2, __VA_ARGS__);                                                             \
        break;                                                                                     \
    case 4:                                                                                        \
        NAME(name)(p, 4, __VA_ARGS__);                                                             \
        break;                                                                                     \
    default:                                                                                       \
        NAME(name)(p, p->n_taps, __VA_ARGS__);                                                     \
    }
#define FEW_TAPS 4
/* Few taps are copied, so that stores to results cannot change them. */
#define TAKE_TAPS(type, list)                                                                      \
    type few_##list[FEW_TAPS];                                                                     \
    for (int64_t t = 0; t < n_taps && n_taps <= FEW_TAPS; t++)                                     \
        few_##list[t] = p->list[t];                                                                \
    const type *list = n_taps <= FEW_TAPS ? few_##list : p->list

static inline __attribute__((always_inline)) void
NAME(max_places)(const ebb_pool_places *p, int64_t n_taps, const T *x, T *y, char *where)
{
    TAKE_TAPS(int64_t, offsets);
    TAKE_TAPS(int32_t, taps);
    const int64_t n = p->n, step = !where ? 0 : p->to_step * (p->is_wide ? 4 : 1);
    const bool is_wide = p->is_wide, has_where = where != NULL;
    char nowhere = 0, *numbers = has_where ? where : &nowhere;
    for (int64_t i = 0; i < p->n_places; i++, x += p->from_step, y += p->to_step, numbers += step)
        EACH_PIECE(max, n_taps, offsets, taps, x, y, numbers, is_wide, has_where);
}

static inline __attribute__((always_inline)) void
NAME(pick_places)(const ebb_pool_places *p, int64_t n_taps, const T *dy, const char *where, T *dx)
{
    TAKE_TAPS(int64_t, offsets);
    TAKE_TAPS(int32_t, taps);
    const int64_t n = p->n, step = p->from_step * (p->is_wide ? 4 : 1);
    const bool is_wide = p->is_wide;
    for (int64_t i = 0; i < p->n_places; i++, dy += p->from_step, where += step, dx += p->to_step)
        EACH_PIECE(pick, n_taps, offsets, taps, dy, where, is_wide, dx);
}

static inline __attribute__((always_inline)) void NAME(sum_places)(const ebb_pool_places *p,
                                                                   int64_t n_taps, const T *x, T *y)
{
    TAKE_TAPS(int64_t, offsets);
    const int64_t n = p->n;
    for (int64_t i = 0; i < p->n_places; i++, x += p->from_step, y += p->to_step)
        EACH_PIECE(sum, n_taps, offsets, p->factors, p->factor, x, y);
}

static void NAME(pool_max)(const ebb_pool_places *p, const void *x, void *y, void *where)
{
    EACH_COUNT(max_places, x, y, where)
}

static void NAME(pool_pick)(const ebb_pool_places *p, const void *dy, const void *where, void *dx)
{
    EACH_COUNT(pick_places, dy, where, dx)
}

static void NAME(pool_sum)(const ebb_pool_places *p, const void *x, void *y)
{
    EACH_COUNT(sum_places, x, y)
}

const ebb_pool_table ISA_NAME(NAME(ebb_pool)) = {
    .max = NAME(pool_max),
    .pick = NAME(pool_pick),
    .sum = NAME(pool_sum),
};

#undef WIDE_NAME
#undef DEFINE_WIDTH
#undef EACH_PIECE
#undef EACH_COUNT
#undef FEW_TAPS
#undef TAKE_TAPS
#undef T
#undef I
#undef TAG
