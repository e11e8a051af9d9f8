/* An LSTM (Hochreiter & Schmidhuber 1997) learns to guess the next character of a text, and writes
 * one of its own. In training it is unrolled over a piece of the text; for writing, its state is
 * two variables, which each run of the graph updates.
 *
 *     char_lstm [--text FILE] [--steps 600] [--hidden 128] [--letters 300] ... */
#include "support/options.h"
#include "support/stop.h"
#include "support/text.h"

#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 32, LENGTH = 32 };

typedef struct lstm_options {
    int n_symbols;
    int64_t hidden;
    uint64_t seed;
} lstm_options;

static ebb_nn_recurrent_options cell_of(const lstm_options *lstm)
{
    return (ebb_nn_recurrent_options){ .name = "lstm",
                                       .cell = EBB_NN_LSTM,
                                       .hidden = lstm->hidden,
                                       .forget_bias = 1,
                                       .init.seed = lstm->seed,
                                       .init_h.seed = lstm->seed };
}

static ebb_node put_scores(ebb_node h, const lstm_options *lstm)
{
    return ebb_nn_linear(
        h, lstm->n_symbols,
        &(ebb_nn_linear_options){ .name = "scores",
                                  .init = { .kind = EBB_NN_INIT_XAVIER, .seed = lstm->seed } });
}

static ebb_node build_lstm(ebb_node symbols, const void *context)
{
    const lstm_options *lstm = context;
    const ebb_nn_recurrent_options cell = cell_of(lstm);
    const int64_t *dims = ebb_node_type(symbols)->shape.dims;
    ebb_node steps[LENGTH], outputs[LENGTH];
    for (int t = 0; t < LENGTH; t++) {
        ebb_node now = ebb_reshape(ebb_slice_axis(symbols, 1, t, t + 1, 1), EBB_SHAPE(dims[0]));
        steps[t] = ebb_one_hot(now, lstm->n_symbols, EBB_F32);
    }
    ebb_nn_unroll(steps, LENGTH, (ebb_nn_cell_state){ EBB_NONE, EBB_NONE }, &cell, outputs);
    ebb_node all = ebb_stack(symbols.graph, outputs, LENGTH, 1); /* [batch, length, hidden] */
    return put_scores(ebb_reshape(all, EBB_SHAPE(dims[0] * LENGTH, lstm->hidden)), lstm);
}

/* Prints `n` characters after a line break, or after the text's first character. */
static void write_text(const example_text *text, const lstm_options *lstm, ebb_store *store,
                       int64_t n, double temperature, const char *backend)
{
    const ebb_nn_recurrent_options cell = cell_of(lstm);
    const ebb_shape state_shape = EBB_SHAPE(1, lstm->hidden);
    ebb_graph *g = ebb_graph_create("writing");
    ebb_node symbol = ebb_input(g, "character", EBB_I32, EBB_SHAPE(1));
    ebb_node x = ebb_one_hot(symbol, lstm->n_symbols, EBB_F32);
    ebb_nn_cell_state state = { ebb_variable(g, "h", EBB_F32, state_shape, NULL),
                                ebb_variable(g, "c", EBB_F32, state_shape, NULL) };
    ebb_nn_cell_state next =
        ebb_nn_lstm_cell(x, state, ebb_nn_recurrent_weights(x, &cell), cell.forget_bias);
    ebb_update(state.h, next.h);
    ebb_update(state.c, next.c);
    ebb_node scores = put_scores(next.h, lstm);
    ebb_executable *run;
    ebb_compile_options how = {
        .fetches = &scores, .n_fetches = 1, .store = store, .backend = backend, .n_threads = 1
    };
    need_graph(g, ebb_compile(g, &how, &run));

    float values[256];
    int32_t last = text->symbols[0];
    for (int32_t i = 0; i < text->n_symbols; i++)
        last = text->bytes[i] == '\n' ? i : last;
    uint64_t random = lstm->seed;
    for (int64_t i = 0; i < n; i++) {
        ebb_feed feed = { symbol, ebb_tensor_borrow(EBB_I32, EBB_SHAPE(1), &last) };
        ebb_fetch fetch = { scores,
                            ebb_tensor_borrow(EBB_F32, EBB_SHAPE(1, text->n_symbols), values) };
        need_run(run, ebb_run(run, &feed, 1, &fetch, 1));
        last = text_draw(values, text->n_symbols, temperature, &random);
        putchar(text->bytes[last]);
    }
    putchar('\n');
    ebb_executable_destroy(run);
    ebb_graph_destroy(g);
}

int main(int argc, char **argv)
{
    const char *path = NULL, *out = NULL, *backend = "onednn";
    int64_t n_steps = 600, hidden = 128, n_letters = 300, seed = 1, n_threads = 0;
    double temperature = 0.7;
    const option_row options[] = {
        { "text", OPTION_TEXT, &path, "file to learn; none: sentences of a grammar", 0, 0, 0 },
        { "steps", OPTION_COUNT, &n_steps, "of training", 0, 1, 1e7 },
        { "hidden", OPTION_COUNT, &hidden, "size of the state", 0, 1, 4096 },
        { "letters", OPTION_COUNT, &n_letters, "how many to write", 0, 0, 1e6 },
        { "temperature", OPTION_NUMBER, &temperature, "of writing", 0, 0.01, 100 },
        OPTION_SEED(seed),
        OPTION_THREADS(n_threads),
        OPTION_BACKEND(backend),
        OPTION_OUT(out),
        { 0 }
    };
    options_read(argc, argv, "an LSTM learns a text, character by character", options);
    output_folder output;
    output_open(&output, out, argv[0]);
    example_text text;
    text_load(&text, path, (uint64_t)seed, 20 * LENGTH);
    const lstm_options lstm = { .n_symbols = text.n_symbols,
                                .hidden = hidden,
                                .seed = (uint64_t)seed };
    ebb_store *store = text_train(
        &(text_options){ .name = "char_lstm",
                         .build = build_lstm,
                         .context = &lstm,
                         .text = &text,
                         .batch = BATCH,
                         .length = LENGTH,
                         .n_steps = n_steps,
                         .rule = { .method = EBB_NN_ADAM, .rate = 0.005, .clip_norm = 5 },
                         .seed = (uint64_t)seed,
                         .backend = backend,
                         .n_threads = (int)n_threads },
        &output);
    write_text(&text, &lstm, store, n_letters, temperature, backend);
    ebb_store_destroy(store);
    text_finish(&text);
    return EXIT_SUCCESS;
}
