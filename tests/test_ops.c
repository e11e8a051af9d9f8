/* Walks the registry: every sample of every op, with no code per op. Infer agrees with eval, known
 * values hold, errors say what they should, decompositions and views give what eval gives, F32
 * gives what F64 gives. */
#include "graph/interpret.h"
#include "ops/descriptors.h"
#include "tests/support/golden.h"
#include "tests/support/runner.h"
#include "tests/support/samples.h"
#include <ebb/ops.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_ONE(name) +1
enum { N_OPS = 0 EBB_OP_LIST(COUNT_ONE) };

static const ebb_op *op_at(int i)
{
    int n;
    const ebb_op *const *ops = ebb_op_list(&n);
    ck_assert_int_eq(n, N_OPS);
    return ops[i];
}

static void assert_contains(const char *label, const char *text, const char *part)
{
    ck_assert_msg(part && strstr(text, part), "%s: \"%s\" does not contain \"%s\"", label, text,
                  part ? part : "(no message given)");
}

/* ---- evaluating a case ---- */

enum { GUARD_BYTES = 64, MAX_RESULTS = EBB_MAX_RESULTS };

/* Results between guards that must not change. */
typedef struct outcome {
    ebb_status status;
    ebb_error error;
    int n;
    ebb_tensor results[MAX_RESULTS];
} outcome;

static void check_bytes(const ebb_tensor *t, size_t begin, size_t n, int pattern, const char *label,
                        const char *fault)
{
    for (size_t i = begin; i < begin + n; i++)
        if (((const unsigned char *)t->data)[i] != pattern) /* an assertion each is slow */
            ck_abort_msg("%s: %s", label, fault);
}

static void evaluate(const sample_case *c, int pattern, outcome *out)
{
    *out = (outcome){ .n = c->op->n_results };
    ck_assert_int_le(out->n, MAX_RESULTS);
    for (int r = 0; r < out->n; r++) {
        ebb_tensor *t = &out->results[r];
        t->type = *ebb_node_type(c->results[r]);
        size_t bytes = ebb_tensor_bytes(t);
        t->data = malloc(bytes + GUARD_BYTES);
        ck_assert_ptr_nonnull(t->data);
        memset(t->data, pattern, bytes + GUARD_BYTES);
    }
    out->status =
        ebb_op_evaluate(c->op, c->attrs, c->inputs, c->n_inputs, out->results, &out->error);
    for (int r = 0; r < out->n; r++)
        check_bytes(&out->results[r], ebb_tensor_bytes(&out->results[r]), GUARD_BYTES, pattern,
                    c->label, "wrote behind its result");
}

static void finish_outcome(outcome *out)
{
    for (int r = 0; r < out->n; r++)
        free(out->results[r].data);
}

static void assert_same_bytes(const sample_case *c, const outcome *a, const outcome *b,
                              const char *what)
{
    for (int r = 0; r < a->n; r++)
        ck_assert_msg(
            memcmp(a->results[r].data, b->results[r].data, ebb_tensor_bytes(&a->results[r])) == 0,
            "%s: %s", c->label, what);
}

static void assert_near(const sample_case *c, const char *what, const ebb_tensor *have,
                        const ebb_tensor *want, double relative, double absolute)
{
    int64_t n = ebb_shape_elements(&have->type.shape);
    ck_assert_msg(ebb_shape_equal(&have->type.shape, &want->type.shape), "%s: %s: shapes", c->label,
                  what);
    for (int64_t i = 0; i < n; i++) {
        double a = ebb_tensor_get(have, i), b = ebb_tensor_get(want, i);
        if (!nearly_equal(a, b, relative, absolute)) /* an assertion each is slow */
            ck_abort_msg("%s: %s: element %lld is %.17g, not %.17g", c->label, what, (long long)i,
                         a, b);
    }
}

/* ---- what each sample must fulfil ---- */

