/* The gradient check: reverse-mode derivatives against central differences, in F64, by the
 * reference kernels.
 *
 * For y of any shape, s = <u, y> with a random u; for each x and random direction v, <ds/dx, v> is
 * compared with (s(x + h v) - s(x - h v)) / 2h, extrapolated from h and 2h (Richardson: error
 * O(h^4)). Order 2 does the same with s2 = sum over xs of <ds/dx, w>, w random. */
#define EBB_NO_LOCATIONS
#include <ebb/autodiff.h>

#include "autodiff/retype.h"
#include "graph/graph_build.h"
#include "graph/interpret.h"

#include <float.h>
#include <math.h>
#include <string.h>

typedef struct checker {
    ebb_graph *user;  /* messages go here */
    ebb_graph *graph; /* the F64 copy */
    const ebb_allocator *allocator;
    ebb_check_options options;
    ebb_check_report report;
    ebb_interpreter *interpreter;
    const ebb_node *xs; /* of the copy */
    int n_xs;
    uint64_t random;
} checker;

/* SplitMix64 (Steele, Lea & Flood 2014); in [low, high). */
static double draw(checker *c, double low, double high)
{
    uint64_t z = c->random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    z ^= z >> 31;
    return low + (high - low) * ((double)(z >> 11) * 0x1p-53);
}

static ebb_status report_memory(checker *c)
{
    return ebb_graph_report(c->user, EBB_OUT_OF_MEMORY, "gradient check: out of memory");
}

/* A constant of random numbers that are not near 0, like `node`. None, and a sticky error, when
 * memory is out. */
static ebb_node random_like(checker *c, ebb_node node)
{
    ebb_tensor t;
    const ebb_type *type = ebb_node_type(node);
    if (ebb_tensor_init(&t, *type, c->allocator))
        return ebb_graph_fail(c->graph, EBB_OUT_OF_MEMORY, "gradient check: out of memory");
    for (int64_t i = 0; i < ebb_shape_elements(&type->shape); i++) {
        double value = draw(c, 0.5, 1.5);
        ebb_tensor_set(&t, i, draw(c, 0, 1) < 0.5 ? -value : value);
    }
    ebb_node constant = ebb_constant(c->graph, type->dtype, type->shape, t.data);
    ebb_tensor_finish(&t);
    return constant;
}

/* <node, random>, a scalar. */
static ebb_node project(checker *c, ebb_node node)
{
    return ebb_reduce_sum(ebb_mul(node, random_like(c, node)), EBB_ALL_AXES, false);
}

/* ---- values ---- */

static ebb_status set_value(checker *c, ebb_node source, const ebb_tensor *given)
{
    ebb_tensor t;
    const ebb_type *type = ebb_node_type(source);
    ebb_error error = { .status = EBB_OK };
    if (ebb_tensor_init(&t, *type, c->allocator))
        return report_memory(c);
    int64_t n = ebb_shape_elements(&type->shape);
    bool is_float = ebb_dtype_is_float(type->dtype);
    for (int64_t i = 0; i < n; i++) {
        if (given)
            ebb_tensor_set(&t, i, ebb_tensor_get(given, i));
        else if (is_float)
            ebb_tensor_set(&t, i, draw(c, c->options.low, c->options.high));
    }
    ebb_status status = ebb_interpreter_set(c->interpreter, source, &t, &error);
    ebb_tensor_finish(&t);
    return status ? ebb_graph_report(c->user, status, "gradient check: %s", error.message) : EBB_OK;
}

