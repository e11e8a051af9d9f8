/* Layers against their formulas in plain loops: linear on sequences, embedding, norms, attention,
 * the transformer block. */
#include "tests/support/runtime.h"

#include <math.h>
#include <stdlib.h>

enum { BATCH = 2, LENGTH = 3, KEYS = 5, WIDTH = 4, CONTEXT_WIDTH = 6, HEADS = 2, HIDDEN = 7 };

static double draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u; /* Numerical Recipes, 7.1 */
    return (double)(*seed >> 8) / 0x1p23 - 1;
}

static void fill(double *x, int64_t n, uint32_t seed)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = draw(&seed);
}

/* A graph with one output that was run once; its variables are in the store. */
typedef struct outcome {
    ebb_graph *graph;
    ebb_store *store;
    double values[512];
} outcome;

/* Every variable gets random values, so that zeros and ones hide nothing. */
static void compute(outcome *o, ebb_node y, const ebb_feed *feeds, int n_feeds)
{
    ck_assert_msg(ebb_graph_status(o->graph) == EBB_OK, "%s", ebb_graph_message(o->graph));
    ck_assert_uint_le(ebb_type_bytes(ebb_node_type(y)), sizeof o->values);
    o->store = ebb_store_create(NULL);
    ebb_executable *e = compile(o->graph, 0, &y, 1, o->store);
    for (int64_t i = 0; i < ebb_store_size(o->store); i++) {
        ebb_tensor value;
        const char *name = ebb_store_name(o->store, i);
        ck_assert_int_eq(ebb_store_get(o->store, name, &value), EBB_OK);
        if (value.type.dtype != EBB_F64)
            continue;
        double values[512];
        fill(values, ebb_shape_elements(&value.type.shape), (uint32_t)(100 + i));
        value.data = values;
        ck_assert_int_eq(ebb_store_set(o->store, name, &value), EBB_OK);
    }
    run(e, feeds, n_feeds, &FETCH(y, o->values), 1);
    ebb_executable_destroy(e);
}

static void finish(outcome *o)
{
    ebb_store_destroy(o->store);
    ebb_graph_destroy(o->graph);
}

static const double *variable(const outcome *o, const char *name, ebb_shape shape)
{
    ebb_tensor value;
    ck_assert_msg(ebb_store_get(o->store, name, &value) == EBB_OK, "no %s", name);
    ck_assert_msg(ebb_shape_equal(&value.type.shape, &shape), "%s", name);
    return value.data;
}

static void check_values(const outcome *o, const double *expected, int n)
{
    for (int i = 0; i < n; i++)
        ck_assert_msg(fabs(o->values[i] - expected[i]) <= 1e-12 * (1 + fabs(expected[i])),
                      "element %d: %.17g, not %.17g", i, o->values[i], expected[i]);
}

static void check_shape(ebb_node node, ebb_shape shape)
{
    ck_assert(ebb_shape_equal(&ebb_node_type(node)->shape, &shape));
}

/* y[rows, outputs] = x w + b of the layer "name". */
static void apply_linear(const outcome *o, const char *name, const double *x, int rows, int inputs,
                         int outputs, double *y)
{
    char path[128];
    snprintf(path, sizeof path, "%s/w", name);
    const double *w = variable(o, path, EBB_SHAPE(inputs, outputs));
    snprintf(path, sizeof path, "%s/b", name);
    const double *b = variable(o, path, EBB_SHAPE(outputs));
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < outputs; j++) {
            double sum = b[j];
            for (int i = 0; i < inputs; i++)
                sum += x[r * inputs + i] * w[i * outputs + j];
            y[r * outputs + j] = sum;
        }
}

/* ---- linear and embedding ---- */

