/* The builders of all operations. An op's builder is the op's name. All record sticky errors in the graph
 * (graph.h) and return a none node on failure. docs/ops.md lists the same ops with attributes and backends.
 *
 * Element-wise builders with two or more inputs broadcast as NumPy does: shapes are aligned at the right, and
 * dimensions of size 1 (or missing) repeat; the builder inserts broadcast_to nodes. dtypes must be equal: cast
 * explicitly. Integer arithmetic wraps; integer division truncates, and x / 0 is 0. */
#ifndef EBB_OPS_H
#define EBB_OPS_H

#include <ebb/op.h>

EBB_BEGIN

/* ---- sources ---- */

/* A value that is fed at each run. BAD_NAME if the name is taken by something else; the same name, dtype and
 * shape again gives the same node. */
EBB_API ebb_node ebb_input(ebb_graph *graph, const char *name, ebb_dtype dtype, ebb_shape shape);
#define ebb_input(graph, ...) ebb_input(EBB_GRAPH_AT(graph), __VA_ARGS__)

/* How a variable gets its first value, when the store has none of its name. Random ones are Philox4x32-10 of
 * (seed, hash of the full name): independent of the order in which variables are made. */
typedef enum ebb_init_kind {
    EBB_INIT_CONSTANT, /* a (default 0) */
    EBB_INIT_UNIFORM,  /* [a, b) */
    EBB_INIT_NORMAL    /* mean a, standard deviation b */
} ebb_init_kind;
typedef struct ebb_init {
    ebb_init_kind kind;
    double a, b;
    uint64_t seed;
} ebb_init;
/* A named, persistent tensor that graphs read and updates write. `init` NULL: zeros. The same name, dtype and
 * shape again gives the same node. */
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

/* Random numbers: Philox4x32-10 (Salmon et al. 2011) of (seed, stream, counter, element). `counter` is an I64
 * scalar; a variable that an update advances gives new numbers each run. Equal (seed, stream, counter) give
 * equal numbers, on every backend and thread count. F64 or F32. */
typedef struct ebb_random_attrs {
    ebb_type type;   /* set by the builders */
    int64_t seed;
    int64_t stream;  /* tells several uses apart; 0..2^32-1 */
} ebb_random_attrs;
/* [0, 1) */
EBB_API ebb_node ebb_random_uniform(ebb_node counter, ebb_dtype dtype, ebb_shape shape, int64_t seed,
                                    int64_t stream);
#define ebb_random_uniform(counter, ...) ebb_random_uniform(EBB_AT(counter), __VA_ARGS__)
/* Mean 0, standard deviation 1 (Box-Muller). */
EBB_API ebb_node ebb_random_normal(ebb_node counter, ebb_dtype dtype, ebb_shape shape, int64_t seed,
                                   int64_t stream);
#define ebb_random_normal(counter, ...) ebb_random_normal(EBB_AT(counter), __VA_ARGS__)

/* ---- element-wise ---- */

EBB_API ebb_node ebb_neg(ebb_node x);        /* -x */
EBB_API ebb_node ebb_abs(ebb_node x);        /* |x|; gradient 0 at 0 */
EBB_API ebb_node ebb_sign(ebb_node x);       /* -1, 0, 1; NaN stays */
EBB_API ebb_node ebb_square(ebb_node x);     /* x*x */
EBB_API ebb_node ebb_exp(ebb_node x);        /* e^x */
EBB_API ebb_node ebb_log(ebb_node x);        /* natural logarithm */
EBB_API ebb_node ebb_sqrt(ebb_node x);       /* square root */
EBB_API ebb_node ebb_sin(ebb_node x);        /* radians */
EBB_API ebb_node ebb_cos(ebb_node x);        /* radians */
EBB_API ebb_node ebb_tanh(ebb_node x);       /* hyperbolic tangent */
EBB_API ebb_node ebb_sigmoid(ebb_node x);    /* 1/(1+e^-x) */
EBB_API ebb_node ebb_relu(ebb_node x);       /* max(x, 0); gradient 0 at 0; NaN stays */
EBB_API ebb_node ebb_logical_not(ebb_node x); /* BOOL */
EBB_API ebb_node ebb_stop_gradient(ebb_node x); /* x, through which no gradient flows */
EBB_API ebb_node ebb_cast(ebb_node x, ebb_dtype dtype); /* float -> integer truncates and saturates, NaN -> 0; -> BOOL: x != 0 */
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

