/* Freezing in three steps: the copy takes the form for inference; the pass freeze moves batch
 * normalization into weights; then all that depends on variables and constants alone is computed,
 * and becomes a variable of a new store. */
#define EBB_NO_LOCATIONS
#include "runtime/freeze.h"

#include "graph/graph_build.h"
#include "ops/descriptors.h"
#include "passes/passes.h"
#include "runtime/store.h"

#include <stdio.h>
#include <string.h>

typedef struct freezing {
    ebb_store *store;
    bool takes_store; /* what has been used of it is released */
    const ebb_allocator *allocator;
    ebb_graph *graph; /* of the step that is done */
    bool is_own;
    ebb_node *outputs; /* nodes of it */
    int n_outputs;
    ebb_store *values;
    ebb_error *error;
} freezing;

static ebb_status out_of_memory(const freezing *f)
{
    return ebb_fail(f->error, EBB_OUT_OF_MEMORY, "freeze: out of memory");
}

static size_t n_ids(const freezing *f)
{
    return (size_t)ebb_graph_n_nodes(f->graph) + 1;
}

/* The next graph takes the place of the one before. */
static ebb_status move_on(freezing *f, ebb_graph *next, const uint32_t *map)
{
    if (ebb_graph_status(next)) {
        const ebb_status status = ebb_graph_status(next);
        ebb_fail(f->error, status, "freeze: %s", ebb_graph_message(next));
        ebb_graph_destroy(next);
        return status;
    }
    for (int i = 0; i < f->n_outputs; i++)
        f->outputs[i] = ebb_graph_node(next, map[f->outputs[i].id]);
    if (f->is_own)
        ebb_graph_destroy(f->graph);
    f->graph = next;
    f->is_own = true;
    return EBB_OK;
}

/* ---- the form for inference ---- */

/* If `node` is `x` times a constant. */
static bool is_scaled(ebb_node node, uint32_t x)
{
    return ebb_node_op(node) == &ebb_op_mul && ebb_node_input(node, 0).id == x;
}

/* running[id] becomes the variable that keeps the mean or variance `id` of a batch_norm: its update
 * is running a + statistic b, as ebb_nn_batch_norm emits it. */
static void find_running(const freezing *f, uint32_t *running)
{
    ebb_node variable, value;
    for (int64_t i = 0; ebb_graph_update(f->graph, i, &variable, &value); i++) {
        if (ebb_node_op(value) != &ebb_op_add || !is_scaled(ebb_node_input(value, 0), variable.id))
            continue;
        const ebb_node statistic = ebb_node_input(ebb_node_input(value, 1), 0);
        int index;
        const ebb_node source = ebb_node_first_result(statistic, &index);
        if (is_scaled(ebb_node_input(value, 1), statistic.id) &&
            ebb_node_op(source) == &ebb_op_batch_norm && index > 0)
            running[statistic.id] = variable.id;
    }
}

static ebb_status emit_batch_norm(const freezing *f, ebb_graph *to, ebb_node from,
                                  const ebb_node *inputs, const uint32_t *running,
                                  ebb_node results[3])
{
    char text[EBB_NODE_TEXT_BYTES];
    for (uint32_t r = 1; r < 3; r++) {
        const ebb_node variable = ebb_graph_node(f->graph, running[from.id + r]);
        if (!variable.id)
            return ebb_fail(f->error, EBB_UNSUPPORTED,
                            "freeze: batch_norm %s is in its form for training, and no update "
                            "keeps its running %s",
                            ebb_node_text(from, text), r == 1 ? "mean" : "variance");
        results[r] = ebb_graph_copy_node(to, variable, NULL, NULL);
    }
    const ebb_node given[5] = { inputs[0], inputs[1], inputs[2], results[1], results[2] };
    results[0] = ebb_graph_copy_node_as(to, from, &ebb_op_batch_norm_inference, given, 5,
                                        ebb_node_attrs(from), NULL);
    return EBB_OK;
}

