/* Which instruction set to use. */
#include "backends/native/vector/isa.h"

#define ISA_TABLES(isa)                                                                            \
    {                                                                                              \
        .name = #isa, .map = &ebb_map_table_##isa, .move = &ebb_move_##isa,                        \
        .registers = &ebb_register_table_##isa, .random = &ebb_random_##isa,                       \
        .fold = &ebb_fold_##isa, .cumsum = &ebb_cumsum_##isa, .reduce_f64 = &ebb_reduce_f64_##isa, \
        .reduce_f32 = &ebb_reduce_f32_##isa, .softmax_f64 = &ebb_softmax_f64_##isa,                \
        .softmax_f32 = &ebb_softmax_f32_##isa, .norm_f64 = &ebb_norm_f64_##isa,                    \
        .norm_f32 = &ebb_norm_f32_##isa, .product_f64 = &ebb_product_f64_##isa,                    \
        .product_f32 = &ebb_product_f32_##isa, .channels_f64 = &ebb_channels_f64_##isa,            \
        .channels_f32 = &ebb_channels_f32_##isa, .lrn_f64 = &ebb_lrn_f64_##isa,                    \
        .lrn_f32 = &ebb_lrn_f32_##isa, .resize_f64 = &ebb_resize_f64_##isa,                        \
        .resize_f32 = &ebb_resize_f32_##isa, .pool_f64 = &ebb_pool_f64_##isa,                      \
        .pool_f32 = &ebb_pool_f32_##isa, .add_rows = ebb_add_rows_##isa,                           \
        .lane_conv = &ebb_lane_conv_##isa, .direct_conv = &ebb_direct_conv_##isa,                  \
        .point_conv = &ebb_point_conv_##isa, .weight_grad = &ebb_weight_grad_##isa,                \
        .attention = &ebb_attention_##isa,                                                         \
    }

static const ebb_vector_isa base = ISA_TABLES(base);
#ifdef EBB_HAS_X86_ISAS
static const ebb_vector_isa avx2 = ISA_TABLES(avx2);
static const ebb_vector_isa avx512 = ISA_TABLES(avx512);
#endif

/* How many of the tables below this processor can use: each needs what those before it need. */
static int count_usable(void)
{
#ifdef EBB_HAS_X86_ISAS
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return 1;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
               ? 3
               : 2;
#else
    return 1;
#endif
}

static const ebb_vector_isa *const tables[] = {
    &base,
#ifdef EBB_HAS_X86_ISAS
    &avx2,
    &avx512,
#endif
};

const ebb_vector_isa *ebb_vector_isa_here(void)
{
    return tables[count_usable() - 1];
}

const ebb_vector_isa *ebb_vector_isa_at(int index)
{
    return index >= 0 && index < count_usable() ? tables[index] : NULL;
}