/* Gives every source of the copy that has no rule of its own a value. */
static ebb_status set_values(checker *c, const uint32_t *map)
{
    const ebb_check_options *o = &c->options;
    uint32_t n_user = ebb_graph_n_nodes(c->user);
    char text[EBB_NODE_TEXT_BYTES], type[EBB_TYPE_TEXT_BYTES];
    for (int i = 0; i < o->n_values; i++) {
        ebb_node node = o->values[i].node;
        if (!ebb_graph_owns(c->user, node))
            return ebb_graph_report(c->user, EBB_BAD_NODE, "gradient check: value %d is for %s", i,
                                    ebb_node_text(node, text));
        if (!o->values[i].value.data ||
            !ebb_shape_equal(&o->values[i].value.type.shape, &ebb_node_type(node)->shape))
            return ebb_graph_report(c->user, EBB_BAD_SHAPE, "gradient check: value %d for %s is %s",
                                    i, ebb_node_text(node, text),
                                    ebb_type_text(&o->values[i].value.type, type));
    }
    for (uint32_t id = 1; id <= n_user; id++) {
        ebb_node copy = ebb_graph_node(c->graph, map[id]);
        const ebb_op *op = ebb_node_op(copy);
        if (!op || !(op->traits & EBB_TRAIT_SOURCE) || op->eval)
            continue;
        const ebb_tensor *given = NULL;
        for (int i = 0; i < o->n_values; i++) {
            if (o->values[i].node.id == id)
                given = &o->values[i].value;
        }
        ebb_status status = set_value(c, copy, given);
        if (status)
            return status;
    }
    return EBB_OK;
}

static ebb_status evaluate(checker *c, ebb_node node, const ebb_tensor **value)
{
    ebb_error error = { .status = EBB_OK };
    ebb_status status = ebb_interpreter_run(c->interpreter, &node, 1, &error);
    *value = NULL;
    if (status)
        return ebb_graph_report(c->user, status, "gradient check: %s", error.message);
    *value = ebb_interpreter_get(c->interpreter, node);
    return EBB_OK;
}

/* ---- comparing ---- */

/* s at x + step * direction. */
static ebb_status shifted(checker *c, ebb_node s, ebb_node x, const ebb_tensor *base,
                          const ebb_tensor *direction, double step, ebb_tensor *moved,
                          double *value)
{
    const double *b = base->data, *d = direction->data;
    int64_t n = ebb_shape_elements(&base->type.shape);
    for (int64_t i = 0; i < n; i++)
        ((double *)moved->data)[i] = b[i] + step * d[i];
    ebb_error error = { .status = EBB_OK };
    ebb_status status = ebb_interpreter_set(c->interpreter, x, moved, &error);
    if (status)
        return ebb_graph_report(c->user, status, "gradient check: %s", error.message);
    const ebb_tensor *result;
    status = evaluate(c, s, &result);
    if (!status)
        *value = ebb_tensor_get(result, 0);
    return status;
}

/* `noise` is what rounding alone may do to `numeric`: less difference than that is none. */
static void compare(checker *c, int x, int order, double analytic, double numeric, double scale,
                    double noise)
{
    double size = fmax(fmax(fabs(analytic), fabs(numeric)), 1e-3 * scale);
    double difference = fabs(analytic - numeric);
    double error = difference <= noise ? 0 : size > 0 ? difference / size : difference;
    ebb_check_report *r = &c->report;
    r->n_checks++;
    r->n_checks_of[order - 1]++;
    r->n_zero_of[order - 1] += analytic == 0 && numeric == 0;
    if (!(error <= r->worst_error_of[order - 1]) && !isnan(r->worst_error_of[order - 1]))
        r->worst_error_of[order - 1] = error;
    if (r->n_checks > 1 && !(error > r->worst_error) && !isnan(error))
        return;
    if (isnan(r->worst_error))
        return;
    r->worst_error = error;
    r->worst_x = x;
    r->worst_order = order;
    r->analytic = analytic;
    r->numeric = numeric;
}

/* base, direction, moved: scratch tensors of x's type. */
static ebb_status check_direction(checker *c, ebb_node s, int x, int order,
                                  const ebb_tensor *gradient, ebb_tensor scratch[3])
{
    ebb_tensor *base = &scratch[0], *direction = &scratch[1], *moved = &scratch[2];
    int64_t n = ebb_shape_elements(&base->type.shape);
    double analytic = 0, gradient_norm = 0, direction_norm = 0, largest = 1;
    const double *g = gradient->data, *b = base->data;
    double *d = direction->data;
    for (int64_t i = 0; i < n; i++) {
        d[i] = draw(c, -1, 1);
        analytic += g[i] * d[i];
        gradient_norm += g[i] * g[i];
        direction_norm += d[i] * d[i];
        largest = fmax(largest, fabs(b[i]));
    }
    double h = c->options.step * largest, f[4];
    static const double steps[4] = { 1, -1, 2, -2 };
    for (int i = 0; i < 4; i++) {
        ebb_status status = shifted(c, s, c->xs[x], base, direction, steps[i] * h, moved, &f[i]);
        if (status)
            return status;
    }
    double near = (f[0] - f[1]) / (2 * h), far = (f[2] - f[3]) / (4 * h);
    compare(c, x, order, analytic, (4 * near - far) / 3, sqrt(gradient_norm * direction_norm),
            DBL_EPSILON * fmax(fabs(f[0]), fabs(f[1])) / h);
    ebb_error error;
    ebb_status status = ebb_interpreter_set(c->interpreter, c->xs[x], base, &error);
    return status ? report_memory(c) : EBB_OK;
}

