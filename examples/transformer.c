/* A small transformer (Vaswani et al. 2017, the decoder; layer norms in front, as in GPT-2) learns
 * to guess the next character of a text, and writes one of its own. Each character sees those
 * before it only, so a piece of 64 characters teaches 64 guesses at once.
 *
 *     transformer [--text FILE] [--steps 600] [--width 64] [--layers 2] [--letters 300] ... */
#include "support/options.h"
#include "support/stop.h"
#include "support/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 16, LENGTH = 64, HEAD = 16 };

typedef struct transformer_options {
    int n_symbols;
    int64_t width, n_layers; /* width: a multiple of HEAD */
    uint64_t seed;
} transformer_options;

static ebb_node put_linear(ebb_node x, const char *name, int64_t outputs, uint64_t seed)
{
    return ebb_nn_linear(x, outputs,
                         &(ebb_nn_linear_options){
                             .name = name, .init = { .kind = EBB_NN_INIT_XAVIER, .seed = seed } });
}

static ebb_node put_norm(ebb_node x, const char *name)
{
    ebb_graph *g = x.graph;
    const ebb_shape width = EBB_SHAPE(ebb_node_type(x)->shape.dims[1]);
    ebb_scope_push(g, name);
    ebb_node scale = ebb_variable(g, "scale", EBB_F32, width, &(ebb_init){ .a = 1 });
    ebb_node shift = ebb_variable(g, "shift", EBB_F32, width, NULL);
    ebb_scope_pop(g);
    return ebb_layer_norm(x, scale, shift, EBB_AXES(-1), 1e-5);
}

/* [batch * length, width] -> [batch, heads, length, HEAD] */
static ebb_node split_heads(ebb_node x, int64_t batch)
{
    const int64_t width = ebb_node_type(x)->shape.dims[1];
    return ebb_transpose(ebb_reshape(x, EBB_SHAPE(batch, LENGTH, width / HEAD, HEAD)),
                         EBB_AXES(0, 2, 1, 3));
}

static ebb_node put_attention(ebb_node x, int64_t batch, uint64_t seed)
{
    const int64_t width = ebb_node_type(x)->shape.dims[1];
    ebb_node q = split_heads(put_linear(x, "query", width, seed), batch);
    ebb_node k = split_heads(put_linear(x, "key", width, seed), batch);
    ebb_node v = split_heads(put_linear(x, "value", width, seed), batch);
    ebb_node seen = ebb_scaled_dot_product_attention(q, k, v, EBB_NONE,
                                                     (ebb_attention_attrs){ .causal = true });
    ebb_node joined =
        ebb_reshape(ebb_transpose(seen, EBB_AXES(0, 2, 1, 3)), EBB_SHAPE(batch * LENGTH, width));
    return put_linear(joined, "out", width, seed);
}

static ebb_node build_transformer(ebb_node symbols, const void *context)
{
    const transformer_options *options = context;
    const int64_t batch = ebb_node_type(symbols)->shape.dims[0], width = options->width;
    ebb_graph *g = symbols.graph;
    const ebb_nn_init init = { .kind = EBB_NN_INIT_NORMAL, .std = 0.1, .seed = options->seed };
    ebb_node characters = ebb_nn_weights(g, "characters_table", EBB_F32,
                                         EBB_SHAPE(options->n_symbols, width), 1, 1, &init);
    ebb_node places =
        ebb_nn_weights(g, "places_table", EBB_F32, EBB_SHAPE(LENGTH, width), 1, 1, &init);
    ebb_node x = ebb_add(ebb_embedding(characters, symbols), places); /* [batch, length, width] */
    x = ebb_reshape(x, EBB_SHAPE(batch * LENGTH, width));
    for (int64_t i = 0; i < options->n_layers; i++) {
        char name[32];
        snprintf(name, sizeof name, "layer%d", (int)i + 1);
        ebb_scope_push(g, name);
        x = ebb_add(x, put_attention(put_norm(x, "norm1"), batch, options->seed));
        ebb_node inner = put_linear(put_norm(x, "norm2"), "wide", 4 * width, options->seed);
        x = ebb_add(x, put_linear(ebb_gelu(inner), "narrow", width, options->seed));
        ebb_scope_pop(g);
    }
    return put_linear(put_norm(x, "norm"), "scores", options->n_symbols, options->seed);
}

