/* Gradients against differences, and all ways of running a graph against the interpreter. */
#include "tests/support/agreement.h"

#include "autodiff/retype.h"
#include "backends/backends.h"
#include "graph/interpret.h"
#include "tests/support/runner.h"

#include <ebb/compile.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

enum { MAX_FETCHES = CASE_MAX_OUTPUTS + 1 + CASE_MAX_INPUTS };

static const ebb_backend *const onednn[] = { &ebb_backend_onednn, &ebb_backend_native,
                                             &ebb_backend_reference };
static const ebb_backend *const native[] = { &ebb_backend_native, &ebb_backend_reference };
static const ebb_backend *const reference[] = { &ebb_backend_reference };

static const struct way {
    const ebb_backend *const *backends;
    int n_backends;
    ebb_dtype floats;
    bool skip_passes;
    const char *skip_fusions;
} ways[AGREEMENT_WAYS] = {
    { onednn, 3, EBB_F64, false, NULL },
    { onednn, 3, EBB_F64, true, NULL },
    { onednn, 3, EBB_F32, false, NULL },
    { onednn, 3, EBB_F32, true, NULL },
    { native, 2, EBB_F64, false, NULL },
    { native, 2, EBB_F64, true, NULL },
    { native, 2, EBB_F32, false, NULL },
    { native, 2, EBB_F32, true, NULL },
    { reference, 1, EBB_F64, false, NULL },
    { reference, 1, EBB_F64, true, NULL },
    { reference, 1, EBB_F32, false, NULL },
    { reference, 1, EBB_F32, true, NULL },
    { native, 2, EBB_F64, false, "join,norms,programs" },
    { native, 2, EBB_F32, false, "join,norms,programs" },
};

/* A case with its loss and gradients, and what the interpreter says about them. */
typedef struct checking {
    const agreement_options *options;
    graph_case c;
    ebb_node loss; /* none: nothing to differentiate */
    ebb_node xs[CASE_MAX_INPUTS];
    int n_xs;
    ebb_node fetches[MAX_FETCHES];
    int n_fetches;
    ebb_interpreter *exact; /* in F64 */
    double weighed; /* sum of |terms| of the loss: what its rounding errors are relative to */
    agreement result;
} checking;

static void report(checking *k, disagreement what, int way, ebb_status status, const char *format,
                   ...) EBB_PRINTF(5, 6);
static void report(checking *k, disagreement what, int way, ebb_status status, const char *format,
                   ...)
{
    if (k->result.what)
        return;
    k->result.what = what;
    k->result.way = way;
    k->result.status = status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(k->result.message, sizeof k->result.message, format, arguments);
    va_end(arguments);
}

/* In [0.5, 1.5), with a sign. */
static double draw_weight(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    double value = 0.5 + ldexp((double)(*state >> 34), -30);
    return *state >> 33 & 1 ? value : -value;
}

/* The sum of all elements of all float outputs, weighed at random: one scalar that sees everything.
 */
static void add_loss(checking *k)
{
    uint64_t state = k->options->seed * 2 + 1;
    for (int i = 0; i < k->c.n_outputs; i++) {
        ebb_node y = k->c.outputs[i];
        ebb_type type = *ebb_node_type(y);
        if (type.dtype != EBB_F64)
            continue;
        ebb_tensor weights;
        ck_assert_int_eq(ebb_tensor_init(&weights, type, NULL), EBB_OK);
        for (int64_t e = 0; e < ebb_shape_elements(&type.shape); e++)
            ebb_tensor_set(&weights, e, draw_weight(&state));
        ebb_node w = ebb_constant(k->c.graph, type.dtype, type.shape, weights.data);
        ebb_node part = ebb_reduce_sum(ebb_mul(y, w), EBB_ALL_AXES, false);
        k->loss = k->loss.id ? ebb_add(k->loss, part) : part;
        ebb_tensor_finish(&weights);
    }
    for (int i = 0; i < k->c.n_inputs; i++)
        if (k->c.inputs[i].is_x)
            k->xs[k->n_xs++] = k->c.inputs[i].node;
    if (k->n_xs == 0)
        k->loss = EBB_NONE;
}

