/* Update rules: one row a method. Formulas and their sources are in ebb/nn.h. */
#define EBB_NO_LOCATIONS
#include "nn/nn.h"

ebb_node ebb_nn_scaled(ebb_node x, double factor)
{
    return ebb_mul(x, ebb_full_like(x, factor));
}

/* part a + (1 - part) b */
static ebb_node mix(ebb_node a, ebb_node b, double part)
{
    return ebb_add(ebb_nn_scaled(a, part), ebb_nn_scaled(b, 1 - part));
}

static ebb_node emit_sgd(ebb_nn_step *s)
{
    return ebb_sub(s->w, ebb_mul(s->g, s->rate));
}

static ebb_node emit_momentum(ebb_nn_step *s)
{
    s->new_states[0] =
        ebb_sub(ebb_nn_scaled(s->states[0], s->rule->momentum), ebb_mul(s->g, s->rate));
    return ebb_add(s->w, s->new_states[0]);
}

static ebb_node emit_nesterov(ebb_nn_step *s)
{
    const ebb_node pull = ebb_mul(s->g, s->rate);
    s->new_states[0] = ebb_sub(ebb_nn_scaled(s->states[0], s->rule->momentum), pull);
    return ebb_sub(ebb_add(s->w, ebb_nn_scaled(s->new_states[0], s->rule->momentum)), pull);
}

/* w - r g / (sqrt(h) + epsilon) */
static ebb_node step_by_root(const ebb_nn_step *s, ebb_node h)
{
    const ebb_node root = ebb_sqrt(h);
    const ebb_node divisor = ebb_add(root, ebb_full_like(root, s->rule->epsilon));
    return ebb_sub(s->w, ebb_div(ebb_mul(s->g, s->rate), divisor));
}

static ebb_node emit_adagrad(ebb_nn_step *s)
{
    s->new_states[0] = ebb_add(s->states[0], ebb_square(s->g));
    return step_by_root(s, s->new_states[0]);
}

static ebb_node emit_rmsprop(ebb_nn_step *s)
{
    s->new_states[0] = mix(s->states[0], ebb_square(s->g), s->rule->beta2);
    return step_by_root(s, s->new_states[0]);
}

/* 1 - beta^t, F64 */
static ebb_node correction(ebb_node t, double beta)
{
    const ebb_node power = ebb_pow(ebb_full_like(t, beta), t);
    return ebb_sub(ebb_full_like(t, 1), power);
}

static ebb_node emit_adam(ebb_nn_step *s)
{
    const ebb_dtype dtype = ebb_node_type(s->w)->dtype;
    const ebb_node mean = mix(s->states[0], s->g, s->rule->beta1);
    const ebb_node variance = mix(s->states[1], ebb_square(s->g), s->rule->beta2);
    const ebb_node root_2 = ebb_sqrt(correction(s->t, s->rule->beta2));
    const ebb_node over_1 = ebb_reciprocal(correction(s->t, s->rule->beta1));
    s->new_states[0] = mean;
    s->new_states[1] = variance;
    ebb_node root = ebb_sqrt(variance), factor = over_1;
    if (s->rule->late_correction)
        factor = ebb_mul(over_1, root_2);
    else
        root = ebb_mul(root, ebb_cast(ebb_reciprocal(root_2), dtype));
    const ebb_node rate = ebb_mul(s->rate, ebb_cast(factor, dtype));
    const ebb_node divisor = ebb_add(root, ebb_full_like(root, s->rule->epsilon));
    return ebb_sub(s->w, ebb_div(ebb_mul(mean, rate), divisor));
}

static ebb_node emit_lion(ebb_nn_step *s)
{
    const ebb_node direction = ebb_sign(mix(s->states[0], s->g, s->rule->beta1));
    s->new_states[0] = mix(s->states[0], s->g, s->rule->beta2);
    return ebb_sub(s->w, ebb_mul(direction, s->rate));
}

/* clang-format off */
static const ebb_nn_method_row rows[] = {
    [EBB_NN_SGD]      = { "sgd",      { NULL },               false, 0,   0,   0,     0,    emit_sgd },
    [EBB_NN_MOMENTUM] = { "momentum", { "velocity" },         false, 0.9, 0,   0,     0,    emit_momentum },
    [EBB_NN_NESTEROV] = { "nesterov", { "velocity" },         false, 0.9, 0,   0,     0,    emit_nesterov },
    [EBB_NN_ADAGRAD]  = { "adagrad",  { "squares" },          false, 0,   0,   0,     1e-7, emit_adagrad },
    [EBB_NN_RMSPROP]  = { "rmsprop",  { "squares" },          false, 0,   0,   0.99,  1e-7, emit_rmsprop },
    [EBB_NN_ADAM]     = { "adam",     { "mean", "variance" }, true,  0,   0.9, 0.999, 1e-8, emit_adam },
    [EBB_NN_LION]     = { "lion",     { "mean" },             false, 0,   0.9, 0.99,  0,    emit_lion },
};
/* clang-format on */

static void set_default(double *value, double standard)
{
    if (*value == 0)
        *value = standard;
}

const ebb_nn_method_row *ebb_nn_method_find(ebb_nn_rule *rule)
{
    if ((size_t)rule->method >= sizeof rows / sizeof *rows)
        return NULL;
    const ebb_nn_method_row *row = &rows[rule->method];
    set_default(&rule->momentum, row->momentum);
    set_default(&rule->beta1, row->beta1);
    set_default(&rule->beta2, row->beta2);
    set_default(&rule->epsilon, rule->late_correction ? 1e-7 : row->epsilon);
    return row;
}