START_TEST(test_linear_on_sequences)
{
    double x[BATCH * LENGTH * WIDTH], y[BATCH * LENGTH * HIDDEN];
    fill(x, BATCH * LENGTH * WIDTH, 1);
    outcome o = { .graph = ebb_graph_create("g") };
    const ebb_node in = ebb_input(o.graph, "x", EBB_F64, EBB_SHAPE(BATCH, LENGTH, WIDTH));
    const ebb_node out = ebb_nn_linear(in, HIDDEN, &(ebb_nn_linear_options){ .name = "fc" });
    check_shape(out, EBB_SHAPE(BATCH, LENGTH, HIDDEN));
    compute(&o, out, &FEED(in, x), 1);
    apply_linear(&o, "fc", x, BATCH * LENGTH, WIDTH, HIDDEN, y);
    check_values(&o, y, BATCH * LENGTH * HIDDEN);
    finish(&o);
}
END_TEST

START_TEST(test_embedding)
{
    static const int32_t indices[] = { 4, 0, 4, 2, 1, 3 };
    outcome o = { .graph = ebb_graph_create("g") };
    const ebb_node in = ebb_input(o.graph, "x", EBB_I32, EBB_SHAPE(BATCH, LENGTH));
    const ebb_node out = ebb_nn_embedding(
        in, 5, WIDTH, &(ebb_nn_embedding_options){ .name = "words", .dtype = EBB_F64 });
    check_shape(out, EBB_SHAPE(BATCH, LENGTH, WIDTH));
    compute(&o, out, &FEED(in, indices), 1);
    const double *w = variable(&o, "words/w", EBB_SHAPE(5, WIDTH));
    for (int i = 0; i < BATCH * LENGTH; i++)
        ck_assert_mem_eq(o.values + i * WIDTH, w + indices[i] * WIDTH, WIDTH * sizeof *w);

    static const int32_t outside[] = { 4, 0, 5, 2, 1, 3 };
    ebb_executable *e = compile(o.graph, 0, &out, 1, o.store);
    ck_assert_int_eq(ebb_run(e, &FEED(in, outside), 1, &FETCH(out, o.values), 1), EBB_BAD_INDEX);
    ebb_executable_destroy(e);
    finish(&o);
}
END_TEST

/* ---- norms ---- */

/* One group of n values with one scale and shift for each run of `run` values. */
static void normalize(const double *x, int n, int run_length, const double *scale,
                      const double *shift, bool centers, double epsilon, double *y)
{
    double mean = 0, squares = 0;
    for (int i = 0; i < n && centers; i++)
        mean += x[i] / n;
    for (int i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean) / n;
    for (int i = 0; i < n; i++)
        y[i] = (scale ? scale[i / run_length] : 1) * (x[i] - mean) / sqrt(squares + epsilon) +
               (shift ? shift[i / run_length] : 0);
}

/* x is [2, 4, 3, 2]. */
enum { IMAGES = 2, CHANNELS = 4, PIXELS = 6, ELEMENTS = IMAGES * CHANNELS * PIXELS };

START_TEST(test_norms)
{
    double x[ELEMENTS], y[ELEMENTS];
    fill(x, ELEMENTS, 3);
    for (int kind = 0; kind < 5; kind++)
        for (int affine = 0; affine < 2; affine++) {
            const ebb_nn_norm_options options = { .name = "n",
                                                  .no_affine = !affine,
                                                  .epsilon = affine ? 0.5 : 0 };
            ebb_nn_norm_options two_axes = options;
            two_axes.n_axes = 2;
            outcome o = { .graph = ebb_graph_create("g") };
            const ebb_node in = ebb_input(o.graph, "x", EBB_F64, EBB_SHAPE(2, 4, 3, 2));
            const ebb_node out = kind == 0   ? ebb_nn_layer_norm(in, &options)
                                 : kind == 1 ? ebb_nn_rms_norm(in, &options)
                                 : kind == 2 ? ebb_nn_layer_norm(in, &two_axes)
                                 : kind == 3 ? ebb_nn_group_norm(in, 2, &options)
                                             : ebb_nn_instance_norm(in, &options);
            compute(&o, out, &FEED(in, x), 1);
            static const int sizes[] = { 2, 2, PIXELS, 2 * PIXELS, PIXELS };
            const int n = sizes[kind];
            const bool by_channel = kind >= 3;
            const ebb_shape shape = by_channel  ? EBB_SHAPE(CHANNELS)
                                    : kind == 2 ? EBB_SHAPE(3, 2)
                                                : EBB_SHAPE(2);
            const double *scale = affine ? variable(&o, "n/scale", shape) : NULL;
            const double *shift = affine && kind != 1 ? variable(&o, "n/shift", shape) : NULL;
            ck_assert_int_eq(ebb_store_size(o.store), (scale != NULL) + (shift != NULL));
            for (int first = 0; first < ELEMENTS; first += n) {
                const int channel = by_channel ? first / PIXELS % CHANNELS : 0;
                normalize(x + first, n, by_channel ? PIXELS : 1, scale ? scale + channel : NULL,
                          shift ? shift + channel : NULL, kind != 1, affine ? 0.5 : 1e-5,
                          y + first);
            }
            check_values(&o, y, ELEMENTS);
            finish(&o);
        }
}
END_TEST

