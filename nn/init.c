/* How the weights of layers start. */
#define EBB_NO_LOCATIONS
#include "graph/graph_build.h"
#include "nn/nn.h"

#include <math.h>

/* NULL, or what is wrong with the numbers that the kind uses. */
static const char *check_init(const ebb_nn_init *init)
{
    if ((unsigned)init->kind > EBB_NN_INIT_ORTHOGONAL)
        return "there is no such init";
    if (init->kind == EBB_NN_INIT_CONSTANT && !isfinite(init->value))
        return "value must be finite";
    if (!(isfinite(init->std) && init->std >= 0))
        return "std must be a finite number from 0";
    if (init->kind == EBB_NN_INIT_UNIFORM &&
        !(isfinite(init->low) && isfinite(init->high) && init->low <= init->high))
        return "low and high must be finite, and low at most high";
    return isfinite(init->gain) ? NULL : "gain must be finite";
}

static ebb_init scaled(ebb_init_kind kind, double scale, const ebb_nn_init *init)
{
    scale *= init->gain != 0 ? init->gain : 1;
    if (kind == EBB_INIT_UNIFORM)
        return (ebb_init){ kind, -fabs(scale), fabs(scale), init->seed };
    return (ebb_init){ kind, 0, kind == EBB_INIT_NORMAL ? fabs(scale) : scale, init->seed };
}

static ebb_init resolve(const ebb_nn_init *init, double inputs, double outputs)
{
    switch (init->kind) {
    case EBB_NN_INIT_CONSTANT:
        return (ebb_init){ .kind = EBB_INIT_CONSTANT, .a = init->value };
    case EBB_NN_INIT_NORMAL:
        return (ebb_init){ EBB_INIT_NORMAL, 0, init->std, init->seed };
    case EBB_NN_INIT_TRUNCATED_NORMAL:
        return (ebb_init){ EBB_INIT_TRUNCATED_NORMAL, 0, init->std, init->seed };
    case EBB_NN_INIT_UNIFORM:
        return (ebb_init){ EBB_INIT_UNIFORM, init->low, init->high, init->seed };
    case EBB_NN_INIT_XAVIER:
        return scaled(EBB_INIT_NORMAL, sqrt(1 / inputs), init);
    case EBB_NN_INIT_GLOROT:
        return scaled(EBB_INIT_NORMAL, sqrt(2 / (inputs + outputs)), init);
    case EBB_NN_INIT_GLOROT_UNIFORM:
        return scaled(EBB_INIT_UNIFORM, sqrt(6 / (inputs + outputs)), init);
    case EBB_NN_INIT_HE_UNIFORM:
        return scaled(EBB_INIT_UNIFORM, sqrt(6 / inputs), init);
    case EBB_NN_INIT_ORTHOGONAL:
        return scaled(EBB_INIT_ORTHOGONAL, 1, init);
    case EBB_NN_INIT_DEFAULT:
    case EBB_NN_INIT_HE:
        break;
    }
    return scaled(EBB_INIT_NORMAL, sqrt(2 / inputs), init);
}

ebb_node(ebb_nn_weights)(ebb_graph *graph, const char *name, ebb_dtype dtype, ebb_shape shape,
                         double inputs, double outputs, const ebb_nn_init *init)
{
    const ebb_nn_init none = { 0 };
    const char *wrong = check_init(init ? init : &none);
    if (!(inputs >= 0 && isfinite(inputs) && outputs >= 0 && isfinite(outputs)))
        wrong = "inputs and outputs must be finite numbers from 0";
    if (wrong) {
        const char *full_name = ebb_graph_full_name(graph, name);
        return ebb_graph_fail(graph, EBB_BAD_ARGUMENT, "nn_weights \"%s\": %s",
                              full_name ? full_name : "", wrong);
    }
    const ebb_init start = resolve(init ? init : &none, fmax(inputs, 1), fmax(outputs, 1));
    return ebb_variable(graph, name, dtype, shape, &start);
}

ebb_nn_init ebb_nn_init_or(ebb_nn_init init, ebb_nn_init fallback)
{
    if (init.kind != EBB_NN_INIT_DEFAULT)
        return init;
    fallback.seed = init.seed;
    if (init.gain != 0)
        fallback.gain = init.gain;
    return fallback;
}
