/* The training loop, its metrics, logs and ends; and runs that look for NaN. */
#include "tests/support/failure.h"
#include "tests/support/files.h"

#include <ebb/ebb.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- metrics ---- */

START_TEST(metrics_count)
{
    /* largest: 2, 0 (a tie), 1 (NaN), 2 */
    const float scores[] = { 1, 2, 3, 5, 5, 4, 0, NAN, 9, -3, -2, -1 };
    const int32_t labels[] = { 2, 1, 1, 0 };
    const ebb_tensor s = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(4, 3), scores),
                     l = ebb_tensor_borrow(EBB_I32, EBB_SHAPE(4), labels);
    ebb_metrics m;
    expect_good(ebb_metrics_init(&m, 3, 2, NULL, &error));
    ck_assert(isnan(ebb_metrics_accuracy(&m)) && isnan(ebb_metrics_top(&m)));
    ck_assert(isnan(ebb_metrics_loss(&m)));
    expect_good(ebb_metrics_add(&m, &s, &l, 4, &error));
    ck_assert_int_eq(m.n_right, 2);
    ck_assert_int_eq(m.n_top, 3);
    ck_assert(ebb_metrics_accuracy(&m) == 0.5 && ebb_metrics_top(&m) == 0.75);
    const int64_t confusion[9] = { 0, 0, 1, 1, 1, 0, 0, 0, 1 };
    ck_assert_mem_eq(m.confusion, confusion, sizeof confusion);
    expect_good(ebb_metrics_add(&m, &s, &l, 1, &error));
    ck_assert_int_eq(m.n_examples, 5);
    ck_assert_int_eq(m.confusion[8], 2);

    /* mistakes count nothing */
    const uint8_t wide[] = { 0, 1, 2, 3 };
    const ebb_tensor out = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(4), wide),
                     narrow = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(6, 2), scores),
                     flat = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(4), scores), none = { 0 };
    expect_failure(ebb_metrics_add(&m, &s, &out, 4, &error), EBB_BAD_INDEX,
                   "label 3 is 3, but there are 3 classes");
    expect_failure(ebb_metrics_add(&m, &narrow, &l, 4, &error), EBB_BAD_SHAPE,
                   "not f32[6,2] and i32[4]");
    expect_failure(ebb_metrics_add(&m, &s, &l, 5, &error), EBB_BAD_SHAPE, "for 5 examples");
    expect_failure(ebb_metrics_add(&m, &s, &flat, 4, &error), EBB_BAD_DTYPE, "integer labels");
    expect_failure(ebb_metrics_add(&m, &none, &l, 4, &error), EBB_BAD_ARGUMENT,
                   "there are no scores");
    expect_failure(ebb_metrics_add(&m, &s, NULL, 4, &error), EBB_BAD_ARGUMENT,
                   "there are no labels");
    ck_assert_int_eq(m.n_examples, 5);
    ebb_metrics_reset(&m);
    ck_assert_int_eq(m.n_examples + m.n_right + m.confusion[8], 0);
    ebb_metrics_finish(&m);
    expect_failure(ebb_metrics_init(&m, -1, 1, NULL, &error), EBB_BAD_ARGUMENT, "-1 classes");
}
END_TEST

/* ---- a task: which of two halves of x is larger ---- */

enum { N = 50, BATCH = 10 };

/* Models that a trainer refuses. */
typedef enum bend { FLAT_SCORES, INTEGER_SCORES, NO_INPUT, NO_LOSS, N_BENDS, STRAIGHT } bend;
static const char *const bend_messages[N_BENDS] = {
    "needs float scores [batch, classes] and integer labels [batch], not %",
    "needs float scores [batch, classes] and integer labels [batch], not %",
    "f32[10,2], is no input of its graph",
    "the model's loss must be a float scalar",
};

typedef struct task {
    float x[N][2];
    int32_t labels[N];
    ebb_dataset *dataset;
    ebb_loader *training, *validation;
    ebb_trainer *trainer;
    ebb_fit_report report;
    /* of the model */
    double factor, rate;
    int64_t batch;
    bool has_scores;
    bend bend;
} task;

