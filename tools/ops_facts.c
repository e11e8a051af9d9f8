/* What is known of an operation beyond its descriptor: who computes it, and its samples as graphs.
 */
#include "ops.h"

#include <string.h>

const char *ops_gradient(const ebb_op *op)
{
    if (op->traits & EBB_TRAIT_SOURCE)
        return "-";
    return op->vjp ? "own rule" : op->decompose ? "by its decomposition" : "none";
}

const char *ops_inputs(const ebb_op *op, char text[OPS_TEXT_BYTES])
{
    if (op->n_inputs == EBB_VARIADIC)
        snprintf(text, OPS_TEXT_BYTES, "1 or more");
    else
        snprintf(text, OPS_TEXT_BYTES, "%d", op->n_inputs);
    return text;
}

const char *ops_attribute_kind(const ebb_attr_field *field, char text[OPS_TEXT_BYTES])
{
    /* clang-format off */
    static const char *const kinds[] = {
        [EBB_ATTR_BOOL] = "true or false", [EBB_ATTR_I64] = "integer", [EBB_ATTR_F64] = "number",
        [EBB_ATTR_ENUM] = "word", [EBB_ATTR_NAME] = "text in quotes", [EBB_ATTR_DTYPE] = "dtype",
        [EBB_ATTR_SHAPE] = "shape", [EBB_ATTR_AXES] = "list of axes",
        [EBB_ATTR_INTS] = "list of integers",
        [EBB_ATTR_TYPE] = "type, behind the colon", [EBB_ATTR_DATA] = "list of all elements",
        [EBB_ATTR_PROGRAM] = "program in parentheses",
    };
    /* clang-format on */
    snprintf(text, OPS_TEXT_BYTES, "%s", kinds[field->kind]);
    for (int i = 0; field->kind == EBB_ATTR_ENUM && field->enum_names && field->enum_names[i];
         i++) {
        size_t n = strlen(text);
        if (i == 0)
            n = 0;
        snprintf(text + n, OPS_TEXT_BYTES - n, "%s%s", i ? ", " : "", field->enum_names[i]);
    }
    return text;
}

ebb_graph *ops_sample_graph(const ebb_op *op, int index, ebb_dtype floats, ebb_node *node)
{
    const ebb_sample *sample = &op->samples[index];
    *node = EBB_NONE;
    int n_inputs = sample->n_inputs ? sample->n_inputs : op->n_inputs;
    if ((sample->error && !sample->values[0]) || n_inputs > EBB_MAX_SAMPLE_INPUTS)
        return NULL;
    ebb_graph *graph = ebb_graph_create(op->name);
    ebb_node inputs[EBB_MAX_SAMPLE_INPUTS];
    for (int i = 0; i < n_inputs; i++) {
        char name[16];
        ebb_type type = sample->inputs[i];
        snprintf(name, sizeof name, "i%d", i);
        inputs[i] = ebb_input(graph, name, type.dtype == EBB_F64 ? floats : type.dtype, type.shape);
    }
    *node = ebb_emit(graph, op, inputs, n_inputs, sample->attrs, NULL);
    if (node->id)
        return graph;
    ebb_graph_destroy(graph);
    return NULL;
}

/* Marks in `takes` the backends that would compute this node. */
static void ask_backends(ebb_node node, const ebb_backend *const *backends, int n, bool *takes)
{
    ebb_operand inputs[EBB_MAX_SAMPLE_INPUTS], results[EBB_MAX_RESULTS];
    const ebb_op *op = ebb_node_op(node);
    ebb_region region = { .op = op,
                          .attrs = ebb_node_attrs(node),
                          .n_inputs = ebb_node_n_inputs(node),
                          .n_results = op->n_results,
                          .inputs = inputs,
                          .results = results,
                          .n_threads = 1 };
    for (int i = 0; i < region.n_inputs; i++) {
        const ebb_type *type = ebb_node_type(ebb_node_input(node, i));
        inputs[i] = (ebb_operand){ .type = type, .layout = ebb_layout_dense(&type->shape) };
    }
    for (int i = 0; i < region.n_results; i++) {
        const ebb_type *type = ebb_node_type(ebb_node_result(node, i));
        results[i] = (ebb_operand){ .type = type, .layout = ebb_layout_dense(&type->shape) };
    }
    for (int b = 0; b < n; b++)
        takes[b] = takes[b] || backends[b]->score(backends[b], &region) > EBB_SCORE_NONE;
}

#define MAX_BACKENDS 16

const char *ops_backends(const ebb_op *op, char text[OPS_TEXT_BYTES])
{
    int n = 0;
    bool takes[MAX_BACKENDS] = { false };
    const ebb_backend *const *backends = ebb_backend_list(NULL, &n);
    n = n < MAX_BACKENDS ? n : MAX_BACKENDS;
    for (int s = 0; s < op->n_samples; s++) {
        for (int f = 0; f < 2; f++) {
            ebb_node node;
            ebb_graph *graph = ops_sample_graph(op, s, f ? EBB_F32 : EBB_F64, &node);
            if (graph)
                ask_backends(node, backends, n, takes);
            ebb_graph_destroy(graph);
        }
    }
    text[0] = 0;
    for (int b = 0; b < n; b++) {
        size_t length = strlen(text);
        if (takes[b])
            snprintf(text + length, OPS_TEXT_BYTES - length, "%s%s", length ? ", " : "",
                     backends[b]->name);
    }
    if (!text[0])
        snprintf(text, OPS_TEXT_BYTES, "-");
    return text;
}
