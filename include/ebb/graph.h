/* The graph: an append-only list of nodes in an arena. A node is one tensor value; its id is its
 * place in a topological order (1, 2, ...). Equal nodes (same op, attributes and inputs) are shared
 * when they are made.
 *
 * Errors are sticky: the first bad call is recorded in the graph with op, operands and the caller's
 * file and line; it and all later calls return a none node. Look once, at the end
 * (ebb_graph_status), or let ebb_gradients and ebb_compile report it. A graph is used by one thread
 * at a time. */
#ifndef EBB_GRAPH_H
#define EBB_GRAPH_H

#include <ebb/tensor.h>
#include <stdio.h>

EBB_BEGIN

typedef struct ebb_graph ebb_graph;
typedef struct ebb_op ebb_op;

/* A handle, passed by value. id 0 is the none node: what a failed call returns. */
typedef struct ebb_node {
    ebb_graph *graph;
    uint32_t id;
} ebb_node;

#ifdef __cplusplus
#define EBB_NONE (ebb_node{})
#else
#define EBB_NONE ((ebb_node){ 0 })
#endif

static inline bool ebb_node_is_none(ebb_node node)
{
    return node.id == 0;
}

/* ---- making and destroying ---- */

typedef struct ebb_graph_options {
    const ebb_allocator *allocator; /* must outlive the graph; NULL: the C heap */
    ebb_logger log;
} ebb_graph_options;

/* `name` is copied; NULL is "graph". Returns NULL only when memory is out; NULL is then accepted by
 * every function of this header. */
EBB_API ebb_graph *ebb_graph_create(const char *name);
EBB_API ebb_graph *ebb_graph_create_with(const char *name, const ebb_graph_options *options);
EBB_API void ebb_graph_destroy(ebb_graph *graph);

/* The first error, or EBB_OK. NULL: OUT_OF_MEMORY. */
EBB_API ebb_status ebb_graph_status(const ebb_graph *graph);
/* The text of that error; without one, the text of the last call that failed on this graph
 * (ebb_gradients, ebb_compile, ...); else "". Valid until the next call on the graph. */
EBB_API const char *ebb_graph_message(const ebb_graph *graph);

/* ---- where the caller stands: used by the builder macros, so that errors name the user's file and
 * line ---- */
EBB_API ebb_graph *ebb_graph_at(ebb_graph *graph, const char *file, int line);
EBB_API ebb_node ebb_node_at(ebb_node node, const char *file, int line);
#ifdef EBB_NO_LOCATIONS /* inside the library: keep the location of the user's call */
#define EBB_AT(node) (node)
#define EBB_GRAPH_AT(graph) (graph)
#else
#define EBB_AT(node) ebb_node_at(node, __FILE__, __LINE__)
#define EBB_GRAPH_AT(graph) ebb_graph_at(graph, __FILE__, __LINE__)
#endif

/* ---- names and scopes ---- */

/* Names inside are "block1/x". `name` has 1..200 bytes of letters, digits and _ . - ( ) and no '/';
 * a bad name is a sticky BAD_NAME error, as is a pop without a push. */
EBB_API void ebb_scope_push(ebb_graph *graph, const char *name);
EBB_API void ebb_scope_pop(ebb_graph *graph);
/* Gives a node a name for messages, DOT and text, in the current scope; the first name stays.
 * Returns `node`. (Inputs and variables have their name from the start; theirs are unique.) */
EBB_API ebb_node ebb_named(ebb_node node, const char *name);
/* The input or variable of this full name ("block1/fc1/w"), or none. */
EBB_API ebb_node ebb_graph_find(const ebb_graph *graph, const char *full_name);

/* ---- updates ---- */

/* After each run of an executable that applies updates, `variable` holds `value` (same type). All
 * updates see the values from before the run. Sticky errors: BAD_NODE (not a variable), BAD_SHAPE,
 * BAD_DTYPE, BAD_ARGUMENT (second update of the variable). */
