/* Reverse mode: from cotangents of ys down to cotangents of xs, each op's vjp emitting nodes.
 *
 * Nodes with a cotangent wait in a heap and leave it by descending id, so all users of a node come
 * before it. An op without a vjp is replaced by its decomposition, whose nodes get new, larger ids
 * and come next; when such a node is shared with one that has left already, it is simply visited
 * again with the new part of its cotangent: vjps are linear in it. */
#define EBB_NO_LOCATIONS
#include <ebb/autodiff.h>

#include "graph/graph_build.h"

#include <string.h>

enum { DEPENDS = 1, IS_X = 2 };

typedef struct visit {
    uint32_t cotangent; /* node that waits to be propagated; 0: none */
    uint32_t total;     /* of an x: sum of what has arrived */
    uint8_t flags;      /* DEPENDS: an x is here or below */
} visit;

typedef struct reverse {
    ebb_graph *graph;
    const ebb_allocator *allocator;
    visit *visits; /* by id */
    uint32_t n_visits;
    uint32_t *heap; /* ids, largest first */
    uint32_t n_heap, heap_capacity;
} reverse;

/* ---- arrays ---- */

static bool grow(const ebb_allocator *allocator, void *array, uint32_t *capacity, uint32_t needed,
                 size_t item_bytes)
{
    if (needed <= *capacity)
        return true;
    uint32_t larger = *capacity && needed < UINT32_MAX / 2 ? needed * 2 : needed;
    char *moved = ebb_allocate(allocator, larger * item_bytes);
    if (!moved)
        return false;
    void *old;
    memcpy(&old, array, sizeof old);
    if (*capacity)
        memcpy(moved, old, *capacity * item_bytes);
    memset(moved + *capacity * item_bytes, 0, (larger - *capacity) * item_bytes);
    ebb_release(allocator, old, *capacity * item_bytes);
    memcpy(array, &moved, sizeof moved);
    *capacity = larger;
    return true;
}

static bool push_id(reverse *r, uint32_t id)
{
    if (!grow(r->allocator, &r->heap, &r->heap_capacity, r->n_heap + 1, sizeof *r->heap))
        return false;
    uint32_t at = r->n_heap++;
    for (; at > 0 && r->heap[(at - 1) / 2] < id; at = (at - 1) / 2)
        r->heap[at] = r->heap[(at - 1) / 2];
    r->heap[at] = id;
    return true;
}

static uint32_t pop_id(reverse *r)
{
    uint32_t top = r->heap[0], last = r->heap[--r->n_heap], at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= r->n_heap)
            break;
        if (child + 1 < r->n_heap && r->heap[child + 1] > r->heap[child])
            child++;
        if (r->heap[child] <= last)
            break;
        r->heap[at] = r->heap[child];
        at = child;
    }
    r->heap[at] = last;
    return top;
}

/* ---- the walk ---- */

static ebb_status report_memory(ebb_graph *graph)
{
    return ebb_graph_report(graph, EBB_OUT_OF_MEMORY, "gradients: out of memory");
}

static ebb_node node_of(const reverse *r, uint32_t id)
{
    return ebb_graph_node(r->graph, id);
}

static uint32_t add_cotangents(const reverse *r, uint32_t a, uint32_t b)
{
    return a ? ebb_add(node_of(r, a), node_of(r, b)).id : b;
}

/* Adds to what waits at `node`. False when memory is out. */
static bool add_cotangent(reverse *r, ebb_node node, ebb_node cotangent)
{
    visit *v = &r->visits[node.id];
    if (!cotangent.id || !(v->flags & DEPENDS))
        return true;
    if (!v->cotangent && !push_id(r, node.id))
        return false;
    v->cotangent = add_cotangents(r, v->cotangent, cotangent.id);
    return true;
}

/* Finds out which of the nodes first..last depend on an x. */
static void mark_dependence(reverse *r, uint32_t first, uint32_t last)
{
    for (uint32_t id = first; id <= last; id++) {
        ebb_node node = node_of(r, id);
        const uint32_t *inputs = ebb_node_input_ids(node);
        int n = ebb_node_n_inputs(node);
        for (int i = 0; i < n; i++)
            r->visits[id].flags |= r->visits[inputs[i]].flags & DEPENDS;
    }
}

