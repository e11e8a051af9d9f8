/* The graph: making it, its errors, and emitting nodes. */
#include "graph/graph_build.h"
#include "graph/graph_private.h"

#include <stdio.h>
#include <string.h>

#define MAX_NODES (UINT32_MAX - 1)
#define MAX_ATTRS_BYTES 1024

/* ---- making and destroying ---- */

ebb_graph *ebb_graph_create(const char *name)
{
    return ebb_graph_create_with(name, NULL);
}

ebb_graph *ebb_graph_create_with(const char *name, const ebb_graph_options *options)
{
    const ebb_allocator *allocator = options ? options->allocator : NULL;
    ebb_graph *graph = ebb_allocate(allocator, sizeof *graph);
    if (!graph)
        return NULL;
    *graph = (ebb_graph){ .allocator = allocator };
    if (options)
        graph->log = options->log;
    ebb_arena_init(&graph->arena, allocator);
    if (!name)
        name = "graph";
    graph->name = ebb_arena_copy_text(&graph->arena, name, strlen(name));
    if (!graph->name ||
        !ebb_grow(allocator, &graph->nodes, 0, &graph->nodes_capacity, sizeof *graph->nodes) ||
        !ebb_grow(allocator, &graph->types, 0, &graph->types_capacity, sizeof *graph->types) ||
        !ebb_grow(allocator, &graph->scopes, 0, &graph->scopes_capacity, sizeof *graph->scopes)) {
        ebb_graph_destroy(graph);
        return NULL;
    }
    static const ebb_type no_type = { EBB_NO_DTYPE, { 0 } };
    graph->types[0] = &no_type;
    graph->nodes[0] = (node_record){ .type = &no_type };
    graph->scopes[0] = (scope_record){ .path = "" };
    graph->n_scopes = 1;
    return graph;
}

void ebb_graph_destroy(ebb_graph *graph)
{
    if (!graph)
        return;
    const ebb_allocator *a = graph->allocator;
    const id_table *tables[] = { &graph->shared, &graph->sources, &graph->type_table,
                                 &graph->scope_table };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        ebb_release(a, tables[i]->slots, tables[i]->n_slots * sizeof *tables[i]->slots);
    ebb_release(a, graph->nodes, graph->nodes_capacity * sizeof *graph->nodes);
    ebb_release(a, graph->types, graph->types_capacity * sizeof *graph->types);
    ebb_release(a, graph->scopes, graph->scopes_capacity * sizeof *graph->scopes);
    ebb_release(a, graph->updates, graph->updates_capacity * sizeof *graph->updates);
    ebb_arena_finish(&graph->arena);
    ebb_release(a, graph, sizeof *graph);
}

ebb_graph *ebb_graph_create_like(const ebb_graph *graph)
{
    ebb_graph *like =
        ebb_graph_create_with(graph->name, &(ebb_graph_options){ graph->allocator, graph->log });
    if (like && (!ebb_grow(like->allocator, &like->nodes, graph->n_nodes, &like->nodes_capacity,
                           sizeof *like->nodes) ||
                 !ebb_id_table_reserve(&like->shared, like->allocator, graph->shared.n_used))) {
        ebb_graph_destroy(like);
        return NULL;
    }
    return like;
}

const ebb_allocator *ebb_graph_allocator(const ebb_graph *graph)
{
    return graph->allocator;
}

ebb_logger ebb_graph_logger(const ebb_graph *graph)
{
    return graph->log;
}

/* ---- errors ---- */

ebb_status ebb_graph_status(const ebb_graph *graph)
{
    return graph ? graph->error.status : EBB_OUT_OF_MEMORY;
}

const char *ebb_graph_message(const ebb_graph *graph)
{
    if (!graph)
        return "out of memory: there is no graph";
    return graph->error.status ? graph->error.message : graph->report.message;
}

ebb_graph *ebb_graph_at(ebb_graph *graph, const char *file, int line)
{
    if (graph) {
        graph->file = file;
        graph->line = line;
    }
    return graph;
}

