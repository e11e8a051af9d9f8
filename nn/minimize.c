/* Training steps: gradients of a loss by its variables, and what an update rule makes of them. */
#define EBB_NO_LOCATIONS
#include "graph/graph_build.h"
#include "nn/nn.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FULL_NAME_BYTES 8192

/* One variable and its way through the step. */
typedef struct parameter {
    ebb_node w, g;
    const ebb_nn_group *group; /* NULL: none */
} parameter;

typedef struct minimizing {
    ebb_graph *graph;
    ebb_node loss;
    ebb_nn_rule rule; /* defaults filled in */
    const ebb_nn_method_row *method;
    parameter *parameters;
    int n;
    ebb_node t;      /* F64 scalar: number of this step, from 1; none if nothing counts */
    ebb_node factor; /* of the rate, F64 scalar, if a schedule changes it; else none */
    ebb_node apply;  /* BOOL scalar: this run ends an accumulation; none: every run does */
} minimizing;

/* ---- checking ---- */

static ebb_status report(const minimizing *m, const char *what, double value)
{
    return ebb_graph_report(m->graph, EBB_BAD_ARGUMENT, "nn_minimize: %s, not %g", what, value);
}

static ebb_status check_rule(minimizing *m)
{
    ebb_nn_rule *r = &m->rule;
    m->method = ebb_nn_method_find(r);
    if (!m->method)
        return ebb_graph_report(m->graph, EBB_BAD_ARGUMENT, "nn_minimize: there is no method %d",
                                (int)r->method);
    if (!isfinite(r->rate) || r->rate <= 0)
        return report(m, "the rate must be finite and positive", r->rate);
    const struct {
        const char *what;
        double value, limit; /* from 0, below the limit; 0: up to infinity */
    } bounds[] = {
        { "momentum must be in 0..1, below 1", r->momentum, 1 },
        { "beta1 must be in 0..1, below 1", r->beta1, 1 },
        { "beta2 must be in 0..1, below 1", r->beta2, 1 },
        { "the average must be in 0..1, below 1", r->average, 1 },
        { "epsilon must be finite and not negative", r->epsilon, 0 },
        { "weight_decay must be finite and not negative", r->weight_decay, 0 },
        { "l1_decay must be finite and not negative", r->l1_decay, 0 },
        { "clip_value must be finite and not negative", r->clip_value, 0 },
        { "clip_norm must be finite and not negative", r->clip_norm, 0 },
    };
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        const double v = bounds[i].value;
        if (!isfinite(v) || v < 0 || (bounds[i].limit > 0 && v >= bounds[i].limit))
            return report(m, bounds[i].what, v);
    }
    if (r->accumulate < 0)
        return report(m, "accumulate must be at least 1 run", (double)r->accumulate);
    if (r->n_groups < 0 || (r->n_groups > 0 && !r->groups))
        return ebb_graph_report(m->graph, EBB_BAD_ARGUMENT, "nn_minimize: %d groups%s", r->n_groups,
                                r->groups ? "" : ", and no list of them");
    for (int i = 0; i < r->n_groups; i++) {
        if (!r->groups[i].match)
            return ebb_graph_report(m->graph, EBB_BAD_ARGUMENT,
                                    "nn_minimize: group %d has no pattern", i);
        if (!isfinite(r->groups[i].rate_factor) || r->groups[i].rate_factor < 0)
            return report(m, "a group's rate_factor must be finite and not negative",
                          r->groups[i].rate_factor);
    }
    const char *wrong = ebb_nn_schedule_check(&r->schedule);
    return wrong ? ebb_graph_report(m->graph, EBB_BAD_ARGUMENT, "nn_minimize: %s", wrong) : EBB_OK;
}

/* ---- which variables ---- */

