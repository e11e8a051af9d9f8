/* Training a network that tells classes of images apart. Two graphs share a store: one makes
 * training steps, the other one, without dropout and the like, tells what the network has learned.
 */
#ifndef EXAMPLES_SUPPORT_TRAIN_H
#define EXAMPLES_SUPPORT_TRAIN_H

#include "support/data.h"
#include "support/output.h"

#include <ebb/ebb.h>

/* Puts a network behind x, F32 [batch, channels, height, width], and returns its scores
 * [batch, classes]; mistakes are sticky errors of the graph. `context` is that of the options. */
typedef ebb_node (*network_builder)(ebb_node x, bool training, const void *context);

typedef struct trainer_options {
    const char *name; /* of the graph */
    network_builder build;
    const void *context;
    const example_data *data; /* stays as it is until the trainer is closed */
    int64_t batch;
    ebb_nn_rule rule;
    uint64_t seed; /* of the order of the images */
    const char *backend;
    int n_threads; /* 0: as many as OpenMP would use */
} trainer_options;

/* To be read; only the functions below write it. */
typedef struct image_trainer {
    trainer_options options;
    int64_t n_steps; /* of an epoch; images that do not fill a batch are left out */
    ebb_store *store;
    ebb_graph *graph; /* of the training step */
    ebb_node x, t, scores, loss, accuracy;
    ebb_graph *test_graph;
    ebb_node test_x, prediction;         /* the class with the largest score */
    ebb_executable *step, *test, *watch; /* watch: the step without updates, NULL until needed */
    ebb_tensor images, labels, classes;  /* of a batch */
    int64_t *order;                      /* [training images] */
    int64_t epoch;                       /* epochs made, with those before trainer_load */
} image_trainer;

/* All of these stop the program with a message if something fails. */
void trainer_open(image_trainer *trainer, const trainer_options *options);
void trainer_close(image_trainer *trainer);
/* One step with these `batch` training images; returns the loss before it. `accuracy` (NULL: not
 * wanted) becomes that of the batch. */
double trainer_step(image_trainer *trainer, const int64_t *indices, double *accuracy);
/* Loss, and accuracy if wanted, of the batch of the last step, by the weights as they are now. */
double trainer_loss(image_trainer *trainer, double *accuracy);
/* Goes `n_epochs` times through the training images, in another random order each time, with a
 * progress bar and a line for each epoch. `output` (NULL: no plot) gets NAME.svg with the loss of
 * every step and the accuracy on test images. */
void trainer_run(image_trainer *trainer, int64_t n_epochs, const output_folder *output,
                 const char *name, const char *title);
/* classes[0..set->n) become what the network takes the images for. */
void trainer_predict(image_trainer *trainer, const ebb_image_set *set, uint8_t *classes);
/* The part of the images that the network takes for what they are; 0 of an empty set. */
double trainer_evaluate(image_trainer *trainer, const ebb_image_set *set);

/* Weights and all that training keeps: a loaded one goes on as if it had never stopped. `path`
 * NULL: nothing happens. A file to be loaded must be of the same network, rule and batch. */
void trainer_save(const image_trainer *trainer, const char *path);
void trainer_load(image_trainer *trainer, const char *path);
/* Writes the network alone, for single images, as a file that examples/run_model.c runs. `path`
 * NULL: nothing happens. */
void trainer_freeze(const image_trainer *trainer, const char *path);

#endif