static void build(ebb_graph *g, int64_t n, bool training, void *context, ebb_model_nodes *nodes)
{
    const task *t = context;
    (void)training;
    const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(n, 2));
    const ebb_node label = ebb_input(g, "label", EBB_I32, EBB_SHAPE(n));
    const ebb_node y = ebb_nn_linear(x, 2, &(ebb_nn_linear_options){ .name = "fc" });
    const ebb_node z = ebb_mul(y, ebb_full_like(y, t->factor));
    *nodes =
        (ebb_model_nodes){ .inputs = { x, label }, .loss = ebb_softmax_cross_entropy(z, label) };
    if (t->has_scores) {
        nodes->scores = y;
        nodes->labels = label;
    }
    if (t->bend == FLAT_SCORES)
        nodes->scores = ebb_reshape(y, EBB_SHAPE(2 * n));
    else if (t->bend == INTEGER_SCORES)
        nodes->scores = ebb_cast(y, EBB_I32);
    else if (t->bend == NO_INPUT)
        nodes->inputs[0] = y;
    else if (t->bend == NO_LOSS)
        nodes->loss = y;
}

static void open_task(task *t, const ebb_allocator *allocator)
{
    *t = (task){ .factor = 1, .rate = 0.1, .batch = BATCH, .has_scores = true, .bend = STRAIGHT };
    for (int i = 0; i < N; i++) {
        t->x[i][0] = (float)(i * 7 % 11) / 11;
        t->x[i][1] = (float)(i * 3 % 13) / 13;
        t->labels[i] = t->x[i][1] > t->x[i][0];
    }
    const ebb_field fields[2] = {
        { .values = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(N, 2), t->x) },
        { .values = ebb_tensor_borrow(EBB_I32, EBB_SHAPE(N), t->labels), .n_classes = 2 },
    };
    expect_good(ebb_dataset_create(fields, 2, allocator, &t->dataset, &error));
    const ebb_loader_options shuffled = { .batch = BATCH, .seed = 3 },
                             straight = { .batch = 20, .in_order = true, .last = EBB_LAST_KEEP };
    expect_good(ebb_loader_create(t->dataset, &shuffled, allocator, &t->training, &error));
    expect_good(ebb_loader_create(t->dataset, &straight, allocator, &t->validation, &error));
}

static ebb_status make_trainer(task *t)
{
    ebb_trainer_destroy(t->trainer);
    const ebb_trainer_options options = { .build = build,
                                          .context = t,
                                          .batch = t->batch,
                                          .rule = { EBB_NN_MOMENTUM, .rate = t->rate },
                                          .n_threads = 1 };
    return ebb_trainer_create(&options, &t->trainer, &error);
}

static void close_task(task *t)
{
    ebb_trainer_destroy(t->trainer);
    ebb_loader_destroy(t->training);
    ebb_loader_destroy(t->validation);
    ebb_dataset_destroy(t->dataset);
}

/* A training from the start. */
static ebb_status fit(task *t, ebb_fit_options options)
{
    expect_good(make_trainer(t));
    options.training = t->training;
    return ebb_trainer_fit(t->trainer, &options, &t->report, &error);
}

static char *store_bytes(const task *t, size_t *n)
{
    expect_good(ebb_store_save(ebb_trainer_store(t->trainer), file_path("store"), &error));
    return file_read(file_path("store"), n);
}

