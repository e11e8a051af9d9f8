/* A shopping bill, and by how much it changes with everything that it is made of. */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

int main(void)
{
    ebb_graph *g = ebb_graph_create("bill");
    ebb_node price = ebb_input(g, "price", EBB_F64, EBB_SCALAR);
    ebb_node count = ebb_input(g, "count", EBB_F64, EBB_SCALAR);
    ebb_node tax = ebb_input(g, "tax", EBB_F64, EBB_SCALAR);
    ebb_node apples = ebb_mul(price, count);
    ebb_node total = ebb_mul(apples, tax);

    /* nodes[0] is the total; its gradients by price, count and tax follow. */
    ebb_node nodes[4] = { total }, xs[3] = { price, count, tax };
    if (ebb_gradients(total, xs, 3, nodes + 1) != EBB_OK)
        stop(ebb_graph_message(g));

    ebb_executable *bill;
    ebb_compile_options options = { .fetches = nodes, .n_fetches = 4 };
    if (ebb_compile(g, &options, &bill) != EBB_OK)
        stop(ebb_graph_message(g));

    double given[3] = { 100, 2, 1.1 }, results[4];
    ebb_feed feeds[3];
    ebb_fetch fetches[4];
    for (int i = 0; i < 3; i++)
        feeds[i] = (ebb_feed){ xs[i], ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &given[i]) };
    for (int i = 0; i < 4; i++)
        fetches[i] = (ebb_fetch){ nodes[i], ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &results[i]) };
    if (ebb_run(bill, feeds, 3, fetches, 4) != EBB_OK)
        stop(ebb_executable_message(bill));
    printf("total %g\n", results[0]);
    for (int i = 0; i < 3; i++)
        printf("d total / d %s = %g\n", ebb_node_name(xs[i]), results[i + 1]);

    ebb_executable_destroy(bill);
    ebb_graph_destroy(g);
    return 0;
}
