/* Names and scopes. */
#include "graph/graph_private.h"

#include <stdio.h>
#include <string.h>

bool ebb_name_is_valid(const char *name, size_t length)
{
    if (length == 0 || length > MAX_NAME_BYTES)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (!c || !strchr("_.-()", c)))
            return false;
    }
    return true;
}

bool ebb_full_name_is_valid(const char *name)
{
    const char *slash;
    for (; name && (slash = strchr(name, '/')); name = slash + 1) {
        if (!ebb_name_is_valid(name, (size_t)(slash - name)))
            return false;
    }
    return name && ebb_name_is_valid(name, strlen(name));
}

typedef struct path_key {
    const char *path;
    size_t length;
} path_key;

static bool scope_matches(const ebb_graph *graph, uint32_t id, const void *key_pointer)
{
    const path_key *key = key_pointer;
    const char *path = graph->scopes[id].path;
    return strlen(path) == key->length && memcmp(path, key->path, key->length) == 0;
}

/* Adds the scope `path` below `parent`; UINT32_MAX when memory is out or it is too deep. */
static uint32_t add_scope(ebb_graph *graph, path_key key, uint32_t parent)
{
    int depth = graph->scopes[parent].depth + 1;
    if (depth > MAX_SCOPE_DEPTH) {
        ebb_graph_fail(graph, EBB_LIMIT, "scope \"%.*s\": more than %d scopes deep",
                       (int)key.length, key.path, MAX_SCOPE_DEPTH);
        return UINT32_MAX;
    }
    const char *copy = ebb_arena_copy_text(&graph->arena, key.path, key.length);
    if (!copy || !ebb_grow(graph->allocator, &graph->scopes, graph->n_scopes,
                           &graph->scopes_capacity, sizeof *graph->scopes))
        return UINT32_MAX;
    graph->scopes[graph->n_scopes] = (scope_record){ copy, parent, depth };
    if (!ebb_id_table_add(&graph->scope_table, graph->allocator,
                          ebb_hash_bytes(3, copy, key.length), graph->n_scopes))
        return UINT32_MAX;
    return graph->n_scopes++;
}

uint32_t ebb_scope_intern(ebb_graph *graph, const char *path, size_t length)
{
    uint32_t scope = 0;
    for (size_t end = 0; end < length; end++) {
        if (path[end] != '/')
            continue;
        path_key key = { path, end + 1 };
        uint32_t found = ebb_id_table_find(
            &graph->scope_table, graph, ebb_hash_bytes(3, path, key.length), scope_matches, &key);
        scope = found ? found : add_scope(graph, key, scope);
        if (scope == UINT32_MAX)
            return scope;
    }
    return scope;
}

/* A full name made of scope prefix and own name, in the arena; NULL and a sticky error if it is not
 * one. */
static char *join_name(ebb_graph *graph, const char *what, const char *name, const char *suffix)
{
    if (!name || !ebb_name_is_valid(name, strlen(name))) {
        ebb_graph_fail(graph, EBB_BAD_NAME,
                       "%s: \"%.60s\" is no name: 1 to %d letters, digits and _ . - ( )", what,
                       name ? name : "(null)", MAX_NAME_BYTES);
        return NULL;
    }
    const char *prefix = graph->scopes[graph->scope].path;
    size_t bytes = strlen(prefix) + strlen(name) + strlen(suffix) + 1;
    char *full = ebb_arena_allocate(&graph->arena, bytes, 1);
    if (full)
        snprintf(full, bytes, "%s%s%s", prefix, name, suffix);
    else
        ebb_graph_fail(graph, EBB_OUT_OF_MEMORY, "%s: out of memory", what);
    return full;
}

const char *ebb_graph_full_name(ebb_graph *graph, const char *name)
{
    return graph && !graph->error.status ? join_name(graph, "name", name, "") : NULL;
}

void ebb_scope_push(ebb_graph *graph, const char *name)
{
    if (!graph || graph->error.status)
        return;
    char *path = join_name(graph, "ebb_scope_push", name, "/");
    if (!path)
        return;
    uint32_t scope = ebb_scope_intern(graph, path, strlen(path));
    if (scope != UINT32_MAX)
        graph->scope = scope;
    else
        ebb_graph_fail(graph, EBB_OUT_OF_MEMORY, "ebb_scope_push: out of memory");
}

void ebb_scope_pop(ebb_graph *graph)
{
    if (!graph || graph->error.status)
        return;
    if (graph->scope == 0)
        ebb_graph_fail(graph, EBB_BAD_NAME, "ebb_scope_pop: no scope is open");
    else
        graph->scope = graph->scopes[graph->scope].parent;
}

ebb_node ebb_named(ebb_node node, const char *name)
{
    ebb_graph *graph = node.graph;
    if (!graph || graph->error.status || !node.id || node.id > graph->n_nodes)
        return node;
    node_record *record = &graph->nodes[node.id];
    if (record->name)
        return node;
    if (!name || !ebb_name_is_valid(name, strlen(name)))
        return ebb_graph_fail(
            graph, EBB_BAD_NAME,
            "ebb_named: \"%.60s\" is no name: 1 to %d letters, digits and _ . - ( )",
            name ? name : "(null)", MAX_NAME_BYTES);
    record->name = ebb_arena_copy_text(&graph->arena, name, strlen(name));
    record->scope = graph->scope;
    if (!record->name)
        return ebb_graph_fail(graph, EBB_OUT_OF_MEMORY, "ebb_named: out of memory");
    return node;
}
