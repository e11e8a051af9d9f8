/* A search for hyper-parameters (Saitoh, Deep Learning from Scratch (2016), section 6.5): weight
 * decay from 10^-8 to 10^-4 and rate from 10^-6 to 10^-2 are drawn at random, on a logarithmic
 * scale, for a net of six hidden layers of 100 that learns 400 images for 50 epochs by SGD. A
 * hundred other images judge it; test images are never looked at. The search goes in three rounds,
 * each around the best trials before it, and gives up trials that are far behind them.
 *
 * Rate and decay are inputs of the graph, so each thread compiles once for all its trials. A second
 * graph over the same variables gives them their first values, from the number of the trial.
 *
 *     search [--data FOLDER] [--trials 100] [--epochs 50] [--workers 2] [--seed 1] ... */
#include "support/data.h"
#include "support/draw.h"
#include "support/mlp.h"
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_TRAIN = 400, BATCH = 100, N_JUDGE = BATCH, N_HIDDEN = 6, N_WEIGHTS = 2 * (N_HIDDEN + 1) };
enum { N_ROUNDS = 3, N_BEST = 5, MAX_TRIALS = 10000, MAX_WORKERS = 64 };

typedef struct trial_row {
    double decay, rate; /* base-10 logarithms */
    double accuracy;    /* on the judging images, at the end */
    double halfway;     /* the same after the epoch in which trials are given up */
    int64_t n_epochs;
    int round;
} trial_row;

typedef struct search_run {
    const example_data *data;
    const int64_t *order; /* [N_TRAIN + N_JUDGE], shuffled: the first ones judge */
    const char *backend;
    uint64_t seed;
    int64_t n_epochs;
    trial_row *trials;
    double least;    /* a trial that is below this halfway is given up */
    int first, last; /* trials of this round: first..last-1 */
    atomic_int next;
} search_run;

/* ---- one thread's net ---- */

typedef struct worker {
    search_run *search;
    ebb_graph *graph, *start_graph;
    ebb_store *store;
    ebb_executable *step, *judge, *start;
    ebb_node x, t, rate, decay, accuracy, number;
    ebb_tensor images, labels; /* of a batch */
    int64_t order[N_TRAIN];
} worker;

static void name_weight(int i, char name[16])
{
    snprintf(name, 16, "fc%d/%c", i / 2 + 1, i % 2 ? 'b' : 'w');
}

/* w <- w - rate (gradient + decay w); biases do not decay. */
static void put_updates(worker *w, ebb_node loss)
{
    ebb_node weights[N_WEIGHTS], slopes[N_WEIGHTS];
    for (int i = 0; i < N_WEIGHTS; i++) {
        char name[16];
        name_weight(i, name);
        weights[i] = ebb_graph_find(w->graph, name);
    }
    need_graph(w->graph, ebb_gradients(loss, weights, N_WEIGHTS, slopes));
    for (int i = 0; i < N_WEIGHTS; i++) {
        ebb_node slope = i % 2 ? slopes[i] : ebb_add(slopes[i], ebb_mul(w->decay, weights[i]));
        ebb_update(weights[i], ebb_sub(weights[i], ebb_mul(w->rate, slope)));
    }
}

/* A graph whose run is only updates: weights normal with sqrt(2 / inputs) (He et al. 2015), biases
 * 0. */
static void put_start(worker *w)
{
    ebb_graph *g = w->start_graph = ebb_graph_create("start");
    w->number = ebb_input(g, "trial", EBB_I64, EBB_SCALAR);
    for (int i = 0; i < N_WEIGHTS; i++) {
        char name[16];
        name_weight(i, name);
        const ebb_shape shape = ebb_node_type(ebb_graph_find(w->graph, name))->shape;
        ebb_node drawn = ebb_random_normal(w->number, EBB_F32, shape, (int64_t)w->search->seed, i);
        double std = i % 2 ? 0 : sqrt(2 / (double)shape.dims[0]);
        name[strlen(name) - 2] = 0; /* the scope */
        ebb_scope_push(g, name);
        ebb_node variable = ebb_variable(g, i % 2 ? "b" : "w", EBB_F32, shape, NULL);
        ebb_scope_pop(g);
        ebb_update(variable, ebb_mul(drawn, ebb_scalar(g, EBB_F32, std)));
    }
    const ebb_compile_options how = { .store = w->store,
                                      .backend = w->search->backend,
                                      .n_threads = 1 };
    need_graph(g, ebb_compile(g, &how, &w->start));
}