ebb_node ebb_node_at(ebb_node node, const char *file, int line)
{
    ebb_graph_at(node.graph, file, line);
    return node;
}

const char *ebb_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static ebb_node fail_v(ebb_graph *graph, ebb_status status, const char *format, va_list arguments)
{
    if (!graph)
        return EBB_NONE;
    if (graph->error.status == EBB_OK) {
        ebb_fail_v(&graph->error, status, format, arguments);
        size_t length = strlen(graph->error.message);
        if (graph->file)
            snprintf(graph->error.message + length, sizeof graph->error.message - length,
                     " (%s:%d)", ebb_base_name(graph->file), graph->line);
    }
    return (ebb_node){ graph, 0 };
}

ebb_node ebb_graph_fail(ebb_graph *graph, ebb_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    ebb_node none = fail_v(graph, status, format, arguments);
    va_end(arguments);
    return none;
}

ebb_status ebb_graph_report(ebb_graph *graph, ebb_status status, const char *format, ...)
{
    if (!graph)
        return status;
    va_list arguments;
    va_start(arguments, format);
    ebb_fail_v(&graph->report, status, format, arguments);
    va_end(arguments);
    return status;
}

ebb_status ebb_infer_fail(const ebb_infer *infer, ebb_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    ebb_fail_v(infer->error, status, format, arguments);
    va_end(arguments);
    return status;
}

/* Records what `infer` said, behind the op and in front of the operands with their types. */
static ebb_node fail_infer(ebb_graph *graph, const ebb_op *op, const ebb_node *inputs, int n_inputs,
                           const ebb_error *error)
{
    char operands[EBB_MESSAGE_BYTES] = "";
    size_t at = 0;
    for (int i = 0; i < n_inputs && at < sizeof operands; i++) {
        char text[EBB_NODE_TEXT_BYTES];
        at += (size_t)snprintf(operands + at, sizeof operands - at, "%s%s", i ? ", " : ": ",
                               ebb_node_text(inputs[i], text));
    }
    return ebb_graph_fail(graph, error->status, "%s: %s%s", op->name, error->message, operands);
}

/* ---- types ---- */

static uint32_t hash_type(const ebb_type *type)
{
    uint32_t hash = ebb_hash_u64((uint32_t)type->dtype, (uint64_t)type->shape.rank);
    for (int i = 0; i < type->shape.rank; i++)
        hash = ebb_hash_u64(hash, (uint64_t)type->shape.dims[i]);
    return hash;
}

static bool type_matches(const ebb_graph *graph, uint32_t id, const void *key)
{
    return ebb_type_equal(graph->types[id], key);
}

static const ebb_type *intern_type(ebb_graph *graph, const ebb_type *type)
{
    uint32_t hash = hash_type(type);
    uint32_t id = ebb_id_table_find(&graph->type_table, graph, hash, type_matches, type);
    if (id)
        return graph->types[id];
    ebb_type *copy = ebb_arena_allocate(&graph->arena, sizeof *copy, 8);
    if (!copy || !ebb_grow(graph->allocator, &graph->types, graph->n_types + 1,
                           &graph->types_capacity, sizeof *graph->types))
        return NULL;
    *copy = *type;
    graph->types[graph->n_types + 1] = copy;
    if (!ebb_id_table_add(&graph->type_table, graph->allocator, hash, graph->n_types + 1))
        return NULL;
    graph->n_types++;
    return copy;
}

/* ---- emitting ---- */

typedef struct emit_key {
    const ebb_op *op;
    const void *attrs;
    const ebb_node *inputs;
    int n_inputs;
    uint32_t hash;
} emit_key;

