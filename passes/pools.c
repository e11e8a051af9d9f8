/* Two passes over what stands around max_pool.
 *
 * pools: max_pool(relu(x)) becomes relu(max_pool(x)), and the gradient's mask goes before
 * max_pool_grad: relu and its mask then work on one element a window. Both orders have the same
 * maxima and, where a maximum is positive, the same places; where none is, the mask lets nothing
 * through. So the same bits come out.
 *
 * join: max_pool_grad and the gradients of the convolution before it become one op, which works on
 * the maxima alone; max_pool and the convolution before it become one op, which writes them alone.
 *
 * Not rules, because ops with two results are in it, and all readers must agree. Linear. */
#define EBB_NO_LOCATIONS
#include "passes/pools.h"
#include "graph/graph_build.h"
#include "ops/pool.h"
#include "ops/pooled_conv.h"
#include "passes/constants.h"

#include <string.h>

/* What becomes of an old node. */
typedef enum fate {
    COPIED,
    DROPPED, /* the relu, the comparison with 0, the gradient of the pool */
    POOLED,  /* a max_pool: takes the relu's input, and the relu follows */
    MASKED,  /* a select behind max_pool_grad: now in front of it */
    JOINED   /* a gradient of conv with the max_pool_grad before it, a max_pool with its conv */
} fate;

typedef struct record {
    uint32_t uses, served; /* by needed nodes, outputs, updates; those that would be served */
    uint32_t pool;         /* of a relu: the max_pool behind it */
    fate fate;
    bool is_needed;
} record;

typedef struct pooling {
    const ebb_graph *from;
    ebb_graph *to;
    const ebb_allocator *allocator;
    record *records;
    uint32_t n_ids;
    uint32_t *map;
    bool keep_updates;
} pooling;

static ebb_node node_at(const pooling *p, uint32_t id)
{
    return ebb_graph_node(p->from, id);
}

static const uint32_t *inputs_of(const pooling *p, uint32_t id)
{
    return ebb_node_input_ids(node_at(p, id));
}

static bool is_op(const pooling *p, uint32_t id, const ebb_op *op)
{
    return ebb_node_op(node_at(p, id)) == op;
}

static int64_t count_updates(const pooling *p)
{
    return p->keep_updates ? ebb_graph_n_updates(p->from) : 0;
}

static ebb_status mark_needed(pooling *p, const ebb_node *outputs, int64_t n_outputs)
{
    const int64_t n_roots = n_outputs + 2 * count_updates(p);
    const size_t bytes = (size_t)n_roots * sizeof(ebb_node);
    ebb_node *roots = ebb_allocate(p->allocator, bytes);
    uint8_t *used = ebb_allocate(p->allocator, p->n_ids);
    if (roots && used) {
        if (n_outputs > 0)
            memcpy(roots, outputs, (size_t)n_outputs * sizeof *roots);
        for (int64_t i = 0; i < count_updates(p); i++)
            ebb_graph_update(p->from, i, &roots[n_outputs + 2 * i], &roots[n_outputs + 2 * i + 1]);
        memset(used, 0, p->n_ids);
        ebb_graph_mark(p->from, roots, n_roots, used);
        for (int64_t i = 0; i < n_roots; i++)
            p->records[roots[i].id].uses++;
        for (uint32_t id = 1; id < p->n_ids; id++) {
            p->records[id].is_needed = used[id];
            /* Further results name their op as input: that is no use of its first result. */
            for (int i = 0;
                 used[id] && !is_op(p, id, &ebb_op_result) && i < ebb_node_n_inputs(node_at(p, id));
                 i++)
                p->records[inputs_of(p, id)[i]].uses++;
        }
    }
    const ebb_status status = roots && used ? EBB_OK : EBB_OUT_OF_MEMORY;
    ebb_release(p->allocator, used, p->n_ids);
    ebb_release(p->allocator, roots, bytes);
    return status;
}

/* ---- finding ---- */

static bool is_zero(const pooling *p, uint32_t id)
{
    double value;
    return ebb_splat_value(node_at(p, id), &value) && value == 0 && !__builtin_signbit(value);
}

