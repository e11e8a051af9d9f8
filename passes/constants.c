/* Constants as passes see them, and computing ops of constants at compile time. */
#define EBB_NO_LOCATIONS
#include "passes/constants.h"

#include "graph/graph_build.h"
#include "graph/interpret.h"
#include "ops/build.h"

#include <string.h>

/* Views that may stand between a use and its constant. */
#define MAX_VIEWS 4
/* A folded result may be as large as its constants, or this large. */
#define MAX_FOLDED_BYTES ((size_t)64 * 1024)
/* Of inputs that are broadcasts, made dense for the computation. */
#define MAX_DENSE_BYTES ((size_t)1024 * 1024)
/* Multiplications, or an upper bound of what another op may do per element of its inputs and
 * result. */
#define MAX_PRODUCTS ((int64_t)1 << 24)

static bool op_repeats(const ebb_op *op)
{
    return op == &ebb_op_broadcast_to;
}

ebb_node ebb_constant_behind(ebb_node node)
{
    for (int i = 0; i <= MAX_VIEWS; i++) {
        const ebb_op *op = ebb_node_op(node);
        if (op == &ebb_op_constant)
            return node;
        if (op != &ebb_op_broadcast_to && op != &ebb_op_reshape)
            return EBB_NONE;
        node = ebb_node_input(node, 0);
    }
    return EBB_NONE;
}

ebb_node ebb_splat_behind(ebb_node node)
{
    ebb_node constant = ebb_constant_behind(node);
    bool one = constant.id && ebb_shape_elements(&ebb_node_type(constant)->shape) == 1;
    return one ? constant : EBB_NONE;
}

static ebb_tensor borrow_constant(ebb_node constant)
{
    const ebb_constant_attrs *attrs = ebb_node_attrs(constant);
    return ebb_tensor_borrow(attrs->type.dtype, attrs->type.shape, attrs->data);
}

bool ebb_splat_value(ebb_node node, double *value)
{
    ebb_node constant = ebb_splat_behind(node);
    if (!constant.id)
        return false;
    ebb_tensor tensor = borrow_constant(constant);
    *value = ebb_tensor_get(&tensor, 0);
    return true;
}

bool ebb_is_zero(ebb_node node)
{
    double value;
    return ebb_splat_value(node, &value) && value == 0 && !__builtin_signbit(value);
}

static bool elements_are_equal(const ebb_type *type, const char *data)
{
    size_t item = ebb_dtype_bytes(type->dtype), bytes = ebb_type_bytes(type);
    return bytes > item && memcmp(data, data + item, bytes - item) == 0;
}

ebb_node ebb_emit_constant(ebb_graph *graph, const ebb_type *type, const void *data)
{
    if (!elements_are_equal(type, data))
        return ebb_constant(graph, type->dtype, type->shape, data);
    return ebb_broadcast_to(ebb_constant(graph, type->dtype, EBB_SCALAR, data), type->shape);
}

/* ---- folding ---- */

/* What an input of an element-wise op repeats: a splat's element, a constant behind a broadcast, or
 * the input. */
static ebb_node find_repeated(ebb_node input)
{
    ebb_node splat = ebb_splat_behind(input);
    if (splat.id)
        return splat;
    return op_repeats(ebb_node_op(input)) ? ebb_node_input(input, 0) : input;
}

/* The smallest shape in which an element-wise op of these inputs can be computed, and then be
 * broadcast. */
static ebb_shape find_shape(const ebb_op *op, const ebb_type *type, const ebb_node *inputs,
                            int n_inputs)
{
    ebb_shape shape = EBB_SCALAR;
    if (!(op->traits & EBB_TRAIT_ELEMENTWISE))
        return type->shape;
    for (int i = 0; i < n_inputs; i++) {
        const ebb_shape *repeated = &ebb_node_type(find_repeated(inputs[i]))->shape;
        if (ebb_shape_elements(repeated) != 1 && !ebb_shape_broadcast(&shape, repeated, &shape))
            return type->shape;
    }
    return shape;
}

static bool work_is_small(const ebb_op *op, const void *attrs, const ebb_type *type,
                          const ebb_node *inputs, int n_inputs)
{
    if (op->traits & (EBB_TRAIT_ELEMENTWISE | EBB_TRAIT_VIEW))
        return true;
    int64_t results = ebb_shape_elements(&type->shape), per_result = 0;
    if (op == &ebb_op_matmul) {
        const ebb_shape *a = &ebb_node_type(inputs[0])->shape;
        per_result = a->dims[a->rank - (((const ebb_matmul_attrs *)attrs)->transpose_a ? 2 : 1)];
    } else {
        for (int i = 0; i < n_inputs; i++)
            per_result += ebb_shape_elements(&ebb_node_type(inputs[i])->shape);
    }
    return results == 0 || per_result <= MAX_PRODUCTS / results;
}

