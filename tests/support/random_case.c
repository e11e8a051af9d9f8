/* Seeded random graphs over the whole registry. */
#include "tests/support/random_case.h"

#include "graph/graph_build.h"
#include "graph/interpret.h"
#include "tests/support/runner.h"
#include "tests/support/samples.h"

#include <math.h>
#include <string.h>

enum { MAX_NODES = 400, MAX_ELEMENTS = 140, MAX_ATTRS_BYTES = 1024, MAX_FRESH = 32 };

typedef struct maker {
    const random_case_options *options;
    uint64_t state;
    graph_case all; /* everything made; what the outputs need is kept */
    ebb_dtype floats;
    ebb_tensor values[MAX_NODES + 1]; /* by id */
    bool depends[MAX_NODES + 1];      /* on an x, by floats alone */
    bool proposed[MAX_NODES + 1];     /* not only made to feed another */
    uint32_t n;                       /* nodes that have a value */
} maker;

/* A node that may be made. */
typedef struct candidate {
    const ebb_op *op;
    const ebb_sample *sample;
    union {
        char bytes[MAX_ATTRS_BYTES];
        max_align_t align;
    } attrs;
    ebb_node inputs[EBB_MAX_SAMPLE_INPUTS];
    int n_inputs;
    ebb_type results[EBB_MAX_RESULTS];
} candidate;