static ebb_node emit_dropout(ebb_graph *to, ebb_node from, const ebb_node *inputs)
{
    const ebb_dropout_attrs *attrs = ebb_node_attrs(from);
    ebb_graph_stand_at(to, from);
    return attrs->unscaled ? ebb_dropout_mean(inputs[0], attrs->ratio) : inputs[0];
}

static int most_inputs(const ebb_graph *graph)
{
    int most = 1;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(graph); id++) {
        const int n = ebb_node_n_inputs(ebb_graph_node(graph, id));
        most = n > most ? n : most;
    }
    return most;
}

static void map_inputs(ebb_graph *to, ebb_node from, const uint32_t *map, ebb_node *inputs)
{
    for (int i = 0; i < ebb_node_n_inputs(from); i++)
        inputs[i] = ebb_graph_node(to, map[ebb_node_input(from, i).id]);
}

static ebb_status copy_for_inference(const freezing *f, ebb_graph *to, const uint8_t *live,
                                     const uint32_t *running, ebb_node *inputs, uint32_t *map)
{
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(f->graph); id++) {
        const ebb_node from = ebb_graph_node(f->graph, id);
        const ebb_op *op = ebb_node_op(from);
        ebb_node results[EBB_MAX_RESULTS];
        if (!live[id] || op == &ebb_op_result)
            continue;
        map_inputs(to, from, map, inputs);
        ebb_status status = EBB_OK;
        if (op == &ebb_op_batch_norm)
            status = emit_batch_norm(f, to, from, inputs, running, results);
        else if (op == &ebb_op_dropout)
            results[0] = emit_dropout(to, from, inputs);
        else
            ebb_graph_copy_node(to, from, inputs, results);
        if (status)
            return status;
        for (int r = 0; r < op->n_results; r++)
            map[id + (uint32_t)r] = results[r].id;
    }
    return EBB_OK;
}

static ebb_status make_inference(freezing *f)
{
    const size_t n = n_ids(f), inputs_bytes = (size_t)most_inputs(f->graph) * sizeof(ebb_node);
    uint8_t *live = ebb_allocate(f->allocator, n);
    uint32_t *running = ebb_allocate(f->allocator, n * sizeof *running);
    uint32_t *map = ebb_allocate(f->allocator, n * sizeof *map);
    ebb_node *inputs = ebb_allocate(f->allocator, inputs_bytes);
    ebb_graph *to = ebb_graph_create_like(f->graph);
    ebb_status status = EBB_OUT_OF_MEMORY;
    if (live && running && map && inputs && to) {
        memset(live, 0, n);
        memset(running, 0, n * sizeof *running);
        memset(map, 0, n * sizeof *map);
        ebb_graph_mark(f->graph, f->outputs, f->n_outputs, live);
        find_running(f, running);
        status = copy_for_inference(f, to, live, running, inputs, map);
        if (!status)
            status = move_on(f, to, map);
        else
            ebb_graph_destroy(to);
    } else {
        ebb_graph_destroy(to);
        out_of_memory(f);
    }
    ebb_release(f->allocator, inputs, inputs_bytes);
    ebb_release(f->allocator, map, n * sizeof *map);
    ebb_release(f->allocator, running, n * sizeof *running);
    ebb_release(f->allocator, live, n);
    return status;
}

/* ---- the pass ---- */

static ebb_status run_pass(freezing *f)
{
    const size_t bytes = n_ids(f) * sizeof(uint32_t);
    uint32_t *map = ebb_allocate(f->allocator, bytes);
    ebb_graph *next;
    int64_t hits;
    if (!map)
        return out_of_memory(f);
    ebb_status status = ebb_pass_run("freeze", f->graph, f->outputs, f->n_outputs, NULL, &next, map,
                                     &hits, f->error);
    if (!status)
        status = move_on(f, next, map);
    ebb_release(f->allocator, map, bytes);
    return status;
}

/* ---- what can be computed now ---- */

