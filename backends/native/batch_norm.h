/* What the files of the native batch norm share: batch_norm.c chooses, finishes channels and works
 * on channels first; batch_norm_rows.c on channels last. */
#ifndef BACKENDS_NATIVE_BATCH_NORM_H
#define BACKENDS_NATIVE_BATCH_NORM_H

#include "backends/native/channels.h"

enum { EBB_BATCH_NORM_INPUTS = 6 };

typedef enum ebb_batch_norm_kind {
    EBB_BATCH_NORM_TRAINING,
    EBB_BATCH_NORM_INFERENCE,
    EBB_BATCH_NORM_GRADIENT
} ebb_batch_norm_kind;

typedef struct ebb_batch_norm_state {
    ebb_batch_norm_kind kind;
    const ebb_channels_table *table;
    const ebb_reduce_table *reduce;
    const ebb_move_table *move;
    bool is_streamed; /* the result goes past the caches, unless in place */
    bool relu;        /* of the result; or of what the gradient is of */
    bool gives_offset;
    ebb_dtype dtype;
    int64_t bytes; /* of an element */
    double epsilon;
    ebb_channels k;
    int64_t m;                                 /* elements of a channel */
    ebb_channel_strides x, y, other_strides;   /* y: the result */
    int64_t parameters[EBB_BATCH_NORM_INPUTS]; /* strides of inputs that are [channels] */
    int n_inputs, n_results;
    int shift; /* its place among the inputs; 0: not needed */
    int other; /* that of dy or of the residual; 0: none */
    int n_threads;
    ebb_channel_order order;
    /* channels last; block_scratch: bytes for one block */
    int64_t segment;  /* pixels that have one stride */
    int64_t wide;     /* pixels of a row */
    int64_t n_parts;  /* of the pixels */
    int64_t n_sums;   /* doubles of a part: two for each channel of a row, and of a rest */
    int64_t n_blocks; /* of channels, which are k.n_channels each; else 1 */
    size_t block_scratch;
} ebb_batch_norm_state;

static inline void ebb_batch_norm_put(const ebb_batch_norm_state *s, void *data, int64_t at,
                                      double value)
{
    if (s->dtype == EBB_F32)
        ((float *)data)[at] = (float)value;
    else
        ((double *)data)[at] = value;
}

static inline char *ebb_batch_norm_at(const ebb_batch_norm_state *s, const void *data,
                                      int64_t place)
{
    return (char *)(uintptr_t)data + place * s->bytes;
}

static inline bool ebb_batch_norm_is_streamed(const ebb_batch_norm_state *s, const ebb_call *call)
{
    return s->is_streamed && call->results[0] != call->inputs[0] &&
           call->results[0] != call->inputs[s->other];
}

static inline const char *ebb_batch_norm_other_at(const ebb_batch_norm_state *s,
                                                  const ebb_call *call, int64_t place)
{
    return s->other ? ebb_batch_norm_at(s, call->inputs[s->other], place) : NULL;
}

/* ---- batch_norm.c ---- */

/* Of a channel whose mean and variance are among the inputs. */
ebb_channel_numbers ebb_batch_norm_start(const ebb_batch_norm_state *s, const ebb_call *call,
                                         int64_t c);
/* `first` and `second` are mean and sum of squared deviations, or sums of dy and of dy (x - mean);
 * for inference nothing. Writes the results that are [channels]. */
ebb_channel_numbers ebb_batch_norm_finish(const ebb_batch_norm_state *s, const ebb_call *call,
                                          int64_t c, double first, double second);

/* ---- batch_norm_rows.c: channels last ---- */

/* Fills what stands under "channels last" from the rest, of which n_blocks is there; a batch of
 * single pixels becomes one row of them. */
void ebb_batch_norm_plan_rows(ebb_batch_norm_state *s);
void ebb_batch_norm_run_rows(const ebb_call *call);

#endif
