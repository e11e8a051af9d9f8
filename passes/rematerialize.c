/* rematerialize: the backward part gets copies of forward nodes in place of values that would have
 * to be kept for it.
 *
 * Late nodes are those of the phase backward, and what depends on them; all others are early. For
 * each early op it is decided, in the order of ids, whether late nodes see its results or copies:
 * copies if the op may be computed again and what must be kept for that is less than the results.
 * Nodes of updates may not: they run as early as they can, and copies of what they make of
 * variables alone (momenta) would hold them back, and the gradients with them. Copies are made in
 * front of the first late node that needs one, from kept values behind the op `after`: so that they
 * are not shared with the originals, and fuse with what stands there. */
#define EBB_NO_LOCATIONS
#include "passes/rematerialize.h"
#include "graph/graph_build.h"
#include "ops/build.h"
#include "ops/descriptors.h"

#include <string.h>

/* A value of fewer bytes is not worth a step, nor is one of a smaller part of all that is kept: so
 * graphs of very many small nodes stay as they are. */
#define LARGE_VALUE ((size_t)256 << 10)
#define LARGE_PART 1000
/* As passes over the memory that they save: batch_norm and relu have 4, a residual between 7. */
#define MOST_PASSES 5.0
/* Operations in the time of a byte of memory traffic: about 12 on one core with AVX-512. */
#define FLOPS_PER_BYTE 12.0

/* ---- after ---- */

static ebb_status infer_after(const ebb_infer *infer)
{
    infer->results[0] = *infer->inputs[0];
    return EBB_OK;
}

static bool view_after(const ebb_view *view)
{
    *view->result_layout = *view->input_layout;
    return true;
}

const ebb_op ebb_op_after = {
    .name = "after",
    .summary = "x, to be used only when another value is there",
    .group = "shape",
    .n_inputs = 2,
    .n_results = 1,
    .traits = EBB_TRAIT_VIEW,
    .infer = infer_after,
    .eval = ebb_view_eval,
    .view = view_after,
};

/* ---- what is known of a graph ---- */

static bool is_source(ebb_node node)
{
    return ebb_node_op(node)->traits & EBB_TRAIT_SOURCE;
}

static bool is_view(ebb_node node)
{
    const ebb_op *op = ebb_node_op(node);
    return op->view && op->n_results == 1 && ebb_node_n_inputs(node) >= 1;
}

static bool is_result(ebb_node node)
{
    return ebb_node_op(node) == &ebb_op_result;
}

static ebb_recompute class_of(const ebb_op *op)
{
    static const ebb_op *const dear[] = {
        &ebb_op_matmul,           &ebb_op_conv,
        &ebb_op_conv_input_grad,  &ebb_op_conv_weight_grad,
        &ebb_op_attention,        &ebb_op_attention_grad,
        &ebb_op_masked_attention, &ebb_op_conv_weight_bias_grad,
    };
    for (size_t i = 0; i < sizeof dear / sizeof *dear; i++)
        if (op == dear[i])
            return EBB_RECOMPUTE_ALL;
    return op->traits & EBB_TRAIT_ELEMENTWISE ? EBB_RECOMPUTE_ELEMENTWISE : EBB_RECOMPUTE_CHEAP;
}

/* ---- the pass ---- */

typedef struct record {
    size_t bytes;   /* of a value with memory of its own */
    size_t need;    /* bytes that must be kept so that late nodes can have the value */
    uint32_t root;  /* the node whose memory the value lies in */
    uint32_t end;   /* of a root: the last early node that reads it */
    uint32_t copy;  /* in the new graph; 0: none */
    uint32_t guard; /* in the new graph: `after` of the value; 0: none */
    bool is_needed, is_late;
    bool has_late_use; /* of a root, by a late node */
    bool is_again;     /* late nodes get a copy; of an op's first result */
    bool is_wanted;    /* by the copy of another op; likewise */
    bool is_open;      /* with most_more: late nodes do not read it, copies of it may be made */
} record;

typedef struct rematerialize {
    const ebb_rematerialize *options;
    const ebb_graph *from;
    ebb_graph *to;
    const ebb_allocator *allocator;
    record *records;
    size_t n_ids;
    size_t *alive;  /* by id: bytes of early values that early nodes still read behind it */
    uint32_t *cuts; /* last ids of the segments, ascending */
    int n_cuts;
    uint32_t split; /* ids above: only what is cheap is computed again */
    size_t kept;    /* bytes that late nodes read */
    double spent;   /* work of the copies, with most_more */
    uint32_t *map, *stack;
    ebb_node *inputs;
    size_t most_inputs;
    uint32_t
        trigger; /* in the new graph: the last node that is computed, and is not element-wise */
    ebb_rematerialize_cost *cost;
} rematerialize;

