/* Seeded random graphs. */
#include "support/random_graph.h"

#include <ebb/ops.h>

#include "support/runner.h"

#include <math.h>

#define MAX_NODES 60

typedef struct maker {
    uint64_t state;
    ebb_graph *graph;
    ebb_node nodes[MAX_NODES + 8]; /* what may be used */
    int n;
} maker;

static int draw(maker *m, int n)
{
    m->state = m->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int)((m->state >> 33) % (uint64_t)n);
}

static ebb_shape draw_shape(maker *m)
{
    const ebb_shape shapes[] = { EBB_SCALAR,        EBB_SHAPE(3),    EBB_SHAPE(2, 3),
                                 EBB_SHAPE(3, 2),   EBB_SHAPE(1, 3), EBB_SHAPE(2, 1),
                                 EBB_SHAPE(3, 3),   EBB_SHAPE(6),    EBB_SHAPE(2, 3, 2),
                                 EBB_SHAPE(1, 2, 3) };
    return shapes[draw(m, (int)(sizeof shapes / sizeof *shapes))];
}

static ebb_node draw_constant(maker *m, ebb_dtype dtype)
{
    static const double values[] = { 0, -0.0, 1, -1, 2, 0.5, 3, -2.5 };
    double elements[12];
    ebb_shape shape = draw_shape(m);
    if (draw(m, 3))
        return ebb_full(m->graph, dtype, shape, values[draw(m, 8)]);
    ebb_tensor tensor = ebb_tensor_borrow(dtype, shape, elements);
    for (int64_t i = 0; i < ebb_shape_elements(&shape); i++)
        ebb_tensor_set(&tensor, i, values[draw(m, 8)]);
    return ebb_constant(m->graph, dtype, shape, elements);
}

/* One of the last dozen nodes, mostly: so that graphs get deep. */
static ebb_node draw_node(maker *m)
{
    int recent = m->n < 12 ? m->n : 12;
    return m->nodes[draw(m, 3) ? m->n - 1 - draw(m, recent) : draw(m, m->n)];
}

static bool can_broadcast(const ebb_shape *a, const ebb_shape *b)
{
    for (int i = 1; i <= a->rank && i <= b->rank; i++) {
        int64_t p = a->dims[a->rank - i], q = b->dims[b->rank - i];
        if (p != q && p != 1 && q != 1)
            return false;
    }
    return true;
}

/* A node of the same dtype that broadcasts with `a`; `a` itself if none is found. */
static ebb_node draw_partner(maker *m, ebb_node a)
{
    const ebb_type *type = ebb_node_type(a);
    for (int i = 0; i < 12; i++) {
        ebb_node b = draw(m, 5) ? draw_node(m) : draw_constant(m, type->dtype);
        if (ebb_node_type(b)->dtype == type->dtype &&
            can_broadcast(&ebb_node_type(b)->shape, &type->shape))
            return b;
    }
    return a;
}

static ebb_node make_unary(maker *m, ebb_node a)
{
    static ebb_node (*const any[])(ebb_node) = { ebb_neg,  ebb_abs,           ebb_sign, ebb_square,
                                                 ebb_relu, ebb_stop_gradient, ebb_neg };
    static ebb_node (*const floats[])(ebb_node) = { ebb_exp, ebb_sqrt, ebb_tanh, ebb_cos,
                                                    ebb_sigmoid };
    if (ebb_dtype_is_float(ebb_node_type(a)->dtype) && draw(m, 3) == 0)
        return floats[draw(m, 5)](a);
    return any[draw(m, 7)](a);
}

static ebb_node make_binary(maker *m, ebb_node a)
{
    static ebb_node (*const any[])(ebb_node, ebb_node) = { ebb_add,     ebb_sub,    ebb_mul,
                                                           ebb_div,     ebb_add,    ebb_sub,
                                                           ebb_maximum, ebb_minimum };
    ebb_node b = draw_partner(m, a);
    int which = draw(m, 8);
    return draw(m, 2) ? any[which](a, b) : any[which](b, a);
}

static ebb_node make_choice(maker *m, ebb_node a)
{
    static ebb_node (*const compare[])(ebb_node, ebb_node) = { ebb_less, ebb_greater, ebb_equal,
                                                               ebb_less_equal };
    ebb_node b = draw_partner(m, a);
    ebb_node c = compare[draw(m, 4)](b, draw(m, 3) ? a : ebb_full_like(b, 0));
    if (draw(m, 4) == 0)
        c = ebb_logical_not(c);
    return ebb_select(c, a, draw(m, 3) ? b : ebb_full_like(a, 0));
}

static ebb_node make_reduction(maker *m, ebb_node a)
{
    int rank = ebb_node_type(a)->shape.rank;
    ebb_axes axes = { 0 };
    for (int i = 0; i < rank; i++) {
        if (draw(m, 2))
            axes.axes[axes.n++] = i;
    }
    bool keep = draw(m, 2), is_float = ebb_dtype_is_float(ebb_node_type(a)->dtype);
    switch (draw(m, is_float ? 3 : 2)) {
    case 0:
        return ebb_reduce_sum(a, axes, keep);
    case 1:
        return ebb_reduce_max(a, axes, keep);
    default:
        return ebb_reduce_mean(a, axes, keep);
    }
}

