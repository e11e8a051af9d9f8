/* loader: what a training step costs when its batches come from a loader, against batches that lie
 * in memory ready-made. Two nets on MNIST (or drawn digits), batches of 100.
 *
 *   loader [--data FOLDER] [--threads N] [--secs S] [--augment]
 *
 * Each net takes turns between three ways, 20 steps each, so that what else the machine does hits
 * all alike: `memory` feeds ready-made batches in turn, `inline` lets ebb_loader_next prepare them
 * in the calling thread, `loader` on a thread of its own. Times are medians of single steps; the
 * last columns are ratios to `memory`. */
#include "models/models.h"

#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 100, READY = 100, TURN = 100, MAX_STEPS = 100000, N_WAYS = 3, N_DIGITS = 10000 };
static const char *const way_names[N_WAYS] = { "memory", "inline", "loader" };

static void die(const char *what, const char *message)
{
    fprintf(stderr, "loader: %s: %s\n", what, message);
    exit(1);
}

static void need(ebb_status status, const char *what, const char *message)
{
    if (status != EBB_OK)
        die(what, message);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times, int n)
{
    qsort(times, (size_t)n, sizeof *times, compare_doubles);
    return times[n / 2];
}

/* ---- the nets ---- */

/* Chapter 4 of Saitoh 2016: 784-50-10. */
static ebb_node build_two_layer_net(ebb_node x, const model_options *options)
{
    (void)options;
    ebb_node h = ebb_nn_linear(ebb_flatten(x, 1), 50, &(ebb_nn_linear_options){ .name = "fc1" });
    return ebb_nn_linear(ebb_relu(h), 10, &(ebb_nn_linear_options){ .name = "fc2" });
}

typedef struct training {
    ebb_graph *graph;
    ebb_store *store;
    ebb_executable *step;
    ebb_node x, t, loss;
} training;

static training start(ebb_node (*build)(ebb_node x, const model_options *options), int n_threads)
{
    training r = { .graph = ebb_graph_create("net"), .store = ebb_store_create(NULL) };
    r.x = ebb_input(r.graph, "x", EBB_F32, EBB_SHAPE(BATCH, 1, 28, 28));
    r.t = ebb_input(r.graph, "t", EBB_I32, EBB_SHAPE(BATCH));
    r.loss = ebb_softmax_cross_entropy(build(r.x, &(model_options){ .training = true }), r.t);
    const ebb_nn_rule rule = { .method = EBB_NN_SGD, .rate = 0.01 };
    need(ebb_nn_minimize(r.loss, &rule), "minimize", ebb_graph_message(r.graph));
    const ebb_compile_options options = {
        .fetches = &r.loss, .n_fetches = 1, .store = r.store, .n_threads = n_threads
    };
    need(ebb_compile(r.graph, &options, &r.step), "compile", ebb_graph_message(r.graph));
    return r;
}

static void run_step(const training *r, const ebb_tensor *fields)
{
    float loss;
    const ebb_feed feeds[] = { { r->x, fields[0] }, { r->t, fields[1] } };
    const ebb_fetch fetch = { r->loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &loss) };
    need(ebb_run(r->step, feeds, 2, &fetch, 1), "run", ebb_executable_message(r->step));
}

/* ---- the ways ---- */

typedef struct ways {
    ebb_loader *loaders[N_WAYS]; /* of the first: makes the ready ones */
    ebb_tensor ready[READY][2];
    int next;
} ways;

static const ebb_augment changes = { .padding = 2 };

static void open_ways(ways *w, const ebb_dataset *dataset, bool augments)
{
    ebb_error error;
    for (int i = 0; i < N_WAYS; i++) {
        const ebb_loader_options options = { .batch = BATCH,
                                             .seed = 1,
                                             .augments = &changes,
                                             .n_augments = augments ? 1 : 0,
                                             .no_thread = i < 2 };
        need(ebb_loader_create(dataset, &options, NULL, &w->loaders[i], &error), "loader",
             error.message);
    }
    for (int i = 0; i < READY; i++) {
        ebb_batch batch;
        need(ebb_loader_next(w->loaders[0], &batch), "loader", ebb_loader_message(w->loaders[0]));
        for (int f = 0; f < 2; f++) {
            need(ebb_tensor_init(&w->ready[i][f], batch.fields[f].type, NULL), "batch",
                 "no memory");
            memcpy(w->ready[i][f].data, batch.fields[f].data, ebb_tensor_bytes(&batch.fields[f]));
        }
    }
    w->next = 0;
}

