/* Second order: the Hessian H of a network's loss times a vector v, at the cost of about two
 * gradients and without ever forming H. Gradients are ordinary nodes, so H v = d/dp <dL/dp, v> is a
 * gradient of a gradient. It is compared with central differences, (dL/dp(p + h v) - dL/dp(p - h
 * v)) / 2h.
 *
 *     hessian [--backend reference|onednn] */
#include "support/options.h"
#include "support/stop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 8, INPUTS = 20, HIDDEN = 10, CLASSES = 5, N_PARTS = 4 };

static const double step = 1e-5; /* h: errors grow with h^2, and rounding with 1 / h */

/* One run with p + s v: the gradient in results[0..3], H v in results[4..7]. */
static void run_at(ebb_executable *run, ebb_node s, double s_value, const ebb_node *nodes,
                   ebb_tensor *results)
{
    ebb_feed feed = { s, ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &s_value) };
    ebb_fetch fetches[2 * N_PARTS];
    for (int i = 0; i < 2 * N_PARTS; i++) {
        need(ebb_tensor_init(&results[i], *ebb_node_type(nodes[i]), NULL), "out of memory");
        fetches[i] = (ebb_fetch){ nodes[i], results[i] };
    }
    need_run(run, ebb_run(run, &feed, 1, fetches, 2 * N_PARTS));
}

int main(int argc, char **argv)
{
    const char *backend = "onednn";
    const option_row options[] = { OPTION_BACKEND(backend), { 0 } };
    options_read(argc, argv, "Hessian-vector products of a small network", options);

    /* A network 20-10-5 at a random point p, moved by s along a random direction v. */
    ebb_graph *g = ebb_graph_create("hessian");
    ebb_node s = ebb_input(g, "s", EBB_F64, EBB_SCALAR);
    ebb_node counter = ebb_scalar(g, EBB_I64, 0);
    const ebb_shape shapes[N_PARTS] = { EBB_SHAPE(INPUTS, HIDDEN), EBB_SHAPE(HIDDEN),
                                        EBB_SHAPE(HIDDEN, CLASSES), EBB_SHAPE(CLASSES) };
    ebb_node p[N_PARTS], v[N_PARTS];
    for (int i = 0; i < N_PARTS; i++) {
        v[i] = ebb_random_normal(counter, EBB_F64, shapes[i], 1, N_PARTS + i);
        p[i] = ebb_add(ebb_random_normal(counter, EBB_F64, shapes[i], 1, i), ebb_mul(s, v[i]));
    }
    ebb_node x = ebb_random_normal(counter, EBB_F64, EBB_SHAPE(BATCH, INPUTS), 2, 0);
    ebb_node t =
        ebb_softmax(ebb_random_normal(counter, EBB_F64, EBB_SHAPE(BATCH, CLASSES), 2, 1), 1);
    ebb_node hidden = ebb_tanh(ebb_add(ebb_matmul(x, p[0]), p[1]));
    ebb_node loss = ebb_softmax_cross_entropy(ebb_add(ebb_matmul(hidden, p[2]), p[3]), t);

    ebb_node nodes[2 * N_PARTS]; /* the gradient, then H v */
    need_graph(g, ebb_gradients(loss, p, N_PARTS, nodes));
    ebb_node slope = ebb_scalar(g, EBB_F64, 0); /* <gradient, v> */
    for (int i = 0; i < N_PARTS; i++) {
        slope = ebb_add(slope, ebb_reduce_sum(ebb_mul(nodes[i], v[i]), EBB_ALL_AXES, false));
    }
    need_graph(g, ebb_gradients(slope, p, N_PARTS, nodes + N_PARTS));
    ebb_compile_options how = { .fetches = nodes, .n_fetches = 2 * N_PARTS, .backend = backend };
    ebb_executable *run;
    need_graph(g, ebb_compile(g, &how, &run));

    ebb_tensor above[2 * N_PARTS], below[2 * N_PARTS], here[2 * N_PARTS];
    run_at(run, s, step, nodes, above);
    run_at(run, s, -step, nodes, below);
    run_at(run, s, 0, nodes, here);
    double difference = 0, size = 0;
    int64_t n_parameters = 0;
    for (int i = 0; i < N_PARTS; i++) {
        for (int64_t k = 0; k < ebb_shape_elements(&shapes[i]); k++, n_parameters++) {
            double exact = ebb_tensor_get(&here[N_PARTS + i], k);
            double numeric =
                (ebb_tensor_get(&above[i], k) - ebb_tensor_get(&below[i], k)) / (2 * step);
            difference += (exact - numeric) * (exact - numeric);
            size += exact * exact;
        }
    }
    double error = sqrt(difference / size);
    printf("%lld parameters, %u nodes\n", (long long)n_parameters, (unsigned)ebb_graph_n_nodes(g));
    printf("|H v| = %.9g\nrelative error against central differences: %.2g\n", sqrt(size), error);

    for (int i = 0; i < 2 * N_PARTS; i++) {
        ebb_tensor_finish(&above[i]);
        ebb_tensor_finish(&below[i]);
        ebb_tensor_finish(&here[i]);
    }
    ebb_executable_destroy(run);
    ebb_graph_destroy(g);
    return error < 1e-6 ? EXIT_SUCCESS : EXIT_FAILURE;
}