static void open_worker(worker *w, search_run *search)
{
    const ebb_image_set *set = &search->data->train;
    const mlp_options net = { .n_hidden = N_HIDDEN, .init.seed = search->seed };
    *w = (worker){ .search = search, .store = ebb_store_create(NULL) };
    ebb_graph *g = w->graph = ebb_graph_create("search");
    w->x =
        ebb_input(g, "images", EBB_F32, EBB_SHAPE(BATCH, set->channels, set->height, set->width));
    w->t = ebb_input(g, "labels", EBB_I32, EBB_SHAPE(BATCH));
    w->rate = ebb_input(g, "rate", EBB_F32, EBB_SCALAR);
    w->decay = ebb_input(g, "decay", EBB_F32, EBB_SCALAR);
    ebb_node y = build_mlp(w->x, true, &net);
    ebb_node loss = ebb_softmax_cross_entropy(y, w->t);
    w->accuracy = ebb_nn_accuracy(y, w->t);
    put_updates(w, loss);
    ebb_compile_options how = { .store = w->store, .backend = search->backend, .n_threads = 1 };
    need_graph(g, ebb_compile(g, &how, &w->step));
    how.fetches = &w->accuracy;
    how.n_fetches = 1;
    how.skip_updates = true;
    need_graph(g, ebb_compile(g, &how, &w->judge));

    put_start(w);
    if (ebb_tensor_init(&w->images, *ebb_node_type(w->x), NULL) != EBB_OK ||
        ebb_tensor_init(&w->labels, *ebb_node_type(w->t), NULL) != EBB_OK)
        stop("no memory for a batch of %d images", BATCH);
}

static void close_worker(worker *w)
{
    ebb_tensor_finish(&w->images);
    ebb_tensor_finish(&w->labels);
    ebb_executable_destroy(w->start);
    ebb_executable_destroy(w->step);
    ebb_executable_destroy(w->judge);
    ebb_store_destroy(w->store);
    ebb_graph_destroy(w->graph);
    ebb_graph_destroy(w->start_graph);
}

static void take_batch(worker *w, const int64_t *indices)
{
    ebb_error error;
    need(ebb_image_set_batch(&w->search->data->train, indices, BATCH, &w->images, &w->labels,
                             &error),
         error.message);
}

static double judge(worker *w)
{
    double accuracy = 0;
    take_batch(w, w->search->order);
    ebb_feed feeds[] = { { w->x, w->images }, { w->t, w->labels } };
    ebb_fetch fetch = { w->accuracy, ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &accuracy) };
    need_run(w->judge, ebb_run(w->judge, feeds, 2, &fetch, 1));
    return accuracy;
}

static void run_epoch(worker *w, float rate, float decay, uint64_t seed, uint64_t epoch)
{
    int64_t batch[BATCH];
    ebb_shuffle(w->order, N_TRAIN, seed, epoch);
    for (int start = 0; start < N_TRAIN; start += BATCH) {
        for (int i = 0; i < BATCH; i++)
            batch[i] = w->search->order[N_JUDGE + w->order[start + i]];
        take_batch(w, batch);
        ebb_feed feeds[] = { { w->x, w->images },
                             { w->t, w->labels },
                             { w->rate, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &rate) },
                             { w->decay, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &decay) } };
        need_run(w->step, ebb_run(w->step, feeds, 4, NULL, 0));
    }
}

