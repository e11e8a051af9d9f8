/* Windows that slide over the last one, two or three dimensions of a value: the geometry of
 * convolution, pooling and im2col. For backends too. */
#ifndef OPS_WINDOW_H
#define OPS_WINDOW_H

#include <ebb/op.h>

enum { EBB_MAX_SPATIAL = 3 };

/* Window number i along a dimension has its tap number k at i * stride + k * dilation - begin,
 * which lies in the input if it is in 0..size-1. Arrays are aligned at the right: with fewer than
 * three dimensions those in front have size, count and window 1, so that loops always run over
 * three. */
typedef struct ebb_window {
    int n;                           /* 1..3 */
    int64_t size[EBB_MAX_SPATIAL];   /* of the input */
    int64_t count[EBB_MAX_SPATIAL];  /* of windows: size of the output */
    int64_t window[EBB_MAX_SPATIAL]; /* taps */
    int64_t stride[EBB_MAX_SPATIAL], dilation[EBB_MAX_SPATIAL];
    int64_t begin[EBB_MAX_SPATIAL], end[EBB_MAX_SPATIAL]; /* padding */
    int64_t n_sizes, n_counts, n_taps;                    /* products; 0 where one would overflow */
} ebb_window;

/* The lists as they stand in attributes. */
typedef struct ebb_window_spec {
    const ebb_ints *window; /* taps; NULL: set w->window before */
    const ebb_ints *stride, *padding, *dilation;
    bool stride_is_window; /* without a stride */
    bool ceil_mode;
} ebb_window_spec;

/* All of these check what is given and return BAD_ATTRIBUTE or BAD_SHAPE; with `infer` NULL the
 * attributes are known to be good and the status is OK. */

/* Expands the lists for n dimensions; sizes and counts stay 0. */
ebb_status ebb_window_read(const ebb_infer *infer, const ebb_window_spec *spec, int n,
                           ebb_window *w);
/* Fills the counts for sizes[n]. `x` is named in messages. */
ebb_status ebb_window_slide(const ebb_infer *infer, const int64_t *sizes, bool ceil_mode,
                            const ebb_shape *x, ebb_window *w);
/* One value for each dimension, or BAD_ATTRIBUTE. None: `missing`. */
ebb_status ebb_window_expand(const ebb_infer *infer, const char *name, const ebb_ints *list, int n,
                             int64_t low, int64_t missing, int64_t *values);
/* A float input number `index` of rank 3, 4 or 5. */
ebb_status ebb_window_input(const ebb_infer *infer, int index, const char *name);

/* For builders: the list with a value for each dimension, so that equal nodes are found equal; a
 * list that is wrong comes back as it is. Padding has 2n values. */
ebb_ints ebb_window_full(ebb_ints list, int n, int64_t missing);
ebb_ints ebb_window_full_padding(ebb_ints list, int n);
/* The last n values of a window's array. */
ebb_ints ebb_window_list(const ebb_window *w, const int64_t *values);
/* "[1,2]", the last n values. Returns `text`. */
const char *ebb_window_text(const ebb_window *w, const int64_t *values,
                            char text[EBB_TYPE_TEXT_BYTES]);

/* The taps of the window at a place that lie in the input: first and behind the last along
 * dimension d. */
static inline void ebb_window_taps(const ebb_window *w, int d, int64_t index, int64_t *first,
                                   int64_t *last)
{
    const int64_t start = index * w->stride[d] - w->begin[d], step = w->dilation[d];
    const int64_t room = w->size[d] - start; /* taps below room / step, rounded up, are inside */
    *first = start < 0 ? (-start + step - 1) / step : 0;
    *last = room <= 0 ? 0 : (room + step - 1) / step;
    if (*last > w->window[d])
        *last = w->window[d];
    if (*first > *last)
        *first = *last;
}

/* Number `at` in row-major order, along each dimension of these sizes. */
static inline void ebb_window_split(int64_t at, const int64_t sizes[EBB_MAX_SPATIAL],
                                    int64_t index[EBB_MAX_SPATIAL])
{
    for (int d = EBB_MAX_SPATIAL - 1; d >= 0; d--) {
        index[d] = at % sizes[d];
        at /= sizes[d];
    }
}

#endif
