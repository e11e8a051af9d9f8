/* Walks over operands of any layout, in row-major order. */
#include "backends/native/native.h"
#include <string.h>

ebb_walk ebb_walk_make(const ebb_shape *shape, const int64_t *strides, size_t element_bytes)
{
    ebb_walk walk = { .element_bytes = element_bytes, .n_elements = 1 };
    for (int i = 0; i < shape->rank; i++) {
        int64_t dim = shape->dims[i];
        walk.n_elements *= dim;
        if (dim == 1)
            continue;
        int last = walk.rank - 1;
        if (last >= 0 && walk.strides[last] == strides[i] * dim) {
            walk.dims[last] *= dim;
            walk.strides[last] = strides[i];
        } else {
            walk.dims[walk.rank] = dim;
            walk.strides[walk.rank++] = strides[i];
        }
    }
    if (walk.rank == 0 || walk.n_elements == 0) {
        walk.rank = 1;
        walk.dims[0] = walk.n_elements;
        walk.strides[0] = 1;
    }
    return walk;
}

ebb_cursor ebb_cursor_at(const ebb_walk *walk, const void *data, int64_t position)
{
    ebb_cursor cursor = { .walk = walk, .data = data };
    if (position >= walk->n_elements)
        return cursor;
    for (int i = walk->rank - 1; i >= 0; i--) {
        cursor.index[i] = position % walk->dims[i];
        position /= walk->dims[i];
        cursor.data += cursor.index[i] * walk->strides[i] * (int64_t)walk->element_bytes;
    }
    return cursor;
}

/* n elements further, at most to the end of the innermost dimension. */
static void advance_in_row(ebb_cursor *cursor, int64_t n)
{
    const ebb_walk *walk = cursor->walk;
    const int64_t bytes = (int64_t)walk->element_bytes;
    int i = walk->rank - 1;
    cursor->index[i] += n;
    cursor->data += n * walk->strides[i] * bytes;
    while (cursor->index[i] == walk->dims[i]) {
        cursor->data -= walk->dims[i] * walk->strides[i] * bytes;
        cursor->index[i] = 0;
        if (i == 0)
            return;
        i--;
        cursor->index[i]++;
        cursor->data += walk->strides[i] * bytes;
    }
}

#define READ_ROW(T)                                                                                \
    do {                                                                                           \
        const T *from = (const T *)(const void *)data;                                             \
        T *to = target;                                                                            \
        if (stride == 0) {                                                                         \
            const T value = *from;                                                                 \
            for (int64_t i = 0; i < n; i++)                                                        \
                to[i] = value;                                                                     \
        } else {                                                                                   \
            for (int64_t i = 0; i < n; i++)                                                        \
                to[i] = from[i * stride];                                                          \
        }                                                                                          \
    } while (0)

void ebb_row_read(const char *data, int64_t stride, int64_t n, size_t element_bytes, void *target)
{
    if (stride == 1)
        memcpy(target, data, (size_t)n * element_bytes);
    else if (element_bytes == 4)
        READ_ROW(uint32_t);
    else if (element_bytes == 8)
        READ_ROW(uint64_t);
    else
        READ_ROW(uint8_t);
}

void ebb_cursor_read(ebb_cursor *cursor, int64_t n, void *to)
{
    const ebb_walk *walk = cursor->walk;
    const int last = walk->rank - 1;
    char *target = to;
    while (n > 0) {
        int64_t left = walk->dims[last] - cursor->index[last], run = n < left ? n : left;
        ebb_row_read(cursor->data, walk->strides[last], run, walk->element_bytes, target);
        target += (size_t)run * walk->element_bytes;
        advance_in_row(cursor, run);
        n -= run;
    }
}

const void *ebb_cursor_take(ebb_cursor *cursor, int64_t n, void *buffer)
{
    const ebb_walk *walk = cursor->walk;
    const int last = walk->rank - 1;
    if (walk->strides[last] == 1 && n <= walk->dims[last] - cursor->index[last]) {
        const void *data = cursor->data;
        advance_in_row(cursor, n);
        return data;
    }
    ebb_cursor_read(cursor, n, buffer);
    return buffer;
}