static void check_error(const sample_case *c)
{
    const ebb_sample *sample = c->sample;
    if (sample_fails_to_build(sample)) {
        ck_assert_msg(ebb_graph_status(c->graph) == sample->error, "%s: status %s", c->label,
                      ebb_status_name(ebb_graph_status(c->graph)));
        ck_assert(ebb_node_is_none(c->results[0]));
        assert_contains(c->label, ebb_graph_message(c->graph), sample->message);
        return;
    }
    outcome out;
    evaluate(c, 0xA5, &out);
    ck_assert_msg(out.status == sample->error, "%s: status %s", c->label,
                  ebb_status_name(out.status));
    assert_contains(c->label, out.error.message, sample->message);
    for (int r = 0; r < out.n; r++)
        check_bytes(&out.results[r], 0, ebb_tensor_bytes(&out.results[r]), 0xA5, c->label,
                    "wrote before it failed");
    ck_assert_msg(c->op->traits & EBB_TRAIT_FALLIBLE, "%s: fails, and is not FALLIBLE", c->label);
    finish_outcome(&out);
}

static void check_expected(const sample_case *c, const outcome *out, bool f32)
{
    const double *expected = c->sample->expected;
    if (!expected)
        return;
    ck_assert_msg(c->sample->source, "%s: a known value without a source", c->label);
    double tolerance = c->sample->tolerance > 0 ? c->sample->tolerance : 1e-12;
    for (int r = 0; r < out->n; r++) {
        int64_t n = ebb_shape_elements(&out->results[r].type.shape);
        for (int64_t i = 0; i < n; i++, expected++) {
            double have = ebb_tensor_get(&out->results[r], i);
            ck_assert_msg(nearly_equal(have, *expected, f32 ? 1e-6 : 0,
                                       f32 ? fmax(tolerance, 1e-6) : tolerance),
                          "%s: element %lld is %.17g, known is %.17g (%s)", c->label, (long long)i,
                          have, *expected, c->sample->source);
        }
    }
}

static void check_decomposition(const sample_case *c, const outcome *out)
{
    if (!c->op->decompose)
        return;
    ebb_node results[EBB_MAX_RESULTS] = { { 0 } };
    ebb_decompose d = {
        c->graph, c->op, c->attrs, c->n_inputs, c->op->n_results, c->nodes, results
    };
    c->op->decompose(&d);
    ck_assert_msg(ebb_graph_status(c->graph) == EBB_OK, "%s: %s", c->label,
                  ebb_graph_message(c->graph));
    ebb_interpreter *in = ebb_interpreter_create(c->graph, NULL);
    ebb_error error = { .status = EBB_OK };
    for (int i = 0; i < c->n_inputs; i++)
        ck_assert_int_eq(ebb_interpreter_set(in, c->nodes[i], &c->inputs[i], &error), EBB_OK);
    ck_assert_msg(ebb_interpreter_run(in, results, out->n, &error) == EBB_OK, "%s: %s", c->label,
                  error.message);
    bool f32 = ebb_node_type(results[0])->dtype == EBB_F32;
    for (int r = 0; r < out->n; r++) {
        ck_assert_msg(ebb_type_equal(ebb_node_type(results[r]), &out->results[r].type),
                      "%s: the decomposition has another type", c->label);
        assert_near(c, "decomposition", ebb_interpreter_get(in, results[r]), &out->results[r],
                    f32 ? 1e-5 : 1e-12, f32 ? 1e-5 : 1e-12);
    }
    ebb_interpreter_destroy(in);
}

/* Layouts of input 0 that a backend may meet: dense with an offset, permuted, with gaps, backwards,
 * repeated. */
static int64_t make_layout(const ebb_shape *shape, int kind, ebb_layout *layout)
{
    *layout = ebb_layout_dense(shape);
    int64_t n = ebb_shape_elements(shape);
    switch (kind) {
    case 0:
        layout->offset = 5;
        return n + 5;
    case 1: { /* column-major */
        int64_t stride = 1;
        for (int i = 0; i < shape->rank; i++) {
            layout->strides[i] = stride;
            stride *= shape->dims[i] > 0 ? shape->dims[i] : 1;
        }
        return n;
    }
    case 2: /* every second element */
        for (int i = 0; i < shape->rank; i++)
            layout->strides[i] *= 2;
        return 2 * n;
    case 3: /* backwards */
        for (int i = 0; i < shape->rank; i++)
            layout->strides[i] = -layout->strides[i];
        layout->offset = n > 0 ? n - 1 : 0;
        return n;
    default: /* dimension 0 repeats */
        if (shape->rank)
            layout->strides[0] = 0;
        return n;
    }
}