START_TEST(a_model_learns)
{
    task t;
    open_task(&t, NULL);
    expect_good(fit(&t, (ebb_fit_options){ .validation = t.validation, .epochs = 40, .top = 2 }));
    ck_assert_int_eq(t.report.epoch, 40);
    ck_assert_int_eq(t.report.step, 200);
    ck_assert_int_eq(t.report.epoch_steps, 5);
    ck_assert_int_eq(t.report.end, EBB_FIT_DONE);
    ck_assert(t.report.accuracy > 0.9 && t.report.validation_accuracy > 0.9);
    ck_assert(t.report.loss < 0.5 && t.report.validation_loss < 0.5 && t.report.best < 0.5);
    ck_assert(t.report.validation_top == 1 && t.report.best_epoch > 0);

    /* the same numbers by hand */
    ebb_metrics m;
    expect_good(ebb_metrics_init(&m, 2, 1, NULL, &error));
    expect_good(ebb_trainer_evaluate(t.trainer, t.validation, &m, &error));
    ck_assert_int_eq(m.n_examples, N);
    ck_assert(ebb_metrics_accuracy(&m) == t.report.validation_accuracy);
    ck_assert(ebb_metrics_loss(&m) == t.report.validation_loss);
    ck_assert_int_eq(m.confusion[0] + m.confusion[3], m.n_right);
    ebb_metrics_finish(&m);

    size_t n_loop, n_hand;
    char *loop = store_bytes(&t, &n_loop);
    expect_good(make_trainer(&t));
    ck_assert_int_eq(ebb_loader_seek(t.training, 0, 0), EBB_OK);
    for (int i = 0; i < 200; i++) {
        ebb_batch batch;
        double loss;
        ck_assert_int_eq(ebb_loader_next(t.training, &batch), EBB_OK);
        expect_good(ebb_trainer_step(t.trainer, &batch, &loss, NULL, &error));
        ck_assert(isfinite(loss));
    }
    char *hand = store_bytes(&t, &n_hand);
    ck_assert_uint_eq(n_loop, n_hand);
    ck_assert_mem_eq(loop, hand, n_loop);
    free(loop);
    free(hand);

    /* without scores there is only the loss */
    t.has_scores = false;
    expect_good(fit(&t, (ebb_fit_options){ .validation = t.validation, .steps = 7 }));
    ck_assert_int_eq(t.report.step, 7);
    ck_assert_int_eq(t.report.epoch, 1);
    ck_assert_int_eq(t.report.batch, 2);
    ck_assert(isnan(t.report.accuracy) && isnan(t.report.validation_accuracy));
    ck_assert(isfinite(t.report.loss) && isfinite(t.report.validation_loss));
    close_task(&t);
}
END_TEST

typedef struct ends {
    int64_t at_step, at_epoch;
    volatile sig_atomic_t stop;
    int64_t n_steps, n_epochs;
    double validation_losses[100];
} ends;

static bool see_step(void *context, const ebb_fit_report *report)
{
    ends *e = context;
    e->n_steps++;
    ck_assert_int_eq(report->end, EBB_FIT_RUNNING);
    if (e->at_step < 0 && report->step == -e->at_step)
        e->stop = 1;
    return e->at_step <= 0 || report->step != e->at_step;
}

static bool see_epoch(void *context, const ebb_fit_report *report)
{
    ends *e = context;
    e->validation_losses[e->n_epochs++] = report->validation_loss;
    return !e->at_epoch || report->epoch != e->at_epoch;
}

