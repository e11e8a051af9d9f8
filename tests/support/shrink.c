/* Greedy shrinking: every change that keeps the failure stays. */
#include "tests/support/shrink.h"

#include "tests/support/runner.h"

#include <math.h>
#include <stdlib.h>

typedef struct shrinker {
    graph_case *c;
    case_fails fails;
    void *context;
    int n_calls, budget;
} shrinker;

/* Whether the change keeps the failure; then it is made. */
static bool try_edit(shrinker *s, const case_edit *edit)
{
    graph_case smaller;
    if (s->n_calls >= s->budget || !graph_case_rebuild(s->c, edit, &smaller))
        return false;
    s->n_calls++;
    if (!s->fails(s->context, &smaller)) {
        graph_case_finish(&smaller);
        return false;
    }
    graph_case_finish(s->c);
    *s->c = smaller;
    return true;
}

static bool try_outputs(shrinker *s)
{
    for (int i = 0; i < s->c->n_outputs && s->c->n_outputs > 1; i++)
        if (try_edit(s, &(case_edit){ .outputs = &s->c->outputs[i], .n_outputs = 1 }))
            return true;
    for (int i = 0; i < s->c->n_outputs && s->c->n_outputs > 1; i++) {
        ebb_node rest[CASE_MAX_OUTPUTS];
        int n = 0;
        for (int k = 0; k < s->c->n_outputs; k++)
            if (k != i)
                rest[n++] = s->c->outputs[k];
        if (try_edit(s, &(case_edit){ .outputs = rest, .n_outputs = n }))
            return true;
    }
    return false;
}

static bool is_input(ebb_node node)
{
    return (ebb_node_op(node)->traits & EBB_TRAIT_SOURCE) && !ebb_node_op(node)->eval;
}

/* A node inside as the only output. */
static bool try_earlier_output(shrinker *s)
{
    for (uint32_t id = 1; id < ebb_graph_n_nodes(s->c->graph); id++) {
        ebb_node node = ebb_graph_node(s->c->graph, id);
        if (!is_input(node) && (s->c->n_outputs > 1 || id < s->c->outputs[0].id) &&
            try_edit(s, &(case_edit){ .outputs = &node, .n_outputs = 1 }))
            return true;
    }
    return false;
}

/* A NaN or infinity as the value of an input would be another failure. */
static bool is_finite_tensor(const ebb_tensor *t)
{
    for (int64_t i = 0; i < ebb_shape_elements(&t->type.shape); i++)
        if (!isfinite(ebb_tensor_get(t, i)))
            return false;
    return true;
}

static bool try_cut(shrinker *s)
{
    uint32_t n_nodes = ebb_graph_n_nodes(s->c->graph);
    ebb_error error = { .message = "" };
    ebb_interpreter *in = graph_case_compute(s->c, s->c->graph, s->c->outputs, &error);
    if (!in)
        return false;
    bool *depends = calloc(n_nodes + 1, sizeof *depends), done = false;
    ck_assert_ptr_nonnull(depends);
    graph_case_dependence(s->c, depends);
    for (uint32_t id = n_nodes; id > 0 && !done; id--) {
        ebb_node node = ebb_graph_node(s->c->graph, id);
        const ebb_tensor *value = ebb_interpreter_get(in, node);
        bool is_output = s->c->n_outputs == 1 && s->c->outputs[0].id == id;
        if (!value || is_input(node) || is_output || s->c->n_inputs + 1 >= CASE_MAX_INPUTS ||
            !is_finite_tensor(value))
            continue;
        bool is_x = depends[id] && ebb_dtype_is_float(value->type.dtype);
        done = try_edit(s, &(case_edit){ .cut = node, .cut_value = value, .cut_is_x = is_x });
    }
    ebb_interpreter_destroy(in);
    free(depends);
    return done;
}

static bool try_bypass(shrinker *s)
{
    for (uint32_t id = ebb_graph_n_nodes(s->c->graph); id > 0; id--) {
        ebb_node node = ebb_graph_node(s->c->graph, id);
        if (is_input(node))
            continue;
        for (int i = 0; i < ebb_node_n_inputs(node); i++) {
            ebb_node by = ebb_node_input(node, i);
            if (ebb_type_equal(ebb_node_type(by), ebb_node_type(node)) &&
                try_edit(s, &(case_edit){ .bypass = node, .by = by }))
                return true;
        }
    }
    return false;
}

static bool try_dim(shrinker *s, int64_t dim)
{
    for (int64_t smaller = 1; smaller < dim && smaller <= 2; smaller++)
        for (int numbers = 0; numbers < 2; numbers++)
            if (try_edit(
                    s, &(case_edit){ .dim = dim, .new_dim = smaller, .numbers_too = numbers == 1 }))
                return true;
    return false;
}

static bool try_dims(shrinker *s)
{
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(s->c->graph); id++) {
        ebb_shape shape = ebb_node_type(ebb_graph_node(s->c->graph, id))->shape;
        for (int d = 0; d < shape.rank; d++)
            if (shape.dims[d] > 1 && try_dim(s, shape.dims[d]))
                return true;
    }
    return false;
}

int shrink_case(graph_case *c, case_fails fails, void *context, int budget)
{
    shrinker s = { .c = c, .fails = fails, .context = context, .budget = budget };
    bool (*const ways[])(shrinker *) = { try_outputs, try_earlier_output, try_cut, try_bypass,
                                         try_dims };
    enum { N_WAYS_TO_SHRINK = sizeof ways / sizeof *ways };
    for (int idle = 0, way = 0; idle < N_WAYS_TO_SHRINK; way = (way + 1) % N_WAYS_TO_SHRINK) {
        idle++;
        while (ways[way](&s))
            idle = 0;
    }
    return s.n_calls;
}