static ebb_node node_at(const rematerialize *r, uint32_t id)
{
    return ebb_graph_node(r->from, id);
}

static double work_of(ebb_node node)
{
    if (is_source(node) || is_view(node) || is_result(node))
        return 0;
    double bytes = 0;
    for (int i = 0; i < ebb_node_n_inputs(node); i++)
        bytes += (double)ebb_type_bytes(ebb_node_type(ebb_node_input(node, i)));
    for (int i = 0; i < ebb_node_op(node)->n_results; i++)
        bytes += (double)ebb_type_bytes(ebb_node_type(ebb_node_result(node, i)));
    const double flops = ebb_node_flops(node) / FLOPS_PER_BYTE;
    return flops > bytes ? flops : bytes;
}

/* The first result of the op whose value lies behind this one. */
static uint32_t op_behind(const rematerialize *r, uint32_t id)
{
    const ebb_node root = node_at(r, r->records[id].root);
    return is_result(root) ? ebb_node_input_ids(root)[0] : root.id;
}

static void look_at_nodes(rematerialize *r, const uint8_t *used)
{
    for (uint32_t id = 1; id < r->n_ids; id++) {
        record *own = &r->records[id];
        const ebb_node node = node_at(r, id);
        if (!(own->is_needed = used[id]))
            continue;
        const uint32_t *inputs = ebb_node_input_ids(node);
        const int n = ebb_node_n_inputs(node);
        if ((size_t)n > r->most_inputs)
            r->most_inputs = (size_t)n;
        own->is_late = ebb_node_phase(node) == EBB_BACKWARD;
        for (int i = 0; i < n; i++)
            own->is_late |= r->records[inputs[i]].is_late;
        own->root = is_view(node) ? r->records[inputs[0]].root : id;
        if (own->root == id && !is_source(node))
            own->bytes = ebb_type_bytes(ebb_node_type(node));
        r->cost->work += work_of(node);
        if (is_view(node) || is_result(node))
            continue;
        for (int i = 0; i < n; i++) {
            record *root = &r->records[r->records[inputs[i]].root];
            if (own->is_late)
                root->has_late_use = true;
            else
                root->end = id;
        }
    }
}

/* ---- segments ---- */

/* Where least lives, once near each n-th part of the bytes that the forward part computes. */
static void find_cuts(rematerialize *r)
{
    const int n = r->options->what == EBB_RECOMPUTE_ALL ? r->options->n_segments : 0;
    size_t total = 0, seen = 0, live = 0;
    r->split = UINT32_MAX;
    if (n < 2)
        return;
    memset(r->alive, 0, (r->n_ids + 1) * sizeof *r->alive);
    for (uint32_t id = 1; id < r->n_ids; id++) { /* differences wrap around, their sums do not */
        const record *own = &r->records[id];
        if (!own->is_needed || own->is_late || own->end <= id)
            continue;
        total += own->bytes;
        r->alive[id] += own->bytes;
        r->alive[own->end] -= own->bytes;
    }
    size_t least = SIZE_MAX;
    uint32_t best = 0;
    for (uint32_t id = 1; id < r->n_ids; id++) {
        const record *own = &r->records[id];
        live += r->alive[id];
        if (!own->is_needed || own->is_late || own->end <= id)
            continue;
        seen += own->bytes;
        const double at = (double)seen / (double)total * n; /* cut k is sought from k - 1/2 on */
        if (r->n_cuts < n - 1 && at >= r->n_cuts + 1.5 && best) {
            r->cuts[r->n_cuts++] = best;
            best = 0;
            least = SIZE_MAX;
        }
        if (at >= r->n_cuts + 0.5 && live < least) {
            least = live;
            best = id;
        }
    }
    if (r->n_cuts < n - 1 && best)
        r->cuts[r->n_cuts++] = best;
    const int k = r->options->n_recomputed;
    if (k > 0 && k <= r->n_cuts)
        r->split = r->cuts[k - 1];
}

