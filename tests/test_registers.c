/* Programs of F32 over few elements (backends/native/registers.c): the same bits as op by op, for
 * every op that has a form there, on every instruction set. */
#include "backends/backends.h"
#include "backends/native/vector/vector.h"
#include "support/runtime.h"

#include <ebb/op.h>
#include <math.h>

enum { N_INPUTS = 4, N_OUTPUTS = 5, N_OPS = 80, POOL = N_INPUTS + N_OPS };

typedef struct chain {
    ebb_graph *graph;
    ebb_node inputs[N_INPUTS], outputs[N_OUTPUTS];
} chain;

static uint32_t draw(uint64_t *state, size_t n)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*state >> 33) % n);
}

/* Ops of the table, again and again, over a full input, a row, a scalar, a turned one and
 * constants. */
static chain make_chain(const ebb_register_table *table, int64_t rows, int64_t columns,
                        uint64_t seed)
{
    chain c = { .graph = ebb_graph_create("chain") };
    const ebb_shape shape = EBB_SHAPE(rows, columns);
    ebb_node pool[POOL];
    int n = 0;
    c.inputs[0] = ebb_input(c.graph, "full", EBB_F32, shape);
    c.inputs[1] = ebb_input(c.graph, "row", EBB_F32, EBB_SHAPE(columns));
    c.inputs[2] = ebb_input(c.graph, "scalar", EBB_F32, EBB_SCALAR);
    c.inputs[3] = ebb_input(c.graph, "turned", EBB_F32, EBB_SHAPE(columns, rows));
    for (int i = 0; i < N_INPUTS - 1; i++)
        pool[n++] = ebb_broadcast_to(c.inputs[i], shape);
    pool[n++] = ebb_transpose(c.inputs[3], EBB_AXES(1, 0));
    while (n < POOL) {
        const ebb_op *op = table->rows[draw(&seed, (size_t)table->n_rows)].op;
        const double attrs[] = { -0.8, 1.1 };      /* alpha, or limits */
        const bool is_fresh = draw(&seed, 3) == 0; /* else all of them would soon be NaN */
        const ebb_node near =
            pool[is_fresh ? (int)draw(&seed, N_INPUTS) : n - 1 - (int)draw(&seed, 3)];
        const ebb_node far = op->n_inputs == 1 ? near
                             : draw(&seed, 4)  ? pool[draw(&seed, (size_t)n)]
                                               : ebb_full_like(near, (double)draw(&seed, 5) - 1.5);
        const bool is_second = draw(&seed, 2);
        const ebb_node xs[] = { is_second ? far : near, is_second ? near : far };
        ck_assert_uint_le(op->attrs_bytes, sizeof attrs);
        pool[n++] = ebb_emit(c.graph, op, xs, op->n_inputs, attrs, NULL);
    }
    for (int i = 0; i < N_OUTPUTS; i++)
        c.outputs[i] = pool[n - 1 - i * 11];
    ck_assert_msg(!ebb_graph_status(c.graph), "%s", ebb_graph_message(c.graph));
    return c;
}

static ebb_tensor new_value(ebb_node node)
{
    ebb_tensor value;
    ck_assert_int_eq(ebb_tensor_init(&value, *ebb_node_type(node), NULL), EBB_OK);
    return value;
}

static int count_registers(const ebb_executable *e)
{
    ebb_step_info info;
    int n = 0;
    for (int64_t s = 0; ebb_executable_step(e, s, &info); s++)
        n += strcmp(info.implementation, "registers") == 0;
    return n;
}

/* Two runs, the second over other values; how many steps hand on registers. */
static int run_chain(const chain *c, const ebb_vector_isa *isa, bool is_fused,
                     ebb_tensor outputs[N_OUTPUTS])
{
    ebb_backend own = ebb_backend_native;
    own.user = isa;
    const ebb_backend *const list[] = { &own, &ebb_backend_reference };
    ebb_executable *e = compile_with(
        c->graph, &(ebb_compile_options){ .fetches = c->outputs,
                                          .n_fetches = N_OUTPUTS,
                                          .backends = list,
                                          .n_backends = 2,
                                          .skip_fusions = is_fused ? NULL : "programs" });
    const int n_registers = count_registers(e);
    ebb_feed feeds[N_INPUTS];
    ebb_fetch fetches[N_OUTPUTS];
    for (int i = 0; i < N_INPUTS; i++)
        feeds[i] = (ebb_feed){ c->inputs[i], new_value(c->inputs[i]) };
    for (int i = 0; i < N_OUTPUTS; i++)
        fetches[i] = (ebb_fetch){ c->outputs[i], outputs[i] = new_value(c->outputs[i]) };
    uint64_t state = 7;
    for (int twice = 0; twice < 2; twice++) {
        for (int i = 0; i < N_INPUTS; i++)
            for (int64_t k = 0; k < ebb_shape_elements(&feeds[i].value.type.shape); k++)
                ebb_tensor_set(&feeds[i].value, k, (double)draw(&state, 4001) / 1000 - 2);
        run(e, feeds, N_INPUTS, fetches, N_OUTPUTS);
    }
    for (int i = 0; i < N_INPUTS; i++)
        ebb_tensor_finish(&feeds[i].value);
    ebb_executable_destroy(e);
    return n_registers;
}

