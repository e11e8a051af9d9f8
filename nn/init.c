/* How the weights of layers start. */
#include "nn/nn.h"

#include <math.h>

const char *ebb_nn_init_check(ebb_nn_init init, double std)
{
    if ((unsigned)init > EBB_NN_INIT_ZERO)
        return "there is no such init";
    return isfinite(std) && std >= 0 ? NULL : "std must be a finite number from 0";
}

ebb_init ebb_nn_init_of(ebb_nn_init init, double std, double fan_in, uint64_t seed)
{
    if (fan_in < 1)
        fan_in = 1;
    switch (init) {
    case EBB_NN_INIT_HE:
        std = sqrt(2 / fan_in);
        break;
    case EBB_NN_INIT_XAVIER:
        std = sqrt(1 / fan_in);
        break;
    case EBB_NN_INIT_NORMAL:
        break;
    case EBB_NN_INIT_ZERO:
        return (ebb_init){ .kind = EBB_INIT_CONSTANT };
    }
    return (ebb_init){ .kind = EBB_INIT_NORMAL, .b = std, .seed = seed };
}
