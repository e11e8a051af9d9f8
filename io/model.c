/* Models: freezing, and files with the graph's text in the header of its weights. */
#include "graph/graph_build.h"
#include "io/safetensors.h"
#include "ops/descriptors.h"
#include "runtime/freeze.h"
#include "runtime/store.h"

#include <ebb/model.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a model in a file. */
#define MAX_OUTPUTS 1000

enum { GRAPH, OUTPUTS, N_TEXTS };
#define GRAPH_KEY "ebb.graph"
#define OUTPUTS_KEY "ebb.outputs" /* ids in the text, with a space between */

/* ---- the object ---- */

static ebb_model *create(const ebb_allocator *allocator, int n_outputs)
{
    ebb_model *model = ebb_allocate(allocator, sizeof *model);
    if (!model)
        return NULL;
    *model = (ebb_model){ .allocator = allocator };
    model->outputs = ebb_allocate(allocator, (size_t)n_outputs * sizeof *model->outputs);
    if (model->outputs) {
        model->n_outputs = n_outputs;
        memset(model->outputs, 0, (size_t)n_outputs * sizeof *model->outputs);
        return model;
    }
    ebb_release(allocator, model, sizeof *model);
    return NULL;
}

void ebb_model_destroy(ebb_model *model)
{
    if (!model)
        return;
    const ebb_allocator *allocator = model->allocator;
    ebb_graph_destroy(model->graph);
    ebb_store_destroy(model->store);
    ebb_release(allocator, model->inputs, (size_t)model->n_inputs * sizeof *model->inputs);
    ebb_release(allocator, model->outputs, (size_t)model->n_outputs * sizeof *model->outputs);
    ebb_release(allocator, model, sizeof *model);
}

/* False when memory is out. */
static bool list_inputs(ebb_model *model)
{
    const uint32_t n_nodes = ebb_graph_n_nodes(model->graph);
    int n = 0;
    for (uint32_t id = 1; id <= n_nodes; id++)
        n += ebb_node_op(ebb_graph_node(model->graph, id)) == &ebb_op_input;
    model->inputs = ebb_allocate(model->allocator, (size_t)n * sizeof *model->inputs);
    if (!model->inputs)
        return false;
    model->n_inputs = n;
    n = 0;
    for (uint32_t id = 1; id <= n_nodes; id++) {
        const ebb_node node = ebb_graph_node(model->graph, id);
        if (ebb_node_op(node) == &ebb_op_input)
            model->inputs[n++] = node;
    }
    return true;
}

static bool has_name(ebb_node node, const char *full_name)
{
    const char *scope = ebb_node_scope(node);
    const size_t length = strlen(scope);
    return *ebb_node_name(node) && strncmp(full_name, scope, length) == 0 &&
           strcmp(full_name + length, ebb_node_name(node)) == 0;
}

ebb_node ebb_model_find(const ebb_model *model, const char *full_name)
{
    if (!model || !full_name)
        return EBB_NONE;
    for (int i = 0; i < model->n_inputs; i++)
        if (has_name(model->inputs[i], full_name))
            return model->inputs[i];
    for (int i = 0; i < model->n_outputs; i++)
        if (has_name(model->outputs[i], full_name))
            return model->outputs[i];
    return EBB_NONE;
}

static ebb_status freeze(const ebb_node *outputs, int n_outputs, ebb_store *store, bool takes_store,
                         const ebb_allocator *allocator, ebb_model **model, ebb_error *error)
{
    if (!model)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_model_freeze: model is NULL");
    *model = NULL;
    if (!outputs || n_outputs < 1)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_model_freeze: there are no outputs");
    ebb_model *made = create(allocator, n_outputs);
    if (!made)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "ebb_model_freeze: out of memory");
    ebb_status status = ebb_freeze(outputs[0].graph, outputs, n_outputs, store, takes_store,
                                   allocator, &made->graph, &made->store, made->outputs, error);
    if (!status && !list_inputs(made))
        status = ebb_fail(error, EBB_OUT_OF_MEMORY, "ebb_model_freeze: out of memory");
    if (status)
        ebb_model_destroy(made);
    else
        *model = made;
    return status;
}

ebb_status ebb_model_freeze(const ebb_node *outputs, int n_outputs, ebb_store *store,
                            const ebb_allocator *allocator, ebb_model **model, ebb_error *error)
{
    return freeze(outputs, n_outputs, store, false, allocator, model, error);
}