EBB_API void ebb_update(ebb_node variable, ebb_node value);
#define ebb_update(variable, value) ebb_update(EBB_AT(variable), value)
EBB_API int64_t ebb_graph_n_updates(const ebb_graph *graph);
/* 0 <= index < n; returns false (and none nodes) otherwise. */
EBB_API bool ebb_graph_update(const ebb_graph *graph, int64_t index, ebb_node *variable,
                              ebb_node *value);

/* What a node is there for; DOT colours by it. New nodes get the graph's current phase. */
typedef enum ebb_phase { EBB_FORWARD, EBB_BACKWARD, EBB_UPDATE } ebb_phase;
/* Returns the phase until now. ebb_gradients and update rules set and restore it. */
EBB_API ebb_phase ebb_graph_set_phase(ebb_graph *graph, ebb_phase phase);

/* ---- looking ---- */

EBB_API const char *ebb_graph_name(const ebb_graph *graph);
/* Ids run from 1 to this number. */
EBB_API uint32_t ebb_graph_n_nodes(const ebb_graph *graph);
/* none if there is no such id. */
EBB_API ebb_node ebb_graph_node(const ebb_graph *graph, uint32_t id);
EBB_API bool ebb_graph_owns(const ebb_graph *graph, ebb_node node);

/* For a none node: an invalid type (EBB_NO_DTYPE), NULL op, no inputs. Pointers live as long as the
 * graph. */
EBB_API const ebb_type *ebb_node_type(ebb_node node);
EBB_API const ebb_op *ebb_node_op(ebb_node node);
EBB_API const void *ebb_node_attrs(ebb_node node);
EBB_API int ebb_node_n_inputs(ebb_node node);
EBB_API ebb_node ebb_node_input(ebb_node node, int index);
EBB_API const uint32_t *ebb_node_input_ids(ebb_node node);
EBB_API ebb_phase ebb_node_phase(ebb_node node);
/* Own name without scopes, "" if it has none. */
EBB_API const char *ebb_node_name(ebb_node node);
/* Scope of the node with a trailing slash, "block1/fc1/"; "" at the top. */
EBB_API const char *ebb_node_scope(ebb_node node);
/* File and line of the call that made it; NULL and 0 if not known. */
EBB_API const char *ebb_node_file(ebb_node node, int *line);

#define EBB_NODE_TEXT_BYTES 320
/* For messages: "fc1/w f32[784,50]", or "%12 f32[3]" without a name. Returns `text`. */
EBB_API const char *ebb_node_text(ebb_node node, char text[EBB_NODE_TEXT_BYTES]);

/* ---- checking and writing ---- */

/* Checks every invariant (ids ascending, types as inferred, names unique, updates well-typed).
 * Anything it finds is a defect of whoever built the graph by other means than builders. */
EBB_NODISCARD EBB_API ebb_status ebb_graph_verify(const ebb_graph *graph, ebb_error *error);

/* The text form, one node a line: `%3 = matmul %1 %2 : f32[64,48]`; ebb_graph_parse (ops.h) reads
 * it back to the same graph. Attributes stand in braces by name, debug names and scopes behind @,
 * phases behind !. Errors: IO. */
EBB_NODISCARD EBB_API ebb_status ebb_graph_print(const ebb_graph *graph, FILE *out);

/* What an edge of the drawing says: writes at most `text_bytes` with the zero. */
typedef void (*ebb_edge_label)(void *context, ebb_node node, char *text, size_t text_bytes);

typedef struct ebb_dot_options {
    ebb_edge_label edge_label; /* NULL: the type of the value */
    ebb_edge_label node_label; /* extra line inside the node's box; NULL: none */
    void *context;
    const ebb_node *outputs; /* drawn with a double border */
    int n_outputs;
} ebb_dot_options;

/* Graphviz: forward, backward and update nodes by colour, a cluster a scope. `options` may be NULL.
 * Errors: IO. */
EBB_NODISCARD EBB_API ebb_status ebb_graph_write_dot(const ebb_graph *graph, FILE *out,
                                                     const ebb_dot_options *options);

EBB_END

#endif
