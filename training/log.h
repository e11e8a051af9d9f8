/* Rows of a training's log, and lines for people. */
#ifndef TRAINING_LOG_H
#define TRAINING_LOG_H

#include <ebb/training.h>

/* One row for the epoch that the report is of; for CSV with names of columns in front, if
 * `is_first`. Errors: IO, OUT_OF_MEMORY. */
ebb_status ebb_log_epoch(FILE *out, ebb_fit_format format, bool is_first,
                         const ebb_fit_report *report, ebb_error *error);
/* "LABEL: loss 0.1234, accuracy 0.9500; validation loss 0.2, accuracy 0.9". NULL: nothing. */
void ebb_print_epoch(FILE *out, const char *label, const ebb_fit_report *report);

#endif