static void run_trial(worker *w, int64_t index)
{
    trial_row *trial = &w->search->trials[index];
    const int64_t n_epochs = w->search->n_epochs, halfway = (n_epochs + 1) / 2;
    ebb_feed number = { w->number, ebb_tensor_borrow(EBB_I64, EBB_SCALAR, &index) };
    need_run(w->start, ebb_run(w->start, &number, 1, NULL, 0));
    for (int64_t e = 1; e <= n_epochs; e++) {
        run_epoch(w, (float)pow(10, trial->rate), (float)pow(10, trial->decay),
                  w->search->seed + (uint64_t)index, (uint64_t)e);
        trial->n_epochs = e;
        if (e == halfway && (trial->halfway = judge(w)) < w->search->least)
            break;
    }
    trial->accuracy = judge(w);
}

static void *work(void *argument)
{
    worker *w = argument;
    for (int i; (i = atomic_fetch_add(&w->search->next, 1)) < w->search->last;)
        run_trial(w, i);
    return NULL;
}

/* ---- rounds ---- */

/* The better trial first; of equals the earlier one. */
static int compare_trials(const void *left, const void *right)
{
    const trial_row *a = *(const trial_row *const *)left, *b = *(const trial_row *const *)right;
    return a->accuracy != b->accuracy ? (a->accuracy > b->accuracy ? -1 : 1) : (a < b ? -1 : 1);
}

/* Pointers to the first `n` trials, best first. */
static void rank_trials(trial_row *trials, int n, trial_row **ranked)
{
    for (int i = 0; i < n; i++)
        ranked[i] = &trials[i];
    qsort(ranked, (size_t)n, sizeof *ranked, compare_trials);
}

typedef struct search_range {
    double decay[2], rate[2]; /* base-10 logarithms */
} search_range;

static const search_range whole_range = { { -8, -4 }, { -6, -2 } };

/* Half a decade around the best trials so far: a range without them can come back. */
static search_range narrow_range(trial_row *const *ranked, int n)
{
    search_range range = { { whole_range.decay[1], whole_range.decay[0] },
                           { whole_range.rate[1], whole_range.rate[0] } };
    for (int i = 0; i < n; i++) {
        range.decay[0] = fmin(range.decay[0], ranked[i]->decay - 0.5);
        range.decay[1] = fmax(range.decay[1], ranked[i]->decay + 0.5);
        range.rate[0] = fmin(range.rate[0], ranked[i]->rate - 0.5);
        range.rate[1] = fmax(range.rate[1], ranked[i]->rate + 0.5);
    }
    range.decay[0] = fmax(range.decay[0], whole_range.decay[0]);
    range.decay[1] = fmin(range.decay[1], whole_range.decay[1]);
    range.rate[0] = fmax(range.rate[0], whole_range.rate[0]);
    range.rate[1] = fmin(range.rate[1], whole_range.rate[1]);
    return range;
}

static void run_rounds(search_run *search, int n_trials, int n_workers)
{
    static worker workers[MAX_WORKERS];
    static trial_row *ranked[MAX_TRIALS];
    pthread_t threads[MAX_WORKERS];
    search_range range = whole_range;
    uint64_t state = search->seed;
    for (int i = 0; i < n_workers; i++)
        open_worker(&workers[i], search);
    for (int round = 0; round < N_ROUNDS; round++) {
        search->first = n_trials * round / N_ROUNDS;
        search->last = n_trials * (round + 1) / N_ROUNDS;
        atomic_store(&search->next, search->first);
        for (int i = search->first; i < search->last; i++)
            search->trials[i] =
                (trial_row){ .decay = draw_uniform(&state, range.decay[0], range.decay[1]),
                             .rate = draw_uniform(&state, range.rate[0], range.rate[1]),
                             .round = round };
        printf("round %d: %d trials, decay 10^%.2f .. 10^%.2f, rate 10^%.2f .. 10^%.2f\n",
               round + 1, search->last - search->first, range.decay[0], range.decay[1],
               range.rate[0], range.rate[1]);
        fflush(stdout);
        for (int i = 0; i < n_workers; i++)
            if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
                stop("thread %d cannot be started", i);
        for (int i = 0; i < n_workers; i++)
            pthread_join(threads[i], NULL);
        rank_trials(search->trials, search->last, ranked);
        int n_best = search->last < N_BEST ? search->last : N_BEST;
        range = narrow_range(ranked, n_best);
        search->least = 0;
        for (int i = 0; i < n_best; i++)
            search->least = fmax(search->least, ranked[i]->halfway / 2);
    }
    for (int i = 0; i < n_workers; i++)
        close_worker(&workers[i]);
}

