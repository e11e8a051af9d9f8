/* norms: batch_norm with what follows it, y = relu(batch_norm(x) + residual), becomes one op, and
 * its gradient takes the mask of a relu that follows without a residual: the mask is computed from
 * x again, so that nothing more is read. Both ops compute y in the same way as batch_norm does, so
 * that the same bits come out. Behind a residual the masked cotangent is needed by others as well.
 *
 * Not rules, because of the further results. Linear. */
#define EBB_NO_LOCATIONS
#include "passes/norms.h"
#include "ops/batch_norm_epilogue.h"
#include "passes/constants.h"
#include "passes/copying.h"
#include "passes/rematerialize.h"

#include <string.h>

typedef enum fate {
    COPIED,
    DROPPED, /* the relu, the sum; the mask and what it selects */
    JOINED   /* batch_norm, its gradient */
} fate;

typedef struct record {
    uint32_t reader; /* some node that reads it; 0: none */
    uint32_t end;    /* of a batch_norm: what its result becomes */
    uint32_t offset; /* in the new graph: its fourth result */
    fate fate;
} record;

typedef struct norms {
    ebb_copying c;
    const ebb_join_options *options;
    record *records; /* by id */
} norms;

static bool is_op(const norms *p, uint32_t id, const ebb_op *op)
{
    return ebb_copying_is(&p->c, id, op);
}

static const uint32_t *inputs_of(const norms *p, uint32_t id)
{
    return ebb_copying_inputs(&p->c, id);
}

static bool is_forward(const norms *p, uint32_t id)
{
    return is_op(p, id, &ebb_op_batch_norm) || is_op(p, id, &ebb_op_batch_norm_inference);
}

/* ---- what a node becomes ---- */

enum { MOST_INPUTS = 6 };
typedef struct joined {
    const ebb_op *op;
    const void *attrs;
    ebb_batch_norm_epilogue_attrs epilogue;
    int n_inputs;
    uint32_t inputs[MOST_INPUTS]; /* ids of the old graph; the offset: of the batch_norm */
    uint32_t end;
} joined;

/* Of batch_norm: along the only readers. The residual must be there when x is normalized. */
static bool describe_forward(const norms *p, uint32_t id, joined *j)
{
    const ebb_node node = ebb_copying_old(&p->c, id);
    *j = (joined){ .n_inputs = ebb_node_n_inputs(node), .end = id };
    memcpy(j->inputs, inputs_of(p, id), (size_t)j->n_inputs * sizeof *j->inputs);
    j->op = is_op(p, id, &ebb_op_batch_norm) ? &ebb_op_batch_norm_epilogue
                                             : &ebb_op_batch_norm_inference_epilogue;
    j->epilogue.batch_norm = *(const ebb_batch_norm_attrs *)ebb_node_attrs(node);
    uint32_t next = p->c.uses[id] == 1 ? p->records[id].reader : 0;
    if (next && is_op(p, next, &ebb_op_add)) {
        const uint32_t *terms = inputs_of(p, next), other = terms[terms[0] == id];
        if (other >= id || is_op(p, other, &ebb_op_broadcast_to) ||
            is_op(p, other, &ebb_op_constant))
            return false;
        j->inputs[j->n_inputs++] = other;
        j->epilogue.epilogue.residual = true;
        j->end = next;
        next = p->c.uses[next] == 1 ? p->records[next].reader : 0;
    }
    if (next && is_op(p, next, &ebb_op_relu)) {
        j->epilogue.epilogue.relu = true;
        j->end = next;
    }
    return j->end != id;
}

/* Values that are computed again are read behind the view `after`. */
static uint32_t behind(const norms *p, uint32_t id)
{
    while (is_op(p, id, &ebb_op_after))
        id = inputs_of(p, id)[0];
    return id;
}

/* Of batch_norm_grad(x, scale, select(relu > 0, dy, 0), mean, variance) */
static bool describe_gradient(const norms *p, uint32_t id, joined *j)
{
    const uint32_t *inputs = inputs_of(p, id), select = inputs[2];
    const uint32_t forward = ebb_node_first_result(ebb_copying_old(&p->c, inputs[3]), NULL).id;
    const ebb_batch_norm_attrs *attrs = ebb_node_attrs(ebb_copying_old(&p->c, id));
    joined of;
    if (!is_op(p, forward, &ebb_op_batch_norm) || p->records[forward].fate != JOINED ||
        !describe_forward(p, forward, &of) || of.epilogue.epilogue.residual ||
        of.epilogue.batch_norm.epsilon != attrs->epsilon ||
        behind(p, of.inputs[0]) != behind(p, inputs[0]) || of.inputs[1] != inputs[1] ||
        inputs[3] != forward + 1 || inputs[4] != forward + 2 || !is_op(p, select, &ebb_op_select) ||
        p->c.uses[select] != 1)
        return false;
    const uint32_t mask = inputs_of(p, select)[0];
    if (!is_op(p, mask, &ebb_op_greater) || inputs_of(p, mask)[0] != of.end ||
        !ebb_is_zero(ebb_copying_old(&p->c, inputs_of(p, mask)[1])) ||
        !ebb_is_zero(ebb_copying_old(&p->c, inputs_of(p, select)[2])))
        return false;
    *j = (joined){ .op = &ebb_op_batch_norm_relu_grad,
                   .epilogue.batch_norm = *attrs,
                   .n_inputs = 6,
                   .inputs = { inputs[0], inputs[1], inputs_of(p, select)[1], inputs[3], inputs[4],
                               forward } };
    return true;
}

