/* What stands around a graph to train it. */
#ifndef EBB_TRAINING_H
#define EBB_TRAINING_H

#include <ebb/compile.h>
#include <ebb/data.h>
#include <ebb/model.h>
#include <ebb/nn.h>
#include <signal.h>

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
 * and reason, such as a full disk), BAD_ARGUMENT (negative numbers, `best` of other variables),
 * BAD_NAME (a variable called "(best)/..."), LIMIT, OUT_OF_MEMORY. */
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
 * there, and belong to one training. Errors: as ebb_checkpoint_save; BAD_ARGUMENT (keep below 1).
 */
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

/* ---- metrics of classification ---- */

/* Counts over any number of batches. To be read. */
typedef struct ebb_metrics {
    int64_t n_examples;
    int64_t n_right;    /* the label has the largest score (of equal ones the first, as argmax) */
    int64_t n_top;      /* it is among the `top` largest */
    int top;            /* 1: n_top is n_right */
    int64_t n_classes;  /* 0: not known yet */
    int64_t *confusion; /* [n_classes, n_classes]: examples of the row's class that were taken for
                           the column's; NULL: not wanted */
    double loss_sum;    /* of a trainer: mean losses of batches, each times its examples, */
    int64_t n_losses;   /* and the examples */
    const ebb_allocator *allocator;
} ebb_metrics;

/* `top` 0: 1. With n_classes 0 there is no confusion matrix, and any number of classes will do.
 * Errors: BAD_ARGUMENT (negative numbers, n_classes beyond 65536), OUT_OF_MEMORY. */
EBB_NODISCARD EBB_API ebb_status ebb_metrics_init(ebb_metrics *metrics, int64_t n_classes, int top,
                                                  const ebb_allocator *allocator, ebb_error *error);
EBB_API void ebb_metrics_finish(ebb_metrics *metrics);
/* Forgets all counts. */
EBB_API void ebb_metrics_reset(ebb_metrics *metrics);
/* Counts the first n examples of a batch: scores F32 or F64 [batch, classes], labels I64, I32 or U8
 * [batch]. A NaN counts as the largest score. Errors: BAD_ARGUMENT (a metric without scores or
 * labels), BAD_SHAPE, BAD_DTYPE, BAD_INDEX (a label out of range: names the example); nothing is
 * counted then. */
EBB_NODISCARD EBB_API ebb_status ebb_metrics_add(ebb_metrics *metrics, const ebb_tensor *scores,
                                                 const ebb_tensor *labels, int64_t n,
                                                 ebb_error *error);
/* Parts of the examples, and their mean loss; NaN without examples. */
EBB_API double ebb_metrics_accuracy(const ebb_metrics *metrics);
EBB_API double ebb_metrics_top(const ebb_metrics *metrics);
EBB_API double ebb_metrics_loss(const ebb_metrics *metrics);

/* ---- a progress line ---- */

/* On a terminal a bar with rate, time left and loss, drawn at most ten times a second; elsewhere a
 * line now and then. */
typedef struct ebb_progress {
    FILE *out;
    const char *label; /* "epoch 3/10" */
    int64_t total, first, done;
    double loss, started, shown; /* times in seconds */
    bool is_terminal;
    int n_lines; /* printed where there is no terminal */
} ebb_progress;

/* `out` NULL: nothing is ever written. `first` of `total` steps are done already. The label must
 * live as long as the progress. */
EBB_API void ebb_progress_start(ebb_progress *progress, FILE *out, const char *label, int64_t first,
                                int64_t total);
/* `done` of `total` steps; `loss` NaN: there is none. Cheap. */
EBB_API void ebb_progress_step(ebb_progress *progress, int64_t done, double loss);
/* Removes the bar, so that the next line of output stands in its place. */
EBB_API void ebb_progress_end(ebb_progress *progress);

/* ---- the trainer: a model as a function, made for training and for evaluation ---- */

