/* Element types, shapes, types and concrete tensors. All are small values; nothing here touches a
 * graph. */
#ifndef EBB_TENSOR_H
#define EBB_TENSOR_H

#include <ebb/memory.h>

EBB_BEGIN

#define EBB_MAX_RANK 8

/* clang-format off */
/*       name  text    C type    bytes */
#define EBB_DTYPE_MAP(X)            \
    X(F64,  "f64",  double,  8)     \
    X(F32,  "f32",  float,   4)     \
    X(I64,  "i64",  int64_t, 8)     \
    X(I32,  "i32",  int32_t, 4)     \
    X(U8,   "u8",   uint8_t, 1)     \
    X(BOOL, "bool", uint8_t, 1)     /* 0 or 1 */
/* clang-format on */

/* 0 is no dtype, so that a forgotten field is found. */
typedef enum ebb_dtype {
    EBB_NO_DTYPE,
#define EBB_DTYPE_ENUM(name, text, ctype, bytes) EBB_##name,
    EBB_DTYPE_MAP(EBB_DTYPE_ENUM)
#undef EBB_DTYPE_ENUM
        EBB_N_DTYPES
} ebb_dtype;

EBB_API const char *ebb_dtype_name(ebb_dtype dtype);              /* "f32"; "?" if invalid */
EBB_API size_t ebb_dtype_bytes(ebb_dtype dtype);                  /* 0 if invalid */
EBB_API bool ebb_dtype_is_float(ebb_dtype dtype);                 /* F64, F32 */
EBB_API bool ebb_dtype_is_integer(ebb_dtype dtype);               /* I64, I32, U8 (not BOOL) */
EBB_API bool ebb_dtype_parse(const char *text, ebb_dtype *dtype); /* "f32" -> EBB_F32 */

/* Row-major: the last dimension runs fastest. Dimensions may be 0; rank 0 is a scalar with one
 * element. */
typedef struct ebb_shape {
    int rank; /* 0..8; a larger or negative rank is invalid, and builders say so */
    int64_t dims[EBB_MAX_RANK]; /* dims[rank..] are 0 */
} ebb_shape;

typedef struct ebb_type {
    ebb_dtype dtype;
    ebb_shape shape;
} ebb_type;

/* EBB_SHAPE(100, 784). A rank above 8 gives an invalid shape, which the next builder reports. */
#ifdef __cplusplus
#define EBB_SHAPE(...) (ebb_shape_of_list({ __VA_ARGS__ }))
#else
#define EBB_SHAPE(...)                                                                             \
    ebb_shape_of((int)(sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)),                \
                 (const int64_t[]){ __VA_ARGS__ })
#endif
/* The shape of a scalar. */
#define EBB_SCALAR (ebb_shape_of(0, NULL))

EBB_API ebb_shape ebb_shape_of(int rank, const int64_t *dims);
EBB_API ebb_type ebb_type_of(ebb_dtype dtype, ebb_shape shape);
EBB_API bool ebb_shape_equal(const ebb_shape *a, const ebb_shape *b);
EBB_API bool ebb_type_equal(const ebb_type *a, const ebb_type *b);
/* Rank in 0..8, no negative dimension, number of elements times 8 below 2^62. */
EBB_API bool ebb_shape_is_valid(const ebb_shape *shape);
/* Product of the dimensions (1 for a scalar); -1 if the shape is not valid. */
EBB_API int64_t ebb_shape_elements(const ebb_shape *shape);
/* Elements times element size; 0 if the type is not valid. */
EBB_API size_t ebb_type_bytes(const ebb_type *type);
/* Writes the row-major strides, in elements; strides of dimensions that are 0 or 1 are as if they
 * were 1. */
EBB_API void ebb_shape_strides(const ebb_shape *shape, int64_t strides[EBB_MAX_RANK]);

#define EBB_TYPE_TEXT_BYTES 200
/* "f32[100,784]", "f64[]" for a scalar. Returns `text`. */
EBB_API const char *ebb_type_text(const ebb_type *type, char text[EBB_TYPE_TEXT_BYTES]);
/* "[100,784]". Returns `text`. */
EBB_API const char *ebb_shape_text(const ebb_shape *shape, char text[EBB_TYPE_TEXT_BYTES]);

/* Concrete data, dense and row-major. */
typedef struct ebb_tensor {
    ebb_type type;
    void *data;
    const ebb_allocator *allocator; /* where owned data goes back to; NULL: the C heap */
    bool owned;                     /* false: `data` belongs to somebody else */
} ebb_tensor;

/* A tensor around memory of the caller; nothing is copied. Pass it where data is fed or fetched. */
EBB_API ebb_tensor ebb_tensor_borrow(ebb_dtype dtype, ebb_shape shape, const void *data);
/* Allocates zeroed data. On failure `tensor` is a zero struct. OUT_OF_MEMORY, BAD_SHAPE, BAD_DTYPE.
 */
EBB_NODISCARD EBB_API ebb_status ebb_tensor_init(ebb_tensor *tensor, ebb_type type,
                                                 const ebb_allocator *allocator);
/* Frees owned data and zeroes the struct. NULL and zero structs are allowed. */
EBB_API void ebb_tensor_finish(ebb_tensor *tensor);
EBB_API size_t ebb_tensor_bytes(const ebb_tensor *tensor);
/* Element `index` (row-major) as a double, and back (rounded to the dtype, saturating at integer
 * limits; NaN becomes 0). For tests and small loops: one switch per call. No bounds check. */
EBB_API double ebb_tensor_get(const ebb_tensor *tensor, int64_t index);
EBB_API void ebb_tensor_set(const ebb_tensor *tensor, int64_t index, double value);

EBB_END

#ifdef __cplusplus
#include <initializer_list>
inline ebb_shape ebb_shape_of_list(std::initializer_list<int64_t> dims)
{
    return ebb_shape_of(static_cast<int>(dims.size()), dims.begin());
}
#endif

#endif
