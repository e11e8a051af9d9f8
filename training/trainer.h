/* What the loop sees of a trainer. */
#ifndef TRAINING_TRAINER_H
#define TRAINING_TRAINER_H

#include <ebb/training.h>

/* A graph of the model for batches of n examples, compiled. */
typedef struct ebb_variant ebb_variant;
struct ebb_variant {
    int64_t n;
    bool training, check_finite;
    ebb_graph *graph;
    ebb_executable *executable;
    ebb_model_nodes nodes;
    int label_field;   /* -1: none */
    ebb_tensor scores; /* of a batch; no data: there are none */
    ebb_variant *next;
};

struct ebb_trainer {
    ebb_trainer_options options;
    const ebb_allocator *allocator;
    ebb_store *store;
    bool owns_store;
    ebb_variant *variants; /* newest first */
};

/* The variant of these properties, made when it is first wanted. */
ebb_status ebb_trainer_variant(ebb_trainer *trainer, int64_t n, bool training, bool check_finite,
                               ebb_variant **variant, ebb_error *error);
/* Runs it on a batch; what ebb_trainer_step does. */
ebb_status ebb_variant_run(ebb_variant *variant, const ebb_batch *batch, double *loss,
                           ebb_metrics *metrics, ebb_error *error);
/* BAD_SHAPE or BAD_DTYPE unless the batches of the loader, called `what`, fit the inputs. */
ebb_status ebb_variant_check(const ebb_variant *variant, const ebb_loader *loader, const char *what,
                             ebb_error *error);

#endif
