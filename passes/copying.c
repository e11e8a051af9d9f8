/* The parts of passes that copy a graph node by node. */
#define EBB_NO_LOCATIONS
#include "passes/copying.h"

#include <string.h>

/* Further results name their op as input: that is no use of its first result. */
static void count_uses(ebb_copying *c, uint32_t id)
{
    const ebb_node node = ebb_copying_old(c, id);
    const int n = ebb_node_op(node) == &ebb_op_result ? 0 : ebb_node_n_inputs(node);
    for (int i = 0; i < n; i++)
        c->uses[ebb_copying_inputs(c, id)[i]]++;
}

ebb_status ebb_copying_start(ebb_copying *c, const ebb_node *outputs, int64_t n_outputs)
{
    c->allocator = ebb_graph_allocator(c->from);
    c->n_ids = ebb_graph_n_nodes(c->from) + 1;
    c->uses = ebb_allocate(c->allocator, c->n_ids * sizeof *c->uses);
    c->is_needed = ebb_allocate(c->allocator, c->n_ids);
    const bool done = c->uses && c->is_needed;
    if (done) {
        memset(c->uses, 0, c->n_ids * sizeof *c->uses);
        memset(c->is_needed, 0, c->n_ids);
        ebb_graph_mark_kept(c->from, outputs, n_outputs, c->keep_updates, c->is_needed, c->uses);
        for (uint32_t id = 1; id < c->n_ids; id++)
            if (c->is_needed[id])
                count_uses(c, id);
    }
    return done ? EBB_OK : EBB_OUT_OF_MEMORY;
}

/* The node and its further results, as they are. */
static ebb_status copy_node(ebb_copying *c, uint32_t id)
{
    const ebb_node old = ebb_copying_old(c, id);
    const int n = ebb_node_n_inputs(old);
    const size_t bytes = (size_t)n * sizeof(ebb_node);
    ebb_node results[EBB_MAX_RESULTS], *inputs = ebb_allocate(c->allocator, bytes);
    if (!inputs)
        return EBB_OUT_OF_MEMORY;
    for (int i = 0; i < n; i++)
        inputs[i] = ebb_copying_new(c, ebb_copying_inputs(c, id)[i]);
    ebb_graph_copy_node(c->to, old, inputs, results);
    ebb_release(c->allocator, inputs, bytes);
    for (int r = 0; r < ebb_node_op(old)->n_results && !ebb_graph_status(c->to); r++)
        c->map[id + (uint32_t)r] = results[r].id;
    return ebb_graph_status(c->to);
}

void ebb_copying_name(ebb_copying *c, uint32_t id)
{
    const ebb_node old = ebb_copying_old(c, id);
    if (!*ebb_node_name(old))
        return;
    ebb_graph_stand_at(c->to, old);
    ebb_named(ebb_copying_new(c, id), ebb_node_name(old));
}

static void copy_updates(ebb_copying *c)
{
    const int64_t n = c->keep_updates ? ebb_graph_n_updates(c->from) : 0;
    for (int64_t i = 0; i < n && !ebb_graph_status(c->to); i++) {
        ebb_node variable, value;
        ebb_graph_update(c->from, i, &variable, &value);
        ebb_update(ebb_copying_new(c, variable.id), ebb_copying_new(c, value.id));
    }
}

ebb_status ebb_copying_run(ebb_copying *c, ebb_copying_emit emit, void *context)
{
    memset(c->map, 0, c->n_ids * sizeof *c->map);
    c->to = ebb_graph_create_like(c->from);
    ebb_status status = c->to ? EBB_OK : EBB_OUT_OF_MEMORY;
    for (uint32_t id = 1; id < c->n_ids && !status; id++) {
        if (!c->is_needed[id] || ebb_copying_is(c, id, &ebb_op_result))
            continue;
        status = emit(context, id) ? EBB_OK : copy_node(c, id);
        if (!status)
            status = ebb_graph_status(c->to);
    }
    if (status)
        return status;
    copy_updates(c);
    return ebb_graph_status(c->to);
}

ebb_status ebb_copying_finish(ebb_copying *c, const char *pass, ebb_status status,
                              ebb_graph **result, ebb_error *error)
{
    *result = NULL;
    if (status == EBB_OUT_OF_MEMORY)
        ebb_fail(error, status, "pass %s: out of memory", pass);
    else if (status)
        ebb_fail(error, status == EBB_LIMIT ? status : EBB_INTERNAL, "pass %s: %s", pass,
                 ebb_graph_message(c->to));
    ebb_release(c->allocator, c->uses, c->n_ids * sizeof *c->uses);
    ebb_release(c->allocator, c->is_needed, c->n_ids);
    if (status)
        ebb_graph_destroy(c->to);
    else
        *result = c->to;
    return status;
}