static bool node_matches(const ebb_graph *graph, uint32_t id, const void *key_pointer)
{
    const emit_key *key = key_pointer;
    const node_record *node = &graph->nodes[id];
    if (node->hash != key->hash || node->op != key->op || node->n_inputs != key->n_inputs)
        return false;
    for (int i = 0; i < key->n_inputs; i++) {
        if (node->inputs[i] != key->inputs[i].id)
            return false;
    }
    return ebb_attrs_equal(key->op, node->attrs, key->attrs);
}

static uint32_t hash_key(const emit_key *key)
{
    uint32_t hash = ebb_hash_u64(ebb_hash_attrs(key->op, key->attrs), (uintptr_t)key->op);
    for (int i = 0; i < key->n_inputs; i++)
        hash = ebb_hash_u64(hash, key->inputs[i].id);
    return hash;
}

static bool source_matches(const ebb_graph *graph, uint32_t id, const void *key)
{
    return strcmp(ebb_source_name(graph->nodes[id].op, graph->nodes[id].attrs), key) == 0;
}

ebb_node ebb_graph_find(const ebb_graph *graph, const char *full_name)
{
    if (!graph || !full_name)
        return EBB_NONE;
    uint32_t hash = ebb_hash_bytes(7, full_name, strlen(full_name));
    uint32_t id = ebb_id_table_find(&graph->sources, graph, hash, source_matches, full_name);
    return (ebb_node){ (ebb_graph *)(uintptr_t)graph, id };
}

static ebb_status infer_result(const ebb_infer *infer)
{
    *infer->results = *infer->inputs[0];
    return EBB_OK;
}

struct result_attrs {
    int64_t index;
};
static const ebb_attr_field result_fields[] = {
    EBB_FIELD(struct result_attrs, index, I64, "which result of the op before"),
    { 0 },
};
const ebb_op ebb_op_result = {
    .name = "result",
    .summary = "a further result of an op with several",
    .group = "graph",
    .n_inputs = 1,
    .n_results = 1,
    .attrs_bytes = sizeof(struct result_attrs),
    .attrs = result_fields,
    .infer = infer_result, /* only for graphs made by hand: emit_checked sets the true type */
};

ebb_node ebb_node_result(ebb_node first_result, int index)
{
    const ebb_op *op = ebb_node_op(first_result);
    if (!op || index < 0 || index >= op->n_results)
        return (ebb_node){ first_result.graph, 0 };
    return (ebb_node){ first_result.graph, first_result.id + (uint32_t)index };
}

ebb_node ebb_node_first_result(ebb_node node, int *index)
{
    int found = 0;
    if (ebb_node_op(node) == &ebb_op_result) {
        found = (int)((const struct result_attrs *)ebb_node_attrs(node))->index;
        node.id -= (uint32_t)found;
    }
    if (index)
        *index = found;
    return node;
}

/* Appends one node; room has been made. */
static void append_node(ebb_graph *graph, node_record record)
{
    record.file = graph->file;
    record.line = graph->line;
    record.phase = (uint8_t)graph->phase;
    if (!record.name)
        record.scope = graph->scope;
    graph->nodes[++graph->n_nodes] = record;
}

/* Name and scope of a source come from its full name. False when memory is out or the name is bad.
 */
static bool place_source(ebb_graph *graph, const char *full_name, node_record *record)
{
    const char *slash = strrchr(full_name, '/');
    const char *own = slash ? slash + 1 : full_name;
    record->name = own;
    record->scope = ebb_scope_intern(graph, full_name, (size_t)(own - full_name));
    return record->scope != UINT32_MAX;
}

