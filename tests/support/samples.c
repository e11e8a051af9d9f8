/* The samples of the ops as test cases. */
#include "tests/support/samples.h"
#include "graph/interpret.h"
#include "ops/philox.h"
#include "ops/random.h"
#include "tests/support/runner.h"
#include <ebb/ops.h>
#include <math.h>
#include <stdio.h>

bool sample_fails_to_build(const ebb_sample *sample)
{
    return sample->error && !sample->values[0];
}

bool nearly_equal(double a, double b, double relative, double absolute)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    if (isinf(a) || isinf(b))
        return a == b;
    return fabs(a - b) <= absolute + relative * fmax(fabs(a), fabs(b));
}

ebb_sample_range sample_range(const ebb_sample *sample, int input)
{
    return sample->range ? sample->range[input] : (ebb_sample_range){ 0 };
}

bool sample_value(const ebb_sample *sample, int input, bool is_float, double uniform, double *value)
{
    const ebb_sample_range range = sample_range(sample, input);
    double low = range.low, high = range.high;
    bool is_given = low != 0 || high != 0;
    if (!is_float) {
        *value = floor(low + ((is_given ? high : 2) - low) * uniform);
        return true;
    }
    low = is_given ? low : -2;
    high = is_given ? high : 2;
    *value = ldexp(floor(ldexp(low + (high - low) * uniform, 20)), -20);
    double step = range.kink_step;
    double nearest = step > 0 ? step * nearbyint(*value / step) : 0;
    return fabs(*value - nearest) >= range.gap;
}

static void fill_input(sample_case *c, int index, int input)
{
    const ebb_tensor *tensor = &c->inputs[input];
    const double *given = c->sample->values[input];
    int64_t n = ebb_shape_elements(&tensor->type.shape);
    for (int64_t i = 0; i < n; i++) {
        double value = given ? given[i] : 0;
        for (uint32_t attempt = 0; !given; attempt++) {
            uint32_t w[4];
            ebb_philox(ebb_name_hash(c->op->name), attempt, (uint64_t)(index * 8 + input),
                       (uint32_t)i, w);
            double uniform = ebb_philox_f64(w[0], w[1]);
            bool is_float = ebb_dtype_is_float(tensor->type.dtype);
            if (sample_value(c->sample, input, is_float, uniform, &value))
                break;
            ck_assert_msg(attempt < 10000, "%s: no value between the kinks", c->label);
        }
        ebb_tensor_set(tensor, i, value);
    }
}

void sample_case_init(sample_case *c, const ebb_op *op, int index, ebb_dtype floats)
{
    static const union {
        char bytes[1024];
        max_align_t align;
    } zero = { { 0 } };
    const ebb_sample *sample = &op->samples[index];
    *c = (sample_case){ .op = op, .sample = sample };
    c->n_inputs = sample->n_inputs ? sample->n_inputs : op->n_inputs;
    c->attrs = sample->attrs || !op->attrs_bytes ? sample->attrs : zero.bytes;
    snprintf(c->label, sizeof c->label, "%s %s sample %d%s%s", op->name, ebb_dtype_name(floats),
             index, sample->label ? " " : "", sample->label ? sample->label : "");
    c->graph = ebb_graph_create(op->name);
    ck_assert_ptr_nonnull(c->graph);
    for (int i = 0; i < c->n_inputs; i++) {
        ebb_type type = sample->inputs[i];
        if (type.dtype == EBB_F64)
            type.dtype = floats;
        char name[16];
        snprintf(name, sizeof name, "i%d", i);
        c->nodes[i] = ebb_input(c->graph, name, type.dtype, type.shape);
        ck_assert_msg(!ebb_node_is_none(c->nodes[i]), "%s: %s", c->label,
                      ebb_graph_message(c->graph));
        if (sample_fails_to_build(sample))
            continue;
        ck_assert_int_eq(ebb_tensor_init(&c->inputs[i], type, NULL), EBB_OK);
        fill_input(c, index, i);
    }
    ebb_emit(c->graph, op, c->nodes, c->n_inputs, sample->attrs, c->results);
}

void sample_case_finish(sample_case *c)
{
    for (int i = 0; i < c->n_inputs; i++)
        ebb_tensor_finish(&c->inputs[i]);
    ebb_graph_destroy(c->graph);
}
