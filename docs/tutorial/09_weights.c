/* How the weights start decides what arrives behind five layers. */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

enum { BATCH = 100, UNITS = 100, LAYERS = 5 };

/* The typical size (root of the mean square) of the values behind each layer. */
static void look(const char *name, ebb_nn_init init)
{
    ebb_graph *g = ebb_graph_create(name);
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(BATCH, UNITS));
    ebb_node h = x, sizes[LAYERS];
    for (int i = 0; i < LAYERS; i++) {
        char layer[16];
        snprintf(layer, sizeof layer, "fc%d", i + 1);
        ebb_nn_linear_options options = { .name = layer, .init = init };
        h = ebb_relu(ebb_nn_linear(h, UNITS, &options));
        sizes[i] = ebb_sqrt(ebb_reduce_mean(ebb_square(h), EBB_ALL_AXES, false));
    }

    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *run;
    ebb_compile_options options = { .fetches = sizes, .n_fetches = LAYERS, .store = store };
    if (ebb_compile(g, &options, &run) != EBB_OK)
        stop(ebb_graph_message(g));

    static float data[BATCH * UNITS];
    uint32_t bits = 1; /* +1 or -1, by a small generator */
    for (int i = 0; i < BATCH * UNITS; i++) {
        bits = bits * 1664525 + 1013904223;
        data[i] = bits >> 31 ? 1 : -1;
    }
    float values[LAYERS];
    ebb_feed feed = { x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(BATCH, UNITS), data) };
    ebb_fetch fetches[LAYERS];
    for (int i = 0; i < LAYERS; i++)
        fetches[i] = (ebb_fetch){ sizes[i], ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &values[i]) };
    if (ebb_run(run, &feed, 1, fetches, LAYERS) != EBB_OK)
        stop(ebb_executable_message(run));
    printf("%-10s", name);
    for (int i = 0; i < LAYERS; i++)
        printf("  %8.1e", values[i]);
    printf("\n");

    ebb_executable_destroy(run);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}

int main(void)
{
    look("std 1", (ebb_nn_init){ .kind = EBB_NN_INIT_NORMAL, .std = 1 });
    look("std 0.01", (ebb_nn_init){ .kind = EBB_NN_INIT_NORMAL, .std = 0.01 });
    look("Xavier", (ebb_nn_init){ .kind = EBB_NN_INIT_XAVIER });
    look("He", (ebb_nn_init){ .kind = EBB_NN_INIT_HE });
    return 0;
}