static int64_t place_of(const ebb_layout *layout, const ebb_shape *shape, int64_t element)
{
    int64_t at = layout->offset;
    for (int d = shape->rank - 1; d >= 0; d--) {
        at += element % shape->dims[d] * layout->strides[d];
        element /= shape->dims[d];
    }
    return at;
}

static void check_views(const sample_case *c)
{
    if (!c->op->view)
        return;
    const ebb_tensor *x = &c->inputs[0];
    const ebb_shape *in = &x->type.shape, *result = &ebb_node_type(c->results[0])->shape;
    size_t bytes = ebb_dtype_bytes(x->type.dtype);
    for (int kind = 0; kind < 5; kind++) {
        ebb_layout layout, shown;
        int64_t room = make_layout(in, kind, &layout), n = ebb_shape_elements(in);
        ebb_view view = { c->op, c->attrs, in, result, &layout, &shown };
        if (!c->op->view(&view)) {
            ck_assert_msg(kind > 0, "%s: no view of a dense value", c->label);
            continue;
        }
        char *buffer = calloc((size_t)room + 1, bytes);
        for (int64_t i = 0; i < n; i++)
            memcpy(buffer + place_of(&layout, in, i) * (int64_t)bytes,
                   (char *)x->data + i * (int64_t)bytes, bytes);
        for (int64_t i = 0; i < n; i++) /* what repeats was written last by somebody */
            memcpy((char *)x->data + i * (int64_t)bytes,
                   buffer + place_of(&layout, in, i) * (int64_t)bytes, bytes);
        outcome out;
        evaluate(c, 0, &out);
        int64_t n_results = ebb_shape_elements(result);
        for (int64_t i = 0; i < n_results; i++)
            ck_assert_msg(memcmp(buffer + place_of(&shown, result, i) * (int64_t)bytes,
                                 (char *)out.results[0].data + i * (int64_t)bytes, bytes) == 0,
                          "%s: layout %d: element %lld", c->label, kind, (long long)i);
        finish_outcome(&out);
        free(buffer);
    }
}

/* The text form keeps the attributes. */
static void check_text(const sample_case *c)
{
    char *first = golden_print(c->graph);
    ebb_graph *parsed = golden_parse(first);
    char *second = golden_print(parsed);
    ck_assert_msg(strcmp(first, second) == 0, "%s: %s became %s", c->label, first, second);
    ebb_graph_destroy(parsed);
    free(first);
    free(second);
}

/* Swapping the inputs changes no bit. */
static void check_commutative(const sample_case *c, const outcome *out)
{
    if (!(c->op->traits & EBB_TRAIT_COMMUTATIVE))
        return;
    sample_case swapped = *c;
    swapped.inputs[0] = c->inputs[1];
    swapped.inputs[1] = c->inputs[0];
    outcome other;
    evaluate(&swapped, 0, &other);
    assert_same_bytes(c, out, &other, "is not commutative");
    finish_outcome(&other);
}

/* Each element alone gives the same bits. */
static void check_elementwise(const sample_case *c, const outcome *out)
{
    if (!(c->op->traits & EBB_TRAIT_ELEMENTWISE))
        return;
    int64_t n = ebb_shape_elements(&out->results[0].type.shape);
    for (int64_t i = 0; i < n && i < 20; i++) {
        ebb_tensor inputs[EBB_MAX_SAMPLE_INPUTS];
        for (int k = 0; k < c->n_inputs; k++) {
            const ebb_tensor *t = &c->inputs[k];
            ck_assert(ebb_shape_equal(&t->type.shape, &out->results[0].type.shape));
            size_t bytes = ebb_dtype_bytes(t->type.dtype);
            inputs[k] =
                ebb_tensor_borrow(t->type.dtype, EBB_SCALAR, (char *)t->data + (size_t)i * bytes);
        }
        double elements[MAX_RESULTS] = { 0 };
        ebb_tensor results[MAX_RESULTS];
        for (int r = 0; r < out->n; r++)
            results[r] = ebb_tensor_borrow(out->results[r].type.dtype, EBB_SCALAR, &elements[r]);
        ck_assert_int_eq(ebb_op_evaluate(c->op, c->attrs, inputs, c->n_inputs, results, NULL),
                         EBB_OK);
        for (int r = 0; r < out->n; r++) {
            size_t bytes = ebb_dtype_bytes(out->results[r].type.dtype);
            ck_assert_msg(
                memcmp(&elements[r], (char *)out->results[r].data + (size_t)i * bytes, bytes) == 0,
                "%s: element %lld alone is another", c->label, (long long)i);
        }
    }
}