/* ---- attention ---- */

/* Multi-head attention by its definition; */
static void attend(const outcome *o, const char *scope, const double *x, const double *context,
                   int n_keys, int context_width, bool causal, const double *mask, double *y)
{
    double q[BATCH * LENGTH * WIDTH], k[BATCH * KEYS * WIDTH], v[BATCH * KEYS * WIDTH];
    double mixed[BATCH * LENGTH * WIDTH];
    char name[4][64];
    static const char *const layers[] = { "query", "key", "value", "out" };
    for (int i = 0; i < 4; i++)
        snprintf(name[i], sizeof name[i], "%s/%s", scope, layers[i]);
    apply_linear(o, name[0], x, BATCH * LENGTH, WIDTH, WIDTH, q);
    apply_linear(o, name[1], context, BATCH * n_keys, context_width, WIDTH, k);
    apply_linear(o, name[2], context, BATCH * n_keys, context_width, WIDTH, v);
    const int dim = WIDTH / HEADS;
    for (int b = 0; b < BATCH; b++)
        for (int h = 0; h < HEADS; h++)
            for (int i = 0; i < LENGTH; i++) {
                double p[KEYS], sum = 0;
                for (int j = 0; j < n_keys; j++) {
                    double score = 0;
                    for (int d = 0; d < dim; d++)
                        score += q[(b * LENGTH + i) * WIDTH + h * dim + d] *
                                 k[(b * n_keys + j) * WIDTH + h * dim + d];
                    score = score / sqrt(dim) + (mask ? mask[i * n_keys + j] : 0);
                    p[j] = causal && j > i ? 0 : exp(score);
                    sum += p[j];
                }
                for (int d = 0; d < dim; d++) {
                    double *out = &mixed[(b * LENGTH + i) * WIDTH + h * dim + d];
                    *out = 0;
                    for (int j = 0; j < n_keys; j++)
                        *out += p[j] / sum * v[(b * n_keys + j) * WIDTH + h * dim + d];
                }
            }
    apply_linear(o, name[3], mixed, BATCH * LENGTH, WIDTH, WIDTH, y);
}

START_TEST(test_attention)
{
    double x[BATCH * LENGTH * WIDTH], context[BATCH * KEYS * CONTEXT_WIDTH],
        y[BATCH * LENGTH * WIDTH];
    double mask[LENGTH * KEYS];
    fill(x, BATCH * LENGTH * WIDTH, 5);
    fill(context, BATCH * KEYS * CONTEXT_WIDTH, 6);
    fill(mask, LENGTH * KEYS, 7);
    for (int way = 0; way < 4; way++) {
        const bool causal = way & 1, crosses = way & 2;
        outcome o = { .graph = ebb_graph_create("g") };
        const ebb_node in = ebb_input(o.graph, "x", EBB_F64, EBB_SHAPE(BATCH, LENGTH, WIDTH));
        ebb_nn_attention_options options = { .name = "a", .heads = HEADS, .causal = causal };
        ebb_node other = EBB_NONE;
        if (crosses) {
            other = ebb_input(o.graph, "c", EBB_F64, EBB_SHAPE(BATCH, KEYS, CONTEXT_WIDTH));
            options.mask = ebb_constant(o.graph, EBB_F64, EBB_SHAPE(LENGTH, KEYS), mask);
        }
        const ebb_node out = ebb_nn_attention(in, other, &options);
        ebb_feed feeds[2] = { FEED(in, x) };
        if (crosses)
            feeds[1] = FEED(other, context);
        compute(&o, out, feeds, crosses ? 2 : 1);
        if (crosses)
            attend(&o, "a", x, context, KEYS, CONTEXT_WIDTH, causal, mask, y);
        else
            attend(&o, "a", x, x, LENGTH, WIDTH, causal, NULL, y);
        check_values(&o, y, BATCH * LENGTH * WIDTH);
        finish(&o);
    }
}
END_TEST