static ebb_interpreter *set_inputs(checking *k, ebb_graph *graph, const uint32_t *map)
{
    ebb_interpreter *in = ebb_interpreter_create(graph, NULL);
    ck_assert_ptr_nonnull(in);
    for (int i = 0; i < k->c.n_inputs; i++) {
        const case_input *input = &k->c.inputs[i];
        ebb_node node = map ? ebb_graph_node(graph, map[input->node.id]) : input->node;
        if (!node.id)
            continue;
        ebb_error error;
        ebb_tensor value = input->value;
        bool convert = ebb_node_type(node)->dtype != value.type.dtype;
        if (convert) {
            ck_assert_int_eq(ebb_tensor_init(&value, *ebb_node_type(node), NULL), EBB_OK);
            for (int64_t e = 0; e < ebb_shape_elements(&value.type.shape); e++)
                ebb_tensor_set(&value, e, ebb_tensor_get(&input->value, e));
        }
        ck_assert_int_eq(ebb_interpreter_set(in, node, &value, &error), EBB_OK);
        if (convert)
            ebb_tensor_finish(&value);
    }
    return in;
}

/* ---- gradients ---- */

/* Moves all xs by `step` times a random direction that belongs to `order`, and computes y. */
static bool value_along(checking *k, ebb_interpreter *in, ebb_node y, int order, double step,
                        double *value)
{
    uint64_t state = (k->options->seed * 2 + (uint64_t)order) * 3;
    ebb_error error = { .message = "" };
    for (int i = 0; i < k->c.n_inputs; i++) {
        const case_input *input = &k->c.inputs[i];
        ebb_tensor moved;
        if (!input->is_x)
            continue;
        ck_assert_int_eq(ebb_tensor_init(&moved, input->value.type, NULL), EBB_OK);
        for (int64_t e = 0; e < ebb_shape_elements(&moved.type.shape); e++)
            ebb_tensor_set(&moved, e,
                           ebb_tensor_get(&input->value, e) + step * draw_weight(&state));
        ck_assert_int_eq(ebb_interpreter_set(in, input->node, &moved, &error), EBB_OK);
        ebb_tensor_finish(&moved);
    }
    ebb_status status = ebb_interpreter_run(in, &y, 1, &error);
    if (status)
        report(k, REFUSED, -1, status, "gradients of order %d: %s", order, error.message);
    else
        *value = ebb_tensor_get(ebb_interpreter_get(in, y), 0);
    return !status;
}

/* sum over xs of <gradient of y, direction>, as a node; `size`, too: of the sum of |terms|. */
static bool add_derivative(checking *k, ebb_node y, int order, ebb_node *sum, ebb_node *size)
{
    uint64_t state = (k->options->seed * 2 + (uint64_t)order) * 3;
    ebb_node gradients[CASE_MAX_INPUTS];
    ebb_status status = ebb_gradients(y, k->xs, k->n_xs, gradients);
    if (status) {
        report(k, REFUSED, -1, status, "%s", ebb_graph_message(k->c.graph));
        return false;
    }
    *sum = *size = EBB_NONE;
    for (int i = 0; i < k->n_xs; i++) {
        ebb_type type = *ebb_node_type(k->xs[i]);
        ebb_tensor direction;
        ck_assert_int_eq(ebb_tensor_init(&direction, type, NULL), EBB_OK);
        for (int64_t e = 0; e < ebb_shape_elements(&type.shape); e++)
            ebb_tensor_set(&direction, e, draw_weight(&state));
        ebb_node d = ebb_constant(k->c.graph, type.dtype, type.shape, direction.data);
        ebb_node terms = ebb_mul(gradients[i], d);
        ebb_node part = ebb_reduce_sum(terms, EBB_ALL_AXES, false);
        ebb_node part_size = ebb_reduce_sum(ebb_abs(terms), EBB_ALL_AXES, false);
        *sum = sum->id ? ebb_add(*sum, part) : part;
        *size = size->id ? ebb_add(*size, part_size) : part_size;
        ebb_tensor_finish(&direction);
    }
    return true;
}

/* The derivative of y along its direction by central differences at h, 2h and 4h, extrapolated
 * twice (Richardson); `spread` is how far the last extrapolation moved it. */