/* True if early nodes of a later segment read the value. */
static bool is_kept(const rematerialize *r, uint32_t id)
{
    int low = 0, high = r->n_cuts;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        if (r->cuts[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < r->n_cuts && r->records[id].end > r->cuts[low];
}

/* ---- decisions ---- */

static bool may_recompute(const rematerialize *r, ebb_node node)
{
    const ebb_op *op = ebb_node_op(node);
    ebb_recompute most = r->options->what;
    if (op->traits & (EBB_TRAIT_SOURCE | EBB_TRAIT_FALLIBLE | EBB_TRAIT_UNIQUE) ||
        ebb_node_phase(node) == EBB_UPDATE)
        return false;
    for (int i = 0; i < op->n_results; i++)
        if (is_kept(r, node.id + (uint32_t)i))
            return false;
    if (most == EBB_RECOMPUTE_ALL && node.id > r->split)
        most = EBB_RECOMPUTE_CHEAP;
    return class_of(op) <= most;
}

/* The bytes that must be kept so that the op can be computed by late nodes. */
static size_t bytes_needed(const rematerialize *r, ebb_node node)
{
    const uint32_t *inputs = ebb_node_input_ids(node);
    size_t bytes = 0;
    for (int i = 0; i < ebb_node_n_inputs(node); i++) {
        bool is_repeated = false;
        for (int j = 0; j < i && !is_repeated && i < 8; j++)
            is_repeated = inputs[j] == inputs[i];
        if (!is_repeated)
            bytes += r->records[r->records[inputs[i]].root].need;
    }
    return bytes;
}

static void decide(rematerialize *r, ebb_node node)
{
    const uint32_t n_results = (uint32_t)ebb_node_op(node)->n_results;
    const size_t extra = bytes_needed(r, node);
    size_t saved = 0, all = 0;
    for (uint32_t id = node.id; id < node.id + n_results; id++) {
        saved += r->records[id].has_late_use ? r->records[id].bytes : 0;
        all += r->records[id].bytes;
    }
    const bool is_again = may_recompute(r, node) && extra < (saved ? saved : all);
    r->records[node.id].is_again = is_again;
    for (uint32_t id = node.id; id < node.id + n_results; id++) {
        record *own = &r->records[id];
        if (is_again)
            own->need = saved ? 0 : extra;
        else
            own->need = own->has_late_use || is_kept(r, id) ? 0 : own->bytes;
    }
}

/* ---- decisions with most_more ---- */

/* The node whose copy a copy of this op reads for its input `index`; 0: what is kept. */
static uint32_t link_of(const rematerialize *r, ebb_node node, int index)
{
    const uint32_t id = ebb_node_input_ids(node)[index];
    return r->records[r->records[id].root].is_open ? op_behind(r, id) : 0;
}

/* Copies of copies would be there from the first on: what becomes a copy is needed in full by those
 * behind it. `work`, by id: of the copy and of those that it takes. */
static void decide_bounded(rematerialize *r, ebb_node node, double *work)
{
    const uint32_t n_results = (uint32_t)ebb_node_op(node)->n_results;
    const size_t extra = bytes_needed(r, node);
    const bool may = may_recompute(r, node);
    size_t saved = 0;
    work[node.id] = work_of(node);
    for (int i = 0; i < ebb_node_n_inputs(node); i++) {
        const uint32_t link = link_of(r, node, i);
        work[node.id] += link ? work[link] : 0;
    }
    for (uint32_t id = node.id; id < node.id + n_results; id++)
        saved += r->records[id].has_late_use ? r->records[id].bytes : 0;
    const bool is_again = may && extra < saved && saved >= LARGE_VALUE &&
                          saved >= r->kept / LARGE_PART &&
                          work[node.id] <= MOST_PASSES * (double)saved &&
                          r->spent + work[node.id] <= r->options->most_more * r->cost->work;
    r->records[node.id].is_again = is_again;
    r->spent += is_again ? work[node.id] : 0;
    for (uint32_t id = node.id; id < node.id + n_results; id++) {
        record *own = &r->records[id];
        own->is_open = !own->has_late_use && may && extra < own->bytes;
        if (own->has_late_use)
            own->need = is_again ? own->bytes : 0;
        else
            own->need = own->is_open ? extra : own->bytes;
    }
}

/* What the copies are made of on the way from what is kept. */
static void want_links(rematerialize *r)
{
    for (uint32_t id = (uint32_t)r->n_ids - 1; id > 0; id--) {
        record *own = &r->records[id];
        own->is_again |= own->is_wanted;
        if (!own->is_again)
            continue;
        const ebb_node node = node_at(r, id);
        for (int i = 0; i < ebb_node_n_inputs(node); i++) {
            const uint32_t link = link_of(r, node, i);
            if (link)
                r->records[link].is_wanted = true;
        }
    }
}

static bool is_decided(const rematerialize *r, uint32_t id)
{
    const record *own = &r->records[id];
    const ebb_node node = node_at(r, id);
    return own->is_needed && !own->is_late && !is_source(node) && !is_view(node) &&
           !is_result(node);
}

static ebb_status decide_all(rematerialize *r, bool *any)
{
    const bool is_bounded = r->options->most_more > 0;
    const size_t bytes = is_bounded ? r->n_ids * sizeof(double) : 0;
    double *work = ebb_allocate(r->allocator, bytes);
    if (!work)
        return EBB_OUT_OF_MEMORY;
    for (uint32_t id = 1; id < r->n_ids; id++)
        r->kept += r->records[id].has_late_use ? r->records[id].bytes : 0;
    for (uint32_t id = 1; id < r->n_ids; id++) {
        if (!is_decided(r, id))
            continue;
        if (is_bounded)
            decide_bounded(r, node_at(r, id), work);
        else
            decide(r, node_at(r, id));
        *any |= r->records[id].is_again;
    }
    if (is_bounded && *any)
        want_links(r);
    ebb_release(r->allocator, work, bytes);
    return EBB_OK;
}

/* ---- the new graph ---- */

static void note_trigger(rematerialize *r, ebb_node old, ebb_node made)
{
    if (!is_source(old) && !is_view(old) && class_of(ebb_node_op(old)) > EBB_RECOMPUTE_ELEMENTWISE)
        r->trigger = made.id;
}

/* A late node reads this value of the old graph as a copy. */
static bool wants_copy(const rematerialize *r, uint32_t id)
{
    return !r->records[id].is_late && r->records[op_behind(r, id)].is_again;
}

static ebb_node guard(rematerialize *r, uint32_t id)
{
    record *own = &r->records[id];
    if (!own->guard) {
        const ebb_node x = ebb_graph_node(r->to, r->map[id]);
        const ebb_node pair[2] = { x, r->trigger ? ebb_graph_node(r->to, r->trigger) : x };
        own->guard = ebb_emit(r->to, &ebb_op_after, pair, 2, NULL, NULL).id;
    }
    return ebb_graph_node(r->to, own->guard);
}

/* All inputs have their copies. */
static void emit_copy(rematerialize *r, ebb_node old)
{
    const uint32_t *inputs = ebb_node_input_ids(old);
    const ebb_op *op = ebb_node_op(old);
    const int n = ebb_node_n_inputs(old);
    ebb_node results[EBB_MAX_RESULTS];
    bool is_new = false;
    for (int i = 0; i < n; i++) {
        const ebb_node input = node_at(r, inputs[i]);
        if (r->records[inputs[i]].copy) {
            r->inputs[i] = ebb_graph_node(r->to, r->records[inputs[i]].copy);
        } else if (is_source(node_at(r, r->records[input.id].root))) {
            r->inputs[i] = ebb_graph_node(r->to, r->map[inputs[i]]);
            continue;
        } else {
            r->inputs[i] = guard(r, inputs[i]);
        }
        is_new = true;
    }
    if (!is_new && n > 0)
        r->inputs[0] = guard(r, inputs[0]);
    ebb_graph_stand_at(r->to, old); /* names are unique: it keeps its own */
    ebb_graph_set_phase(r->to, EBB_BACKWARD);
    ebb_emit(r->to, op, r->inputs, n, op->attrs_bytes ? ebb_node_attrs(old) : NULL, results);
    for (int i = 0; i < op->n_results && !ebb_graph_status(r->to); i++)
        r->records[old.id + (uint32_t)i].copy = results[i].id;
    r->cost->n_nodes += !is_view(old);
    r->cost->more += work_of(old);
}

/* Makes a copy of the value, and of all that this takes. An item waits at most once at a time. */
static void request_copy(rematerialize *r, uint32_t wanted)
{
    size_t depth = 0;
    r->stack[depth++] = wanted;
    while (depth > 0 && !ebb_graph_status(r->to)) {
        ebb_node node = node_at(r, r->stack[depth - 1]);
        if (is_result(node))
            node = node_at(r, ebb_node_input_ids(node)[0]);
        const uint32_t *inputs = ebb_node_input_ids(node);
        uint32_t missing = 0;
        for (int i = 0; i < ebb_node_n_inputs(node) && !missing; i++) {
            if (!r->records[inputs[i]].copy && wants_copy(r, inputs[i]))
                missing = inputs[i];
        }
        if (missing) {
            r->stack[depth++] = missing;
            continue;
        }
        if (!r->records[node.id].copy)
            emit_copy(r, node);
        depth--;
    }
}

static void emit_node(rematerialize *r, ebb_node old)
{
    const ebb_op *op = ebb_node_op(old);
    const uint32_t *inputs = ebb_node_input_ids(old);
    const bool is_late = r->records[old.id].is_late;
    ebb_node results[EBB_MAX_RESULTS];
    for (int i = 0; i < ebb_node_n_inputs(old) && is_late; i++) {
        if (!r->records[inputs[i]].copy && wants_copy(r, inputs[i]))
            request_copy(r, inputs[i]);
    }
    for (int i = 0; i < ebb_node_n_inputs(old); i++) {
        const uint32_t copy = is_late ? r->records[inputs[i]].copy : 0;
        r->inputs[i] = ebb_graph_node(r->to, copy ? copy : r->map[inputs[i]]);
    }
    ebb_graph_copy_node(r->to, old, r->inputs, results);
    for (int i = 0; i < op->n_results && !ebb_graph_status(r->to); i++)
        r->map[old.id + (uint32_t)i] = results[i].id;
    note_trigger(r, old, results[0]);
}

static void emit_all(rematerialize *r)
{
    for (uint32_t id = 1; id < r->n_ids && !ebb_graph_status(r->to); id++) {
        if (r->records[id].is_needed && !is_result(node_at(r, id)))
            emit_node(r, node_at(r, id));
    }
    const int64_t n_updates = r->options->keep_updates ? ebb_graph_n_updates(r->from) : 0;
    for (int64_t i = 0; i < n_updates && !ebb_graph_status(r->to); i++) {
        ebb_node variable, value;
        ebb_graph_update(r->from, i, &variable, &value);
        ebb_update(ebb_graph_node(r->to, r->map[variable.id]),
                   ebb_graph_node(r->to, r->map[value.id]));
    }
}

static ebb_status make_graph(rematerialize *r, ebb_error *error)
{
    r->stack = ebb_allocate(r->allocator, r->n_ids * sizeof *r->stack);
    r->inputs = ebb_allocate(r->allocator, r->most_inputs * sizeof *r->inputs);
    r->to = ebb_graph_create_like(r->from);
    ebb_status status = EBB_OUT_OF_MEMORY;
    if (r->stack && r->inputs && r->to) {
        memset(r->map, 0, r->n_ids * sizeof *r->map);
        emit_all(r);
        status = ebb_graph_status(r->to);
        if (status && status != EBB_OUT_OF_MEMORY)
            ebb_fail(error, status == EBB_LIMIT ? status : EBB_INTERNAL, "pass rematerialize: %s",
                     ebb_graph_message(r->to));
    }
    ebb_release(r->allocator, r->inputs, r->most_inputs * sizeof *r->inputs);
    ebb_release(r->allocator, r->stack, r->n_ids * sizeof *r->stack);
    return status;
}

ebb_status ebb_rematerialize_run(const ebb_rematerialize *options, const ebb_graph *graph,
                                 const ebb_node *outputs, int64_t n_outputs, ebb_graph **result,
                                 uint32_t *map, ebb_rematerialize_cost *cost, ebb_error *error)
{
    const size_t n_ids = (size_t)ebb_graph_n_nodes(graph) + 1;
    const size_t n_cuts = options->n_segments > 0 ? (size_t)options->n_segments : 0;
    rematerialize r = { .options = options,
                        .from = graph,
                        .allocator = ebb_graph_allocator(graph),
                        .n_ids = n_ids,
                        .map = map,
                        .cost = cost };
    bool any = false;
    *result = NULL;
    *cost = (ebb_rematerialize_cost){ 0 };
    r.records = ebb_allocate(r.allocator, n_ids * sizeof *r.records);
    r.alive = ebb_allocate(r.allocator, (n_ids + 1) * sizeof *r.alive);
    r.cuts = ebb_allocate(r.allocator, n_cuts * sizeof *r.cuts);
    uint8_t *used = ebb_allocate(r.allocator, n_ids);
    ebb_status status = r.records && r.alive && r.cuts && used ? EBB_OK : EBB_OUT_OF_MEMORY;
    if (!status) {
        memset(used, 0, n_ids);
        ebb_graph_mark_kept(graph, outputs, n_outputs, options->keep_updates, used, NULL);
        memset(r.records, 0, n_ids * sizeof *r.records);
        look_at_nodes(&r, used);
        find_cuts(&r);
        status = decide_all(&r, &any);
        if (!status && any)
            status = make_graph(&r, error);
    }
    if (status == EBB_OUT_OF_MEMORY)
        ebb_fail(error, status, "pass rematerialize: out of memory");
    ebb_release(r.allocator, used, n_ids);
    ebb_release(r.allocator, r.cuts, n_cuts * sizeof *r.cuts);
    ebb_release(r.allocator, r.alive, (n_ids + 1) * sizeof *r.alive);
    ebb_release(r.allocator, r.records, n_ids * sizeof *r.records);
    if (status)
        ebb_graph_destroy(r.to);
    else
        *result = r.to;
    return status;
}