/* ---- the transformer block ---- */

static void norm_rows(const outcome *o, const char *name, const double *x, double *y)
{
    char path[64];
    snprintf(path, sizeof path, "%s/scale", name);
    const double *scale = variable(o, path, EBB_SHAPE(WIDTH));
    snprintf(path, sizeof path, "%s/shift", name);
    const double *shift = variable(o, path, EBB_SHAPE(WIDTH));
    for (int i = 0; i < BATCH * LENGTH; i++)
        normalize(x + i * WIDTH, WIDTH, 1, scale, shift, true, 1e-5, y + i * WIDTH);
}

START_TEST(test_transformer)
{
    enum { ROWS = BATCH * LENGTH, N = ROWS * WIDTH };
    double x[N], normed[N], branch[N], y[N], hidden[ROWS * 4 * WIDTH];
    for (int way = 0; way < 4; way++) {
        const bool causal = way & 1;
        const int n_hidden = way & 2 ? HIDDEN : 4 * WIDTH;
        fill(x, N, 11);
        outcome o = { .graph = ebb_graph_create("g") };
        const ebb_node in = ebb_input(o.graph, "x", EBB_F64, EBB_SHAPE(BATCH, LENGTH, WIDTH));
        /* dropout that is off changes nothing */
        const ebb_nn_transformer_options options = { .name = "t",
                                                     .heads = HEADS,
                                                     .hidden = way & 2 ? HIDDEN : 0,
                                                     .causal = causal,
                                                     .dropout = 0.5,
                                                     .inference = true };
        compute(&o, ebb_nn_transformer(in, &options), &FEED(in, x), 1);
        norm_rows(&o, "t/norm1", x, normed);
        attend(&o, "t/attention", normed, normed, LENGTH, WIDTH, causal, NULL, branch);
        for (int i = 0; i < N; i++)
            y[i] = x[i] + branch[i];
        norm_rows(&o, "t/norm2", y, normed);
        apply_linear(&o, "t/expand", normed, ROWS, WIDTH, n_hidden, hidden);
        for (int i = 0; i < ROWS * n_hidden; i++)
            hidden[i] *= 0.5 * (1 + erf(hidden[i] / sqrt(2)));
        apply_linear(&o, "t/contract", hidden, ROWS, n_hidden, WIDTH, branch);
        for (int i = 0; i < N; i++)
            y[i] += branch[i];
        check_values(&o, y, N);
        finish(&o);
    }
}
END_TEST

/* Position 2 of the input moves position 2 of a causal block, and no earlier one. */
START_TEST(test_causal_block_sees_no_future)
{
    double x[BATCH * LENGTH * WIDTH], before[BATCH * LENGTH * WIDTH];
    fill(x, BATCH * LENGTH * WIDTH, 12);
    for (int i = 0; i < 2; i++) {
        outcome o = { .graph = ebb_graph_create("g") };
        const ebb_node in = ebb_input(o.graph, "x", EBB_F64, EBB_SHAPE(BATCH, LENGTH, WIDTH));
        compute(
            &o,
            ebb_nn_transformer(
                in, &(ebb_nn_transformer_options){ .name = "t", .heads = HEADS, .causal = true }),
            &FEED(in, x), 1);
        for (int k = 0; k < BATCH * LENGTH * WIDTH && i > 0; k++) {
            const bool is_last = k / WIDTH % LENGTH == LENGTH - 1;
            ck_assert_int_eq(before[k] == o.values[k], !(is_last && k < LENGTH * WIDTH));
        }
        memcpy(before, o.values, sizeof before);
        for (int k = 0; k < WIDTH; k++)
            x[(LENGTH - 1) * WIDTH + k] += 0.1 * (k + 1);
        finish(&o);
    }
}
END_TEST