static bool reserve_visits(reverse *r)
{
    return grow(r->allocator, &r->visits, &r->n_visits, ebb_graph_n_nodes(r->graph) + 1,
                sizeof *r->visits);
}

/* The cotangents go on to the decomposition of the op. */
static ebb_status pass_to_decomposition(reverse *r, ebb_node node, const ebb_node *inputs,
                                        const ebb_node *cotangents)
{
    const ebb_op *op = ebb_node_op(node);
    ebb_node results[EBB_MAX_RESULTS];
    memset(results, 0, sizeof results);
    uint32_t before = ebb_graph_n_nodes(r->graph);
    op->decompose(&(ebb_decompose){ r->graph, op, ebb_node_attrs(node), ebb_node_n_inputs(node),
                                    op->n_results, inputs, results });
    if (!reserve_visits(r))
        return report_memory(r->graph);
    mark_dependence(r, before + 1, ebb_graph_n_nodes(r->graph));
    for (int i = 0; i < op->n_results; i++) {
        if (results[i].id && !add_cotangent(r, results[i], cotangents[i]))
            return report_memory(r->graph);
    }
    return EBB_OK;
}

static ebb_status check_gradient_types(const reverse *r, ebb_node node, const ebb_vjp *vjp)
{
    for (int i = 0; i < vjp->n_inputs; i++) {
        char have[EBB_NODE_TEXT_BYTES], want[EBB_NODE_TEXT_BYTES];
        ebb_node g = vjp->gradients[i];
        if (g.id && !ebb_type_equal(ebb_node_type(g), ebb_node_type(vjp->inputs[i])))
            return ebb_graph_report(r->graph, EBB_BAD_GRAPH,
                                    "gradients: the vjp of %s gives %s for input %d, which is %s",
                                    ebb_node_op(node)->name, ebb_node_text(g, have), i,
                                    ebb_node_text(vjp->inputs[i], want));
    }
    return EBB_OK;
}

#define FEW_INPUTS 8

typedef struct vjp_arrays {
    ebb_node *inputs, *gradients;
    bool *needed;
} vjp_arrays;

static ebb_status run_vjp(reverse *r, ebb_node node, const ebb_node *cotangents, vjp_arrays arrays)
{
    const ebb_op *op = ebb_node_op(node);
    int n_inputs = ebb_node_n_inputs(node);
    bool any = false;
    for (int i = 0; i < n_inputs; i++) {
        ebb_node input = ebb_node_input(node, i);
        arrays.inputs[i] = input;
        arrays.gradients[i] = (ebb_node){ r->graph, 0 };
        arrays.needed[i] = (r->visits[input.id].flags & DEPENDS) &&
                           ebb_dtype_is_float(ebb_node_type(input)->dtype);
        any = any || arrays.needed[i];
    }
    if (!any)
        return EBB_OK;
    ebb_graph_stand_at(r->graph, node);
    ebb_graph_set_phase(r->graph, EBB_BACKWARD);
    if (!op->vjp && op->decompose)
        return pass_to_decomposition(r, node, arrays.inputs, cotangents);
    if (!op->vjp) {
        char text[EBB_NODE_TEXT_BYTES];
        return ebb_graph_report(r->graph, EBB_NOT_DIFFERENTIABLE,
                                "gradients: %s has no gradient rule, and %s depends on an x",
                                op->name, ebb_node_text(node, text));
    }
    ebb_node results[EBB_MAX_RESULTS];
    for (int i = 0; i < op->n_results; i++)
        results[i] = ebb_node_result(node, i);
    ebb_vjp vjp = { r->graph,      op,      ebb_node_attrs(node), n_inputs,      op->n_results,
                    arrays.inputs, results, cotangents,           arrays.needed, arrays.gradients };
    op->vjp(&vjp);
    if (ebb_graph_status(r->graph))
        return ebb_graph_status(r->graph);
    ebb_status status = check_gradient_types(r, node, &vjp);
    for (int i = 0; i < n_inputs && !status; i++) {
        if (arrays.needed[i] && !add_cotangent(r, arrays.inputs[i], arrays.gradients[i]))
            status = report_memory(r->graph);
    }
    return status;
}