static bool differentiate(checking *k, ebb_interpreter *in, ebb_node y, int order, double h,
                          double *derivative, double *spread)
{
    double d[3];
    for (int i = 0; i < 3; i++) {
        double step = h * (1 << i), up, down;
        if (!value_along(k, in, y, order, step, &up) || !value_along(k, in, y, order, -step, &down))
            return false;
        d[i] = (up - down) / (2 * step);
    }
    double near = (4 * d[0] - d[1]) / 3, far = (4 * d[1] - d[2]) / 3;
    *derivative = (16 * near - far) / 15;
    *spread = fabs(near - far);
    return true;
}

/* Central differences on a kink converge to the mean of both sides, which nobody has to give:
 * something between the sides is right there. One-sided differences that come together with smaller
 * steps are no kink. */
static bool stands_on_kink(checking *k, ebb_interpreter *in, ebb_node y, int order, double sum,
                           double scale)
{
    double here, left[2], right[2];
    if (!value_along(k, in, y, order, 0, &here))
        return false;
    for (int i = 0; i < 2; i++) {
        const double h = i ? 1e-6 : 1e-5;
        double up, down;
        if (!value_along(k, in, y, order, h, &up) || !value_along(k, in, y, order, -h, &down))
            return false;
        left[i] = (here - down) / h;
        right[i] = (up - here) / h;
    }
    const double gap = fabs(right[1] - left[1]), slack = 0.05 * gap;
    return gap > 1e-4 * scale && gap > 0.5 * fabs(right[0] - left[0]) &&
           sum >= fmin(left[1], right[1]) - slack && sum <= fmax(left[1], right[1]) + slack;
}

/* Reverse mode is right if it gives that to which differences converge. Where they converge with no
 * step, a kink or a pole is too near, and they decide nothing. */
static void compare_derivative(checking *k, ebb_interpreter *in, ebb_node y, int order, double sum,
                               double size)
{
    static const double steps[] = { 1e-3, 1e-4, 1e-5, 1e-2 };
    double scale = fmax(fabs(sum), fmax(1e-3 * size, 1e-6 * (1 + k->weighed))), worst = 0;
    double derivative = 0, spread = 0;
    bool decided = false;
    for (int i = 0; i < 4; i++) {
        double noise = 1e-14 * (k->weighed + 1 + (order > 1 ? size : 0)) / steps[i];
        if (!differentiate(k, in, y, order, steps[i], &derivative, &spread))
            return;
        scale = fmax(scale, fabs(derivative));
        bool converges = spread <= 1e-5 * scale + 10 * noise && noise <= 1e-4 * scale;
        double error = fabs(sum - derivative);
        if (error <= 1e-7 * scale + spread + noise && (converges || error <= 1e-7 * scale)) {
            k->result.n_compared[order - 1]++;
            k->result.n_zero[order - 1] += sum == 0 && derivative == 0;
            k->result.worst[order - 1] = fmax(k->result.worst[order - 1], error / scale);
            return;
        }
        if (converges || (isfinite(derivative) && !isfinite(sum))) {
            decided = true;
            worst = derivative;
        }
    }
    if (!decided || stands_on_kink(k, in, y, order, sum, scale)) {
        k->result.n_undecided[order - 1]++;
        return;
    }
    report(k, order == 2 ? WRONG_SECOND_GRADIENT : WRONG_GRADIENT, -1, EBB_MISMATCH,
           "order %d: reverse mode gives %.12g, central differences %.12g", order, sum, worst);
}

static void check_gradients(checking *k)
{
    ebb_node y = k->loss, sum, size;
    ebb_interpreter *in = set_inputs(k, k->c.graph, NULL);
    for (int order = 1; order <= k->options->order && !k->result.what; order++) {
        double sum_value, size_value;
        if (!add_derivative(k, y, order, &sum, &size) ||
            !value_along(k, in, sum, order, 0, &sum_value) ||
            !value_along(k, in, size, order, 0, &size_value))
            break;
        compare_derivative(k, in, y, order, sum_value, size_value);
        y = sum;
    }
    ebb_interpreter_destroy(in);
}

/* ---- values ---- */

