/* One multiplication: a graph, an executable, two runs. */
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
    /* 1. Build: nothing is computed here. */
    ebb_graph *g = ebb_graph_create("product");
    ebb_node a = ebb_input(g, "a", EBB_F32, EBB_SHAPE(3));
    ebb_node b = ebb_input(g, "b", EBB_F32, EBB_SHAPE(3));
    ebb_node c = ebb_mul(a, b);

    /* 2. Compile. */
    ebb_executable *product;
    ebb_compile_options options = { .fetches = &c, .n_fetches = 1 };
    if (ebb_compile(g, &options, &product) != EBB_OK)
        stop(ebb_graph_message(g));

    /* 3. Run, as often as you like. */
    float a_data[3] = { 1, 2, 3 }, b_data[3] = { 10, 20, 30 }, c_data[3];
    ebb_feed feeds[] = { { a, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3), a_data) },
                         { b, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3), b_data) } };
    ebb_fetch fetch = { c, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3), c_data) };
    for (int run = 0; run < 2; run++) {
        if (ebb_run(product, feeds, 2, &fetch, 1) != EBB_OK)
            stop(ebb_executable_message(product));
        printf("%g %g %g\n", c_data[0], c_data[1], c_data[2]);
        a_data[0] = 7; /* the feed still points here */
    }

    ebb_executable_destroy(product);
    ebb_graph_destroy(g);
    return 0;
}