/* Each window has taps: the maximum of none is no relu of anything. */
static bool has_no_empty_window(const pooling *p, uint32_t id)
{
    const ebb_node node = node_at(p, id);
    ebb_pool pool;
    ebb_pool_read(&ebb_op_max_pool, ebb_node_attrs(node),
                  &ebb_node_type(ebb_node_input(node, 0))->shape, &ebb_node_type(node)->shape,
                  &pool);
    for (int d = 0; d < EBB_MAX_SPATIAL; d++)
        for (int64_t i = 0; i < pool.w.count[d]; i++) {
            int64_t first, last;
            ebb_window_taps(&pool.w, d, i, &first, &last);
            if (first >= last)
                return false;
        }
    return true;
}

static void find_pool(pooling *p, uint32_t id)
{
    const uint32_t relu = inputs_of(p, id)[0];
    if (!is_op(p, relu, &ebb_op_relu) || p->records[relu].pool || !has_no_empty_window(p, id))
        return;
    p->records[relu].pool = id;
    p->records[relu].served++;
}

/* The relu whose mask this comparison is; 0: none that matters. */
static uint32_t relu_of_mask(const pooling *p, uint32_t id)
{
    const uint32_t *inputs = inputs_of(p, id);
    const bool is_mask = is_op(p, id, &ebb_op_greater) && is_op(p, inputs[0], &ebb_op_relu) &&
                         p->records[inputs[0]].pool && is_zero(p, inputs[1]);
    return is_mask ? inputs[0] : 0;
}

/* select(relu > 0, max_pool_grad(dy, where), 0), all of one pool. */
static uint32_t relu_of_select(const pooling *p, uint32_t id)
{
    const uint32_t *inputs = inputs_of(p, id), relu = relu_of_mask(p, inputs[0]);
    const bool is_ours = relu && is_op(p, inputs[1], &ebb_op_max_pool_grad) &&
                         inputs_of(p, inputs[1])[1] == p->records[relu].pool + 1 &&
                         is_zero(p, inputs[2]);
    return is_ours ? relu : 0;
}

static bool is_served(const pooling *p, uint32_t id)
{
    return p->records[id].uses == p->records[id].served;
}

/* Marks what is to be done; false: nothing. */
static bool find_work(pooling *p)
{
    bool any = false;
    for (uint32_t id = 1; id < p->n_ids; id++) {
        if (!p->records[id].is_needed)
            continue;
        if (is_op(p, id, &ebb_op_max_pool)) {
            find_pool(p, id);
        } else if (is_op(p, id, &ebb_op_select) && relu_of_select(p, id)) {
            p->records[inputs_of(p, id)[0]].served++;
            p->records[inputs_of(p, id)[1]].served++;
        }
    }
    for (uint32_t id = 1; id < p->n_ids; id++) {
        if (!p->records[id].is_needed || !is_served(p, id))
            continue;
        if (is_op(p, id, &ebb_op_max_pool_grad))
            p->records[inputs_of(p, id)[1]].served++;
        else if (is_op(p, id, &ebb_op_greater) && relu_of_mask(p, id))
            p->records[relu_of_mask(p, id)].served++;
    }
    for (uint32_t id = 1; id < p->n_ids; id++) {
        record *r = &p->records[id];
        uint32_t relu = 0;
        if (!r->is_needed)
            continue;
        if (r->pool) { /* a relu: both results of its pool stand behind it */
            if (!is_served(p, id) || !is_served(p, r->pool + 1)) {
                r->pool = 0;
                continue;
            }
            any = true;
            r->fate = DROPPED;
            p->records[r->pool].fate = POOLED;
        } else if (is_op(p, id, &ebb_op_greater) && relu_of_mask(p, id)) {
            r->fate = DROPPED;
        } else if (is_op(p, id, &ebb_op_select) && (relu = relu_of_select(p, id))) {
            r->fate = MASKED;
            p->records[inputs_of(p, id)[1]].fate = DROPPED;
        }
    }
    return any;
}