/* All NaN are alike: which one comes out depends on the order of the operands. */
static bool is_same(const ebb_tensor *a, const ebb_tensor *b)
{
    for (int64_t k = 0; k < ebb_shape_elements(&a->type.shape); k++) {
        const float x = ((const float *)a->data)[k], y = ((const float *)b->data)[k];
        if (!(isnan(x) && isnan(y)) && memcmp(&x, &y, sizeof x) != 0)
            return false;
    }
    return true;
}

static const struct {
    int64_t rows, columns;
} sizes[] = { { 1, 1 }, { 1, 3 }, { 2, 2 }, { 1, 4 }, { 1, 5 },
              { 2, 4 }, { 3, 5 }, { 4, 4 }, { 2, 8 }, { 1, 16 } };

START_TEST(registers_are_loops)
{
    const ebb_vector_isa *isa;
    for (int at = 0; (isa = ebb_vector_isa_at(at)); at++) {
        const int64_t most = isa->registers->n_lanes;
        if (sizes[_i].rows * sizes[_i].columns > most)
            continue;
        int n_registers = 0;
        for (uint64_t seed = 0; seed < 6; seed++) {
            chain c = make_chain(isa->registers, sizes[_i].rows, sizes[_i].columns,
                                 100 * (uint64_t)_i + seed);
            ebb_tensor fused[N_OUTPUTS], unfused[N_OUTPUTS];
            n_registers += run_chain(&c, isa, true, fused);
            ck_assert_int_eq(run_chain(&c, isa, false, unfused), 0);
            for (int i = 0; i < N_OUTPUTS; i++) {
                ck_assert_msg(is_same(&fused[i], &unfused[i]),
                              "%s, %lld x %lld, seed %d: output %d", isa->name,
                              (long long)sizes[_i].rows, (long long)sizes[_i].columns, (int)seed,
                              i);
                ebb_tensor_finish(&fused[i]);
                ebb_tensor_finish(&unfused[i]);
            }
            ebb_graph_destroy(c.graph);
        }
        ck_assert_int_ge(n_registers, 6);
    }
}
END_TEST

/* pow has vectors of its own; here in both forms, of numbers that are plain for it and others. */
START_TEST(powers_are_loops)
{
    const ebb_shape shape = EBB_SHAPE(16);
    ebb_graph *g = ebb_graph_create("powers");
    const ebb_node a = ebb_input(g, "a", EBB_F32, shape), b = ebb_input(g, "b", EBB_F32, shape);
    const ebb_node y = ebb_pow(ebb_mul(a, a), b), nodes[] = { y, ebb_pow(a, y) };
    const ebb_vector_isa *isa;
    enum { ROUNDS = 50 };
    static float as[ROUNDS][16], bs[ROUNDS][16], results[2][ROUNDS][2][16];
    for (int i = 0; i < ROUNDS * 16; i++) {
        as[i / 16][i % 16] = 0.0037f * (float)i + (i % 7 ? 0.1f : -0.1f);
        bs[i / 16][i % 16] = 1.3f - 0.0071f * (float)(i * 37 % (ROUNDS * 16));
    }
    for (int at = 0; (isa = ebb_vector_isa_at(at)); at++) {
        ebb_backend own = ebb_backend_native;
        own.user = isa;
        const ebb_backend *const list[] = { &own, &ebb_backend_reference };
        for (int is_fused = 0; is_fused < 2; is_fused++) {
            ebb_executable *e = compile_with(
                g, &(ebb_compile_options){ .fetches = nodes,
                                           .n_fetches = 2,
                                           .backends = list,
                                           .n_backends = 2,
                                           .skip_fusions = is_fused ? NULL : "programs" });
            ck_assert_int_eq(count_registers(e), is_fused && isa->registers->n_lanes == 16);
            for (int k = 0; k < ROUNDS; k++) {
                const ebb_feed feeds[] = { FEED(a, as[k]), FEED(b, bs[k]) };
                const ebb_fetch fetches[] = { FETCH(nodes[0], results[is_fused][k][0]),
                                              FETCH(nodes[1], results[is_fused][k][1]) };
                run(e, feeds, 2, fetches, 2);
            }
            ebb_executable_destroy(e);
        }
        for (int i = 0; i < ROUNDS * 32; i++) {
            const float one = results[1][i / 32][i / 16 % 2][i % 16];
            const float other = results[0][i / 32][i / 16 % 2][i % 16];
            ck_assert_msg((isnan(one) && isnan(other)) || one == other, "%s: %d: %.9g, not %.9g",
                          isa->name, i, (double)one, (double)other);
        }
    }
    ebb_graph_destroy(g);
}
END_TEST

START_TEST(failing_allocations)
{
    const chain c = make_chain(ebb_vector_isa_at(0)->registers, sizes[0].rows, sizes[0].columns, 7);
    ck_assert_int_gt(fail_allocations(c.graph, c.outputs, N_OUTPUTS, NULL), 20);
    ebb_graph_destroy(c.graph);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("registers");
    TCase *tcase = tcase_create("values");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, registers_are_loops, 0, (int)(sizeof sizes / sizeof *sizes));
    tcase_add_test(tcase, powers_are_loops);
    tcase_add_test(tcase, failing_allocations);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