/* Takes the cotangents of all results of the op at `id` and passes them on to its inputs. */
static ebb_status visit_op(reverse *r, uint32_t id)
{
    ebb_node node = ebb_node_first_result(node_of(r, id), NULL);
    const ebb_op *op = ebb_node_op(node);
    ebb_node cotangents[EBB_MAX_RESULTS];
    bool any = false;
    for (int i = 0; i < op->n_results; i++) {
        visit *v = &r->visits[node.id + (uint32_t)i];
        cotangents[i] = node_of(r, v->cotangent);
        any = any || v->cotangent;
        if (v->cotangent && v->flags & IS_X)
            v->total = add_cotangents(r, v->total, v->cotangent);
        v->cotangent = 0;
    }
    int n_inputs = ebb_node_n_inputs(node);
    if (!any || n_inputs == 0) /* !any: a further result of an op that has been visited */
        return ebb_graph_status(r->graph);
    ebb_node inputs[FEW_INPUTS], gradients[FEW_INPUTS];
    bool needed[FEW_INPUTS];
    if (n_inputs <= FEW_INPUTS)
        return run_vjp(r, node, cotangents, (vjp_arrays){ inputs, gradients, needed });
    size_t n = (size_t)n_inputs, bytes = n * (2 * sizeof(ebb_node) + sizeof(bool));
    ebb_node *block = ebb_allocate(r->allocator, bytes);
    if (!block)
        return report_memory(r->graph);
    ebb_status status =
        run_vjp(r, node, cotangents, (vjp_arrays){ block, block + n, (bool *)(block + 2 * n) });
    ebb_release(r->allocator, block, bytes);
    return status;
}

static void name_gradient(ebb_node gradient, ebb_node x)
{
    char name[EBB_NODE_TEXT_BYTES];
    const char *own = ebb_node_name(x);
    if (!*own || *ebb_node_name(gradient) || strlen(own) > 190)
        return;
    ebb_graph_stand_at(gradient.graph, x);
    snprintf(name, sizeof name, "grad(%s)", own);
    ebb_named(gradient, name);
}

static ebb_status collect_gradients(reverse *r, const ebb_node *xs, int n_xs, ebb_node *gradients)
{
    for (int i = 0; i < n_xs; i++) {
        uint32_t total = r->visits[xs[i].id].total;
        ebb_graph_stand_at(r->graph, xs[i]);
        ebb_graph_set_phase(r->graph, EBB_BACKWARD);
        gradients[i] = total ? node_of(r, total) : ebb_full_like(xs[i], 0);
        if (total && ebb_node_phase(gradients[i]) == EBB_BACKWARD)
            name_gradient(gradients[i], xs[i]);
    }
    return ebb_graph_status(r->graph);
}

/* ---- the public functions ---- */

static ebb_status check_float_node(ebb_graph *graph, const char *what, int index, ebb_node node)
{
    char text[EBB_NODE_TEXT_BYTES];
    if (!ebb_graph_owns(graph, node))
        return ebb_graph_report(graph, EBB_BAD_NODE, "gradients: %s %d (%s) is no node of \"%s\"",
                                what, index, ebb_node_text(node, text), ebb_graph_name(graph));
    if (!ebb_dtype_is_float(ebb_node_type(node)->dtype))
        return ebb_graph_report(graph, EBB_BAD_DTYPE, "gradients: %s %d (%s) is not float", what,
                                index, ebb_node_text(node, text));
    return EBB_OK;
}