static double largest(const ebb_tensor *t)
{
    double size = 0;
    for (int64_t i = 0; i < ebb_shape_elements(&t->type.shape); i++) {
        double value = fabs(ebb_tensor_get(t, i));
        size = isfinite(value) ? fmax(size, value) : size;
    }
    return size;
}

static double largest_difference(const ebb_tensor *a, const ebb_tensor *b)
{
    double worst = 0;
    for (int64_t i = 0; i < ebb_shape_elements(&a->type.shape); i++) {
        double x = ebb_tensor_get(a, i), y = ebb_tensor_get(b, i);
        if (isnan(x) != isnan(y) || isinf(x) != isinf(y))
            return INFINITY;
        if (isfinite(x) && isfinite(y))
            worst = fmax(worst, fabs(x - y));
        else if (isinf(x) && x != y)
            return INFINITY;
    }
    return worst;
}

/* `same`: the interpreter with the floats of this way; how far it is from F64 says how well the
 * value is conditioned. */
static void compare_fetch(checking *k, int way, int fetch, const ebb_interpreter *same,
                          ebb_node node, const ebb_tensor *got)
{
    const ebb_tensor *exact = ebb_interpreter_get(k->exact, k->fetches[fetch]);
    double size = largest(exact), difference = largest_difference(got, exact), allowed = 0;
    if (exact->type.dtype == EBB_F64 && ways[way].floats == EBB_F64)
        allowed = 1e-10 * (size + 1);
    else if (exact->type.dtype == EBB_F64)
        allowed =
            1e-5 * (size + 1) + 100 * largest_difference(ebb_interpreter_get(same, node), exact);
    if (difference <= allowed)
        return;
    char text[EBB_NODE_TEXT_BYTES];
    report(k, WRONG_VALUE, way, EBB_MISMATCH,
           "%s, %s, %s: fetch %d, %s, is off by %.3g (largest element %.3g, allowed %.3g)",
           ways[way].backends[0]->name, ebb_dtype_name(ways[way].floats),
           ways[way].skip_passes    ? "without passes"
           : ways[way].skip_fusions ? "without fusion"
                                    : "with passes",
           fetch, ebb_node_text(k->fetches[fetch], text), difference, size, allowed);
}

static void run_way(checking *k, int way, ebb_graph *graph, const uint32_t *map,
                    const ebb_interpreter *same)
{
    ebb_node fetched[MAX_FETCHES];
    ebb_feed feeds[CASE_MAX_INPUTS];
    ebb_fetch fetches[MAX_FETCHES];
    int n_feeds = 0;
    for (int i = 0; i < k->n_fetches; i++)
        fetched[i] = map ? ebb_graph_node(graph, map[k->fetches[i].id]) : k->fetches[i];
    for (int i = 0; i < k->c.n_inputs; i++) {
        ebb_node node = k->c.inputs[i].node;
        node = map ? ebb_graph_node(graph, map[node.id]) : node;
        if (node.id)
            feeds[n_feeds++] = (ebb_feed){ node, *ebb_interpreter_get(same, node) };
    }
    for (int i = 0; i < k->n_fetches; i++) {
        fetches[i].node = fetched[i];
        ck_assert_int_eq(ebb_tensor_init(&fetches[i].value, *ebb_node_type(fetched[i]), NULL),
                         EBB_OK);
    }
    ebb_compile_options options = { .fetches = fetched,
                                    .n_fetches = k->n_fetches,
                                    .backends = ways[way].backends,
                                    .n_backends = ways[way].n_backends,
                                    .n_threads = k->options->n_threads ? k->options->n_threads : 1,
                                    .skip_passes = ways[way].skip_passes,
                                    .skip_fusions = ways[way].skip_fusions };
    ebb_executable *e = NULL;
    ebb_status status = ebb_compile(graph, &options, &e);
    if (status)
        report(k, REFUSED, way, status, "compile: %s", ebb_graph_message(graph));
    else if ((status = ebb_run(e, feeds, n_feeds, fetches, k->n_fetches)))
        report(k, REFUSED, way, status, "run: %s", ebb_executable_message(e));
    ebb_executable_destroy(e);
    for (int i = 0; i < k->n_fetches; i++) {
        if (!status)
            compare_fetch(k, way, i, same, fetched[i], &fetches[i].value);
        ebb_tensor_finish(&fetches[i].value);
    }
    k->result.n_ways += !k->result.what;
}

