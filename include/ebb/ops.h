/* The builders of all operations. An op's builder is the op's name. All record sticky errors in the
 * graph (graph.h) and return a none node on failure. docs/ops.md lists the same ops with attributes
 * and backends.
 *
 * Element-wise builders with two or more inputs broadcast as NumPy does: shapes are aligned at the
 * right, and dimensions of size 1 (or missing) repeat; the builder inserts broadcast_to nodes.
 * dtypes must be equal: cast explicitly. Integer arithmetic wraps; integer division truncates, and
 * x / 0 is 0. */
#ifndef EBB_OPS_H
#define EBB_OPS_H

#include <ebb/op.h>

EBB_BEGIN

/* ---- sources ---- */

/* A value that is fed at each run. BAD_NAME if the name is taken by something else; the same name,
 * dtype and shape again gives the same node. */
EBB_API ebb_node ebb_input(ebb_graph *graph, const char *name, ebb_dtype dtype, ebb_shape shape);
#define ebb_input(graph, ...) ebb_input(EBB_GRAPH_AT(graph), __VA_ARGS__)

/* How a variable gets its first value, when the store has none of its name. Random ones are
 * Philox4x32-10 of (seed, hash of the full name): independent of the order in which variables are
 * made. */
typedef enum ebb_init_kind {
    EBB_INIT_CONSTANT, /* a (default 0) */
    EBB_INIT_UNIFORM,  /* [a, b) */
    EBB_INIT_NORMAL,   /* mean a, standard deviation b */
    /* The same, but what is more than 2 b away from a is drawn again (TensorFlow's convention): the
     * standard deviation of what remains is 0.8796 b */
    EBB_INIT_TRUNCATED_NORMAL,
    /* b times a random matrix [first dimension, all others], uniform over those with orthonormal
     * rows, or columns if there are more rows (Saxe, McClelland & Ganguli 2014); rank >= 2 */
    EBB_INIT_ORTHOGONAL
} ebb_init_kind;
typedef struct ebb_init {
    ebb_init_kind kind;
    double a, b;
    uint64_t seed;
} ebb_init;
/* A named, persistent tensor that graphs read and updates write. `init` NULL: zeros. The same name,
 * dtype and shape again gives the same node; with an `init` that differs, BAD_NAME. */
EBB_API ebb_node ebb_variable(ebb_graph *graph, const char *name, ebb_dtype dtype, ebb_shape shape,
                              const ebb_init *init);
#define ebb_variable(graph, ...) ebb_variable(EBB_GRAPH_AT(graph), __VA_ARGS__)

/* Copies `data` (dense, row-major) into the graph. */
EBB_API ebb_node ebb_constant(ebb_graph *graph, ebb_dtype dtype, ebb_shape shape, const void *data);
#define ebb_constant(graph, ...) ebb_constant(EBB_GRAPH_AT(graph), __VA_ARGS__)
/* A scalar constant; `value` is rounded to the dtype. */
EBB_API ebb_node ebb_scalar(ebb_graph *graph, ebb_dtype dtype, double value);
#define ebb_scalar(graph, ...) ebb_scalar(EBB_GRAPH_AT(graph), __VA_ARGS__)
/* `value` in every element: a scalar, broadcast. */
EBB_API ebb_node ebb_full(ebb_graph *graph, ebb_dtype dtype, ebb_shape shape, double value);
#define ebb_full(graph, ...) ebb_full(EBB_GRAPH_AT(graph), __VA_ARGS__)
/* The same with dtype and shape of `node`. */
EBB_API ebb_node ebb_full_like(ebb_node node, double value);
#define ebb_full_like(node, value) ebb_full_like(EBB_AT(node), value)
/* The index along `axis`, repeated along the others. Integer or float dtype. */
EBB_API ebb_node ebb_iota(ebb_graph *graph, ebb_dtype dtype, ebb_shape shape, int axis);
#define ebb_iota(graph, ...) ebb_iota(EBB_GRAPH_AT(graph), __VA_ARGS__)

/* Random numbers: Philox4x32-10 (Salmon et al. 2011) of (seed, stream, counter, element). `counter`
 * is an I64 scalar; a variable that an update advances gives new numbers each run. Equal (seed,
 * stream, counter) give equal numbers, on every backend and thread count. F64 or F32. */
typedef struct ebb_random_attrs {
    ebb_type type; /* set by the builders */
    int64_t seed;
    int64_t stream; /* tells several uses apart; 0..2^32-1 */
} ebb_random_attrs;
/* [0, 1) */
EBB_API ebb_node ebb_random_uniform(ebb_node counter, ebb_dtype dtype, ebb_shape shape,
                                    int64_t seed, int64_t stream);
#define ebb_random_uniform(counter, ...) ebb_random_uniform(EBB_AT(counter), __VA_ARGS__)
/* Mean 0, standard deviation 1 (Box-Muller). */
EBB_API ebb_node ebb_random_normal(ebb_node counter, ebb_dtype dtype, ebb_shape shape, int64_t seed,
                                   int64_t stream);
#define ebb_random_normal(counter, ...) ebb_random_normal(EBB_AT(counter), __VA_ARGS__)

/* ---- element-wise ---- */

EBB_API ebb_node ebb_neg(ebb_node x);           /* -x */
EBB_API ebb_node ebb_abs(ebb_node x);           /* |x|; gradient 0 at 0 */
EBB_API ebb_node ebb_sign(ebb_node x);          /* -1, 0, 1; NaN stays */
EBB_API ebb_node ebb_square(ebb_node x);        /* x*x */
EBB_API ebb_node ebb_exp(ebb_node x);           /* e^x */
EBB_API ebb_node ebb_log(ebb_node x);           /* natural logarithm */
EBB_API ebb_node ebb_sqrt(ebb_node x);          /* square root */
EBB_API ebb_node ebb_sin(ebb_node x);           /* radians */
EBB_API ebb_node ebb_cos(ebb_node x);           /* radians */
EBB_API ebb_node ebb_tanh(ebb_node x);          /* hyperbolic tangent */
EBB_API ebb_node ebb_sigmoid(ebb_node x);       /* 1/(1+e^-x) */
EBB_API ebb_node ebb_relu(ebb_node x);          /* max(x, 0); gradient 0 at 0; NaN stays */
EBB_API ebb_node ebb_logical_not(ebb_node x);   /* BOOL */
EBB_API ebb_node ebb_stop_gradient(ebb_node x); /* x, through which no gradient flows */
EBB_API ebb_node
ebb_cast(ebb_node x,
         ebb_dtype dtype); /* float -> integer truncates and saturates, NaN -> 0; -> BOOL: x != 0 */
#define ebb_neg(x) ebb_neg(EBB_AT(x))
#define ebb_abs(x) ebb_abs(EBB_AT(x))
#define ebb_sign(x) ebb_sign(EBB_AT(x))
#define ebb_square(x) ebb_square(EBB_AT(x))
#define ebb_exp(x) ebb_exp(EBB_AT(x))
#define ebb_log(x) ebb_log(EBB_AT(x))
#define ebb_sqrt(x) ebb_sqrt(EBB_AT(x))
#define ebb_sin(x) ebb_sin(EBB_AT(x))
#define ebb_cos(x) ebb_cos(EBB_AT(x))
#define ebb_tanh(x) ebb_tanh(EBB_AT(x))
#define ebb_sigmoid(x) ebb_sigmoid(EBB_AT(x))
#define ebb_relu(x) ebb_relu(EBB_AT(x))
#define ebb_logical_not(x) ebb_logical_not(EBB_AT(x))
#define ebb_stop_gradient(x) ebb_stop_gradient(EBB_AT(x))
#define ebb_cast(x, dtype) ebb_cast(EBB_AT(x), dtype)

