/* Trained models as files: a graph that only computes, and its weights, in one safetensors file. */
#ifndef EBB_MODEL_H
#define EBB_MODEL_H

#include <ebb/compile.h>

EBB_BEGIN

/* To be read, not written. Compile it like any graph: fetches from `outputs`, `store` as the store.
 */
typedef struct ebb_model {
    ebb_graph *graph;
    ebb_store *store;
    ebb_node *inputs, *outputs; /* inputs in the order in which the graph got them */
    int n_inputs, n_outputs;
    const ebb_allocator *allocator;
} ebb_model;

/* A model that computes `outputs` (n_outputs >= 1, of one graph) with the values that the store has
 * now. Graph and store stay as they are, and nothing of the model belongs to them:
 *
 * - what the outputs do not need is left out: losses, gradients, updates;
 * - dropout goes; batch normalization takes its running statistics, in a graph for training too (of
 *   ebb_nn_batch_norm), and goes into the weights and bias of a convolution or linear layer in
 * front of it;
 * - what depends on variables and constants alone is computed, and named after its first variable.
 *
 * Outputs agree with those of the graph for inference up to rounding. Shapes stay: a model is of
 * one batch size. Errors: the graph's own; BAD_ARGUMENT; BAD_NODE; NOT_FOUND (a variable that the
 * store has not); BAD_SHAPE, BAD_DTYPE (or has as another type); UNSUPPORTED (batch_norm in its
 * form for training without updates of running statistics); OUT_OF_MEMORY. *model is NULL then. */
EBB_NODISCARD EBB_API ebb_status ebb_model_freeze(const ebb_node *outputs, int n_outputs,
                                                  ebb_store *store, const ebb_allocator *allocator,
                                                  ebb_model **model, ebb_error *error);
/* The same, and the store is used up: its values go over to the model, or are released as soon as
 * they have been used, so that weights are not there twice. *store is destroyed and NULL then, also
 * on failure, and views of its values (ebb_store_get) end. Executables that were compiled with it
 * run on; what they read is copied. The model takes the store's allocator. */
EBB_NODISCARD EBB_API ebb_status ebb_model_freeze_store(const ebb_node *outputs, int n_outputs,
                                                        ebb_store **store, ebb_model **model,
                                                        ebb_error *error);
EBB_API void ebb_model_destroy(ebb_model *model);
/* The input or output of this full name, or none. */
EBB_API ebb_node ebb_model_find(const ebb_model *model, const char *full_name);

/* One file, written atomically: the values as named tensors, the graph in its text form in the
 * header ("ebb.graph", with "ebb.outputs"). Other readers of safetensors see the weights. Errors:
 * IO (the old file stays), BAD_ARGUMENT, BAD_NAME, LIMIT, OUT_OF_MEMORY. */
EBB_NODISCARD EBB_API ebb_status ebb_model_save(const ebb_model *model, const char *path,
                                                ebb_error *error);
/* Reads it back; nothing in the file is believed. Errors: IO; BAD_FORMAT (damaged, no model, a
 * graph that cannot be read: the message has line and column); what an op in the graph says
 * (BAD_SHAPE
 * ...); NOT_FOUND, BAD_SHAPE, BAD_DTYPE (graph and tensors do not fit together: named);
 * OUT_OF_MEMORY. *model is NULL then. Ops of one's own cannot be read. */
EBB_NODISCARD EBB_API ebb_status ebb_model_load(const char *path, const ebb_allocator *allocator,
                                                ebb_model **model, ebb_error *error);

EBB_END

#endif
