/* A budget of memory: the cheapest way of computing values again with which the plan fits.
 *
 * Ways are tried on the graph first (passes/rematerialize.h), which is fast but only estimates.
 * Those that cost more and do not need less are dropped; among the others the cheapest whose plan
 * fits is found by halving, with a real plan each time. */
#include "passes/fuse.h"
#include "passes/rematerialize.h"
#include "passes/rewrite.h"
#include "runtime/runtime.h"

#include <stdio.h>
#include <string.h>

/* How many segments are tried, and which parts of them in eighths. */
static const int segments[] = { 2, 3, 4, 6, 8, 12, 16, 24, 32, 48 };
#define N_SEGMENTS (int)(sizeof segments / sizeof *segments)
static const int eighths[] = { 2, 4, 6, 8 };
#define N_PARTS (int)(sizeof eighths / sizeof *eighths)
#define MOST_WAYS (2 + N_SEGMENTS * N_PARTS)

typedef struct way {
    ebb_rematerialize choice;
    ebb_rematerialize_cost cost;
    size_t live_bytes; /* estimated */
    bool is_measured;  /* by a plan */
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

/* ---- estimates ---- */

/* Ids of `outputs` by a map into `graph`. */
static void follow(ebb_node *outputs, size_t n, const ebb_graph *graph, const uint32_t *map)
{
    for (size_t i = 0; i < n; i++)
        outputs[i] = ebb_graph_node(graph, map[outputs[i].id]);
}

/* Takes `graph`. The bytes that live in it when it is fused; SIZE_MAX: out of memory. */
static size_t estimate(ebb_executable *e, ebb_graph *graph, ebb_node *outputs)
{
    const ebb_fuse fuse = { .limits = EBB_FUSE_LIMITS, .keep_updates = e->has_updates };
    const size_t map_bytes = ((size_t)ebb_graph_n_nodes(graph) + 1) * sizeof(uint32_t);
    uint32_t *map = ebb_allocate(e->allocator, map_bytes);
    ebb_graph *fused = NULL;
    int64_t n_programs;
    size_t bytes = SIZE_MAX;
    const bool may_fuse = e->may_fuse && !ebb_names_have(e->skip_fusions, "programs");
    if (map && (!may_fuse || !ebb_fuse_run(&fuse, graph, outputs, (int64_t)e->n_fetches, &fused,
                                           map, &n_programs, &e->error))) {
        if (fused)
            follow(outputs, e->n_fetches, fused, map);
        bytes = ebb_graph_live_bytes(fused ? fused : graph, outputs, (int64_t)e->n_fetches,
                                     e->has_updates);
    }
    ebb_release(e->allocator, map, map_bytes);
    ebb_graph_destroy(fused);
    ebb_graph_destroy(graph);
    return bytes;
}

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
    if (graph) {
        follow(outputs, e->n_fetches, graph, map);
        w->live_bytes = estimate(e, graph, outputs);
        if (w->live_bytes == SIZE_MAX)
            status = out_of_memory(e);
        ++*n;
    }
    ebb_release(e->allocator, outputs, e->n_fetches * sizeof *outputs);
    ebb_release(e->allocator, map, map_bytes);
    return status;
}

static ebb_status list_ways(ebb_executable *e, way *ways, int *n)
{
    *n = 0;
    ebb_status status =
        try_way(e, (ebb_rematerialize){ .what = EBB_RECOMPUTE_ELEMENTWISE }, ways, n);
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

/* By ascending cost, without those that need no less than a cheaper one. Insertion sort. */
static int keep_best(way *ways, int n)
{
    int n_best = 0;
    for (int i = 1; i < n; i++) {
        const way w = ways[i];
        int at = i;
        for (; at > 0 && ways[at - 1].cost.more > w.cost.more; at--)
            ways[at] = ways[at - 1];
        ways[at] = w;
    }
    for (int i = 0; i < n; i++) {
        if (n_best == 0 || ways[i].live_bytes < ways[n_best - 1].live_bytes)
            ways[n_best++] = ways[i];
    }
    return n_best;
}

/* ---- real plans ---- */

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

/* now: the way of the plan that stands. */
typedef struct search {
    way *ways;
    int n, now, n_plans;
    size_t budget, smallest;
} search;

static ebb_status measure(ebb_executable *e, const ebb_planner *planner, search *s, int index,
                          bool *fits)
{
    ebb_dump no_dump = { .folder = NULL };
    ebb_executable_unplan(e);
    e->recompute = s->ways[index].choice;
    const ebb_status status = planner->plan(planner->context, e, &no_dump);
    if (status)
        return status;
    s->now = index;
    s->n_plans++;
    s->ways[index].is_measured = true;
    if (peak_of(e) < s->smallest)
        s->smallest = peak_of(e);
    *fits = peak_of(e) <= s->budget;
    return EBB_OK;
}

/* By halving, as if dearer ways always needed less; where that finds none, one by one. */
static ebb_status find_way(ebb_executable *e, const ebb_planner *planner, search *s, int *found)
{
    int low = 0, high = s->n;
    ebb_status status = EBB_OK;
    bool fits = false;
    while (!status && low < high) {
        const int middle = low + (high - low) / 2;
        status = measure(e, planner, s, middle, &fits);
        if (fits)
            high = middle;
        else
            low = middle + 1;
    }
    for (int i = 0; i < s->n && !status && high == s->n; i++) {
        if (s->ways[i].is_measured)
            continue;
        status = measure(e, planner, s, i, &fits);
        if (!status && fits)
            high = i;
    }
    *found = high;
    return status;
}

ebb_status ebb_executable_fit(ebb_executable *e, size_t budget, const ebb_planner *planner,
                              ebb_dump *dump)
{
    ebb_status status = planner->plan(planner->context, e, dump);
    if (status || peak_of(e) <= budget)
        return status;
    const size_t before = peak_of(e);
    search s = { .ways = ebb_allocate(e->allocator, MOST_WAYS * sizeof *s.ways),
                 .now = -1,
                 .n_plans = 1,
                 .budget = budget,
                 .smallest = before };
    int found = 0;
    if (!s.ways)
        return out_of_memory(e);
    ebb_executable_unplan(e);
    status = planner->prepare(planner->context, e, &(ebb_dump){ .folder = NULL });
    if (!status)
        status = list_ways(e, s.ways, &s.n);
    s.n = keep_best(s.ways, s.n);
    if (!status)
        status = find_way(e, planner, &s, &found);
    if (!status && found == s.n) {
        status = ebb_fail(&e->error, EBB_LIMIT,
                          "compile: the memory budget of %zu bytes cannot be met: graph \"%.80s\" "
                          "needs %zu bytes, and with values computed again at least %zu",
                          budget, ebb_graph_name(e->graph), before, s.smallest);
    } else if (!status && (s.now != found || dump->folder)) {
        ebb_executable_unplan(e);
        e->recompute = s.ways[found].choice;
        status = planner->plan(planner->context, e, dump);
    }
    ebb_release(e->allocator, s.ways, MOST_WAYS * sizeof *s.ways);
    if (!status)
        log_fit(e, before, s.n_plans);
    return status;
}
