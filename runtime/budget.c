/* A budget of memory: the cheapest way of computing values again with which the plan fits. Without
 * one: what costs next to nothing.
 *
 * What each way costs is known from the graph (passes/rematerialize.h), what it needs only from its
 * plan: joins and the scratch memory of kernels change which way needs least. So they are planned
 * one by one, the cheapest first, until one fits. */
#include "passes/rematerialize.h"
#include "runtime/runtime.h"

#include <stdio.h>
#include <string.h>

/* How many segments are tried, and which parts of them in eighths. */
static const int segments[] = { 2, 3, 4, 6, 8, 12, 16, 24, 32, 48 };
#define N_SEGMENTS (int)(sizeof segments / sizeof *segments)
static const int eighths[] = { 2, 4, 6, 8 };
#define N_PARTS (int)(sizeof eighths / sizeof *eighths)
#define MOST_WAYS (3 + N_SEGMENTS * N_PARTS)

/* The share of all work that is spent without being asked. Estimates count each node as a pass over
 * memory of its own; fused ones take less. */
#define NEXT_TO_NOTHING 0.015
static const ebb_rematerialize next_to_nothing = { .what = EBB_RECOMPUTE_CHEAP,
                                                   .most_more = NEXT_TO_NOTHING };

typedef struct way {
    ebb_rematerialize choice;
    ebb_rematerialize_cost cost;
} way;

static ebb_status out_of_memory(ebb_executable *e)
{
    return ebb_fail(&e->error, EBB_OUT_OF_MEMORY, "compile: out of memory for a memory budget");
}

static ebb_node *list_outputs(const ebb_executable *e)
{
    ebb_node *outputs = ebb_allocate(e->allocator, e->n_fetches * sizeof *outputs);
    for (size_t i = 0; i < e->n_fetches && outputs; i++)
        outputs[i] = ebb_graph_node(e->graph, e->fetches[i].node);
    return outputs;
}

ebb_status ebb_executable_rematerialize(ebb_executable *e, ebb_dump *dump)
{
    const size_t map_bytes = ((size_t)ebb_graph_n_nodes(e->graph) + 1) * sizeof(uint32_t);
    uint32_t *map = ebb_allocate(e->allocator, map_bytes);
    ebb_node *outputs = list_outputs(e);
    ebb_graph *graph = NULL;
    ebb_status status = EBB_OK;
    if (!map || !outputs)
        status = out_of_memory(e);
    else
        status = ebb_rematerialize_run(&e->recompute, e->graph, outputs, (int64_t)e->n_fetches,
                                       &graph, map, &e->recompute_cost, &e->error);
    if (graph)
        status = ebb_executable_take(e, graph, map, "rematerialize", dump);
    ebb_release(e->allocator, outputs, e->n_fetches * sizeof *outputs);
    ebb_release(e->allocator, map, map_bytes);
    return status;
}

/* ---- ways ---- */

/* *n grows by one, unless the way changes nothing. */
static ebb_status try_way(ebb_executable *e, ebb_rematerialize choice, way *ways, int *n)
{
    const size_t map_bytes = ((size_t)ebb_graph_n_nodes(e->graph) + 1) * sizeof(uint32_t);
    uint32_t *map = ebb_allocate(e->allocator, map_bytes);
    ebb_node *outputs = list_outputs(e);
    way *w = &ways[*n];
    ebb_graph *graph = NULL;
    choice.keep_updates = e->has_updates;
    *w = (way){ .choice = choice };
    ebb_status status = EBB_OK;
    if (!map || !outputs)
        status = out_of_memory(e);
    else
        status = ebb_rematerialize_run(&choice, e->graph, outputs, (int64_t)e->n_fetches, &graph,
                                       map, &w->cost, &e->error);
    *n += graph != NULL;
    ebb_graph_destroy(graph);
    ebb_release(e->allocator, outputs, e->n_fetches * sizeof *outputs);
    ebb_release(e->allocator, map, map_bytes);
    return status;
}

static ebb_status list_ways(ebb_executable *e, way *ways, int *n)
{
    *n = 0;
    ebb_status status = try_way(e, next_to_nothing, ways, n);
    if (!status)
        status = try_way(e, (ebb_rematerialize){ .what = EBB_RECOMPUTE_ELEMENTWISE }, ways, n);
    if (!status)
        status = try_way(e, (ebb_rematerialize){ .what = EBB_RECOMPUTE_CHEAP }, ways, n);
    for (int s = 0; s < N_SEGMENTS; s++) {
        for (int part = 0, before = 0; part < N_PARTS && !status; part++) {
            const int k = segments[s] * eighths[part] / 8;
            if (k <= before)
                continue;
            before = k;
            status = try_way(e,
                             (ebb_rematerialize){ .what = EBB_RECOMPUTE_ALL,
                                                  .n_segments = segments[s],
                                                  .n_recomputed = k },
                             ways, n);
        }
    }
    return status;
}