START_TEST(test_transformer_gradients)
{
    ebb_graph *g = ebb_graph_create("g");
    const ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SHAPE(BATCH, LENGTH, WIDTH));
    const ebb_node y = ebb_nn_transformer(
        x, &(ebb_nn_transformer_options){ .name = "t", .heads = HEADS, .causal = true });
    const ebb_node xs[] = { x, ebb_graph_find(g, "t/attention/key/w"),
                            ebb_graph_find(g, "t/norm1/scale"), ebb_graph_find(g, "t/expand/b") };
    ebb_check_report report;
    ck_assert_msg(ebb_check_gradients(y, xs, 4, NULL, &report) == EBB_OK, "%s",
                  ebb_graph_message(g));
    ck_assert_int_gt(report.n_checks, 0);
    ebb_graph_destroy(g);
}
END_TEST

/* Dropout in training: scopes of its own, and a counter each. */
START_TEST(test_transformer_dropout)
{
    ebb_graph *g = ebb_graph_create("g");
    const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(BATCH, LENGTH, WIDTH));
    ck_assert(!ebb_node_is_none(ebb_nn_transformer(
        x, &(ebb_nn_transformer_options){ .name = "t", .heads = 1, .dropout = 0.1 })));
    ck_assert(!ebb_node_is_none(ebb_graph_find(g, "t/dropout1/counter")));
    ck_assert(!ebb_node_is_none(ebb_graph_find(g, "t/dropout2/counter")));
    ebb_graph_destroy(g);
}
END_TEST

/* ---- errors ---- */

static void check_refused(ebb_graph *g, ebb_node y, ebb_status status, const char *text)
{
    ck_assert(ebb_node_is_none(y));
    ck_assert_msg(ebb_graph_status(g) == status, "%s", ebb_graph_message(g));
    CHECK_TEXT(ebb_graph_message(g), text);
    CHECK_TEXT(ebb_graph_message(g), "test_layers.c:");
    ebb_graph_destroy(g);
}

/* A new graph for each. */
#define REFUSED(dtype, shape, builder, status, text)                                               \
    do {                                                                                           \
        ebb_graph *g = ebb_graph_create("g");                                                      \
        const ebb_node x = ebb_input(g, "x", dtype, shape);                                        \
        check_refused(g, builder, status, text);                                                   \
    } while (0)
#define NORM(...) (&(ebb_nn_norm_options){ __VA_ARGS__ })
#define ATTENTION(...) (&(ebb_nn_attention_options){ __VA_ARGS__ })
#define TRANSFORMER(...) (&(ebb_nn_transformer_options){ __VA_ARGS__ })
#define EMBEDDING(...) (&(ebb_nn_embedding_options){ __VA_ARGS__ })

