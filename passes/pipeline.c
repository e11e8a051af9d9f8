/* The pipeline: which rules run in which order, how often, and what is kept up to date around them.
 */
#include "passes/fuse.h"
#include "passes/passes.h"
#include "passes/pools.h"
#include "passes/rules.h"

#include <stdio.h>
#include <string.h>

#define MAX_SETS 4
/* A pass is repeated until no rule can apply any more: for the insides of replacements. */
#define MAX_ROUNDS 8

typedef struct way way;

typedef struct pass {
    const char *name;
    const ebb_rule_set *sets[MAX_SETS]; /* NULL: none */
    ebb_status (*run)(way *w);          /* a pass that is no set of rules */
} pass;

static ebb_status run_pools(way *w);
static ebb_status run_fuse(way *w);

/* Passes by themselves, in the order in which they first run. */
/* clang-format off */
static const pass passes[] = {
    { "verify",       { NULL }, NULL },
    { "canonicalize", { &ebb_rules_canonicalize }, NULL },
    { "simplify",     { &ebb_rules_simplify, &ebb_rules_shapes }, NULL },
    { "fold",         { &ebb_rules_fold }, NULL },
    { "stabilize",    { &ebb_rules_stabilize }, NULL },
    { "views",        { &ebb_rules_views }, NULL },
    { "pools",        { NULL }, run_pools },
    { "sweep",        { NULL }, NULL },
    { "fuse",         { NULL }, run_fuse }, /* by ebb_compile, when it knows what backends take */
    { "anchors",      { &ebb_rules_anchors }, NULL }, /* by ebb_compile, as fuse */
    { "freeze",       { &ebb_rules_freeze }, NULL }, /* by ebb_model_freeze */
};
/* clang-format on */
#define N_PASSES (int)(sizeof passes / sizeof *passes)

/* The stages of the pipeline between verify and sweep. Simplified and folded constants want
 * canonical forms again. */
#define SIMPLIFY_AND_FOLD                                                                          \
    {                                                                                              \
        &ebb_rules_canonicalize, &ebb_rules_simplify, &ebb_rules_shapes, &ebb_rules_fold           \
    }
/* clang-format off */
static const pass stages[] = {
    { "canonicalize", { &ebb_rules_canonicalize }, NULL },
    { "simplify",     SIMPLIFY_AND_FOLD, NULL },
    { "stabilize",    { &ebb_rules_stabilize }, NULL },
    { "views",        { &ebb_rules_views }, NULL },
    { "simplify",     SIMPLIFY_AND_FOLD, NULL },
    { "pools",        { NULL }, run_pools },
};
/* clang-format on */
#define N_STAGES (int)(sizeof stages / sizeof *stages)

const char *ebb_pass_name(int index)
{
    return index >= 0 && index < N_PASSES ? passes[index].name : NULL;
}

/* The graph on its way: `current` is the user's until something has to change. */
struct way {
    const ebb_passes_options *options;
    const ebb_allocator *allocator;
    const ebb_graph *source, *current;
    ebb_graph *owned; /* current, if it is not the user's */
    ebb_node *outputs;
    size_t outputs_bytes;
    int64_t n_outputs;
    bool keep_updates;
    uint32_t *map; /* ids of source -> ids of current */
    int64_t n_hits;
    ebb_error *error;
};

static ebb_status begin(way *w, const ebb_graph *graph, const ebb_node *outputs, int n_outputs,
                        bool keep_updates, const ebb_passes_options *options, uint32_t *map,
                        ebb_error *error)
{
    *w = (way){ .options = options,
                .allocator = graph ? ebb_graph_allocator(graph) : NULL,
                .source = graph,
                .current = graph,
                .n_outputs = n_outputs,
                .keep_updates = keep_updates,
                .map = map,
                .error = error };
    ebb_status status = ebb_graph_status(graph);
    if (status)
        return ebb_fail(error, status, "%s", ebb_graph_message(graph));
    for (int i = 0; i < n_outputs; i++) {
        if (!ebb_graph_owns(graph, outputs[i])) {
            char text[EBB_NODE_TEXT_BYTES];
            return ebb_fail(error, EBB_BAD_NODE, "output %d (%s) is no node of graph \"%s\"", i,
                            ebb_node_text(outputs[i], text), ebb_graph_name(graph));
        }
    }
    w->outputs_bytes = (size_t)n_outputs * sizeof *w->outputs;
    w->outputs = ebb_allocate(w->allocator, w->outputs_bytes);
    if (!w->outputs)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "passes: out of memory");
    if (n_outputs > 0)
        memcpy(w->outputs, outputs, w->outputs_bytes);
    for (uint32_t id = 0; id <= ebb_graph_n_nodes(graph); id++)
        map[id] = id;
    return EBB_OK;
}

