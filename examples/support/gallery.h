/* What a trained network shows of itself: the filters of its first layer, and the images that it
 * gets wrong. */
#ifndef EXAMPLES_SUPPORT_GALLERY_H
#define EXAMPLES_SUPPORT_GALLERY_H

#include "support/output.h"
#include "support/train.h"

/* A copy of a variable's value, to be finished by the caller. Stops with a message if there is none
 * of this name. */
ebb_tensor gallery_copy(const image_trainer *trainer, const char *variable);
/* Writes NAME.png: filters as they were on the left, as they are on the right. Both are F32
 * [filters, 1 or 3 channels, height, width]. */
void gallery_filters(const output_folder *output, const char *name, const ebb_tensor *before,
                     const ebb_tensor *after);
/* Writes NAME.png with the first `n_shown` images of the set that the network takes for others, row
 * by row, and NAME.txt with their numbers, labels and what the network guessed. Returns how many
 * mistakes there are in the whole set. */
int64_t gallery_mistakes(const output_folder *output, const char *name, image_trainer *trainer,
                         const ebb_image_set *set, int64_t n_shown);

#endif
