/* Rewriting graphs: copying nodes from one graph into another. For passes and for changing dtypes.
 */
#ifndef GRAPH_GRAPH_BUILD_H
#define GRAPH_GRAPH_BUILD_H

#include <ebb/op.h>

/* Emits into `to` the op of `from` (a node of another graph, a first result), with `inputs` (nodes
 * of `to`) in place of its own, the same attributes, scope, phase and location, and
 * the names of all results. results[0..n_results) may be NULL. */
ebb_node ebb_graph_copy_node(ebb_graph *to, ebb_node from, const ebb_node *inputs,
                             ebb_node *results);
/* The same with other attributes, or another op. */
ebb_node ebb_graph_copy_node_as(ebb_graph *to, ebb_node from, const ebb_op *op,
                                const ebb_node *inputs, int n_inputs, const void *attrs,
                                ebb_node *results);
/* New nodes of `to` get scope, phase and location of `from` (a node of another graph) until the
 * next call; its name goes to no one. */
void ebb_graph_stand_at(ebb_graph *to, ebb_node from);

/* What stands behind the last slash: messages name files so. */
const char *ebb_base_name(const char *path);

/* Where building stands (scope, phase, the caller's location), to be restored after building
 * elsewhere. */
typedef struct ebb_place {
    uint32_t scope;
    ebb_phase phase;
    const char *file;
    int line;
} ebb_place;
ebb_place ebb_graph_place(const ebb_graph *graph);
void ebb_graph_return(ebb_graph *graph, ebb_place place);

/* A fresh, empty graph with the name, allocator and logger of `graph`, and room for as many nodes.
 * NULL when memory is out. */
ebb_graph *ebb_graph_create_like(const ebb_graph *graph);
const ebb_allocator *ebb_graph_allocator(const ebb_graph *graph);
ebb_logger ebb_graph_logger(const ebb_graph *graph);
/* Sets what ebb_graph_message returns while there is no sticky error; returns `status`. */
ebb_status ebb_graph_report(ebb_graph *graph, ebb_status status, const char *format, ...)
    EBB_PRINTF(3, 4);

enum { EBB_MARK_UNREAD = 255 };
/* Marks in used[0..n_nodes] (bytes, by id; zeroed by the caller) everything that `outputs` need,
 * further results of an op together with the first: those that nothing reads with
 * EBB_MARK_UNREAD, all else with 1. Linear, without recursion. */
void ebb_graph_mark(const ebb_graph *graph, const ebb_node *outputs, int64_t n_outputs,
                    uint8_t *used);
/* The same for `outputs` and, with `keep_updates`, the variables and values of updates. Adds to
 * n_uses, by id, how often each is one of these; NULL: does not. */
void ebb_graph_mark_kept(const ebb_graph *graph, const ebb_node *outputs, int64_t n_outputs,
                         bool keep_updates, uint8_t *used, uint32_t *n_uses);

/* The op of further results: input 0 is the first result. Such a node stands right behind it. */
extern const ebb_op ebb_op_result;

/* `name` behind the current scope's prefix, in the graph's arena; NULL, and a sticky BAD_NAME
 * error, if it is not a name. For builders of sources. */
const char *ebb_graph_full_name(ebb_graph *graph, const char *name);

/* How ebb_graph_parse finds ops. */
typedef const ebb_op *(*ebb_op_lookup)(void *context, const char *name);
/* Told of every id that the text defines, ascending, and the node it became (equal nodes are
 * shared, so that the ids need not be the same). The node's graph is gone if parsing fails. */
typedef void (*ebb_text_id_seen)(void *context, uint32_t text_id, ebb_node node);
/* `seen` may be NULL. */
ebb_status ebb_graph_parse_with(const char *text, size_t text_bytes, ebb_op_lookup lookup,
                                ebb_text_id_seen seen, void *context,
                                const ebb_allocator *allocator, ebb_graph **graph,
                                ebb_error *error);

#endif
