/* Backends and ops of one's own: refusals, failures, decompositions, packed inputs, several
 * results. */
#include "backends/backends.h"
#include "tests/support/runtime.h"

#include <stdlib.h>

/* Takes ops of one name and nothing else, with the kernels of the reference, and counts. */
typedef struct special {
    const char *op;
    ebb_status refusal; /* what compile answers; EBB_OK: it compiles */
    int fail_at;        /* the call that fails; -1: none */
    bool never_fails;
    unsigned left_out;
    int n_calls, n_compiled;
    ebb_kernel inner;
} special;

static int score_special(const ebb_backend *backend, const ebb_region *region)
{
    const special *s = backend->user;
    bool is_dense = ebb_backend_reference.score(&ebb_backend_reference, region) > 0;
    return is_dense && strcmp(region->op->name, s->op) == 0 ? EBB_SCORE_BEST + 1 : EBB_SCORE_NONE;
}

typedef struct special_state {
    special *owner;
    ebb_kernel inner;
} special_state;

static ebb_status run_special(const ebb_call *call)
{
    special_state *state = call->state;
    if (state->owner->n_calls++ == state->owner->fail_at)
        return ebb_fail(call->error, EBB_BACKEND, "out of luck");
    ebb_call inner = *call;
    inner.state = state->inner.state;
    return state->inner.run(&inner);
}

static void destroy_special(void *state)
{
    ((special_state *)state)->owner->n_compiled--;
}

static ebb_status compile_special(const ebb_backend *backend, const ebb_region *region,
                                  const ebb_compile_env *env, ebb_kernel *kernel)
{
    special *s = (special *)(uintptr_t)backend->user;
    if (s->refusal)
        return ebb_fail(env->error, s->refusal, "special does not want it");
    special_state *state = env->allocate(env->context, sizeof *state);
    if (!state)
        return ebb_fail(env->error, EBB_OUT_OF_MEMORY, "out of memory");
    state->owner = s;
    ebb_status status =
        ebb_backend_reference.compile(&ebb_backend_reference, region, env, &state->inner);
    if (status)
        return status;
    *kernel = state->inner;
    kernel->run = run_special;
    kernel->state = state;
    kernel->destroy = destroy_special;
    kernel->never_fails = s->never_fails;
    kernel->left_out = s->left_out;
    s->n_compiled++;
    return EBB_OK;
}

static ebb_backend make_special(const special *s)
{
    return (ebb_backend){
        .name = "special", .score = score_special, .compile = compile_special, .user = s
    };
}

START_TEST(failing_kernels_change_nothing)
{
    /* The second of the two subtractions fails; then a step that has nothing to do with the
     * updates. */
    static const char *const ops[] = { "sub", "exp" };
    for (int i = 0; i < 2; i++) {
        small s = make_small();
        ebb_node z = ebb_named(ebb_exp(s.y), "z");
        special mine = { .op = ops[i], .fail_at = i == 0 ? 1 : 0 };
        ebb_backend backend = make_special(&mine);
        const ebb_backend *list[] = { &backend, &ebb_backend_native, &ebb_backend_reference };
        ebb_node nodes[] = { s.y, z };
        ebb_executable *e = NULL;
        ck_assert_int_eq(ebb_compile(s.graph,
                                     &(ebb_compile_options){ .fetches = nodes,
                                                             .n_fetches = 2,
                                                             .store = s.store,
                                                             .backends = list,
                                                             .n_backends = 3 },
                                     &e),
                         EBB_OK);
        ck_assert_int_eq(mine.n_compiled, i == 0 ? 2 : 1);
        float data[2] = { 1, 2 }, out[2] = { -7, -7 };
        ck_assert_int_eq(ebb_run(e, &FEED(s.x, data), 1, &FETCH(s.y, out), 1), EBB_BACKEND);
        CHECK_TEXT(ebb_executable_message(e), i == 0 ? "sub" : "exp z f32[2]");
        CHECK_TEXT(ebb_executable_message(e), i == 0 ? "(runtime.h:" : "test_own_backends.c:");
        CHECK_TEXT(ebb_executable_message(e), "): out of luck");
        ck_assert_float_eq(out[0], -7);
        ck_assert_double_eq(stored(s.store, "w", 0), 3);
        ck_assert_double_eq(stored(s.store, "b", 0), 1);
        ck_assert_int_eq(ebb_run(e, &FEED(s.x, data), 1, &FETCH(s.y, out), 1), EBB_OK);
        ck_assert_float_eq(out[0], 4);
        ck_assert_double_eq(stored(s.store, "w", 0), 2);
        ck_assert_double_eq(stored(s.store, "b", 0), 0);
        drop_small(&s, e);
        ck_assert_int_eq(mine.n_compiled, 0);
    }
}
END_TEST

