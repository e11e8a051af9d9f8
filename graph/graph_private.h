/* The graph's own data; for the files of graph/ only. */
#ifndef GRAPH_GRAPH_PRIVATE_H
#define GRAPH_GRAPH_PRIVATE_H

#include "graph/arena.h"
#include "graph/graph_build.h"

#define MAX_NAME_BYTES 200
#define MAX_SCOPE_DEPTH 64

typedef struct node_record {
    const ebb_op *op;
    const void *attrs;
    const ebb_type *type;
    const uint32_t *inputs;
    const char *name; /* own name, NULL: none */
    const char *file;
    int32_t line;
    uint32_t hash;
    uint32_t scope; /* index into scopes */
    int32_t n_inputs;
    uint8_t phase;
    bool is_updated;
} node_record;

typedef struct scope_record {
    const char *path; /* "block1/fc1/"; "" for scope 0 */
    uint32_t parent;
    int depth;
} scope_record;

/* Open addressing; id 0 is empty. The hashes stand beside the ids: looking at nodes that do not
 * match would cost a cache miss each. */
typedef struct id_slot {
    uint32_t hash, id;
} id_slot;
typedef struct id_table {
    id_slot *slots;
    uint32_t n_slots, n_used; /* n_slots: 0 or a power of two */
} id_table;

struct ebb_graph {
    const ebb_allocator *allocator;
    ebb_logger log;
    ebb_arena arena;
    const char *name;

    node_record *nodes; /* nodes[0] is the none node */
    uint32_t n_nodes, nodes_capacity;
    id_table shared;  /* node ids by hash of op, attributes, inputs */
    id_table sources; /* node ids of inputs and variables by full name */

    const ebb_type **types; /* interned, ids from 1 */
    uint32_t n_types, types_capacity;
    id_table type_table;

    scope_record *scopes;
    uint32_t n_scopes, scopes_capacity;
    id_table scope_table;
    uint32_t scope; /* current */

    struct update_record {
        uint32_t variable, value;
    } * updates;
    uint32_t n_updates, updates_capacity;

    ebb_phase phase;
    const char *file; /* where the caller stands */
    int line;

    ebb_error error;  /* sticky */
    ebb_error report; /* of the last call that failed without being sticky */
};

/* Makes room for element number `n` of `item_bytes`; false when memory is out (nothing changed). */
bool ebb_grow(const ebb_allocator *allocator, void *array, uint32_t n, uint32_t *capacity,
              size_t item_bytes);

/* Tables: the id of this hash that satisfies `matches`, or 0. */
typedef bool (*id_matches)(const ebb_graph *graph, uint32_t id, const void *key);
uint32_t ebb_id_table_find(const id_table *table, const ebb_graph *graph, uint32_t hash,
                           id_matches matches, const void *key);
/* False when memory is out. */
bool ebb_id_table_add(id_table *table, const ebb_allocator *allocator, uint32_t hash, uint32_t id);
/* Makes room for n ids; false when memory is out (nothing changed). */
bool ebb_id_table_reserve(id_table *table, const ebb_allocator *allocator, uint32_t n);

uint32_t ebb_hash_bytes(uint32_t seed, const void *bytes, size_t n);
static inline uint32_t ebb_hash_u64(uint32_t seed, uint64_t value)
{
    uint64_t h = (value ^ ((uint64_t)seed << 32 | seed)) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(h >> 32) ^ (uint32_t)h;
}

/* A field of an attribute struct, as `type`. */
#define FIELD(attrs, field, type)                                                                  \
    ((const type *)(const void *)((const char *)(attrs) + (field)->offset))

uint32_t ebb_hash_attrs(const ebb_op *op, const void *attrs);
/* Deep copy into the arena; NULL when memory is out. */
const void *ebb_attrs_copy(ebb_arena *arena, const ebb_op *op, const void *attrs);
uint32_t ebb_hash_program(uint32_t seed, const ebb_program *program);
bool ebb_program_equal(const ebb_program *a, const ebb_program *b);
/* Deep copy into the arena; NULL when memory is out. */
const ebb_program *ebb_program_copy(ebb_arena *arena, const ebb_program *program);
/* The full name of a source ("block1/fc1/w"), or NULL if the op declares none. */
const char *ebb_source_name(const ebb_op *op, const void *attrs);
bool ebb_source_has_name(const ebb_op *op);
/* The EBB_ATTR_TYPE field of the op, or NULL. */
const ebb_type *ebb_attrs_type(const ebb_op *op, const void *attrs);

/* The scope of this path (with trailing slash), made if needed; UINT32_MAX when memory is out or it
 * is too deep. */
uint32_t ebb_scope_intern(ebb_graph *graph, const char *path, size_t length);
bool ebb_name_is_valid(const char *name, size_t length);
/* Names with slashes between them; NULL is not valid. */
bool ebb_full_name_is_valid(const char *name);

static inline const node_record *node_get(ebb_node node)
{
    return node.graph && node.id <= node.graph->n_nodes ? &node.graph->nodes[node.id] : NULL;
}

#endif