static const void *attrs_of(const joined *j)
{
    return j->op == &ebb_op_batch_norm_relu_grad ? (const void *)&j->epilogue.batch_norm
                                                 : (const void *)&j->epilogue;
}

static bool is_taken(const norms *p, uint32_t id, const joined *j)
{
    const ebb_type *inputs[MOST_INPUTS],
        *scale = ebb_node_type(ebb_copying_old(&p->c, j->inputs[1]));
    const bool is_gradient = j->op == &ebb_op_batch_norm_relu_grad;
    const ebb_type *const results[4] = { ebb_node_type(ebb_copying_old(&p->c, id)), scale, scale,
                                         scale };
    for (int i = 0; i < j->n_inputs; i++)
        inputs[i] =
            is_gradient && i == 5 ? scale : ebb_node_type(ebb_copying_old(&p->c, j->inputs[i]));
    return p->options->takes(p->options->context, j->op, attrs_of(j), j->n_inputs, inputs, results);
}

/* ---- finding ---- */

static void find_readers(norms *p)
{
    for (uint32_t id = 1; id < p->c.n_ids; id++)
        for (int i = 0; p->c.is_needed[id] && !is_op(p, id, &ebb_op_result) &&
                        i < ebb_node_n_inputs(ebb_copying_old(&p->c, id));
             i++)
            p->records[inputs_of(p, id)[i]].reader = id;
}

static void drop_mask(norms *p, uint32_t select)
{
    const uint32_t mask = inputs_of(p, select)[0];
    p->records[select].fate = DROPPED;
    if (--p->c.uses[mask] == 0)
        p->records[mask].fate = DROPPED;
}

/* Marks what is to be done; false: nothing. */
static bool find_work(norms *p)
{
    bool any = false;
    joined j;
    find_readers(p);
    for (uint32_t id = 1; id < p->c.n_ids; id++) {
        if (!p->c.is_needed[id])
            continue;
        if (is_forward(p, id) && describe_forward(p, id, &j) && is_taken(p, id, &j)) {
            p->records[id].fate = JOINED;
            p->records[id].end = j.end;
            for (uint32_t at = id; at != j.end; at = p->records[at].reader)
                p->records[p->records[at].reader].fate = DROPPED;
            any = true;
        } else if (is_op(p, id, &ebb_op_batch_norm_grad) && describe_gradient(p, id, &j) &&
                   is_taken(p, id, &j)) {
            p->records[id].fate = JOINED;
            drop_mask(p, inputs_of(p, id)[2]);
        }
    }
    return any;
}

/* ---- the new graph ---- */

static void emit_joined(norms *p, uint32_t id)
{
    joined j;
    ebb_node inputs[MOST_INPUTS], results[4];
    const ebb_node old = ebb_copying_old(&p->c, id);
    const bool is_gradient = !is_forward(p, id);
    if (!(is_gradient ? describe_gradient(p, id, &j) : describe_forward(p, id, &j)))
        return;
    for (int i = 0; i < j.n_inputs; i++)
        inputs[i] = ebb_copying_new(&p->c, j.inputs[i]);
    if (is_gradient)
        inputs[5] = ebb_graph_node(p->c.to, p->records[j.inputs[5]].offset);
    if (!ebb_graph_copy_node_as(p->c.to, old, j.op, inputs, j.n_inputs, attrs_of(&j), results).id)
        return;
    for (int r = 0; r < ebb_node_op(old)->n_results; r++)
        p->c.map[id + (uint32_t)r] = results[r].id;
    if (is_gradient)
        return;
    if (j.op->n_results > 3)
        p->records[id].offset = results[3].id;
    for (uint32_t at = id; at != j.end; at = p->records[at].reader)
        p->c.map[p->records[at].reader] = results[0].id;
    ebb_copying_name(&p->c, j.end);
}

static bool emit(void *context, uint32_t id)
{
    norms *p = context;
    if (p->records[id].fate == JOINED)
        emit_joined(p, id);
    return p->records[id].fate != COPIED;
}

ebb_status ebb_norms_run(const ebb_join_options *options, const ebb_graph *graph,
                         const ebb_node *outputs, int64_t n_outputs, ebb_graph **result,
                         uint32_t *map, int64_t *n_hits, ebb_error *error)
{
    norms p = { .c = { .from = graph, .map = map, .keep_updates = options->keep_updates },
                .options = options };
    ebb_status status = ebb_copying_start(&p.c, outputs, n_outputs);
    const size_t bytes = p.c.n_ids * sizeof *p.records;
    p.records = ebb_allocate(p.c.allocator, bytes);
    if (!p.records)
        status = EBB_OUT_OF_MEMORY;
    if (!status) {
        memset(p.records, 0, bytes);
        if (find_work(&p))
            status = ebb_copying_run(&p.c, emit, &p);
        for (uint32_t id = 1; id < p.c.n_ids && !status; id++)
            *n_hits += p.records[id].fate == JOINED;
    }
    ebb_release(p.c.allocator, p.records, bytes);
    return ebb_copying_finish(&p.c, "norms", status, result, error);
}
