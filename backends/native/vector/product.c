/* Matrix products, for F64 and F32: register blocks of rows times whole vectors of columns. */
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"

#define NAME(name) ISA_PASTE(name, TAG)
#define INLINE static inline __attribute__((always_inline))

/* Rows of a register block, by number of vectors of columns: as many as leave registers for the
 * operands. */
#if defined __AVX512F__
#define MAX_VECTORS 4
/* clang-format off */
/* For 32 registers. */
#define EACH_BLOCK(X)                                                                              \
    X(16, 1)                                                                                       \
    X(8, 1) X(4, 1) X(2, 1) X(1, 1) X(12, 2) X(6, 2) X(3, 2) X(2, 2) X(1, 2) X(8, 3) X(4, 3)       \
        X(2, 3) X(1, 3) X(6, 4) X(3, 4) X(2, 4) X(1, 4)
/* clang-format on */
#else
#define MAX_VECTORS 3
/* clang-format off */
/* For 16 registers. */
#define EACH_BLOCK(X)                                                                              \
    X(8, 1) X(4, 1) X(2, 1) X(1, 1) X(6, 2) X(3, 2) X(2, 2) X(1, 2) X(4, 3) X(2, 3) X(1, 3)
/* clang-format on */
#endif

/* Part of a vector: the first `n` elements at p; nothing behind them is touched. */
#if defined __AVX512F__
typedef __mmask16 part_f32;
typedef __mmask8 part_f64;
#define PART_f32(n) ((__mmask16)((1u << (n)) - 1))
#define PART_f64(n) ((__mmask8)((1u << (n)) - 1))
#define LOAD_PART_f32(part, p) ((lanes_f32)_mm512_maskz_loadu_ps(part, p))
#define LOAD_PART_f64(part, p) ((lanes_f64)_mm512_maskz_loadu_pd(part, p))
#define STORE_PART_f32(part, p, v) _mm512_mask_storeu_ps(p, part, (__m512)(v))
#define STORE_PART_f64(part, p, v) _mm512_mask_storeu_pd(p, part, (__m512d)(v))
/* In registers what lanes_total does. */
#define SUM_LANES_f32(v) _mm512_reduce_add_ps((__m512)(v))
#define SUM_LANES_f64(v) _mm512_reduce_add_pd((__m512d)(v))
#else
/* How many elements. */
typedef int part_f32;
typedef int part_f64;
#define PART_f32(n) ((int)(n))
#define PART_f64(n) ((int)(n))
#define LOAD_PART_f32(part, p) load_elements_f32(part, p)
#define LOAD_PART_f64(part, p) load_elements_f64(part, p)
#define STORE_PART_f32(part, p, v) store_elements_f32(part, p, v)
#define STORE_PART_f64(part, p, v) store_elements_f64(part, p, v)
#define SUM_LANES_f32(v) lanes_total_f32(v)
#define SUM_LANES_f64(v) lanes_total_f64(v)
#endif
#define PART(n) ISA_PASTE(PART, TAG)(n)
#define LOAD_PART(part, p) ISA_PASTE(LOAD_PART, TAG)(part, p)
#define STORE_PART(part, p, v) ISA_PASTE(STORE_PART, TAG)(part, p, v)
#define SUM_LANES(v) ISA_PASTE(SUM_LANES, TAG)(v)

#define T float
#define TAG f32
#include "backends/native/vector/product_of_type.h"

#define T double
#define TAG f64
#include "backends/native/vector/product_of_type.h"