enum {
    STEADY = 1,   /* depends on variables and constants alone, and on a variable */
    NEUTRAL = 2,  /* on constants alone */
    NEEDED = 4,   /* stands in the new graph, or its value does */
    COMPUTED = 8, /* is computed now */
};

static void mark_steady(const freezing *f, uint8_t *marks)
{
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(f->graph); id++) {
        const ebb_node node = ebb_graph_node(f->graph, id);
        const ebb_op *op = ebb_node_op(node);
        if (op->traits & EBB_TRAIT_SOURCE) {
            marks[id] = op == &ebb_op_variable ? STEADY : op == &ebb_op_input ? 0 : NEUTRAL;
            continue;
        }
        uint8_t both = 0;
        bool is_fixed = op->n_results == 1 && op != &ebb_op_result &&
                        !(op->traits & (EBB_TRAIT_RANDOM | EBB_TRAIT_UNIQUE));
        for (int i = 0; i < ebb_node_n_inputs(node) && is_fixed; i++) {
            const uint8_t mark = marks[ebb_node_input(node, i).id] & (STEADY | NEUTRAL);
            is_fixed = mark != 0;
            both |= mark;
        }
        marks[id] = !is_fixed ? 0 : both & STEADY ? STEADY : NEUTRAL;
    }
}

/* A view stays one: its input is smaller. */
static void mark_needed(const freezing *f, uint8_t *marks)
{
    for (int i = 0; i < f->n_outputs; i++)
        marks[f->outputs[i].id] |= NEEDED;
    for (uint32_t id = ebb_graph_n_nodes(f->graph); id > 0; id--) {
        const ebb_node node = ebb_graph_node(f->graph, id);
        const unsigned traits = ebb_node_op(node)->traits;
        if (!(marks[id] & NEEDED) || (traits & EBB_TRAIT_SOURCE))
            continue;
        if ((marks[id] & STEADY) && !(traits & EBB_TRAIT_VIEW)) {
            marks[id] |= COMPUTED;
            continue;
        }
        for (int i = 0; i < ebb_node_n_inputs(node); i++)
            marks[ebb_node_input(node, i).id] |= NEEDED;
    }
}

static const char *variable_name(ebb_node variable)
{
    return ((const ebb_variable_attrs *)ebb_node_attrs(variable))->name;
}

/* next_ended is a list for each node that is computed, which begins in its own place, of the
 * variables that are read for it and for no later one; 0 ends it. last[id]: the last node that is
 * computed from this one; 0: none. */
static void find_ended(const freezing *f, const uint8_t *marks, uint32_t *last,
                       uint32_t *next_ended)
{
    const size_t n = n_ids(f);
    memset(last, 0, n * sizeof *last);
    memset(next_ended, 0, n * sizeof *next_ended);
    for (uint32_t id = ebb_graph_n_nodes(f->graph); id > 0; id--) {
        const ebb_node node = ebb_graph_node(f->graph, id);
        if ((marks[id] & COMPUTED) && last[id] < id)
            last[id] = id;
        for (int i = 0; i < ebb_node_n_inputs(node); i++) {
            uint32_t *other = &last[ebb_node_input(node, i).id];
            *other = *other < last[id] ? last[id] : *other;
        }
        if (last[id] && ebb_node_op(node) == &ebb_op_variable) {
            next_ended[id] = next_ended[last[id]];
            next_ended[last[id]] = id;
        }
    }
}

/* All variables of the graph are in the store; those that stay go to the new one. last: see above.
 */
