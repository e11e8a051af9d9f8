/* What ops of [batch, channels, ...] share, and what backends need to know of them. */
#ifndef OPS_BATCH_NORM_H
#define OPS_BATCH_NORM_H

#include <ebb/ops.h>

/* A shape of rank 2 or more. */
typedef struct ebb_channels {
    int64_t n_batch, n_channels, n_spatial; /* the last: all dimensions from 2 on */
} ebb_channels;
ebb_channels ebb_channels_of(const ebb_shape *shape);

/* ---- for infer rules ---- */

/* Input `index` is a float of rank 2 or more. */
ebb_status ebb_infer_channels(const ebb_infer *infer, int index);
/* Input `index` is [channels] of input 0, of its dtype; or has its type. */
ebb_status ebb_infer_per_channel(const ebb_infer *infer, int index, const char *name);
ebb_status ebb_infer_like_x(const ebb_infer *infer, int index, const char *name);
ebb_status ebb_infer_epsilon(const ebb_infer *infer, double epsilon);

/* ---- for builders, vjps and decompositions ---- */

/* [channels] as it lies along x: [1,channels,1,..]. */
ebb_node ebb_along_channels(ebb_node parameter, ebb_node x);
/* `parameter`, or `value` for every channel where there is none. */
ebb_node ebb_channels_or_full(ebb_node parameter, ebb_node x, double value);

#endif
