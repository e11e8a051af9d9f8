/* Whole graphs as test cases, and changes of them. */
#include "tests/support/graph_case.h"

#include "graph/graph_build.h"
#include "tests/support/runner.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_INPUTS_OF_OP = 64, MAX_ATTRS_BYTES = 1024 };

typedef struct rebuilding {
    const graph_case *from;
    const case_edit *edit;
    graph_case *to;
    bool *value_used, *op_used; /* by id; op_used of first results */
    uint32_t *map;
    union {
        char bytes[MAX_ATTRS_BYTES];
        max_align_t align;
    } attrs;
} rebuilding;

static void *allocate(size_t n, size_t bytes)
{
    void *block = calloc(n ? n : 1, bytes);
    ck_assert_ptr_nonnull(block);
    return block;
}

static void mark(rebuilding *r, uint32_t n_nodes)
{
    const case_edit *e = r->edit;
    const ebb_node *outputs = e->outputs ? e->outputs : r->from->outputs;
    int n_outputs = e->outputs ? e->n_outputs : r->from->n_outputs;
    for (int i = 0; i < n_outputs; i++)
        r->value_used[outputs[i].id] = true;
    for (uint32_t id = n_nodes; id > 0; id--) {
        if (!r->value_used[id] || id == e->cut.id)
            continue;
        if (id == e->bypass.id) {
            r->value_used[e->by.id] = true;
            continue;
        }
        ebb_node first = ebb_node_first_result(ebb_graph_node(r->from->graph, id), NULL);
        r->op_used[first.id] = true;
        for (int i = 0; i < ebb_node_n_inputs(first); i++)
            r->value_used[ebb_node_input(first, i).id] = true;
    }
}

static void edit_shape(const case_edit *e, ebb_shape *shape)
{
    for (int i = 0; i < shape->rank && e->dim > 0; i++)
        if (shape->dims[i] == e->dim)
            shape->dims[i] = e->new_dim;
}

/* The elements of `from` whose indices exist in `shape` too. */
static ebb_tensor take_corner(const ebb_tensor *from, const ebb_shape *shape)
{
    ebb_tensor corner;
    int64_t strides[EBB_MAX_RANK];
    ck_assert_int_eq(ebb_tensor_init(&corner, ebb_type_of(from->type.dtype, *shape), NULL), EBB_OK);
    ebb_shape_strides(&from->type.shape, strides);
    int64_t n = ebb_shape_elements(shape);
    for (int64_t i = 0; i < n; i++) {
        int64_t rest = i, at = 0;
        for (int d = shape->rank - 1; d >= 0; d--) {
            at += rest % shape->dims[d] * strides[d];
            rest /= shape->dims[d];
        }
        ebb_tensor_set(&corner, i, ebb_tensor_get(from, at));
    }
    return corner;
}

static ebb_node add_input(graph_case *to, const char *name, const ebb_tensor *value,
                          const ebb_shape *shape, bool is_x)
{
    ck_assert_int_lt(to->n_inputs, CASE_MAX_INPUTS);
    ebb_node node = ebb_input(to->graph, name, value->type.dtype, *shape);
    if (node.id)
        to->inputs[to->n_inputs++] = (case_input){ node, take_corner(value, shape), is_x };
    return node;
}

static void copy_input(rebuilding *r, ebb_node node)
{
    for (int i = 0; i < r->from->n_inputs; i++) {
        const case_input *input = &r->from->inputs[i];
        if (input->node.id != node.id)
            continue;
        ebb_shape shape = input->value.type.shape;
        edit_shape(r->edit, &shape);
        r->map[node.id] =
            add_input(r->to, ebb_node_name(node), &input->value, &shape, input->is_x).id;
    }
}

static void copy_op(rebuilding *r, ebb_node node)
{
    const ebb_op *op = ebb_node_op(node);
    int n = ebb_node_n_inputs(node);
    ebb_node inputs[MAX_INPUTS_OF_OP], results[EBB_MAX_RESULTS];
    ebb_tensor data = { .data = NULL };
    ck_assert_int_le(n, MAX_INPUTS_OF_OP);
    for (int i = 0; i < n; i++)
        inputs[i] = ebb_graph_node(r->to->graph, r->map[ebb_node_input(node, i).id]);
    if (op->attrs_bytes)
        memcpy(r->attrs.bytes, ebb_node_attrs(node), op->attrs_bytes);
    ebb_type old = { EBB_NO_DTYPE, { 0 } }, type = old;
    for (const ebb_attr_field *f = op->attrs; f && f->name && r->edit->dim > 0; f++) {
        void *field = r->attrs.bytes + f->offset;
        if (f->kind == EBB_ATTR_SHAPE) {
            edit_shape(r->edit, field);
        } else if (f->kind == EBB_ATTR_TYPE) {
            old = *(ebb_type *)field;
            edit_shape(r->edit, &((ebb_type *)field)->shape);
            type = *(ebb_type *)field;
        } else if (f->kind == EBB_ATTR_I64 && r->edit->numbers_too &&
                   *(int64_t *)field == r->edit->dim) {
            *(int64_t *)field = r->edit->new_dim;
        } else if (f->kind == EBB_ATTR_DATA) {
            ebb_tensor before = ebb_tensor_borrow(old.dtype, old.shape, *(void **)field);
            data = take_corner(&before, &type.shape);
            *(void **)field = data.data;
        }
    }
    ebb_node first = ebb_graph_copy_node_as(r->to->graph, node, op, inputs, n,
                                            op->attrs_bytes ? r->attrs.bytes : NULL, results);
    for (int i = 0; i < op->n_results && first.id; i++)
        r->map[node.id + (uint32_t)i] = results[i].id;
    ebb_tensor_finish(&data);
}