START_TEST(refusals_go_to_the_next_best)
{
    small s = make_small();
    special mine = { .op = "mul", .refusal = EBB_UNSUPPORTED };
    ebb_backend backend = make_special(&mine);
    const ebb_backend *list[] = { &backend, &ebb_backend_reference };
    ebb_compile_options o = {
        .fetches = &s.y, .n_fetches = 1, .store = s.store, .backends = list, .n_backends = 2
    };
    ebb_executable *e = NULL;
    ck_assert_int_eq(ebb_compile(s.graph, &o, &e), EBB_OK);
    ck_assert_ptr_nonnull(e);
    ebb_executable_destroy(e);
    o.n_backends = 1; /* nobody left */
    refuse(s.graph, &o, EBB_UNSUPPORTED, "no backend takes");
    CHECK_TEXT(ebb_graph_message(s.graph), "mul: no backend takes");
    CHECK_TEXT(ebb_graph_message(s.graph), "of f32[2], f32[2] (");
    CHECK_TEXT(ebb_graph_message(s.graph), "(runtime.h:");
    CHECK_TEXT(ebb_graph_message(s.graph), "special does not want it");
    o.n_backends = 2; /* any other failure is final */
    mine.refusal = EBB_BACKEND;
    refuse(s.graph, &o, EBB_BACKEND, "mul: compiling");
    CHECK_TEXT(ebb_graph_message(s.graph), "special does not want it");
    mine = (special){ .op = "mul", .left_out = 1 }; /* somebody adds to it */
    refuse(s.graph, &o, EBB_BACKEND, "compile: the kernel of backend special for %");
    CHECK_TEXT(ebb_graph_message(s.graph), "leaves out a result that is read");
    ck_assert_int_eq(mine.n_compiled, 0);
    drop_small(&s, NULL);
}
END_TEST

/* Library ops that nobody takes come in parts: no score, or a score and then a refusal. */
static int score_no_library(const ebb_backend *backend, const ebb_region *region)
{
    (void)backend;
    return region->op->decompose ? EBB_SCORE_NONE
                                 : ebb_backend_reference.score(&ebb_backend_reference, region);
}

static ebb_status compile_no_library(const ebb_backend *backend, const ebb_region *region,
                                     const ebb_compile_env *env, ebb_kernel *kernel)
{
    (void)backend;
    if (region->op->decompose)
        return EBB_UNSUPPORTED;
    return ebb_backend_reference.compile(&ebb_backend_reference, region, env, kernel);
}

static int score_reference(const ebb_backend *backend, const ebb_region *region)
{
    (void)backend;
    return ebb_backend_reference.score(&ebb_backend_reference, region);
}

START_TEST(decompositions)
{
    static const ebb_backend unable = { .name = "unable",
                                        .score = score_no_library,
                                        .compile = compile_no_library };
    static const ebb_backend liar = { .name = "liar",
                                      .score = score_reference,
                                      .compile = compile_no_library };
    static const ebb_backend *const lists[] = { &ebb_backend_reference, &unable, &liar };
    float data[6] = { 1, 2, 3, 0, -1, 4 }, outs[3][6], losses[3], grads[3][6];
    int32_t labels[2] = { 2, 0 };
    for (int i = 0; i < 3; i++) {
        ebb_graph *g = ebb_graph_create("g");
        ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, 3)),
                 t = ebb_input(g, "t", EBB_I32, EBB_SHAPE(2));
        ebb_node y = ebb_log_softmax(x, 0), loss = ebb_softmax_cross_entropy(x, t), grad;
        ck_assert_int_eq(ebb_gradients(loss, &x, 1, &grad), EBB_OK);
        ebb_node nodes[] = { y, loss, grad };
        ebb_executable *e = NULL;
        ebb_status status = ebb_compile(g,
                                        &(ebb_compile_options){ .fetches = nodes,
                                                                .n_fetches = 3,
                                                                .backends = &lists[i],
                                                                .n_backends = 1,
                                                                .skip_passes = _i },
                                        &e);
        ck_assert_msg(!status, "%s", ebb_graph_message(g));
        ck_assert_int_eq(ebb_run(e, (ebb_feed[]){ FEED(x, data), FEED(t, labels) }, 2,
                                 (ebb_fetch[]){ FETCH(y, outs[i]), FETCH(loss, &losses[i]),
                                                FETCH(grad, grads[i]) },
                                 3),
                         EBB_OK);
        ebb_step_info info;
        for (int64_t k = 0; ebb_executable_step(e, k, &info); k++)
            if (i > 0)
                ck_assert_ptr_null(strstr(info.op, "softmax"));
        for (int k = 0; k < 6; k++) {
            ck_assert_float_eq_tol(outs[i][k], outs[0][k], 1e-5F);
            ck_assert_float_eq_tol(grads[i][k], grads[0][k], 1e-5F);
        }
        ck_assert_float_eq_tol(losses[i], losses[0], 1e-5F);
        ebb_executable_destroy(e);
        ebb_graph_destroy(g);
    }
}
END_TEST

