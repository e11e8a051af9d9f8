/* Graphs of one model over one store: for training and for evaluation, for every size of batch that
 * comes. */
#include "training/trainer.h"
#include "ops/descriptors.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- variants ---- */

static void destroy_variant(const ebb_trainer *trainer, ebb_variant *variant)
{
    ebb_tensor_finish(&variant->scores);
    ebb_executable_destroy(variant->executable);
    ebb_graph_destroy(variant->graph);
    ebb_release(trainer->allocator, variant, sizeof *variant);
}

/* What ebb_metrics_add takes, if there are labels. */
static ebb_status check_scores(const ebb_variant *variant, ebb_error *error)
{
    const ebb_node scores = variant->nodes.scores, labels = variant->nodes.labels;
    char text[EBB_NODE_TEXT_BYTES], text_l[EBB_NODE_TEXT_BYTES];
    if (!scores.id)
        return EBB_OK;
    if (!ebb_graph_owns(variant->graph, scores))
        return ebb_fail(error, EBB_BAD_ARGUMENT,
                        "trainer: the model's scores, %s, are not of its graph",
                        ebb_node_text(scores, text));
    if (!labels.id)
        return EBB_OK;
    const ebb_type *s = ebb_node_type(scores), *l = ebb_node_type(labels);
    if (ebb_dtype_is_float(s->dtype) && s->shape.rank == 2 && ebb_dtype_is_integer(l->dtype) &&
        l->shape.rank == 1 && s->shape.dims[0] == l->shape.dims[0])
        return EBB_OK;
    return ebb_fail(error, EBB_BAD_ARGUMENT,
                    "trainer: the model needs float scores [batch, classes] and integer labels "
                    "[batch], not %s and %s",
                    ebb_node_text(scores, text), ebb_node_text(labels, text_l));
}

static ebb_status check_nodes(ebb_variant *variant, ebb_error *error)
{
    const ebb_model_nodes *nodes = &variant->nodes;
    char text[EBB_NODE_TEXT_BYTES];
    const ebb_status status = ebb_graph_status(variant->graph);
    if (status)
        return ebb_fail(error, status, "%s", ebb_graph_message(variant->graph));
    if (!ebb_graph_owns(variant->graph, nodes->loss) ||
        ebb_node_type(nodes->loss)->shape.rank != 0 ||
        !ebb_dtype_is_float(ebb_node_type(nodes->loss)->dtype))
        return ebb_fail(error, EBB_BAD_ARGUMENT,
                        "trainer: the model's loss must be a float scalar of its graph, not %s",
                        nodes->loss.id ? ebb_node_text(nodes->loss, text) : "the none node");
    variant->label_field = -1;
    for (int i = 0; i < EBB_MAX_FIELDS; i++)
        if (nodes->inputs[i].id && (!ebb_graph_owns(variant->graph, nodes->inputs[i]) ||
                                    ebb_node_op(nodes->inputs[i]) != &ebb_op_input))
            return ebb_fail(error, EBB_BAD_ARGUMENT,
                            "trainer: node %d of the model's inputs, %s, is no input of its graph",
                            i, ebb_node_text(nodes->inputs[i], text));
    for (int i = 0; i < EBB_MAX_FIELDS; i++)
        if (nodes->labels.id && nodes->inputs[i].id == nodes->labels.id)
            variant->label_field = i;
    if (nodes->labels.id && variant->label_field < 0)
        return ebb_fail(error, EBB_BAD_ARGUMENT,
                        "trainer: the model's labels, %s, are not among its inputs",
                        ebb_node_text(nodes->labels, text));
    return check_scores(variant, error);
}

static ebb_status fill_variant(ebb_trainer *trainer, ebb_variant *variant, ebb_error *error)
{
    const ebb_trainer_options *options = &trainer->options;
    variant->graph = ebb_graph_create_with(
        options->name ? options->name : "model",
        &(ebb_graph_options){ .allocator = trainer->allocator, .log = options->log });
    if (!variant->graph)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "trainer: no memory for a graph");
    options->build(variant->graph, variant->n, variant->training, options->context,
                   &variant->nodes);
    ebb_status status = check_nodes(variant, error);
    if (!status && variant->training &&
        (status = ebb_nn_minimize(variant->nodes.loss, &options->rule)) != EBB_OK)
        ebb_fail(error, status, "%s", ebb_graph_message(variant->graph));
    if (status)
        return status;
    const ebb_node scores = variant->nodes.scores;
    const ebb_node fetches[2] = { variant->nodes.loss, scores };
    const ebb_compile_options how = { .fetches = fetches,
                                      .n_fetches = scores.id ? 2 : 1,
                                      .store = trainer->store,
                                      .skip_updates = !variant->training,
                                      .backend = options->backend,
                                      .n_threads = options->n_threads,
                                      .check_finite = variant->check_finite,
                                      .log = options->log,
                                      .allocator = trainer->allocator };
    status = ebb_compile(variant->graph, &how, &variant->executable);
    if (status)
        return ebb_fail(error, status, "%s", ebb_graph_message(variant->graph));
    if (scores.id &&
        ebb_tensor_init(&variant->scores, *ebb_node_type(scores), trainer->allocator) != EBB_OK)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "trainer: no memory for scores");
    return EBB_OK;
}