bool ebb_fold_is_possible(const ebb_op *op, const void *attrs, const ebb_type *type,
                          const ebb_node *inputs, int n_inputs)
{
    if (n_inputs == 0 || !op->eval || op->n_results != 1 || op_repeats(op) ||
        (op->traits & (EBB_TRAIT_SOURCE | EBB_TRAIT_RANDOM | EBB_TRAIT_UNIQUE)))
        return false;
    size_t constants = 0, dense = 0;
    for (int i = 0; i < n_inputs; i++) {
        ebb_node constant = ebb_constant_behind(inputs[i]);
        if (!constant.id)
            return false;
        constants += ebb_type_bytes(ebb_node_type(constant));
        if (constant.id != inputs[i].id)
            dense += ebb_type_bytes(ebb_node_type(inputs[i]));
    }
    bool elementwise = op->traits & EBB_TRAIT_ELEMENTWISE;
    if ((op->traits & EBB_TRAIT_VIEW) && dense)
        return false; /* a broadcast stays one */
    ebb_type result = ebb_type_of(type->dtype, find_shape(op, type, inputs, n_inputs));
    size_t bytes = ebb_type_bytes(&result);
    return (elementwise || dense <= MAX_DENSE_BYTES) &&
           (bytes <= MAX_FOLDED_BYTES || bytes <= constants) &&
           work_is_small(op, attrs, type, inputs, n_inputs);
}

/* The value of `view` of `tensor`, in place of it. */
static ebb_status apply_view(const ebb_op *op, const void *attrs, ebb_shape shape,
                             const ebb_allocator *allocator, ebb_tensor *tensor)
{
    ebb_tensor result;
    ebb_status status = ebb_tensor_init(&result, ebb_type_of(tensor->type.dtype, shape), allocator);
    if (!status)
        status = ebb_op_evaluate(op, attrs, tensor, 1, &result, NULL);
    ebb_tensor_finish(tensor);
    *tensor = result;
    return status;
}

/* The value of a constant behind views, dense. */
static ebb_status make_dense(ebb_node node, const ebb_allocator *allocator, ebb_tensor *tensor)
{
    ebb_node views[MAX_VIEWS];
    int n_views = 0;
    for (; ebb_node_op(node) != &ebb_op_constant; node = ebb_node_input(node, 0))
        views[n_views++] = node;
    *tensor = borrow_constant(node);
    ebb_status status = EBB_OK;
    while (n_views > 0 && !status) {
        ebb_node view = views[--n_views];
        status = apply_view(ebb_node_op(view), ebb_node_attrs(view), ebb_node_type(view)->shape,
                            allocator, tensor);
    }
    return status;
}

/* An input of an element-wise op, in the shape in which that is computed. */
static ebb_status make_input(ebb_node input, const ebb_shape *shape, const ebb_allocator *allocator,
                             ebb_tensor *tensor)
{
    ebb_status status = make_dense(find_repeated(input), allocator, tensor);
    if (status || ebb_shape_equal(&tensor->type.shape, shape))
        return status;
    if (ebb_shape_elements(&tensor->type.shape) == 1)
        tensor->type.shape = EBB_SCALAR;
    ebb_shape_attrs attrs = { *shape };
    return apply_view(&ebb_op_broadcast_to, &attrs, *shape, allocator, tensor);
}

ebb_node ebb_fold_op(ebb_graph *graph, const ebb_op *op, const void *attrs, const ebb_type *type,
                     const ebb_node *inputs, int n_inputs)
{
    const ebb_allocator *allocator = ebb_graph_allocator(graph);
    ebb_node node = EBB_NONE;
    ebb_tensor result = { 0 };
    ebb_type computed = ebb_type_of(type->dtype, find_shape(op, type, inputs, n_inputs));
    size_t tensors_bytes = (size_t)n_inputs * sizeof(ebb_tensor);
    ebb_tensor *tensors = ebb_allocate(allocator, tensors_bytes);
    ebb_status status = tensors ? EBB_OK : EBB_OUT_OF_MEMORY;
    if (tensors)
        memset(tensors, 0, tensors_bytes);
    for (int i = 0; i < n_inputs && !status; i++)
        status = (op->traits & EBB_TRAIT_ELEMENTWISE)
                     ? make_input(inputs[i], &computed.shape, allocator, &tensors[i])
                     : make_dense(inputs[i], allocator, &tensors[i]);
    if (!status)
        status = ebb_tensor_init(&result, computed, allocator);
    if (!status)
        status = ebb_op_evaluate(op, attrs, tensors, n_inputs, &result, NULL);
    if (!status)
        node = ebb_broadcast_to(ebb_emit_constant(graph, &computed, result.data), type->shape);
    if (status == EBB_OUT_OF_MEMORY)
        ebb_graph_fail(graph, status, "folding %s: out of memory", op->name);
    ebb_tensor_finish(&result);
    for (int i = 0; tensors && i < n_inputs; i++)
        ebb_tensor_finish(&tensors[i]);
    ebb_release(allocator, tensors, tensors_bytes);
    return node;
}
