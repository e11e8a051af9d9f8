/* Shared by the native kernels: the table of what there is, and walks over operands of any layout.
 */
#ifndef BACKENDS_NATIVE_NATIVE_H
#define BACKENDS_NATIVE_NATIVE_H

#include "backends/backends.h"
#include "backends/native/vector/vector.h"
#include "backends/parallel.h"
#include "ops/descriptors.h"

/* One kind of kernel. `score` as in ebb_backend; `compile` is called only where the score is not
 * NONE. */
typedef struct ebb_native_kind {
    int (*score)(const ebb_region *region);
    ebb_status (*compile)(const ebb_region *region, const ebb_compile_env *env, ebb_kernel *kernel);
} ebb_native_kind;

extern const ebb_native_kind ebb_native_iota, ebb_native_map, ebb_native_fused,
    ebb_native_tile_program, ebb_native_copy, ebb_native_view, ebb_native_reduce,
    ebb_native_softmax, ebb_native_cross_entropy, ebb_native_one_hot, ebb_native_argmax,
    ebb_native_random, ebb_native_matmul, ebb_native_norm, ebb_native_batch_norm, ebb_native_lrn,
    ebb_native_resize, ebb_native_pool, ebb_native_conv, ebb_native_concat, ebb_native_spread,
    ebb_native_gather, ebb_native_scatter, ebb_native_top_k, ebb_native_fold, ebb_native_cumsum,
    ebb_native_pooled_conv, ebb_native_im2col, ebb_native_pool_gather, ebb_native_pad_grad,
    ebb_native_conv_max_pool, ebb_native_lane_weight_grad, ebb_native_direct_conv,
    ebb_native_direct_weight_grad, ebb_native_point_conv, ebb_native_attention;

/* For attention: results that lie in the order of what they are the results, or gradients, of. */
bool ebb_native_attention_wish(const ebb_region *region, ebb_layout *results);

/* True if there may be a loop for this op: it stands in ops/elementwise.def, or is select or cast.
 */
bool ebb_native_is_map(const ebb_op *op);

/* Zeroed memory that lives as long as the kernel; NULL with a message. */
void *ebb_native_allocate(const ebb_region *region, const ebb_compile_env *env, size_t size_bytes);

/* To a multiple of EBB_ALIGNMENT: for the parts of scratch memory. */
static inline size_t ebb_native_round_up(size_t size_bytes)
{
    return (size_bytes + EBB_ALIGNMENT - 1) / EBB_ALIGNMENT * EBB_ALIGNMENT;
}

bool ebb_native_all_dense(const ebb_region *region);

/* Results from this size on are written past the caches: little of them would stay there until they
 * are read. */
#define EBB_STREAM_BYTES ((size_t)16 << 20)

/* Asks for n_bytes that will be read EBB_AHEAD_BYTES later; may lie behind the end of a block. */
#define EBB_AHEAD_BYTES 8192
static inline void ebb_native_prefetch(const void *data, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i += 64)
        __builtin_prefetch((const char *)data + EBB_AHEAD_BYTES + i, 0, 3);
}

/* While a kernel is compiled: the instruction set that it shall use. `env` comes from the native
 * backend, which compiles with this around it. */
typedef struct ebb_native_env {
    ebb_compile_env env;
    const ebb_vector_isa *isa;
} ebb_native_env;
static inline const ebb_vector_isa *ebb_native_isa(const ebb_compile_env *env)
{
    return ((const ebb_native_env *)(const void *)env)->isa;
}

/* Work below which a second thread costs more than it brings, about 4 us, in elements. */
enum {
    EBB_CHEAP_WORK = 32768, /* a few instructions each */
    EBB_COSTLY_WORK = 8192  /* exp, log ... */
};
/* Threads for `work` elements if `threshold` of them are worth a second thread. */
int ebb_native_threads(const ebb_region *region, int64_t work, int64_t threshold);
/* No more threads than tasks, but one. */
static inline int ebb_native_at_most(int n_threads, int64_t n_tasks)
{
    return n_threads <= n_tasks ? n_threads : n_tasks > 0 ? (int)n_tasks : 1;
}
/* Threads for tasks that are not shared out. */
static inline int ebb_native_threads_for(const ebb_region *region, int64_t n_tasks, int64_t work,
                                         int64_t threshold)
{
    return ebb_native_at_most(ebb_native_threads(region, work, threshold), n_tasks);
}

/* ---- walks: the elements of an operand in row-major order of the region's shape ---- */

/* Dimensions, outermost first, neighbours merged where one stride serves both; rank >= 1. */
typedef struct ebb_walk {
    int rank;
    int64_t dims[EBB_MAX_RANK];
    int64_t strides[EBB_MAX_RANK]; /* in elements */
    int64_t n_elements;
    size_t element_bytes;
} ebb_walk;
ebb_walk ebb_walk_make(const ebb_shape *shape, const int64_t *strides, size_t element_bytes);
static inline bool ebb_walk_is_dense(const ebb_walk *walk)
{
    return walk->rank == 1 && (walk->strides[0] == 1 || walk->dims[0] <= 1);
}

/* n elements that are `stride` apart, to `target`; stride 0: n times the one. */
void ebb_row_read(const char *data, int64_t stride, int64_t n, size_t element_bytes, void *target);

typedef struct ebb_cursor {
    const ebb_walk *walk;
    const char *data; /* the element at hand */
    int64_t index[EBB_MAX_RANK];
} ebb_cursor;
/* At element `position` in row-major order, which may be the end. */
ebb_cursor ebb_cursor_at(const ebb_walk *walk, const void *data, int64_t position);
/* Copies the next n elements to `to` and goes behind them. */
void ebb_cursor_read(ebb_cursor *cursor, int64_t n, void *to);
/* The next n elements: where they lie if they lie densely, else a copy in `buffer`. Goes behind
 * them. */
const void *ebb_cursor_take(ebb_cursor *cursor, int64_t n, void *buffer);

#endif