/* Takes a new graph as the current one. */
static void move_on(way *w, ebb_graph *next, const uint32_t *step)
{
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(w->source); id++)
        w->map[id] = step[w->map[id]];
    for (int64_t i = 0; i < w->n_outputs; i++)
        w->outputs[i] = ebb_graph_node(next, step[w->outputs[i].id]);
    ebb_graph_destroy(w->owned);
    w->current = w->owned = next;
}

/* One run over the graph. *moved: there was something to do. */
static ebb_status run_once(way *w, const ebb_rewrite *rewrite, ebb_rewrite_counts *counts,
                           bool *moved)
{
    size_t bytes = ((size_t)ebb_graph_n_nodes(w->current) + 1) * sizeof(uint32_t);
    uint32_t *step = ebb_allocate(w->allocator, bytes);
    if (!step)
        return ebb_fail(w->error, EBB_OUT_OF_MEMORY, "pass %s: out of memory", rewrite->pass);
    ebb_graph *next;
    ebb_status status = ebb_rewrite_run(rewrite, w->current, w->outputs, w->n_outputs, &next, step,
                                        counts, w->error);
    *moved = next != NULL;
    if (next)
        move_on(w, next, step);
    ebb_release(w->allocator, step, bytes);
    return status;
}

static void log_counts(const way *w, const ebb_rewrite *rewrite, const ebb_rewrite_counts *counts)
{
    if (!w->options->log.write)
        return;
    int at = 0;
    for (int s = 0; s < rewrite->n_sets; s++) {
        for (int r = 0; r < rewrite->sets[s]->n_rules; r++, at++) {
            char message[160];
            if (!counts->hits[at])
                continue;
            snprintf(message, sizeof message, "pass %.40s: rule %.60s: %lld times", rewrite->pass,
                     rewrite->sets[s]->rules[r].name, (long long)counts->hits[at]);
            w->options->log.write(w->options->log.context, EBB_LOG_DEBUG, message);
        }
    }
}

/* A pass, until no rule can apply any more. */
static ebb_status run_pass(way *w, const pass *p)
{
    if (p->run)
        return p->run(w);
    ebb_rewrite rewrite = { .pass = p->name,
                            .sets = p->sets,
                            .fast_math = w->options->fast_math,
                            .keep_updates = w->keep_updates,
                            .lazy = true,
                            .log = w->options->log };
    while (rewrite.n_sets < MAX_SETS && p->sets[rewrite.n_sets])
        rewrite.n_sets++;
    ebb_rewrite_counts counts = { 0 };
    ebb_status status = EBB_OK;
    bool moved = rewrite.n_sets > 0;
    for (int round = 0; round < MAX_ROUNDS && moved && !status; round++) {
        int64_t before = counts.total;
        status = run_once(w, &rewrite, &counts, &moved);
        moved = moved && counts.total > before;
    }
    log_counts(w, &rewrite, &counts);
    w->n_hits += counts.total;
    return status;
}

static ebb_status run_pools(way *w)
{
    const size_t bytes = ((size_t)ebb_graph_n_nodes(w->current) + 1) * sizeof(uint32_t);
    uint32_t *step = ebb_allocate(w->allocator, bytes);
    if (!step)
        return ebb_fail(w->error, EBB_OUT_OF_MEMORY, "pass pools: out of memory");
    ebb_graph *next;
    ebb_status status = ebb_pools_run(w->current, w->outputs, w->n_outputs, w->keep_updates, &next,
                                      step, &w->n_hits, w->error);
    if (next)
        move_on(w, next, step);
    ebb_release(w->allocator, step, bytes);
    return status;
}

