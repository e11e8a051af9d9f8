/* Sums of exponentials for one type, lane by lane and in one pass: see softmax.c and reduce.c,
 * which include this file with T, TAG, FN and LANES_MAX defined. A lane's terms are taken less the
 * largest one that it has met; the sum is mended where a larger one comes, once for EXP_BLOCK
 * vectors. NaN shows in the sum, not always in the largest. */

#define WIDTH ((int64_t)(LANES_BYTES / sizeof(T)))
#define SPLAT(x) ((NAME(lanes)){ 0 } + (T)(x))
#define EXP_BLOCK 8
/* Vectors whose exponentials are added in T before the sum goes on anew: bounds the error. */
#define EXP_CHUNK (32 * EXP_BLOCK)

typedef struct NAME(exp_sums) {
    NAME(lanes) largest, sum; /* of e^(x - shift(largest)) */
} NAME(exp_sums);

/* What is subtracted: -inf - (-inf) would be NaN. */
static inline NAME(lanes) NAME(shift)(NAME(lanes) largest)
{
    return LANES_MAX(largest, SPLAT(sizeof(T) == 4 ? -(double)FLT_MAX : -DBL_MAX));
}

static inline NAME(exp_sums) NAME(exp_sums_start)(void)
{
    return (NAME(exp_sums)){ SPLAT(-INFINITY), SPLAT(0) };
}

/* Adds EXP_BLOCK vectors, which are overwritten. */
static inline void NAME(exp_sums_add)(NAME(exp_sums) * s, NAME(lanes) * v)
{
    const NAME(lanes) a = LANES_MAX(v[0], v[1]), b = LANES_MAX(v[2], v[3]);
    const NAME(lanes) c = LANES_MAX(v[4], v[5]), d = LANES_MAX(v[6], v[7]);
    const NAME(lanes) here = LANES_MAX(LANES_MAX(a, b), LANES_MAX(c, d));
    const NAME(lanes) most = LANES_MAX(here, s->largest);
    const NAME(lanes) shift = NAME(shift)(most);
    const NAME(lanes) mend = NAME(lanes_exp)(NAME(shift)(s->largest) - shift);
#pragma GCC unroll 8
    for (int i = 0; i < EXP_BLOCK; i++)
        v[i] = NAME(lanes_exp)(v[i] - shift);
    const NAME(lanes) sum = ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
    s->sum = s->sum * mend + sum;
    s->largest = most;
}

static inline void NAME(exp_sums_join)(NAME(exp_sums) * s, const NAME(exp_sums) * other)
{
    const NAME(lanes) most = LANES_MAX(other->largest, s->largest), shift = NAME(shift)(most);
    s->sum = s->sum * NAME(lanes_exp)(NAME(shift)(s->largest) - shift) +
             other->sum * NAME(lanes_exp)(NAME(shift)(other->largest) - shift);
    s->largest = most;
}

/* A vector of n elements, and -inf behind them. */
static inline NAME(lanes) NAME(part_of)(const T *x, int64_t n)
{
    return n >= WIDTH ? NAME(lanes_load)(x) : NAME(lanes_part)(x, n, SPLAT(-INFINITY));
}

/* EXP_BLOCK of them. */
static inline void NAME(exp_block)(int64_t n, const T *x, NAME(lanes) * v)
{
    if (n >= EXP_BLOCK * WIDTH) {
#pragma GCC unroll 8
        for (int i = 0; i < EXP_BLOCK; i++)
            v[i] = NAME(lanes_load)(x + i * WIDTH);
        return;
    }
    for (int i = 0; i < EXP_BLOCK; i++)
        v[i] = i * WIDTH < n ? NAME(part_of)(x + i * WIDTH, n - i * WIDTH) : SPLAT(-INFINITY);
}

/* The first WIDTH of n columns of the first EXP_BLOCK of n_rows rows, and -inf in other places. */
static inline void NAME(exp_rows_block)(int64_t n_rows, int64_t stride, int64_t n, const T *x,
                                        NAME(lanes) * v)
{
    if (n_rows >= EXP_BLOCK && n >= WIDTH) {
#pragma GCC unroll 8
        for (int i = 0; i < EXP_BLOCK; i++)
            v[i] = NAME(lanes_load)(x + i * stride);
        return;
    }
    for (int i = 0; i < EXP_BLOCK; i++)
        v[i] = i < n_rows ? NAME(part_of)(x + i * stride, n) : SPLAT(-INFINITY);
}

/* Of at most EXP_CHUNK vectors. */
static inline NAME(exp_sums) NAME(exp_sums_chunk)(int64_t n, const T *x)
{
    NAME(exp_sums) s = NAME(exp_sums_start)();
    NAME(lanes) v[EXP_BLOCK];
    for (int64_t i = 0; i < n; i += EXP_BLOCK * WIDTH) {
        ask_ahead(x + i, EXP_BLOCK * LANES_BYTES);
        NAME(exp_block)(n - i, x + i, v);
        NAME(exp_sums_add)(&s, v);
    }
    return s;
}

/* Makes the largest elements of all lanes that of the whole. */
static inline void NAME(exp_sums_level)(NAME(exp_sums) * s)
{
    T several[LANES_BYTES / sizeof(T)], largest;
    NAME(lanes_store)(several, s->largest);
    largest = several[0];
    for (int64_t i = 1; i < WIDTH; i++)
        largest = several[i] > largest ? several[i] : largest;
    const NAME(lanes) most = SPLAT(largest);
    s->sum *= NAME(lanes_exp)(NAME(shift)(s->largest) - NAME(shift)(most));
    s->largest = most;
}