static void close_ways(ways *w)
{
    for (int i = 0; i < READY; i++)
        for (int f = 0; f < 2; f++)
            ebb_tensor_finish(&w->ready[i][f]);
    for (int i = 0; i < N_WAYS; i++)
        ebb_loader_destroy(w->loaders[i]);
}

static double time_step(const training *r, ways *w, int way)
{
    const double before = now_ms();
    if (way == 0) {
        run_step(r, w->ready[w->next]);
        w->next = (w->next + 1) % READY;
    } else {
        ebb_batch batch;
        need(ebb_loader_next(w->loaders[way], &batch), "loader",
             ebb_loader_message(w->loaders[way]));
        run_step(r, batch.fields);
    }
    return now_ms() - before;
}

static void measure(const char *name, const training *r, ways *w, double seconds)
{
    static double times[N_WAYS][MAX_STEPS];
    int n = 0;
    for (int i = 0; i < TURN; i++)
        for (int way = 0; way < N_WAYS; way++)
            time_step(r, w, way);
    const double end = now_ms() + 1e3 * seconds;
    for (; now_ms() < end && n + TURN <= MAX_STEPS; n += TURN)
        for (int way = 0; way < N_WAYS; way++)
            for (int i = 0; i < TURN; i++)
                times[way][n + i] = time_step(r, w, way);
    double medians[N_WAYS];
    for (int way = 0; way < N_WAYS; way++)
        medians[way] = median(times[way], n);
    printf("%-16s", name);
    for (int way = 0; way < N_WAYS; way++)
        printf("%10.4f", medians[way]);
    printf("%12.3f%10.3f\n", medians[1] / medians[0], medians[2] / medians[0]);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        ebb_node (*build)(ebb_node x, const model_options *options);
    } nets[] = { { "two_layer_net", build_two_layer_net },
                 { "simple_convnet", build_simple_convnet } };
    const char *folder = NULL;
    int n_threads = 1;
    double seconds = 5;
    bool augments = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--augment") == 0)
            augments = true;
        else if (i + 1 < argc && strcmp(argv[i], "--data") == 0)
            folder = argv[++i];
        else if (i + 1 < argc && strcmp(argv[i], "--threads") == 0)
            n_threads = atoi(argv[++i]);
        else if (i + 1 < argc && strcmp(argv[i], "--secs") == 0)
            seconds = atof(argv[++i]);
        else
            die("unknown option", argv[i]);
    }
    ebb_error error;
    ebb_image_set set;
    ebb_field fields[2];
    ebb_dataset *dataset;
    if (folder)
        need(ebb_mnist_read(folder, NULL, &set, NULL, &error), "data", error.message);
    else
        need(ebb_digits_draw(N_DIGITS, 1, NULL, &set, &error), "data", error.message);
    ebb_image_set_fields(&set, fields);
    need(ebb_dataset_create(fields, 2, NULL, &dataset, &error), "data", error.message);
    printf("%lld images, batches of %d, %d compute threads%s; medians of steps in ms\n",
           (long long)set.n, BATCH, n_threads, augments ? ", shifted" : "");
    printf("%-16s", "net");
    for (int way = 0; way < N_WAYS; way++)
        printf("%10s", way_names[way]);
    printf("%12s%10s\n", "inline/mem", "loader/mem");
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        ways w;
        open_ways(&w, dataset, augments);
        training r = start(nets[i].build, n_threads);
        measure(nets[i].name, &r, &w, seconds);
        ebb_executable_destroy(r.step);
        ebb_store_destroy(r.store);
        ebb_graph_destroy(r.graph);
        close_ways(&w);
    }
    ebb_dataset_destroy(dataset);
    ebb_image_set_finish(&set);
    return 0;
}
