/* Derivatives by differences (Saitoh, Deep Learning from Scratch (2016), sections 4.3 and 4.4): the
 * central difference (f(x + h) - f(x - h)) / 2h with h = 1e-4, of every element in turn, against
 * back-propagation; and the field of -gradient, which points to where f falls most steeply.
 *
 *     numerical_gradient [--backend reference|onednn] [--out DIR] */
#include "support/compute.h"
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"

#include <math.h>
#include <stdio.h>

#define STEP 1e-4
enum { MAX_ELEMENTS = 6, N_LINE = 17, N_FIELD = N_LINE * N_LINE };

/* 0.01 x^2 + 0.1 x, in the order of operations of the book's code. */
static ebb_node parabola(ebb_node x)
{
    ebb_graph *g = x.graph;
    return ebb_reduce_sum(ebb_add(ebb_mul(ebb_scalar(g, EBB_F64, 0.01), ebb_square(x)),
                                  ebb_mul(ebb_scalar(g, EBB_F64, 0.1), x)),
                          EBB_ALL_AXES, false);
}

/* x0^2 + x1^2 */
static ebb_node bowl(ebb_node x)
{
    return ebb_reduce_sum(ebb_square(x), EBB_ALL_AXES, false);
}

/* One layer of weights, for the input (0.6, 0.9) of class 2. */
static ebb_node simple_net(ebb_node w)
{
    ebb_node x = ebb_constant(w.graph, EBB_F64, EBB_SHAPE(1, 2), (double[]){ 0.6, 0.9 });
    ebb_node t = ebb_constant(w.graph, EBB_I32, EBB_SHAPE(1), (int32_t[]){ 2 });
    return ebb_softmax_cross_entropy(ebb_matmul(x, w), t);
}

/* Prints the gradient of f at x by differences and by back-propagation; returns the value of f. */
static double compare_gradients(ebb_node (*f)(ebb_node), ebb_shape shape, const double *x,
                                const char *backend)
{
    ebb_graph *g = ebb_graph_create("numerical");
    ebb_node place = ebb_input(g, "x", EBB_F64, shape), y = f(place), slope;
    need_graph(g, ebb_gradients(y, &place, 1, &slope));
    const int n = (int)ebb_shape_elements(&shape);
    double moved[MAX_ELEMENTS], numeric[MAX_ELEMENTS], exact[MAX_ELEMENTS], value[2];
    const ebb_feed feed = { place, ebb_tensor_borrow(EBB_F64, shape, moved) };
    for (int i = 0; i < n; i++)
        moved[i] = x[i];
    for (int i = 0; i < n; i++) {
        for (int side = 0; side < 2; side++) {
            moved[i] = x[i] + (side == 0 ? STEP : -STEP);
            compute(&y, 1, &feed, 1, backend, (double *[]){ &value[side] });
        }
        numeric[i] = (value[0] - value[1]) / (2 * STEP);
        moved[i] = x[i];
    }
    compute((ebb_node[]){ y, slope }, 2, &feed, 1, backend, (double *[]){ value, exact });
    printf("  by differences ");
    for (int i = 0; i < n; i++)
        printf(" %.16g", numeric[i]);
    printf("\n  by propagation ");
    for (int i = 0; i < n; i++)
        printf(" %.16g", exact[i]);
    printf("\n");
    ebb_graph_destroy(g);
    return value[0];
}

/* Arrows of -gradient on a lattice, a twentieth as long. */
static void draw_field(const char *backend, const output_folder *output)
{
    static double places[2 * N_FIELD], slopes[2 * N_FIELD], x[2][N_FIELD], d[2][N_FIELD];
    for (int i = 0; i < N_FIELD; i++) {
        places[2 * i] = -2 + 0.25 * (i % N_LINE);
        places[2 * i + 1] = -2 + 0.25 * (i / N_LINE);
    }
    ebb_graph *g = ebb_graph_create("field");
    ebb_node place = ebb_constant(g, EBB_F64, EBB_SHAPE(N_FIELD, 2), places), slope;
    need_graph(g, ebb_gradients(bowl(place), &place, 1, &slope));
    compute_one(slope, backend, slopes);
    for (int i = 0; i < N_FIELD; i++)
        for (int k = 0; k < 2; k++) {
            x[k][i] = places[2 * i + k];
            d[k][i] = -0.05 * slopes[2 * i + k];
        }
    const plot_series arrows = {
        .kind = PLOT_ARROWS, .x = x[0], .y = x[1], .dx = d[0], .dy = d[1], .n = N_FIELD
    };
    output_plot(output, "numerical_gradient",
                &(plot_sheet){ .title = "-gradient of x0^2 + x1^2",
                               .x = { "x0", false, -2.2, 2.2 },
                               .y = { "x1", false, -2.2, 2.2 },
                               .series = &arrows,
                               .n_series = 1,
                               .width = 600,
                               .height = 600 });
    ebb_graph_destroy(g);
}

int main(int argc, char **argv)
{
    const char *backend = "onednn", *folder = NULL;
    const option_row options[] = { OPTION_BACKEND(backend), OPTION_OUT(folder), { 0 } };
    options_read(argc, argv, "derivatives by differences", options);
    output_folder output;
    output_open(&output, folder, argv[0]);

    static const double at[] = { 5, 10 }, pairs[][2] = { { 3, 4 }, { 0, 2 }, { 3, 0 } };
    static const double weights[] = { 0.47355232, 0.9977393,  0.84668094,
                                      0.85557411, 0.03563661, 0.69422093 };
    for (int i = 0; i < 2; i++) {
        printf("0.01 x^2 + 0.1 x at %g\n", at[i]);
        compare_gradients(parabola, EBB_SCALAR, &at[i], backend);
    }
    for (int i = 0; i < 3; i++) {
        printf("x0^2 + x1^2 at (%g, %g)\n", pairs[i][0], pairs[i][1]);
        compare_gradients(bowl, EBB_SHAPE(2), pairs[i], backend);
    }
    printf("loss of a net of 2x3 weights\n");
    double loss = compare_gradients(simple_net, EBB_SHAPE(2, 3), weights, backend);
    printf("  loss %.9g\n", loss);
    draw_field(backend, &output);
    return 0;
}