static ebb_status keep_variables(const freezing *f, const uint8_t *marks, const uint32_t *last)
{
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(f->graph); id++) {
        const ebb_node node = ebb_graph_node(f->graph, id);
        if (ebb_node_op(node) != &ebb_op_variable)
            continue;
        const char *name = variable_name(node);
        ebb_store_entry *entry = ebb_store_find(f->store, name);
        if (!entry)
            return ebb_fail(f->error, EBB_NOT_FOUND,
                            "freeze: the graph reads variable \"%.200s\", which the store has not",
                            name);
        if (!ebb_type_equal(&entry->type, ebb_node_type(node))) {
            char has[EBB_TYPE_TEXT_BYTES], needs[EBB_TYPE_TEXT_BYTES];
            return ebb_fail(
                f->error,
                entry->type.dtype == ebb_node_type(node)->dtype ? EBB_BAD_SHAPE : EBB_BAD_DTYPE,
                "freeze: variable \"%.150s\" is %.120s in the graph and %.120s in the store", name,
                ebb_type_text(ebb_node_type(node), needs), ebb_type_text(&entry->type, has));
        }
        if (!(marks[id] & NEEDED))
            continue;
        const ebb_status status = f->takes_store && !last[id]
                                      ? ebb_store_move_entry(f->values, f->store, entry)
                                      : ebb_store_set_entry(f->values, entry);
        if (status)
            return ebb_fail(f->error, status, "freeze: %.300s", ebb_store_message(f->values));
    }
    return EBB_OK;
}

/* The entry of a variable of this type that nobody needs when the node has been computed: its
 * memory is for the result. NULL: there is none. */
static ebb_store_entry *find_ended_entry(const freezing *f, ebb_node computed,
                                         const uint32_t *next_ended)
{
    for (uint32_t id = next_ended[computed.id]; id && f->takes_store; id = next_ended[id]) {
        const ebb_node variable = ebb_graph_node(f->graph, id);
        ebb_store_entry *entry = ebb_store_find(f->store, variable_name(variable));
        if (ebb_store_may_pass(f->store, entry, f->values, ebb_node_type(computed)))
            return entry;
    }
    return NULL;
}

/* An entry for the value of a node, called after the variable that it is made of first of all.
 * is_later: it gets its data from another one. */
static ebb_status add_entry(const freezing *f, ebb_node node, const uint8_t *marks, bool is_later,
                            ebb_store_entry **entry)
{
    const ebb_node computed = node;
    while (ebb_node_op(node) != &ebb_op_variable) {
        int i = 0;
        while (!(marks[ebb_node_input(node, i).id] & STEADY))
            i++;
        node = ebb_node_input(node, i);
    }
    const char *base = variable_name(node);
    const size_t bytes = strlen(base) + 32;
    char *name = ebb_allocate(f->allocator, bytes);
    if (!name)
        return out_of_memory(f);
    snprintf(name, bytes, "%s", base);
    for (int i = 1; ebb_store_find(f->values, name); i++)
        snprintf(name, bytes, "%s.%d", base, i);
    const ebb_type *type = ebb_node_type(computed);
    const ebb_status status = is_later ? ebb_store_add_later(f->values, name, type, entry, f->error)
                                       : ebb_store_add(f->values, name, type, entry, f->error);
    ebb_release(f->allocator, name, bytes);
    return status;
}

static ebb_status compute(const freezing *f, const ebb_node *nodes, int n, ebb_fetch *fetches)
{
    ebb_executable *executable;
    const ebb_compile_options options = { .fetches = nodes,
                                          .n_fetches = n,
                                          .store = f->store,
                                          .skip_updates = true,
                                          .allocator = f->allocator };
    ebb_status status = ebb_compile(f->graph, &options, &executable);
    if (status)
        return ebb_fail(f->error, status, "freeze: %s", ebb_graph_message(f->graph));
    status = ebb_run(executable, NULL, 0, fetches, n);
    if (status)
        ebb_fail(f->error, status, "freeze: %s", ebb_executable_message(executable));
    ebb_executable_destroy(executable);
    return status;
}

static void drop_ended(const freezing *f, ebb_node computed, const uint32_t *next_ended)
{
    for (uint32_t id = next_ended[computed.id]; id; id = next_ended[id])
        ebb_store_drop_data(f->store,
                            ebb_store_find(f->store, variable_name(ebb_graph_node(f->graph, id))));
}