/* The same op on the F32 case's own values, widened: what F32 ought to be. */
static void check_f32_against_f64(const sample_case *f32, const outcome *out)
{
    int index = (int)(f32->sample - f32->op->samples);
    sample_case f64;
    sample_case_init(&f64, f32->op, index, EBB_F64);
    for (int i = 0; i < f64.n_inputs; i++) {
        int64_t n = ebb_shape_elements(&f64.inputs[i].type.shape);
        for (int64_t k = 0; k < n; k++)
            ebb_tensor_set(&f64.inputs[i], k, ebb_tensor_get(&f32->inputs[i], k));
    }
    outcome exact;
    evaluate(&f64, 0, &exact);
    for (int r = 0; r < out->n; r++)
        if (ebb_dtype_is_float(out->results[r].type.dtype))
            assert_near(f32, "against F64", &out->results[r], &exact.results[r], 1e-5, 1e-6);
        else
            assert_near(f32, "against F64", &out->results[r], &exact.results[r], 0, 0);
    finish_outcome(&exact);
    sample_case_finish(&f64);
}

static bool has_float_input(const ebb_sample *sample)
{
    for (int i = 0; sample->inputs && i < EBB_MAX_SAMPLE_INPUTS; i++)
        if (sample->inputs[i].dtype == EBB_F64)
            return true;
    return false;
}

static void check_sample(const ebb_op *op, int index, ebb_dtype floats)
{
    sample_case c;
    sample_case_init(&c, op, index, floats);
    if (!sample_fails_to_build(c.sample))
        ck_assert_msg(ebb_graph_status(c.graph) == EBB_OK, "%s: %s", c.label,
                      ebb_graph_message(c.graph));
    if (c.sample->error) {
        check_error(&c);
    } else {
        ebb_error error;
        ck_assert_msg(ebb_graph_verify(c.graph, &error) == EBB_OK, "%s: %s", c.label,
                      error.message);
        check_text(&c);
    }
    if (!c.sample->error && op->eval) {
        outcome out, again;
        evaluate(&c, 0xA5, &out);
        ck_assert_msg(out.status == EBB_OK, "%s: %s", c.label, out.error.message);
        evaluate(&c, 0x5A, &again); /* equal only if every byte is written */
        assert_same_bytes(&c, &out, &again, "leaves bytes unwritten, or changes its inputs");
        check_expected(&c, &out, floats == EBB_F32);
        check_decomposition(&c, &out);
        check_commutative(&c, &out);
        check_elementwise(&c, &out);
        if (floats == EBB_F32)
            check_f32_against_f64(&c, &out);
        check_views(&c); /* last: it changes the inputs */
        finish_outcome(&out);
        finish_outcome(&again);
    }
    sample_case_finish(&c);
}

START_TEST(samples_hold)
{
    const ebb_op *op = op_at(_i);
    for (int s = 0; s < op->n_samples; s++) {
        check_sample(op, s, EBB_F64);
        if (has_float_input(&op->samples[s]) && !op->samples[s].error)
            check_sample(op, s, EBB_F32);
    }
}
END_TEST

/* ---- what each descriptor must fulfil ---- */