ebb_status ebb_model_freeze_store(const ebb_node *outputs, int n_outputs, ebb_store **store,
                                  ebb_model **model, ebb_error *error)
{
    ebb_store *taken = store ? *store : NULL;
    const ebb_allocator *allocator = taken ? ebb_store_allocator(taken) : NULL;
    const ebb_status status = freeze(outputs, n_outputs, taken, true, allocator, model, error);
    ebb_store_destroy(taken);
    if (store)
        *store = NULL;
    return status;
}

/* ---- writing ---- */

/* From the C heap; NULL when memory is out. */
static char *print_graph(const ebb_graph *graph)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return NULL;
    const ebb_status status = ebb_graph_print(graph, out);
    if (fclose(out) == 0 && !status)
        return text;
    free(text);
    return NULL;
}

ebb_status ebb_model_save(const ebb_model *model, const char *path, ebb_error *error)
{
    if (!model || !path)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_model_save: %s is NULL",
                        model ? "path" : "model");
    if (model->n_outputs > MAX_OUTPUTS)
        return ebb_fail(error, EBB_LIMIT, "%s: a model of %d outputs; a file takes %d", path,
                        model->n_outputs, MAX_OUTPUTS);
    const ebb_allocator *allocator = model->allocator;
    const int64_t n = ebb_store_size(model->store);
    const size_t tensors_bytes = (size_t)n * sizeof(ebb_file_tensor),
                 ids_bytes = (size_t)model->n_outputs * 12;
    ebb_file_tensor *tensors = ebb_allocate(allocator, tensors_bytes);
    char *ids = ebb_allocate(allocator, ids_bytes), *text = print_graph(model->graph);
    ebb_status status = EBB_OK;
    if (!tensors || !ids || !text) {
        status = ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory for the graph's text", path);
    } else {
        size_t at = 0;
        for (int i = 0; i < model->n_outputs; i++)
            at += (size_t)snprintf(ids + at, ids_bytes - at, "%s%" PRIu32, i ? " " : "",
                                   model->outputs[i].id);
        ebb_file_tensors_fill(tensors, NULL, model->store);
        const ebb_file_text texts[N_TEXTS] = { { GRAPH_KEY, text }, { OUTPUTS_KEY, ids } };
        status = ebb_safetensors_write(path, tensors, n, texts, N_TEXTS, allocator, error);
    }
    free(text);
    ebb_release(allocator, ids, ids_bytes);
    ebb_release(allocator, tensors, tensors_bytes);
    return status;
}

/* ---- reading ---- */

typedef struct loading {
    const char *path;
    ebb_model *model;
    uint32_t *ids; /* [n_outputs], in the text */
    uint32_t *found;
    ebb_error *error;
} loading;

static const ebb_op *find_op(void *context, const char *name)
{
    (void)context;
    return ebb_op_find(name);
}

static void note_id(void *context, uint32_t text_id, ebb_node node)
{
    loading *load = context;
    for (int i = 0; i < load->model->n_outputs; i++)
        if (load->ids[i] == text_id)
            load->found[i] = node.id;
}

/* 1 to MAX_OUTPUTS numbers of at most 9 digits, one space between; returns how many, 0 if it is
 * anything else. `ids` may be NULL. */
static int parse_ids(const char *text, uint32_t *ids)
{
    int n = 0;
    for (;; text++) {
        uint32_t id = 0;
        int n_digits = 0;
        for (; *text >= '0' && *text <= '9' && n_digits < 10; text++, n_digits++)
            id = id * 10 + (uint32_t)(*text - '0');
        if (n_digits == 0 || n_digits > 9 || n == MAX_OUTPUTS || (*text && *text != ' '))
            return 0;
        if (ids)
            ids[n] = id;
        n++;
        if (!*text)
            return n;
    }
}

static ebb_status parse_graph(loading *load, const char *text)
{
    ebb_error reason = { 0 };
    ebb_model *model = load->model;
    ebb_status status = ebb_graph_parse_with(text, strlen(text), find_op, note_id, load,
                                             model->allocator, &model->graph, &reason);
    if (status)
        return ebb_fail(load->error, status, "%s: the graph of the model: %s", load->path,
                        reason.message);
    for (int i = 0; i < model->n_outputs; i++) {
        if (!load->found[i])
            return ebb_fail(load->error, EBB_BAD_FORMAT,
                            "%s: output %d of the model is %%%" PRIu32 ", which its graph has not",
                            load->path, i, load->ids[i]);
        model->outputs[i] = ebb_graph_node(model->graph, load->found[i]);
    }
    return EBB_OK;
}