/* ---- finding what can be joined ---- */

/* The cotangent of a gradient of conv; -1: it is none. */
static int cotangent_of(const ebb_op *op)
{
    return op == &ebb_op_conv_input_grad                                           ? 0
           : op == &ebb_op_conv_weight_grad || op == &ebb_op_conv_weight_bias_grad ? 1
                                                                                   : -1;
}

typedef struct joined {
    const ebb_op *op;
    const void *attrs; /* one of: */
    ebb_pooled_conv_attrs grad_attrs;
    ebb_conv_max_pool_attrs pool_attrs;
    int n_inputs;
    uint32_t inputs[3]; /* ids of the old graph */
} joined;

static void join_forward(const pooling *p, uint32_t id, joined *j)
{
    const uint32_t conv = inputs_of(p, id)[0];
    j->op = &ebb_op_conv_max_pool;
    j->attrs = &j->pool_attrs;
    j->pool_attrs.conv = *(const ebb_conv_attrs *)ebb_node_attrs(node_at(p, conv));
    j->pool_attrs.pool = *(const ebb_pool_attrs *)ebb_node_attrs(node_at(p, id));
    j->n_inputs = ebb_node_n_inputs(node_at(p, conv));
    memcpy(j->inputs, inputs_of(p, conv), (size_t)j->n_inputs * sizeof *j->inputs);
}

/* What a gradient of conv, or a max_pool, becomes. */
static void describe_joined(const pooling *p, uint32_t id, joined *j)
{
    memset(j, 0, sizeof *j);
    const ebb_op *op = ebb_node_op(node_at(p, id));
    if (op == &ebb_op_max_pool) {
        join_forward(p, id, j);
        return;
    }
    const int at = cotangent_of(op);
    const uint32_t grad = inputs_of(p, id)[at];
    const ebb_conv_grad_attrs *conv = ebb_node_attrs(node_at(p, id));
    const ebb_pool_grad_attrs *pool = ebb_node_attrs(node_at(p, grad));
    j->op = at ? &ebb_op_pooled_conv_weight_grad : &ebb_op_pooled_conv_input_grad;
    j->attrs = &j->grad_attrs;
    j->grad_attrs = (ebb_pooled_conv_attrs){ conv->conv, pool->pool, conv->size };
    j->n_inputs = 3;
    j->inputs[at ? 0 : 2] = inputs_of(p, id)[at ? 0 : 1];
    j->inputs[at] = inputs_of(p, grad)[0];
    j->inputs[at + 1] = inputs_of(p, grad)[1];
}

static bool is_taken(const pooling *p, const ebb_pools_join *options, uint32_t id)
{
    joined j;
    const ebb_type *types[3];
    describe_joined(p, id, &j);
    for (int i = 0; i < j.n_inputs; i++)
        types[i] = ebb_node_type(node_at(p, j.inputs[i]));
    const ebb_type *first = ebb_node_type(node_at(p, id));
    const bool is_grad = j.attrs == &j.grad_attrs;
    const ebb_type bias = { first->dtype, { 1, { first->shape.dims[0] } } };
    const ebb_type *const results[2] = { first,
                                         is_grad ? &bias : ebb_node_type(node_at(p, id + 1)) };
    return (!is_grad || j.grad_attrs.size.n > 0) &&
           options->takes(options->context, j.op, j.attrs, j.n_inputs, types, results);
}

/* A max_pool that alone reads a convolution. */
static bool is_forward(const pooling *p, uint32_t id)
{
    if (!is_op(p, id, &ebb_op_max_pool))
        return false;
    const uint32_t conv = inputs_of(p, id)[0];
    return is_op(p, conv, &ebb_op_conv) && p->records[conv].uses == 1 &&
           ebb_node_n_inputs(node_at(p, conv)) <= 3;
}