static ebb_status check_x(checker *c, ebb_node s, int x, int order, ebb_node gradient)
{
    const ebb_type *type = ebb_node_type(c->xs[x]);
    const ebb_tensor *value;
    ebb_tensor scratch[4];
    memset(scratch, 0, sizeof scratch);
    ebb_status status = EBB_OK;
    for (int i = 0; i < 4 && !status; i++) {
        if (ebb_tensor_init(&scratch[i], *type, c->allocator))
            status = report_memory(c);
    }
    size_t bytes = ebb_type_bytes(type);
    if (!status)
        status = evaluate(c, gradient, &value);
    if (!status) { /* copies: the interpreter forgets computed values when x moves */
        memcpy(scratch[3].data, value->data, bytes);
        memcpy(scratch[0].data, ebb_interpreter_get(c->interpreter, c->xs[x])->data, bytes);
    }
    for (int k = 0; k < c->options.n_directions && !status; k++)
        status = check_direction(c, s, x, order, &scratch[3], scratch);
    for (int i = 0; i < 4; i++)
        ebb_tensor_finish(&scratch[i]);
    return status;
}

/* Emits s and its gradients at each order into the copy, and compares. `gradients` has room for
 * n_xs. */
static ebb_status check_orders(checker *c, ebb_node y, ebb_node *gradients)
{
    ebb_node s = project(c, y);
    for (int order = 1; order <= c->options.order; order++) {
        ebb_status status = ebb_gradients(s, c->xs, c->n_xs, gradients);
        if (status)
            return ebb_graph_report(c->user, status, "%s", ebb_graph_message(c->graph));
        for (int x = 0; x < c->n_xs && !status; x++)
            status = check_x(c, s, x, order, gradients[x]);
        if (status || order == c->options.order)
            return status;
        ebb_node next = EBB_NONE;
        for (int x = 0; x < c->n_xs; x++) {
            ebb_node part = project(c, gradients[x]);
            next = x ? ebb_add(next, part) : part;
        }
        s = next;
    }
    return EBB_OK;
}

/* ---- the public function ---- */

static ebb_status read_options(checker *c, const ebb_check_options *given)
{
    ebb_check_options *o = &c->options;
    if (given)
        *o = *given;
    o->order = o->order ? o->order : 1;
    o->n_directions = o->n_directions ? o->n_directions : 2;
    o->step = o->step != 0 ? o->step : 1e-3;
    o->tolerance = o->tolerance != 0 ? o->tolerance : 1e-7;
    if (o->low == 0 && o->high == 0) {
        o->low = -1;
        o->high = 1;
    }
    if (o->order < 1 || o->order > 2 || o->n_directions < 1 || !(o->step > 0) ||
        !(o->tolerance > 0) || !(o->low <= o->high) || o->n_values < 0 ||
        (o->n_values && !o->values))
        return ebb_graph_report(c->user, EBB_BAD_ARGUMENT,
                                "gradient check: order is 1 or 2, directions, step and tolerance "
                                "are positive, low <= high");
    c->random = o->seed;
    return EBB_OK;
}

