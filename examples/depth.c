/* What depth is good for, and what it needs. First: layers of small filters see as much as one
 * large filter, with fewer weights (Simonyan & Zisserman 2015, section 2.3). What an element of the
 * result sees is where its gradient is not 0. Then: deep networks learn badly, unless shortcuts
 * lead around their layers (He et al. 2016, section 4.2), on digits of half size.
 *
 *     depth [--steps 300] [--data FOLDER] [--out FOLDER] ... */
#include "models/models.h"
#include "support/grid.h"
#include "support/options.h"
#include "support/output.h"
#include "support/race.h"
#include "support/stop.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIELD = 15, N_STACKS = 4, N_NETS = 4, SHRINK = 3, BATCH = 32 };

/* ---- receptive fields ---- */

typedef struct filter_stack {
    int64_t window, layers;
} filter_stack;

/* Fills `field` with the gradient of the element in the middle; returns the number of weights. */
static int64_t find_field(filter_stack stack, uint64_t seed, const char *backend,
                          float field[FIELD * FIELD])
{
    ebb_graph *g = ebb_graph_create("receptive_field");
    ebb_node x = ebb_input(g, "x", EBB_F32, EBB_SHAPE(1, 1, FIELD, FIELD)), y = x, slope;
    int64_t n_weights = 0;
    for (int64_t i = 0; i < stack.layers; i++) {
        char name[32];
        snprintf(name, sizeof name, "conv%" PRId64, i + 1);
        y = ebb_nn_conv(y, 1,
                        &(ebb_nn_conv_options){ .name = name,
                                                .window = EBB_INTS(stack.window),
                                                .conv.padding = EBB_INTS(stack.window / 2),
                                                .init.seed = seed,
                                                .no_bias = true });
        n_weights += ebb_shape_elements(&ebb_node_type(ebb_node_input(y, 1))->shape);
    }
    const int64_t m = FIELD / 2;
    y = ebb_slice(y, EBB_INTS(0, 0, m, m), EBB_INTS(1, 1, m + 1, m + 1), EBB_INTS(1, 1, 1, 1));
    need_graph(g, ebb_gradients(ebb_reduce_sum(y, EBB_ALL_AXES, false), &x, 1, &slope));
    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *run;
    ebb_compile_options how = {
        .fetches = &slope, .n_fetches = 1, .store = store, .backend = backend
    };
    need_graph(g, ebb_compile(g, &how, &run));
    ebb_fetch fetch = { slope, ebb_tensor_borrow(EBB_F32, EBB_SHAPE(1, 1, FIELD, FIELD), field) };
    need_run(run, ebb_run(run, NULL, 0, &fetch, 1));
    ebb_executable_destroy(run);
    ebb_store_destroy(store);
    ebb_graph_destroy(g);
    return n_weights;
}

static void compare_fields(uint64_t seed, const char *backend, const output_folder *output)
{
    static const filter_stack stacks[N_STACKS] = { { 5, 1 }, { 3, 2 }, { 7, 1 }, { 3, 3 } };
    image_grid grid = { { .data = NULL }, N_STACKS / 2, 2, 1, FIELD, FIELD, 16 };
    grid_open(&grid);
    for (int s = 0; s < N_STACKS; s++) {
        float field[FIELD * FIELD];
        int64_t n_weights = find_field(stacks[s], seed, backend, field);
        int first = FIELD, last = 0;
        for (int i = 0; i < FIELD * FIELD; i++)
            if (field[i] != 0) {
                first = i % FIELD < first ? i % FIELD : first;
                last = i % FIELD > last ? i % FIELD : last;
            }
        printf("%" PRId64 " of %" PRId64 "x%" PRId64 ": %" PRId64 " weights, sees %dx%d\n",
               stacks[s].layers, stacks[s].window, stacks[s].window, n_weights, last - first + 1,
               last - first + 1);
        grid_put_values(&grid, s / 2, s % 2, field);
    }
    grid_write(&grid, output, "depth_fields");
}

/* ---- plain nets against nets with shortcuts ---- */

typedef struct net_kind {
    const char *name;
    int depth;
    bool has_shortcuts;
    uint64_t seed;
} net_kind;

static ebb_node build_net(ebb_node x, bool training, const void *context)
{
    const net_kind *kind = context;
    const model_options options = { .training = training, .seed = kind->seed };
    const ebb_node small = ebb_avg_pool(x, (ebb_pool_attrs){ .window = EBB_INTS(SHRINK, SHRINK) });
    return build_small_resnet(small, kind->depth, kind->has_shortcuts, &options);
}

int main(int argc, char **argv)
{
    const char *folder = NULL, *out = NULL, *backend = "onednn";
    int64_t n_steps = 300, seed = 1, n_threads = 0;
    double rate = 0.02;
    const option_row options[] = {
        { "data", OPTION_TEXT, &folder, "folder with MNIST; none: draw digits", 0, 0, 0 },
        { "steps", OPTION_COUNT, &n_steps, "training steps; 0: no training", 0, 0, 1e6 },
        { "rate", OPTION_NUMBER, &rate, "learning rate", 0, 1e-12, 1e6 },
        { "seed", OPTION_COUNT, &seed, "of weights, order and drawn digits", 0, 0, 0 },
        OPTION_THREADS(n_threads),
        OPTION_OUT(out),
        OPTION_BACKEND(backend),
        { 0 }
    };
    options_read(argc, argv, "small filters in many layers, and shortcuts around layers", options);
    output_folder output;
    output_open(&output, out, argv[0]);
    compare_fields((uint64_t)seed, backend, &output);
    if (n_steps == 0)
        return EXIT_SUCCESS;

    example_data data;
    data_load(&data, folder, 5000, 500, (uint64_t)seed);
    net_kind nets[] = { { "plain-20", 20, false, (uint64_t)seed },
                        { "shortcut-20", 20, true, (uint64_t)seed },
                        { "plain-56", 56, false, (uint64_t)seed },
                        { "shortcut-56", 56, true, (uint64_t)seed } };
    trainer_options entrants[N_NETS];
    for (int k = 0; k < N_NETS; k++)
        entrants[k] = (trainer_options){
            .name = nets[k].name,
            .build = build_net,
            .context = &nets[k],
            .data = &data,
            .batch = BATCH,
            .rule = { .method = EBB_NN_MOMENTUM, .rate = rate, .weight_decay = 1e-4 },
            .seed = (uint64_t)seed,
            .backend = backend,
            .n_threads = (int)n_threads
        };
    race_run(&(race_options){ .entrants = entrants,
                              .n_entrants = N_NETS,
                              .n_steps = n_steps,
                              .smoothed = 10,
                              .title = "Layers, with and without shortcuts" },
             &output, "depth");
    data_finish(&data);
    return EXIT_SUCCESS;
}