START_TEST(it_ends_as_it_is_told)
{
    task t;
    open_task(&t, NULL);
    ends e = { .at_step = 7 };
    expect_good(fit(&t, (ebb_fit_options){ .epochs = 3, .on_step = see_step, .context = &e }));
    ck_assert_int_eq(t.report.end, EBB_FIT_CALLBACK);
    ck_assert_int_eq(t.report.step, 7);
    ck_assert_int_eq(e.n_steps, 7);

    e = (ends){ .at_epoch = 2 };
    expect_good(fit(&t, (ebb_fit_options){ .epochs = 3, .on_epoch = see_epoch, .context = &e }));
    ck_assert_int_eq(t.report.end, EBB_FIT_CALLBACK);
    ck_assert_int_eq(t.report.step, 10);
    ck_assert_int_eq(e.n_epochs, 2);

    /* a flag, as of a signal handler: the step is finished, and saved */
    const char *folder = test_temporary_folder();
    e = (ends){ .at_step = -8 };
    ebb_fit_options options = {
        .epochs = 3, .on_step = see_step, .context = &e, .stop = &e.stop, .folder = folder
    };
    expect_good(fit(&t, options));
    ck_assert_int_eq(t.report.end, EBB_FIT_STOPPED);
    ck_assert_int_eq(t.report.step, 8);
    ck_assert_int_eq(ebb_checkpoint_newest(folder, NULL), 8);
    e.stop = 0;
    e.at_step = 0;
    expect_failure(fit(&t, options), EBB_BAD_ARGUMENT, "has checkpoints of an earlier training");
    options.resume = true;
    expect_good(fit(&t, options));
    ck_assert_int_eq(t.report.end, EBB_FIT_DONE);
    ck_assert_int_eq(t.report.step, 15);
    ck_assert_int_eq(e.n_steps, 8 + 7);
    size_t n_whole, n_cut;
    char *cut = store_bytes(&t, &n_cut);
    const double loss = t.report.loss, accuracy = t.report.accuracy;
    expect_good(fit(&t, (ebb_fit_options){ .epochs = 3 }));
    char *whole = store_bytes(&t, &n_whole);
    ck_assert_uint_eq(n_whole, n_cut);
    ck_assert_mem_eq(whole, cut, n_whole);
    ck_assert(loss == t.report.loss && accuracy == t.report.accuracy);
    free(whole);
    free(cut);

    /* resumed when all is done: nothing more */
    expect_good(fit(&t, options));
    ck_assert_int_eq(t.report.step, 15);

    /* another order of the data, another model */
    ebb_loader *other, *own = t.training;
    expect_good(ebb_loader_create(t.dataset, &(ebb_loader_options){ .batch = BATCH, .seed = 4 },
                                  NULL, &other, &error));
    t.training = other;
    expect_failure(fit(&t, options), EBB_BAD_ARGUMENT,
                   "in the order of seed 3, the loader's in "
                   "that of 4");
    t.training = own;
    ebb_loader_destroy(other);
    close_task(&t);
}
END_TEST

static bool look_at_training(void *context, const ebb_fit_report *report)
{
    task *t = context;
    ebb_metrics m;
    (void)report;
    expect_good(ebb_metrics_init(&m, 0, 1, NULL, &error));
    expect_good(ebb_trainer_evaluate(t->trainer, t->training, &m, &error));
    return true;
}

/* The order of the training's data stays what it is, whatever else its loader is used for. */
START_TEST(a_loader_may_have_other_uses)
{
    task t;
    size_t n_plain, n;
    open_task(&t, NULL);
    expect_good(fit(&t, (ebb_fit_options){ .epochs = 4 }));
    char *plain = store_bytes(&t, &n_plain);
    const ebb_fit_options ways[] = {
        { .epochs = 4, .validation = t.training },
        { .epochs = 4, .on_epoch = look_at_training, .context = &t },
        { .epochs = 4, .on_step = look_at_training, .context = &t },
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        expect_good(fit(&t, ways[i]));
        char *bytes = store_bytes(&t, &n);
        ck_assert_uint_eq(n, n_plain);
        ck_assert_mem_eq(bytes, plain, n);
        free(bytes);
    }
    free(plain);
    close_task(&t);
}
END_TEST

START_TEST(other_batches_are_refused)
{
    task t;
    open_task(&t, NULL);
    const char *folder = test_temporary_folder();
    ebb_fit_options options = { .steps = 3, .folder = folder, .resume = true };
    expect_good(fit(&t, options));
    ebb_loader_destroy(t.training);
    expect_good(ebb_loader_create(t.dataset, &(ebb_loader_options){ .batch = 5, .seed = 3 }, NULL,
                                  &t.training, &error));
    t.batch = 5;
    options.steps = 6;
    expect_failure(fit(&t, options), EBB_BAD_ARGUMENT,
                   "has seen 30 examples in 3 batches of an epoch; the loader's batches are of 5");
    close_task(&t);
}
END_TEST

START_TEST(a_full_log_costs_no_checkpoint)
{
    task t;
    FILE *full = fopen("/dev/full", "w");
    open_task(&t, NULL);
    if (full) {
        const char *folder = test_temporary_folder();
        expect_failure(fit(&t, (ebb_fit_options){ .epochs = 2, .log = full, .folder = folder }),
                       EBB_IO, "the log cannot be written: No space left on device");
        ck_assert_int_eq(ebb_checkpoint_newest(folder, NULL), 5);
        fclose(full);
    }
    close_task(&t);
}
END_TEST

