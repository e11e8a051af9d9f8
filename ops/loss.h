/* What the losses share: the reduction of their terms. */
#ifndef OPS_LOSS_H
#define OPS_LOSS_H

#include <ebb/ops.h>

/* Names of ebb_loss_reduction, for attribute tables. */
extern const char *const ebb_reduction_names[];

/* BAD_ATTRIBUTE unless `reduction` is one of ebb_loss_reduction. */
ebb_status ebb_infer_reduction(const ebb_infer *infer, int reduction);

/* The terms, or their sum or mean over all elements. */
ebb_node ebb_build_loss(ebb_node terms, int reduction);

/* Labels in 0..n_classes-1, or, with attrs->ignore, attrs->ignore_index; else BAD_INDEX. */
ebb_status ebb_labels_check(const ebb_tensor *labels, int64_t n_classes,
                            const ebb_cross_entropy_attrs *attrs, ebb_error *error);

#endif