/* Every variable has its tensor, and every tensor its variable. */
static ebb_status check_variables(const loading *load)
{
    const ebb_graph *graph = load->model->graph;
    int64_t n = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(graph); id++) {
        const ebb_node node = ebb_graph_node(graph, id);
        char needs[EBB_TYPE_TEXT_BYTES], has[EBB_TYPE_TEXT_BYTES];
        if (ebb_node_op(node) != &ebb_op_variable)
            continue;
        const char *name = ((const ebb_variable_attrs *)ebb_node_attrs(node))->name;
        const ebb_store_entry *entry = ebb_store_find(load->model->store, name);
        const ebb_type *type = ebb_node_type(node);
        if (!entry)
            return ebb_fail(load->error, EBB_NOT_FOUND,
                            "%s: the graph reads variable \"%.200s\", but the file has no such "
                            "tensor",
                            load->path, name);
        if (!ebb_type_equal(&entry->type, type))
            return ebb_fail(
                load->error, entry->type.dtype == type->dtype ? EBB_BAD_SHAPE : EBB_BAD_DTYPE,
                "%s: \"%.150s\" is %.80s in the graph, but %.80s as a tensor", load->path, name,
                ebb_type_text(type, needs), ebb_type_text(&entry->type, has));
        n++;
    }
    for (int64_t i = 0;
         i < ebb_store_size(load->model->store) && n < ebb_store_size(load->model->store); i++) {
        const char *name = ebb_store_name(load->model->store, i);
        const ebb_node node = ebb_graph_find(graph, name);
        if (ebb_node_op(node) != &ebb_op_variable)
            return ebb_fail(load->error, EBB_NOT_FOUND,
                            "%s: the graph has no variable for the tensor \"%.200s\"", load->path,
                            name);
    }
    return EBB_OK;
}

static ebb_status fill_model(loading *load, const ebb_file_text *texts)
{
    ebb_model *model = load->model;
    const size_t bytes = (size_t)model->n_outputs * sizeof *load->ids;
    load->ids = ebb_allocate(model->allocator, bytes);
    load->found = ebb_allocate(model->allocator, bytes);
    ebb_status status = EBB_OUT_OF_MEMORY;
    if (load->ids && load->found) {
        memset(load->found, 0, bytes);
        parse_ids(texts[OUTPUTS].text, load->ids);
        status = parse_graph(load, texts[GRAPH].text);
        if (!status)
            status = check_variables(load);
        if (!status && !list_inputs(model))
            status = ebb_fail(load->error, EBB_OUT_OF_MEMORY, "%s: out of memory", load->path);
    } else {
        ebb_fail(load->error, status, "%s: out of memory", load->path);
    }
    ebb_release(model->allocator, load->found, bytes);
    ebb_release(model->allocator, load->ids, bytes);
    return status;
}

ebb_status ebb_model_load(const char *path, const ebb_allocator *allocator, ebb_model **model,
                          ebb_error *error)
{
    if (model)
        *model = NULL;
    if (!path || !model)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_model_load: %s is NULL",
                        path ? "model" : "path");
    ebb_file_text texts[N_TEXTS] = { { .key = GRAPH_KEY }, { .key = OUTPUTS_KEY } };
    ebb_store *store = ebb_store_create(allocator);
    if (!store)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory for a store", path);
    ebb_status status = ebb_safetensors_read(store, path, texts, N_TEXTS, error);
    if (status) {
        ebb_store_destroy(store);
        return status;
    }
    loading load = { .path = path, .error = error };
    const int n_outputs = texts[OUTPUTS].text ? parse_ids(texts[OUTPUTS].text, NULL) : 0;
    if (!texts[GRAPH].text || !texts[OUTPUTS].text)
        status = ebb_fail(error, EBB_BAD_FORMAT, "%s: no model: the header has no text \"%s\"",
                          path, texts[GRAPH].text ? OUTPUTS_KEY : GRAPH_KEY);
    else if (n_outputs == 0)
        status =
            ebb_fail(error, EBB_BAD_FORMAT,
                     "%s: the text \"" OUTPUTS_KEY "\" is no list of 1 to 1000 numbers: \"%.80s\"",
                     path, texts[OUTPUTS].text);
    else if (!(load.model = create(allocator, n_outputs)))
        status = ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: out of memory", path);
    if (status) {
        ebb_store_destroy(store);
    } else {
        load.model->store = store;
        status = fill_model(&load, texts);
    }
    ebb_file_texts_finish(texts, N_TEXTS, allocator);
    if (status)
        ebb_model_destroy(load.model);
    else
        *model = load.model;
    return status;
}
