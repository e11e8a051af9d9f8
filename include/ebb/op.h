/* The contract of an operation, for those who write one. An op is one constant descriptor: its
 * rules and its data in one place. A descriptor of your own works without touching Ebb: fill an
 * `ebb_op`, write a builder that calls ebb_emit. examples/custom_op.c shows it whole. */
#ifndef EBB_OP_H
#define EBB_OP_H

#include <ebb/graph.h>

EBB_BEGIN

/* ---- attributes: one struct per op, all fields zero = default ---- */

/* A short list of axes; negative ones count from the end. */
typedef struct ebb_axes {
    int n;
    int axes[EBB_MAX_RANK];
} ebb_axes;
#ifdef __cplusplus
#define EBB_AXES(...)                                                                              \
    (ebb_axes{ static_cast<int>(std::initializer_list<int>{ __VA_ARGS__ }.size()),                 \
               { __VA_ARGS__ } })
#else
#define EBB_AXES(...)                                                                              \
    ((ebb_axes){ (int)(sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int)), { __VA_ARGS__ } })
#endif

/* A short list of integers, one per dimension as a rule: sizes, starts, steps. */
typedef struct ebb_ints {
    int n;
    int64_t values[EBB_MAX_RANK];
} ebb_ints;
#ifdef __cplusplus
#define EBB_INTS(...)                                                                              \
    (ebb_ints{ static_cast<int>(std::initializer_list<int64_t>{ __VA_ARGS__ }.size()),             \
               { __VA_ARGS__ } })
#define EBB_NO_INTS (ebb_ints{})
#else
#define EBB_INTS(...)                                                                              \
    ((ebb_ints){ (int)(sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)),                \
                 { __VA_ARGS__ } })
#define EBB_NO_INTS ((ebb_ints){ 0 })
#endif

typedef enum ebb_attr_kind {
    EBB_ATTR_BOOL,  /* bool */
    EBB_ATTR_I64,   /* int64_t */
    EBB_ATTR_F64,   /* double */
    EBB_ATTR_ENUM,  /* int, index into enum_names */
    EBB_ATTR_NAME,  /* const char *, copied; NULL prints as "" */
    EBB_ATTR_DTYPE, /* ebb_dtype */
    EBB_ATTR_SHAPE, /* ebb_shape */
    EBB_ATTR_AXES,  /* ebb_axes */
    EBB_ATTR_INTS,  /* ebb_ints */
    EBB_ATTR_TYPE,  /* ebb_type: the declared result type of a source op; stands behind the colon in
                       the text form */
    EBB_ATTR_DATA,  /* const void *, copied: dense elements of the op's EBB_ATTR_TYPE field */
    EBB_ATTR_PROGRAM /* const ebb_program *, copied deeply */
} ebb_attr_kind;

typedef struct ebb_attr_field {
    const char *name; /* NULL ends a table */
    ebb_attr_kind kind;
    size_t offset;
    const char *summary;           /* one line, with units and default */
    const char *const *enum_names; /* NULL-terminated, for EBB_ATTR_ENUM */
} ebb_attr_field;

/* One row of an attribute table: EBB_FIELD(ebb_reduce_attrs, axes, AXES, "axes to reduce; none:
 * all") */
#define EBB_FIELD(type, field, kind, summary)                                                      \
    {                                                                                              \
#field, EBB_ATTR_##kind, offsetof(type, field), summary, NULL                              \
    }

/* ---- programs: element-wise graphs as an attribute, for the ops fused and tile_program ---- */

#define EBB_MAX_PROGRAM_INPUTS 32
#define EBB_MAX_INSTRUCTIONS 4096
#define EBB_MAX_INSTRUCTION_INPUTS 3

/* One value for each element of a common shape. Values are numbered: first the inputs of the node,
 * then the results of the instructions in order; an instruction reads values with smaller numbers.
 */
typedef struct ebb_instruction {
    const ebb_op *op;  /* see ebb_op_instruction_kind; NULL: a constant */
    const void *attrs; /* NULL if the op has none */
    int32_t inputs[EBB_MAX_INSTRUCTION_INPUTS];
    ebb_dtype dtype; /* of a constant */
    uint64_t bits;   /* of a constant: the element, in the first bytes */
} ebb_instruction;

