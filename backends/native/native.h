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

extern const ebb_native_kind ebb_native_map, ebb_native_select, ebb_native_cast, ebb_native_copy,
    ebb_native_view, ebb_native_reduce, ebb_native_softmax, ebb_native_cross_entropy,
    ebb_native_one_hot, ebb_native_argmax, ebb_native_random, ebb_native_matmul, ebb_native_norm;

/* True if ops/elementwise.def has a row for this op. */
bool ebb_native_is_map(const ebb_op *op);

/* Zeroed memory that lives as long as the kernel; NULL with a message. */
void *ebb_native_allocate(const ebb_region *region, const ebb_compile_env *env, size_t size_bytes);

bool ebb_native_all_dense(const ebb_region *region);

/* Work below which a second thread costs more than it brings, about 4 us, in elements. */
enum {
    EBB_CHEAP_WORK = 32768, /* a few instructions each */
    EBB_COSTLY_WORK = 8192  /* exp, log ... */
};
/* Threads for `work` elements if `threshold` of them are worth a second thread. */
int ebb_native_threads(const ebb_region *region, int64_t work, int64_t threshold);

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