static ebb_node make_view(maker *m, ebb_node a)
{
    const ebb_shape *shape = &ebb_node_type(a)->shape;
    ebb_axes axes = { .n = shape->rank };
    for (int i = 0; i < shape->rank; i++)
        axes.axes[i] = i;
    for (int i = shape->rank - 1; i > 0; i--) {
        int j = draw(m, i + 1), axis = axes.axes[i];
        axes.axes[i] = axes.axes[j];
        axes.axes[j] = axis;
    }
    switch (draw(m, 3)) {
    case 0:
        return ebb_transpose(a, axes);
    case 1:
        for (int i = 0; i < 8; i++) {
            ebb_shape to = draw_shape(m);
            if (ebb_shape_elements(&to) == ebb_shape_elements(shape))
                return ebb_reshape(a, to);
        }
        return ebb_reshape(a, EBB_SHAPE(-1));
    default:
        for (int i = 0; i < 8; i++) {
            ebb_shape to = draw_shape(m);
            if (to.rank >= shape->rank && can_broadcast(shape, &to)) {
                bool fits = true;
                for (int d = 1; d <= shape->rank; d++)
                    fits = fits && (shape->dims[shape->rank - d] == to.dims[to.rank - d] ||
                                    shape->dims[shape->rank - d] == 1);
                if (fits)
                    return ebb_broadcast_to(a, to);
            }
        }
        return ebb_broadcast_to(a, *shape);
    }
}

static ebb_node make_matmul(maker *m, ebb_node a)
{
    const ebb_type *type = ebb_node_type(a);
    if (!ebb_dtype_is_float(type->dtype) || type->shape.rank < 2)
        return make_unary(m, a);
    ebb_matmul_attrs attrs = { draw(m, 2), draw(m, 2) };
    int64_t k = type->shape.dims[type->shape.rank - (attrs.transpose_a ? 2 : 1)];
    for (int i = 0; i < 20; i++) {
        ebb_node b = draw(m, 4) ? draw_node(m) : draw_constant(m, type->dtype);
        const ebb_shape *shape = &ebb_node_type(b)->shape;
        if (ebb_node_type(b)->dtype != type->dtype || shape->rank < 2)
            continue;
        bool batches = type->shape.rank == 2 || shape->rank == 2 ||
                       type->shape.dims[0] == shape->dims[0] || type->shape.dims[0] == 1 ||
                       shape->dims[0] == 1;
        if (batches && shape->dims[shape->rank - (attrs.transpose_b ? 1 : 2)] == k)
            return ebb_matmul_with(a, b, attrs);
    }
    return make_view(m, a);
}

static ebb_node make_node(maker *m)
{
    ebb_node a = draw_node(m);
    switch (draw(m, 12)) {
    case 0:
    case 1:
    case 2:
        return make_unary(m, a);
    case 3:
    case 4:
    case 5:
        return make_binary(m, a);
    case 6:
        return make_choice(m, a);
    case 7:
        return make_reduction(m, a);
    case 8:
    case 9:
        return make_view(m, a);
    case 10:
        return make_matmul(m, a);
    default:
        return draw(m, 2) ? draw_constant(m, ebb_node_type(a)->dtype)
                          : ebb_cast(a, draw(m, 2) ? EBB_F32 : EBB_I32);
    }
}

static void draw_values(maker *m, const ebb_tensor *tensor)
{
    static const double special[] = { 0, -0.0, 1, -1, INFINITY, -INFINITY, NAN };
    for (int64_t i = 0; i < ebb_shape_elements(&tensor->type.shape); i++) {
        double value = (draw(m, 2001) - 1000) / 256.0;
        if (draw(m, 4) == 0)
            value = special[draw(m, draw(m, 2) ? 4 : 7)];
        ebb_tensor_set(tensor, i, value);
    }
}

void random_graph_init(random_graph *g, int seed)
{
    static const char *const names[RANDOM_INPUTS] = { "i0", "i1", "i2", "i3", "i4" };
    maker m = { .state = (uint64_t)seed * 977 + 1, .graph = ebb_graph_create("random") };
    *g = (random_graph){ .seed = seed, .graph = m.graph };
    for (int i = 0; i < RANDOM_INPUTS; i++) {
        ebb_dtype dtype = i == 3 ? EBB_F64 : i == 4 ? EBB_I32 : EBB_F32;
        ebb_shape shape = i == 0 ? EBB_SHAPE(2, 3) : draw_shape(&m);
        m.nodes[m.n++] = ebb_input(m.graph, names[i], dtype, shape);
        ck_assert_int_eq(ebb_tensor_init(&g->inputs[i], ebb_type_of(dtype, shape), NULL), EBB_OK);
        draw_values(&m, &g->inputs[i]);
    }
    while (m.n < MAX_NODES) {
        ebb_node node = make_node(&m);
        m.nodes[m.n++] = node;
    }
    ck_assert_msg(!ebb_graph_status(m.graph), "seed %d: %s", seed, ebb_graph_message(m.graph));
    for (int i = 0; i < RANDOM_OUTPUTS; i++)
        g->outputs[i] = m.nodes[m.n - 1 - 2 * i];
}

void random_graph_finish(random_graph *g)
{
    for (int i = 0; i < RANDOM_INPUTS; i++)
        ebb_tensor_finish(&g->inputs[i]);
    ebb_graph_destroy(g->graph);
}

ebb_interpreter *random_graph_compute(const random_graph *g, const ebb_graph *graph,
                                      const ebb_node *outputs, int n_outputs)
{
    static const char *const names[RANDOM_INPUTS] = { "i0", "i1", "i2", "i3", "i4" };
    ebb_interpreter *interpreter = ebb_interpreter_create(graph, NULL);
    ebb_error error = { .message = "" };
    for (int i = 0; i < RANDOM_INPUTS; i++) {
        ebb_node node = ebb_graph_find(graph, names[i]);
        if (node.id)
            ck_assert_msg(!ebb_interpreter_set(interpreter, node, &g->inputs[i], &error), "%s",
                          error.message);
    }
    ck_assert_msg(!ebb_interpreter_run(interpreter, outputs, n_outputs, &error), "seed %d: %s",
                  g->seed, error.message);
    return interpreter;
}
