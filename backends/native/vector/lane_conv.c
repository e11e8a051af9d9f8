/* A convolution with an image in each lane of a vector: see ebb_lane_row. */
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"

/* Sums of 6 filters at 4 places fill 24 of the 32 registers that there are with AVX-512; without it
 * 12 of 16. */
#ifdef __AVX512F__
enum { MOST_PLACES = 4 };
#else
enum { MOST_PLACES = 2 };
#endif
enum { MOST_FILTERS = EBB_LANE_FILTERS, IMAGES = EBB_LANE_IMAGES };

static inline __attribute__((always_inline)) void
add_places(const ebb_lane_row *r, int64_t place, int64_t lane, int n_filters, int n_places)
{
    lanes_f32 sums[MOST_FILTERS * MOST_PLACES];
    UNROLL for (int f = 0; f < n_filters; f++) UNROLL for (int p = 0; p < n_places; p++)
        sums[f * n_places + p] = (lanes_f32){ 0 } + r->bias[f];
    const float *weights = r->weights, *image = r->image + place * r->place_step + lane;
    for (int64_t k = 0; k < r->n_taps; k++, weights += n_filters) {
        const float *from = image + r->taps[k];
        lanes_f32 x[MOST_PLACES];
        UNROLL for (int p = 0; p < n_places; p++) x[p] = lanes_load_f32(from + p * r->place_step);
        UNROLL for (int f = 0; f < n_filters; f++) UNROLL for (int p = 0; p < n_places; p++)
            sums[f * n_places + p] += weights[f] * x[p];
    }
    float *to = r->sums + place * r->sum_step + lane;
    UNROLL for (int f = 0; f < n_filters; f++) UNROLL for (int p = 0; p < n_places; p++)
        lanes_store_f32(to + p * r->sum_step + f * IMAGES, sums[f * n_places + p]);
}

#define WITH_FILTERS(count)                                                                        \
    static void convolve_##count(const ebb_lane_row *r)                                            \
    {                                                                                              \
        for (int64_t lane = 0; lane < IMAGES; lane += LANES_F32) {                                 \
            int64_t place = 0;                                                                     \
            for (; place + MOST_PLACES <= r->n_places; place += MOST_PLACES)                       \
                add_places(r, place, lane, count, MOST_PLACES);                                    \
            for (; place + 2 <= r->n_places; place += 2)                                           \
                add_places(r, place, lane, count, 2);                                              \
            for (; place < r->n_places; place++)                                                   \
                add_places(r, place, lane, count, 1);                                              \
        }                                                                                          \
    }
WITH_FILTERS(1)
WITH_FILTERS(2)
WITH_FILTERS(3)
WITH_FILTERS(4)
WITH_FILTERS(5)
WITH_FILTERS(6)

static void convolve(const ebb_lane_row *r)
{
    static void (*const with[])(const ebb_lane_row *) = { NULL,       convolve_1, convolve_2,
                                                          convolve_3, convolve_4, convolve_5,
                                                          convolve_6 };
    with[r->n_filters](r);
}

/* ---- the gradient of weights ---- */

/* Sums for so many filters and taps, and those taps of the image, fill 30 of 32 registers, or 12 of
 * 16. */
#ifdef __AVX512F__
enum { MOST_SIDE = 5 };
#define EACH_FILTERS(X) X(1) X(2) X(3) X(4) X(5)
#define EACH_TAPS(X) X(1) X(2) X(3) X(4) X(5)
#else
enum { MOST_SIDE = 3 };
#define EACH_FILTERS(X) X(1) X(2) X(3)
#define EACH_TAPS(X) X(1) X(2) X(3)
#endif

static inline __attribute__((always_inline)) void
add_block(const ebb_lane_products *p, int64_t filter, int64_t tap, int n_filters, int n_taps)
{
    for (int64_t lane = 0; lane < IMAGES; lane += LANES_F32) {
        lanes_f32 sums[MOST_SIDE * MOST_SIDE];
        float *to = p->sums + filter * p->sum_step + tap * IMAGES + lane;
        UNROLL for (int f = 0; f < n_filters; f++) UNROLL for (int t = 0; t < n_taps; t++)
            sums[f * n_taps + t] = lanes_load_f32(to + f * p->sum_step + t * IMAGES);
        for (int64_t row = 0; row < p->n_rows; row++) {
            const float *dy = p->dy + filter * p->dy_filter + row * p->dy_row + lane;
            const float *image = p->image + row * p->row_step + tap * IMAGES + lane;
            for (int64_t i = 0; i < p->n_places; i++, dy += p->dy_place, image += p->place_step) {
                lanes_f32 x[MOST_SIDE];
                UNROLL for (int t = 0; t < n_taps; t++) x[t] = lanes_load_f32(image + t * IMAGES);
                UNROLL for (int f = 0; f < n_filters; f++)
                {
                    const lanes_f32 one = lanes_load_f32(dy + f * p->dy_filter);
                    UNROLL for (int t = 0; t < n_taps; t++) sums[f * n_taps + t] += one * x[t];
                }
            }
        }
        UNROLL for (int f = 0; f < n_filters; f++) UNROLL for (int t = 0; t < n_taps; t++)
            lanes_store_f32(to + f * p->sum_step + t * IMAGES, sums[f * n_taps + t]);
    }
}