EBB_API ebb_node ebb_add(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_sub(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_mul(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_div(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_pow(ebb_node a, ebb_node b);     /* a^b, floats; gradient to b is 0 where a <= 0 */
EBB_API ebb_node ebb_maximum(ebb_node a, ebb_node b); /* NaN if either is; gradient to a where equal */
EBB_API ebb_node ebb_minimum(ebb_node a, ebb_node b);
#define ebb_add(a, b) ebb_add(EBB_AT(a), b)
#define ebb_sub(a, b) ebb_sub(EBB_AT(a), b)
#define ebb_mul(a, b) ebb_mul(EBB_AT(a), b)
#define ebb_div(a, b) ebb_div(EBB_AT(a), b)
#define ebb_pow(a, b) ebb_pow(EBB_AT(a), b)
#define ebb_maximum(a, b) ebb_maximum(EBB_AT(a), b)
#define ebb_minimum(a, b) ebb_minimum(EBB_AT(a), b)

/* BOOL results. */
EBB_API ebb_node ebb_equal(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_not_equal(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_less(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_less_equal(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_greater(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_greater_equal(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_logical_and(ebb_node a, ebb_node b);
EBB_API ebb_node ebb_logical_or(ebb_node a, ebb_node b);
#define ebb_equal(a, b) ebb_equal(EBB_AT(a), b)
#define ebb_not_equal(a, b) ebb_not_equal(EBB_AT(a), b)
#define ebb_less(a, b) ebb_less(EBB_AT(a), b)
#define ebb_less_equal(a, b) ebb_less_equal(EBB_AT(a), b)
#define ebb_greater(a, b) ebb_greater(EBB_AT(a), b)
#define ebb_greater_equal(a, b) ebb_greater_equal(EBB_AT(a), b)
#define ebb_logical_and(a, b) ebb_logical_and(EBB_AT(a), b)
#define ebb_logical_or(a, b) ebb_logical_or(EBB_AT(a), b)

/* condition ? a : b, element by element; `condition` is BOOL; all three broadcast. */
EBB_API ebb_node ebb_select(ebb_node condition, ebb_node a, ebb_node b);
#define ebb_select(condition, a, b) ebb_select(EBB_AT(condition), a, b)

/* ---- reductions: over `axes` (n == 0: all axes); with `keep` reduced dimensions stay as size 1 ---- */

typedef struct ebb_reduce_attrs {
    ebb_axes axes; /* none: all */
    bool keep;
} ebb_reduce_attrs;
#ifdef __cplusplus
#define EBB_ALL_AXES (ebb_axes{})
#else
#define EBB_ALL_AXES ((ebb_axes){0})
#endif
EBB_API ebb_node ebb_reduce_sum(ebb_node x, ebb_axes axes, bool keep);  /* empty: 0 */
EBB_API ebb_node ebb_reduce_mean(ebb_node x, ebb_axes axes, bool keep); /* floats; empty: NaN */
EBB_API ebb_node ebb_reduce_max(ebb_node x, ebb_axes axes, bool keep);  /* NaN if any is; empty: -inf or the smallest integer; equal maxima share the gradient evenly */
#define ebb_reduce_sum(x, ...) ebb_reduce_sum(EBB_AT(x), __VA_ARGS__)
#define ebb_reduce_mean(x, ...) ebb_reduce_mean(EBB_AT(x), __VA_ARGS__)
#define ebb_reduce_max(x, ...) ebb_reduce_max(EBB_AT(x), __VA_ARGS__)
/* Index of the first maximum along `axis` (a NaN counts as maximum), I64; the axis disappears. Its size must not be 0. */
EBB_API ebb_node ebb_argmax(ebb_node x, int axis);
#define ebb_argmax(x, axis) ebb_argmax(EBB_AT(x), axis)

/* ---- linear algebra ---- */

typedef struct ebb_matmul_attrs {
    bool transpose_a, transpose_b; /* of the last two dimensions */
} ebb_matmul_attrs;
/* a [..., m, k] times b [..., k, n] gives [..., m, n]; leading (batch) dimensions broadcast, any rank from 2.
 * F64, F32. */
EBB_API ebb_node ebb_matmul(ebb_node a, ebb_node b);
#define ebb_matmul(a, b) ebb_matmul(EBB_AT(a), b)
/* With `transpose_a`, a is [..., k, m]; with `transpose_b`, b is [..., n, k]. */
EBB_API ebb_node ebb_matmul_with(ebb_node a, ebb_node b, ebb_matmul_attrs attrs);
#define ebb_matmul_with(a, ...) ebb_matmul_with(EBB_AT(a), __VA_ARGS__)

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
/* indices (integers) [...] -> [..., depth], 1 at the index and 0 elsewhere. BAD_INDEX at run time for an index
 * outside 0..depth-1. */
EBB_API ebb_node ebb_one_hot(ebb_node indices, int64_t depth, ebb_dtype dtype);
#define ebb_one_hot(indices, ...) ebb_one_hot(EBB_AT(indices), __VA_ARGS__)

/* ---- library ops and losses ---- */

/* exp(x - max) / sum along `axis`; negative axes count from the end. Floats. */
EBB_API ebb_node ebb_softmax(ebb_node x, int axis);
EBB_API ebb_node ebb_log_softmax(ebb_node x, int axis);
#define ebb_softmax(x, axis) ebb_softmax(EBB_AT(x), axis)
#define ebb_log_softmax(x, axis) ebb_log_softmax(EBB_AT(x), axis)
/* Mean over rows of -sum_c t_c log softmax(x)_c. x [batch, classes]; t is class indices [batch] (I64, I32, U8)
 * or target rows [batch, classes] of x's dtype (one-hot or any weights; gradients flow to them too). Scalar. BAD_INDEX at run
 * time for a label outside 0..classes-1. Gradient (softmax(x) - t) / batch for rows that sum to 1. */
EBB_API ebb_node ebb_softmax_cross_entropy(ebb_node x, ebb_node t);
#define ebb_softmax_cross_entropy(x, t) ebb_softmax_cross_entropy(EBB_AT(x), t)
/* 1/2 sum (y - t)^2 over all elements (Saitoh 2016, eq. 4.1). Scalar. */
EBB_API ebb_node ebb_squared_error(ebb_node y, ebb_node t);
#define ebb_squared_error(y, t) ebb_squared_error(EBB_AT(y), t)
/* -sum t log(y + epsilon) / rows, for probabilities y and targets t of the same shape, [classes] or
 * [batch, classes] (Saitoh 2016, eq. 4.2 and 4.3; its code takes epsilon 1e-7). Scalar. */
EBB_API ebb_node ebb_cross_entropy(ebb_node y, ebb_node t, double epsilon);
#define ebb_cross_entropy(y, ...) ebb_cross_entropy(EBB_AT(y), __VA_ARGS__)

/* ---- the registry ---- */

/* All ops that come with Ebb, in the order of docs/ops.md. */
EBB_API const ebb_op *const *ebb_op_list(int *n);
/* NULL if there is none of this name. */
EBB_API const ebb_op *ebb_op_find(const char *name);

/* Reads the text form (graph.h) into a new graph. `extra` ops are looked up first (NULL: none). `allocator`
 * NULL: the C heap. On failure *graph is NULL and the message says line and column. BAD_FORMAT, or what the
 * op in that line says (BAD_SHAPE ...). */
EBB_NODISCARD EBB_API ebb_status ebb_graph_parse(const char *text, size_t text_bytes,
                                                 const ebb_op *const *extra, int n_extra,
                                                 const ebb_allocator *allocator, ebb_graph **graph,
                                                 ebb_error *error);

EBB_END

#endif