/* Rounding. Integers stay as they are; gradient 0. */
EBB_API ebb_node ebb_floor(ebb_node x);
EBB_API ebb_node ebb_ceil(ebb_node x);
EBB_API ebb_node ebb_trunc(ebb_node x); /* towards 0 */
EBB_API ebb_node ebb_round(ebb_node x); /* to nearest, halves to the even one */
#define ebb_floor(x) ebb_floor(EBB_AT(x))
#define ebb_ceil(x) ebb_ceil(EBB_AT(x))
#define ebb_trunc(x) ebb_trunc(EBB_AT(x))
#define ebb_round(x) ebb_round(EBB_AT(x))

/* Floats from here on. Arguments where there is no real value give NaN. */
EBB_API ebb_node ebb_reciprocal(ebb_node x); /* 1/x */
EBB_API ebb_node ebb_rsqrt(ebb_node x);      /* 1/sqrt(x) */
EBB_API ebb_node ebb_cbrt(ebb_node x);       /* cube root, of negative numbers too */
EBB_API ebb_node ebb_exp2(ebb_node x);       /* 2^x */
EBB_API ebb_node ebb_expm1(ebb_node x);      /* e^x - 1, exact near 0 */
EBB_API ebb_node ebb_log2(ebb_node x);       /* to base 2 */
EBB_API ebb_node ebb_log10(ebb_node x);      /* to base 10 */
EBB_API ebb_node ebb_log1p(ebb_node x);      /* log(1 + x), exact near 0 */
EBB_API ebb_node ebb_tan(ebb_node x);        /* radians, as all angles */
EBB_API ebb_node ebb_asin(ebb_node x);
EBB_API ebb_node ebb_acos(ebb_node x);
EBB_API ebb_node ebb_atan(ebb_node x);
EBB_API ebb_node ebb_sinh(ebb_node x);
EBB_API ebb_node ebb_cosh(ebb_node x);
EBB_API ebb_node ebb_asinh(ebb_node x);
EBB_API ebb_node ebb_acosh(ebb_node x);
EBB_API ebb_node ebb_atanh(ebb_node x);
EBB_API ebb_node ebb_erf(ebb_node x);          /* error function */
EBB_API ebb_node ebb_erfc(ebb_node x);         /* 1 - erf(x), exact for large x */
EBB_API ebb_node ebb_log_sigmoid(ebb_node x);  /* log(sigmoid(x)) */
EBB_API ebb_node ebb_softplus(ebb_node x);     /* log(1 + e^x) */
EBB_API ebb_node ebb_softsign(ebb_node x);     /* x/(1+|x|) */
EBB_API ebb_node ebb_selu(ebb_node x);         /* Klambauer et al. 2017; gradient at 0 from below */
EBB_API ebb_node ebb_silu(ebb_node x);         /* x sigmoid(x), swish */
EBB_API ebb_node ebb_mish(ebb_node x);         /* x tanh(softplus(x)) */
EBB_API ebb_node ebb_gelu(ebb_node x);         /* x/2 (1 + erf(x/sqrt(2))), exact */
EBB_API ebb_node ebb_gelu_tanh(ebb_node x);    /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
EBB_API ebb_node ebb_hard_sigmoid(ebb_node x); /* x/6 + 1/2 in 0..1; gradient 0 at the corners */
EBB_API ebb_node ebb_hard_swish(ebb_node x);   /* x hard_sigmoid(x) */
#define ebb_reciprocal(x) ebb_reciprocal(EBB_AT(x))
#define ebb_rsqrt(x) ebb_rsqrt(EBB_AT(x))
#define ebb_cbrt(x) ebb_cbrt(EBB_AT(x))
#define ebb_exp2(x) ebb_exp2(EBB_AT(x))
#define ebb_expm1(x) ebb_expm1(EBB_AT(x))
#define ebb_log2(x) ebb_log2(EBB_AT(x))
#define ebb_log10(x) ebb_log10(EBB_AT(x))
#define ebb_log1p(x) ebb_log1p(EBB_AT(x))
#define ebb_tan(x) ebb_tan(EBB_AT(x))
#define ebb_asin(x) ebb_asin(EBB_AT(x))
#define ebb_acos(x) ebb_acos(EBB_AT(x))
#define ebb_atan(x) ebb_atan(EBB_AT(x))
#define ebb_sinh(x) ebb_sinh(EBB_AT(x))
#define ebb_cosh(x) ebb_cosh(EBB_AT(x))
#define ebb_asinh(x) ebb_asinh(EBB_AT(x))
#define ebb_acosh(x) ebb_acosh(EBB_AT(x))
#define ebb_atanh(x) ebb_atanh(EBB_AT(x))
#define ebb_erf(x) ebb_erf(EBB_AT(x))
#define ebb_erfc(x) ebb_erfc(EBB_AT(x))
#define ebb_log_sigmoid(x) ebb_log_sigmoid(EBB_AT(x))
#define ebb_softplus(x) ebb_softplus(EBB_AT(x))
#define ebb_softsign(x) ebb_softsign(EBB_AT(x))
#define ebb_selu(x) ebb_selu(EBB_AT(x))
#define ebb_silu(x) ebb_silu(EBB_AT(x))
#define ebb_mish(x) ebb_mish(EBB_AT(x))
#define ebb_gelu(x) ebb_gelu(EBB_AT(x))
#define ebb_gelu_tanh(x) ebb_gelu_tanh(EBB_AT(x))
#define ebb_hard_sigmoid(x) ebb_hard_sigmoid(EBB_AT(x))
#define ebb_hard_swish(x) ebb_hard_swish(EBB_AT(x))

typedef struct ebb_alpha_attrs { /* leaky_relu, elu */
    double alpha;
} ebb_alpha_attrs;
typedef struct ebb_limits_attrs { /* clip */
    double low, high;
} ebb_limits_attrs;
/* BAD_ATTRIBUTE: alpha is NaN or infinite. */
EBB_API ebb_node ebb_leaky_relu(ebb_node x,
                                double alpha); /* x > 0 ? x : alpha x; gradient alpha at 0 */
EBB_API ebb_node ebb_elu(ebb_node x,
                         double alpha); /* x > 0 ? x : alpha (e^x - 1); gradient alpha at 0 */
/* x between low and high, which may be infinite; for integers they are cast as ebb_cast does. NaN
 * stays; gradient 1 at both limits. Numbers. BAD_ATTRIBUTE: low > high, or NaN. */
EBB_API ebb_node ebb_clip(ebb_node x, double low, double high);
#define ebb_leaky_relu(x, ...) ebb_leaky_relu(EBB_AT(x), __VA_ARGS__)
#define ebb_elu(x, ...) ebb_elu(EBB_AT(x), __VA_ARGS__)
#define ebb_clip(x, ...) ebb_clip(EBB_AT(x), __VA_ARGS__)

/* Numbers in, BOOL out. */
EBB_API ebb_node ebb_is_nan(ebb_node x);
EBB_API ebb_node ebb_is_inf(ebb_node x);    /* of either sign */
EBB_API ebb_node ebb_is_finite(ebb_node x); /* neither infinite nor NaN */
#define ebb_is_nan(x) ebb_is_nan(EBB_AT(x))
#define ebb_is_inf(x) ebb_is_inf(EBB_AT(x))
#define ebb_is_finite(x) ebb_is_finite(EBB_AT(x))

