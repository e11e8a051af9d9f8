/* Element types, shapes, types, layouts and concrete tensors. */
#include <ebb/op.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Elements times 8 bytes stay below 2^62, so that byte offsets never overflow. */
#define MAX_ELEMENTS (INT64_C(1) << 58)

static const struct {
    const char *name;
    size_t bytes;
} dtypes[EBB_N_DTYPES] = { { "?", 0 },
#define DTYPE_ROW(name, text, ctype, bytes) { text, bytes },
                           EBB_DTYPE_MAP(DTYPE_ROW) };

static bool is_dtype(ebb_dtype dtype)
{
    return (int)dtype > 0 && dtype < EBB_N_DTYPES;
}

const char *ebb_dtype_name(ebb_dtype dtype)
{
    return is_dtype(dtype) ? dtypes[dtype].name : "?";
}

size_t ebb_dtype_bytes(ebb_dtype dtype)
{
    return is_dtype(dtype) ? dtypes[dtype].bytes : 0;
}

bool ebb_dtype_is_float(ebb_dtype dtype)
{
    return dtype == EBB_F64 || dtype == EBB_F32;
}

bool ebb_dtype_is_integer(ebb_dtype dtype)
{
    return dtype == EBB_I64 || dtype == EBB_I32 || dtype == EBB_U8;
}

bool ebb_dtype_parse(const char *text, ebb_dtype *dtype)
{
    for (int i = 1; i < EBB_N_DTYPES; i++) {
        if (strcmp(dtypes[i].name, text) == 0) {
            *dtype = (ebb_dtype)i;
            return true;
        }
    }
    return false;
}

ebb_shape ebb_shape_of(int rank, const int64_t *dims)
{
    ebb_shape shape = { .rank = rank };
    for (int i = 0; i < rank && i < EBB_MAX_RANK; i++)
        shape.dims[i] = dims[i];
    return shape;
}

ebb_type ebb_type_of(ebb_dtype dtype, ebb_shape shape)
{
    return (ebb_type){ dtype, shape };
}

bool ebb_shape_equal(const ebb_shape *a, const ebb_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank && i < EBB_MAX_RANK; i++) {
        if (a->dims[i] != b->dims[i])
            return false;
    }
    return true;
}

bool ebb_type_equal(const ebb_type *a, const ebb_type *b)
{
    return a->dtype == b->dtype && ebb_shape_equal(&a->shape, &b->shape);
}

int64_t ebb_shape_elements(const ebb_shape *shape)
{
    if (shape->rank < 0 || shape->rank > EBB_MAX_RANK)
        return -1;
    /* A dimension of 0 must not hide an overflow of the others: strides use them. */
    int64_t n = 1;
    bool empty = false;
    for (int i = 0; i < shape->rank; i++) {
        int64_t dim = shape->dims[i];
        if (dim < 0)
            return -1;
        if (dim == 0)
            empty = true;
        else if (n > MAX_ELEMENTS / dim)
            return -1;
        else
            n *= dim;
    }
    return empty ? 0 : n;
}

bool ebb_shape_is_valid(const ebb_shape *shape)
{
    return ebb_shape_elements(shape) >= 0;
}

size_t ebb_type_bytes(const ebb_type *type)
{
    int64_t n = ebb_shape_elements(&type->shape);
    return n < 0 ? 0 : (size_t)n * ebb_dtype_bytes(type->dtype);
}

void ebb_shape_strides(const ebb_shape *shape, int64_t strides[EBB_MAX_RANK])
{
    int64_t stride = 1;
    for (int i = EBB_MAX_RANK - 1; i >= 0; i--) {
        if (i >= shape->rank) {
            strides[i] = 0;
            continue;
        }
        strides[i] = stride;
        stride *= shape->dims[i] > 0 ? shape->dims[i] : 1;
    }
}

ebb_layout ebb_layout_dense(const ebb_shape *shape)
{
    ebb_layout layout = { 0 };
    ebb_shape_strides(shape, layout.strides);
    return layout;
}

ebb_layout ebb_layout_channels_last(const ebb_shape *shape)
{
    ebb_layout layout = ebb_layout_dense(shape);
    if (shape->rank < 3)
        return layout;
    int64_t stride = shape->dims[1] > 0 ? shape->dims[1] : 1;
    layout.strides[1] = 1;
    for (int i = shape->rank - 1; i >= 2; i--) {
        layout.strides[i] = stride;
        stride *= shape->dims[i] > 0 ? shape->dims[i] : 1;
    }
    return layout;
}

ebb_layout ebb_layout_channel_blocks(const ebb_shape *shape, int64_t block)
{
    ebb_layout layout = ebb_layout_dense(shape);
    for (int i = 1; i < shape->rank; i++)
        layout.strides[i] *= block;
    layout.n_blocks = 1;
    layout.blocks[0] = (ebb_block){ 1, block };
    return layout;
}

bool ebb_layout_is_dense(const ebb_layout *layout, const ebb_shape *shape)
{
    if (ebb_shape_elements(shape) <= 1)
        return true;
    if (layout->n_blocks)
        return false;
    int64_t expected = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        if (shape->dims[i] == 1)
            continue;
        if (layout->strides[i] != expected)
            return false;
        expected *= shape->dims[i];
    }
    return true;
}

