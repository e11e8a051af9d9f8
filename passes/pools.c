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
#include "ops/pool.h"
#include "ops/pooled_conv.h"
#include "passes/constants.h"
#include "passes/copying.h"

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
    uint32_t served; /* uses that would be served */
    uint32_t pool;   /* of a relu: the max_pool behind it */
    fate fate;
} record;

typedef struct pooling {
    ebb_copying c;
    record *records; /* by id */
} pooling;

/* ---- finding ---- */

/* Each window has taps: the maximum of none is no relu of anything. */
static bool has_no_empty_window(const pooling *p, uint32_t id)
{
    const ebb_node node = ebb_copying_old(&p->c, id);
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
    const uint32_t relu = ebb_copying_inputs(&p->c, id)[0];
    if (!ebb_copying_is(&p->c, relu, &ebb_op_relu) || p->records[relu].pool ||
        !has_no_empty_window(p, id))
        return;
    p->records[relu].pool = id;
    p->records[relu].served++;
}

/* The relu whose mask this comparison is; 0: none that matters. */
static uint32_t relu_of_mask(const pooling *p, uint32_t id)
{
    const uint32_t *inputs = ebb_copying_inputs(&p->c, id);
    const bool is_mask = ebb_copying_is(&p->c, id, &ebb_op_greater) &&
                         ebb_copying_is(&p->c, inputs[0], &ebb_op_relu) &&
                         p->records[inputs[0]].pool &&
                         ebb_is_zero(ebb_copying_old(&p->c, inputs[1]));
    return is_mask ? inputs[0] : 0;
}

/* select(relu > 0, max_pool_grad(dy, where), 0), all of one pool. */
static uint32_t relu_of_select(const pooling *p, uint32_t id)
{
    const uint32_t *inputs = ebb_copying_inputs(&p->c, id), relu = relu_of_mask(p, inputs[0]);
    const bool is_ours = relu && ebb_copying_is(&p->c, inputs[1], &ebb_op_max_pool_grad) &&
                         ebb_copying_inputs(&p->c, inputs[1])[1] == p->records[relu].pool + 1 &&
                         ebb_is_zero(ebb_copying_old(&p->c, inputs[2]));
    return is_ours ? relu : 0;
}

static bool is_served(const pooling *p, uint32_t id)
{
    return p->c.uses[id] == p->records[id].served;
}