START_TEST(descriptor_is_whole)
{
    const ebb_op *op = op_at(_i);
    ck_assert_ptr_eq(ebb_op_find(op->name), op);
    ck_assert_msg(strspn(op->name, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(op->name),
                  "%s", op->name);
    ck_assert_msg(op->summary && *op->summary && op->group && *op->group, "%s", op->name);
    ck_assert(op->infer != NULL);
    ck_assert_int_eq(!op->attrs_bytes, !op->attrs);
    ck_assert_msg(!(op->traits & EBB_TRAIT_LIBRARY) == !op->decompose, "%s: LIBRARY", op->name);
    ck_assert_msg(!(op->traits & EBB_TRAIT_VIEW) == !op->view, "%s: VIEW", op->name);
    ck_assert_msg(!(op->traits & EBB_TRAIT_SOURCE) == (op->n_inputs != 0), "%s: SOURCE", op->name);
    for (const ebb_attr_field *f = op->attrs; f && f->name; f++) {
        ck_assert_msg(f->summary && *f->summary && f->offset < op->attrs_bytes, "%s.%s", op->name,
                      f->name);
        ck_assert_int_eq(f->kind == EBB_ATTR_ENUM, f->enum_names != NULL);
    }
    int n_good = 0, n_scalar = 0, n_empty = 0, n_error = 0, n_known = 0;
    bool fails_at_run = false;
    for (int s = 0; s < op->n_samples; s++) {
        const ebb_sample *sample = &op->samples[s];
        n_error += sample->error != EBB_OK;
        n_known += sample->expected != NULL;
        fails_at_run |= sample->error && sample->values[0];
        if (sample->error)
            continue;
        n_good++;
        n_scalar += !sample->inputs || sample->inputs[0].shape.rank == 0;
        n_empty += sample->inputs && ebb_shape_elements(&sample->inputs[0].shape) == 0;
    }
    ck_assert_msg(fails_at_run == !!(op->traits & EBB_TRAIT_FALLIBLE), "%s: FALLIBLE", op->name);
    if (op->eval && op->n_inputs != 0) {
        ck_assert_msg(n_good >= 6, "%s has %d samples", op->name, n_good);
        ck_assert_msg(n_known > 0 || op == &ebb_op_stop_gradient, "%s: no known value", op->name);
    }
    /* ops that refuse scalars say so in an error sample; these have no sizes to be 0 */
    if (op->traits & (EBB_TRAIT_ELEMENTWISE | EBB_TRAIT_VIEW))
        ck_assert_msg(n_scalar > 0 && n_empty > 0, "%s: no scalar or no empty sample", op->name);
    /* stop_gradient and compare take everything */
    if (!(op->traits & EBB_TRAIT_ELEMENTWISE))
        ck_assert_msg(n_error > 0, "%s: no error sample", op->name);
}
END_TEST

START_TEST(unknown_names_are_not_found)
{
    ck_assert_ptr_null(ebb_op_find("no_such_op"));
    ck_assert_ptr_null(ebb_op_find(""));
    ck_assert_ptr_null(ebb_op_find(NULL));
    ck_assert_ptr_nonnull(ebb_op_list(NULL));
    for (int i = 0; i < N_OPS; i++)
        for (int k = 0; k < i; k++)
            ck_assert_str_ne(op_at(i)->name, op_at(k)->name);
}
END_TEST

/* ---- special values ---- */

typedef struct special {
    const char *op;
    ebb_dtype dtype;
    double a, b, expected;
} special;

#define INF INFINITY

/* By IEEE 754, the C standard (annex F) and the comments of ops.h. b is not looked at for one
 * input. */
static const special specials[] = {
    { "neg", EBB_F64, 0, 0, -0.0 },
    { "neg", EBB_I32, INT32_MIN, 0, INT32_MIN },
    { "neg", EBB_U8, 1, 0, 255 },
    { "abs", EBB_F64, -0.0, 0, 0 },
    { "abs", EBB_F64, -INF, 0, INF },
    { "abs", EBB_F64, NAN, 0, NAN },
    { "abs", EBB_I32, INT32_MIN, 0, INT32_MIN },
    { "abs", EBB_U8, 200, 0, 200 },
    { "sign", EBB_F64, NAN, 0, NAN },
    { "sign", EBB_F64, -0.0, 0, -0.0 },
    { "sign", EBB_F64, INF, 0, 1 },
    { "sign", EBB_U8, 200, 0, 1 },
    { "sign", EBB_I64, -5, 0, -1 },
    { "square", EBB_I32, 65536, 0, 0 },
    { "square", EBB_U8, 20, 0, 144 },
    { "exp", EBB_F64, -INF, 0, 0 },
    { "exp", EBB_F64, INF, 0, INF },
    { "exp", EBB_F64, NAN, 0, NAN },
    { "exp", EBB_F32, 100, 0, INF },
    { "log", EBB_F64, 0, 0, -INF },
    { "log", EBB_F64, -1, 0, NAN },
    { "log", EBB_F64, INF, 0, INF },
    { "sqrt", EBB_F64, -1, 0, NAN },
    { "sqrt", EBB_F64, -0.0, 0, -0.0 },
    { "sin", EBB_F64, INF, 0, NAN },
    { "cos", EBB_F64, 0, 0, 1 },
    { "tanh", EBB_F64, INF, 0, 1 },
    { "tanh", EBB_F64, -INF, 0, -1 },
    { "sigmoid", EBB_F64, 1000, 0, 1 },
    { "sigmoid", EBB_F64, -1000, 0, 0 },
    { "sigmoid", EBB_F32, -200, 0, 0 },
    { "sigmoid", EBB_F64, INF, 0, 1 },
    { "sigmoid", EBB_F64, -INF, 0, 0 },
    { "sigmoid", EBB_F64, NAN, 0, NAN },
    { "sigmoid", EBB_F64, 0, 0, 0.5 },
    { "relu", EBB_F64, NAN, 0, NAN },
    { "relu", EBB_F64, -0.0, 0, 0 },
    { "relu", EBB_F64, INF, 0, INF },
    { "relu", EBB_F64, -INF, 0, 0 },
    { "relu", EBB_I64, -3, 0, 0 },
    { "add", EBB_F64, INF, -INF, NAN },
    { "add", EBB_I32, INT32_MAX, 1, INT32_MIN },
    { "add", EBB_U8, 255, 2, 1 },
    { "sub", EBB_U8, 1, 2, 255 },
    { "mul", EBB_F64, 0, INF, NAN },
    { "mul", EBB_I32, 65536, 65536, 0 },
    { "div", EBB_F64, 1, 0, INF },
    { "div", EBB_F64, -1, 0, -INF },
    { "div", EBB_F64, 0, 0, NAN },
    { "div", EBB_I32, 7, -2, -3 },
    { "div", EBB_I32, 7, 0, 0 },
    { "div", EBB_I32, INT32_MIN, -1, INT32_MIN },
    { "div", EBB_I64, -0x1p63, -1, -0x1p63 },
    { "div", EBB_U8, 255, 255, 1 },
    { "div", EBB_U8, 200, 0, 0 },
    { "pow", EBB_F64, 0, 0, 1 },
    { "pow", EBB_F64, NAN, 0, 1 },
    { "pow", EBB_F64, -8, 3, -512 },
    { "pow", EBB_F64, -8, 0.5, NAN },
    { "pow", EBB_F64, 0, -1, INF },
    { "maximum", EBB_F64, NAN, 1, NAN },
    { "maximum", EBB_F64, 1, NAN, NAN },
    { "maximum", EBB_F64, INF, 1, INF },
    { "maximum", EBB_I64, -3, 2, 2 },
    { "minimum", EBB_F64, NAN, 1, NAN },
    { "minimum", EBB_F64, 1, NAN, NAN },
    { "minimum", EBB_F64, -INF, 1, -INF },
    { "minimum", EBB_U8, 200, 100, 100 },
    { "equal", EBB_F64, NAN, NAN, 0 },
    { "equal", EBB_F64, 0, -0.0, 1 },
    { "not_equal", EBB_F64, NAN, NAN, 1 },
    { "less", EBB_F64, NAN, 1, 0 },
    { "less_equal", EBB_F64, NAN, NAN, 0 },
    { "greater", EBB_F64, INF, 1, 1 },
    { "greater", EBB_U8, 200, 100, 1 },
    { "greater_equal", EBB_F64, 1, NAN, 0 },
    { "floor", EBB_F64, -0.5, 0, -1 },
    { "floor", EBB_F64, -INF, 0, -INF },
    { "floor", EBB_F64, NAN, 0, NAN },
    { "floor", EBB_I64, -7, 0, -7 },
    { "ceil", EBB_F64, -0.5, 0, -0.0 },
    { "ceil", EBB_F32, 0.5, 0, 1 },
    { "trunc", EBB_F64, -1.9, 0, -1 },
    { "round", EBB_F64, 0.5, 0, 0 },
    { "round", EBB_F64, 1.5, 0, 2 },
    { "round", EBB_F64, 2.5, 0, 2 },
    { "round", EBB_F64, -0.5, 0, -0.0 },
    { "round", EBB_F64, 0x1p52 + 1, 0, 0x1p52 + 1 },
    { "reciprocal", EBB_F64, -0.0, 0, -INF },
    { "reciprocal", EBB_F64, INF, 0, 0 },
    { "rsqrt", EBB_F64, 0, 0, INF },
    { "rsqrt", EBB_F64, -1, 0, NAN },
    { "cbrt", EBB_F64, -8, 0, -2 },
    { "exp2", EBB_F64, 10, 0, 1024 },
    { "exp2", EBB_F64, -INF, 0, 0 },
    { "expm1", EBB_F64, 1e-300, 0, 1e-300 },
    { "expm1", EBB_F64, -1000, 0, -1 },
    { "expm1", EBB_F64, 1000, 0, INF },
    { "log1p", EBB_F64, 1e-300, 0, 1e-300 },
    { "log1p", EBB_F64, -1, 0, -INF },
    { "log1p", EBB_F64, -2, 0, NAN },
    { "log2", EBB_F64, 1024, 0, 10 },
    { "log10", EBB_F64, 1000, 0, 3 },
    { "log10", EBB_F64, 0, 0, -INF },
    { "asin", EBB_F64, 2, 0, NAN },
    { "acos", EBB_F64, 1, 0, 0 },
    { "acosh", EBB_F64, 0.5, 0, NAN },
    { "atanh", EBB_F64, 1, 0, INF },
    { "sinh", EBB_F64, -1000, 0, -INF },
    { "cosh", EBB_F64, -1000, 0, INF },
    { "erf", EBB_F64, INF, 0, 1 },
    { "erf", EBB_F64, -10, 0, -1 },
    { "erfc", EBB_F64, -INF, 0, 2 },
    { "erfc", EBB_F64, INF, 0, 0 },
    { "log_sigmoid", EBB_F64, -1000, 0, -1000 },
    { "log_sigmoid", EBB_F64, -INF, 0, -INF },
    { "log_sigmoid", EBB_F64, 1000, 0, 0 },
    { "log_sigmoid", EBB_F64, NAN, 0, NAN },
    { "softplus", EBB_F64, 1000, 0, 1000 },
    { "softplus", EBB_F64, INF, 0, INF },
    { "softplus", EBB_F64, -INF, 0, 0 },
    { "softplus", EBB_F64, NAN, 0, NAN },
    { "softsign", EBB_F64, INF, 0, 1 },
    { "softsign", EBB_F64, -INF, 0, -1 },
    { "softsign", EBB_F64, NAN, 0, NAN },
    { "selu", EBB_F64, NAN, 0, NAN },
    { "silu", EBB_F64, -INF, 0, 0 },
    { "silu", EBB_F64, -1e30, 0, 0 },
    { "silu", EBB_F64, 1e30, 0, 1e30 },
    { "silu", EBB_F64, INF, 0, INF },
    { "silu", EBB_F64, NAN, 0, NAN },
    { "mish", EBB_F64, -INF, 0, 0 },
    { "mish", EBB_F64, INF, 0, INF },
    { "mish", EBB_F32, 100, 0, 100 },
    { "mish", EBB_F64, NAN, 0, NAN },
    { "gelu", EBB_F64, -INF, 0, 0 },
    { "gelu", EBB_F64, INF, 0, INF },
    { "gelu", EBB_F64, NAN, 0, NAN },
    { "gelu_tanh", EBB_F64, -INF, 0, 0 },
    { "gelu_tanh", EBB_F64, INF, 0, INF },
    { "gelu_tanh", EBB_F64, 1e200, 0, 1e200 },
    { "hard_sigmoid", EBB_F64, -3, 0, 0 },
    { "hard_sigmoid", EBB_F64, 3, 0, 1 },
    { "hard_sigmoid", EBB_F64, NAN, 0, NAN },
    { "hard_swish", EBB_F64, -INF, 0, 0 },
    { "hard_swish", EBB_F64, INF, 0, INF },
    { "is_nan", EBB_F64, NAN, 0, 1 },
    { "is_nan", EBB_F32, INF, 0, 0 },
    { "is_inf", EBB_F32, -INF, 0, 1 },
    { "is_inf", EBB_F64, NAN, 0, 0 },
    { "is_finite", EBB_F64, NAN, 0, 0 },
    { "is_finite", EBB_F64, -INF, 0, 0 },
    { "is_finite", EBB_F64, DBL_MAX, 0, 1 },
    { "is_finite", EBB_U8, 200, 0, 1 },
    { "mod", EBB_F64, 5.5, -3, -0.5 },
    { "mod", EBB_F64, -6, 3, 0 },
    { "mod", EBB_F64, 6, -3, -0.0 },
    { "mod", EBB_F64, 1, 0, NAN },
    { "mod", EBB_F64, INF, 3, NAN },
    { "mod", EBB_F64, -1, INF, INF },
    { "mod", EBB_I64, -5, 3, 1 },
    { "mod", EBB_I64, 5, -3, -1 },
    { "mod", EBB_I64, -6, -3, 0 },
    { "mod", EBB_I32, 7, 0, 0 },
    { "mod", EBB_I32, INT32_MIN, -1, 0 },
    { "mod", EBB_U8, 255, 16, 15 },
    { "mod", EBB_U8, 200, 255, 200 },
    { "atan2", EBB_F64, -0.0, 1, -0.0 },
    { "hypot", EBB_F64, 0x3p600, 0x4p600, 0x5p600 },
    { "hypot", EBB_F64, INF, NAN, INF },
    { "log_add_exp", EBB_F64, -INF, -INF, -INF },
    { "log_add_exp", EBB_F64, INF, -INF, INF },
    { "log_add_exp", EBB_F64, 1000, 0, 1000 },
    { "log_add_exp", EBB_F64, NAN, 1, NAN },
    { "logical_xor", EBB_BOOL, 0, 1, 1 },
    { "logical_and", EBB_BOOL, 1, 1, 1 },
    { "logical_or", EBB_BOOL, 0, 0, 0 },
    { "logical_not", EBB_BOOL, 0, 0, 1 },
    { "equal", EBB_BOOL, 1, 1, 1 },
};

START_TEST(special_values)
{
    const special *s = &specials[_i];
    const ebb_op *op = ebb_op_find(s->op);
    ck_assert_ptr_nonnull(op);
    double a = 0, b = 0, r = 0;
    ebb_tensor inputs[2] = { ebb_tensor_borrow(s->dtype, EBB_SCALAR, &a),
                             ebb_tensor_borrow(s->dtype, EBB_SCALAR, &b) };
    bool compares = strstr("equal not_equal less_equal greater_equal is_nan is_inf is_finite",
                           op->name) != NULL;
    ebb_tensor result = ebb_tensor_borrow(compares ? EBB_BOOL : s->dtype, EBB_SCALAR, &r);
    ebb_tensor_set(&inputs[0], 0, s->a);
    ebb_tensor_set(&inputs[1], 0, s->b);
    ck_assert_int_eq(ebb_op_evaluate(op, NULL, inputs, op->n_inputs, &result, NULL), EBB_OK);
    double have = ebb_tensor_get(&result, 0);
    ck_assert_msg(nearly_equal(have, s->expected, 0, 0) &&
                      (s->expected != 0 || signbit(have) == signbit(s->expected)),
                  "%s %s of %g, %g is %.17g, not %g", s->op, ebb_dtype_name(s->dtype), s->a, s->b,
                  have, s->expected);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ops");
    TCase *registry = tcase_create("registry");
    tcase_add_loop_test(registry, descriptor_is_whole, 0, N_OPS);
    tcase_add_loop_test(registry, samples_hold, 0, N_OPS);
    tcase_add_test(registry, unknown_names_are_not_found);
    suite_add_tcase(suite, registry);
    TCase *values = tcase_create("special values");
    tcase_add_loop_test(values, special_values, 0, (int)(sizeof specials / sizeof *specials));
    suite_add_tcase(suite, values);
    return run_suite(suite);
}
