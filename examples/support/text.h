/* Models that guess the next character of a text: the text, training, and the choice of characters
 * for texts of their own. */
#ifndef EXAMPLES_SUPPORT_TEXT_H
#define EXAMPLES_SUPPORT_TEXT_H

#include "support/output.h"

#include <ebb/ebb.h>

typedef struct example_text {
    int32_t *symbols;   /* [n]: 0..n_symbols-1 */
    int64_t n, n_train; /* the last tenth is not trained on */
    int n_symbols;
    unsigned char bytes[256]; /* what each symbol stands for */
    double entropy; /* of single characters, in nats: what no context can do better than */
} example_text;

/* Reads a file; NULL: makes a text of sentences by a small grammar, from `seed`. Prints what it is.
 * Stops with a message if there is no file, or less than `least` characters. */
void text_load(example_text *text, const char *path, uint64_t seed, int64_t least);
void text_finish(example_text *text);

/* Scores [batch * length, n_symbols] of what follows each of `symbols`, I32 [batch, length]. */
typedef ebb_node (*text_builder)(ebb_node symbols, const void *context);

typedef struct text_options {
    const char *name; /* of the graph, and of the plot NAME.svg */
    text_builder build;
    const void *context;
    const example_text *text;
    int64_t batch, length, n_steps;
    ebb_nn_rule rule;
    uint64_t seed; /* of the order */
    const char *backend;
    int n_threads;
} text_options;

/* Trains on random pieces; prints losses in nats per character, the last one of the part that was
 * not trained on. Returns the weights; the caller destroys them. */
ebb_store *text_train(const text_options *options, const output_folder *output);

/* Draws a symbol by softmax(scores / temperature). */
int32_t text_draw(const float *scores, int n_symbols, double temperature, uint64_t *state);

#endif
