/* Names and loop marks for files that are compiled once for each instruction set. EBB_ISA is base,
 * avx2 or avx512 and comes from the command line. */
#ifndef BACKENDS_NATIVE_VECTOR_ISA_H
#define BACKENDS_NATIVE_VECTOR_ISA_H

#include "backends/native/vector/vector.h"

#define ISA_PASTE_(a, b) a##_##b
#define ISA_PASTE(a, b) ISA_PASTE_(a, b)
#define ISA_NAME(name) ISA_PASTE(name, EBB_ISA)

#define ISA_DECLARE(isa)                                                                           \
    extern const ebb_map_table ebb_map_table_##isa;                                                \
    extern const ebb_register_table ebb_register_table_##isa;                                      \
    extern const ebb_move_table ebb_move_##isa;                                                    \
    extern const ebb_random_table ebb_random_##isa;                                                \
    extern const ebb_fold_table ebb_fold_##isa;                                                    \
    extern const ebb_cumsum_table ebb_cumsum_##isa;                                                \
    extern const ebb_reduce_table ebb_reduce_f64_##isa, ebb_reduce_f32_##isa;                      \
    extern const ebb_softmax_table ebb_softmax_f64_##isa, ebb_softmax_f32_##isa;                   \
    extern const ebb_attention_table ebb_attention_##isa;                                          \
    extern const ebb_norm_table ebb_norm_f64_##isa, ebb_norm_f32_##isa;                            \
    extern const ebb_product_table ebb_product_f64_##isa, ebb_product_f32_##isa;                   \
    extern const ebb_channels_table ebb_channels_f64_##isa, ebb_channels_f32_##isa;                \
    extern const ebb_pool_table ebb_pool_f64_##isa, ebb_pool_f32_##isa;                            \
    extern void ebb_add_rows_##isa(const ebb_rows *rows);                                          \
    extern const ebb_lane_conv_table ebb_lane_conv_##isa;                                          \
    extern const ebb_direct_conv_table ebb_direct_conv_##isa;                                      \
    extern const ebb_point_conv_table ebb_point_conv_##isa;                                        \
    extern const ebb_weight_grad_table ebb_weight_grad_##isa;                                      \
    extern const ebb_lrn_table ebb_lrn_f64_##isa, ebb_lrn_f32_##isa;                               \
    extern const ebb_resize_table ebb_resize_f64_##isa, ebb_resize_f32_##isa;
ISA_DECLARE(base)
ISA_DECLARE(avx2)
ISA_DECLARE(avx512)

#define AHEAD_BYTES 4096
/* Asks for n_bytes that will be read a little later; may lie behind the end of a block. */
static inline void ask_ahead(const void *data, int64_t n_bytes)
{
    for (int64_t i = 0; i < n_bytes; i += 64)
        __builtin_prefetch((const char *)data + AHEAD_BYTES + i, 0, 3);
}

/* Asks for n_bytes of a row that will be read soon; may lie behind the end of a block. */
static inline void ask_rows(const void *row, int64_t n_bytes)
{
    for (int64_t i = 0; i < n_bytes; i += 64)
        __builtin_prefetch((const char *)row + i, 0, 3);
}

/* All iterations of the loop that follows, a few, one behind the other: arrays that they index stay
 * in registers. */
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* The iterations of the loop that follows may run in any order or together; its result may lie
 * exactly on an operand. */
#ifdef __clang__
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

#endif
