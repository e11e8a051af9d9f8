/* What backends need to know of the normalizations. */
#ifndef OPS_NORM_H
#define OPS_NORM_H

#include <ebb/ops.h>

/* layer_norm and layer_norm_grad subtract the mean; rms_norm and rms_norm_grad do not. */
bool ebb_norm_is_centred(const ebb_op *op);
bool ebb_norm_is_gradient(const ebb_op *op);

#endif