static const ebb_nn_group *find_group(const minimizing *m, ebb_node variable)
{
    char name[FULL_NAME_BYTES];
    snprintf(name, sizeof name, "%s%s", ebb_node_scope(variable), ebb_node_name(variable));
    for (int i = 0; i < m->rule.n_groups; i++) {
        if (fnmatch(m->rule.groups[i].match, name, 0) == 0)
            return &m->rule.groups[i];
    }
    return NULL;
}

/* The float variables that the loss depends on and no group freezes, ascending, into `parameters`
 * (NULL: only count). */
static int find_parameters(const minimizing *m, const uint8_t *used, parameter *parameters)
{
    int n = 0;
    for (uint32_t id = 1; id <= m->loss.id; id++) {
        const ebb_node node = ebb_graph_node(m->graph, id);
        if (!used[id] || !(ebb_node_op(node)->traits & EBB_TRAIT_VARIABLE) ||
            !ebb_dtype_is_float(ebb_node_type(node)->dtype))
            continue;
        const ebb_nn_group *group = find_group(m, node);
        if (group && group->is_frozen)
            continue;
        if (parameters)
            parameters[n] = (parameter){ .w = node, .group = group };
        n++;
    }
    return n;
}

static ebb_status collect_parameters(minimizing *m)
{
    const ebb_allocator *allocator = ebb_graph_allocator(m->graph);
    /* Results behind the last op are marked too. */
    const size_t used_bytes = (size_t)m->loss.id + EBB_MAX_RESULTS;
    uint8_t *used = ebb_allocate(allocator, used_bytes);
    ebb_status status = EBB_OUT_OF_MEMORY;
    if (used) {
        memset(used, 0, used_bytes);
        ebb_graph_mark(m->graph, &m->loss, 1, used);
        m->n = find_parameters(m, used, NULL);
        m->parameters = ebb_allocate(allocator, (size_t)m->n * sizeof *m->parameters);
        status = m->parameters ? EBB_OK : EBB_OUT_OF_MEMORY;
    }
    if (status)
        ebb_graph_report(m->graph, status, "nn_minimize: out of memory");
    else if (find_parameters(m, used, m->parameters) == 0)
        status = ebb_graph_report(m->graph, EBB_BAD_ARGUMENT,
                                  "nn_minimize: the loss depends on no variable%s",
                                  m->rule.n_groups ? " that is not frozen" : "");
    ebb_release(allocator, used, used_bytes);
    return status;
}

static double rate_of(const minimizing *m, const parameter *p)
{
    const double factor = p->group ? p->group->rate_factor : 0;
    return m->rule.rate * (factor > 0 ? factor : 1);
}

/* A rate may be finite as a double and yet infinite as F32. */
static ebb_status check_rates(const minimizing *m)
{
    for (int i = 0; i < m->n; i++) {
        const ebb_node w = m->parameters[i].w;
        const ebb_dtype dtype = ebb_node_type(w)->dtype;
        const double rate = rate_of(m, &m->parameters[i]);
        if (!(dtype == EBB_F32 ? isfinite((float)rate) : isfinite(rate)))
            return ebb_graph_report(m->graph, EBB_BAD_ARGUMENT,
                                    "nn_minimize: the rate of %s%s, %g, is not finite as %s",
                                    ebb_node_scope(w), ebb_node_name(w), rate,
                                    ebb_dtype_name(dtype));
    }
    return EBB_OK;
}

static ebb_status differentiate(const minimizing *m)
{
    const ebb_allocator *allocator = ebb_graph_allocator(m->graph);
    const size_t bytes = 2 * (size_t)m->n * sizeof(ebb_node);
    ebb_node *nodes = ebb_allocate(allocator, bytes);
    if (!nodes)
        return ebb_graph_report(m->graph, EBB_OUT_OF_MEMORY, "nn_minimize: out of memory");
    for (int i = 0; i < m->n; i++)
        nodes[i] = m->parameters[i].w;
    const ebb_status status = ebb_gradients(m->loss, nodes, m->n, nodes + m->n);
    for (int i = 0; i < m->n && !status; i++)
        m->parameters[i].g = nodes[m->n + i];
    ebb_release(allocator, nodes, bytes);
    return status;
}

