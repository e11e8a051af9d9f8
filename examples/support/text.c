/* Texts. */
#include "support/text.h"

#include "support/draw.h"
#include "support/stop.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GRAMMAR_BYTES = 60000, N_HELD_OUT = 20, N_LAST = 50 };

/* ---- the text ---- */

static const char *const articles[] = { "the", "a", "every", "some" };
static const char *const adjectives[] = { "small", "green", "quiet", "old", "bright" };
static const char *const nouns[] = { "river", "boat", "bird", "gate", "moon", "wave" };
static const char *const verbs[] = { "follows", "carries", "sees", "finds", "leaves" };
#define PICK(words, state) (words)[draw_index(state, sizeof(words) / sizeof *(words))]

static size_t add_noun(char *text, uint64_t *state)
{
    if (draw_index(state, 2))
        return (size_t)sprintf(text, "%s %s", PICK(articles, state), PICK(nouns, state));
    const char *article = PICK(articles, state), *adjective = PICK(adjectives, state);
    return (size_t)sprintf(text, "%s %s %s", article, adjective, PICK(nouns, state));
}

/* "the old boat follows a river." */
static unsigned char *make_text(uint64_t seed, int64_t *n)
{
    uint64_t state = seed;
    size_t end = 0;
    char *text = malloc(GRAMMAR_BYTES + 100); /* a sentence has less than 60 characters */
    if (!text)
        stop("no memory for a text");
    while (end < GRAMMAR_BYTES) {
        end += add_noun(text + end, &state);
        end += (size_t)sprintf(text + end, " %s ", PICK(verbs, &state));
        end += add_noun(text + end, &state);
        end += (size_t)sprintf(text + end, ".%c", draw_index(&state, 4) ? ' ' : '\n');
    }
    *n = (int64_t)end;
    return (unsigned char *)text;
}

static unsigned char *read_text(const char *path, int64_t *n)
{
    size_t room = 1 << 16, end = 0, got;
    unsigned char *bytes = malloc(room);
    FILE *in = fopen(path, "rb");
    if (!in)
        stop("%s: %s", path, strerror(errno));
    while (bytes && (got = fread(bytes + end, 1, room - end, in)) > 0) {
        end += got;
        if (end == room) {
            unsigned char *more = realloc(bytes, room *= 2);
            if (!more)
                stop("%s: no memory for the text", path);
            bytes = more;
        }
    }
    if (!bytes || ferror(in))
        stop("%s: %s", path, bytes ? strerror(errno) : "no memory for the text");
    fclose(in);
    *n = (int64_t)end;
    return bytes;
}

void text_load(example_text *text, const char *path, uint64_t seed, int64_t least)
{
    int64_t counts[256] = { 0 };
    int32_t numbers[256] = { 0 };
    memset(text, 0, sizeof *text);
    unsigned char *bytes = path ? read_text(path, &text->n) : make_text(seed, &text->n);
    if (text->n < least)
        stop("%s: %" PRId64 " characters are too few, %" PRId64 " are needed", path ? path : "text",
             text->n, least);
    text->symbols = malloc((size_t)text->n * sizeof *text->symbols);
    if (!text->symbols)
        stop("no memory for %" PRId64 " characters", text->n);
    for (int64_t i = 0; i < text->n; i++)
        counts[bytes[i]]++;
    for (int c = 0; c < 256; c++)
        if (counts[c] > 0) {
            double part = (double)counts[c] / (double)text->n;
            text->entropy -= part * log(part);
            numbers[c] = text->n_symbols;
            text->bytes[text->n_symbols++] = (unsigned char)c;
        }
    for (int64_t i = 0; i < text->n; i++)
        text->symbols[i] = numbers[bytes[i]];
    free(bytes);
    text->n_train = text->n - text->n / 10;
    printf("%s: %" PRId64 " characters, %d different; entropy of single ones %.4f\n",
           path ? path : "sentences of a grammar", text->n, text->n_symbols, text->entropy);
}

void text_finish(example_text *text)
{
    free(text->symbols);
}

int32_t text_draw(const float *scores, int n_symbols, double temperature, uint64_t *state)
{
    double parts[256], most = -INFINITY, sum = 0;
    for (int i = 0; i < n_symbols; i++)
        most = fmax(most, (double)scores[i]);
    for (int i = 0; i < n_symbols; i++)
        sum += parts[i] = exp(((double)scores[i] - most) / temperature);
    double left = draw_uniform(state, 0, sum);
    int32_t symbol = 0;
    while (symbol < n_symbols - 1 && (left -= parts[symbol]) >= 0)
        symbol++;
    return symbol;
}

/* ---- training ---- */

typedef struct text_trainer {
    const text_options *options;
    ebb_executable *step, *test;
    ebb_node x, t, loss;
    ebb_tensor inputs, targets; /* I32 [batch, length] */
} text_trainer;