static ebb_status check_seed(ebb_graph *graph, int index, ebb_node y, const ebb_node *seeds)
{
    char y_text[EBB_NODE_TEXT_BYTES], seed_text[EBB_NODE_TEXT_BYTES];
    ebb_node_text(y, y_text);
    if (!seeds) {
        if (ebb_node_type(y)->shape.rank)
            return ebb_graph_report(graph, EBB_BAD_SHAPE,
                                    "gradients: y %d (%s) is not a scalar: give a seed", index,
                                    y_text);
        return EBB_OK;
    }
    ebb_status status = check_float_node(graph, "seed", index, seeds[index]);
    if (!status && !ebb_type_equal(ebb_node_type(y), ebb_node_type(seeds[index])))
        return ebb_graph_report(graph, EBB_BAD_SHAPE,
                                "gradients: seed %d (%s) has another type than y (%s)", index,
                                ebb_node_text(seeds[index], seed_text), y_text);
    return status;
}

static ebb_status check_arguments(ebb_graph *graph, const ebb_node *ys, const ebb_node *seeds,
                                  int n_ys, const ebb_node *xs, int n_xs)
{
    ebb_status status = ebb_graph_status(graph);
    if (!status && (n_ys < 1 || n_xs < 0))
        status =
            ebb_graph_report(graph, EBB_BAD_ARGUMENT, "gradients: %d ys and %d xs", n_ys, n_xs);
    for (int i = 0; i < n_ys && !status; i++) {
        status = check_float_node(graph, "y", i, ys[i]);
        if (!status)
            status = check_seed(graph, i, ys[i], seeds);
    }
    for (int i = 0; i < n_xs && !status; i++)
        status = check_float_node(graph, "x", i, xs[i]);
    return status;
}

static ebb_status walk(reverse *r, const ebb_node *ys, const ebb_node *seeds, int n_ys,
                       const ebb_node *xs, int n_xs, ebb_node *gradients)
{
    uint32_t n_nodes = ebb_graph_n_nodes(r->graph);
    if (!reserve_visits(r))
        return report_memory(r->graph);
    for (int i = 0; i < n_xs; i++)
        r->visits[xs[i].id].flags = DEPENDS | IS_X;
    mark_dependence(r, 1, n_nodes);
    for (int i = 0; i < n_ys; i++) {
        ebb_graph_stand_at(r->graph, ys[i]);
        ebb_graph_set_phase(r->graph, EBB_BACKWARD);
        ebb_node seed = seeds ? seeds[i] : ebb_full_like(ys[i], 1);
        if (!add_cotangent(r, ys[i], seed))
            return report_memory(r->graph);
    }
    ebb_status status = ebb_graph_status(r->graph);
    while (r->n_heap && !status)
        status = visit_op(r, pop_id(r));
    return status ? status : collect_gradients(r, xs, n_xs, gradients);
}

ebb_status ebb_gradients_with(const ebb_node *ys, const ebb_node *seeds, int n_ys,
                              const ebb_node *xs, int n_xs, ebb_node *gradients)
{
    ebb_graph *graph = ys && n_ys > 0 ? ys[0].graph : NULL;
    for (int i = 0; i < n_xs && gradients; i++)
        gradients[i] = (ebb_node){ graph, 0 };
    if (!graph || !xs || !gradients)
        return ebb_graph_report(graph, graph ? EBB_BAD_ARGUMENT : EBB_BAD_NODE,
                                "gradients: ys, xs and gradients are needed");
    ebb_status status = check_arguments(graph, ys, seeds, n_ys, xs, n_xs);
    if (status)
        return status;
    ebb_place place = ebb_graph_place(graph);
    reverse r = { .graph = graph, .allocator = ebb_graph_allocator(graph) };
    status = walk(&r, ys, seeds, n_ys, xs, n_xs, gradients);
    ebb_release(r.allocator, r.visits, r.n_visits * sizeof *r.visits);
    ebb_release(r.allocator, r.heap, r.heap_capacity * sizeof *r.heap);
    ebb_graph_return(graph, place);
    for (int i = 0; status && i < n_xs; i++)
        gradients[i] = (ebb_node){ graph, 0 };
    return status;
}

ebb_status ebb_gradients(ebb_node y, const ebb_node *xs, int n_xs, ebb_node *gradients)
{
    return ebb_gradients_with(&y, NULL, 1, xs, n_xs, gradients);
}