/* Marks what is to be done; false: nothing. */
static bool find_work(pooling *p)
{
    bool any = false;
    for (uint32_t id = 1; id < p->c.n_ids; id++) {
        if (!p->c.is_needed[id])
            continue;
        if (ebb_copying_is(&p->c, id, &ebb_op_max_pool)) {
            find_pool(p, id);
        } else if (ebb_copying_is(&p->c, id, &ebb_op_select) && relu_of_select(p, id)) {
            p->records[ebb_copying_inputs(&p->c, id)[0]].served++;
            p->records[ebb_copying_inputs(&p->c, id)[1]].served++;
        }
    }
    for (uint32_t id = 1; id < p->c.n_ids; id++) {
        if (!p->c.is_needed[id] || !is_served(p, id))
            continue;
        if (ebb_copying_is(&p->c, id, &ebb_op_max_pool_grad))
            p->records[ebb_copying_inputs(&p->c, id)[1]].served++;
        else if (ebb_copying_is(&p->c, id, &ebb_op_greater) && relu_of_mask(p, id))
            p->records[relu_of_mask(p, id)].served++;
    }
    for (uint32_t id = 1; id < p->c.n_ids; id++) {
        record *r = &p->records[id];
        uint32_t relu = 0;
        if (!p->c.is_needed[id])
            continue;
        if (r->pool) { /* a relu: both results of its pool stand behind it */
            if (!is_served(p, id) || !is_served(p, r->pool + 1)) {
                r->pool = 0;
                continue;
            }
            any = true;
            r->fate = DROPPED;
            p->records[r->pool].fate = POOLED;
        } else if (ebb_copying_is(&p->c, id, &ebb_op_greater) && relu_of_mask(p, id)) {
            r->fate = DROPPED;
        } else if (ebb_copying_is(&p->c, id, &ebb_op_select) && (relu = relu_of_select(p, id))) {
            r->fate = MASKED;
            p->records[ebb_copying_inputs(&p->c, id)[1]].fate = DROPPED;
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
    const uint32_t conv = ebb_copying_inputs(&p->c, id)[0];
    j->op = &ebb_op_conv_max_pool;
    j->attrs = &j->pool_attrs;
    j->pool_attrs.conv = *(const ebb_conv_attrs *)ebb_node_attrs(ebb_copying_old(&p->c, conv));
    j->pool_attrs.pool = *(const ebb_pool_attrs *)ebb_node_attrs(ebb_copying_old(&p->c, id));
    j->n_inputs = ebb_node_n_inputs(ebb_copying_old(&p->c, conv));
    memcpy(j->inputs, ebb_copying_inputs(&p->c, conv), (size_t)j->n_inputs * sizeof *j->inputs);
}

/* What a gradient of conv, or a max_pool, becomes. */
static void describe_joined(const pooling *p, uint32_t id, joined *j)
{
    memset(j, 0, sizeof *j);
    const ebb_op *op = ebb_node_op(ebb_copying_old(&p->c, id));
    if (op == &ebb_op_max_pool) {
        join_forward(p, id, j);
        return;
    }
    const int at = cotangent_of(op);
    const uint32_t grad = ebb_copying_inputs(&p->c, id)[at];
    const ebb_conv_grad_attrs *conv = ebb_node_attrs(ebb_copying_old(&p->c, id));
    const ebb_pool_grad_attrs *pool = ebb_node_attrs(ebb_copying_old(&p->c, grad));
    j->op = at ? &ebb_op_pooled_conv_weight_grad : &ebb_op_pooled_conv_input_grad;
    j->attrs = &j->grad_attrs;
    j->grad_attrs = (ebb_pooled_conv_attrs){ conv->conv, pool->pool, conv->size };
    j->n_inputs = 3;
    j->inputs[at ? 0 : 2] = ebb_copying_inputs(&p->c, id)[at ? 0 : 1];
    j->inputs[at] = ebb_copying_inputs(&p->c, grad)[0];
    j->inputs[at + 1] = ebb_copying_inputs(&p->c, grad)[1];
}

static bool is_taken(const pooling *p, const ebb_join_options *options, uint32_t id)
{
    joined j;
    const ebb_type *types[3];
    describe_joined(p, id, &j);
    for (int i = 0; i < j.n_inputs; i++)
        types[i] = ebb_node_type(ebb_copying_old(&p->c, j.inputs[i]));
    const ebb_type *first = ebb_node_type(ebb_copying_old(&p->c, id));
    const bool is_grad = j.attrs == &j.grad_attrs;
    const ebb_type bias = { first->dtype, { 1, { first->shape.dims[0] } } };
    const ebb_type *const results[2] = { first,
                                         is_grad ? &bias
                                                 : ebb_node_type(ebb_copying_old(&p->c, id + 1)) };
    return (!is_grad || j.grad_attrs.size.n > 0) &&
           options->takes(options->context, j.op, j.attrs, j.n_inputs, types, results);
}

/* A max_pool that alone reads a convolution. */
static bool is_forward(const pooling *p, uint32_t id)
{
    if (!ebb_copying_is(&p->c, id, &ebb_op_max_pool))
        return false;
    const uint32_t conv = ebb_copying_inputs(&p->c, id)[0];
    return ebb_copying_is(&p->c, conv, &ebb_op_conv) && p->c.uses[conv] == 1 &&
           ebb_node_n_inputs(ebb_copying_old(&p->c, conv)) <= 3;
}

static bool find_joins(pooling *p, const ebb_join_options *options)
{
    bool any = false;
    for (uint32_t id = 1; id < p->c.n_ids; id++) {
        if (!p->c.is_needed[id])
            continue;
        if (is_forward(p, id) && is_taken(p, options, id)) {
            p->records[id].fate = JOINED;
            p->records[ebb_copying_inputs(&p->c, id)[0]].fate = DROPPED;
            any = true;
        }
        const int at = cotangent_of(ebb_node_op(ebb_copying_old(&p->c, id)));
        const uint32_t grad = at < 0 ? 0 : ebb_copying_inputs(&p->c, id)[at];
        if (grad && ebb_copying_is(&p->c, grad, &ebb_op_max_pool_grad) &&
            is_taken(p, options, id)) {
            p->records[id].fate = JOINED;
            p->records[grad].served++;
        }
    }
    for (uint32_t id = 1; id < p->c.n_ids; id++) {
        record *r = &p->records[id];
        const int at = cotangent_of(ebb_node_op(ebb_copying_old(&p->c, id)));
        if (!p->c.is_needed[id] || r->fate != JOINED || at < 0)
            continue;
        const uint32_t grad = ebb_copying_inputs(&p->c, id)[at];
        r->fate = is_served(p, grad) ? JOINED : COPIED;
        p->records[grad].fate = is_served(p, grad) ? DROPPED : COPIED;
        any |= r->fate == JOINED;
    }
    return any;
}

/* ---- the new graph ---- */

static void emit_pool(pooling *p, uint32_t id)
{
    const ebb_node old = ebb_copying_old(&p->c, id);
    const uint32_t relu = ebb_copying_inputs(&p->c, id)[0];
    const ebb_node x = ebb_copying_new(&p->c, ebb_copying_inputs(&p->c, relu)[0]);
    ebb_node results[2];
    ebb_graph_stand_at(p->c.to, old);
    if (!ebb_emit(p->c.to, &ebb_op_max_pool, &x, 1, ebb_node_attrs(old), results).id)
        return;
    ebb_graph_stand_at(p->c.to, ebb_copying_old(&p->c, relu));
    p->c.map[id] = ebb_relu(results[0]).id;
    p->c.map[id + 1] = results[1].id;
    ebb_copying_name(&p->c, id);
    ebb_copying_name(&p->c, id + 1);
}

static void emit_mask(pooling *p, uint32_t id)
{
    const ebb_node old = ebb_copying_old(&p->c, id), grad = ebb_node_input(old, 1);
    const uint32_t pool = ebb_node_input_ids(grad)[1] - 1;
    const ebb_node y = ebb_copying_new(&p->c, pool),
                   dy = ebb_copying_new(&p->c, ebb_node_input_ids(grad)[0]);
    ebb_graph_stand_at(p->c.to, old);
    const ebb_node zero = ebb_full_like(y, 0);
    const ebb_node inputs[2] = { ebb_select(ebb_greater(y, zero), dy, zero),
                                 ebb_copying_new(&p->c, pool + 1) };
    ebb_graph_stand_at(p->c.to, grad);
    p->c.map[id] =
        ebb_emit(p->c.to, &ebb_op_max_pool_grad, inputs, 2, ebb_node_attrs(grad), NULL).id;
    ebb_copying_name(&p->c, id);
}

static void emit_joined(pooling *p, uint32_t id)
{
    const ebb_node old = ebb_copying_old(&p->c, id);
    joined j;
    ebb_node inputs[3], results[2];
    describe_joined(p, id, &j);
    for (int i = 0; i < j.n_inputs; i++)
        inputs[i] = ebb_copying_new(&p->c, j.inputs[i]);
    ebb_graph_stand_at(p->c.to, old);
    if (!ebb_emit(p->c.to, j.op, inputs, j.n_inputs, j.attrs, results).id)
        return;
    for (int r = 0; r < ebb_node_op(old)->n_results; r++) {
        p->c.map[id + (uint32_t)r] = results[r].id;
        ebb_copying_name(&p->c, id + (uint32_t)r);
    }
}

static bool emit(void *context, uint32_t id)
{
    pooling *p = context;
    const fate f = p->records[id].fate;
    if (f == POOLED)
        emit_pool(p, id);
    else if (f == MASKED)
        emit_mask(p, id);
    else if (f == JOINED)
        emit_joined(p, id);
    return f != COPIED;
}

static ebb_status run(pooling *p, const ebb_join_options *join, const ebb_node *outputs,
                      int64_t n_outputs, ebb_graph **result, int64_t *n_hits, ebb_error *error)
{
    ebb_status status = ebb_copying_start(&p->c, outputs, n_outputs);
    const size_t bytes = p->c.n_ids * sizeof *p->records;
    p->records = ebb_allocate(p->c.allocator, bytes);
    if (!p->records)
        status = EBB_OUT_OF_MEMORY;
    if (!status) {
        memset(p->records, 0, bytes);
        if (join ? find_joins(p, join) : find_work(p))
            status = ebb_copying_run(&p->c, emit, p);
        for (uint32_t id = 1; id < p->c.n_ids && !status; id++)
            *n_hits += p->records[id].fate == (join ? JOINED : POOLED);
    }
    ebb_release(p->c.allocator, p->records, bytes);
    return ebb_copying_finish(&p->c, join ? "join" : "pools", status, result, error);
}

ebb_status ebb_pools_run(const ebb_graph *graph, const ebb_node *outputs, int64_t n_outputs,
                         bool keep_updates, ebb_graph **result, uint32_t *map, int64_t *n_hits,
                         ebb_error *error)
{
    pooling p = { .c = { .from = graph, .map = map, .keep_updates = keep_updates } };
    return run(&p, NULL, outputs, n_outputs, result, n_hits, error);
}

ebb_status ebb_pools_join_run(const ebb_join_options *options, const ebb_graph *graph,
                              const ebb_node *outputs, int64_t n_outputs, ebb_graph **result,
                              uint32_t *map, int64_t *n_hits, ebb_error *error)
{
    pooling p = { .c = { .from = graph, .map = map, .keep_updates = options->keep_updates } };
    return run(&p, options, outputs, n_outputs, result, n_hits, error);
}