/* What a model has to do with batches. */
typedef struct ebb_model_nodes {
    ebb_node inputs[EBB_MAX_FIELDS]; /* that take the fields of a batch, in their order; none: a
                                        field is not used */
    ebb_node loss;                   /* a float scalar, the mean over the batch */
    ebb_node
        scores; /* [batch, classes]: the largest is the answer; none: no metrics but the loss */
    ebb_node labels; /* that one of `inputs` which tells the class, integers [batch] */
} ebb_model_nodes;

/* Builds a model for batches of n examples into the graph. Called for training and, without dropout
 * and the like, for evaluation, perhaps for several n: variables have the same names and types each
 * time. Mistakes are sticky errors of the graph. */
typedef void (*ebb_model_builder)(ebb_graph *graph, int64_t n, bool training, void *context,
                                  ebb_model_nodes *nodes);

/* Zero is the default of all but build, batch and rule. What pointers point to outlives the
 * trainer.
 */
typedef struct ebb_trainer_options {
    ebb_model_builder build;
    void *context;
    int64_t batch; /* examples of a training step */
    ebb_nn_rule rule;
    ebb_store *store; /* NULL: the trainer's own */
    const char *name; /* of the graphs */
    const char *backend;
    int n_threads;
    ebb_logger log;
    const ebb_allocator *allocator;
} ebb_trainer_options;

typedef struct ebb_trainer ebb_trainer;

/* Builds and compiles the training step and the evaluation, so that the store has all variables.
 * Errors: what the graph or ebb_compile say; BAD_ARGUMENT (no builder, batch below 1, no loss,
 * nodes that are no inputs, scores and labels of other forms than above). *trainer is NULL then. */
EBB_NODISCARD EBB_API ebb_status ebb_trainer_create(const ebb_trainer_options *options,
                                                    ebb_trainer **trainer, ebb_error *error);
EBB_API void ebb_trainer_destroy(ebb_trainer *trainer);
/* To be read, saved, loaded, shared with other graphs. */
EBB_API ebb_store *ebb_trainer_store(const ebb_trainer *trainer);
/* The nodes of the training graph, or of that for evaluation, of options.batch examples. */
EBB_API const ebb_model_nodes *ebb_trainer_nodes(const ebb_trainer *trainer, bool training);

/* One training step with a batch of any size; *loss (NULL: not wanted) becomes the loss before it,
 * and `metrics` (NULL: none) count its scores and loss. A size other than options.batch is compiled
 * when it first comes. Errors: BAD_SHAPE, BAD_DTYPE (a field that its input does not take); what
 * ebb_compile, ebb_run or ebb_metrics_add say. */
EBB_NODISCARD EBB_API ebb_status ebb_trainer_step(ebb_trainer *trainer, const ebb_batch *batch,
                                                  double *loss, ebb_metrics *metrics,
                                                  ebb_error *error);
/* One epoch of the loader, from its start, without training; each example counts once, so the
 * loader should be in_order and EBB_LAST_KEEP. `metrics` are added to. Errors: as above, and what
 * ebb_loader_next says. */
EBB_NODISCARD EBB_API ebb_status ebb_trainer_evaluate(ebb_trainer *trainer, ebb_loader *loader,
                                                      ebb_metrics *metrics, ebb_error *error);

/* The model as it is now, for batches of n examples, with scores as its output: to be saved
 * (ebb_model_save), or run. Errors: as ebb_model_freeze; BAD_ARGUMENT (a model without scores). */
EBB_NODISCARD EBB_API ebb_status ebb_trainer_freeze(ebb_trainer *trainer, int64_t n,
                                                    ebb_model **model, ebb_error *error);

/* ---- the loop ---- */

/* Why it ended. */
typedef enum ebb_fit_end {
    EBB_FIT_RUNNING,
    EBB_FIT_DONE,     /* all epochs or steps are made */
    EBB_FIT_EARLY,    /* no epoch of the last `patience` was better */
    EBB_FIT_CALLBACK, /* a callback returned false */
    EBB_FIT_STOPPED   /* *stop was set */
} ebb_fit_end;