START_TEST(it_stops_early_and_restores)
{
    task t;
    open_task(&t, NULL);
    ends e = { 0 };
    /* no gain is large enough */
    expect_good(fit(&t, (ebb_fit_options){ .epochs = 60,
                                           .validation = t.validation,
                                           .patience = 4,
                                           .min_gain = 0.05,
                                           .restore_best = true,
                                           .on_epoch = see_epoch,
                                           .context = &e }));
    ck_assert_int_eq(t.report.end, EBB_FIT_EARLY);
    ck_assert_int_eq(t.report.epoch, t.report.best_epoch + 4);
    ck_assert(t.report.best == e.validation_losses[t.report.best_epoch - 1]);
    ck_assert(t.report.best != t.report.validation_loss);
    ebb_metrics m;
    expect_good(ebb_metrics_init(&m, 0, 1, NULL, &error));
    expect_good(ebb_trainer_evaluate(t.trainer, t.validation, &m, &error));
    ck_assert(ebb_metrics_loss(&m) == t.report.best);
    ebb_metrics_finish(&m);

    expect_good(fit(&t, (ebb_fit_options){ .epochs = 60,
                                           .validation = t.validation,
                                           .watch = EBB_WATCH_ACCURACY,
                                           .patience = 10 }));
    ck_assert(t.report.best <= 1 && t.report.best > 0.9);
    close_task(&t);
}
END_TEST

START_TEST(rows_are_logged)
{
    task t;
    open_task(&t, NULL);
    for (int format = EBB_LOG_CSV; format <= EBB_LOG_JSONL; format++) {
        char *text = NULL, *shown = NULL;
        size_t n, n_shown;
        FILE *log = open_memstream(&text, &n), *progress = open_memstream(&shown, &n_shown);
        expect_good(fit(&t, (ebb_fit_options){ .epochs = 2,
                                               .log = log,
                                               .log_format = (ebb_fit_format)format,
                                               .progress = progress }));
        fclose(log);
        fclose(progress);
        double loss = 0, accuracy = 0, seconds = -1;
        char end = 0;
        const char *last = strstr(text, format == EBB_LOG_CSV ? "\n2," : "\n{\"epoch\":2");
        ck_assert_msg(last, "%s", text);
        if (format == EBB_LOG_CSV) {
            const char *first = "epoch,step,loss,accuracy,validation_loss,validation_accuracy,"
                                "validation_top,seconds\n1,5,";
            ck_assert_msg(strncmp(text, first, strlen(first)) == 0, "%s", text);
            ck_assert_int_eq(
                sscanf(last, "\n2,10,%lf,%lf,,,,%lf%c", &loss, &accuracy, &seconds, &end), 4);
        } else {
            ck_assert_int_eq(sscanf(last,
                                    "\n{\"epoch\":2,\"step\":10,\"loss\":%lf,\"accuracy\":%lf,"
                                    "\"validation_loss\":null,\"validation_accuracy\":null,"
                                    "\"validation_top\":null,\"seconds\":%lf}%c",
                                    &loss, &accuracy, &seconds, &end),
                             4);
        }
        ck_assert(end == '\n' && seconds >= 0);
        ck_assert(loss == t.report.loss && accuracy == t.report.accuracy);
        const char *line = strstr(shown, "epoch 2/2: loss 0.");
        ck_assert_msg(line && strstr(line, ", accuracy "), "%s", shown);
        free(text);
        free(shown);
    }
    close_task(&t);
}
END_TEST

typedef struct move {
    const char *from, *to;
    int64_t step;
} move;

static bool move_folder(void *context, const ebb_fit_report *report)
{
    const move *m = context;
    return report->step != m->step || rename(m->from, m->to) == 0;
}

/* A training that ends between two checkpoints makes the epoch again. */
START_TEST(an_epoch_is_logged_once)
{
    task t;
    open_task(&t, NULL);
    move away = { file_path("here"), file_path("there"), 8 };
    ck_assert_int_eq(mkdir(away.from, 0700), 0);
    char *text = NULL;
    size_t n;
    FILE *log = open_memstream(&text, &n);
    ebb_fit_options options = {
        .epochs = 3, .log = log, .folder = away.from, .on_step = move_folder, .context = &away
    };
    ck_assert_int_ne(fit(&t, options), EBB_OK);
    ck_assert_int_eq(t.report.step, 10);
    ck_assert_int_eq(rename(away.to, away.from), 0);
    options.on_step = NULL;
    options.resume = true;
    expect_good(fit(&t, options));
    fclose(log);
    int n_rows = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        n_rows++;
    ck_assert_msg(n_rows == 1 + 3 && strstr(text, "\n2,10,"), "%s", text);
    free(text);
    close_task(&t);
}
END_TEST