int64_t ebb_layout_block(const ebb_layout *layout, int axis)
{
    int64_t n = 1;
    for (int b = 0; b < layout->n_blocks; b++)
        if (layout->blocks[b].axis == axis)
            n *= layout->blocks[b].size;
    return n;
}

bool ebb_layout_agrees(const ebb_layout *a, const ebb_layout *b, const ebb_shape *shape)
{
    if (a->n_blocks != b->n_blocks)
        return false;
    for (int i = 0; i < a->n_blocks; i++)
        if (a->blocks[i].axis != b->blocks[i].axis || a->blocks[i].size != b->blocks[i].size)
            return false;
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] > ebb_layout_block(a, i) && a->strides[i] != b->strides[i])
            return false;
    return true;
}

const char *ebb_shape_text(const ebb_shape *shape, char text[EBB_TYPE_TEXT_BYTES])
{
    if (shape->rank < 0 || shape->rank > EBB_MAX_RANK) {
        snprintf(text, EBB_TYPE_TEXT_BYTES, "[rank %d]", shape->rank);
        return text;
    }
    size_t at = 0;
    text[at++] = '[';
    for (int i = 0; i < shape->rank; i++)
        at += (size_t)snprintf(text + at, EBB_TYPE_TEXT_BYTES - at, "%s%" PRId64, i ? "," : "",
                               shape->dims[i]);
    snprintf(text + at, EBB_TYPE_TEXT_BYTES - at, "]");
    return text;
}

const char *ebb_type_text(const ebb_type *type, char text[EBB_TYPE_TEXT_BYTES])
{
    char shape[EBB_TYPE_TEXT_BYTES];
    snprintf(text, EBB_TYPE_TEXT_BYTES, "%s%.190s", ebb_dtype_name(type->dtype),
             ebb_shape_text(&type->shape, shape));
    return text;
}

ebb_tensor ebb_tensor_borrow(ebb_dtype dtype, ebb_shape shape, const void *data)
{
    /* Tensors carry feeds (read) and fetches (written); the caller knows which this is. */
    return (ebb_tensor){ .type = { dtype, shape }, .data = (void *)(uintptr_t)data };
}

ebb_status ebb_tensor_init(ebb_tensor *tensor, ebb_type type, const ebb_allocator *allocator)
{
    *tensor = (ebb_tensor){ 0 };
    if (!ebb_shape_is_valid(&type.shape))
        return EBB_BAD_SHAPE;
    if (!is_dtype(type.dtype))
        return EBB_BAD_DTYPE;
    size_t bytes = ebb_type_bytes(&type);
    void *data = ebb_allocate(allocator, bytes);
    if (!data)
        return EBB_OUT_OF_MEMORY;
    memset(data, 0, bytes);
    *tensor = (ebb_tensor){ .type = type, .data = data, .allocator = allocator, .owned = true };
    return EBB_OK;
}

void ebb_tensor_finish(ebb_tensor *tensor)
{
    if (!tensor)
        return;
    if (tensor->owned)
        ebb_release(tensor->allocator, tensor->data, ebb_type_bytes(&tensor->type));
    *tensor = (ebb_tensor){ 0 };
}

size_t ebb_tensor_bytes(const ebb_tensor *tensor)
{
    return ebb_type_bytes(&tensor->type);
}

double ebb_tensor_get(const ebb_tensor *tensor, int64_t index)
{
    switch (tensor->type.dtype) {
#define GET_CASE(name, text, ctype, bytes)                                                         \
    case EBB_##name:                                                                               \
        return (double)((const ctype *)tensor->data)[index];
        EBB_DTYPE_MAP(GET_CASE)
    default:
        return NAN;
    }
}

/* Truncates towards zero after rounding by the caller; saturates; NaN is 0. */
static int64_t saturate(double value, int64_t low, int64_t high)
{
    if (isnan(value))
        return 0;
    if (value <= (double)low)
        return low;
    if (value >= (double)high) /* (double)INT64_MAX is 2^63 */
        return high;
    return (int64_t)value;
}

void ebb_tensor_set(const ebb_tensor *tensor, int64_t index, double value)
{
    switch (tensor->type.dtype) {
    case EBB_F64:
        ((double *)tensor->data)[index] = value;
        break;
    case EBB_F32:
        ((float *)tensor->data)[index] = (float)value;
        break;
    case EBB_I64:
        ((int64_t *)tensor->data)[index] = saturate(rint(value), INT64_MIN, INT64_MAX);
        break;
    case EBB_I32:
        ((int32_t *)tensor->data)[index] = (int32_t)saturate(rint(value), INT32_MIN, INT32_MAX);
        break;
    case EBB_U8:
        ((uint8_t *)tensor->data)[index] = (uint8_t)saturate(rint(value), 0, UINT8_MAX);
        break;
    case EBB_BOOL:
        ((uint8_t *)tensor->data)[index] = value != 0;
        break;
    default:
        break;
    }
}