static ebb_node emit_variable(ebb_graph *to, ebb_node from, const char *name)
{
    const ebb_variable_attrs attrs = { .name = name, .type = *ebb_node_type(from) };
    return ebb_graph_copy_node_as(to, from, &ebb_op_variable, NULL, 0, &attrs, NULL);
}

/* entries[id]: of what was computed. */
static ebb_status copy_needed(freezing *f, const uint8_t *marks, ebb_store_entry *const *entries,
                              ebb_node *inputs, uint32_t *map)
{
    ebb_graph *to = ebb_graph_create_like(f->graph);
    if (!to)
        return out_of_memory(f);
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(f->graph); id++) {
        const ebb_node from = ebb_graph_node(f->graph, id);
        const ebb_op *op = ebb_node_op(from);
        ebb_node results[EBB_MAX_RESULTS];
        if (!(marks[id] & NEEDED) || op == &ebb_op_result)
            continue;
        map_inputs(to, from, map, inputs);
        if (marks[id] & COMPUTED)
            results[0] = emit_variable(to, from, entries[id]->name);
        else if (op == &ebb_op_variable)
            results[0] = emit_variable(to, from, variable_name(from));
        else
            ebb_graph_copy_node(to, from, inputs, results);
        for (int r = 0; r < op->n_results; r++)
            map[id + (uint32_t)r] = results[r].id;
    }
    return move_on(f, to, map);
}

/* What is computed together. */
typedef struct computing {
    ebb_node *nodes;
    ebb_fetch *fetches;
    ebb_store_entry **ended; /* whose memory takes the value; NULL: it has its own */
    int n;
} computing;

/* What has been listed; the list is empty then. A fetch is written when all has been computed, so
 * that it may go where a variable lies. */
static ebb_status compute_listed(const freezing *f, const uint32_t *next_ended,
                                 ebb_store_entry *const *entries, computing *c)
{
    const ebb_status status = c->n ? compute(f, c->nodes, c->n, c->fetches) : EBB_OK;
    for (int i = 0; i < c->n; i++) {
        if (c->ended[i])
            ebb_store_unbind(f->store, c->ended[i]);
        if (c->ended[i] && !status)
            ebb_store_pass_data(f->store, c->ended[i], entries[c->nodes[i].id]);
        if (!status && f->takes_store)
            drop_ended(f, c->nodes[i], next_ended);
    }
    c->n = 0;
    return status;
}

static ebb_status list_node(const freezing *f, ebb_node node, const uint8_t *marks,
                            const uint32_t *next_ended, computing *c, ebb_store_entry **entry)
{
    const ebb_type *type = ebb_node_type(node);
    ebb_store_entry *ended = find_ended_entry(f, node, next_ended);
    ebb_status status = add_entry(f, node, marks, ended != NULL, entry);
    if (!status && ended) /* so that it stays where it is */
        status = ebb_store_bind(f->store, ended, &ended->layout, f->error);
    if (status)
        return status;
    void *data = ended ? ended->data : (*entry)->data;
    c->ended[c->n] = ended;
    c->nodes[c->n] = node;
    c->fetches[c->n++] = (ebb_fetch){ node, ebb_tensor_borrow(type->dtype, type->shape, data) };
    return EBB_OK;
}

