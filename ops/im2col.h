/* im2col and col2im, for their file and for backends. */
#ifndef OPS_IM2COL_H
#define OPS_IM2COL_H

#include "ops/window.h"
#include <ebb/ops.h>

typedef struct ebb_col2im_attrs {
    ebb_im2col_attrs columns;
    ebb_shape shape; /* of the image */
} ebb_col2im_attrs;

/* The windows over an image x [batch, channels, ...] whose type is good. */
void ebb_im2col_window(const ebb_im2col_attrs *attrs, const ebb_shape *x, ebb_window *w);

#endif