static void add_cut(rebuilding *r, uint32_t id)
{
    char name[24];
    int number = 0;
    do
        snprintf(name, sizeof name, "c%d", number++);
    while (ebb_graph_find(r->from->graph, name).id);
    const ebb_tensor *value = r->edit->cut_value;
    r->map[id] = add_input(r->to, name, value, &value->type.shape, r->edit->cut_is_x).id;
}

static void copy_live(rebuilding *r, uint32_t n_nodes)
{
    for (uint32_t id = 1; id <= n_nodes && !ebb_graph_status(r->to->graph); id++) {
        ebb_node node = ebb_graph_node(r->from->graph, id);
        const ebb_op *op = ebb_node_op(node);
        if (r->op_used[id]) {
            if ((op->traits & EBB_TRAIT_SOURCE) && !op->eval)
                copy_input(r, node);
            else
                copy_op(r, node);
        }
        if (r->value_used[id] && id == r->edit->cut.id)
            add_cut(r, id);
        if (r->value_used[id] && id == r->edit->bypass.id)
            r->map[id] = r->map[r->edit->by.id];
    }
}

bool graph_case_rebuild(const graph_case *from, const case_edit *edit, graph_case *result)
{
    static const case_edit none;
    rebuilding r = { .from = from, .edit = edit ? edit : &none, .to = result };
    uint32_t n_nodes = ebb_graph_n_nodes(from->graph);
    *result = (graph_case){ .graph = ebb_graph_create("case") };
    r.value_used = allocate(n_nodes + 1, sizeof *r.value_used);
    r.op_used = allocate(n_nodes + 1, sizeof *r.op_used);
    r.map = allocate(n_nodes + 1, sizeof *r.map);
    mark(&r, n_nodes);
    copy_live(&r, n_nodes);
    const ebb_node *outputs = r.edit->outputs ? r.edit->outputs : from->outputs;
    result->n_outputs = r.edit->outputs ? r.edit->n_outputs : from->n_outputs;
    for (int i = 0; i < result->n_outputs; i++)
        result->outputs[i] = ebb_graph_node(result->graph, r.map[outputs[i].id]);
    /* What nobody reads cannot be cut or passed by: nothing would change, again and again. */
    const ebb_node changed = r.edit->cut.id ? r.edit->cut : r.edit->bypass;
    bool good =
        ebb_graph_status(result->graph) == EBB_OK && (!changed.id || r.value_used[changed.id]);
    free(r.value_used);
    free(r.op_used);
    free(r.map);
    if (!good)
        graph_case_finish(result);
    return good;
}

void graph_case_finish(graph_case *c)
{
    for (int i = 0; i < c->n_inputs; i++)
        ebb_tensor_finish(&c->inputs[i].value);
    ebb_graph_destroy(c->graph);
    *c = (graph_case){ .graph = NULL };
}

ebb_interpreter *graph_case_compute(const graph_case *c, const ebb_graph *graph,
                                    const ebb_node *outputs, ebb_error *error)
{
    ebb_interpreter *in = ebb_interpreter_create(graph, NULL);
    ck_assert_ptr_nonnull(in);
    for (int i = 0; i < c->n_inputs; i++) {
        ebb_node node = ebb_graph_find(graph, ebb_node_name(c->inputs[i].node));
        if (node.id)
            ck_assert_int_eq(ebb_interpreter_set(in, node, &c->inputs[i].value, error), EBB_OK);
    }
    if (!ebb_interpreter_run(in, outputs, c->n_outputs, error))
        return in;
    ebb_interpreter_destroy(in);
    return NULL;
}

int graph_case_n_ops(const graph_case *c)
{
    return (int)ebb_graph_n_nodes(c->graph) - c->n_inputs;
}

void graph_case_dependence(const graph_case *c, bool *depends)
{
    uint32_t n_nodes = ebb_graph_n_nodes(c->graph);
    memset(depends, 0, (n_nodes + 1) * sizeof *depends);
    for (int i = 0; i < c->n_inputs; i++)
        depends[c->inputs[i].node.id] = c->inputs[i].is_x;
    for (uint32_t id = 1; id <= n_nodes; id++) {
        ebb_node node = ebb_graph_node(c->graph, id), first = ebb_node_first_result(node, NULL);
        for (int i = 0; i < ebb_node_n_inputs(first); i++)
            if (ebb_dtype_is_float(ebb_node_type(node)->dtype) || ebb_node_op(node)->n_results > 1)
                depends[id] = depends[id] || depends[ebb_node_input(first, i).id];
    }
}

void graph_case_print(const graph_case *c, FILE *out)
{
    char text[EBB_NODE_TEXT_BYTES];
    ck_assert_int_eq(ebb_graph_print(c->graph, out), EBB_OK);
    fprintf(out, "# outputs:");
    for (int i = 0; i < c->n_outputs; i++)
        fprintf(out, " %%%u", c->outputs[i].id);
    fputc('\n', out);
    for (int i = 0; i < c->n_inputs; i++) {
        const case_input *input = &c->inputs[i];
        fprintf(out, "# %s%s =", ebb_node_text(input->node, text), input->is_x ? ", an x," : "");
        int64_t n = ebb_shape_elements(&input->value.type.shape);
        for (int64_t e = 0; e < n && e < 64; e++)
            fprintf(out, " %.17g", ebb_tensor_get(&input->value, e));
        fprintf(out, n > 64 ? " ...\n" : "\n");
    }
}