/* In the text form (here of two inputs): ($2 = mul $0 $1; $3 = f32 0.5; $4 = less $2 $3; return $4)
 */
typedef struct ebb_program {
    int n_inputs, n_instructions, n_results;
    const ebb_instruction *instructions;
    const int32_t *results; /* numbers of instructions' values */
} ebb_program;

/* What an op may do in a program. */
typedef enum ebb_instruction_kind {
    EBB_INSTRUCTION_NONE, /* it may not be in one */
    /* Element-wise with one result, one to three inputs, an eval that cannot fail, and no
     * attributes but numbers, flags and dtypes. */
    EBB_INSTRUCTION_ELEMENT,
    /* Random numbers of the program's shape, of one input of the program: the counter, a scalar.
     * In tile_program only. */
    EBB_INSTRUCTION_RANDOM,
    /* Folds a value over axes, with attributes `axes` and `keep` alone; no instruction reads the
     * result. In tile_program only, which takes sums, means, products, extrema and norms. */
    EBB_INSTRUCTION_REDUCTION
} ebb_instruction_kind;
EBB_API ebb_instruction_kind ebb_op_instruction_kind(const ebb_op *op);
/* The same as kind ELEMENT. */
EBB_API bool ebb_op_is_instruction(const ebb_op *op);

/* ---- layouts: how a value lies in memory; seen by view rules and backends, never by the graph
 * ---- */

#define EBB_MAX_BLOCKS 3

/* `size` neighbors along a dimension that lie together; it divides what is left of the dimension.
 */
typedef struct ebb_block {
    int axis;
    int64_t size;
} ebb_block;

/* With blocks, a dimension of 64 in blocks of 16 is split in two, 4 and 16: its stride is that from
 * block to block. What is inside of blocks lies innermost, without gaps, in the order of blocks[],
 * the last one innermost: OIhw16i16o of convolution weights is { {1, 16}, {0, 16} }. Only a backend
 * that takes blocks (`takes_blocks`) ever sees them, and no view rule does. */
typedef struct ebb_layout {
    int64_t strides[EBB_MAX_RANK]; /* in elements; 0 repeats, negative runs backwards */
    int64_t offset; /* of element [0,0,..], in elements from the start of the buffer */
    int n_blocks;   /* 0: strides alone say where an element lies */
    ebb_block blocks[EBB_MAX_BLOCKS];
} ebb_layout;

EBB_API ebb_layout ebb_layout_dense(const ebb_shape *shape);
/* True if the elements lie in row-major order without gaps (dimensions of size 1 do not count). Any
 * offset. */
EBB_API bool ebb_layout_is_dense(const ebb_layout *layout, const ebb_shape *shape);
/* [batch, channels, ...] with the channels innermost, as convolutions like it; dense below rank 3.
 */
EBB_API ebb_layout ebb_layout_channels_last(const ebb_shape *shape);
/* [batch, channels / block, ..., block]: the same with so many channels in each pixel; they divide
 * the channels, and the rank is 3 or more. */
EBB_API ebb_layout ebb_layout_channel_blocks(const ebb_shape *shape, int64_t block);
/* Elements along `axis` that lie in one block: 1 without blocks. */
EBB_API int64_t ebb_layout_block(const ebb_layout *layout, int axis);
/* True if each element lies where it lies in the other one, seen from element [0,0,..]. */
EBB_API bool ebb_layout_agrees(const ebb_layout *a, const ebb_layout *b, const ebb_shape *shape);

/* ---- the rules ---- */

/* infer: types in -> types out. Return EBB_OK with results[0..n_results) filled, or
 * `ebb_infer_fail(...)`. The graph adds op, operands with shapes, file and line to the text. */
typedef struct ebb_infer {
    const ebb_op *op;
    const void *attrs; /* never NULL if the op has attributes */
    int n_inputs;
    const ebb_type *const *inputs; /* valid types */
    ebb_type *results;
    ebb_error *error;
} ebb_infer;
EBB_API ebb_status ebb_infer_fail(const ebb_infer *infer, ebb_status status, const char *format,
                                  ...) EBB_PRINTF(3, 4);