/* ---- steady inputs in a form of their own ---- */

/* neg of a steady input, which it packs: the block holds the negated values already. */
typedef struct packer {
    int n_packed;
    size_t n;
} packer;

static int score_packer(const ebb_backend *backend, const ebb_region *region)
{
    (void)backend;
    return strcmp(region->op->name, "neg") == 0 && region->inputs[0].is_steady ? EBB_SCORE_BEST + 1
                                                                               : EBB_SCORE_NONE;
}

static ebb_status run_packed(const ebb_call *call)
{
    memcpy(call->results[0], call->inputs[0], ((packer *)call->state)->n * sizeof(float));
    return EBB_OK;
}

static ebb_status pack_negated(void *state, const void *input, void *packed)
{
    packer *p = state;
    p->n_packed++;
    for (size_t i = 0; i < p->n; i++)
        ((float *)packed)[i] = -((const float *)input)[i];
    return EBB_OK;
}

static ebb_status compile_packer(const ebb_backend *backend, const ebb_region *region,
                                 const ebb_compile_env *env, ebb_kernel *kernel)
{
    (void)env;
    packer *p = (packer *)(uintptr_t)backend->user;
    p->n = (size_t)ebb_shape_elements(&region->inputs[0].type->shape);
    *kernel = (ebb_kernel){ .run = run_packed,
                            .state = p,
                            .pack = pack_negated,
                            .packed_input = 0,
                            .packed_bytes = p->n * sizeof(float),
                            .implementation = "packed" };
    return EBB_OK;
}

START_TEST(steady_inputs_are_packed_when_they_change)
{
    small s = make_small();
    packer p = { 0 };
    ebb_backend backend = {
        .name = "packer", .score = score_packer, .compile = compile_packer, .user = &p
    };
    const ebb_backend *list[] = { &backend, &ebb_backend_reference };
    ebb_node negated = ebb_neg(s.w);
    ebb_executable *train = compile_small(&s), *e = NULL;
    ck_assert_int_eq(ebb_compile(s.graph,
                                 &(ebb_compile_options){ .fetches = &negated,
                                                         .n_fetches = 1,
                                                         .store = s.store,
                                                         .skip_updates = true,
                                                         .backends = list,
                                                         .n_backends = 2 },
                                 &e),
                     EBB_OK);
    ck_assert_int_eq(p.n_packed, 1);
    ck_assert_uint_gt(ebb_executable_get_stats(e).packed_bytes, 0);
    float data[2] = { 1, 1 }, out[2];
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(ebb_run(e, NULL, 0, &FETCH(negated, out), 1), EBB_OK);
    ck_assert_float_eq(out[1], -3);
    ck_assert_int_eq(p.n_packed, 1);
    ck_assert_int_eq(ebb_run(train, &FEED(s.x, data), 1, NULL, 0), EBB_OK); /* another executable */
    ck_assert_int_eq(ebb_run(e, NULL, 0, &FETCH(negated, out), 1), EBB_OK);
    ck_assert_float_eq(out[1], -2);
    ck_assert_int_eq(p.n_packed, 2);
    ebb_tensor value = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2), data); /* the user */
    ck_assert_int_eq(ebb_store_set(s.store, "w", &value), EBB_OK);
    ck_assert_int_eq(ebb_run(e, NULL, 0, &FETCH(negated, out), 1), EBB_OK);
    ck_assert_float_eq(out[1], -1);
    ck_assert_int_eq(p.n_packed, 3);
    ebb_executable_destroy(e);
    /* An executable that updates the variable does not see it as steady. */
    ck_assert_int_eq(ebb_compile(s.graph,
                                 &(ebb_compile_options){ .fetches = &negated,
                                                         .n_fetches = 1,
                                                         .store = s.store,
                                                         .backends = list,
                                                         .n_backends = 2 },
                                 &e),
                     EBB_OK);
    ck_assert_uint_eq(ebb_executable_get_stats(e).packed_bytes, 0);
    ebb_executable_destroy(e);
    drop_small(&s, train);
}
END_TEST

/* ---- ops of one's own ---- */

