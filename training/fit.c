/* The training loop. Everything that it knows beyond the store is in a checkpoint (`at`), so that a
 * training which was cut off anywhere goes on with the same bits. */
#include "io/safetensors.h"
#include "ops/descriptors.h"
#include "runtime/store.h"
#include "training/log.h"
#include "training/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

typedef struct fitting {
    ebb_trainer *trainer;
    const ebb_fit_options *options;
    ebb_fit_report report;
    ebb_checkpoint at;
    int64_t saved_step; /* of the newest checkpoint; -1: none */
    ebb_metrics epoch, validation;
    ebb_store *best;   /* values of the best epoch; NULL: not wanted */
    ebb_store *traced; /* values after traced_at.step steps; NULL: not wanted */
    ebb_checkpoint traced_at;
    bool has_scores;
    ebb_progress progress;
    char label[64];
    double started;
    ebb_error *error;
} fitting;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static ebb_status fail(const fitting *f, const char *what)
{
    return ebb_fail(f->error, EBB_BAD_ARGUMENT, "ebb_trainer_fit: %s", what);
}

/* ---- checking ---- */

static ebb_status check_folder(const fitting *f)
{
    const ebb_fit_options *o = f->options;
    struct stat about;
    if (!o->folder)
        return o->resume ? fail(f, "resume needs a folder") : EBB_OK;
    if (stat(o->folder, &about) != 0 || !S_ISDIR(about.st_mode))
        return ebb_fail(f->error, EBB_IO, "%s: there is no such folder for checkpoints", o->folder);
    if (!o->resume && ebb_checkpoint_newest(o->folder, f->trainer->allocator) >= 0)
        return ebb_fail(f->error, EBB_BAD_ARGUMENT,
                        "%s: the folder has checkpoints of an earlier training: resume that, or "
                        "take an empty folder",
                        o->folder);
    return EBB_OK;
}

static ebb_status check_options(fitting *f)
{
    const ebb_fit_options *o = f->options;
    if (!o->training)
        return fail(f, "there is no loader for training");
    if (o->epochs < 1 && o->steps < 1)
        return fail(f, "neither epochs nor steps is at least 1: there is nothing to do");
    if (o->epochs < 0 || o->steps < 0 || o->patience < 0 || o->checkpoint_steps < 0 ||
        o->keep < 0 || o->trace_steps < 0 || o->top < 0)
        return fail(f, "a number of epochs, steps or checkpoints is negative");
    if ((unsigned)o->watch > EBB_WATCH_ACCURACY || (unsigned)o->log_format > EBB_LOG_JSONL)
        return fail(f, "there is no such watch or log_format");
    if (!(isfinite(o->min_gain) && o->min_gain >= 0))
        return fail(f, "min_gain must be finite and not negative");
    if ((o->patience || o->restore_best) && !o->validation)
        return fail(f, "patience and restore_best need a loader for validation");
    ebb_variant *training, *test;
    ebb_trainer *t = f->trainer;
    ebb_status status = ebb_trainer_variant(t, t->options.batch, true, false, &training, f->error);
    if (!status)
        status = ebb_trainer_variant(t, t->options.batch, false, false, &test, f->error);
    if (status)
        return status;
    f->has_scores = test->nodes.scores.id && test->label_field >= 0;
    if (!f->has_scores && (o->watch == EBB_WATCH_ACCURACY || o->top))
        return fail(f, "the accuracy is asked for, but the model has no scores with labels");
    status = ebb_variant_check(training, o->training, "the training batches", f->error);
    /* Batches for validation may be of another size: their types are seen when they come. */
    return status ? status : check_folder(f);
}

/* ---- copies of the store ---- */

static ebb_status copy_store(const fitting *f, ebb_store *copy)
{
    ebb_store *store = f->trainer->store;
    ebb_status status = EBB_OK;
    for (int64_t i = 0; i < ebb_store_size(store) && !status; i++) {
        const ebb_store_entry *entry = ebb_store_find(store, ebb_store_name(store, i));
        status = ebb_store_set_entry(copy, entry);
    }
    return status ? ebb_fail(f->error, status, "ebb_trainer_fit: %s", ebb_store_message(copy))
                  : EBB_OK;
}

static ebb_status create_store(const fitting *f, ebb_store **store)
{
    *store = ebb_store_create(f->trainer->allocator);
    return *store ? EBB_OK
                  : ebb_fail(f->error, EBB_OUT_OF_MEMORY, "ebb_trainer_fit: out of memory");
}

/* ---- NaN ---- */