/* By ascending cost, each set of nodes once. Insertion sort. */
static int sort_ways(way *ways, int n)
{
    int n_sorted = 0;
    for (int i = 0; i < n; i++) {
        const way w = ways[i];
        int at = n_sorted;
        while (at > 0 && ways[at - 1].cost.more > w.cost.more)
            at--;
        if (at > 0 && ways[at - 1].cost.more == w.cost.more &&
            ways[at - 1].cost.n_nodes == w.cost.n_nodes)
            continue;
        memmove(&ways[at + 1], &ways[at], (size_t)(n_sorted++ - at) * sizeof *ways);
        ways[at] = w;
    }
    return n_sorted;
}

/* ---- plans ---- */

static size_t peak_of(const ebb_executable *e)
{
    return ebb_executable_memory(e).peak_bytes;
}

static void log_fit(ebb_executable *e, size_t before, int n_plans)
{
    if (!e->log.write)
        return;
    char line[EBB_MESSAGE_BYTES];
    snprintf(line, sizeof line,
             "pass rematerialize: %lld nodes computed again, %.1f%% more work; peak %zu bytes "
             "instead of %zu, found with %d plans",
             (long long)e->recompute_cost.n_nodes,
             100 * e->recompute_cost.more / e->recompute_cost.work, peak_of(e), before, n_plans);
    e->log.write(e->log.context, EBB_LOG_INFO, line);
}

/* *found: the first of the ways whose plan fits; n: none. The plan of the last that was tried
 * stands. */
static ebb_status find_way(ebb_executable *e, const ebb_planner *planner, const way *ways, int n,
                           size_t budget, size_t *smallest, int *found)
{
    ebb_dump no_dump = { .folder = NULL };
    for (*found = 0; *found < n; ++*found) {
        ebb_executable_unplan(e);
        e->recompute = ways[*found].choice;
        const ebb_status status = planner->plan(planner->context, e, &no_dump);
        if (status)
            return status;
        if (peak_of(e) < *smallest)
            *smallest = peak_of(e);
        if (peak_of(e) <= budget)
            break;
    }
    return EBB_OK;
}

ebb_status ebb_executable_fit(ebb_executable *e, size_t budget, const ebb_planner *planner,
                              ebb_dump *dump)
{
    ebb_status status = planner->plan(planner->context, e, dump);
    if (status || peak_of(e) <= budget)
        return status;
    const size_t before = peak_of(e), bytes = MOST_WAYS * sizeof(way);
    size_t smallest = before;
    int n = 0, found = 0;
    way *ways = ebb_allocate(e->allocator, bytes);
    if (!ways)
        return out_of_memory(e);
    ebb_executable_unplan(e);
    status = planner->prepare(planner->context, e, &(ebb_dump){ .folder = NULL });
    if (!status)
        status = list_ways(e, ways, &n);
    n = sort_ways(ways, n);
    if (!status)
        status = find_way(e, planner, ways, n, budget, &smallest, &found);
    if (!status && found == n) {
        status = ebb_fail(&e->error, EBB_LIMIT,
                          "compile: the memory budget of %zu bytes cannot be met: graph \"%.80s\" "
                          "needs %zu bytes, and with values computed again at least %zu",
                          budget, ebb_graph_name(e->graph), before, smallest);
    } else if (!status && dump->folder) {
        ebb_executable_unplan(e);
        status = planner->plan(planner->context, e, dump);
    }
    ebb_release(e->allocator, ways, bytes);
    if (!status)
        log_fit(e, before, found + 2);
    return status;
}

/* The smaller peak must be worth it. */
#define LEAST_GAIN 32

ebb_status ebb_executable_shrink(ebb_executable *e, const ebb_planner *planner, ebb_dump *dump)
{
    ebb_dump no_dump = { .folder = NULL };
    e->recompute = next_to_nothing;
    e->recompute.keep_updates = e->has_updates;
    ebb_status status = planner->plan(planner->context, e, dump);
    if (status || !e->recompute_cost.n_nodes)
        return status;
    const size_t smaller = peak_of(e);
    const ebb_rematerialize choice = e->recompute;
    ebb_executable_unplan(e);
    e->recompute = (ebb_rematerialize){ .what = EBB_RECOMPUTE_NOTHING };
    status = planner->plan(planner->context, e, &no_dump);
    const size_t before = status ? 0 : peak_of(e);
    const bool pays = smaller < before - before / LEAST_GAIN;
    if (status || (!pays && !dump->folder))
        return status;
    ebb_executable_unplan(e);
    if (pays)
        e->recompute = choice;
    status = planner->plan(planner->context, e, dump);
    if (!status && pays)
        log_fit(e, before, 3);
    return status;
}