static bool find_joins(pooling *p, const ebb_pools_join *options)
{
    bool any = false;
    for (uint32_t id = 1; id < p->n_ids; id++) {
        if (!p->records[id].is_needed)
            continue;
        if (is_forward(p, id) && is_taken(p, options, id)) {
            p->records[id].fate = JOINED;
            p->records[inputs_of(p, id)[0]].fate = DROPPED;
            any = true;
        }
        const int at = cotangent_of(ebb_node_op(node_at(p, id)));
        const uint32_t grad = at < 0 ? 0 : inputs_of(p, id)[at];
        if (grad && is_op(p, grad, &ebb_op_max_pool_grad) && is_taken(p, options, id)) {
            p->records[id].fate = JOINED;
            p->records[grad].served++;
        }
    }
    for (uint32_t id = 1; id < p->n_ids; id++) {
        record *r = &p->records[id];
        const int at = cotangent_of(ebb_node_op(node_at(p, id)));
        if (!r->is_needed || r->fate != JOINED || at < 0)
            continue;
        const uint32_t grad = inputs_of(p, id)[at];
        r->fate = is_served(p, grad) ? JOINED : COPIED;
        p->records[grad].fate = is_served(p, grad) ? DROPPED : COPIED;
        any |= r->fate == JOINED;
    }
    return any;
}

/* ---- the new graph ---- */

static ebb_node new_of(const pooling *p, uint32_t id)
{
    return ebb_graph_node(p->to, p->map[id]);
}

/* What became of the node has its name. */
static void name_new(pooling *p, uint32_t id)
{
    const ebb_node old = node_at(p, id);
    if (!*ebb_node_name(old))
        return;
    ebb_graph_stand_at(p->to, old);
    ebb_named(new_of(p, id), ebb_node_name(old));
}

static void emit_pool(pooling *p, uint32_t id)
{
    const ebb_node old = node_at(p, id);
    const uint32_t relu = inputs_of(p, id)[0];
    const ebb_node x = new_of(p, inputs_of(p, relu)[0]);
    ebb_node results[2];
    ebb_graph_stand_at(p->to, old);
    if (!ebb_emit(p->to, &ebb_op_max_pool, &x, 1, ebb_node_attrs(old), results).id)
        return;
    ebb_graph_stand_at(p->to, node_at(p, relu));
    p->map[id] = ebb_relu(results[0]).id;
    p->map[id + 1] = results[1].id;
    name_new(p, id);
    name_new(p, id + 1);
}

static void emit_mask(pooling *p, uint32_t id)
{
    const ebb_node old = node_at(p, id), grad = ebb_node_input(old, 1);
    const uint32_t pool = ebb_node_input_ids(grad)[1] - 1;
    const ebb_node y = new_of(p, pool), dy = new_of(p, ebb_node_input_ids(grad)[0]);
    ebb_graph_stand_at(p->to, old);
    const ebb_node zero = ebb_full_like(y, 0);
    const ebb_node inputs[2] = { ebb_select(ebb_greater(y, zero), dy, zero), new_of(p, pool + 1) };
    ebb_graph_stand_at(p->to, grad);
    p->map[id] = ebb_emit(p->to, &ebb_op_max_pool_grad, inputs, 2, ebb_node_attrs(grad), NULL).id;
    name_new(p, id);
}

static void emit_joined(pooling *p, uint32_t id)
{
    const ebb_node old = node_at(p, id);
    joined j;
    ebb_node inputs[3], results[2];
    describe_joined(p, id, &j);
    for (int i = 0; i < j.n_inputs; i++)
        inputs[i] = new_of(p, j.inputs[i]);
    ebb_graph_stand_at(p->to, old);
    if (!ebb_emit(p->to, j.op, inputs, j.n_inputs, j.attrs, results).id)
        return;
    for (int r = 0; r < ebb_node_op(old)->n_results; r++) {
        p->map[id + (uint32_t)r] = results[r].id;
        name_new(p, id + (uint32_t)r);
    }
}