/* Pieces of characters first..last-1, and the characters that follow. */
static void take_pieces(text_trainer *trainer, int64_t first, int64_t last, uint64_t *state)
{
    const text_options *options = trainer->options;
    const size_t bytes = (size_t)options->length * sizeof(int32_t);
    for (int64_t b = 0; b < options->batch; b++) {
        const int64_t start = first + draw_index(state, last - first - options->length);
        const int32_t *symbols = options->text->symbols + start;
        memcpy((int32_t *)trainer->inputs.data + b * options->length, symbols, bytes);
        memcpy((int32_t *)trainer->targets.data + b * options->length, symbols + 1, bytes);
    }
}

static double run_pieces(text_trainer *trainer, ebb_executable *run)
{
    float loss = 0;
    ebb_feed feeds[] = { { trainer->x, trainer->inputs }, { trainer->t, trainer->targets } };
    ebb_fetch fetch = { trainer->loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &loss) };
    need_run(run, ebb_run(run, feeds, 2, &fetch, 1));
    return (double)loss;
}

static void plot_losses(const text_options *options, const double *losses,
                        const output_folder *output)
{
    const double ends[] = { 1, (double)options->n_steps };
    const double entropy[] = { options->text->entropy, options->text->entropy };
    const plot_series lines[] = {
        { .name = "loss", .y = losses, .n = options->n_steps, .first_x = 1 },
        { .name = "entropy of single characters", .x = ends, .y = entropy, .n = 2 },
    };
    output_plot(output, options->name,
                &(plot_sheet){ .title = "Guessing the next character",
                               .x.label = "step",
                               .y = { "nats per character", false, 0, 1.5 * entropy[0] },
                               .series = lines,
                               .n_series = 2 });
}

ebb_store *text_train(const text_options *options, const output_folder *output)
{
    const example_text *text = options->text;
    const ebb_shape shape = EBB_SHAPE(options->batch, options->length);
    ebb_store *store = ebb_store_create(NULL);
    ebb_graph *g = ebb_graph_create(options->name);
    text_trainer trainer = { .options = options,
                             .x = ebb_input(g, "characters", EBB_I32, shape),
                             .t = ebb_input(g, "followers", EBB_I32, shape) };
    ebb_node labels = ebb_reshape(trainer.t, EBB_SHAPE(options->batch * options->length));
    trainer.loss = ebb_softmax_cross_entropy(options->build(trainer.x, options->context), labels);
    need_graph(g, ebb_nn_minimize(trainer.loss, &options->rule));
    ebb_compile_options how = { .fetches = &trainer.loss,
                                .n_fetches = 1,
                                .store = store,
                                .backend = options->backend,
                                .n_threads = options->n_threads };
    need_graph(g, ebb_compile(g, &how, &trainer.step));
    how.skip_updates = true;
    need_graph(g, ebb_compile(g, &how, &trainer.test));
    double *losses = malloc((size_t)options->n_steps * sizeof *losses), last = 0, held_out = 0;
    if (!losses || ebb_tensor_init(&trainer.inputs, *ebb_node_type(trainer.x), NULL) != EBB_OK ||
        ebb_tensor_init(&trainer.targets, *ebb_node_type(trainer.t), NULL) != EBB_OK)
        stop("no memory for %" PRId64 " steps", options->n_steps);

    uint64_t state = options->seed;
    ebb_progress progress;
    ebb_progress_start(&progress, stdout, "training", 0, options->n_steps);
    for (int64_t i = 0; i < options->n_steps; i++) {
        take_pieces(&trainer, 0, text->n_train, &state);
        losses[i] = run_pieces(&trainer, trainer.step);
        ebb_progress_step(&progress, i + 1, losses[i]);
    }
    ebb_progress_end(&progress);
    const int64_t n_last = options->n_steps < N_LAST ? options->n_steps : N_LAST;
    for (int64_t i = options->n_steps - n_last; i < options->n_steps; i++)
        last += losses[i] / (double)n_last;
    for (int i = 0; i < N_HELD_OUT; i++) {
        take_pieces(&trainer, text->n_train, text->n, &state);
        held_out += run_pieces(&trainer, trainer.test) / N_HELD_OUT;
    }
    printf("loss %.4f at first, %.4f in the last %" PRId64 " steps, %.4f held out\n", losses[0],
           last, n_last, held_out);
    plot_losses(options, losses, output);
    free(losses);
    ebb_tensor_finish(&trainer.inputs);
    ebb_tensor_finish(&trainer.targets);
    ebb_executable_destroy(trainer.step);
    ebb_executable_destroy(trainer.test);
    ebb_graph_destroy(g);
    return store;
}