/* Prints `n` characters after the beginning of the text. */
static void write_text(const example_text *text, const transformer_options *options,
                       ebb_store *store, int64_t n, double temperature, const char *backend)
{
    ebb_graph *g = ebb_graph_create("writing");
    ebb_node x = ebb_input(g, "characters", EBB_I32, EBB_SHAPE(1, LENGTH));
    ebb_node scores = build_transformer(x, options);
    ebb_executable *run;
    ebb_compile_options how = {
        .fetches = &scores, .n_fetches = 1, .store = store, .backend = backend, .n_threads = 1
    };
    need_graph(g, ebb_compile(g, &how, &run));
    ebb_tensor values;
    need(ebb_tensor_init(&values, *ebb_node_type(scores), NULL), "no memory for scores");

    int32_t seen[LENGTH];
    memcpy(seen, text->symbols, sizeof seen);
    uint64_t random = options->seed;
    for (int64_t i = 0; i < n; i++) {
        ebb_feed feed = { x, ebb_tensor_borrow(EBB_I32, EBB_SHAPE(1, LENGTH), seen) };
        need_run(run, ebb_run(run, &feed, 1, &(ebb_fetch){ scores, values }, 1));
        const float *last = (const float *)values.data + (LENGTH - 1) * text->n_symbols;
        memmove(seen, seen + 1, sizeof seen - sizeof *seen);
        seen[LENGTH - 1] = text_draw(last, text->n_symbols, temperature, &random);
        putchar(text->bytes[seen[LENGTH - 1]]);
    }
    putchar('\n');
    ebb_tensor_finish(&values);
    ebb_executable_destroy(run);
    ebb_graph_destroy(g);
}

int main(int argc, char **argv)
{
    const char *path = NULL, *out = NULL, *backend = "onednn";
    int64_t n_steps = 600, width = 64, n_layers = 2, n_letters = 300, seed = 1, n_threads = 0;
    double temperature = 0.7;
    const option_row options[] = {
        { "text", OPTION_TEXT, &path, "file to learn; none: sentences of a grammar", 0, 0, 0 },
        { "steps", OPTION_COUNT, &n_steps, "of training", 0, 1, 1e7 },
        { "width", OPTION_COUNT, &width, "of the layers, a multiple of 16", 0, HEAD, 1024 },
        { "layers", OPTION_COUNT, &n_layers, "how many", 0, 1, 100 },
        { "letters", OPTION_COUNT, &n_letters, "how many to write", 0, 0, 1e6 },
        { "temperature", OPTION_NUMBER, &temperature, "of writing", 0, 0.01, 100 },
        OPTION_SEED(seed),
        OPTION_THREADS(n_threads),
        OPTION_BACKEND(backend),
        OPTION_OUT(out),
        { 0 }
    };
    options_read(argc, argv, "a transformer learns a text, character by character", options);
    if (width % HEAD != 0)
        stop("--width must be a multiple of %d, not %lld", HEAD, (long long)width);
    output_folder output;
    output_open(&output, out, argv[0]);
    example_text text;
    text_load(&text, path, (uint64_t)seed, 20 * LENGTH);
    const transformer_options transformer = {
        .n_symbols = text.n_symbols, .width = width, .n_layers = n_layers, .seed = (uint64_t)seed
    };
    ebb_store *store = text_train(&(text_options){ .name = "transformer",
                                                   .build = build_transformer,
                                                   .context = &transformer,
                                                   .text = &text,
                                                   .batch = BATCH,
                                                   .length = LENGTH,
                                                   .n_steps = n_steps,
                                                   .rule = { .method = EBB_NN_ADAM,
                                                             .rate = 0.002,
                                                             .clip_norm = 1,
                                                             .schedule = { .kind = EBB_NN_COSINE,
                                                                           .warmup = 20,
                                                                           .period = n_steps,
                                                                           .last = 0.1 } },
                                                   .seed = (uint64_t)seed,
                                                   .backend = backend,
                                                   .n_threads = (int)n_threads },
                                  &output);
    write_text(&text, &transformer, store, n_letters, temperature, backend);
    ebb_store_destroy(store);
    text_finish(&text);
    return EXIT_SUCCESS;
}
