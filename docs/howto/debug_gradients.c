/* Which node has a wrong gradient, and which value is the first that is not finite? */
#include <ebb/ebb.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

/* ---- an op with a defect: the derivative of x^3 is not x^2 ---- */

static ebb_status cube_infer(const ebb_infer *infer)
{
    infer->results[0] = *infer->inputs[0];
    return EBB_OK;
}

static void cube_vjp(const ebb_vjp *vjp)
{
    vjp->gradients[0] = ebb_mul(vjp->cotangents[0], ebb_square(vjp->inputs[0]));
}

static ebb_status cube_eval(const ebb_eval *eval)
{
    int64_t n = ebb_shape_elements(&eval->inputs[0].type.shape);
    for (int64_t i = 0; i < n; i++)
        ebb_tensor_set(&eval->results[0], i, pow(ebb_tensor_get(&eval->inputs[0], i), 3));
    return EBB_OK;
}

static const ebb_op cube_op = {
    .name = "cube",
    .n_inputs = 1,
    .n_results = 1,
    .traits = EBB_TRAIT_ELEMENTWISE,
    .infer = cube_infer,
    .vjp = cube_vjp,
    .eval = cube_eval,
};

/* ---- a wrong gradient ---- */

/* Ids are in the order of computation: before the first node that fails, all were right. */
static void find_wrong_gradient(ebb_graph *g, const ebb_node *xs, int n_xs, uint32_t last_id)
{
    for (uint32_t id = 1; id <= last_id; id++) {
        ebb_node node = ebb_graph_node(g, id);
        if (ebb_node_n_inputs(node) == 0 || !ebb_dtype_is_float(ebb_node_type(node)->dtype))
            continue;
        if (ebb_check_gradients(node, xs, n_xs, NULL, NULL) == EBB_OK)
            continue;
        char text[EBB_NODE_TEXT_BYTES];
        int line;
        ebb_node_file(node, &line);
        printf("the gradient of %s is wrong: %s, line %d\n", ebb_node_op(node)->name,
               ebb_node_text(node, text), line);
        return;
    }
    printf("all gradients are right\n");
}

static void wrong_gradient(void)
{
    ebb_graph *g = ebb_graph_create("wrong");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(4, 3));
    ebb_node h = ebb_tanh(ebb_nn_linear(x, 5, &(ebb_nn_linear_options){ .name = "fc1" }));
    ebb_node c = ebb_named(ebb_emit(g, &cube_op, &h, 1, NULL, NULL), "third_power");
    ebb_node y = ebb_nn_linear(c, 2, &(ebb_nn_linear_options){ .name = "fc2" });
    ebb_node loss = ebb_reduce_mean(ebb_square(y), EBB_ALL_AXES, false);
    ebb_node w[] = { ebb_graph_find(g, "fc1/w"), ebb_graph_find(g, "fc2/w") };
    for (int i = 0; i < 2; i++) {
        ebb_check_report report;
        ebb_status status = ebb_check_gradients(loss, &w[i], 1, NULL, &report);
        printf("%s/w: %s\n", i == 0 ? "fc1" : "fc2", status == EBB_OK ? "right" : "wrong");
    }
    find_wrong_gradient(g, w, 2, loss.id);
    ebb_graph_destroy(g);
}

/* ---- a NaN ---- */

/* Runs once, looking at every value on the way. */
static void look(ebb_graph *g, const ebb_node *fetch, const ebb_feed *feeds, int n_feeds)
{
    ebb_executable *run;
    ebb_compile_options options = { .fetches = fetch, .n_fetches = 1, .check_finite = true };
    if (ebb_compile(g, &options, &run) != EBB_OK)
        stop(ebb_graph_message(g));
    if (ebb_run(run, feeds, n_feeds, NULL, 0) == EBB_NOT_FINITE)
        printf("%s\n", ebb_executable_message(run));
    else
        printf("all values are finite\n");
    ebb_executable_destroy(run);
}

static void not_finite(void)
{
    /* The distance of two points, and its gradient. */
    ebb_graph *g = ebb_graph_create("distance");
    ebb_node a = ebb_input(g, "a", EBB_F32, EBB_SHAPE(3));
    ebb_node b = ebb_input(g, "b", EBB_F32, EBB_SHAPE(3));
    ebb_node squares = ebb_reduce_sum(ebb_square(ebb_sub(a, b)), EBB_ALL_AXES, false);
    ebb_node distance = ebb_named(ebb_sqrt(squares), "distance");
    ebb_node slope;
    if (ebb_gradients(distance, &a, 1, &slope) != EBB_OK)
        stop(ebb_graph_message(g));
    float here[3] = { 1, 2, 3 }, there[3] = { 1, 2, 4 };
    ebb_feed feeds[] = { { a, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3), here) },
                         { b, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3), there) } };
    look(g, &slope, feeds, 2);
    there[2] = 3; /* the same point */
    look(g, &slope, feeds, 2);
    ebb_graph_destroy(g);
}

int main(void)
{
    wrong_gradient();
    not_finite();
    return 0;
}