/* Without the values of the best epoch so far there is nothing to restore. */
START_TEST(best_values_must_be_there)
{
    task t;
    open_task(&t, NULL);
    ebb_fit_options options = { .epochs = 2,
                                .validation = t.validation,
                                .folder = test_temporary_folder() };
    expect_good(fit(&t, options));
    ck_assert_int_eq(t.report.best_epoch, 2);
    options.epochs = 3;
    options.resume = true;
    options.restore_best = true;
    expect_failure(fit(&t, options), EBB_BAD_ARGUMENT,
                   "restore_best: the checkpoint has no values of epoch 2, the best until then");
    options.restore_best = false;
    expect_good(fit(&t, options));
    close_task(&t);
}
END_TEST

START_TEST(mistakes_are_named)
{
    task t;
    open_task(&t, NULL);
    const struct {
        ebb_fit_options options;
        ebb_status status;
        const char *message;
    } cases[] = {
        { { 0 }, EBB_BAD_ARGUMENT, "neither epochs nor steps is at least 1" },
        { { .epochs = -1, .steps = 1 }, EBB_BAD_ARGUMENT, "is negative" },
        { { .epochs = 1, .min_gain = (double)NAN }, EBB_BAD_ARGUMENT, "min_gain must be finite" },
        { { .epochs = 1, .patience = 1 }, EBB_BAD_ARGUMENT, "need a loader for validation" },
        { { .epochs = 1, .watch = (ebb_fit_watch)9 }, EBB_BAD_ARGUMENT, "no such watch" },
        { { .epochs = 1, .resume = true }, EBB_BAD_ARGUMENT, "resume needs a folder" },
        { { .epochs = 1, .folder = "/none/here" },
          EBB_IO,
          "/none/here: there is no such folder for checkpoints" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_failure(fit(&t, cases[i].options), cases[i].status, cases[i].message);
    expect_failure(ebb_trainer_fit(t.trainer, &(ebb_fit_options){ .epochs = 1 }, NULL, &error),
                   EBB_BAD_ARGUMENT, "there is no loader for training");
    expect_failure(ebb_trainer_fit(NULL, NULL, NULL, &error), EBB_BAD_ARGUMENT, "trainer is NULL");
    t.has_scores = false;
    expect_failure(fit(&t, (ebb_fit_options){ .epochs = 1, .watch = EBB_WATCH_ACCURACY }),
                   EBB_BAD_ARGUMENT, "the model has no scores with labels");
    ebb_model *model;
    expect_failure(ebb_trainer_freeze(t.trainer, 1, &model, &error), EBB_BAD_ARGUMENT,
                   "the model has no scores");

    /* a loader of other batches */
    ebb_loader *other, *own = t.training;
    expect_good(
        ebb_loader_create(t.dataset, &(ebb_loader_options){ .batch = 7 }, NULL, &other, &error));
    t.training = other;
    expect_failure(fit(&t, (ebb_fit_options){ .epochs = 1 }), EBB_BAD_SHAPE,
                   "field 0 of the training batches is f32[7,2], but the input is x f32[10,2]");
    t.training = own;
    ebb_loader_destroy(other);

    /* rules and schedules */
    const ebb_nn_rule rules[] = {
        { .rate = (double)INFINITY },
        { .rate = 0.1, .schedule = { .kind = EBB_NN_EXPONENTIAL, .period = 1, .gamma = NAN } },
    };
    const char *const messages[] = { "the rate must be finite and positive, not inf",
                                     "gamma must be finite and positive" };
    ebb_trainer *trainer;
    for (int i = 0; i < 2; i++) {
        const ebb_trainer_options options = {
            .build = build, .context = &t, .batch = BATCH, .rule = rules[i]
        };
        expect_failure(ebb_trainer_create(&options, &trainer, &error), EBB_BAD_ARGUMENT,
                       messages[i]);
        ck_assert_ptr_null(trainer);
    }
    t.has_scores = true;
    for (int i = 0; i < N_BENDS; i++) {
        t.bend = (bend)i;
        expect_failure(make_trainer(&t), EBB_BAD_ARGUMENT, bend_messages[i]);
        ck_assert_ptr_null(t.trainer);
    }
    expect_failure(ebb_trainer_create(&(ebb_trainer_options){ .build = build }, &trainer, &error),
                   EBB_BAD_ARGUMENT, "batch must be at least 1, not 0");
    expect_failure(ebb_trainer_create(&(ebb_trainer_options){ .batch = 1 }, &trainer, &error),
                   EBB_BAD_ARGUMENT, "no function that builds the model");
    close_task(&t);
}
END_TEST

/* ---- NaN ---- */

START_TEST(the_first_bad_node_is_named)
{
    task t;
    open_task(&t, NULL);
    t.factor = 1e25; /* the gradient, times this twice, is too large for a float */
    expect_failure(fit(&t, (ebb_fit_options){ .epochs = 3 }), EBB_NOT_FINITE,
                   "trace_steps would name the first node");
    expect_failure(fit(&t, (ebb_fit_options){ .epochs = 3, .trace_steps = 2 }), EBB_NOT_FINITE,
                   "): the loss is ");
    ck_assert_msg(strstr(error.message, "; in step ") && strstr(error.message, "test_fit.c:") &&
                      strstr(error.message, " not finite"),
                  "%s", error.message);
    /* the store is as before the first bad step */
    ebb_tensor w;
    ck_assert_int_eq(ebb_store_get(ebb_trainer_store(t.trainer), "fc/w", &w), EBB_OK);
    for (int i = 0; i < 4; i++)
        ck_assert(isfinite(((const float *)w.data)[i]));
    close_task(&t);
}
END_TEST

/* The last step's loss is finite, but not the weights that it leaves. */
START_TEST(bad_weights_are_not_saved)
{
    task t;
    open_task(&t, NULL);
    const char *folder = test_temporary_folder();
    expect_good(fit(&t, (ebb_fit_options){ .steps = 1, .folder = folder }));
    t.factor = -1e6; /* what was right is wrong */
    t.rate = 3e38;
    expect_failure(fit(&t, (ebb_fit_options){ .steps = 2, .folder = folder, .resume = true }),
                   EBB_NOT_FINITE, "step 2 (epoch 1, batch 2): variable fc/");
    ck_assert_int_eq(ebb_checkpoint_newest(folder, NULL), 1);
    expect_failure(fit(&t, (ebb_fit_options){ .steps = 1, .trace_steps = 1 }), EBB_NOT_FINITE,
                   "not finite; in step 1, ");
    close_task(&t);
}
END_TEST

START_TEST(runs_look_for_nan)
{
    for (int way = 0; way < 2; way++) {
        ebb_graph *g = ebb_graph_create("nan");
        ebb_store *store = ebb_store_create(NULL);
        const ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(2, 3));
        const ebb_node w = ebb_variable(g, "w", EBB_F32, EBB_SHAPE(3), &(ebb_init){ .a = 1 });
        const ebb_node y = ebb_named(ebb_log(x), "logs");
        const ebb_node z = ebb_named(ebb_mul(y, w), "z");
        const ebb_node loss = ebb_reduce_sum(ebb_sqrt(z), EBB_ALL_AXES, false);
        ck_assert_int_eq(ebb_nn_minimize(loss, &(ebb_nn_rule){ .rate = 1 }), EBB_OK);
        ebb_executable *e;
        const ebb_compile_options options = { .fetches = (ebb_node[]){ loss, w },
                                              .n_fetches = 2,
                                              .store = store,
                                              .backend = way ? "reference" : NULL,
                                              .check_finite = true };
        ck_assert_int_eq(ebb_compile(g, &options, &e), EBB_OK);
        float values[6] = { 2, 3, 4, 5, 6, 7 }, sum, before[3];
        ebb_feed feed = { x, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2, 3), values) };
        ebb_fetch fetches[2] = { { loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &sum) },
                                 { w, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3), before) } };
        ck_assert_msg(ebb_run(e, &feed, 1, fetches, 2) == EBB_OK, "%s", ebb_executable_message(e));
        ck_assert(before[0] == 1); /* as it was before the update */
        float w0;
        ebb_tensor value;
        ck_assert_int_eq(ebb_store_get(store, "w", &value), EBB_OK);
        w0 = *(const float *)value.data;
        ck_assert(w0 != 1);
        const struct {
            float bad;
            const char *message;
        } cases[] = {
            { 0, "log logs f32[2,3]" }, /* -inf */
            { NAN, "input x: element [1,1] is nan; 1 of 6 are not finite" },
            { -1, "element [1,1] is " }, /* nan or -nan */
            { 1, "" },                   /* the gradient of sqrt at 0 */
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            values[4] = cases[i].bad;
            sum = -7;
            ck_assert_int_eq(ebb_run(e, &feed, 1, fetches, 2), EBB_NOT_FINITE);
            ck_assert_msg(strstr(ebb_executable_message(e), cases[i].message), "\"%s\": %s",
                          cases[i].message, ebb_executable_message(e));
            ck_assert(sum == -7 && *(const float *)value.data == w0);
        }
        values[4] = 6;
        const float bad[3] = { 1, INFINITY, 1 };
        const ebb_tensor put = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3), bad);
        ck_assert_int_eq(ebb_store_set(store, "w", &put), EBB_OK);
        ck_assert_int_eq(ebb_run(e, &feed, 1, fetches, 2), EBB_NOT_FINITE);
        ck_assert_str_eq(ebb_executable_message(e),
                         "variable w: element [1] is inf; 1 of 3 are not finite");
        ebb_executable_destroy(e);
        ebb_graph_destroy(g);
        ebb_store_destroy(store);
    }
}
END_TEST