static ebb_status check_arguments(checker *c, ebb_node y, const ebb_node *xs, int n_xs)
{
    char text[EBB_NODE_TEXT_BYTES];
    ebb_status status = ebb_graph_status(c->user);
    if (status)
        return status;
    if (!ebb_graph_owns(c->user, y) || !ebb_dtype_is_float(ebb_node_type(y)->dtype))
        return ebb_graph_report(c->user, y.id ? EBB_BAD_DTYPE : EBB_BAD_NODE,
                                "gradient check: y (%s) is no float node", ebb_node_text(y, text));
    if (n_xs < 1 || !xs)
        return ebb_graph_report(c->user, EBB_BAD_ARGUMENT, "gradient check: there is no x");
    for (int i = 0; i < n_xs; i++) {
        if (!ebb_graph_owns(c->user, xs[i]))
            return ebb_graph_report(c->user, EBB_BAD_NODE,
                                    "gradient check: x %d is no node of \"%s\"", i,
                                    ebb_graph_name(c->user));
        const ebb_op *op = ebb_node_op(xs[i]);
        if (!(op->traits & EBB_TRAIT_SOURCE) || op->eval)
            return ebb_graph_report(c->user, EBB_BAD_ARGUMENT,
                                    "gradient check: x %d (%s) is neither input nor variable", i,
                                    ebb_node_text(xs[i], text));
        if (!ebb_dtype_is_float(ebb_node_type(xs[i])->dtype))
            return ebb_graph_report(c->user, EBB_BAD_DTYPE,
                                    "gradient check: x %d (%s) is not float", i,
                                    ebb_node_text(xs[i], text));
    }
    return EBB_OK;
}

static ebb_status judge(checker *c, const ebb_node *xs)
{
    const ebb_check_report *r = &c->report;
    char text[EBB_NODE_TEXT_BYTES];
    if (r->n_checks == 0 || r->worst_error <= c->options.tolerance)
        return EBB_OK;
    return ebb_graph_report(
        c->user, EBB_MISMATCH,
        "gradient check: order %d, x %d (%s): reverse mode gives %.17g, central "
        "differences %.17g: relative error %.3g is above %.3g",
        r->worst_order, r->worst_x, ebb_node_text(xs[r->worst_x], text), r->analytic, r->numeric,
        r->worst_error, c->options.tolerance);
}

/* `nodes` has room for 2 * n_xs + 1, `map` for every id of the user's graph. */
static ebb_status check_copy(checker *c, ebb_node y, const ebb_node *xs, ebb_node *nodes,
                             uint32_t *map)
{
    int n_xs = c->n_xs;
    memcpy(nodes, xs, (size_t)n_xs * sizeof *nodes);
    nodes[n_xs] = y;
    ebb_status status =
        ebb_graph_retype(c->user, nodes, n_xs + 1, EBB_F32, EBB_F64, c->allocator, map, &c->graph);
    if (status)
        return status;
    for (int i = 0; i < n_xs; i++)
        nodes[i] = ebb_graph_node(c->graph, map[xs[i].id]);
    c->xs = nodes;
    c->interpreter = ebb_interpreter_create(c->graph, c->allocator);
    if (!c->interpreter)
        return report_memory(c);
    status = set_values(c, map);
    if (!status)
        status = check_orders(c, ebb_graph_node(c->graph, map[y.id]), nodes + n_xs);
    return status ? status : judge(c, xs);
}

ebb_status ebb_check_gradients(ebb_node y, const ebb_node *xs, int n_xs,
                               const ebb_check_options *options, ebb_check_report *report)
{
    checker c = { .user = y.graph, .n_xs = n_xs, .allocator = options ? options->allocator : NULL };
    if (report)
        *report = (ebb_check_report){ 0 };
    if (!y.graph)
        return EBB_BAD_NODE;
    ebb_status status = check_arguments(&c, y, xs, n_xs);
    if (!status)
        status = read_options(&c, options);
    if (status)
        return status;
    size_t nodes_bytes = (2 * (size_t)n_xs + 1) * sizeof(ebb_node);
    size_t map_bytes = ((size_t)ebb_graph_n_nodes(y.graph) + 1) * sizeof(uint32_t);
    ebb_node *nodes = ebb_allocate(c.allocator, nodes_bytes);
    uint32_t *map = ebb_allocate(c.allocator, map_bytes);
    status = nodes && map ? check_copy(&c, y, xs, nodes, map) : report_memory(&c);
    ebb_interpreter_destroy(c.interpreter);
    ebb_graph_destroy(c.graph);
    ebb_release(c.allocator, nodes, nodes_bytes);
    ebb_release(c.allocator, map, map_bytes);
    if (report)
        *report = c.report;
    return status;
}