static bool has_random(const ebb_graph *graph)
{
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(graph); id++)
        if (ebb_node_op(ebb_graph_node(graph, id))->traits & EBB_TRAIT_RANDOM)
            return true;
    return false;
}

static void run_ways(checking *k, ebb_dtype floats)
{
    unsigned wanted = 0;
    for (int way = 0; way < AGREEMENT_WAYS; way++)
        wanted |= ways[way].floats == floats ? k->options->ways & 1u << way : 0;
    /* Random numbers of F32 are others than those of F64. */
    if (!wanted || k->result.what || (floats == EBB_F32 && has_random(k->c.graph)))
        return;
    ebb_graph *graph = k->c.graph;
    uint32_t *map = NULL;
    ebb_error error = { .message = "" };
    ebb_interpreter *same = k->exact;
    if (floats == EBB_F32) {
        map = calloc((size_t)ebb_graph_n_nodes(graph) + 1, sizeof *map);
        ck_assert_ptr_nonnull(map);
        ebb_status status = ebb_graph_retype(k->c.graph, k->fetches, k->n_fetches, EBB_F64, EBB_F32,
                                             NULL, map, &graph);
        if (status) {
            report(k, REFUSED, -1, status, "to F32: %s", ebb_graph_message(k->c.graph));
            free(map);
            return;
        }
        ebb_node nodes[MAX_FETCHES];
        for (int i = 0; i < k->n_fetches; i++)
            nodes[i] = ebb_graph_node(graph, map[k->fetches[i].id]);
        same = set_inputs(k, graph, map);
        status = ebb_interpreter_run(same, nodes, k->n_fetches, &error);
        if (status)
            report(k, REFUSED, -1, status, "in F32: %s", error.message);
    }
    for (int way = 0; way < AGREEMENT_WAYS && !k->result.what; way++)
        if (wanted & 1u << way)
            run_way(k, way, graph, map, same);
    if (map) {
        ebb_interpreter_destroy(same);
        ebb_graph_destroy(graph);
        free(map);
    }
}

/* ---- all of it ---- */

/* True if there is something to go on with. */
static bool interpret(checking *k)
{
    ebb_error error = { .message = "" };
    ebb_status status = ebb_graph_status(k->c.graph);
    if (status) {
        report(k, REFUSED, -1, status, "%s", ebb_graph_message(k->c.graph));
        return false;
    }
    k->exact = set_inputs(k, k->c.graph, NULL);
    status = ebb_interpreter_run(k->exact, k->fetches, k->n_fetches, &error);
    if (status)
        report(k, REFUSED, -1, status, "interpreter: %s", error.message);
    for (int i = 0; i < k->c.n_outputs && !status; i++) {
        const ebb_tensor *value = ebb_interpreter_get(k->exact, k->c.outputs[i]);
        k->weighed += 1.5 * largest(value) * (double)ebb_shape_elements(&value->type.shape);
    }
    return !status;
}

agreement check_agreement(const graph_case *c, const agreement_options *options)
{
    checking k = { .options = options };
    ck_assert(graph_case_rebuild(c, NULL, &k.c));
    add_loss(&k);
    for (int i = 0; i < k.c.n_outputs; i++)
        k.fetches[k.n_fetches++] = k.c.outputs[i];
    if (k.loss.id && options->order > 0) {
        ebb_node gradients[CASE_MAX_INPUTS];
        ebb_status status = ebb_gradients(k.loss, k.xs, k.n_xs, gradients);
        if (status)
            report(&k, REFUSED, -1, status, "%s", ebb_graph_message(k.c.graph));
        k.fetches[k.n_fetches++] = k.loss;
        for (int i = 0; i < k.n_xs && !status; i++)
            k.fetches[k.n_fetches++] = gradients[i];
    }
    if (!k.result.what && interpret(&k)) {
        if (k.loss.id && options->order > 0)
            check_gradients(&k);
        run_ways(&k, EBB_F64);
        run_ways(&k, EBB_F32);
    }
    ebb_interpreter_destroy(k.exact);
    graph_case_finish(&k.c);
    return k.result;
}
