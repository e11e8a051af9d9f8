/* Four update rules roll down the same bowl, f(x, y) = x^2 / 20 + y^2, from (-7, 2). */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

static void roll(const char *name, const ebb_nn_rule *rule)
{
    ebb_graph *g = ebb_graph_create(name);
    ebb_node x = ebb_variable(g, "x", EBB_F64, EBB_SCALAR, &(ebb_init){ .a = -7 });
    ebb_node y = ebb_variable(g, "y", EBB_F64, EBB_SCALAR, &(ebb_init){ .a = 2 });
    ebb_node f = ebb_add(ebb_div(ebb_square(x), ebb_scalar(g, EBB_F64, 20)), ebb_square(y));

    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *step;
    ebb_node place[] = { x, y };
    ebb_compile_options options = { .fetches = place, .n_fetches = 2, .store = store };
    if (ebb_nn_minimize(f, rule) != EBB_OK || ebb_compile(g, &options, &step) != EBB_OK)
        stop(ebb_graph_message(g));

    double at[2];
    ebb_fetch fetches[] = { { x, ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &at[0]) },
                            { y, ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &at[1]) } };
    printf("%-16s", name);
    for (int i = 0; i <= 30; i++) {
        if (ebb_run(step, NULL, 0, fetches, 2) != EBB_OK)
            stop(ebb_executable_message(step));
        if (i == 1 || i == 10 || i == 30)
            printf("  (%6.3f, %6.3f)", at[0], at[1]);
    }
    printf("\n");

    ebb_executable_destroy(step);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}

int main(void)
{
    printf("after steps       1                 10                30\n");
    roll("SGD", &(ebb_nn_rule){ .method = EBB_NN_SGD, .rate = 0.95 });
    roll("momentum", &(ebb_nn_rule){ .method = EBB_NN_MOMENTUM, .rate = 0.1 });
    roll("AdaGrad", &(ebb_nn_rule){ .method = EBB_NN_ADAGRAD, .rate = 1.5 });
    roll("Adam", &(ebb_nn_rule){ .method = EBB_NN_ADAM, .rate = 0.3 });

    /* The same SGD with a rate that falls from 0.95 to 0 along half a wave of the cosine. */
    ebb_nn_schedule cosine = { .kind = EBB_NN_COSINE, .period = 30 };
    roll("SGD with cosine", &(ebb_nn_rule){ .rate = 0.95, .schedule = cosine });
    return 0;
}
