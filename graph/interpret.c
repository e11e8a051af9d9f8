/* The interpreter: the ops' reference kernels, one node at a time. */
#include "graph/interpret.h"

#include "graph/graph_private.h"

#include <string.h>

struct ebb_interpreter {
    const ebb_graph *graph;
    const ebb_allocator *allocator;
    ebb_tensor *values; /* by id; no data: not computed */
    uint8_t *used;
    uint32_t capacity; /* of both, in ids */
};

ebb_interpreter *ebb_interpreter_create(const ebb_graph *graph, const ebb_allocator *allocator)
{
    ebb_interpreter *interpreter = ebb_allocate(allocator, sizeof *interpreter);
    if (interpreter)
        *interpreter = (ebb_interpreter){ .graph = graph, .allocator = allocator };
    return interpreter;
}

void ebb_interpreter_destroy(ebb_interpreter *interpreter)
{
    if (!interpreter)
        return;
    for (uint32_t id = 0; id < interpreter->capacity; id++)
        ebb_tensor_finish(&interpreter->values[id]);
    const ebb_allocator *a = interpreter->allocator;
    ebb_release(a, interpreter->values, interpreter->capacity * sizeof *interpreter->values);
    ebb_release(a, interpreter->used, interpreter->capacity * sizeof *interpreter->used);
    ebb_release(a, interpreter, sizeof *interpreter);
}

/* Room for every id of the graph. */
static bool reserve_values(ebb_interpreter *interpreter)
{
    uint32_t needed = interpreter->graph->n_nodes + 1, old = interpreter->capacity;
    if (needed <= old)
        return true;
    uint32_t capacity = needed > UINT32_MAX / 2 ? needed : needed + needed / 4;
    const ebb_allocator *a = interpreter->allocator;
    ebb_tensor *values = ebb_allocate(a, capacity * sizeof *values);
    uint8_t *used = ebb_allocate(a, capacity * sizeof *used);
    if (!values || !used) {
        ebb_release(a, values, capacity * sizeof *values);
        ebb_release(a, used, capacity * sizeof *used);
        return false;
    }
    memset(values, 0, capacity * sizeof *values);
    if (old)
        memcpy(values, interpreter->values, old * sizeof *values);
    ebb_release(a, interpreter->values, old * sizeof *values);
    ebb_release(a, interpreter->used, old * sizeof *used);
    interpreter->values = values;
    interpreter->used = used;
    interpreter->capacity = capacity;
    return true;
}

ebb_status ebb_interpreter_set(ebb_interpreter *interpreter, ebb_node node, const ebb_tensor *value,
                               ebb_error *error)
{
    char text[EBB_NODE_TEXT_BYTES], type[EBB_TYPE_TEXT_BYTES];
    if (!ebb_graph_owns(interpreter->graph, node) ||
        !(ebb_node_op(node)->traits & EBB_TRAIT_SOURCE))
        return ebb_fail(error, EBB_BAD_FEED, "%s is not a source of this graph",
                        ebb_node_text(node, text));
    if (!ebb_type_equal(&value->type, ebb_node_type(node)))
        return ebb_fail(error, EBB_BAD_FEED, "%s is given a value of type %s",
                        ebb_node_text(node, text), ebb_type_text(&value->type, type));
    if (!reserve_values(interpreter))
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "interpreter: out of memory");
    for (uint32_t id = 1; id < interpreter->capacity; id++) {
        if (interpreter->values[id].data &&
            (id == node.id || !(interpreter->graph->nodes[id].op->traits & EBB_TRAIT_SOURCE)))
            ebb_tensor_finish(&interpreter->values[id]);
    }
    ebb_status status =
        ebb_tensor_init(&interpreter->values[node.id], value->type, interpreter->allocator);
    if (status)
        return ebb_fail(error, status, "interpreter: out of memory");
    size_t bytes = ebb_tensor_bytes(value);
    if (bytes)
        memcpy(interpreter->values[node.id].data, value->data, bytes);
    return EBB_OK;
}

ebb_status ebb_op_evaluate(const ebb_op *op, const void *attrs, const ebb_tensor *inputs,
                           int n_inputs, const ebb_tensor *results, ebb_error *error)
{
    if (!op->eval)
        return ebb_fail(error, EBB_UNSUPPORTED, "%s has no reference kernel", op->name);
    ebb_eval eval = { op, attrs, n_inputs, op->n_results, inputs, results, error };
    return op->eval(&eval);
}

static ebb_status compute_node(ebb_interpreter *interpreter, uint32_t id, ebb_error *error)
{
    const node_record *node = &interpreter->graph->nodes[id];
    char text[EBB_NODE_TEXT_BYTES];
    ebb_node handle = ebb_graph_node(interpreter->graph, id);
    if ((node->op->traits & EBB_TRAIT_SOURCE) && !node->op->eval)
        return ebb_fail(error, EBB_BAD_FEED, "%s %s has no value", node->op->name,
                        ebb_node_text(handle, text));
    ebb_tensor few[8], *inputs = few;
    size_t inputs_bytes = (size_t)node->n_inputs * sizeof *inputs;
    if (node->n_inputs > 8 && !(inputs = ebb_allocate(interpreter->allocator, inputs_bytes)))
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "interpreter: out of memory");
    for (int i = 0; i < node->n_inputs; i++)
        inputs[i] = interpreter->values[node->inputs[i]];
    ebb_tensor *results = &interpreter->values[id];
    ebb_status status = EBB_OK;
    for (int r = 0; r < node->op->n_results && !status; r++) {
        const ebb_type *type = interpreter->graph->nodes[id + (uint32_t)r].type;
        status = ebb_tensor_init(&results[r], *type, interpreter->allocator);
        if (status)
            ebb_fail(error, status, "interpreter: out of memory");
    }
    ebb_error why = { .status = EBB_OK };
    if (!status) {
        status = ebb_op_evaluate(node->op, node->attrs, inputs, node->n_inputs, results, &why);
        if (status)
            ebb_fail(error, status, "%s %s: %s", node->op->name, ebb_node_text(handle, text),
                     why.message);
    }
    for (int r = 0; status && r < node->op->n_results; r++)
        ebb_tensor_finish(&results[r]);
    if (inputs != few)
        ebb_release(interpreter->allocator, inputs, inputs_bytes);
    return status;
}

ebb_status ebb_interpreter_run(ebb_interpreter *interpreter, const ebb_node *outputs,
                               int64_t n_outputs, ebb_error *error)
{
    const ebb_graph *graph = interpreter->graph;
    if (!reserve_values(interpreter))
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "interpreter: out of memory");
    for (int64_t i = 0; i < n_outputs; i++) {
        if (!ebb_graph_owns(graph, outputs[i]))
            return ebb_fail(error, EBB_BAD_NODE, "output %lld is no node of graph \"%s\"",
                            (long long)i, graph->name);
    }
    memset(interpreter->used, 0, interpreter->capacity);
    ebb_graph_mark(graph, outputs, n_outputs, interpreter->used);
    for (uint32_t id = 1; id <= graph->n_nodes; id++) {
        if (!interpreter->used[id] || interpreter->values[id].data ||
            graph->nodes[id].op == &ebb_op_result)
            continue;
        ebb_status status = compute_node(interpreter, id, error);
        if (status)
            return status;
    }
    return EBB_OK;
}

const ebb_tensor *ebb_interpreter_get(const ebb_interpreter *interpreter, ebb_node node)
{
    if (!ebb_graph_owns(interpreter->graph, node) || node.id >= interpreter->capacity ||
        !interpreter->values[node.id].data)
        return NULL;
    return &interpreter->values[node.id];
}