/* ---- the step ---- */

/* A variable beside `w`, named after it; zeros at first. */
static ebb_node state_of(ebb_node w, const char *suffix)
{
    char name[FULL_NAME_BYTES];
    const ebb_type *type = ebb_node_type(w);
    snprintf(name, sizeof name, "%s.%s", ebb_node_name(w), suffix);
    return ebb_variable(w.graph, name, type->dtype, type->shape, NULL);
}

/* `value` in runs that apply the step, `old` in the others. */
static ebb_node when_applied(const minimizing *m, ebb_node value, ebb_node old)
{
    return m->apply.id ? ebb_select(m->apply, value, old) : value;
}

/* A counter of its own that goes up by one in runs that apply; returns what it is after this run,
 * or would be. */
static ebb_node count(const minimizing *m, const char *name)
{
    const ebb_node counter = ebb_variable(m->graph, name, EBB_I64, EBB_SCALAR, NULL);
    const ebb_node next = ebb_add(counter, ebb_full_like(counter, 1));
    ebb_update(counter, when_applied(m, next, counter));
    return next;
}

static void emit_counters(minimizing *m)
{
    const ebb_nn_schedule *schedule = &m->rule.schedule;
    const bool is_scheduled = schedule->kind != EBB_NN_CONSTANT || schedule->warmup > 0;
    ebb_graph_set_phase(m->graph, EBB_UPDATE);
    ebb_scope_push(m->graph, m->rule.name ? m->rule.name : "minimize");
    if (m->rule.accumulate > 1) {
        const ebb_node run = count(m, "run");
        const ebb_node place = ebb_mod(run, ebb_full_like(run, (double)m->rule.accumulate));
        m->apply = ebb_equal(place, ebb_full_like(place, 0));
    }
    if (m->method->counts || is_scheduled || m->rule.average > 0) {
        const ebb_node step = count(m, "step");
        m->t = ebb_cast(step, EBB_F64);
        if (is_scheduled) {
            const ebb_node made = ebb_sub(step, ebb_full_like(step, 1));
            m->factor = ebb_nn_schedule_factor(made, schedule);
        }
    }
    ebb_scope_pop(m->graph);
}

/* The mean gradient of an accumulation; its state is updated. */
static ebb_node accumulate(const minimizing *m, ebb_node w, ebb_node g)
{
    if (!m->apply.id)
        return g;
    const ebb_node state = state_of(w, "gradient"), sum = ebb_add(state, g);
    ebb_update(state, ebb_select(m->apply, ebb_full_like(sum, 0), sum));
    return ebb_nn_scaled(sum, 1 / (double)m->rule.accumulate);
}

/* Scales all gradients down to a common norm. */
static void clip_norm(minimizing *m)
{
    ebb_node squares = { 0 };
    for (int i = 0; i < m->n; i++) {
        const ebb_node sum =
            ebb_cast(ebb_reduce_sum(ebb_square(m->parameters[i].g), EBB_ALL_AXES, false), EBB_F64);
        squares = squares.id ? ebb_add(squares, sum) : sum;
    }
    const ebb_node norm = ebb_sqrt(squares), limit = ebb_full_like(norm, m->rule.clip_norm);
    const ebb_node factor = ebb_div(limit, ebb_maximum(norm, limit));
    for (int i = 0; i < m->n; i++) {
        const ebb_node g = m->parameters[i].g;
        m->parameters[i].g = ebb_mul(g, ebb_cast(factor, ebb_node_type(g)->dtype));
    }
}

static void prepare_gradients(minimizing *m)
{
    for (int i = 0; i < m->n; i++) {
        parameter *p = &m->parameters[i];
        ebb_graph_stand_at(m->graph, p->w);
        ebb_graph_set_phase(m->graph, EBB_UPDATE);
        p->g = accumulate(m, p->w, p->g);
        if (m->rule.clip_value > 0)
            p->g = ebb_clip(p->g, -m->rule.clip_value, m->rule.clip_value);
    }
    if (m->rule.clip_norm > 0)
        clip_norm(m);
}