/* A few megabytes at a time: what is computed lies in the arena as well as in its entry. */
static ebb_status compute_marked(const freezing *f, const uint8_t *marks,
                                 const uint32_t *next_ended, ebb_store_entry **entries)
{
    enum { MOST_BYTES = 4 << 20 };
    const size_t n = n_ids(f);
    size_t n_bytes = 0;
    computing c = { .nodes = ebb_allocate(f->allocator, n * sizeof *c.nodes),
                    .fetches = ebb_allocate(f->allocator, n * sizeof *c.fetches),
                    .ended = ebb_allocate(f->allocator, n * sizeof *c.ended) };
    ebb_status status = c.nodes && c.fetches && c.ended ? EBB_OK : out_of_memory(f);
    for (uint32_t id = 1; id < n && !status; id++) {
        const ebb_node node = ebb_graph_node(f->graph, id);
        const size_t bytes = ebb_type_bytes(ebb_node_type(node));
        if (!(marks[id] & COMPUTED))
            continue;
        if (n_bytes + bytes > MOST_BYTES) {
            status = compute_listed(f, next_ended, entries, &c);
            n_bytes = 0;
        }
        if (!status)
            status = list_node(f, node, marks, next_ended, &c, &entries[id]);
        n_bytes += bytes;
    }
    if (!status)
        status = compute_listed(f, next_ended, entries, &c);
    ebb_release(f->allocator, c.ended, n * sizeof *c.ended);
    ebb_release(f->allocator, c.fetches, n * sizeof *c.fetches);
    ebb_release(f->allocator, c.nodes, n * sizeof *c.nodes);
    return status;
}

static ebb_status make_steady(freezing *f)
{
    const size_t n = n_ids(f), inputs_bytes = (size_t)most_inputs(f->graph) * sizeof(ebb_node);
    uint8_t *marks = ebb_allocate(f->allocator, n);
    ebb_store_entry **entries = ebb_allocate(f->allocator, n * sizeof *entries);
    uint32_t *map = ebb_allocate(f->allocator, n * sizeof *map);
    uint32_t *next_ended = ebb_allocate(f->allocator, n * sizeof *next_ended);
    ebb_node *inputs = ebb_allocate(f->allocator, inputs_bytes);
    f->values = ebb_store_create(f->allocator);
    ebb_status status =
        marks && entries && map && next_ended && inputs && f->values ? EBB_OK : out_of_memory(f);
    if (!status) {
        memset(marks, 0, n);
        mark_steady(f, marks);
        mark_needed(f, marks);
        find_ended(f, marks, map, next_ended); /* map: the last nodes for now */
        status = keep_variables(f, marks, map);
    }
    if (!status)
        status = compute_marked(f, marks, next_ended, entries);
    if (!status) {
        memset(map, 0, n * sizeof *map);
        status = copy_needed(f, marks, entries, inputs, map);
    }
    ebb_release(f->allocator, inputs, inputs_bytes);
    ebb_release(f->allocator, next_ended, n * sizeof *next_ended);
    ebb_release(f->allocator, map, n * sizeof *map);
    ebb_release(f->allocator, entries, n * sizeof *entries);
    ebb_release(f->allocator, marks, n);
    return status;
}

ebb_status ebb_freeze(ebb_graph *graph, const ebb_node *outputs, int n_outputs, ebb_store *store,
                      bool takes_store, const ebb_allocator *allocator, ebb_graph **frozen,
                      ebb_store **values, ebb_node *frozen_outputs, ebb_error *error)
{
    freezing f = { .store = store,
                   .takes_store = takes_store,
                   .allocator = allocator,
                   .graph = graph,
                   .outputs = frozen_outputs,
                   .n_outputs = n_outputs,
                   .error = error };
    *frozen = NULL;
    *values = NULL;
    ebb_status status = ebb_graph_status(graph);
    if (status)
        return ebb_fail(error, status, "freeze: %s", ebb_graph_message(graph));
    for (int i = 0; i < n_outputs; i++) {
        char text[EBB_NODE_TEXT_BYTES];
        if (!ebb_graph_owns(graph, outputs[i]))
            return ebb_fail(error, EBB_BAD_NODE,
                            "freeze: output %d (%.200s) is not a node of graph "
                            "\"%.80s\"",
                            i, ebb_node_text(outputs[i], text), ebb_graph_name(graph));
        frozen_outputs[i] = outputs[i];
    }
    status = make_inference(&f);
    if (!status)
        status = run_pass(&f);
    if (!status)
        status = make_steady(&f);
    if (!status) {
        *frozen = f.graph;
        *values = f.values;
        return EBB_OK;
    }
    if (f.is_own)
        ebb_graph_destroy(f.graph);
    ebb_store_destroy(f.values);
    return status;
}
