/* A derivative three ways: by formula, by differences, by Ebb; then Ebb's own check. */
#include <ebb/ebb.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

static double by_hand(double x)
{
    return 0.01 * x * x + 0.1 * x;
}

int main(void)
{
    /* f(x) = 0.01 x^2 + 0.1 x; its derivative is 0.02 x + 0.1. */
    ebb_graph *g = ebb_graph_create("parabola");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SCALAR);
    ebb_node f = ebb_add(ebb_mul(ebb_square(x), ebb_scalar(g, EBB_F64, 0.01)),
                         ebb_mul(x, ebb_scalar(g, EBB_F64, 0.1)));
    ebb_node slope;
    ebb_executable *run = NULL;
    ebb_compile_options options = { .fetches = &slope, .n_fetches = 1 };
    if (ebb_gradients(f, &x, 1, &slope) != EBB_OK || ebb_compile(g, &options, &run) != EBB_OK)
        stop(ebb_graph_message(g));

    double at = 5, value = 0, h = 1e-4;
    ebb_feed feed = { x, ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &at) };
    ebb_fetch fetch = { slope, ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &value) };
    if (ebb_run(run, &feed, 1, &fetch, 1) != EBB_OK)
        stop(ebb_executable_message(run));
    printf("by formula:    %.6f\n", 0.02 * at + 0.1);
    printf("by difference: %.6f\n", (by_hand(at + h) - by_hand(at - h)) / (2 * h));
    printf("by Ebb:        %.6f\n", value);

    /* A whole network, all of its weights at once. */
    ebb_node images = ebb_input(g, "images", EBB_F32, EBB_SHAPE(8, 20));
    ebb_node labels = ebb_input(g, "labels", EBB_I32, EBB_SHAPE(8));
    ebb_node h1 = ebb_tanh(ebb_nn_linear(images, 12, &(ebb_nn_linear_options){ .name = "fc1" }));
    ebb_node y = ebb_nn_linear(h1, 5, &(ebb_nn_linear_options){ .name = "fc2" });
    ebb_node loss = ebb_softmax_cross_entropy(y, labels);
    ebb_node weights[] = { ebb_graph_find(g, "fc1/w"), ebb_graph_find(g, "fc1/b"),
                           ebb_graph_find(g, "fc2/w"), ebb_graph_find(g, "fc2/b") };
    ebb_check_report report;
    if (ebb_check_gradients(loss, weights, 4, NULL, &report) != EBB_OK)
        stop(ebb_graph_message(g));
    printf("network: %d checks, worst error below 1e-7: %s\n", report.n_checks,
           report.worst_error < 1e-7 ? "yes" : "no");

    /* A wrong gradient: the second factor is hidden from differentiation. */
    ebb_node wrong = ebb_mul(x, ebb_stop_gradient(x));
    if (ebb_check_gradients(wrong, &x, 1, NULL, NULL) == EBB_MISMATCH)
        printf("%s\n", ebb_graph_message(g));

    ebb_executable_destroy(run);
    ebb_graph_destroy(g);
    return 0;
}