static ebb_status run_fuse(way *w)
{
    const ebb_fuse options = { .limits = EBB_FUSE_LIMITS, .keep_updates = w->keep_updates };
    const size_t bytes = ((size_t)ebb_graph_n_nodes(w->current) + 1) * sizeof(uint32_t);
    uint32_t *step = ebb_allocate(w->allocator, bytes);
    if (!step)
        return ebb_fail(w->error, EBB_OUT_OF_MEMORY, "pass fuse: out of memory");
    ebb_graph *next;
    ebb_status status = ebb_fuse_run(&options, w->current, w->outputs, w->n_outputs, &next, step,
                                     &w->n_hits, w->error);
    if (next)
        move_on(w, next, step);
    ebb_release(w->allocator, step, bytes);
    return status;
}

/* Drops what is not needed, and makes the current graph our own. */
static ebb_status sweep(way *w)
{
    ebb_rewrite rewrite = {
        .pass = "sweep", .keep_updates = w->keep_updates, .lazy = w->owned != NULL, .sweep = true
    };
    ebb_rewrite_counts counts = { 0 };
    bool moved;
    return run_once(w, &rewrite, &counts, &moved);
}

static ebb_status dump(const way *w, int number, const char *name)
{
    char stage[40];
    if (!w->options->dump)
        return EBB_OK;
    snprintf(stage, sizeof stage, "%02d-%s", number, name);
    return w->options->dump(w->options->dump_context, stage, w->current, w->outputs, w->n_outputs,
                            w->error);
}

/* Gives the current graph away, or destroys it. */
static ebb_status finish(way *w, ebb_status status, ebb_graph **result)
{
    if (!status)
        status = ebb_graph_verify(w->current, w->error);
    if (!status)
        *result = w->owned;
    else
        ebb_graph_destroy(w->owned);
    if (w->outputs)
        ebb_release(w->allocator, w->outputs, w->outputs_bytes);
    return status;
}

static const ebb_passes_options no_options;

ebb_status ebb_passes_run(const ebb_graph *graph, const ebb_node *outputs, int n_outputs,
                          bool keep_updates, const ebb_passes_options *options, ebb_graph **result,
                          uint32_t *map, ebb_error *error)
{
    *result = NULL;
    way w;
    ebb_status status = begin(&w, graph, outputs, n_outputs, keep_updates,
                              options ? options : &no_options, map, error);
    if (!status)
        status = ebb_graph_verify(graph, error);
    if (!status)
        status = dump(&w, 0, "user");
    for (int i = 0; i < N_STAGES && !status; i++) {
        status = run_pass(&w, &stages[i]);
        if (!status)
            status = dump(&w, i + 1, stages[i].name);
    }
    if (!status)
        status = sweep(&w);
    if (!status)
        status = dump(&w, N_STAGES + 1, "sweep");
    return finish(&w, status, result);
}

ebb_status ebb_pass_run(const char *name, const ebb_graph *graph, const ebb_node *outputs,
                        int n_outputs, const ebb_passes_options *options, ebb_graph **result,
                        uint32_t *map, int64_t *hits, ebb_error *error)
{
    *result = NULL;
    *hits = 0;
    int i = 0;
    while (i < N_PASSES && (!name || strcmp(passes[i].name, name) != 0))
        i++;
    if (i == N_PASSES)
        return ebb_fail(error, EBB_NOT_FOUND, "there is no pass \"%s\"", name ? name : "(null)");
    way w;
    ebb_status status =
        begin(&w, graph, outputs, n_outputs, true, options ? options : &no_options, map, error);
    if (!status)
        status = ebb_graph_verify(graph, error);
    if (!status)
        status = run_pass(&w, &passes[i]);
    if (!status)
        status = sweep(&w);
    *hits = w.n_hits;
    return finish(&w, status, result);
}