START_TEST(test_layer_errors)
{
    REFUSED(EBB_I32, EBB_SHAPE(2, 3), ebb_nn_layer_norm(x, NORM(.name = "n")), EBB_BAD_DTYPE,
            "nn_layer_norm \"n\": x must be float: x x i32[2,3]");
    REFUSED(EBB_F32, EBB_SHAPE(2, 3), ebb_nn_layer_norm(x, NULL), EBB_BAD_NAME,
            "nn_layer_norm: the layer needs a name");
    REFUSED(EBB_F32, EBB_SHAPE(2, 3), ebb_nn_rms_norm(x, NORM(.name = "n", .n_axes = 3)),
            EBB_BAD_AXIS, "nn_rms_norm \"n\": x has not 3 axes to normalize");
    REFUSED(EBB_F32, EBB_SHAPE(2, 3), ebb_nn_layer_norm(x, NORM(.name = "n", .epsilon = -1)),
            EBB_BAD_ARGUMENT, "epsilon -1 is negative or not finite");
    REFUSED(EBB_F32, EBB_SHAPE(2, 3), ebb_nn_group_norm(x, 2, NORM(.name = "n")), EBB_BAD_ARGUMENT,
            "nn_group_norm \"n\": 2 groups do not divide 3 channels");
    REFUSED(EBB_F32, EBB_SHAPE(2), ebb_nn_instance_norm(x, NORM(.name = "n")), EBB_BAD_SHAPE,
            "nn_instance_norm \"n\": x must be [batch, channels, ...]");
    REFUSED(EBB_F32, EBB_SHAPE(2), ebb_nn_embedding(x, 3, 4, EMBEDDING(.name = "e")), EBB_BAD_DTYPE,
            "nn_embedding \"e\": indices must be integers");
    REFUSED(EBB_I64, EBB_SHAPE(2), ebb_nn_embedding(x, 0, 4, EMBEDDING(.name = "e")), EBB_BAD_SHAPE,
            "needs at least 1 entry and width 1, not 0 and 4");
    REFUSED(EBB_I64, EBB_SHAPE(2), ebb_nn_embedding(x, 3, 4, NULL), EBB_BAD_NAME, "needs a name");
    REFUSED(EBB_F32, EBB_SHAPE(2, 3, 4), ebb_nn_attention(x, EBB_NONE, ATTENTION(.name = "a")),
            EBB_BAD_ARGUMENT,
            "nn_attention \"a\": 0 heads do not divide a width of 4: x x f32[2,3,4]");
    REFUSED(EBB_F32, EBB_SHAPE(2, 3, 4, 1), ebb_nn_attention(x, EBB_NONE, ATTENTION(.name = "a")),
            EBB_BAD_SHAPE, "x must be [batch, length, width]");
    REFUSED(EBB_F32, EBB_SHAPE(2, 3, 4),
            ebb_nn_attention(x, ebb_input(x.graph, "c", EBB_F32, EBB_SHAPE(3, 3, 4)),
                             ATTENTION(.name = "a", .heads = 2)),
            EBB_BAD_SHAPE, "context must be [batch, keys, width] of x's batch");
    REFUSED(EBB_F32, EBB_SHAPE(2, 3, 4),
            ebb_nn_attention(x, ebb_input(x.graph, "c", EBB_F64, EBB_SHAPE(2, 3, 4)),
                             ATTENTION(.name = "a", .heads = 2)),
            EBB_BAD_DTYPE, "context c f64[2,3,4]");
    REFUSED(EBB_F32, EBB_SHAPE(2, 3, 4),
            ebb_nn_transformer(x, TRANSFORMER(.name = "t", .heads = 3)), EBB_BAD_ARGUMENT,
            "nn_transformer \"t\": 3 heads do not divide a width of 4");
    REFUSED(EBB_F32, EBB_SHAPE(2, 3, 4),
            ebb_nn_transformer(x, TRANSFORMER(.name = "t", .heads = 2, .dropout = 1)),
            EBB_BAD_ARGUMENT, "dropout 1 in [0, 1)");
    REFUSED(EBB_F32, EBB_SHAPE(2, 3, 4), ebb_nn_transformer(x, NULL), EBB_BAD_NAME, "needs a name");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("layers");
    TCase *layers = tcase_create("layers");
    tcase_add_test(layers, test_linear_on_sequences);
    tcase_add_test(layers, test_embedding);
    tcase_add_test(layers, test_norms);
    tcase_add_test(layers, test_attention);
    tcase_add_test(layers, test_transformer);
    tcase_add_test(layers, test_causal_block_sees_no_future);
    tcase_add_test(layers, test_transformer_gradients);
    tcase_add_test(layers, test_transformer_dropout);
    tcase_add_test(layers, test_layer_errors);
    suite_add_tcase(suite, layers);
    return run_suite(suite);
}
