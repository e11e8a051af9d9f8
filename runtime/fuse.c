/* Fusion of element-wise nodes, as far as backends have kernels for programs. */
#include "passes/fuse.h"
#include "passes/norms.h"
#include "passes/pools.h"
#include "passes/rules.h"
#include "passes/tiles.h"
#include "runtime/choose.h"

#include <stdio.h>
#include <string.h>

/* True if a backend takes a program of this node alone, better than with plain loops, and nobody
 * would rather have the node as it is. */
static bool may_fuse(void *context, ebb_node node)
{
    const ebb_op *op = ebb_node_op(node);
    const int32_t value = op->n_inputs;
    ebb_instruction instruction = { .op = op,
                                    .attrs = op->attrs_bytes ? ebb_node_attrs(node) : NULL };
    const ebb_program program = { .n_inputs = op->n_inputs,
                                  .n_instructions = 1,
                                  .n_results = 1,
                                  .instructions = &instruction,
                                  .results = &value };
    const ebb_fused_attrs attrs = { &program };
    const ebb_type *inputs[EBB_MAX_INSTRUCTION_INPUTS], *result = ebb_node_type(node);
    for (int i = 0; i < op->n_inputs; i++) {
        inputs[i] = ebb_node_type(ebb_node_input(node, i));
        instruction.inputs[i] = i;
    }
    int fusing, taking;
    const int fused =
        ebb_choose_dense(context, &ebb_op_fused, &attrs, op->n_inputs, inputs, &result, &fusing);
    if (fused <= EBB_SCORE_REFERENCE)
        return false;
    const int alone = ebb_choose_node(context, node, &taking);
    return fused > alone || (fused == alone && fusing <= taking);
}

/* For ebb_join_options. */
static bool takes_joined(void *context, const ebb_op *op, const void *attrs, int n_inputs,
                         const ebb_type *const *inputs, const ebb_type *const *results)
{
    int who;
    return ebb_choose_dense(context, op, attrs, n_inputs, inputs, results, &who) >=
           EBB_SCORE_NATIVE;
}

/* A pass over the executable's graph. */
typedef ebb_status (*graph_pass)(ebb_executable *e, const ebb_node *outputs, ebb_graph **graph,
                                 uint32_t *map, int64_t *n);

static ebb_status join_pools(ebb_executable *e, const ebb_node *outputs, ebb_graph **graph,
                             uint32_t *map, int64_t *n)
{
    const ebb_join_options options = { takes_joined, e, e->has_updates };
    return ebb_pools_join_run(&options, e->graph, outputs, (int64_t)e->n_fetches, graph, map, n,
                              &e->error);
}

static ebb_status join_norms(ebb_executable *e, const ebb_node *outputs, ebb_graph **graph,
                             uint32_t *map, int64_t *n)
{
    const ebb_join_options options = { takes_joined, e, e->has_updates };
    return ebb_norms_run(&options, e->graph, outputs, (int64_t)e->n_fetches, graph, map, n,
                         &e->error);
}

static ebb_status make_programs(ebb_executable *e, const ebb_node *outputs, ebb_graph **graph,
                                uint32_t *map, int64_t *n)
{
    const ebb_fuse options = { .limits = EBB_FUSE_LIMITS,
                               .may_fuse = may_fuse,
                               .context = e,
                               .keep_updates = e->has_updates };
    return ebb_fuse_run(&options, e->graph, outputs, (int64_t)e->n_fetches, graph, map, n,
                        &e->error);
}

static ebb_status make_tiles(ebb_executable *e, ebb_tiles_what what, const ebb_node *outputs,
                             ebb_graph **graph, uint32_t *map, int64_t *n)
{
    const ebb_tiles options = { what, { takes_joined, e, e->has_updates }, may_fuse };
    return ebb_tiles_run(&options, e->graph, outputs, (int64_t)e->n_fetches, graph, map, n,
                         &e->error);
}

static ebb_status take_in_random(ebb_executable *e, const ebb_node *outputs, ebb_graph **graph,
                                 uint32_t *map, int64_t *n)
{
    return make_tiles(e, EBB_TILES_RANDOM, outputs, graph, map, n);
}

static ebb_status take_in_reductions(ebb_executable *e, const ebb_node *outputs, ebb_graph **graph,
                                     uint32_t *map, int64_t *n)
{
    return make_tiles(e, EBB_TILES_REDUCTIONS, outputs, graph, map, n);
}

static ebb_status run_pass(ebb_executable *e, ebb_dump *dump, const char *name, graph_pass pass)
{
    const size_t map_bytes = ((size_t)ebb_graph_n_nodes(e->graph) + 1) * sizeof(uint32_t);
    const size_t outputs_bytes = e->n_fetches * sizeof(ebb_node);
    uint32_t *map = ebb_allocate(e->allocator, map_bytes);
    ebb_node *outputs = ebb_allocate(e->allocator, outputs_bytes);
    ebb_graph *graph = NULL;
    int64_t n = 0;
    ebb_status status = EBB_OUT_OF_MEMORY;
    if (map && outputs) {
        for (size_t i = 0; i < e->n_fetches; i++)
            outputs[i] = ebb_graph_node(e->graph, e->fetches[i].node);
        status = pass(e, outputs, &graph, map, &n);
    } else {
        ebb_fail(&e->error, status, "compile: out of memory");
    }
    if (graph)
        status = ebb_executable_take(e, graph, map, name, dump);
    if (!status && e->log.write) {
        char line[EBB_MESSAGE_BYTES];
        snprintf(line, sizeof line, "pass %.20s: %lld times", name, (long long)n);
        e->log.write(e->log.context, EBB_LOG_DEBUG, line);
    }
    ebb_release(e->allocator, outputs, outputs_bytes);
    ebb_release(e->allocator, map, map_bytes);
    return status;
}

/* The passes, and their names in skip_fusions. */
static const struct {
    const char *fusion, *pass;
    graph_pass run;
} passes[] = { { "join", "join", join_pools },
               { "norms", "norms", join_norms },
               { "programs", "fuse", make_programs },
               { "random", "random", take_in_random },
               { "reductions", "reductions", take_in_reductions } };
enum { N_PASSES = sizeof passes / sizeof *passes };

ebb_status ebb_executable_fuse(ebb_executable *e, ebb_dump *dump)
{
    e->may_fuse = false;
    ebb_status status = EBB_OK;
    for (int i = 0; i < N_PASSES && !status; i++)
        if (!ebb_names_have(e->skip_fusions, passes[i].fusion))
            status = run_pass(e, dump, passes[i].pass, passes[i].run);
    return status;
}

static bool is_fusion(const char *name)
{
    for (int r = 0; r < ebb_rules_anchors.n_rules; r++)
        if (!strcmp(name, ebb_rules_anchors.rules[r].name))
            return true;
    for (int i = 0; i < N_PASSES; i++)
        if (!strcmp(name, passes[i].fusion))
            return true;
    return !strcmp(name, ebb_rules_anchors.name);
}

ebb_status ebb_check_fusions(const char *skip_fusions, ebb_error *error)
{
    for (const char *at = skip_fusions; at && *at;) {
        char name[40];
        const size_t n = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", n < sizeof name ? (int)n : (int)sizeof name - 1, at);
        if (n >= sizeof name || !is_fusion(name))
            return ebb_fail(error, EBB_BAD_ARGUMENT,
                            "compile: skip_fusions: there is no fusion \"%s\"", name);
        at += n + (at[n] == ',');
    }
    return EBB_OK;
}
