/* A backend of one's own: products of matrices, in three loops; all else goes to Ebb's. */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

/* ---- the backend ---- */

static bool is_dense(const ebb_operand *operand)
{
    return ebb_layout_is_dense(&operand->layout, &operand->type->shape);
}

/* Takes F32 [m, k] times [k, n], both dense, and nothing else. */
static int score(const ebb_backend *backend, const ebb_region *region)
{
    (void)backend;
    if (strcmp(region->op->name, "matmul") != 0)
        return EBB_SCORE_NONE;
    const ebb_matmul_attrs *attrs = region->attrs;
    const ebb_type *type = region->inputs[0].type;
    bool good = type->dtype == EBB_F32 && type->shape.rank == 2 && !attrs->transpose_a &&
                !attrs->transpose_b && is_dense(&region->inputs[0]) && is_dense(&region->inputs[1]);
    return good ? EBB_SCORE_BEST + 1 : EBB_SCORE_NONE;
}

/* What a kernel knows: made once, when the graph is compiled. */
typedef struct product {
    int64_t m, n, k;
} product;

static ebb_status run_product(const ebb_call *call)
{
    const product *p = call->state;
    const float *a = call->inputs[0], *b = call->inputs[1];
    float *c = call->results[0];
    for (int64_t i = 0; i < p->m; i++) {
        for (int64_t j = 0; j < p->n; j++)
            c[i * p->n + j] = 0;
        for (int64_t l = 0; l < p->k; l++)
            for (int64_t j = 0; j < p->n; j++)
                c[i * p->n + j] += a[i * p->k + l] * b[l * p->n + j];
    }
    return EBB_OK;
}

static ebb_status compile(const ebb_backend *backend, const ebb_region *region,
                          const ebb_compile_env *env, ebb_kernel *kernel)
{
    (void)backend;
    product *p = env->allocate(env->context, sizeof *p); /* freed with the kernel */
    if (!p)
        return ebb_fail(env->error, EBB_OUT_OF_MEMORY, "out of memory");
    const ebb_shape *a = &region->inputs[0].type->shape, *b = &region->inputs[1].type->shape;
    *p = (product){ .m = a->dims[0], .n = b->dims[1], .k = a->dims[1] };
    *kernel = (ebb_kernel){ .run = run_product,
                            .state = p,
                            .implementation = "three loops",
                            .never_fails = true,
                            .n_threads = 1 };
    return EBB_OK;
}

static const ebb_backend loops = { .name = "loops", .score = score, .compile = compile };

/* ---- its use ---- */

int main(void)
{
    ebb_graph *g = ebb_graph_create("two_layers");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(8, 20));
    ebb_node h = ebb_relu(ebb_nn_linear(x, 30, &(ebb_nn_linear_options){ .name = "fc1" }));
    ebb_node y = ebb_nn_linear(h, 5, &(ebb_nn_linear_options){ .name = "fc2" });

    /* Mine first, then those that come with Ebb. */
    int n_ebb;
    const ebb_backend *const *ebbs = ebb_backend_list("onednn", &n_ebb);
    const ebb_backend *list[8] = { &loops };
    for (int i = 0; i < n_ebb; i++)
        list[i + 1] = ebbs[i];

    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *mine, *reference;
    ebb_compile_options options = { .fetches = &y, .n_fetches = 1, .store = store };
    options.backend = "reference";
    if (ebb_compile(g, &options, &reference) != EBB_OK)
        stop(ebb_graph_message(g));
    options.backends = list;
    options.n_backends = n_ebb + 1;
    if (ebb_compile(g, &options, &mine) != EBB_OK)
        stop(ebb_graph_message(g));

    ebb_step_info info;
    for (int64_t i = 0; ebb_executable_step(mine, i, &info); i++)
        printf("%s: %s\n", info.op, info.backend);

    float data[8 * 20], results[2][8 * 5], worst = 0;
    for (int i = 0; i < 8 * 20; i++)
        data[i] = (float)(i % 7) - 3;
    ebb_feed feed = { x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(8, 20), data) };
    ebb_executable *runs[] = { mine, reference };
    for (int i = 0; i < 2; i++) {
        ebb_fetch fetch = { y, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(8, 5), results[i]) };
        if (ebb_run(runs[i], &feed, 1, &fetch, 1) != EBB_OK)
            stop(ebb_executable_message(runs[i]));
    }
    for (int i = 0; i < 8 * 5; i++) {
        float difference = results[0][i] - results[1][i];
        worst = difference > worst ? difference : -difference > worst ? -difference : worst;
    }
    printf("agrees with the reference: %s\n", worst < 1e-4f ? "yes" : "no");

    ebb_executable_destroy(mine);
    ebb_executable_destroy(reference);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
    return 0;
}
