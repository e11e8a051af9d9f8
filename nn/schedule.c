/* Schedules: the factor of the rate as a function of the step counter, in the graph. */
#define EBB_NO_LOCATIONS
#include "nn/nn.h"

#include <math.h>

const char *ebb_nn_schedule_check(const ebb_nn_schedule *s)
{
    const ebb_nn_schedule_kind kind = s->kind;
    if ((unsigned)kind > EBB_NN_LINEAR)
        return "there is no such kind of schedule";
    if (s->warmup < 0)
        return "the schedule's warmup is negative";
    if (kind != EBB_NN_CONSTANT && s->period < 1)
        return "the schedule's period must be at least 1 step";
    if ((kind == EBB_NN_STEPS || kind == EBB_NN_EXPONENTIAL) &&
        !(s->gamma > 0 && isfinite(s->gamma)))
        return "the schedule's gamma must be finite and positive";
    if ((kind == EBB_NN_COSINE || kind == EBB_NN_LINEAR) && !(s->last >= 0 && isfinite(s->last)))
        return "the schedule's last factor must be finite and not negative";
    return NULL;
}

static ebb_node number(ebb_node like, double value)
{
    return ebb_full_like(like, value);
}

/* `s`: steps since the warm-up, F64, not negative. */
static ebb_node emit_factor(ebb_node s, const ebb_nn_schedule *schedule)
{
    const ebb_node periods = ebb_div(s, number(s, (double)schedule->period));
    const ebb_node done = ebb_minimum(periods, number(s, 1));
    ebb_node part; /* from 1 down to 0 */
    switch (schedule->kind) {
    case EBB_NN_STEPS:
        return ebb_pow(number(s, schedule->gamma), ebb_floor(periods));
    case EBB_NN_EXPONENTIAL:
        return ebb_pow(number(s, schedule->gamma), periods);
    case EBB_NN_COSINE:
        part =
            ebb_add(number(s, 0.5),
                    ebb_mul(number(s, 0.5), ebb_cos(ebb_mul(done, number(s, 3.141592653589793)))));
        break;
    case EBB_NN_LINEAR:
        part = ebb_sub(number(s, 1), done);
        break;
    case EBB_NN_CONSTANT:
    default:
        return number(s, 1);
    }
    return ebb_add(number(s, schedule->last), ebb_mul(part, number(s, 1 - schedule->last)));
}

ebb_node(ebb_nn_schedule_factor)(ebb_node step, const ebb_nn_schedule *schedule)
{
    char text[EBB_NODE_TEXT_BYTES];
    const ebb_type *type = ebb_node_type(step);
    const char *wrong = schedule ? ebb_nn_schedule_check(schedule) : "there is none";
    if (!step.id)
        return ebb_graph_fail(step.graph, EBB_BAD_NODE,
                              "nn_schedule_factor: the step is the none node");
    if (wrong)
        return ebb_graph_fail(step.graph, EBB_BAD_ARGUMENT, "nn_schedule_factor: %s", wrong);
    if (!ebb_dtype_is_integer(type->dtype) || type->shape.rank != 0)
        return ebb_graph_fail(step.graph, EBB_BAD_DTYPE,
                              "nn_schedule_factor: the step must be an integer scalar: %s",
                              ebb_node_text(step, text));
    const ebb_node s = ebb_cast(step, EBB_F64);
    if (!schedule->warmup)
        return emit_factor(s, schedule);
    const double warmup = (double)schedule->warmup;
    const ebb_node since = ebb_maximum(ebb_sub(s, number(s, warmup)), number(s, 0));
    const ebb_node rise = ebb_div(ebb_add(s, number(s, 1)), number(s, warmup));
    return ebb_select(ebb_less(s, number(s, warmup)), rise, emit_factor(since, schedule));
}
