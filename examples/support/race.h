/* Several networks, or update rules, trained side by side on the same images. */
#ifndef EXAMPLES_SUPPORT_RACE_H
#define EXAMPLES_SUPPORT_RACE_H

#include "support/output.h"
#include "support/train.h"

typedef struct race_options {
    const trainer_options *entrants; /* their data, batch and seed are those of the first */
    int n_entrants;                  /* 1 to 8 */
    int64_t n_steps;
    int64_t smoothed; /* losses are shown as means of so many steps */
    int64_t n_last;   /* the mean loss of so many last steps is printed, too; 0: not */
    bool as_in_book;  /* batches are drawn with replacement, and their losses are those after the
                         update */
    const char *title;
} race_options;

/* Trains them, step by step in turn; prints their losses, one column each, and accuracies on the
 * test images, and writes NAME.svg with the losses. Stops with a message on failure. */
void race_run(const race_options *race, const output_folder *output, const char *name);

#endif