static void emit_average(const minimizing *m, ebb_node w, ebb_node new_w)
{
    const ebb_dtype dtype = ebb_node_type(w)->dtype;
    const ebb_node state = state_of(w, "average");
    const ebb_node before = ebb_sub(m->t, ebb_full_like(m->t, 1));
    const ebb_node keep = ebb_minimum(ebb_div(before, m->t), ebb_full_like(m->t, m->rule.average));
    const ebb_node value = ebb_add(new_w, ebb_mul(ebb_sub(state, new_w), ebb_cast(keep, dtype)));
    ebb_update(state, when_applied(m, value, state));
}

static void emit_step(const minimizing *m, const parameter *p)
{
    const ebb_nn_rule *rule = &m->rule;
    const ebb_dtype dtype = ebb_node_type(p->w)->dtype;
    const bool decays = !(p->group && p->group->no_decay);
    ebb_graph_stand_at(m->graph, p->w);
    ebb_graph_set_phase(m->graph, EBB_UPDATE);
    ebb_nn_step step = { .rule = rule, .w = p->w, .g = p->g, .t = m->t };
    step.rate = m->factor.id ? ebb_cast(ebb_nn_scaled(m->factor, rate_of(m, p)), dtype)
                             : ebb_scalar(m->graph, dtype, rate_of(m, p));
    if (decays && rule->weight_decay > 0 && !rule->decoupled_decay)
        step.g = ebb_add(step.g, ebb_nn_scaled(p->w, rule->weight_decay));
    if (decays && rule->l1_decay > 0)
        step.g = ebb_add(step.g, ebb_nn_scaled(ebb_sign(p->w), rule->l1_decay));
    if (decays && rule->weight_decay > 0 && rule->decoupled_decay) {
        const ebb_node part = ebb_mul(step.rate, ebb_full_like(step.rate, rule->weight_decay));
        step.w = ebb_sub(p->w, ebb_mul(p->w, part));
    }
    for (int i = 0; i < 2 && m->method->states[i]; i++)
        step.states[i] = state_of(p->w, m->method->states[i]);
    const ebb_node new_w = m->method->emit(&step);
    ebb_update(p->w, when_applied(m, new_w, p->w));
    for (int i = 0; i < 2 && m->method->states[i]; i++)
        ebb_update(step.states[i], when_applied(m, step.new_states[i], step.states[i]));
    if (rule->average > 0)
        emit_average(m, p->w, new_w);
}

ebb_status ebb_nn_minimize(ebb_node loss, const ebb_nn_rule *rule)
{
    minimizing m = { .graph = loss.graph, .loss = loss };
    if (!m.graph)
        return EBB_BAD_NODE;
    if (ebb_graph_status(m.graph))
        return ebb_graph_status(m.graph);
    if (!ebb_graph_owns(m.graph, loss))
        return ebb_graph_report(m.graph, EBB_BAD_NODE, "nn_minimize: the loss is the none node");
    if (!rule)
        return ebb_graph_report(m.graph, EBB_BAD_ARGUMENT, "nn_minimize: there is no rule");
    m.rule = *rule;
    ebb_status status = check_rule(&m);
    if (!status)
        status = collect_parameters(&m);
    if (!status)
        status = check_rates(&m);
    if (!status)
        status = differentiate(&m);
    if (!status) {
        const ebb_place place = ebb_graph_place(m.graph);
        emit_counters(&m);
        prepare_gradients(&m);
        for (int i = 0; i < m.n; i++)
            emit_step(&m, &m.parameters[i]);
        ebb_graph_return(m.graph, place);
        status = ebb_graph_status(m.graph);
    }
    ebb_release(ebb_graph_allocator(m.graph), m.parameters, (size_t)m.n * sizeof *m.parameters);
    return status;
}