/* vjp: emits nodes that compute gradients[i], the cotangent of inputs[i], from the cotangents of
 * the results. gradients[] starts as none nodes, which mean zero. Only inputs with needed[i] have
 * to be filled. */
typedef struct ebb_vjp {
    ebb_graph *graph;
    const ebb_op *op;
    const void *attrs;
    int n_inputs, n_results;
    const ebb_node *inputs, *results;
    const ebb_node *cotangents; /* [n_results]; none: zero. At least one is not none */
    const bool *needed;         /* [n_inputs] */
    ebb_node *gradients;        /* [n_inputs], out: same types as the inputs */
} ebb_vjp;

/* eval: the reference kernel, plain loops over dense row-major data; the definition of correct.
 * Inputs and results never overlap. May fail for bad values only (BAD_INDEX), and then before it
 * writes. */
typedef struct ebb_eval {
    const ebb_op *op;
    const void *attrs;
    int n_inputs, n_results;
    const ebb_tensor *inputs;
    const ebb_tensor *results;
    ebb_error *error;
} ebb_eval;

/* decompose: the same values out of simpler ops: fills results[0..n_results). */
typedef struct ebb_decompose {
    ebb_graph *graph;
    const ebb_op *op;
    const void *attrs;
    int n_inputs, n_results;
    const ebb_node *inputs;
    ebb_node *results;
} ebb_decompose;

/* view: ops that only look differently at input 0 (reshape, transpose, broadcast_to). Computes the
 * layout of the result in the input's buffer; false: not possible for this layout, copy the input
 * densely first (which must then succeed). */
typedef struct ebb_view {
    const ebb_op *op;
    const void *attrs;
    const ebb_shape *input, *result;
    const ebb_layout *input_layout;
    ebb_layout *result_layout;
} ebb_view;

/* ---- samples: the tests of an op, as data; the harness needs nothing else ---- */

#define EBB_MAX_SAMPLE_INPUTS 6

/* Where random float values are drawn from: [low, high), both 0: [-2, 2); at least `gap` away from
 * every multiple of `kink_step` (0: away from 0 only). Integers are drawn from [low, high), default
 * [0, 2). */
typedef struct ebb_sample_range {
    double low, high, gap, kink_step;
} ebb_sample_range;

/* Types and ranges by pointer: a table of samples has pointers on all its pages, which the loader
 * of a shared library or of an executable at any address has to write, so they are kept small. */
typedef struct ebb_sample {
    const char *label;             /* short, unique in the op; NULL: the harness numbers it */
    const void *attrs;             /* NULL: zero struct */
    int n_inputs;                  /* 0: the op's own number */
    const ebb_type *inputs;        /* EBB_INPUTS(..); float inputs as EBB_F64; the harness
                                      also runs them as F32 */
    const ebb_sample_range *range; /* EBB_RANGES(..); NULL: the default for all */
    bool no_gradient;              /* do not gradient-check this one (say why in a comment) */
    /* Known values: every input given, the results expected, and where they come from. */
    const double *values[EBB_MAX_SAMPLE_INPUTS];
    const double *expected; /* results one after the other; NULL: not a known-value sample */
    double tolerance;       /* absolute, at F64; 0: 1e-12 */
    const char *source;
    /* An error sample: the status that emit (or, with `values`, eval) must give, and a part of its
     * message. */
    ebb_status error;
    const char *message;
} ebb_sample;

/* The inputs of a sample in a table, and their ranges. */
#define EBB_INPUTS(...) ((const ebb_type[EBB_MAX_SAMPLE_INPUTS]){ __VA_ARGS__ })
#define EBB_RANGES(...) ((const ebb_sample_range[EBB_MAX_SAMPLE_INPUTS]){ __VA_ARGS__ })