static ebb_status copy_node(pooling *p, uint32_t id)
{
    const ebb_node old = node_at(p, id);
    const int n = ebb_node_n_inputs(old);
    const size_t bytes = (size_t)n * sizeof(ebb_node);
    ebb_node results[EBB_MAX_RESULTS], *inputs = ebb_allocate(p->allocator, bytes);
    if (!inputs)
        return EBB_OUT_OF_MEMORY;
    for (int i = 0; i < n; i++)
        inputs[i] = new_of(p, inputs_of(p, id)[i]);
    ebb_graph_copy_node(p->to, old, inputs, results);
    ebb_release(p->allocator, inputs, bytes);
    for (int r = 0; r < ebb_node_op(old)->n_results && !ebb_graph_status(p->to); r++)
        p->map[id + (uint32_t)r] = results[r].id;
    return ebb_graph_status(p->to);
}

static ebb_status emit_all(pooling *p)
{
    memset(p->map, 0, p->n_ids * sizeof *p->map);
    ebb_status status = EBB_OK;
    for (uint32_t id = 1; id < p->n_ids && !status; id++) {
        const record *r = &p->records[id];
        if (!r->is_needed || r->fate == DROPPED || is_op(p, id, &ebb_op_result))
            continue;
        if (r->fate == POOLED)
            emit_pool(p, id);
        else if (r->fate == MASKED)
            emit_mask(p, id);
        else if (r->fate == JOINED)
            emit_joined(p, id);
        else
            status = copy_node(p, id);
        if (!status)
            status = ebb_graph_status(p->to);
    }
    for (int64_t i = 0; i < count_updates(p) && !status; i++) {
        ebb_node variable, value;
        ebb_graph_update(p->from, i, &variable, &value);
        ebb_update(new_of(p, variable.id), new_of(p, value.id));
        status = ebb_graph_status(p->to);
    }
    return status;
}

static ebb_status run(pooling *p, const ebb_pools_join *join, const ebb_node *outputs,
                      int64_t n_outputs, ebb_graph **result, int64_t *n_hits, ebb_error *error)
{
    const char *pass = join ? "join" : "pools";
    *result = NULL;
    p->allocator = ebb_graph_allocator(p->from);
    p->n_ids = ebb_graph_n_nodes(p->from) + 1;
    p->records = ebb_allocate(p->allocator, p->n_ids * sizeof *p->records);
    ebb_status status = p->records ? EBB_OK : EBB_OUT_OF_MEMORY;
    if (!status) {
        memset(p->records, 0, p->n_ids * sizeof *p->records);
        status = mark_needed(p, outputs, n_outputs);
    }
    if (!status && (join ? find_joins(p, join) : find_work(p))) {
        p->to = ebb_graph_create_like(p->from);
        status = p->to ? emit_all(p) : EBB_OUT_OF_MEMORY;
        for (uint32_t id = 1; id < p->n_ids && !status; id++)
            *n_hits += p->records[id].fate == (join ? JOINED : POOLED);
    }
    if (status == EBB_OUT_OF_MEMORY)
        ebb_fail(error, status, "pass %s: out of memory", pass);
    else if (status)
        ebb_fail(error, status == EBB_LIMIT ? status : EBB_INTERNAL, "pass %s: %s", pass,
                 ebb_graph_message(p->to));
    ebb_release(p->allocator, p->records, p->n_ids * sizeof *p->records);
    if (status)
        ebb_graph_destroy(p->to);
    else
        *result = p->to;
    return status;
}

ebb_status ebb_pools_run(const ebb_graph *graph, const ebb_node *outputs, int64_t n_outputs,
                         bool keep_updates, ebb_graph **result, uint32_t *map, int64_t *n_hits,
                         ebb_error *error)
{
    pooling p = { .from = graph, .map = map, .keep_updates = keep_updates };
    return run(&p, NULL, outputs, n_outputs, result, n_hits, error);
}

ebb_status ebb_pools_join_run(const ebb_pools_join *options, const ebb_graph *graph,
                              const ebb_node *outputs, int64_t n_outputs, ebb_graph **result,
                              uint32_t *map, int64_t *n_hits, ebb_error *error)
{
    pooling p = { .from = graph, .map = map, .keep_updates = options->keep_updates };
    return run(&p, options, outputs, n_outputs, result, n_hits, error);
}