/* Where a training is. Numbers that do not exist are NaN. */
typedef struct ebb_fit_report {
    int64_t epoch, step;   /* epochs done and steps made, with those before a resume */
    int64_t batch;         /* batches done of the epoch that has begun */
    int64_t epoch_steps;   /* batches in an epoch */
    double step_loss;      /* of the last step */
    double loss, accuracy; /* of the last epoch's training, or of the one that has begun */
    double validation_loss, validation_accuracy, validation_top; /* after the last epoch */
    double best;                                                 /* of what is watched, */
    int64_t best_epoch; /* and in which epoch it was; 0: none */
    double seconds;     /* in this call */
    ebb_fit_end end;
} ebb_fit_report;

/* False ends the training (a checkpoint is written if there is a folder). */
typedef bool (*ebb_fit_callback)(void *context, const ebb_fit_report *report);

typedef enum ebb_fit_watch { EBB_WATCH_LOSS, EBB_WATCH_ACCURACY } ebb_fit_watch;
typedef enum ebb_fit_format { EBB_LOG_CSV, EBB_LOG_JSONL } ebb_fit_format;

/* Zero is the default of all but `training` and one of epochs and steps. */
typedef struct ebb_fit_options {
    ebb_loader *training;
    ebb_loader *validation; /* NULL: none */
    int64_t epochs, steps;  /* the end, counted with those before a resume: what comes first */
    int top;                /* of validation_top; default 1 */

    ebb_fit_watch watch; /* of validation: the loss, or the accuracy */
    int64_t patience;    /* end after so many epochs without a better value; 0: never */
    double min_gain;     /* better by more than this */
    /* At the end, the store gets the values of the best epoch. A checkpoint that has an epoch of
     * that kind but not its values, as it was written without this, is not resumed. */
    bool restore_best;

    const char *folder;       /* for checkpoints; must be there; NULL: none are written */
    int64_t checkpoint_steps; /* one after so many steps, beside that after each epoch */
    int64_t keep;             /* so many stay; default 3 */
    bool resume; /* go on from the folder's newest checkpoint; if it has none, begin. Without this a
                    folder with checkpoints is refused */

    FILE *progress; /* a line that shows rate, time left and loss; plain lines if it is no terminal;
                       then one line for each epoch. NULL: silence */
    FILE *log;      /* one row for each epoch, behind its checkpoint; NULL: none */
    ebb_fit_format log_format;
    ebb_fit_callback on_step, on_epoch;
    void *context;

    /* The training ends behind the step in which this becomes nonzero, and writes a checkpoint: for
     * a signal handler, `volatile sig_atomic_t stop` and `stop = 1`. */
    const volatile sig_atomic_t *stop;
    /* A loss that is NaN or infinite ends the training with NOT_FINITE, as does such a weight
     * before a checkpoint is written, and at the end. With this, the steps since the last multiple
     * of so many are then made again and looked at, and the message names the first node that is
     * not finite. It costs a copy of the store in memory, made anew after so many steps. 0: only
     * the step is named. */
    int64_t trace_steps;
    ebb_logger logger; /* warnings, such as of a checkpoint that is passed over */
} ebb_fit_options;

/* Trains. `report` (NULL: not wanted) says where it ended, whatever happened. With the same options
 * and seeds, stopped and resumed at any step, it ends with the same bits as without a stop. Errors
 * leave the last checkpoint as it is: BAD_ARGUMENT (nothing to do, negative numbers, patience
 * without validation, accuracy without scores, a folder that has checkpoints already, a checkpoint
 * of other batches or without the values of its best epoch), IO, NOT_FINITE, BAD_SHAPE and
 * BAD_DTYPE (loaders and model do not fit), and what steps, loaders and checkpoints say. */
EBB_NODISCARD EBB_API ebb_status ebb_trainer_fit(ebb_trainer *trainer,
                                                 const ebb_fit_options *options,
                                                 ebb_fit_report *report, ebb_error *error);

EBB_END

#endif