static ebb_status trace(fitting *f)
{
    const int64_t every = f->options->trace_steps;
    if (!every || (f->at.step % every != 0 && ebb_store_size(f->traced) > 0))
        return EBB_OK;
    f->traced_at = f->at;
    return copy_store(f, f->traced);
}

/* Goes back to the copy and makes the steps again, looking at every node. */
static ebb_status find_node(fitting *f, ebb_error *found)
{
    ebb_loader *loader = f->options->training;
    ebb_store_take(f->trainer->store, f->traced, "", NULL);
    ebb_status status = ebb_loader_seek(loader, f->traced_at.epoch, f->traced_at.batch);
    for (int64_t step = f->traced_at.step; step < f->at.step && !status; step++) {
        ebb_batch batch;
        ebb_variant *variant;
        ebb_error reason;
        status = ebb_loader_next(loader, &batch);
        if (!status)
            status = ebb_trainer_variant(f->trainer, batch.size, true, true, &variant, &reason);
        if (!status)
            status = ebb_variant_run(variant, &batch, NULL, NULL, &reason);
        if (status == EBB_NOT_FINITE)
            ebb_fail(found, status, "in step %" PRId64 ", %s", step + 1, reason.message);
    }
    return status;
}

/* `what` is not finite after f->at.step steps. */
static ebb_status fail_not_finite(fitting *f, const char *what)
{
    ebb_error found = { .message = "trace_steps would name the first node" };
    if (ebb_store_size(f->traced) > 0 && find_node(f, &found) != EBB_NOT_FINITE)
        ebb_fail(&found, EBB_NOT_FINITE, "made again, the steps before gave no such value");
    return ebb_fail(f->error, EBB_NOT_FINITE,
                    "step %" PRId64 " (epoch %" PRId64 ", batch %" PRId64 "): %.200s; %s",
                    f->at.step, f->at.epoch + 1, f->at.batch, what, found.message);
}

/* NOT_FINITE if the last step left a weight so that no step can go on from. */
static ebb_status check_weights(fitting *f)
{
    ebb_variant *variant;
    ebb_node w, value;
    ebb_error reason;
    ebb_trainer *t = f->trainer;
    ebb_status status = ebb_trainer_variant(t, t->options.batch, true, false, &variant, f->error);
    for (int64_t i = 0; !status && ebb_graph_update(variant->graph, i, &w, &value); i++) {
        const ebb_variable_attrs *variable = ebb_node_attrs(w);
        const ebb_store_entry *entry = ebb_store_find(t->store, variable->name);
        if (entry && ebb_finite_entry(entry, &reason) == EBB_NOT_FINITE)
            status = fail_not_finite(f, reason.message);
    }
    return status;
}

/* ---- checkpoints ---- */

static ebb_status save(fitting *f)
{
    const ebb_fit_options *o = f->options;
    if (!o->folder || f->saved_step == f->at.step)
        return EBB_OK;
    const ebb_status finite = check_weights(f);
    if (finite)
        return finite;
    f->at.loss_sum = f->epoch.loss_sum;
    f->at.n_examples = f->epoch.n_losses;
    f->at.n_right = f->epoch.n_right;
    const ebb_store *best = f->at.best_epoch ? f->best : NULL;
    const ebb_status status = ebb_checkpoint_add(o->folder, o->keep ? o->keep : 3,
                                                 f->trainer->store, best, &f->at, f->error);
    if (!status)
        f->saved_step = f->at.step;
    return status;
}

/* The batches of the checkpoint's epoch were as large as those of this loader. */
static ebb_status check_place(const fitting *f)
{
    const ebb_loader *loader = f->options->training;
    const int64_t size = ebb_loader_type(loader, 0).shape.dims[0];
    if (f->at.batch >= ebb_loader_n_batches(loader) || f->at.n_examples == f->at.batch * size)
        return EBB_OK; /* the first is for ebb_loader_seek to say */
    return ebb_fail(f->error, EBB_BAD_ARGUMENT,
                    "%s: the checkpoint has seen %" PRId64 " examples in %" PRId64
                    " batches of an epoch; the loader's batches are of %" PRId64,
                    f->options->folder, f->at.n_examples, f->at.batch, size);
}

