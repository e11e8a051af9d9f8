/* An operation of one's own, without touching Ebb: softplus(x) = log(1 + e^x), with its shape rule,
 * gradient, reference kernel and samples. Gradients of any order, passes and execution follow from
 * the descriptor.
 *
 *     custom_op [--backend reference|onednn] */
#include "support/options.h"
#include "support/stop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the op ---- */

static ebb_status softplus_infer(const ebb_infer *infer)
{
    if (!ebb_dtype_is_float(infer->inputs[0]->dtype)) {
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "needs floats");
    }
    infer->results[0] = *infer->inputs[0];
    return EBB_OK;
}

/* d softplus / dx = 1 / (1 + e^-x): an op that has a gradient itself, so second order works too. */
static void softplus_vjp(const ebb_vjp *vjp)
{
    vjp->gradients[0] = ebb_mul(vjp->cotangents[0], ebb_sigmoid(vjp->inputs[0]));
}

/* max(x, 0) + log(1 + e^-|x|) does not overflow. */
static ebb_status softplus_eval(const ebb_eval *eval)
{
    int64_t n = ebb_shape_elements(&eval->inputs[0].type.shape);
    for (int64_t i = 0; i < n; i++) {
        double x = ebb_tensor_get(&eval->inputs[0], i);
        ebb_tensor_set(&eval->results[0], i, fmax(x, 0) + log1p(exp(-fabs(x))));
    }
    return EBB_OK;
}

/* log 2; log(1 + e) (both to 16 digits); and where e^x would overflow or vanish. */
static const double sample_x[] = { 0, 1, 1000, -1000 };
static const double sample_y[] = { 0.6931471805599453, 1.3132616875182228, 1000, 0 };
static const ebb_sample softplus_samples[] = {
    { .label = "matrix", .inputs = EBB_INPUTS(EBB_SAMPLE_TYPE(F64, 3, 4)) },
    { .label = "known",
      .inputs = EBB_INPUTS(EBB_SAMPLE_TYPE(F64, 4)),
      .values = { sample_x },
      .expected = sample_y,
      .source = "log(1 + e^x)" },
    { .label = "integers",
      .inputs = EBB_INPUTS(EBB_SAMPLE_TYPE(I32, 4)),
      .error = EBB_BAD_DTYPE,
      .message = "needs floats" },
};

static const ebb_op softplus_op = {
    .name = "softplus",
    .summary = "log(1 + e^x)",
    .group = "element-wise",
    .n_inputs = 1,
    .n_results = 1,
    .traits = EBB_TRAIT_ELEMENTWISE,
    .infer = softplus_infer,
    .vjp = softplus_vjp,
    .eval = softplus_eval,
    .samples = softplus_samples,
    .n_samples = sizeof softplus_samples / sizeof *softplus_samples,
};

static ebb_node softplus(ebb_node x)
{
    return ebb_emit(x.graph, &softplus_op, &x, 1, NULL, NULL);
}
/* So that errors name the line of the call. */
#define softplus(x) softplus(EBB_AT(x))

/* ---- its use ---- */

int main(int argc, char **argv)
{
    const char *backend = "onednn";
    const option_row options[] = { OPTION_BACKEND(backend), { 0 } };
    options_read(argc, argv, "an operation of one's own", options);

    ebb_graph *g = ebb_graph_create("custom_op");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(4));
    ebb_node nodes[2] = { softplus(x), EBB_NONE }; /* the value, and its derivative */
    need_graph(g, ebb_gradients(ebb_reduce_sum(nodes[0], EBB_ALL_AXES, false), &x, 1, &nodes[1]));

    for (int order = 1; order <= 2; order++) {
        ebb_check_options how = { .order = order };
        ebb_check_report report;
        need_graph(g, ebb_check_gradients(nodes[0], &x, 1, &how, &report));
        printf("gradient check, order %d: relative error %.1g\n", order, report.worst_error);
    }

    ebb_compile_options how = { .fetches = nodes, .n_fetches = 2, .backend = backend };
    ebb_executable *run;
    need_graph(g, ebb_compile(g, &how, &run));
    double y[4], dy[4];
    ebb_feed feed = { x, ebb_tensor_borrow(EBB_F64, EBB_SHAPE(4), sample_x) };
    ebb_fetch fetches[2] = { { nodes[0], ebb_tensor_borrow(EBB_F64, EBB_SHAPE(4), y) },
                             { nodes[1], ebb_tensor_borrow(EBB_F64, EBB_SHAPE(4), dy) } };
    need_run(run, ebb_run(run, &feed, 1, fetches, 2));
    bool good = true;
    for (int i = 0; i < 4; i++) {
        good = good && fabs(y[i] - sample_y[i]) <= 1e-12;
        printf("softplus(%g) = %.12g, slope %.12g\n", sample_x[i], y[i], dy[i]);
    }

    /* A mistake is a status with a message that names the op, the operand and this line. */
    if (ebb_node_is_none(softplus(ebb_input(g, "n", EBB_I32, EBB_SHAPE(4))))) {
        printf("as expected: %s\n", ebb_graph_message(g));
    }
    ebb_executable_destroy(run);
    ebb_graph_destroy(g);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
