/* Windows of channels-last images, copied one after the other: rows for a matrix product, or the
 * images with their padding around them (windows of one tap). */
#ifndef BACKENDS_ONEDNN_WINDOWS_H
#define BACKENDS_ONEDNN_WINDOWS_H

#include "ops/window.h"

typedef struct ebb_onednn_windows {
    ebb_window w; /* counts, sizes, taps, strides, dilations, begin */
    int64_t batch, channels;
    int n_threads;
    size_t start; /* where in the scratch they go, in bytes */
} ebb_onednn_windows;

size_t ebb_onednn_windows_bytes(const ebb_onednn_windows *windows);
/* x [batch, sizes.., channels] -> [batch, counts.., taps.., channels]; taps outside are 0. */
void ebb_onednn_windows_copy(const ebb_onednn_windows *windows, const float *x, float *rows);

#endif
