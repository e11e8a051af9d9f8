/* What one layer can learn, and what takes two. */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

static float points[4][2] = { { 0, 0 }, { 0, 1 }, { 1, 0 }, { 1, 1 } };

/* Trains a net with `hidden` units between input and output (0: none) and prints what it says. */
static void learn(const char *name, int hidden, float targets[4])
{
    ebb_graph *g = ebb_graph_create(name);
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(4, 2));
    ebb_node t = ebb_input(g, "t", EBB_F32, EBB_SHAPE(4, 1));
    ebb_node h = x;
    if (hidden > 0)
        h = ebb_tanh(ebb_nn_linear(x, hidden, &(ebb_nn_linear_options){ .name = "fc1" }));
    ebb_node y = ebb_nn_linear(h, 1, &(ebb_nn_linear_options){ .name = "fc2" });
    ebb_node loss = ebb_binary_cross_entropy(y, t, EBB_REDUCTION_MEAN);
    ebb_node nodes[] = { loss, ebb_sigmoid(y) };

    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *step;
    ebb_compile_options options = { .fetches = nodes, .n_fetches = 2, .store = store };
    if (ebb_nn_minimize(loss, &(ebb_nn_rule){ .rate = 1 }) != EBB_OK ||
        ebb_compile(g, &options, &step) != EBB_OK)
        stop(ebb_graph_message(g));

    float value = 0, out[4];
    ebb_feed feeds[] = { { x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(4, 2), points) },
                         { t, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(4, 1), targets) } };
    ebb_fetch fetches[] = { { loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &value) },
                            { nodes[1], ebb_tensor_borrow(EBB_F32, EBB_SHAPE(4, 1), out) } };
    for (int i = 0; i < 1000; i++)
        if (ebb_run(step, feeds, 2, fetches, 2) != EBB_OK)
            stop(ebb_executable_message(step));
    printf("%-4s %d hidden: loss %.2f, says %.2f %.2f %.2f %.2f\n", name, hidden, value, out[0],
           out[1], out[2], out[3]);

    ebb_executable_destroy(step);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}

int main(void)
{
    float and_gate[4] = { 0, 0, 0, 1 }, or_gate[4] = { 0, 1, 1, 1 }, xor_gate[4] = { 0, 1, 1, 0 };
    learn("AND", 0, and_gate);
    learn("OR", 0, or_gate);
    learn("XOR", 0, xor_gate);
    learn("XOR", 4, xor_gate);
    return 0;
}