ebb_status ebb_trainer_variant(ebb_trainer *trainer, int64_t n, bool training, bool check_finite,
                               ebb_variant **variant, ebb_error *error)
{
    for (ebb_variant *v = trainer->variants; v; v = v->next)
        if (v->n == n && v->training == training && v->check_finite == check_finite) {
            *variant = v;
            return EBB_OK;
        }
    ebb_variant *made = ebb_allocate(trainer->allocator, sizeof *made);
    *variant = NULL;
    if (!made)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "trainer: out of memory");
    *made = (ebb_variant){ .n = n, .training = training, .check_finite = check_finite };
    const ebb_status status = fill_variant(trainer, made, error);
    if (status) {
        destroy_variant(trainer, made);
        return status;
    }
    made->next = trainer->variants;
    trainer->variants = *variant = made;
    return EBB_OK;
}

/* ---- running ---- */

/* The field takes the input, or there is none to take it. */
static ebb_status check_field(const ebb_variant *variant, int field, const ebb_type *type,
                              const char *what, ebb_error *error)
{
    const ebb_node input = variant->nodes.inputs[field];
    char text[EBB_NODE_TEXT_BYTES], has[EBB_TYPE_TEXT_BYTES];
    if (!input.id || ebb_type_equal(ebb_node_type(input), type))
        return EBB_OK;
    if (type->dtype == EBB_NO_DTYPE)
        return ebb_fail(error, EBB_BAD_SHAPE, "trainer: there is no field %d of %s for input %s",
                        field, what, ebb_node_text(input, text));
    return ebb_fail(error,
                    type->dtype == ebb_node_type(input)->dtype ? EBB_BAD_SHAPE : EBB_BAD_DTYPE,
                    "trainer: field %d of %s is %s, but the input is %s", field, what,
                    ebb_type_text(type, has), ebb_node_text(input, text));
}

ebb_status ebb_variant_check(const ebb_variant *variant, const ebb_loader *loader, const char *what,
                             ebb_error *error)
{
    ebb_status status = EBB_OK;
    for (int i = 0; i < EBB_MAX_FIELDS && !status; i++) {
        const ebb_type type = ebb_loader_type(loader, i);
        status = check_field(variant, i, &type, what, error);
    }
    return status;
}

ebb_status ebb_variant_run(ebb_variant *variant, const ebb_batch *batch, double *loss,
                           ebb_metrics *metrics, ebb_error *error)
{
    static const ebb_type no_type;
    const ebb_model_nodes *nodes = &variant->nodes;
    ebb_feed feeds[EBB_MAX_FIELDS];
    int n_feeds = 0;
    for (int i = 0; i < EBB_MAX_FIELDS; i++) {
        if (!nodes->inputs[i].id)
            continue;
        const ebb_type *type = i < batch->n_fields ? &batch->fields[i].type : &no_type;
        const ebb_status status = check_field(variant, i, type, "the batch", error);
        if (status)
            return status;
        feeds[n_feeds++] = (ebb_feed){ nodes->inputs[i], batch->fields[i] };
    }
    double memory = 0; /* a float or a double */
    const ebb_tensor value =
        ebb_tensor_borrow(ebb_node_type(nodes->loss)->dtype, EBB_SCALAR, &memory);
    const ebb_fetch fetches[2] = { { nodes->loss, value }, { nodes->scores, variant->scores } };
    const bool has_metrics = metrics && variant->label_field >= 0 && nodes->scores.id;
    ebb_status status = ebb_run(variant->executable, feeds, n_feeds, fetches, has_metrics ? 2 : 1);
    if (status)
        return ebb_fail(error, status, "%s", ebb_executable_message(variant->executable));
    const double mean = ebb_tensor_get(&value, 0);
    if (loss)
        *loss = mean;
    if (!metrics)
        return EBB_OK;
    metrics->loss_sum += mean * (double)batch->n_examples;
    metrics->n_losses += batch->n_examples;
    return has_metrics
               ? ebb_metrics_add(metrics, &variant->scores, &batch->fields[variant->label_field],
                                 batch->n_examples, error)
               : EBB_OK;
}