static ebb_status resume(fitting *f)
{
    const ebb_fit_options *o = f->options;
    ebb_error reason;
    const ebb_status status =
        ebb_checkpoint_resume(o->folder, f->trainer->store, f->best, &f->at, &o->logger, &reason);
    /* An empty folder, and not one of another model */
    if (status == EBB_NOT_FOUND && ebb_checkpoint_newest(o->folder, f->trainer->allocator) < 0)
        return EBB_OK;
    if (status)
        return ebb_fail(f->error, status, "%s", reason.message);
    if (f->at.seed != ebb_loader_seed(o->training))
        return ebb_fail(f->error, EBB_BAD_ARGUMENT,
                        "%s: the checkpoint's data come in the order of seed %" PRIu64
                        ", the loader's in that of %" PRIu64,
                        o->folder, f->at.seed, ebb_loader_seed(o->training));
    const ebb_status fits = check_place(f);
    if (fits)
        return fits;
    if (f->best && f->at.best_epoch && ebb_store_size(f->best) == 0)
        return ebb_fail(f->error, EBB_BAD_ARGUMENT,
                        "%s: restore_best: the checkpoint has no values of epoch %" PRId64
                        ", the best until then",
                        o->folder, f->at.best_epoch);
    f->saved_step = f->at.step;
    f->epoch.loss_sum = f->at.loss_sum;
    f->epoch.n_losses = f->at.n_examples;
    f->epoch.n_examples = f->has_scores ? f->at.n_examples : 0;
    f->epoch.n_right = f->at.n_right;
    return EBB_OK;
}

/* Puts the loader at its place, if it is not there: between steps it may have been used for
 * validation, or by a callback. */
static ebb_status seek(const fitting *f, const ebb_checkpoint *at)
{
    ebb_loader *loader = f->options->training;
    int64_t epoch, batch;
    ebb_loader_position(loader, &epoch, &batch);
    if (epoch == at->epoch && batch == at->batch)
        return EBB_OK;
    const ebb_status status = ebb_loader_seek(loader, at->epoch, at->batch);
    return status ? ebb_fail(f->error, status,
                             "ebb_trainer_fit: batch %" PRId64 " of epoch %" PRId64
                             ", where the checkpoint stands: %.300s",
                             at->batch, at->epoch, ebb_loader_message(loader))
                  : EBB_OK;
}

/* ---- epochs ---- */

static void start_progress(fitting *f)
{
    const ebb_fit_options *o = f->options;
    int n = snprintf(f->label, sizeof f->label, "epoch %" PRId64, f->at.epoch + 1);
    if (o->epochs)
        snprintf(f->label + n, sizeof f->label - (size_t)n, "/%" PRId64, o->epochs);
    ebb_progress_start(&f->progress, o->progress, f->label, f->at.batch, f->report.epoch_steps);
}

static void fill_report(fitting *f)
{
    f->report.epoch = f->at.epoch;
    f->report.step = f->at.step;
    f->report.batch = f->at.batch;
    f->report.loss = ebb_metrics_loss(&f->epoch);
    f->report.accuracy = ebb_metrics_accuracy(&f->epoch);
    f->report.best = f->at.best_epoch ? f->at.best : (double)NAN;
    f->report.best_epoch = f->at.best_epoch;
    f->report.seconds = now() - f->started;
}

static ebb_status validate(fitting *f)
{
    const ebb_fit_options *o = f->options;
    if (!o->validation)
        return EBB_OK;
    ebb_metrics_reset(&f->validation);
    const ebb_status status =
        ebb_trainer_evaluate(f->trainer, o->validation, &f->validation, f->error);
    if (status)
        return status;
    f->report.validation_loss = ebb_metrics_loss(&f->validation);
    f->report.validation_accuracy = ebb_metrics_accuracy(&f->validation);
    f->report.validation_top = ebb_metrics_top(&f->validation);
    const bool is_loss = o->watch == EBB_WATCH_LOSS;
    const double value = is_loss ? f->report.validation_loss : f->report.validation_accuracy;
    const double gain = is_loss ? f->at.best - value : value - f->at.best;
    if (f->at.best_epoch && !(gain > o->min_gain))
        return EBB_OK;
    if (isnan(value))
        return EBB_OK;
    f->at.best = value;
    f->at.best_epoch = f->at.epoch;
    return f->best ? copy_store(f, f->best) : EBB_OK;
}

static bool call(const fitting *f, ebb_fit_callback callback)
{
    return !callback || callback(f->options->context, &f->report);
}

static ebb_status end_epoch(fitting *f)
{
    const ebb_fit_options *o = f->options;
    f->at.epoch++;
    f->at.batch = 0;
    ebb_status status = validate(f);
    if (status)
        return status;
    fill_report(f);
    ebb_progress_end(&f->progress);
    ebb_print_epoch(o->progress, f->label, &f->report);
    ebb_metrics_reset(&f->epoch);
    /* The row comes behind the checkpoint: a training that is cut off before it makes the epoch
     * again, and then a row of it. So a log that cannot be written costs no checkpoint, either. */
    status = save(f);
    if (!status && o->log)
        status = ebb_log_epoch(o->log, o->log_format, f->at.epoch == 1, &f->report, f->error);
    if (!status && !call(f, o->on_epoch))
        f->report.end = EBB_FIT_CALLBACK;
    if (!status)
        start_progress(f);
    return status;
}

