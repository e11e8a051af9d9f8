/* An operation of one's own: swish(x) = x / (1 + e^(-beta x)), with an attribute. */
#include <ebb/ebb.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

/* ---- the op ---- */

typedef struct swish_attrs {
    double beta;
} swish_attrs;

static const ebb_attr_field swish_fields[] = {
    EBB_FIELD(swish_attrs, beta, F64, "steepness"),
    { 0 },
};

static ebb_status swish_infer(const ebb_infer *infer)
{
    const swish_attrs *attrs = infer->attrs;
    if (!ebb_dtype_is_float(infer->inputs[0]->dtype))
        return ebb_infer_fail(infer, EBB_BAD_DTYPE, "needs floats");
    if (!isfinite(attrs->beta))
        return ebb_infer_fail(infer, EBB_BAD_ATTRIBUTE, "beta is %g", attrs->beta);
    infer->results[0] = *infer->inputs[0];
    return EBB_OK;
}

static ebb_status swish_eval(const ebb_eval *eval)
{
    const swish_attrs *attrs = eval->attrs;
    int64_t n = ebb_shape_elements(&eval->inputs[0].type.shape);
    for (int64_t i = 0; i < n; i++) {
        double x = ebb_tensor_get(&eval->inputs[0], i);
        ebb_tensor_set(&eval->results[0], i, x / (1 + exp(-attrs->beta * x)));
    }
    return EBB_OK;
}

/* With s = 1 / (1 + e^(-beta x)) and y = x s, dy/dx = s + beta y (1 - s). */
static void swish_vjp(const ebb_vjp *vjp)
{
    const swish_attrs *attrs = vjp->attrs;
    ebb_node x = vjp->inputs[0], y = vjp->results[0];
    ebb_node s = ebb_sigmoid(ebb_mul(x, ebb_full_like(x, attrs->beta)));
    ebb_node rest =
        ebb_mul(ebb_mul(y, ebb_sub(ebb_full_like(s, 1), s)), ebb_full_like(x, attrs->beta));
    vjp->gradients[0] = ebb_mul(vjp->cotangents[0], ebb_add(s, rest));
}

/* The same out of ops that every backend has. */
static void swish_decompose(const ebb_decompose *d)
{
    const swish_attrs *attrs = d->attrs;
    ebb_node x = d->inputs[0];
    d->results[0] = ebb_mul(x, ebb_sigmoid(ebb_mul(x, ebb_full_like(x, attrs->beta))));
}

static const ebb_op swish_op = {
    .name = "swish",
    .summary = "x / (1 + e^(-beta x))",
    .group = "element-wise",
    .n_inputs = 1,
    .n_results = 1,
    .traits = EBB_TRAIT_ELEMENTWISE | EBB_TRAIT_LIBRARY,
    .attrs_bytes = sizeof(swish_attrs),
    .attrs = swish_fields,
    .infer = swish_infer,
    .vjp = swish_vjp,
    .eval = swish_eval,
    .decompose = swish_decompose,
};

static ebb_node swish(ebb_node x, double beta)
{
    return ebb_emit(x.graph, &swish_op, &x, 1, &(swish_attrs){ beta }, NULL);
}
/* So that messages name the line of the call. */
#define swish(x, beta) swish(EBB_AT(x), beta)

/* ---- its test ---- */

int main(void)
{
    ebb_graph *g = ebb_graph_create("swish");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(3));
    ebb_node y = swish(x, 1.5);
    for (int order = 1; order <= 2; order++)
        if (ebb_check_gradients(y, &x, 1, &(ebb_check_options){ .order = order }, NULL) != EBB_OK)
            stop(ebb_graph_message(g));
    printf("gradients are right\n");

    /* The reference calls eval; the default decomposes. Known values: 0, 1/(1+e^-1.5), 2/(1+e^-3).
     */
    double in[3] = { 0, 1, 2 }, out[3];
    const char *backends[] = { "reference", "onednn" };
    for (int i = 0; i < 2; i++) {
        ebb_executable *run;
        ebb_compile_options options = { .fetches = &y, .n_fetches = 1, .backend = backends[i] };
        if (ebb_compile(g, &options, &run) != EBB_OK)
            stop(ebb_graph_message(g));
        ebb_feed feed = { x, ebb_tensor_borrow(EBB_F64, EBB_SHAPE(3), in) };
        ebb_fetch fetch = { y, ebb_tensor_borrow(EBB_F64, EBB_SHAPE(3), out) };
        if (ebb_run(run, &feed, 1, &fetch, 1) != EBB_OK)
            stop(ebb_executable_message(run));
        ebb_step_info step;
        printf("%.6f %.6f %.6f by", out[0], out[1], out[2]);
        for (int64_t k = 0; ebb_executable_step(run, k, &step); k++)
            printf(" %s", step.op);
        printf("\n");
        ebb_executable_destroy(run);
    }

    swish(ebb_input(g, "n", EBB_I32, EBB_SHAPE(3)), 1);
    printf("%s\n", ebb_graph_message(g));
    ebb_graph_destroy(g);
    return 0;
}