/* The larger and the smaller of two, element by element. */
static ebb_status infer_sorted(const ebb_infer *infer)
{
    if (!ebb_type_equal(infer->inputs[0], infer->inputs[1]))
        return ebb_infer_fail(infer, EBB_BAD_SHAPE, "inputs of two types");
    infer->results[0] = infer->results[1] = *infer->inputs[0];
    return EBB_OK;
}

static ebb_status eval_sorted(const ebb_eval *eval)
{
    for (int64_t i = 0; i < ebb_shape_elements(&eval->inputs[0].type.shape); i++) {
        double a = ebb_tensor_get(&eval->inputs[0], i), b = ebb_tensor_get(&eval->inputs[1], i);
        ebb_tensor_set(&eval->results[0], i, a > b ? a : b);
        ebb_tensor_set(&eval->results[1], i, a > b ? b : a);
    }
    return EBB_OK;
}

static const ebb_op op_sorted = { .name = "sorted",
                                  .summary = "larger and smaller",
                                  .group = "test",
                                  .n_inputs = 2,
                                  .n_results = 2,
                                  .infer = infer_sorted,
                                  .eval = eval_sorted };

/* The sum of as many as there are. */
static ebb_status infer_total(const ebb_infer *infer)
{
    infer->results[0] = *infer->inputs[0];
    return EBB_OK;
}

static ebb_status eval_total(const ebb_eval *eval)
{
    for (int64_t i = 0; i < ebb_shape_elements(&eval->inputs[0].type.shape); i++) {
        double sum = 0;
        for (int k = 0; k < eval->n_inputs; k++)
            sum += ebb_tensor_get(&eval->inputs[k], i);
        ebb_tensor_set(&eval->results[0], i, sum);
    }
    return EBB_OK;
}

static const ebb_op op_total = { .name = "total",
                                 .summary = "the sum of all",
                                 .group = "test",
                                 .n_inputs = EBB_VARIADIC,
                                 .n_results = 1,
                                 .infer = infer_total,
                                 .eval = eval_total };

START_TEST(two_results_and_many_inputs)
{
    enum { N = 40 };
    ebb_graph *g = ebb_graph_create("g");
    ebb_store *store = ebb_store_create(NULL);
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, 2)),
             turned = ebb_transpose(x, EBB_AXES(1, 0));
    ebb_node high = ebb_variable(g, "high", EBB_F32, EBB_SHAPE(2, 2), NULL);
    ebb_node low = ebb_variable(g, "low", EBB_F32, EBB_SHAPE(2, 2), NULL);
    ebb_node pair[2], many[N];
    ebb_emit(g, &op_sorted, (ebb_node[]){ ebb_add(x, high), ebb_add(turned, low) }, 2, NULL, pair);
    ebb_update(low, pair[0]); /* crosswise */
    ebb_update(high, pair[1]);
    for (int i = 0; i < N; i++)
        many[i] = i % 3 == 0 ? x : i % 3 == 1 ? turned : pair[1];
    ebb_node sum = ebb_emit(g, &op_total, many, N, NULL, NULL);
    ebb_node nodes[] = { pair[1], sum, ebb_transpose(pair[1], EBB_AXES(1, 0)) };
    ebb_executable *e = compile(g, _i, nodes, 3, store);
    float data[4] = { 1, 2, 3, 4 }, mirror[4] = { 1, 3, 2, 4 }, out[3][4], top[4] = { 0 },
          bottom[4] = { 0 };
    for (int round = 0; round < 3; round++) {
        run(e, &FEED(x, data), 1,
            (ebb_fetch[]){ FETCH(nodes[0], out[0]), FETCH(sum, out[1]), FETCH(nodes[2], out[2]) },
            3);
        for (int i = 0; i < 4; i++) {
            float a = data[i] + top[i], b = mirror[i] + bottom[i];
            bottom[i] = a > b ? a : b;
            top[i] = a > b ? b : a;
            ck_assert_float_eq(out[0][i], top[i]);
            ck_assert_float_eq(out[2][i % 2 * 2 + i / 2], top[i]);
            ck_assert_float_eq(out[1][i], 14 * data[i] + 13 * mirror[i] + 13 * top[i]);
            ck_assert_double_eq(stored(store, "low", i), bottom[i]);
            ck_assert_double_eq(stored(store, "high", i), top[i]);
        }
    }
    ebb_executable_destroy(e);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("own_backends");
    TCase *tests = tcase_create("own_backends");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, failing_kernels_change_nothing);
    tcase_add_test(tests, refusals_go_to_the_next_best);
    tcase_add_loop_test(tests, decompositions, 0, 2);
    tcase_add_test(tests, steady_inputs_are_packed_when_they_change);
    tcase_add_loop_test(tests, two_results_and_many_inputs, 0, N_WAYS);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
