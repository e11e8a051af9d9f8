/* What stands around a graph to train it. */
#ifndef EBB_TRAINING_H
#define EBB_TRAINING_H

#include <ebb/compile.h>
#include <ebb/data.h>
#include <ebb/nn.h>

EBB_BEGIN

/* ---- checkpoints: everything that a training needs to go on as if it had never stopped ---- */

/* Where a training stands, beside its store. Weights, what update rules keep, counters of random
 * numbers and of schedules, running statistics: all of these are variables, and so in the store. */
typedef struct ebb_checkpoint {
    int64_t step;                /* training steps made; the number in the file's name */
    int64_t epoch, batch;        /* epochs done, and batches done of the one that has begun */
    uint64_t seed;               /* of the order of the data */
    double loss_sum;             /* of the epoch that has begun: losses, each times its examples */
    int64_t n_examples, n_right; /* of the same: examples, and those that were classified right */
    double best;                 /* the best value of what is watched, and the epoch that had it, */
    int64_t best_epoch;          /* from 1; 0: none yet */
} ebb_checkpoint;

/* Writes store and place to one safetensors file, atomically: the old file stays if anything fails.
 * `best` (NULL: none) is a second set of values of the same variables. Errors: IO (message: path
 * and reason, such as a full disk), BAD_ARGUMENT, BAD_NAME, LIMIT, OUT_OF_MEMORY. */
EBB_NODISCARD EBB_API ebb_status ebb_checkpoint_save(const char *path, const ebb_store *store,
                                                     const ebb_store *best,
                                                     const ebb_checkpoint *checkpoint,
                                                     ebb_error *error);
/* Reads it back into a store that has its variables already (after ebb_compile), and the best
 * values, if the file has any, into `best` (NULL: not wanted). On failure the store is unchanged.
 * Errors: IO; BAD_FORMAT (cut off, damaged, no checkpoint); NOT_FOUND, BAD_SHAPE, BAD_DTYPE (of
 * another model: the message names tensors that are missing, extra or of another type);
 * OUT_OF_MEMORY, BAD_ARGUMENT. */
EBB_NODISCARD EBB_API ebb_status ebb_checkpoint_load(const char *path, ebb_store *store,
                                                     ebb_store *best, ebb_checkpoint *checkpoint,
                                                     ebb_error *error);
/* Writes FOLDER/step-000000000120.safetensors, of checkpoint->step, and then removes older ones, so
 * that the last `keep` (>= 1) stay, and what a killed process did not finish. The folder must be
 * there, and belong to one training. Errors: as ebb_checkpoint_save. */
EBB_NODISCARD EBB_API ebb_status ebb_checkpoint_add(const char *folder, int64_t keep,
                                                    const ebb_store *store, const ebb_store *best,
                                                    const ebb_checkpoint *checkpoint,
                                                    ebb_error *error);
/* Loads the newest checkpoint of the folder that is whole. Files of other names do not count; one
 * that is damaged or no checkpoint is passed over with a warning to `log` (NULL: silent). Errors:
 * NOT_FOUND (the folder has none that can be read), else as ebb_checkpoint_load. */
EBB_NODISCARD EBB_API ebb_status ebb_checkpoint_resume(const char *folder, ebb_store *store,
                                                       ebb_store *best, ebb_checkpoint *checkpoint,
                                                       const ebb_logger *log, ebb_error *error);
/* The step of the folder's newest checkpoint by name, whole or not; -1: there is none. */
EBB_API int64_t ebb_checkpoint_newest(const char *folder, const ebb_allocator *allocator);

EBB_END

#endif