/* ---- results ---- */

static void draw_trials(const trial_row *trials, int n, const output_folder *output)
{
    static double values[3][MAX_TRIALS]; /* decay, rate, accuracy */
    plot_series points[2][N_ROUNDS];
    plot_sheet sheets[2];
    char names[N_ROUNDS][16];
    for (int i = 0; i < n; i++) {
        values[0][i] = pow(10, trials[i].decay);
        values[1][i] = pow(10, trials[i].rate);
        values[2][i] = trials[i].accuracy;
    }
    for (int k = 0; k < 2; k++) {
        for (int r = 0; r < N_ROUNDS; r++) {
            const int first = n * r / N_ROUNDS;
            snprintf(names[r], sizeof names[r], "round %d", r + 1);
            points[k][r] = (plot_series){ .name = names[r],
                                          .kind = PLOT_POINTS,
                                          .x = values[1 - k] + first,
                                          .y = values[2] + first,
                                          .n = n * (r + 1) / N_ROUNDS - first };
        }
        sheets[k] = (plot_sheet){ .title = k ? "Weight decay" : "Rate",
                                  .x = { k ? "weight decay" : "rate", true, 0, 0 },
                                  .y = { "validation accuracy", false, 0, 1 },
                                  .series = points[k],
                                  .n_series = N_ROUNDS,
                                  .width = 560,
                                  .height = 400 };
    }
    output_plots(output, "search", sheets, 2, 2);
}

int main(int argc, char **argv)
{
    const char *folder = NULL, *out = NULL, *backend = "onednn";
    int64_t n_trials = 100, n_epochs = 50, n_workers = 2, seed = 1;
    const option_row options[] = {
        OPTION_DATA(folder),
        { "trials", OPTION_COUNT, &n_trials, "in three rounds", 0, N_ROUNDS, MAX_TRIALS },
        { "epochs", OPTION_COUNT, &n_epochs, "of a trial", 0, 1, 100000 },
        { "workers", OPTION_COUNT, &n_workers, "threads", 0, 1, MAX_WORKERS },
        OPTION_SEED(seed),
        OPTION_BACKEND(backend),
        OPTION_OUT(out),
        { 0 }
    };
    options_read(argc, argv, "a random search for weight decay and rate", options);
    output_folder output;
    output_open(&output, out, argv[0]);
    example_data data;
    data_load(&data, folder, N_TRAIN + N_JUDGE, 1, (uint64_t)seed);
    if (data.train.n < N_TRAIN + N_JUDGE)
        stop("%d images are needed", N_TRAIN + N_JUDGE);

    static trial_row trials[MAX_TRIALS];
    static trial_row *ranked[MAX_TRIALS];
    int64_t order[N_TRAIN + N_JUDGE];
    ebb_shuffle(order, N_TRAIN + N_JUDGE, (uint64_t)seed, 0);
    search_run search = { .data = &data,
                          .order = order,
                          .backend = backend,
                          .seed = (uint64_t)seed,
                          .n_epochs = n_epochs,
                          .trials = trials };
    run_rounds(&search, (int)n_trials, (int)n_workers);

    int n_stopped = 0;
    for (int i = 0; i < n_trials; i++)
        n_stopped += trials[i].n_epochs < n_epochs;
    rank_trials(trials, (int)n_trials, ranked);
    for (int i = 0; i < N_BEST && i < n_trials; i++)
        printf("%d: validation accuracy %.2f, rate %.3g, weight decay %.3g (round %d)\n", i + 1,
               ranked[i]->accuracy, pow(10, ranked[i]->rate), pow(10, ranked[i]->decay),
               ranked[i]->round + 1);
    printf("%d of %" PRId64 " trials were given up halfway\n", n_stopped, n_trials);
    draw_trials(trials, (int)n_trials, &output);
    data_finish(&data);
    return EXIT_SUCCESS;
}