static ebb_status make_step(fitting *f)
{
    const ebb_fit_options *o = f->options;
    ebb_batch batch;
    ebb_status status = trace(f);
    if (!status)
        status = seek(f, &f->at);
    if (status)
        return status;
    status = ebb_loader_next(o->training, &batch);
    if (status)
        return ebb_fail(f->error, status, "%s", ebb_loader_message(o->training));
    status = ebb_trainer_step(f->trainer, &batch, &f->report.step_loss, &f->epoch, f->error);
    if (status)
        return status;
    f->at.step++;
    f->at.batch = batch.number + 1;
    if (!isfinite(f->report.step_loss))
        return fail_not_finite(f, isnan(f->report.step_loss) ? "the loss is nan"
                                                             : "the loss is infinite");
    ebb_progress_step(&f->progress, f->at.batch, f->report.step_loss);
    fill_report(f);
    if (!call(f, o->on_step))
        f->report.end = EBB_FIT_CALLBACK;
    if (batch.is_last)
        return end_epoch(f);
    return o->checkpoint_steps && f->at.step % o->checkpoint_steps == 0 ? save(f) : EBB_OK;
}

/* Why it ends before the next step; RUNNING: it does not. */
static ebb_fit_end find_end(const fitting *f)
{
    const ebb_fit_options *o = f->options;
    if (f->report.end)
        return f->report.end;
    if ((o->epochs && f->at.epoch >= o->epochs) || (o->steps && f->at.step >= o->steps))
        return EBB_FIT_DONE;
    if (o->patience && f->at.batch == 0 && f->at.best_epoch &&
        f->at.epoch - f->at.best_epoch >= o->patience)
        return EBB_FIT_EARLY;
    return o->stop && *o->stop ? EBB_FIT_STOPPED : EBB_FIT_RUNNING;
}

static ebb_status run(fitting *f)
{
    ebb_status status = EBB_OK;
    start_progress(f);
    while (!status && !(f->report.end = find_end(f)))
        status = make_step(f);
    ebb_progress_end(&f->progress);
    if (!status)
        status = check_weights(f);
    if (!status)
        status = save(f);
    if (!status && f->best && f->at.best_epoch)
        ebb_store_take(f->trainer->store, f->best, "", NULL);
    return status;
}

static ebb_status prepare(fitting *f)
{
    const ebb_fit_options *o = f->options;
    ebb_status status = check_options(f);
    if (!status)
        status = ebb_metrics_init(&f->epoch, 0, 1, NULL, f->error);
    if (!status)
        status = ebb_metrics_init(&f->validation, 0, o->top, NULL, f->error);
    if (!status && o->restore_best)
        status = create_store(f, &f->best);
    if (!status && o->trace_steps)
        status = create_store(f, &f->traced);
    if (status)
        return status;
    f->at.seed = ebb_loader_seed(o->training);
    f->report.epoch_steps = ebb_loader_n_batches(o->training);
    if (o->resume)
        status = resume(f);
    return status ? status : seek(f, &f->at);
}

ebb_status ebb_trainer_fit(ebb_trainer *trainer, const ebb_fit_options *options,
                           ebb_fit_report *report, ebb_error *error)
{
    const double none = (double)NAN;
    fitting f = { .trainer = trainer,
                  .options = options,
                  .saved_step = -1,
                  .started = now(),
                  .error = error,
                  .report = { .step_loss = none,
                              .validation_loss = none,
                              .validation_accuracy = none,
                              .validation_top = none } };
    ebb_status status;
    if (!trainer || !options)
        status = ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_trainer_fit: %s is NULL",
                          trainer ? "options" : "trainer");
    else
        status = prepare(&f);
    if (!status)
        status = run(&f);
    /* An epoch that is over has its figures in the report already. */
    if (f.at.batch > 0 || f.at.step == 0 || isnan(f.report.step_loss))
        fill_report(&f);
    f.report.seconds = now() - f.started;
    if (report)
        *report = f.report;
    ebb_metrics_finish(&f.epoch);
    ebb_metrics_finish(&f.validation);
    ebb_store_destroy(f.best);
    ebb_store_destroy(f.traced);
    return status;
}