static ebb_node emit_checked(ebb_graph *graph, const emit_key *key)
{
    const ebb_op *op = key->op;
    const ebb_node none = { graph, 0 };
    const char *source = ebb_source_name(op, key->attrs);
    if (ebb_source_has_name(op) && !ebb_full_name_is_valid(source))
        return ebb_graph_fail(graph, EBB_BAD_NAME, "%s: \"%.60s\" is no name", op->name,
                              source ? source : "");
    if (source) {
        ebb_node taken = ebb_graph_find(graph, source);
        if (taken.id) {
            char text[EBB_NODE_TEXT_BYTES];
            return ebb_graph_fail(graph, EBB_BAD_NAME, "%s: the name \"%s\" is taken by %s %s",
                                  op->name, source, ebb_node_op(taken)->name,
                                  ebb_node_text(taken, text));
        }
    }

    const ebb_type *input_types[16];
    const ebb_type **types_of_inputs = input_types;
    if (key->n_inputs > 16) {
        types_of_inputs =
            ebb_arena_allocate(&graph->arena, (size_t)key->n_inputs * sizeof *types_of_inputs, 8);
        if (!types_of_inputs)
            goto out_of_memory;
    }
    for (int i = 0; i < key->n_inputs; i++)
        types_of_inputs[i] = graph->nodes[key->inputs[i].id].type;
    ebb_type types[EBB_MAX_RESULTS];
    memset(types, 0, (size_t)op->n_results * sizeof *types);
    ebb_error error;
    error.status = EBB_OK;
    error.message[0] = 0;
    ebb_infer infer = { op, key->attrs, key->n_inputs, types_of_inputs, types, &error };
    ebb_status status = op->infer(&infer);
    if (status) {
        error.status = status;
        return fail_infer(graph, op, key->inputs, key->n_inputs, &error);
    }
    const ebb_type *interned[EBB_MAX_RESULTS];
    for (int r = 0; r < op->n_results; r++) {
        if (!ebb_dtype_bytes(types[r].dtype) || !ebb_shape_is_valid(&types[r].shape)) {
            char text[EBB_TYPE_TEXT_BYTES];
            ebb_fail(&error, EBB_BAD_SHAPE, "result %d would be %s, which is no valid type", r,
                     ebb_type_text(&types[r], text));
            return fail_infer(graph, op, key->inputs, key->n_inputs, &error);
        }
        for (int i = types[r].shape.rank; i < EBB_MAX_RANK; i++)
            types[r].shape.dims[i] = 0;
        interned[r] = NULL;
        if (r == 0 && key->n_inputs && ebb_type_equal(types_of_inputs[0], &types[0]))
            interned[0] = types_of_inputs[0];
        else if (!(interned[r] = intern_type(graph, &types[r])))
            goto out_of_memory;
    }

    if (graph->n_nodes > MAX_NODES - (uint32_t)op->n_results)
        return ebb_graph_fail(graph, EBB_LIMIT, "%s: the graph has %u nodes already", op->name,
                              graph->n_nodes);
    node_record record = {
        .op = op, .type = interned[0], .hash = key->hash, .n_inputs = key->n_inputs
    };
    if (op->attrs_bytes && !(record.attrs = ebb_attrs_copy(&graph->arena, op, key->attrs)))
        goto out_of_memory;
    if (source && !place_source(graph, ebb_source_name(op, record.attrs), &record))
        goto out_of_memory;
    if (key->n_inputs) {
        uint32_t *ids = ebb_arena_allocate(&graph->arena, (size_t)key->n_inputs * sizeof *ids, 4);
        if (!ids)
            goto out_of_memory;
        for (int i = 0; i < key->n_inputs; i++)
            ids[i] = key->inputs[i].id;
        record.inputs = ids;
    }
    for (int r = 0; r < op->n_results; r++) {
        if (!ebb_grow(graph->allocator, &graph->nodes, graph->n_nodes + 1 + (uint32_t)r,
                      &graph->nodes_capacity, sizeof *graph->nodes))
            goto out_of_memory;
    }
    uint32_t first = graph->n_nodes + 1;
    struct {
        uint32_t first;
        struct result_attrs attrs[EBB_MAX_RESULTS];
    } *further = NULL;
    if (op->n_results > 1 && !(further = ebb_arena_allocate(&graph->arena, sizeof *further, 8)))
        goto out_of_memory;
    append_node(graph, record);
    bool added = true;
    if (!(op->traits & EBB_TRAIT_UNIQUE))
        added = ebb_id_table_add(&graph->shared, graph->allocator, key->hash, first);
    if (added && source)
        added = ebb_id_table_add(&graph->sources, graph->allocator,
                                 ebb_hash_bytes(7, source, strlen(source)), first);
    if (!added)
        goto out_of_memory; /* the node stays, unreachable: the graph is in error now */
    for (int r = 1; r < op->n_results; r++) {
        further->first = first;
        further->attrs[r].index = r;
        append_node(graph, (node_record){ .op = &ebb_op_result,
                                          .type = interned[r],
                                          .attrs = &further->attrs[r],
                                          .inputs = &further->first,
                                          .n_inputs = 1 });
    }
    return (ebb_node){ graph, first };

out_of_memory:
    ebb_graph_fail(graph, EBB_OUT_OF_MEMORY, "%s: out of memory at node %u", op->name,
                   graph->n_nodes + 1);
    return none;
}