EBB_API ebb_node ebb_add(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_sub(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_mul(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_div(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_mod(ebb_node a,
                         ebb_node b); /* a - b floor(a/b): the sign of b; integers mod 0 are 0 */
EBB_API ebb_node ebb_pow(ebb_node a, ebb_node b); /* a^b, floats; gradient to b is 0 where a <= 0 */
EBB_API ebb_node ebb_maximum(ebb_node a,
                             ebb_node b); /* NaN if either is; gradient to a where equal */
EBB_API ebb_node ebb_minimum(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_atan2(ebb_node a,
                           ebb_node b); /* angle of the point (b, a) in radians; floats */
EBB_API ebb_node ebb_hypot(ebb_node a,
                           ebb_node b); /* sqrt(a^2 + b^2); gradient 0 where both are 0; floats */
EBB_API ebb_node ebb_log_add_exp(ebb_node a, ebb_node b); /* log(e^a + e^b); floats */
#define ebb_add(a, b) ebb_add(EBB_AT(a), b)
#define ebb_sub(a, b) ebb_sub(EBB_AT(a), b)
#define ebb_mul(a, b) ebb_mul(EBB_AT(a), b)
#define ebb_div(a, b) ebb_div(EBB_AT(a), b)
#define ebb_mod(a, b) ebb_mod(EBB_AT(a), b)
#define ebb_pow(a, b) ebb_pow(EBB_AT(a), b)
#define ebb_maximum(a, b) ebb_maximum(EBB_AT(a), b)
#define ebb_minimum(a, b) ebb_minimum(EBB_AT(a), b)
#define ebb_atan2(a, b) ebb_atan2(EBB_AT(a), b)
#define ebb_hypot(a, b) ebb_hypot(EBB_AT(a), b)
#define ebb_log_add_exp(a, b) ebb_log_add_exp(EBB_AT(a), b)

/* BOOL results. */
EBB_API ebb_node ebb_equal(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_not_equal(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_less(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_less_equal(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_greater(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_greater_equal(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_logical_and(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_logical_or(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_logical_xor(ebb_node a, ebb_node b);
#define ebb_equal(a, b) ebb_equal(EBB_AT(a), b)
#define ebb_not_equal(a, b) ebb_not_equal(EBB_AT(a), b)
#define ebb_less(a, b) ebb_less(EBB_AT(a), b)
#define ebb_less_equal(a, b) ebb_less_equal(EBB_AT(a), b)
#define ebb_greater(a, b) ebb_greater(EBB_AT(a), b)
#define ebb_greater_equal(a, b) ebb_greater_equal(EBB_AT(a), b)
#define ebb_logical_and(a, b) ebb_logical_and(EBB_AT(a), b)
#define ebb_logical_or(a, b) ebb_logical_or(EBB_AT(a), b)
#define ebb_logical_xor(a, b) ebb_logical_xor(EBB_AT(a), b)

/* condition ? a : b, element by element; `condition` is BOOL; all three broadcast. */
EBB_API ebb_node ebb_select(ebb_node condition, ebb_node a, ebb_node b);
#define ebb_select(condition, a, b) ebb_select(EBB_AT(condition), a, b)

/* ---- reductions: over `axes` (n == 0: all axes); with `keep` reduced dimensions stay as size 1
 * ---- */

typedef struct ebb_reduce_attrs {
    ebb_axes axes; /* none: all */
    bool keep;
} ebb_reduce_attrs;
#ifdef __cplusplus
#define EBB_ALL_AXES (ebb_axes{})
#else
#define EBB_ALL_AXES ((ebb_axes){ 0 })
#endif
EBB_API ebb_node ebb_reduce_sum(ebb_node x, ebb_axes axes, bool keep);  /* empty: 0 */
EBB_API ebb_node ebb_reduce_mean(ebb_node x, ebb_axes axes, bool keep); /* floats; empty: NaN */
EBB_API ebb_node ebb_reduce_max(ebb_node x, ebb_axes axes,
                                bool keep); /* NaN if any is; empty: -inf or the smallest integer;
                                               equal maxima share the gradient evenly */
EBB_API ebb_node ebb_reduce_min(ebb_node x, ebb_axes axes,
                                bool keep); /* as reduce_max; empty: inf or the largest integer */
EBB_API ebb_node ebb_reduce_prod(ebb_node x, ebb_axes axes,
                                 bool keep); /* empty: 1; the gradient is right with zeros in x */
EBB_API ebb_node ebb_reduce_any(ebb_node x, ebb_axes axes, bool keep); /* BOOL; empty: false */
EBB_API ebb_node ebb_reduce_all(ebb_node x, ebb_axes axes, bool keep); /* BOOL; empty: true */
#define ebb_reduce_sum(x, ...) ebb_reduce_sum(EBB_AT(x), __VA_ARGS__)
#define ebb_reduce_mean(x, ...) ebb_reduce_mean(EBB_AT(x), __VA_ARGS__)
#define ebb_reduce_max(x, ...) ebb_reduce_max(EBB_AT(x), __VA_ARGS__)
#define ebb_reduce_min(x, ...) ebb_reduce_min(EBB_AT(x), __VA_ARGS__)
#define ebb_reduce_prod(x, ...) ebb_reduce_prod(EBB_AT(x), __VA_ARGS__)
#define ebb_reduce_any(x, ...) ebb_reduce_any(EBB_AT(x), __VA_ARGS__)
#define ebb_reduce_all(x, ...) ebb_reduce_all(EBB_AT(x), __VA_ARGS__)
/* Floats. log(sum e^x), without overflow; empty: -inf. The gradient of a row of -inf is 0. */
EBB_API ebb_node ebb_logsumexp(ebb_node x, ebb_axes axes, bool keep);
EBB_API ebb_node ebb_norm_l1(ebb_node x, ebb_axes axes, bool keep); /* sum |x| */
EBB_API ebb_node ebb_norm_l2(ebb_node x, ebb_axes axes,
                             bool keep); /* sqrt(sum x^2); gradient 0 where it is 0 */
#define ebb_logsumexp(x, ...) ebb_logsumexp(EBB_AT(x), __VA_ARGS__)
#define ebb_norm_l1(x, ...) ebb_norm_l1(EBB_AT(x), __VA_ARGS__)
#define ebb_norm_l2(x, ...) ebb_norm_l2(EBB_AT(x), __VA_ARGS__)
typedef struct ebb_variance_attrs {
    ebb_reduce_attrs over;
    int64_t ddof; /* "delta degrees of freedom": 0 for a population, 1 for a sample */
} ebb_variance_attrs;
/* sum (x - mean)^2 / (n - ddof), floats; empty: NaN. BAD_ATTRIBUTE: ddof < 0 or >= n. */
EBB_API ebb_node ebb_variance(ebb_node x, ebb_axes axes, bool keep, int64_t ddof);
#define ebb_variance(x, ...) ebb_variance(EBB_AT(x), __VA_ARGS__)
/* Running sums along `axis`: element i is the sum of 0..i; of 0..i-1 with `exclusive`; from the end
 * with `reverse`. Numbers. */
typedef struct ebb_cumsum_attrs {
    int64_t axis;
    bool exclusive, reverse;
} ebb_cumsum_attrs;
EBB_API ebb_node ebb_cumsum(ebb_node x, ebb_cumsum_attrs attrs);
#define ebb_cumsum(x, ...) ebb_cumsum(EBB_AT(x), __VA_ARGS__)
/* Index of the first maximum along `axis` (a NaN counts as maximum), I64; the axis disappears. Its
 * size must not be 0. */
EBB_API ebb_node ebb_argmax(ebb_node x, int axis);
#define ebb_argmax(x, axis) ebb_argmax(EBB_AT(x), axis)
/* The same for the first minimum. */
EBB_API ebb_node ebb_argmin(ebb_node x, int axis);
#define ebb_argmin(x, axis) ebb_argmin(EBB_AT(x), axis)

/* ---- linear algebra ---- */

typedef struct ebb_matmul_attrs {
    bool transpose_a, transpose_b; /* of the last two dimensions */
} ebb_matmul_attrs;
/* a [..., m, k] times b [..., k, n] gives [..., m, n]; leading (batch) dimensions broadcast. A
 * vector a is one row, [k] times [..., k, n] gives [..., n]; a vector b is one column, [..., m, k]
 * times [k] gives [..., m]. F64, F32. */
EBB_API ebb_node ebb_matmul(ebb_node a, ebb_node b);
#define ebb_matmul(a, b) ebb_matmul(EBB_AT(a), b)
/* Rank 2 or more. With `transpose_a`, a is [..., k, m]; with `transpose_b`, b is [..., n, k]. */
EBB_API ebb_node ebb_matmul_with(ebb_node a, ebb_node b, ebb_matmul_attrs attrs);
#define ebb_matmul_with(a, ...) ebb_matmul_with(EBB_AT(a), __VA_ARGS__)
/* The last dimension of a against the last but one (or only one) of b: [..., k] and [..., k, n]
 * give
 * [..., ..., n], without broadcasting; for vectors their inner product; with a scalar, a product.
 * F64, F32. */
EBB_API ebb_node ebb_dot(ebb_node a, ebb_node b);
#define ebb_dot(a, b) ebb_dot(EBB_AT(a), b)
/* All products, [elements of a, elements of b]. Numbers. */
EBB_API ebb_node ebb_outer(ebb_node a, ebb_node b);
#define ebb_outer(a, b) ebb_outer(EBB_AT(a), b)
/* Einstein's summation over one or two operands: "bij,bjk->bik", "ij->ji", "ij->". A letter (a-z,
 * A-Z) names a dimension; those that the result lacks are summed over; spaces do not count. Without
 * "->", the result has the letters that stand in one operand only, in alphabetical order. No
 * diagonals ("ii"), no "...". Sums of products are F64 or F32. BAD_ATTRIBUTE with the position
 * (from 1) in `spec`; BAD_SHAPE if sizes differ. */
EBB_API ebb_node ebb_einsum(ebb_graph *graph, const char *spec, const ebb_node *operands,
                            int n_operands);
#define ebb_einsum(graph, ...) ebb_einsum(EBB_GRAPH_AT(graph), __VA_ARGS__)

/* ---- shape ---- */

/* Same elements in the same order; one dimension may be -1 and is computed. */
EBB_API ebb_node ebb_reshape(ebb_node x, ebb_shape shape);
#define ebb_reshape(x, ...) ebb_reshape(EBB_AT(x), __VA_ARGS__)
/* Dimension i of the result is dimension axes[i] of x; no axes: all reversed. */
EBB_API ebb_node ebb_transpose(ebb_node x, ebb_axes axes);
#define ebb_transpose(x, ...) ebb_transpose(EBB_AT(x), __VA_ARGS__)
/* Repeats x to `shape` by NumPy's rule. */
EBB_API ebb_node ebb_broadcast_to(ebb_node x, ebb_shape shape);
#define ebb_broadcast_to(x, ...) ebb_broadcast_to(EBB_AT(x), __VA_ARGS__)
/* x[start:stop:step, ...] by NumPy's rule: numbers for the leading dimensions, the others stay
 * whole; negative bounds count from the end, and bounds outside are cut. `step`: as many, or none:
 * 1; negative runs backwards. Costs nothing: the result is a view. BAD_ATTRIBUTE: lists of
 * different lengths or longer than the rank, a step of 0. */
#define EBB_TO_END INT64_MAX   /* stop, or start of a negative step: all to the end */
#define EBB_TO_BEGIN INT64_MIN /* stop of a negative step: all to the first one */
EBB_API ebb_node ebb_slice(ebb_node x, ebb_ints start, ebb_ints stop, ebb_ints step);
#define ebb_slice(x, ...) ebb_slice(EBB_AT(x), __VA_ARGS__)
/* The same along one axis. */
EBB_API ebb_node ebb_slice_axis(ebb_node x, int axis, int64_t start, int64_t stop, int64_t step);
#define ebb_slice_axis(x, ...) ebb_slice_axis(EBB_AT(x), __VA_ARGS__)
/* Backwards along `axes` (none: all). */
EBB_API ebb_node ebb_flip(ebb_node x, ebb_axes axes);
#define ebb_flip(x, ...) ebb_flip(EBB_AT(x), __VA_ARGS__)
/* n equal parts along `axis`, as slices, into parts[0..n); returns the first. BAD_SHAPE if n does
 * not divide the size; then all parts are none nodes. */
EBB_API ebb_node ebb_split(ebb_node x, int n, int axis, ebb_node *parts);
#define ebb_split(x, ...) ebb_split(EBB_AT(x), __VA_ARGS__)
/* n parts of the given sizes, which add up to the dimension's. */
EBB_API ebb_node ebb_split_sizes(ebb_node x, const int64_t *sizes, int n, int axis,
                                 ebb_node *parts);
#define ebb_split_sizes(x, ...) ebb_split_sizes(EBB_AT(x), __VA_ARGS__)
/* n >= 1 nodes one behind the other along `axis`: equal dtypes and ranks, and equal sizes along the
 * other axes. */
EBB_API ebb_node ebb_concat(ebb_graph *graph, const ebb_node *nodes, int n, int axis);
#define ebb_concat(graph, ...) ebb_concat(EBB_GRAPH_AT(graph), __VA_ARGS__)
/* n >= 1 nodes of one type, along a new axis of size n, which is axis `axis` of the result. */
EBB_API ebb_node ebb_stack(ebb_graph *graph, const ebb_node *nodes, int n, int axis);
#define ebb_stack(graph, ...) ebb_stack(EBB_GRAPH_AT(graph), __VA_ARGS__)

typedef enum ebb_pad_mode {
    EBB_PAD_CONSTANT, /* a value */
    EBB_PAD_REFLECT,  /* mirrored at the border element, which is not repeated: 3 2 | 1 2 3 | 2 1;
                         over and over */
    EBB_PAD_EDGE      /* the border element: 1 1 | 1 2 3 | 3 3 */
} ebb_pad_mode;
/* before[i] elements in front of dimension i and after[i] behind it, one number per dimension.
 * `value` is for EBB_PAD_CONSTANT, rounded to the dtype. BAD_ATTRIBUTE: other lengths, or negative
 * numbers; BAD_SHAPE: there is nothing to repeat. */
EBB_API ebb_node ebb_pad(ebb_node x, ebb_ints before, ebb_ints after, ebb_pad_mode mode,
                         double value);
#define ebb_pad(x, ...) ebb_pad(EBB_AT(x), __VA_ARGS__)

/* Without these dimensions, which have size 1 (BAD_SHAPE else); none: without all of size 1. */
EBB_API ebb_node ebb_squeeze(ebb_node x, ebb_axes axes);
#define ebb_squeeze(x, ...) ebb_squeeze(EBB_AT(x), __VA_ARGS__)
/* With dimensions of size 1, which are `axes` of the result. */
EBB_API ebb_node ebb_unsqueeze(ebb_node x, ebb_axes axes);
#define ebb_unsqueeze(x, ...) ebb_unsqueeze(EBB_AT(x), __VA_ARGS__)
/* Dimensions first_axis and all behind it as one; a scalar becomes [1]. */
EBB_API ebb_node ebb_flatten(ebb_node x, int first_axis);
#define ebb_flatten(x, first_axis) ebb_flatten(EBB_AT(x), first_axis)
/* The whole of x times[i] times along the last times.n dimensions, missing ones being 1 in front:
 * a b -> a b a b. BAD_ARGUMENT: a negative number. */
EBB_API ebb_node ebb_tile(ebb_node x, ebb_ints times);
#define ebb_tile(x, ...) ebb_tile(EBB_AT(x), __VA_ARGS__)
/* Each element `times` times along `axis`: a b -> a a b b. BAD_ARGUMENT: a negative number. */
EBB_API ebb_node ebb_repeat(ebb_node x, int64_t times, int axis);
#define ebb_repeat(x, ...) ebb_repeat(EBB_AT(x), __VA_ARGS__)
/* Matrices in the last two dimensions: what stands above (tril) or below (triu) diagonal k becomes
 * 0; k = 0 is the main one, k > 0 lie above it. BAD_SHAPE: rank below 2. */
EBB_API ebb_node ebb_tril(ebb_node x, int64_t k);
EBB_API ebb_node ebb_triu(ebb_node x, int64_t k);
#define ebb_tril(x, k) ebb_tril(EBB_AT(x), k)
#define ebb_triu(x, k) ebb_triu(EBB_AT(x), k)
/* [rows, columns], 1 on diagonal k and 0 elsewhere. */
EBB_API ebb_node ebb_eye(ebb_graph *graph, ebb_dtype dtype, int64_t rows, int64_t columns,
                         int64_t k);
#define ebb_eye(graph, ...) ebb_eye(EBB_GRAPH_AT(graph), __VA_ARGS__)
/* ---- indices ---- */

/* Indices are I64, I32 or U8 and count from 0: in 0..n-1 for an axis of size n. Negative ones do
 * not count from the end. An index outside is BAD_INDEX at run time, with the node, the index, its
 * position among the indices and the range; nothing is written then, neither results nor variables.
 * Indices have no gradient. */

/* indices [...] -> [..., depth], 1 at the index (in 0..depth-1) and 0 elsewhere. */
EBB_API ebb_node ebb_one_hot(ebb_node indices, int64_t depth, ebb_dtype dtype);
#define ebb_one_hot(indices, ...) ebb_one_hot(EBB_AT(indices), __VA_ARGS__)
/* Rows of x along `axis` (numpy.take): x [a, n, b] and indices of any shape [...] give [a, ..., b],
 * where a and b stand for any number of dimensions. Any dtype. BAD_AXIS; BAD_DTYPE; BAD_SHAPE if
 * the result has a rank above 8. */
EBB_API ebb_node ebb_gather(ebb_node x, ebb_node indices, int axis);
#define ebb_gather(x, ...) ebb_gather(EBB_AT(x), __VA_ARGS__)
/* Rows of `table` [entries, width], one for each index: gather along axis 0. */
EBB_API ebb_node ebb_embedding(ebb_node table, ebb_node indices);
#define ebb_embedding(table, indices) ebb_embedding(EBB_AT(table), indices)
/* An index for each element (numpy.take_along_axis): x [a, n, b] and indices [a, m, b] give [a, m,
 * b], where result [i, j, k] is x[i, indices[i, j, k], k]. BAD_SHAPE unless the dimensions other
 * than `axis` are equal: nothing broadcasts. Takes what argmax (with a dimension of 1 put in),
 * argsort and top_k return. */
EBB_API ebb_node ebb_gather_along_axis(ebb_node x, ebb_node indices, int axis);
#define ebb_gather_along_axis(x, ...) ebb_gather_along_axis(EBB_AT(x), __VA_ARGS__)
/* x with rows along `axis` replaced by `updates`, which have the type of gather(x, indices, axis).
 * Of equal indices, the last one (in row-major order) stays, and only its update has a gradient.
 * Any dtype. */
EBB_API ebb_node ebb_scatter(ebb_node x, ebb_node indices, ebb_node updates, int axis);
#define ebb_scatter(x, ...) ebb_scatter(EBB_AT(x), __VA_ARGS__)
/* x with `updates` added to its rows; those of equal indices add up (numpy.add.at), one after the
 * other in the order of the indices and in x's dtype: the same bits on every backend and thread
 * count. Numbers. */
EBB_API ebb_node ebb_scatter_add(ebb_node x, ebb_node indices, ebb_node updates, int axis);
#define ebb_scatter_add(x, ...) ebb_scatter_add(EBB_AT(x), __VA_ARGS__)
/* The same with an index for each element (numpy.put_along_axis): `updates` have the type of
 * gather_along_axis(x, indices, axis). */
EBB_API ebb_node ebb_scatter_along_axis(ebb_node x, ebb_node indices, ebb_node updates, int axis);
EBB_API ebb_node ebb_scatter_add_along_axis(ebb_node x, ebb_node indices, ebb_node updates,
                                            int axis);
#define ebb_scatter_along_axis(x, ...) ebb_scatter_along_axis(EBB_AT(x), __VA_ARGS__)
#define ebb_scatter_add_along_axis(x, ...) ebb_scatter_add_along_axis(EBB_AT(x), __VA_ARGS__)

typedef struct ebb_top_k_attrs {
    int64_t axis;
    int64_t k;     /* 0..size of the axis */
    bool smallest; /* the k smallest, ascending */
} ebb_top_k_attrs;
/* The k largest elements along `axis`, in descending order; *indices (NULL: not wanted) gets where
 * they stand, I64, of the same shape. Of equal ones the lowest index comes first; a NaN is larger
 * than everything (so the last of the smallest). Numbers. The gradient goes to the elements that
 * were chosen. BAD_ATTRIBUTE: no such k. */
EBB_API ebb_node ebb_top_k(ebb_node x, ebb_top_k_attrs attrs, ebb_node *indices);
#define ebb_top_k(x, ...) ebb_top_k(EBB_AT(x), __VA_ARGS__)
/* All elements along `axis` in order, and where they stand (I64): a top_k of everything. Stable
 * both ways: equal ones keep their order. NaN comes last, and first in a descending order. */
EBB_API ebb_node ebb_sort(ebb_node x, int axis, bool descending);
EBB_API ebb_node ebb_argsort(ebb_node x, int axis, bool descending);
#define ebb_sort(x, ...) ebb_sort(EBB_AT(x), __VA_ARGS__)
#define ebb_argsort(x, ...) ebb_argsort(EBB_AT(x), __VA_ARGS__)

/* ---- library ops and losses ---- */

/* exp(x - max) / sum along `axis`; negative axes count from the end. Floats. */
EBB_API ebb_node ebb_softmax(ebb_node x, int axis);
EBB_API ebb_node ebb_log_softmax(ebb_node x, int axis);
#define ebb_softmax(x, axis) ebb_softmax(EBB_AT(x), axis)
#define ebb_log_softmax(x, axis) ebb_log_softmax(EBB_AT(x), axis)
/* What becomes of the terms of a loss. The mean is over all elements (or rows, where the loss says
 * so). */
typedef enum ebb_loss_reduction {
    EBB_REDUCTION_MEAN,
    EBB_REDUCTION_SUM,
    EBB_REDUCTION_NONE
} ebb_loss_reduction;

/* Mean over rows of -sum_c t_c log softmax(x)_c. x [batch, classes]; t is class indices [batch]
 * (I64, I32, U8) or target rows [batch, classes] of x's dtype (one-hot or any weights; gradients
 * flow to them too). Scalar. BAD_INDEX at run time for a label outside 0..classes-1. Gradient
 * (softmax(x) - t) / batch for rows that sum to 1. */
EBB_API ebb_node ebb_softmax_cross_entropy(ebb_node x, ebb_node t);
#define ebb_softmax_cross_entropy(x, t) ebb_softmax_cross_entropy(EBB_AT(x), t)
typedef struct ebb_cross_entropy_attrs {
    int reduction;          /* ebb_loss_reduction, of rows; none: [batch] */
    double label_smoothing; /* s in 0..1: targets are (1-s) t + s/classes (Szegedy et al. 2016) */
    bool ignore; /* rows with the label `ignore_index`, which may be outside 0..classes-1, give 0,
                    have */
    int64_t ignore_index; /* gradient 0 and do not count in the mean (which is NaN if none is left).
                             Not for target rows */
} ebb_cross_entropy_attrs;
/* BAD_ATTRIBUTE: no such reduction, smoothing outside 0..1, ignore with target rows or an index
 * that is none of the labels' dtype. */
EBB_API ebb_node ebb_softmax_cross_entropy_with(ebb_node x, ebb_node t,
                                                ebb_cross_entropy_attrs attrs);
#define ebb_softmax_cross_entropy_with(x, ...)                                                     \
    ebb_softmax_cross_entropy_with(EBB_AT(x), __VA_ARGS__)
/* The same with weights [classes] of x's dtype: the term of class c is multiplied by weights[c].
 * With labels, the mean divides by the sum of the labels' weights; with target rows, by batch (both
 * as PyTorch's CrossEntropyLoss). */
EBB_API ebb_node ebb_weighted_softmax_cross_entropy(ebb_node x, ebb_node t, ebb_node weights,
                                                    ebb_cross_entropy_attrs attrs);
#define ebb_weighted_softmax_cross_entropy(x, ...)                                                 \
    ebb_weighted_softmax_cross_entropy(EBB_AT(x), __VA_ARGS__)

/* Losses of two inputs of equal float dtype and equal shape, any rank (there is no broadcasting:
 * BAD_SHAPE). The result is a scalar, or with EBB_REDUCTION_NONE of the inputs' shape. The mean of
 * no elements is NaN. Gradients flow to both. BAD_ATTRIBUTE: no such reduction. */
typedef struct ebb_loss_attrs {
    int reduction; /* ebb_loss_reduction */
    double delta;  /* huber_loss */
} ebb_loss_attrs;
EBB_API ebb_node ebb_mse_loss(ebb_node y, ebb_node t, ebb_loss_reduction reduction); /* (y - t)^2 */
EBB_API ebb_node ebb_mae_loss(ebb_node y, ebb_node t,
                              ebb_loss_reduction reduction); /* |y - t|; gradient 0 at 0 */
/* d = y - t: d^2/2 where |d| <= delta, else delta (|d| - delta/2) (Huber 1964). delta 0 is 1;
 * BAD_ATTRIBUTE if it is negative or not finite. */
EBB_API ebb_node ebb_huber_loss(ebb_node y, ebb_node t, double delta, ebb_loss_reduction reduction);
/* -t log s - (1-t) log(1-s), s = sigmoid(x), x logits, t probabilities; as max(x,0) - x t +
 * log(1+e^-|x|), which does not overflow. */
EBB_API ebb_node ebb_binary_cross_entropy(ebb_node x, ebb_node t, ebb_loss_reduction reduction);
/* The terms times `weights`, which broadcast to x; the mean is over all elements, not weighted. */
EBB_API ebb_node ebb_weighted_binary_cross_entropy(ebb_node x, ebb_node t, ebb_node weights,
                                                   ebb_loss_reduction reduction);
/* p (log p - log_q), 0 where p is 0 (and there the gradient to p is 0 too): summed, the divergence
 * KL(p || q) of Kullback & Leibler 1951; divide by the batch for the mean over rows. Inputs:
 * log-probabilities, probabilities. */
EBB_API ebb_node ebb_kl_divergence(ebb_node log_q, ebb_node p, ebb_loss_reduction reduction);
#define ebb_mse_loss(y, ...) ebb_mse_loss(EBB_AT(y), __VA_ARGS__)
#define ebb_mae_loss(y, ...) ebb_mae_loss(EBB_AT(y), __VA_ARGS__)
#define ebb_huber_loss(y, ...) ebb_huber_loss(EBB_AT(y), __VA_ARGS__)
#define ebb_binary_cross_entropy(x, ...) ebb_binary_cross_entropy(EBB_AT(x), __VA_ARGS__)
#define ebb_weighted_binary_cross_entropy(x, ...)                                                  \
    ebb_weighted_binary_cross_entropy(EBB_AT(x), __VA_ARGS__)
#define ebb_kl_divergence(log_q, ...) ebb_kl_divergence(EBB_AT(log_q), __VA_ARGS__)

/* 1/2 sum (y - t)^2 over all elements (Saitoh 2016, eq. 4.1). Scalar. */
EBB_API ebb_node ebb_squared_error(ebb_node y, ebb_node t);
#define ebb_squared_error(y, t) ebb_squared_error(EBB_AT(y), t)
/* -sum t log(y + epsilon) / rows, for probabilities y and targets t of the same shape, [classes] or
 * [batch, classes] (Saitoh 2016, eq. 4.2 and 4.3; its code takes epsilon 1e-7). Scalar. */
EBB_API ebb_node ebb_cross_entropy(ebb_node y, ebb_node t, double epsilon);
#define ebb_cross_entropy(y, ...) ebb_cross_entropy(EBB_AT(y), __VA_ARGS__)

/* ---- convolution and pooling: [batch, channels, 1 to 3 spatial dimensions...], F64, F32 ---- */

/* Lists have one value for each spatial dimension; one value alone holds for all of them. A window
 * of `window` taps, `dilation` apart, spans (window - 1) dilation + 1 elements. Along a dimension
 * of `size` with padding there are
 *
 *   (size + begin + end - span) / stride + 1      (rounded down)
 *
 * windows, and so many elements has the result. BAD_SHAPE if a span is larger than the padded size,
 * BAD_ATTRIBUTE for a stride or dilation below 1 or a negative padding. */
typedef struct ebb_conv_attrs {
    ebb_ints stride;   /* none: 1 */
    ebb_ints padding;  /* zeros around x: one value a dimension, or all begins and then all ends;
                          none: 0 */
    ebb_ints dilation; /* none: 1 */
    int64_t groups; /* channels and filters in so many separate groups; 0: 1; as many as channels:
                       depthwise */
} ebb_conv_attrs;
/* Cross-correlation of x [batch, channels, ...] with w [filters, channels / groups, window...],
 * plus `bias` [filters] (EBB_NONE: none), gives [batch, filters, ...]. The window is w's.
 * BAD_SHAPE: channels, groups or ranks do not fit. */
EBB_API ebb_node ebb_conv1d(ebb_node x, ebb_node w, ebb_node bias, ebb_conv_attrs attrs);
EBB_API ebb_node ebb_conv2d(ebb_node x, ebb_node w, ebb_node bias, ebb_conv_attrs attrs);
EBB_API ebb_node ebb_conv3d(ebb_node x, ebb_node w, ebb_node bias, ebb_conv_attrs attrs);
#define ebb_conv1d(x, ...) ebb_conv1d(EBB_AT(x), __VA_ARGS__)
#define ebb_conv2d(x, ...) ebb_conv2d(EBB_AT(x), __VA_ARGS__)
#define ebb_conv3d(x, ...) ebb_conv3d(EBB_AT(x), __VA_ARGS__)
/* Transposed convolution: the gradient of a convolution with weights w [channels, filters / groups,
 * window...] to its input, taken of x [batch, channels, ...]. Each element of x spreads w; sizes
 * become
 *
 *   (size - 1) stride + span - begin - end + output_padding
 *
 * BAD_SHAPE if output_padding is not below the stride. */
EBB_API ebb_node ebb_conv_transpose1d(ebb_node x, ebb_node w, ebb_node bias, ebb_conv_attrs attrs,
                                      ebb_ints output_padding);
EBB_API ebb_node ebb_conv_transpose2d(ebb_node x, ebb_node w, ebb_node bias, ebb_conv_attrs attrs,
                                      ebb_ints output_padding);
EBB_API ebb_node ebb_conv_transpose3d(ebb_node x, ebb_node w, ebb_node bias, ebb_conv_attrs attrs,
                                      ebb_ints output_padding);
#define ebb_conv_transpose1d(x, ...) ebb_conv_transpose1d(EBB_AT(x), __VA_ARGS__)
#define ebb_conv_transpose2d(x, ...) ebb_conv_transpose2d(EBB_AT(x), __VA_ARGS__)
#define ebb_conv_transpose3d(x, ...) ebb_conv_transpose3d(EBB_AT(x), __VA_ARGS__)

typedef struct ebb_im2col_attrs {
    ebb_ints window;                    /* taps; must be given */
    ebb_ints stride, padding, dilation; /* as in ebb_conv_attrs */
} ebb_im2col_attrs;
/* All windows as rows (Saitoh 2016, 7.4.3): x [batch, channels, ...] gives [batch * windows,
 * channels * taps], so that a convolution is a product with the transposed [filters, channels *
 * taps]. */
EBB_API ebb_node ebb_im2col(ebb_node x, ebb_im2col_attrs attrs);
#define ebb_im2col(x, ...) ebb_im2col(EBB_AT(x), __VA_ARGS__)
/* The adjoint of im2col: rows added up where they came from in an image of `shape`, which im2col
 * would make into the shape of `columns` (else BAD_SHAPE). */
EBB_API ebb_node ebb_col2im(ebb_node columns, ebb_shape shape, ebb_im2col_attrs attrs);
#define ebb_col2im(columns, ...) ebb_col2im(EBB_AT(columns), __VA_ARGS__)

typedef struct ebb_pool_attrs {
    ebb_ints window;   /* taps; must be given */
    ebb_ints stride;   /* none: the window */
    ebb_ints padding;  /* as in ebb_conv_attrs; below the window's span. Never a maximum */
    ebb_ints dilation; /* none: 1 */
    bool ceil_mode;    /* the number of windows is rounded up, as long as the last one starts before
                          the padding at the end */
    bool count_include_pad; /* avg_pool: padding counts as zeros; else the mean is over what lies in
                               x */
} ebb_pool_attrs;
/* The maximum of each window, channel by channel; NaN if any is. The gradient goes to the first
 * maximum in the window (row-major). A window wholly in the padding gives -inf. BAD_ATTRIBUTE: no
 * window, or too much padding. */
EBB_API ebb_node ebb_max_pool(ebb_node x, ebb_pool_attrs attrs);
/* The mean of each window. With `count_include_pad` the divisor counts x and its padding, but not
 * what ceil_mode adds behind them. A window wholly in the padding gives 0. */
EBB_API ebb_node ebb_avg_pool(ebb_node x, ebb_pool_attrs attrs);
/* One window over all: [batch, channels, 1...]. */
EBB_API ebb_node ebb_global_max_pool(ebb_node x);
EBB_API ebb_node ebb_global_avg_pool(ebb_node x);
/* Means of as many windows as `sizes` says (one value for each spatial dimension, or one for all):
 * window i of n over `size` elements goes from i size / n rounded down to (i + 1) size / n rounded
 * up. BAD_ATTRIBUTE: sizes below 1. */
EBB_API ebb_node ebb_adaptive_avg_pool(ebb_node x, ebb_ints sizes);
#define ebb_max_pool(x, ...) ebb_max_pool(EBB_AT(x), __VA_ARGS__)
#define ebb_avg_pool(x, ...) ebb_avg_pool(EBB_AT(x), __VA_ARGS__)
#define ebb_global_max_pool(x) ebb_global_max_pool(EBB_AT(x))
#define ebb_global_avg_pool(x) ebb_global_avg_pool(EBB_AT(x))
#define ebb_adaptive_avg_pool(x, ...) ebb_adaptive_avg_pool(EBB_AT(x), __VA_ARGS__)

/* ---- normalization, attention, dropout ---- */

typedef struct ebb_norm_attrs {
    ebb_axes axes;  /* normalized together; none: all */
    double epsilon; /* added to the mean of squares, >= 0 */
} ebb_norm_attrs;
/* scale (x - mean) / sqrt(variance + epsilon) + shift, mean and variance (over n, not n-1) over
 * `axes`: EBB_AXES(-1) for the last one, EBB_AXES(-2, -1) for the last two (Ba, Kiros & Hinton
 * 2016). scale and shift have the dimensions of the normalized axes, in x's order; EBB_NONE: 1 and
 * 0. F64, F32. BAD_AXIS, BAD_SHAPE, BAD_ATTRIBUTE (epsilon negative or not finite). */
EBB_API ebb_node ebb_layer_norm(ebb_node x, ebb_node scale, ebb_node shift, ebb_axes axes,
                                double epsilon);
#define ebb_layer_norm(x, ...) ebb_layer_norm(EBB_AT(x), __VA_ARGS__)
/* scale x / sqrt(mean(x^2) + epsilon) (Zhang & Sennrich 2019); the rest as layer_norm. */
EBB_API ebb_node ebb_rms_norm(ebb_node x, ebb_node scale, ebb_axes axes, double epsilon);
#define ebb_rms_norm(x, ...) ebb_rms_norm(EBB_AT(x), __VA_ARGS__)

/* The ops of this block take x [batch, channels, ...] of rank 2 or more. scale, shift, mean and
 * variance are [channels]; scale and shift may be EBB_NONE: 1 and 0. epsilon as in layer_norm. F64,
 * F32. BAD_SHAPE, BAD_DTYPE, BAD_ATTRIBUTE. */
typedef struct ebb_batch_norm_attrs {
    double epsilon; /* added to the variance, >= 0 */
} ebb_batch_norm_attrs;
/* For training: scale (x - mean) / sqrt(variance + epsilon) + shift, with mean and variance (over
 * n, not n-1) of each channel over the batch and all other dimensions (Ioffe & Szegedy 2015,
 * algorithm 1); [batch, features] is the per-feature form of Saitoh 2016, 6.3 (whose code treats
 * images as that too: reshape to [batch, -1]). *mean and *variance (either may be NULL) get the
 * statistics; no elements: NaN. ebb_nn_batch_norm keeps running ones. */
EBB_API ebb_node ebb_batch_norm(ebb_node x, ebb_node scale, ebb_node shift, double epsilon,
                                ebb_node *mean, ebb_node *variance);
#define ebb_batch_norm(x, ...) ebb_batch_norm(EBB_AT(x), __VA_ARGS__)
/* The same with statistics that are given: an affine function of x (algorithm 2, step 11). */
EBB_API ebb_node ebb_batch_norm_inference(ebb_node x, ebb_node scale, ebb_node shift, ebb_node mean,
                                          ebb_node variance, double epsilon);
#define ebb_batch_norm_inference(x, ...) ebb_batch_norm_inference(EBB_AT(x), __VA_ARGS__)
typedef struct ebb_group_norm_attrs {
    int64_t groups;
    double epsilon;
} ebb_group_norm_attrs;
/* Mean and variance of each of `groups` runs of neighbouring channels, over those channels and all
 * dimensions behind them, in each example of its own (Wu & He 2018). `groups` divides the channels.
 */
EBB_API ebb_node ebb_group_norm(ebb_node x, ebb_node scale, ebb_node shift, int64_t groups,
                                double epsilon);
#define ebb_group_norm(x, ...) ebb_group_norm(EBB_AT(x), __VA_ARGS__)
/* With one channel a group (Ulyanov, Vedaldi & Lempitsky 2016). */
EBB_API ebb_node ebb_instance_norm(ebb_node x, ebb_node scale, ebb_node shift, double epsilon);
#define ebb_instance_norm(x, ...) ebb_instance_norm(EBB_AT(x), __VA_ARGS__)
typedef struct ebb_lrn_attrs {
    int64_t size; /* n: channels that count, c in the middle; odd */
    double alpha, beta;
    double k; /* > 0 */
    bool
        divide; /* alpha / size in the place of alpha, as PyTorch, ONNX, Caffe and oneDNN have it */
} ebb_lrn_attrs;
/* Local response normalization across channels: x_c / (k + alpha sum_j x_j^2)^beta, j from c -
 * size/2 to c + size/2 as far as they exist (Krizhevsky, Sutskever & Hinton 2012, section 3.3: size
 * 5, alpha 1e-4, beta 0.75, k 2, alpha not divided). BAD_ATTRIBUTE: size even or below 1, alpha
 * negative, k not positive, or any not finite. */
EBB_API ebb_node ebb_lrn(ebb_node x, ebb_lrn_attrs attrs);
#define ebb_lrn(x, ...) ebb_lrn(EBB_AT(x), __VA_ARGS__)

/* ---- images: x [batch, channels, height, width] ---- */

typedef enum ebb_resize_mode { EBB_RESIZE_NEAREST, EBB_RESIZE_BILINEAR } ebb_resize_mode;
/* Where result i of n_out lies in x with n_in elements; the names are those of ONNX Resize. */
typedef enum ebb_resize_coordinates {
    EBB_RESIZE_HALF_PIXEL,    /* (i + 1/2) n_in / n_out - 1/2; PyTorch's align_corners=False */
    EBB_RESIZE_ALIGN_CORNERS, /* i (n_in - 1) / (n_out - 1); 0 if n_out is 1 */
    EBB_RESIZE_ASYMMETRIC     /* i n_in / n_out; with EBB_RESIZE_FLOOR PyTorch's mode="nearest" */
} ebb_resize_coordinates;
typedef enum ebb_resize_rounding { /* of nearest; the first two differ for halves only */
                                   EBB_RESIZE_PREFER_FLOOR,
                                   EBB_RESIZE_PREFER_CEIL, /* with EBB_RESIZE_HALF_PIXEL PyTorch's
                                                              mode="nearest-exact" */
                                   EBB_RESIZE_FLOOR,
                                   EBB_RESIZE_CEIL
} ebb_resize_rounding;
typedef struct ebb_resize_attrs {
    int64_t height, width; /* of the result */
    int mode;              /* ebb_resize_mode */
    int coordinates;       /* ebb_resize_coordinates */
    int rounding;          /* ebb_resize_rounding */
} ebb_resize_attrs;
/* Resampled to height x width as ONNX Resize (version 19) with sizes; places are fractions, so
 * nothing rounds; neighbours outside x are those at its edge. No antialiasing. F64, F32. BAD_SHAPE:
 * rank not 4, or size 0 made larger; BAD_ATTRIBUTE: a size outside 0..2^30, no such mode,
 * coordinates or rounding. */
EBB_API ebb_node ebb_resize2d(ebb_node x, ebb_resize_attrs attrs);
#define ebb_resize2d(x, ...) ebb_resize2d(EBB_AT(x), __VA_ARGS__)
/* Channels as a matrix [groups, channels/groups], transposed (Zhang et al. 2018, ShuffleNet); x
 * [batch, channels, ...]. BAD_ATTRIBUTE: groups does not divide the channels. */
EBB_API ebb_node ebb_channel_shuffle(ebb_node x, int64_t groups);
#define ebb_channel_shuffle(x, groups) ebb_channel_shuffle(EBB_AT(x), groups)
/* [batch, c r r, height, width] -> [batch, c, height r, width r] (Shi et al. 2016, eq. 4): y[n, c,
 * h r + i, w r + j] = x[n, (c r + i) r + j, h, w], as PyTorch (ONNX DepthToSpace, mode CRD); and
 * back. BAD_SHAPE: rank not 4; BAD_ATTRIBUTE: a size that does not divide. */
EBB_API ebb_node ebb_pixel_shuffle(ebb_node x, int64_t factor);
EBB_API ebb_node ebb_pixel_unshuffle(ebb_node x, int64_t factor);
#define ebb_pixel_shuffle(x, factor) ebb_pixel_shuffle(EBB_AT(x), factor)
#define ebb_pixel_unshuffle(x, factor) ebb_pixel_unshuffle(EBB_AT(x), factor)

typedef struct ebb_attention_attrs {
    double scale; /* of the scores; 0: 1/sqrt(dim) */
    bool causal;  /* query i sees keys 0..i only */
} ebb_attention_attrs;
/* softmax(scale q k^T + mask) v over the keys (Vaswani et al. 2017, eq. 1). q [..., queries, dim],
 * k [..., keys, dim], v [..., keys, values] give [..., queries, values]; leading dimensions (batch,
 * heads) are equal. `mask` broadcasts to
 * [..., queries, keys]: floats of the same dtype are added; BOOL: true where a key is seen;
 * EBB_NONE: no mask. A query whose scores are all -inf sees no key: result and gradient are 0. F64,
 * F32. BAD_SHAPE, BAD_DTYPE, BAD_ATTRIBUTE (scale not finite). */
EBB_API ebb_node ebb_scaled_dot_product_attention(ebb_node q, ebb_node k, ebb_node v, ebb_node mask,
                                                  ebb_attention_attrs attrs);
#define ebb_scaled_dot_product_attention(q, ...)                                                   \
    ebb_scaled_dot_product_attention(EBB_AT(q), __VA_ARGS__)

typedef struct ebb_dropout_attrs {
    double ratio; /* probability that an element is dropped, 0..1 */
    int64_t seed, stream;
    bool unscaled;
} ebb_dropout_attrs;
/* Inverted dropout, for training: an element is 0 with probability `ratio`, else x / (1 - ratio)
 * (Srivastava et al. 2014, section 10); in evaluation leave it out. An element is dropped where the
 * random_uniform of (seed, stream, counter), drawn as F32 for both dtypes, is below `ratio`: the
 * gradient drops the same ones, and nothing is stored. counter: I64 scalar. F64, F32.
 * BAD_ATTRIBUTE: ratio or stream out of range. */
EBB_API ebb_node ebb_dropout(ebb_node x, double ratio, ebb_node counter, int64_t seed,
                             int64_t stream);
#define ebb_dropout(x, ...) ebb_dropout(EBB_AT(x), __VA_ARGS__)
/* The book's form (Saitoh 2016, 6.4.3): in training x or 0, without the division; in evaluation x
 * times 1 - ratio. */
EBB_API ebb_node ebb_dropout_unscaled(ebb_node x, double ratio, ebb_node counter, int64_t seed,
                                      int64_t stream);
#define ebb_dropout_unscaled(x, ...) ebb_dropout_unscaled(EBB_AT(x), __VA_ARGS__)
EBB_API ebb_node ebb_dropout_mean(ebb_node x, double ratio);
#define ebb_dropout_mean(x, ratio) ebb_dropout_mean(EBB_AT(x), ratio)

/* ---- the registry ---- */

/* All ops that come with Ebb, in the order of docs/ops.md. */
EBB_API const ebb_op *const *ebb_op_list(int *n);
/* NULL if there is none of this name. */
EBB_API const ebb_op *ebb_op_find(const char *name);

/* Reads the text form (graph.h) into a new graph. `extra` ops are looked up first (NULL: none).
 * `allocator` NULL: the C heap. On failure *graph is NULL and the message says line and column.
 * BAD_FORMAT, or what the op in that line says (BAD_SHAPE ...). */
EBB_NODISCARD EBB_API ebb_status ebb_graph_parse(const char *text, size_t text_bytes,
                                                 const ebb_op *const *extra, int n_extra,
                                                 const ebb_allocator *allocator, ebb_graph **graph,
                                                 ebb_error *error);

EBB_END

#endif