/* A type in a table: EBB_SAMPLE_TYPE(F64, 2, 3); a scalar: EBB_SAMPLE_SCALAR(F64). */
#define EBB_SAMPLE_TYPE(dtype, ...)                                                                \
    {                                                                                              \
        EBB_##dtype,                                                                               \
        {                                                                                          \
            (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)),                           \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define EBB_SAMPLE_SCALAR(dtype)                                                                   \
    {                                                                                              \
        EBB_##dtype,                                                                               \
        {                                                                                          \
            0,                                                                                     \
            {                                                                                      \
                0                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }

/* ---- the descriptor ---- */

enum {
    EBB_TRAIT_ELEMENTWISE =
        1 << 0, /* equal shapes in and out, element i depends on elements i only */
    EBB_TRAIT_COMMUTATIVE = 1 << 1, /* two inputs that may be swapped, bit for bit */
    EBB_TRAIT_VIEW = 1 << 2,        /* has a view rule */
    EBB_TRAIT_RANDOM = 1 << 3,      /* a function of (seed, stream, counter); never folded */
    EBB_TRAIT_SOURCE =
        1 << 4, /* no inputs; value from outside (input, variable) or from attributes */
    EBB_TRAIT_UNIQUE = 1 << 5,   /* never shared with an equal node */
    EBB_TRAIT_LIBRARY = 1 << 6,  /* has decompose; backends without a kernel see that */
    EBB_TRAIT_FALLIBLE = 1 << 7, /* eval may fail for some values */
    EBB_TRAIT_VARIABLE = 1 << 8  /* a source that ebb_update may write */
};

#define EBB_MAX_RESULTS 8
#define EBB_VARIADIC (-1)

struct ebb_op {
    const char *name;    /* "matmul": lower case, digits, _ */
    const char *summary; /* one line for docs and DOT tooltips */
    const char *group;   /* the family, for docs: "element-wise", "reduction" ... */
    int n_inputs;        /* EBB_VARIADIC: one or more */
    int n_results;       /* 1..EBB_MAX_RESULTS */
    unsigned traits;
    size_t attrs_bytes; /* sizeof the attribute struct; 0: none */
    const ebb_attr_field *attrs;
    ebb_status (*infer)(const ebb_infer *infer);
    void (*vjp)(const ebb_vjp *vjp); /* NULL: through decompose; without that, no gradient */
    ebb_status (*eval)(
        const ebb_eval *eval); /* NULL: through decompose (input, variable: neither) */
    void (*decompose)(const ebb_decompose *decompose);
    bool (*view)(const ebb_view *view);
    /* Floating-point operations of one evaluation, of the types in and out; a fused multiply-add
     * counts as two. For reports only. NULL: see ebb_node_flops. */
    double (*flops)(const ebb_infer *types);
    const ebb_sample *samples;
    int n_samples;
    const void *user; /* whatever the rules of a family share; Ebb does not look */
};

/* Makes a node (or finds the equal one) and returns its first result; results[0..n_results) gets
 * all if it is not NULL. `attrs` is copied deeply; NULL: zero struct. `graph` may be NULL if there
 * are inputs. Sticky errors: whatever infer says; BAD_NODE for none nodes or nodes of another
 * graph; LIMIT beyond 2^32-2 nodes. */
EBB_API ebb_node ebb_emit(ebb_graph *graph, const ebb_op *op, const ebb_node *inputs, int n_inputs,
                          const void *attrs, ebb_node *results);
/* Result `index` of the op that made `first_result`. */
EBB_API ebb_node ebb_node_result(ebb_node first_result, int index);
/* If `node` is a further result of an op: its first result, and the index; else node itself and 0.
 */
EBB_API ebb_node ebb_node_first_result(ebb_node node, int *index);

/* Records an error in the graph, for builders that check more than infer can. Returns a none node.
 */
EBB_API ebb_node ebb_graph_fail(ebb_graph *graph, ebb_status status, const char *format, ...)
    EBB_PRINTF(3, 4);

/* Floating-point operations that one evaluation of the node's op takes: what the op's rule says;
 * without one, none for sources and for ops that only move values, one for each element of the
 * largest input or result for all others. 0 for a none node. */
EBB_API double ebb_node_flops(ebb_node node);

/* Attributes as values: deep equality, for those who compare nodes. */
EBB_API bool ebb_attrs_equal(const ebb_op *op, const void *a, const void *b);

EBB_END

#endif