/* SplitMix64 (Steele, Lea & Flood 2014). */
static uint64_t draw_bits(maker *m)
{
    uint64_t z = m->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static int draw(maker *m, int n)
{
    return (int)(draw_bits(m) % (uint64_t)n);
}

/* In [0, 1). */
static double draw_uniform(maker *m)
{
    return (double)(draw_bits(m) >> 11) * 0x1p-53;
}

static const ebb_type *type_of(const maker *m, uint32_t id)
{
    return &m->values[id].type;
}

/* ---- values ---- */

/* Fills in the values of nodes that were emitted; they are known to be good. */
static void compute_new(maker *m)
{
    uint32_t n_nodes = ebb_graph_n_nodes(m->all.graph);
    ck_assert_uint_le(n_nodes, MAX_NODES);
    while (m->n < n_nodes) {
        uint32_t id = m->n + 1;
        ebb_node node = ebb_graph_node(m->all.graph, id);
        const ebb_op *op = ebb_node_op(node);
        ebb_tensor inputs[EBB_MAX_SAMPLE_INPUTS];
        bool depends = false;
        for (int i = 0; i < ebb_node_n_inputs(node); i++) {
            inputs[i] = m->values[ebb_node_input(node, i).id];
            depends = depends || m->depends[ebb_node_input(node, i).id];
        }
        for (int r = 0; r < op->n_results; r++) {
            ebb_node result = ebb_graph_node(m->all.graph, id + (uint32_t)r);
            ck_assert_int_eq(ebb_tensor_init(&m->values[result.id], *ebb_node_type(result), NULL),
                             EBB_OK);
            m->depends[result.id] = depends && ebb_dtype_is_float(ebb_node_type(result)->dtype);
        }
        ebb_error error = { .message = "" };
        ebb_status status = ebb_op_evaluate(op, ebb_node_attrs(node), inputs,
                                            ebb_node_n_inputs(node), &m->values[id], &error);
        ck_assert_msg(!status, "seed %llu: %s", (unsigned long long)m->options->seed,
                      error.message);
        m->n += (uint32_t)op->n_results;
    }
}

static double draw_wild(maker *m)
{
    static const double special[] = { 0, -0.0, 1, -1, 2, 0.5, INFINITY, -INFINITY, NAN };
    return draw(m, 4) ? (draw(m, 2001) - 1000) / 256.0 : special[draw(m, draw(m, 2) ? 6 : 9)];
}

/* The sample's own values, unless there are large ones among them, or NaN. */
static const double *known_values(const maker *m, const ebb_sample *sample, int input, int64_t n)
{
    const double *known = sample->values[input];
    for (int64_t i = 0; known && i < n; i++)
        if (!m->options->wild && ebb_dtype_is_float(sample->inputs[input].dtype) &&
            !(fabs(known[i]) < 50))
            return NULL;
    return known;
}

static void fill(maker *m, const ebb_tensor *value, const ebb_sample *sample, int input)
{
    int64_t n = ebb_shape_elements(&value->type.shape);
    bool is_float = ebb_dtype_is_float(value->type.dtype), plain = m->options->wild && draw(m, 2);
    const double *known = known_values(m, sample, input, n);
    for (int64_t i = 0; i < n; i++) {
        double x = known ? known[i] : 0;
        for (int tries = 0; !known && tries < 1000; tries++)
            if (sample_value(sample, input, is_float, draw_uniform(m), &x))
                break;
        ebb_tensor_set(value, i, plain && is_float ? draw_wild(m) : x);
    }
}

/* A constant (kind 0, 1), an input (2) or an x (3, 4), with values that suit the sample. */
static ebb_node add_fresh(maker *m, int kind, ebb_type type, const ebb_sample *sample, int input)
{
    ebb_tensor value;
    ebb_node node;
    ck_assert_int_eq(ebb_tensor_init(&value, type, NULL), EBB_OK);
    fill(m, &value, sample, input);
    if (kind < 2 || m->all.n_inputs >= MAX_FRESH) {
        node = ebb_constant(m->all.graph, type.dtype, type.shape, value.data);
        ebb_tensor_finish(&value);
        compute_new(m);
        return node;
    }
    char name[16];
    snprintf(name, sizeof name, "i%d", m->all.n_inputs);
    node = ebb_input(m->all.graph, name, type.dtype, type.shape);
    ck_assert_uint_eq(node.id, m->n + 1);
    m->values[node.id] = value;
    m->depends[node.id] = ebb_dtype_is_float(type.dtype) && kind > 2;
    m->n = node.id;
    m->all.inputs[m->all.n_inputs++] = (case_input){ node, value, m->depends[node.id] };
    return node;
}

/* ---- choosing inputs ---- */

/* Mostly one of the last few, so that graphs get deep, and one that depends on an x. */
static ebb_node draw_node(maker *m)
{
    int n = (int)m->n, recent = n < 12 ? n : 12, id = 0;
    for (int tries = m->options->wild ? 2 : 0; tries < 3 && !m->depends[id]; tries++)
        id = draw(m, 3) ? n - draw(m, recent) : 1 + draw(m, n);
    return ebb_graph_node(m->all.graph, (uint32_t)id);
}

/* None if there is no such node. */
static ebb_node draw_of_type(maker *m, const ebb_type *type)
{
    for (uint32_t i = 0, at = (uint32_t)draw(m, (int)m->n); i < m->n; i++) {
        uint32_t id = 1 + (at + i) % m->n;
        if (ebb_type_equal(type_of(m, id), type))
            return ebb_graph_node(m->all.graph, id);
    }
    return EBB_NONE;
}

static ebb_node draw_of_dtype(maker *m, ebb_dtype dtype)
{
    for (int i = 0; i < 20; i++) {
        ebb_node node = draw_node(m);
        if (type_of(m, node.id)->dtype == dtype)
            return node;
    }
    return EBB_NONE;
}

static ebb_type slot_type(const maker *m, const candidate *k, int slot)
{
    ebb_type type = k->sample->inputs[slot];
    if (type.dtype == EBB_F64)
        type.dtype = m->floats;
    return type;
}

/* A value of this type in the sample's range that depends on an earlier node: d + c tanh(that),
 * with constants d of the range and c small. */
static ebb_node add_glue(maker *m, const candidate *k, int slot)
{
    ebb_type type = slot_type(m, k, slot);
    ebb_node x = draw_of_dtype(m, type.dtype);
    if (!x.id || m->options->wild || m->n + 16 > MAX_NODES)
        return x;
    ebb_tensor d, c;
    ck_assert_int_eq(ebb_tensor_init(&d, type, NULL), EBB_OK);
    ck_assert_int_eq(ebb_tensor_init(&c, type, NULL), EBB_OK);
    fill(m, &d, k->sample, slot);
    const double low = sample_range(k->sample, slot).low, high = sample_range(k->sample, slot).high;
    double width = low < high ? high - low : 4;
    for (int64_t i = 0; i < ebb_shape_elements(&type.shape); i++)
        ebb_tensor_set(&c, i, 0.05 * width * (draw_uniform(m) - 0.5));
    ebb_graph *g = m->all.graph;
    bool fits = ebb_shape_elements(&ebb_node_type(x)->shape) == ebb_shape_elements(&type.shape);
    ebb_node y = fits ? ebb_reshape(x, type.shape) : ebb_reduce_sum(x, EBB_ALL_AXES, false);
    y = ebb_mul(ebb_tanh(y), ebb_constant(g, type.dtype, type.shape, c.data));
    y = ebb_add(y, ebb_constant(g, type.dtype, type.shape, d.data));
    ebb_tensor_finish(&d);
    ebb_tensor_finish(&c);
    compute_new(m);
    return y;
}

/* Inputs of the sample's types. */
static bool choose_like_sample(maker *m, candidate *k)
{
    for (int i = 0; i < k->n_inputs; i++) {
        ebb_type type = slot_type(m, k, i);
        ebb_node node = EBB_NONE;
        int way = draw(m, 4);
        if (way < 2)
            node = draw_of_type(m, &type);
        else if (way == 2 && ebb_dtype_is_float(type.dtype))
            node = add_glue(m, k, i);
        k->inputs[i] = node.id ? node : add_fresh(m, draw(m, 5), type, k->sample, i);
    }
    return true;
}

/* One number everywhere: what rewriting looks for. */
static ebb_node add_full(maker *m, const ebb_type *type)
{
    static const double numbers[] = { 0, -0.0, 1, -1, 2, 0.5, 3, -2.5 };
    ebb_node node = ebb_full(m->all.graph, type->dtype, type->shape, numbers[draw(m, 8)]);
    compute_new(m);
    return node;
}

/* Like one of the inputs before it, often a number; none if there is no such node. */
static ebb_node draw_partner(maker *m, const candidate *k, int slot, ebb_dtype dtype)
{
    ebb_type type = *type_of(m, k->inputs[draw(m, slot)].id);
    type.dtype = dtype != EBB_NO_DTYPE ? dtype : type.dtype;
    return draw(m, 4) ? draw_of_type(m, &type) : add_full(m, &type);
}

/* Inputs of the sample's dtypes, in a wild graph often of any, with any shapes. */
static bool choose_freely(maker *m, candidate *k)
{
    bool any = m->options->wild && draw(m, 4);
    for (int i = 0; i < k->n_inputs; i++) {
        ebb_dtype dtype = any ? EBB_NO_DTYPE : slot_type(m, k, i).dtype;
        k->inputs[i] = EBB_NONE;
        if (i > 0 && draw(m, 3))
            k->inputs[i] = draw_partner(m, k, i, dtype);
        if (!k->inputs[i].id)
            k->inputs[i] = any ? draw_node(m) : draw_of_dtype(m, dtype);
        if (!k->inputs[i].id)
            return false;
    }
    return true;
}

/* ---- choosing attributes ---- */

static void change_axes(maker *m, const candidate *k, ebb_axes *axes)
{
    int rank = k->n_inputs ? type_of(m, k->inputs[0].id)->shape.rank : 1;
    axes->n = draw(m, 2) ? rank : draw(m, rank + 1);
    for (int i = 0; i < rank; i++)
        axes->axes[i] = i;
    for (int i = rank - 1; i > 0; i--) {
        int j = draw(m, i + 1), axis = axes->axes[i];
        axes->axes[i] = axes->axes[j];
        axes->axes[j] = axis;
    }
}

static void change_attribute(maker *m, candidate *k, const ebb_attr_field *f)
{
    void *field = k->attrs.bytes + f->offset;
    switch (f->kind) {
    case EBB_ATTR_BOOL:
        *(bool *)field = draw(m, 2);
        break;
    case EBB_ATTR_I64:
        *(int64_t *)field = draw(m, 7) - 2;
        break;
    case EBB_ATTR_ENUM: {
        int n = 0;
        while (f->enum_names[n])
            n++;
        *(int *)field = draw(m, n);
        break;
    }
    case EBB_ATTR_SHAPE:
        *(ebb_shape *)field = type_of(m, draw_node(m).id)->shape;
        break;
    case EBB_ATTR_AXES:
        change_axes(m, k, field);
        break;
    default: /* numbers with a meaning of their own, names, data */
        break;
    }
}

static void change_attributes(maker *m, candidate *k)
{
    for (const ebb_attr_field *f = k->op->attrs; f && f->name; f++)
        if (draw(m, 2))
            change_attribute(m, k, f);
}

/* ---- what may be made ---- */

static bool is_empty_of_floats(const candidate *k)
{
    for (int i = 0; i < k->op->n_results; i++)
        if (ebb_dtype_is_float(k->results[i].dtype))
            return false;
    return true;
}

/* Whether differences can be compared with the op's rule at all. */
static bool has_gradient_samples(const ebb_op *op)
{
    for (int i = 0; i < op->n_samples && (op->vjp || op->decompose); i++) {
        const ebb_sample *sample = &op->samples[i];
        const bool counts = sample->inputs && !sample->error && !sample->no_gradient;
        for (int k = 0; k < EBB_MAX_SAMPLE_INPUTS && counts; k++)
            if (sample->inputs[k].dtype == EBB_F64)
                return true;
    }
    return false;
}

static bool infer_candidate(const maker *m, candidate *k)
{
    const ebb_type *inputs[EBB_MAX_SAMPLE_INPUTS];
    ebb_error error = { .status = EBB_OK };
    bool depends = false;
    for (int i = 0; i < k->n_inputs; i++) {
        inputs[i] = type_of(m, k->inputs[i].id);
        depends = depends || m->depends[k->inputs[i].id];
    }
    ebb_infer infer = { k->op, k->attrs.bytes, k->n_inputs, inputs, k->results, &error };
    if (k->op->infer(&infer))
        return false;
    for (int r = 0; r < k->op->n_results; r++) {
        bool foreign = ebb_dtype_is_float(k->results[r].dtype) && k->results[r].dtype != m->floats;
        if (ebb_shape_elements(&k->results[r].shape) > MAX_ELEMENTS ||
            (foreign && !m->options->wild))
            return false;
    }
    return m->options->wild || !depends || is_empty_of_floats(k) || has_gradient_samples(k->op);
}

/* Where a candidate is evaluated: at its inputs; with float inputs moved along random directions;
 * and rounded to a grid, where values that are equal but for rounding become equal. */
enum { N_POINTS = 5, ON_GRID = N_POINTS, N_EVALUATIONS };
static const double STEP = 4e-3;

static bool evaluate_at(maker *m, const candidate *k, int point, ebb_tensor *results)
{
    ebb_tensor inputs[EBB_MAX_SAMPLE_INPUTS];
    static const double steps[N_POINTS] = { 0, 1, -1, 2, -2 };
    uint64_t state = m->state;
    ebb_error error = { .status = EBB_OK };
    bool good = true;
    for (int i = 0; i < k->n_inputs; i++) {
        const ebb_tensor *value = &m->values[k->inputs[i].id];
        ck_assert_int_eq(ebb_tensor_init(&inputs[i], value->type, NULL), EBB_OK);
        memcpy(inputs[i].data, value->data, ebb_tensor_bytes(value));
        if (point == 0 || !ebb_dtype_is_float(value->type.dtype))
            continue;
        for (int64_t e = 0; e < ebb_shape_elements(&value->type.shape); e++) {
            double x = ebb_tensor_get(value, e), direction = 0.5 + draw_uniform(m);
            direction = draw(m, 2) ? direction : -direction;
            ebb_tensor_set(&inputs[i], e,
                           point == ON_GRID ? ldexp(rint(ldexp(x, 12)), -12)
                                            : x + steps[point] * STEP * direction);
        }
    }
    for (int r = 0; r < k->op->n_results; r++)
        ck_assert_int_eq(ebb_tensor_init(&results[r], k->results[r], NULL), EBB_OK);
    good = !ebb_op_evaluate(k->op, k->attrs.bytes, inputs, k->n_inputs, results, &error);
    for (int i = 0; i < k->n_inputs; i++)
        ebb_tensor_finish(&inputs[i]);
    m->state = state;
    return good;
}

/* f at 0, h, -h, 2h, -2h: no jump, kink or pole nearby, not even in the first derivative, and no
 * large number. */
static bool is_smooth(const double f[N_POINTS])
{
    const double h = STEP;
    double slope = fabs(f[1] - f[2]) / (2 * h), far_slope = fabs(f[3] - f[4]) / (4 * h);
    double bend = fabs(f[1] - 2 * f[0] + f[2]) / (h * h);
    double far_bend = fabs(f[3] - 2 * f[0] + f[4]) / (4 * h * h);
    double twist = fabs((f[3] - 2 * f[1] + f[0]) - (f[0] - 2 * f[2] + f[4])) / (h * h);
    double size = fmax(1, fabs(f[0]));
    for (int i = 0; i < N_POINTS; i++)
        if (!isfinite(f[i]) || fabs(f[i]) > 50)
            return false;
    return slope < 30 * size && bend < 20 * size && far_bend < 20 * size &&
           fabs(slope - far_slope) < 0.05 * size && twist < 0.25 * size;
}

static bool results_are_tame(const candidate *k, ebb_tensor results[N_EVALUATIONS][EBB_MAX_RESULTS])
{
    for (int r = 0; r < k->op->n_results; r++) {
        bool is_float = ebb_dtype_is_float(k->results[r].dtype);
        for (int64_t e = 0; e < ebb_shape_elements(&k->results[r].shape); e++) {
            double f[N_EVALUATIONS];
            bool constant = true;
            for (int p = 0; p < N_EVALUATIONS; p++) {
                f[p] = ebb_tensor_get(&results[p][r], e);
                constant = constant && f[p] == f[0];
            }
            if (is_float ? !is_smooth(f) : !constant)
                return false;
        }
    }
    return true;
}

/* Without elements nothing shows whether the op is defined at its inputs: they must lie where its
 * samples do. */
static bool is_defined(const maker *m, const candidate *k)
{
    for (int r = 0; r < k->op->n_results; r++)
        if (ebb_shape_elements(&k->results[r].shape) > 0)
            return true;
    for (int i = 0; i < k->n_inputs; i++) {
        const ebb_tensor *value = &m->values[k->inputs[i].id];
        const ebb_sample_range range = sample_range(k->sample, i);
        const double low = range.low, high = range.high;
        const bool is_bounded = ebb_dtype_is_float(value->type.dtype) && low < high;
        for (int64_t e = 0; is_bounded && e < ebb_shape_elements(&value->type.shape); e++)
            if (!(ebb_tensor_get(value, e) >= low && ebb_tensor_get(value, e) <= high))
                return false;
    }
    return true;
}

static bool evaluate_candidate(maker *m, const candidate *k)
{
    ebb_tensor results[N_EVALUATIONS][EBB_MAX_RESULTS];
    memset(results, 0, sizeof results);
    int n_points = m->options->wild ? 1 : N_EVALUATIONS;
    bool good = m->options->wild || is_defined(m, k);
    for (int p = 0; p < n_points && good; p++)
        good = evaluate_at(m, k, p, results[p]);
    good = good && (m->options->wild || results_are_tame(k, results));
    for (int p = 0; p < n_points; p++)
        for (int r = 0; r < k->op->n_results; r++)
            ebb_tensor_finish(&results[p][r]);
    return good;
}

static const ebb_op *draw_op(maker *m)
{
    int n;
    const ebb_op *const *ops = ebb_op_list(&n);
    const random_case_options *o = m->options;
    if (o->n_focus && draw(m, 3))
        return o->focus[draw(m, o->n_focus)];
    return ops[draw(m, n)];
}

static bool draw_candidate(maker *m, candidate *k)
{
    memset(k, 0, sizeof *k);
    k->op = draw_op(m);
    if (!k->op->eval || !k->op->n_samples || k->op->attrs_bytes > MAX_ATTRS_BYTES)
        return false;
    k->sample = &k->op->samples[draw(m, k->op->n_samples)];
    k->n_inputs = k->sample->n_inputs ? k->sample->n_inputs : k->op->n_inputs;
    bool useless = k->sample->no_gradient && has_gradient_samples(k->op) && !m->options->wild;
    if (k->sample->error || useless)
        return false;
    for (int i = 0; i < k->n_inputs; i++)
        if (ebb_shape_elements(&k->sample->inputs[i].shape) > MAX_ELEMENTS)
            return false;
    if (k->sample->attrs)
        memcpy(k->attrs.bytes, k->sample->attrs, k->op->attrs_bytes);
    return true;
}

static void add_op(maker *m)
{
    enum { MAX_TRIES = 60 };
    candidate k;
    for (int tries = 0; tries < MAX_TRIES && m->n + 24 < MAX_NODES; tries++) {
        if (!draw_candidate(m, &k))
            continue;
        bool freely = draw(m, m->options->wild ? 10 : 3);
        if (!(freely ? choose_freely : choose_like_sample)(m, &k))
            continue;
        if (freely && draw(m, 2))
            change_attributes(m, &k);
        if (!infer_candidate(m, &k) || !evaluate_candidate(m, &k))
            continue;
        uint32_t before = ebb_graph_n_nodes(m->all.graph);
        ebb_node node = ebb_emit(m->all.graph, k.op, k.inputs, k.n_inputs,
                                 k.op->attrs_bytes ? k.attrs.bytes : NULL, NULL);
        ck_assert_msg(node.id, "seed %llu: %s", (unsigned long long)m->options->seed,
                      ebb_graph_message(m->all.graph));
        compute_new(m);
        for (uint32_t id = before + 1; id <= m->n; id++)
            m->proposed[id] = true;
        if (m->n > before)
            return;
    }
}

/* Proposed nodes that nothing uses, the last ones first. */
static void choose_outputs(maker *m)
{
    bool used[MAX_NODES + 1] = { false };
    graph_case *c = &m->all;
    for (uint32_t id = 1; id <= m->n; id++) {
        ebb_node node = ebb_graph_node(c->graph, id);
        for (int i = 0; i < ebb_node_n_inputs(node); i++)
            used[ebb_node_input(node, i).id] = true;
    }
    for (uint32_t id = m->n; id > 0 && c->n_outputs < CASE_MAX_OUTPUTS; id--) {
        ebb_node node = ebb_graph_node(c->graph, id);
        if (!used[id] && m->proposed[id])
            c->outputs[c->n_outputs++] = node;
    }
    if (c->n_outputs == 0)
        c->outputs[c->n_outputs++] = ebb_graph_node(c->graph, m->n);
}

static const ebb_sample plain = { .inputs = EBB_INPUTS(EBB_SAMPLE_TYPE(F64, 3, 5)) };

void random_case_init(graph_case *c, const random_case_options *options)
{
    maker m = { .options = options, .state = options->seed * UINT64_C(0xD1342543DE82EF95) };
    m.all.graph = ebb_graph_create("random");
    ck_assert_ptr_nonnull(m.all.graph);
    m.floats = options->wild && draw(&m, 2) ? EBB_F32 : EBB_F64;
    ebb_type type = { m.floats, EBB_SHAPE(3, 5) };
    add_fresh(&m, 4, type, &plain, 0);
    int n_ops = options->n_ops ? options->n_ops : 3 + draw(&m, 22);
    for (int i = 0; i < n_ops; i++)
        add_op(&m);
    choose_outputs(&m);
    for (int i = 0; i < m.all.n_inputs; i++)
        m.all.inputs[i].value = m.values[m.all.inputs[i].node.id];
    ck_assert(graph_case_rebuild(&m.all, NULL, c));
    for (uint32_t id = 1; id <= m.n; id++)
        ebb_tensor_finish(&m.values[id]);
    ebb_graph_destroy(m.all.graph);
}