START_TEST(failing_allocations_leak_nothing)
{
    bool is_done = false;
    for (int64_t n = 0; !is_done; n += 1 + n / 40) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        task t;
        open_task(&t, NULL);
        const ebb_trainer_options options = { .build = build,
                                              .context = &t,
                                              .batch = BATCH,
                                              .rule = { EBB_NN_MOMENTUM, .rate = 0.1 },
                                              .n_threads = 1,
                                              .allocator = &meter.allocator };
        meter.fail_after = n;
        ebb_status status = ebb_trainer_create(&options, &t.trainer, &error);
        const ebb_fit_options how = { .training = t.training,
                                      .validation = t.validation,
                                      .epochs = 1,
                                      .restore_best = true,
                                      .trace_steps = 3 };
        if (!status)
            status = ebb_trainer_fit(t.trainer, &how, NULL, &error);
        ck_assert_msg(status == EBB_OK || status == EBB_OUT_OF_MEMORY, "%s: %s",
                      ebb_status_name(status), error.message);
        is_done = status == EBB_OK;
        close_task(&t);
        ck_assert_int_eq(meter.n_live, 0);
    }
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("fit");
    TCase *c = tcase_create("training");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, metrics_count);
    tcase_add_test(c, a_model_learns);
    tcase_add_test(c, it_ends_as_it_is_told);
    tcase_add_test(c, a_loader_may_have_other_uses);
    tcase_add_test(c, other_batches_are_refused);
    tcase_add_test(c, a_full_log_costs_no_checkpoint);
    tcase_add_test(c, it_stops_early_and_restores);
    tcase_add_test(c, rows_are_logged);
    tcase_add_test(c, an_epoch_is_logged_once);
    tcase_add_test(c, best_values_must_be_there);
    tcase_add_test(c, mistakes_are_named);
    tcase_add_test(c, the_first_bad_node_is_named);
    tcase_add_test(c, bad_weights_are_not_saved);
    tcase_add_test(c, runs_look_for_nan);
    tcase_add_test(c, failing_allocations_leak_nothing);
    suite_add_tcase(suite, c);
    return suite;
}

int main(void)
{
    return run_suite(make_suite());
}