static void fill_results(ebb_node first, int n_results, ebb_node *results)
{
    for (int r = 0; results && r < n_results; r++)
        results[r] = (ebb_node){ first.graph, first.id ? first.id + (uint32_t)r : 0 };
}

static bool op_is_usable(const ebb_op *op)
{
    return op && op->name && op->infer && op->n_results >= 1 && op->n_results <= EBB_MAX_RESULTS &&
           op->attrs_bytes <= MAX_ATTRS_BYTES && !op->attrs_bytes == !op->attrs;
}

ebb_node ebb_emit(ebb_graph *graph, const ebb_op *op, const ebb_node *inputs, int n_inputs,
                  const void *attrs, ebb_node *results)
{
    for (int i = 0; !graph && i < n_inputs; i++)
        graph = inputs[i].graph;
    ebb_node none = { graph, 0 };
    int n_results = op && op->n_results > 0 && op->n_results <= EBB_MAX_RESULTS ? op->n_results : 0;
    fill_results(none, n_results, results);
    if (!graph || graph->error.status)
        return none;
    if (!op_is_usable(op))
        return ebb_graph_fail(graph, EBB_BAD_ARGUMENT,
                              "%s: the op descriptor needs name, infer, 1 to %d results, and "
                              "attributes of at most %d bytes with a field table",
                              op && op->name ? op->name : "?", EBB_MAX_RESULTS, MAX_ATTRS_BYTES);
    for (int i = 0; i < n_inputs; i++) {
        char text[EBB_NODE_TEXT_BYTES];
        if (inputs[i].graph && inputs[i].graph != graph)
            return ebb_graph_fail(
                graph, EBB_BAD_NODE, "%s: input %d (%s) belongs to graph \"%s\", not to \"%s\"",
                op->name, i, ebb_node_text(inputs[i], text), inputs[i].graph->name, graph->name);
        if (!inputs[i].id || inputs[i].id > graph->n_nodes)
            return ebb_graph_fail(graph, EBB_BAD_NODE, "%s: input %d is the none node", op->name,
                                  i);
    }
    if (op->n_inputs == EBB_VARIADIC ? n_inputs < 1 : n_inputs != op->n_inputs)
        return ebb_graph_fail(graph, EBB_BAD_ARGUMENT, "%s: has %d inputs, given %d", op->name,
                              op->n_inputs == EBB_VARIADIC ? 1 : op->n_inputs, n_inputs);
    static const union {
        char bytes[MAX_ATTRS_BYTES];
        max_align_t align;
    } zero = { { 0 } };
    emit_key key = { op, op->attrs_bytes && !attrs ? zero.bytes : attrs, inputs, n_inputs, 0 };
    key.hash = hash_key(&key);
    ebb_node node = none;
    if (!(op->traits & EBB_TRAIT_UNIQUE))
        node.id = ebb_id_table_find(&graph->shared, graph, key.hash, node_matches, &key);
    if (!node.id)
        node = emit_checked(graph, &key);
    fill_results(node, n_results, results);
    return node;
}
