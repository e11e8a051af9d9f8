/* A line through points: two variables, a loss, and an update that is written by hand. */
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
    ebb_graph *g = ebb_graph_create("line");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(5));
    ebb_node t = ebb_input(g, "t", EBB_F32, EBB_SHAPE(5));
    ebb_node w[2] = { ebb_variable(g, "slope", EBB_F32, EBB_SCALAR, NULL),
                      ebb_variable(g, "offset", EBB_F32, EBB_SCALAR, NULL) };
    ebb_node y = ebb_add(ebb_mul(w[0], x), w[1]);
    ebb_node loss = ebb_mse_loss(y, t, EBB_REDUCTION_MEAN);

    /* w <- w - 0.1 dloss/dw */
    ebb_node slopes[2];
    if (ebb_gradients(loss, w, 2, slopes) != EBB_OK)
        stop(ebb_graph_message(g));
    ebb_node rate = ebb_scalar(g, EBB_F32, 0.1);
    for (int i = 0; i < 2; i++)
        ebb_update(w[i], ebb_sub(w[i], ebb_mul(rate, slopes[i])));

    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *step;
    ebb_compile_options options = { .fetches = &loss, .n_fetches = 1, .store = store };
    if (ebb_compile(g, &options, &step) != EBB_OK)
        stop(ebb_graph_message(g));

    /* Points near t = 2 x + 1. */
    float xs[5] = { -1, -0.5f, 0, 0.5f, 1 }, ts[5] = { -0.9f, -0.1f, 1.1f, 1.9f, 3 }, value = 0;
    ebb_feed feeds[] = { { x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(5), xs) },
                         { t, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(5), ts) } };
    ebb_fetch fetch = { loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &value) };
    for (int i = 0; i <= 60; i++) {
        if (ebb_run(step, feeds, 2, &fetch, 1) != EBB_OK)
            stop(ebb_executable_message(step));
        if (i % 20 == 0)
            printf("run %2d: loss %.4f\n", i, value);
    }

    for (int64_t i = 0; i < ebb_store_size(store); i++) {
        ebb_tensor entry;
        const char *name = ebb_store_name(store, i);
        if (ebb_store_get(store, name, &entry) != EBB_OK)
            stop(ebb_store_message(store));
        printf("%s = %.3f\n", name, ebb_tensor_get(&entry, 0));
    }

    ebb_executable_destroy(step);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
    return 0;
}