#define WITH_TAPS(taps)                                                                            \
    case taps:                                                                                     \
        add_block(p, filter, tap, n_filters, taps);                                                \
        break;
#define WITH_BLOCK(count)                                                                          \
    static void add_for_##count(const ebb_lane_products *p, int64_t filter, int64_t tap,           \
                                int64_t n_taps)                                                    \
    {                                                                                              \
        enum { n_filters = count };                                                                \
        switch (n_taps) {                                                                          \
            EACH_TAPS(WITH_TAPS)                                                                   \
        default:                                                                                   \
            break;                                                                                 \
        }                                                                                          \
    }
EACH_FILTERS(WITH_BLOCK)

/* About equal parts, none above MOST_SIDE: the end of the one that begins at `begin`. */
static int64_t end_of_part(int64_t begin, int64_t n)
{
    const int64_t n_parts = (n - begin + MOST_SIDE - 1) / MOST_SIDE;
    return begin + (n - begin + n_parts - 1) / n_parts;
}

static void add_products(const ebb_lane_products *p)
{
    static void (*const with[])(const ebb_lane_products *, int64_t, int64_t,
                                int64_t) = { NULL,
#define ENTRY(count) add_for_##count,
                                             EACH_FILTERS(ENTRY) };
    for (int64_t f = 0, f_end; f < p->n_filters; f = f_end) {
        f_end = end_of_part(f, p->n_filters);
        for (int64_t t = 0, t_end; t < p->n_taps; t = t_end) {
            t_end = end_of_part(t, p->n_taps);
            with[f_end - f](p, f, t, t_end - t);
        }
    }
}

static inline lanes_of_bits load_bytes(const uint8_t *from)
{
#if defined __AVX512F__
    return (lanes_of_bits)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)from));
#elif defined __AVX2__
    return (lanes_of_bits)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)from));
#else
    lanes_of_bits bytes;
    for (int i = 0; i < LANES_F32; i++)
        bytes[i] = from[i];
    return bytes;
#endif
}

static void unpool(const ebb_lane_windows *w)
{
    const int64_t n_taps = w->n_taps, *offsets = w->offsets;
    for (int64_t lane = 0; lane < IMAGES; lane += LANES_F32) {
        lanes_f32 sum = lanes_load_f32(w->sum + lane);
        for (int64_t i = 0; i < w->n_windows; i++) {
            const lanes_f32 dy = lanes_load_f32(w->dy + i * w->dy_step + lane);
            const lanes_of_bits taps = load_bytes(w->where + i * w->where_step + lane);
            float *to = w->to + i * w->to_step + lane;
            for (int64_t t = 0; t < n_taps; t++) {
                const lanes_of_bits is_here = taps == (int32_t)t;
                lanes_store_f32(to + offsets[t], (lanes_f32)((lanes_of_bits)dy & is_here));
            }
            sum += (lanes_f32)((lanes_of_bits)dy & (taps < (int32_t)n_taps));
        }
        lanes_store_f32(w->sum + lane, sum);
    }
}

/* ---- places of maxima ---- */

typedef uint8_t bytes __attribute__((vector_size(IMAGES)));

/* Lines i and i + 8 in turns, four times: a square of 16 by 16 is transposed. */
static void split_square(const uint8_t *from, int64_t from_step, uint8_t *to, int64_t to_image,
                         int64_t n, int64_t n_images)
{
    bytes lines[IMAGES] = { { 0 } }, next[IMAGES];
    for (int64_t i = 0; i < n; i++)
        memcpy(&lines[i], from + i * from_step, sizeof *lines);
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 8; i++) {
            next[2 * i] = __builtin_shufflevector(lines[i], lines[i + 8], 0, 16, 1, 17, 2, 18, 3,
                                                  19, 4, 20, 5, 21, 6, 22, 7, 23);
            next[2 * i + 1] = __builtin_shufflevector(lines[i], lines[i + 8], 8, 24, 9, 25, 10, 26,
                                                      11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        memcpy(lines, next, sizeof lines);
    }
    for (int64_t j = 0; j < n_images; j++)
        memcpy(to + j * to_image, &lines[j], (size_t)n);
}

static void split_bytes(int64_t n, int64_t n_images, const uint8_t *from, int64_t from_step,
                        uint8_t *to, int64_t to_image)
{
    for (int64_t i = 0; i < n; i += IMAGES)
        split_square(from + i * from_step, from_step, to + i, to_image, n - i < IMAGES ? n - i : 16,
                     n_images);
}

const ebb_lane_conv_table ISA_NAME(ebb_lane_conv) = { convolve, add_products, unpool, split_bytes };
