/* The graph of chapter 2 as text and as a drawing, and what a mistake looks like. */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    ebb_graph *g = ebb_graph_create("bill");
    ebb_node price = ebb_input(g, "price", EBB_F64, EBB_SCALAR);
    ebb_node count = ebb_input(g, "count", EBB_F64, EBB_SCALAR);
    ebb_node tax = ebb_input(g, "tax", EBB_F64, EBB_SCALAR);
    ebb_node apples = ebb_named(ebb_mul(price, count), "apples");
    ebb_node total = ebb_named(ebb_mul(apples, tax), "total");
    ebb_node slopes[3], xs[3] = { price, count, tax };
    if (ebb_gradients(total, xs, 3, slopes) != EBB_OK)
        stop(ebb_graph_message(g));

    if (ebb_graph_print(g, stdout) != EBB_OK)
        stop("cannot print");
    if (argc > 1) { /* 03_looking bill.dot */
        FILE *file = fopen(argv[1], "w");
        if (!file || ebb_graph_write_dot(g, file, NULL) != EBB_OK || fclose(file) != 0)
            stop("cannot write the drawing");
    }

    /* The first mistake stays in the graph; what follows it does nothing. */
    ebb_node weights = ebb_input(g, "weights", EBB_F64, EBB_SHAPE(784, 10));
    ebb_node image = ebb_input(g, "image", EBB_F64, EBB_SHAPE(1, 28, 28));
    ebb_node scores = ebb_matmul(image, weights);
    ebb_node loss = ebb_reduce_sum(ebb_square(scores), EBB_ALL_AXES, false);
    printf("loss is %s\n", ebb_node_is_none(loss) ? "no node" : "a node");
    printf("%s: %s\n", ebb_status_name(ebb_graph_status(g)), ebb_graph_message(g));

    ebb_graph_destroy(g);
    return 0;
}
