/* Copying a graph with another float dtype: the attributes that name the dtype change, inference
 * does the rest. */
#include "autodiff/retype.h"

#include "graph/graph_build.h"

#include <string.h>

#define MAX_ATTRS_BYTES 1024 /* as ebb_emit demands */

typedef struct retyping {
    ebb_dtype from, to;
    const ebb_allocator *allocator;
    union {
        char bytes[MAX_ATTRS_BYTES];
        max_align_t align;
    } attrs;
    ebb_tensor data; /* converted, until the node is emitted */
} retyping;

static ebb_status convert_data(retyping *r, const ebb_type *old, const ebb_type *type,
                               const void *data)
{
    ebb_status status = ebb_tensor_init(&r->data, *type, r->allocator);
    if (status)
        return status;
    ebb_tensor before = ebb_tensor_borrow(old->dtype, old->shape, data);
    int64_t n = ebb_shape_elements(&type->shape);
    for (int64_t i = 0; i < n; i++)
        ebb_tensor_set(&r->data, i, ebb_tensor_get(&before, i));
    return EBB_OK;
}

/* Fills r->attrs with the attributes of `node`, dtypes replaced. */
static ebb_status convert_attrs(retyping *r, ebb_node node)
{
    const ebb_op *op = ebb_node_op(node);
    const char *old = ebb_node_attrs(node);
    ebb_status status = EBB_OK;
    if (op->attrs_bytes)
        memcpy(r->attrs.bytes, old, op->attrs_bytes);
    const ebb_attr_field *type_field = NULL;
    for (const ebb_attr_field *f = op->attrs; f && f->name; f++) {
        ebb_dtype *dtype = (void *)(r->attrs.bytes + f->offset);
        if (f->kind == EBB_ATTR_TYPE) {
            type_field = f;
            dtype = &((ebb_type *)(void *)(r->attrs.bytes + f->offset))->dtype;
        } else if (f->kind != EBB_ATTR_DTYPE) {
            continue;
        }
        if (*dtype == r->from)
            *dtype = r->to;
    }
    for (const ebb_attr_field *f = op->attrs; f && f->name && !status; f++) {
        if (f->kind != EBB_ATTR_DATA || !type_field)
            continue;
        ebb_type before, after;
        const void *data;
        memcpy(&before, old + type_field->offset, sizeof before);
        memcpy(&after, r->attrs.bytes + type_field->offset, sizeof after);
        memcpy(&data, old + f->offset, sizeof data);
        if (before.dtype == after.dtype || !data)
            continue;
        status = convert_data(r, &before, &after, data);
        memcpy(r->attrs.bytes + f->offset, &r->data.data, sizeof(void *));
    }
    return status;
}

#define FEW_INPUTS 16

static ebb_status copy_node(retyping *r, ebb_graph *copy, ebb_node node, uint32_t *map)
{
    int n_inputs = ebb_node_n_inputs(node);
    ebb_node few[FEW_INPUTS], *inputs = few, results[EBB_MAX_RESULTS];
    size_t bytes = (size_t)n_inputs * sizeof *inputs;
    if (n_inputs > FEW_INPUTS && !(inputs = ebb_allocate(r->allocator, bytes)))
        return EBB_OUT_OF_MEMORY;
    for (int i = 0; i < n_inputs; i++)
        inputs[i] = ebb_graph_node(copy, map[ebb_node_input(node, i).id]);
    ebb_status status = convert_attrs(r, node);
    const ebb_op *op = ebb_node_op(node);
    if (!status) {
        ebb_graph_copy_node_as(copy, node, op, inputs, n_inputs,
                               op->attrs_bytes ? r->attrs.bytes : NULL, results);
        status = ebb_graph_status(copy);
    }
    for (int i = 0; i < op->n_results && !status; i++)
        map[node.id + (uint32_t)i] = results[i].id;
    if (inputs != few)
        ebb_release(r->allocator, inputs, bytes);
    ebb_tensor_finish(&r->data);
    return status;
}

ebb_status ebb_graph_retype(ebb_graph *graph, const ebb_node *outputs, int64_t n_outputs,
                            ebb_dtype from, ebb_dtype to, const ebb_allocator *allocator,
                            uint32_t *map, ebb_graph **result)
{
    uint32_t n_nodes = ebb_graph_n_nodes(graph);
    retyping r = { .from = from, .to = to, .allocator = allocator };
    uint8_t *used = ebb_allocate(allocator, (size_t)n_nodes + 1);
    ebb_graph *copy = ebb_graph_create_with(ebb_graph_name(graph),
                                            &(ebb_graph_options){ .allocator = allocator });
    ebb_status status = used && copy ? EBB_OK : EBB_OUT_OF_MEMORY;
    *result = NULL;
    if (!status) {
        memset(used, 0, (size_t)n_nodes + 1);
        memset(map, 0, ((size_t)n_nodes + 1) * sizeof *map);
        ebb_graph_mark(graph, outputs, n_outputs, used);
    }
    for (uint32_t id = 1; id <= n_nodes && !status; id++) {
        ebb_node node = ebb_graph_node(graph, id);
        if (used[id] && ebb_node_op(node) != &ebb_op_result)
            status = copy_node(&r, copy, node, map);
    }
    if (status && ebb_graph_status(copy) && copy)
        ebb_graph_report(graph, status, "%s", ebb_graph_message(copy));
    else if (status)
        ebb_graph_report(graph, status, "copying the graph: %s", ebb_status_text(status));
    ebb_release(allocator, used, (size_t)n_nodes + 1);
    if (status) {
        ebb_graph_destroy(copy);
        return status;
    }
    ebb_graph_return(copy, (ebb_place){ 0 });
    *result = copy;
    return EBB_OK;
}