/* ---- the trainer ---- */

ebb_status ebb_trainer_create(const ebb_trainer_options *options, ebb_trainer **trainer,
                              ebb_error *error)
{
    if (trainer)
        *trainer = NULL;
    if (!options || !trainer || !options->build)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_trainer_create: %s",
                        !options   ? "options is NULL"
                        : !trainer ? "trainer is NULL"
                                   : "there is no function that builds the model");
    if (options->batch < 1)
        return ebb_fail(error, EBB_BAD_ARGUMENT,
                        "ebb_trainer_create: batch must be at least 1, not %" PRId64,
                        options->batch);
    ebb_trainer *made = ebb_allocate(options->allocator, sizeof *made);
    if (!made)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "ebb_trainer_create: out of memory");
    *made = (ebb_trainer){ .options = *options,
                           .allocator = options->allocator,
                           .store = options->store,
                           .owns_store = !options->store };
    if (made->owns_store)
        made->store = ebb_store_create(made->allocator);
    ebb_variant *variant;
    ebb_status status = EBB_OK;
    if (!made->store)
        status = ebb_fail(error, EBB_OUT_OF_MEMORY, "ebb_trainer_create: no memory for a store");
    for (int training = 1; training >= 0 && !status; training--)
        status = ebb_trainer_variant(made, options->batch, training, false, &variant, error);
    if (status)
        ebb_trainer_destroy(made);
    else
        *trainer = made;
    return status;
}

void ebb_trainer_destroy(ebb_trainer *trainer)
{
    if (!trainer)
        return;
    while (trainer->variants) {
        ebb_variant *next = trainer->variants->next;
        destroy_variant(trainer, trainer->variants);
        trainer->variants = next;
    }
    if (trainer->owns_store)
        ebb_store_destroy(trainer->store);
    ebb_release(trainer->allocator, trainer, sizeof *trainer);
}

ebb_store *ebb_trainer_store(const ebb_trainer *trainer)
{
    return trainer ? trainer->store : NULL;
}

const ebb_model_nodes *ebb_trainer_nodes(const ebb_trainer *trainer, bool training)
{
    for (const ebb_variant *v = trainer ? trainer->variants : NULL; v; v = v->next)
        if (v->n == trainer->options.batch && v->training == training && !v->check_finite)
            return &v->nodes;
    return NULL;
}

static ebb_status run_batch(ebb_trainer *trainer, bool training, const ebb_batch *batch,
                            double *loss, ebb_metrics *metrics, ebb_error *error)
{
    ebb_variant *variant;
    const ebb_status status =
        ebb_trainer_variant(trainer, batch->size, training, false, &variant, error);
    return status ? status : ebb_variant_run(variant, batch, loss, metrics, error);
}

ebb_status ebb_trainer_step(ebb_trainer *trainer, const ebb_batch *batch, double *loss,
                            ebb_metrics *metrics, ebb_error *error)
{
    if (!trainer || !batch)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_trainer_step: %s is NULL",
                        trainer ? "batch" : "trainer");
    return run_batch(trainer, true, batch, loss, metrics, error);
}

ebb_status ebb_trainer_evaluate(ebb_trainer *trainer, ebb_loader *loader, ebb_metrics *metrics,
                                ebb_error *error)
{
    if (!trainer || !loader || !metrics)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_trainer_evaluate: %s is NULL",
                        !trainer  ? "trainer"
                        : !loader ? "loader"
                                  : "metrics");
    ebb_status status = ebb_loader_seek(loader, 0, 0);
    const int64_t n_batches = ebb_loader_n_batches(loader);
    for (int64_t i = 0; i < n_batches && !status; i++) {
        ebb_batch batch;
        status = ebb_loader_next(loader, &batch);
        if (status)
            break;
        status = run_batch(trainer, false, &batch, NULL, metrics, error);
        if (status)
            return status;
    }
    return status ? ebb_fail(error, status, "%s", ebb_loader_message(loader)) : EBB_OK;
}

ebb_status ebb_trainer_freeze(ebb_trainer *trainer, int64_t n, ebb_model **model, ebb_error *error)
{
    ebb_variant *variant;
    if (model)
        *model = NULL;
    if (!trainer || !model || n < 1)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_trainer_freeze: %s",
                        !trainer ? "trainer is NULL"
                        : !model ? "model is NULL"
                                 : "a batch has at least 1 example");
    const ebb_status status = ebb_trainer_variant(trainer, n, false, false, &variant, error);
    if (status)
        return status;
    if (!variant->nodes.scores.id)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_trainer_freeze: the model has no scores");
    return ebb_model_freeze(&variant->nodes.scores, 1, trainer->store, trainer->allocator, model,
                            error);
}
