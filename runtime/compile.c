/* The way from a graph to an executable: checks, passes, decompositions, lowering, order, memory,
 * store. */
#include "backends/parallel.h"
#include "graph/graph_build.h"
#include "ops/descriptors.h"
#include "ops/random.h"
#include "passes/passes.h"
#include "passes/rewrite.h"
#include "runtime/tune.h"

#include <stdio.h>
#include <string.h>

#define MOST_DECOMPOSITIONS 32 /* of parts of parts of parts */

static ebb_status out_of_memory(ebb_executable *e)
{
    return ebb_fail(&e->error, EBB_OUT_OF_MEMORY, "compile: out of memory");
}

/* ---- options ---- */

static ebb_status choose_backends(ebb_executable *e, const ebb_compile_options *options)
{
    if (!options->backends && !options->n_backends) {
        e->backends = ebb_backend_list(options->backend, &e->n_backends);
        if (!e->backends)
            return ebb_fail(
                &e->error, EBB_BAD_ARGUMENT,
                "compile: there is no backend \"%.80s\"; there are onednn and reference",
                options->backend);
        return EBB_OK;
    }
    if (!options->backends || options->n_backends < 1 || options->n_backends > EBB_MAX_BACKENDS)
        return ebb_fail(&e->error, EBB_BAD_ARGUMENT,
                        "compile: a list of %d backends; 1 to %d are allowed",
                        options->backends ? options->n_backends : 0, EBB_MAX_BACKENDS);
    size_t bytes = (size_t)options->n_backends * sizeof *options->backends;
    const ebb_backend **own = ebb_arena_allocate(&e->arena, bytes, sizeof(void *));
    if (!own)
        return out_of_memory(e);
    for (int b = 0; b < options->n_backends; b++) {
        own[b] = options->backends[b];
        if (!own[b] || !own[b]->name || !own[b]->score || !own[b]->compile)
            return ebb_fail(&e->error, EBB_BAD_ARGUMENT,
                            "compile: backend %d is NULL or lacks name, score or compile", b);
    }
    e->backends = own;
    e->n_backends = options->n_backends;
    return EBB_OK;
}

static ebb_status check_options(ebb_executable *e, const ebb_graph *graph,
                                const ebb_compile_options *options)
{
    int n = options->n_fetches;
    if (n < 0 || (n > 0 && !options->fetches))
        return ebb_fail(&e->error, EBB_BAD_ARGUMENT, "compile: %d fetches, and no list of them", n);
    for (int i = 0; i < n; i++) {
        char text[EBB_NODE_TEXT_BYTES];
        ebb_node node = options->fetches[i];
        if (!ebb_graph_owns(graph, node))
            return ebb_fail(&e->error, EBB_BAD_NODE,
                            "compile: fetch %d (%.200s) is not a node of graph \"%.80s\"", i,
                            ebb_node_text(node, text), ebb_graph_name(graph));
    }
    if (n == 0 && !e->has_updates)
        return ebb_fail(
            &e->error, EBB_BAD_ARGUMENT,
            "compile: nothing to do: graph \"%.80s\" has no updates%s, and there are no fetches",
            ebb_graph_name(graph), options->skip_updates ? " that count" : "");
    if (options->n_threads < 0 || options->n_threads > EBB_MAX_THREADS)
        return ebb_fail(&e->error, EBB_BAD_ARGUMENT, "compile: %d threads; 0 to %d are allowed",
                        options->n_threads, EBB_MAX_THREADS);
    if (options->memory_budget < 0)
        return ebb_fail(&e->error, EBB_BAD_ARGUMENT, "compile: a memory budget of %lld bytes",
                        (long long)options->memory_budget);
    if (options->check_finite && options->profile)
        return ebb_fail(&e->error, EBB_BAD_ARGUMENT,
                        "compile: check_finite and profile exclude each other: what is looked at "
                        "takes other times");
    const ebb_status status = ebb_check_fusions(options->skip_fusions, &e->error);
    if (status)
        return status;
    e->n_threads = options->n_threads ? options->n_threads : ebb_threads_default();
    if (e->n_threads < 1)
        e->n_threads = 1;
    if (e->n_threads > EBB_MAX_THREADS)
        e->n_threads = EBB_MAX_THREADS;
    return choose_backends(e, options);
}

/* ---- what the user will name ---- */

/* All inputs of the user's graph and, each once, all fetches; by ascending id. */
static ebb_status list_user_nodes(ebb_executable *e, const ebb_graph *graph,
                                  const ebb_compile_options *options)
{
    size_t n_ids = (size_t)e->n_user_nodes + 1, n_inputs = 0,
           n_fetches = (size_t)options->n_fetches;
    for (uint32_t id = 1; id <= e->n_user_nodes; id++)
        n_inputs += ebb_node_op(ebb_graph_node(graph, id)) == &ebb_op_input;
    uint8_t *is_fetched = ebb_allocate(e->allocator, n_ids);
    e->inputs = ebb_allocate(e->allocator, n_inputs * sizeof *e->inputs);
    if (e->inputs)
        e->n_inputs = n_inputs;
    e->fetches = ebb_allocate(e->allocator, n_fetches * sizeof *e->fetches);
    if (e->fetches)
        e->n_fetches_listed = n_fetches;
    bool done = is_fetched && e->inputs && e->fetches;
    if (done) {
        memset(is_fetched, 0, n_ids);
        for (size_t i = 0; i < n_fetches; i++)
            is_fetched[options->fetches[i].id] = 1;
    }
    n_inputs = 0;
    for (uint32_t id = 1; id <= e->n_user_nodes && done; id++) {
        ebb_node node = ebb_graph_node(graph, id);
        if (is_fetched[id])
            e->fetches[e->n_fetches++] = (ebb_fetch_slot){ .user_id = id };
        if (ebb_node_op(node) != &ebb_op_input)
            continue;
        const ebb_input_attrs *attrs = ebb_node_attrs(node);
        const char *name = ebb_arena_copy_text(&e->arena, attrs->name, strlen(attrs->name));
        done = name != NULL;
        e->inputs[n_inputs++] =
            (ebb_input_slot){ .user_id = id, .name = name, .type = *ebb_node_type(node) };
    }
    ebb_release(e->allocator, is_fetched, n_ids);
    return done ? EBB_OK : out_of_memory(e);
}

/* ---- graph -> graph ---- */

static int64_t count_updates(const ebb_executable *e, const ebb_graph *graph)
{
    return e->has_updates ? ebb_graph_n_updates(graph) : 0;
}

/* Marks what the fetches (ids of `graph`) and the updates need. */
static ebb_status mark_live(ebb_executable *e, const ebb_graph *graph, bool is_user_graph,
                            uint8_t *live)
{
    const size_t bytes = e->n_fetches * sizeof(ebb_node);
    ebb_node *fetches = ebb_allocate(e->allocator, bytes);
    if (!fetches)
        return out_of_memory(e);
    for (size_t i = 0; i < e->n_fetches; i++)
        fetches[i] =
            ebb_graph_node(graph, is_user_graph ? e->fetches[i].user_id : e->fetches[i].node);
    memset(live, 0, (size_t)ebb_graph_n_nodes(graph) + 1);
    ebb_graph_mark_kept(graph, fetches, (int64_t)e->n_fetches, e->has_updates, live, NULL);
    ebb_release(e->allocator, fetches, bytes);
    return EBB_OK;
}

static ebb_status copy_user_graph(ebb_executable *e, const ebb_graph *graph)
{
    size_t n_ids = (size_t)e->n_user_nodes + 1;
    uint8_t *live = ebb_allocate(e->allocator, n_ids);
    if (!live)
        return out_of_memory(e);
    ebb_status status = mark_live(e, graph, true, live);
    if (!status)
        status =
            ebb_graph_decompose(graph, live, NULL, e->has_updates, &e->graph, e->map, &e->error);
    ebb_release(e->allocator, live, n_ids);
    return status;
}

/* Fetches and inputs as nodes of the executable's graph. */
static ebb_status apply_map(ebb_executable *e)
{
    for (size_t i = 0; i < e->n_inputs; i++)
        e->inputs[i].node = e->map[e->inputs[i].user_id];
    for (size_t i = 0; i < e->n_fetches; i++) {
        e->fetches[i].node = e->map[e->fetches[i].user_id];
        if (!e->fetches[i].node)
            return ebb_fail(&e->error, EBB_INTERNAL, "compile: fetched node %%%u was lost",
                            e->fetches[i].user_id);
    }
    return EBB_OK;
}

static ebb_status make_graph(ebb_executable *e, const ebb_graph *graph,
                             const ebb_compile_options *options, ebb_dump *dump)
{
    e->map = ebb_allocate(e->allocator, ((size_t)e->n_user_nodes + 1) * sizeof *e->map);
    if (!e->map)
        return out_of_memory(e);
    memset(e->map, 0, ((size_t)e->n_user_nodes + 1) * sizeof *e->map);
    ebb_status status = EBB_OK;
    if (options->skip_passes) {
        if (dump->folder)
            status = ebb_dump_stage(dump, "00-user", graph, options->fetches, options->n_fetches,
                                    &e->error);
        if (!status)
            status = copy_user_graph(e, graph);
    } else {
        ebb_passes_options passes = { .fast_math = options->fast_math,
                                      .log = e->log,
                                      .dump = dump->folder ? ebb_dump_stage : NULL,
                                      .dump_context = dump };
        status = ebb_passes_run(graph, options->fetches, options->n_fetches, e->has_updates,
                                &passes, &e->graph, e->map, &e->error);
    }
    return status ? status : apply_map(e);
}

ebb_status ebb_executable_take(ebb_executable *e, ebb_graph *graph, const uint32_t *map,
                               const char *stage, ebb_dump *dump)
{
    char numbered[32];
    ebb_graph_destroy(e->graph);
    e->graph = graph;
    for (uint32_t id = 1; id <= e->n_user_nodes; id++)
        e->map[id] = map[e->map[id]];
    ebb_status status = apply_map(e);
    if (status || !dump->folder)
        return status;
    snprintf(numbered, sizeof numbered, "%02d-%.20s", dump->n_stages, stage);
    return ebb_dump_stage(dump, numbered, e->graph, NULL, 0, &e->error);
}

/* Exchanges the marked nodes of the executable's graph for their decompositions. */
static ebb_status decompose(ebb_executable *e, const uint8_t *live, const uint8_t *replace,
                            ebb_dump *dump)
{
    size_t map_bytes = ((size_t)ebb_graph_n_nodes(e->graph) + 1) * sizeof *e->map;
    uint32_t *map = ebb_allocate(e->allocator, map_bytes);
    ebb_graph *graph = NULL;
    if (!map)
        return out_of_memory(e);
    ebb_status status =
        ebb_graph_decompose(e->graph, live, replace, e->has_updates, &graph, map, &e->error);
    if (!status)
        status = ebb_executable_take(e, graph, map, "decompose", dump);
    ebb_release(e->allocator, map, map_bytes);
    return status;
}

/* ---- variables ---- */

/* The live variables of the executable's graph, by ascending id, with the values they are updated
 * with. */
static ebb_status list_variables(ebb_executable *e, const uint8_t *live)
{
    size_t n = 0;
    uint32_t n_nodes = ebb_graph_n_nodes(e->graph);
    for (uint32_t id = 1; id <= n_nodes; id++)
        n += live[id] && ebb_node_op(ebb_graph_node(e->graph, id)) == &ebb_op_variable;
    e->variables = ebb_allocate(e->allocator, n * sizeof *e->variables);
    if (e->variables) {
        memset(e->variables, 0, n * sizeof *e->variables);
        e->n_variables = n;
    }
    e->moves = e->variables ? ebb_allocate(e->allocator, n * sizeof *e->moves) : NULL;
    if (!e->moves)
        return out_of_memory(e);
    n = 0;
    for (uint32_t id = 1; id <= n_nodes; id++) {
        if (live[id] && ebb_node_op(ebb_graph_node(e->graph, id)) == &ebb_op_variable)
            e->variables[n++] = (ebb_variable_slot){ .node = id };
    }
    ebb_node variable, value;
    for (int64_t i = 0; i < count_updates(e, e->graph); i++) {
        ebb_graph_update(e->graph, i, &variable, &value);
        size_t low = 0, high = n;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (e->variables[middle].node < variable.id)
                low = middle + 1;
            else
                high = middle;
        }
        if (low < n && value.id != variable.id)
            e->variables[low].value = value.id;
    }
    return EBB_OK;
}

static void forget_variables(ebb_executable *e)
{
    ebb_release(e->allocator, e->variables, e->n_variables * sizeof *e->variables);
    ebb_release(e->allocator, e->moves, e->n_variables * sizeof *e->moves);
    e->variables = NULL;
    e->moves = NULL;
    e->n_variables = 0;
}

/* The entries get the layouts that were planned. */
static ebb_status enter_store(ebb_executable *e)
{
    ebb_status status = EBB_OK;
    if (!e->store)
        return EBB_OK;
    ebb_store_enter(e->store);
    e->has_entered = true;
    for (size_t i = 0; i < e->n_variables && !status; i++) {
        ebb_variable_slot *slot = &e->variables[i];
        status = ebb_store_bind(e->store, slot->entry, &slot->layout, &e->error);
        slot->is_bound = !status;
    }
    return status;
}

/* Entries for all variables; new ones get their first values, unless only a plan is wanted. */
static ebb_status bind_variables(ebb_executable *e, bool plan_only)
{
    for (size_t i = 0; i < e->n_variables; i++) {
        ebb_variable_slot *slot = &e->variables[i];
        const ebb_variable_attrs *attrs = ebb_node_attrs(ebb_graph_node(e->graph, slot->node));
        if (!e->store && plan_only)
            continue;
        if (!e->store)
            return ebb_fail(&e->error, EBB_BAD_ARGUMENT,
                            "compile: variable \"%.200s\" needs a store, and the options have none",
                            attrs->name);
        slot->entry = ebb_store_find(e->store, attrs->name);
        if (slot->entry && !ebb_type_equal(&slot->entry->type, &attrs->type)) {
            char has[EBB_TYPE_TEXT_BYTES], needs[EBB_TYPE_TEXT_BYTES];
            return ebb_fail(
                &e->error,
                slot->entry->type.dtype == attrs->type.dtype ? EBB_BAD_SHAPE : EBB_BAD_DTYPE,
                "compile: variable \"%.150s\" is %.120s in the graph and %.120s in the store",
                attrs->name, ebb_type_text(&attrs->type, needs),
                ebb_type_text(&slot->entry->type, has));
        }
        if (slot->entry || plan_only)
            continue;
        ebb_status status =
            ebb_store_add(e->store, attrs->name, &attrs->type, &slot->entry, &e->error);
        if (status)
            return status;
        ebb_init init = { .kind = (ebb_init_kind)attrs->init,
                          .a = attrs->a,
                          .b = attrs->b,
                          .seed = (uint64_t)attrs->seed };
        ebb_tensor value =
            ebb_tensor_borrow(attrs->type.dtype, attrs->type.shape, slot->entry->data);
        ebb_init_fill(&init, attrs->name, &value);
    }
    return plan_only ? EBB_OK : enter_store(e);
}

/* ---- graph -> steps ---- */

/* Operations of one run below which all of it runs on one thread by default: about half a
 * millisecond, of which a second thread would take a fifth off when the machine is idle. When it is
 * not, threads that wait for each other by spinning cost many times that. */
#define LEAST_SHARED_FLOPS 5e7

static void choose_n_threads(ebb_executable *e, const uint8_t *live)
{
    double flops = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(e->graph); id++) {
        ebb_node node = ebb_graph_node(e->graph, id);
        if (live[id] && ebb_node_first_result(node, NULL).id == id)
            flops += ebb_node_flops(node);
    }
    if (flops < LEAST_SHARED_FLOPS)
        e->n_threads = 1;
}

/* One round: lowers the graph, or decomposes what nobody takes, or fuses, and then *again. */
static ebb_status lower_round(ebb_executable *e, uint8_t *live, uint8_t *replace, ebb_dump *dump,
                              bool *again)
{
    ebb_status status = mark_live(e, e->graph, false, live);
    if (status)
        return status;
    if (e->may_choose_threads) {
        choose_n_threads(e, live);
        e->may_choose_threads = false;
    }
    int64_t n_replace = ebb_executable_find_library(e, live, replace);
    if (!n_replace && e->may_anchor) {
        *again = true;
        return ebb_executable_anchor(e, dump);
    }
    if (!n_replace && e->may_fuse) {
        *again = true;
        return ebb_executable_fuse(e, dump);
    }
    if (!n_replace) {
        status = list_variables(e, live);
        if (!status)
            status = ebb_executable_lower(e, live, replace, &n_replace);
        if (status != EBB_UNSUPPORTED || !n_replace)
            return status;
        ebb_executable_unlower(e);
        forget_variables(e);
    }
    *again = true;
    return decompose(e, live, replace, dump);
}

static ebb_status lower_graph(ebb_executable *e, ebb_dump *dump)
{
    bool again = true;
    for (int round = 0; again; round++) {
        size_t n_ids = (size_t)ebb_graph_n_nodes(e->graph) + 1;
        uint8_t *live = ebb_allocate(e->allocator, n_ids),
                *replace = ebb_allocate(e->allocator, n_ids);
        ebb_status status = live && replace ? EBB_OK : out_of_memory(e);
        again = false;
        if (!status && round > MOST_DECOMPOSITIONS)
            status = ebb_fail(
                &e->error, EBB_UNSUPPORTED,
                "compile: decompositions of decompositions do not end after %d rounds", round);
        if (!status) {
            memset(replace, 0, n_ids);
            status = lower_round(e, live, replace, dump, &again);
        }
        e->stats.n_nodes = 0;
        for (size_t id = 1; id < n_ids && !status; id++)
            e->stats.n_nodes += live[id] != 0;
        ebb_release(e->allocator, live, n_ids);
        ebb_release(e->allocator, replace, n_ids);
        if (status)
            return status;
    }
    for (size_t i = 0; i < e->n_inputs; i++)
        e->n_inputs_needed += e->inputs[i].node != 0;
    return EBB_OK;
}

static void count_steps(ebb_executable *e)
{
    const ebb_step *steps = ebb_executable_steps(e);
    e->stats.n_steps = (int64_t)e->steps.n;
    for (size_t s = 0; s < e->steps.n; s++) {
        e->stats.n_fused +=
            !steps[s].is_copy &&
            ebb_op_has_program(ebb_node_op(ebb_graph_node(e->graph, steps[s].node)));
        e->stats.n_copies += steps[s].is_copy;
        e->stats.n_reorders += steps[s].is_reorder;
        e->stats.n_kernel_reorders += steps[s].kernel.n_reorders;
    }
    if (!e->log.write)
        return;
    char line[EBB_MESSAGE_BYTES];
    snprintf(line, sizeof line,
             "graph \"%.80s\": %lld nodes, %lld after the passes; %lld steps, %lld of them copies; "
             "arena %zu bytes",
             ebb_graph_name(e->graph), (long long)e->stats.n_nodes_built,
             (long long)e->stats.n_nodes, (long long)e->stats.n_steps, (long long)e->stats.n_copies,
             e->stats.arena_bytes);
    e->log.write(e->log.context, EBB_LOG_INFO, line);
}

/* ---- a plan ---- */

typedef struct planning {
    const ebb_graph *graph;
    const ebb_compile_options *options;
} planning;

static ebb_status prepare(void *context, ebb_executable *e, ebb_dump *dump)
{
    const planning *p = context;
    e->may_choose_threads = p->options->n_threads == 0;
    e->skip_fusions = p->options->skip_fusions;
    e->may_fuse = !p->options->skip_passes && !p->options->check_finite;
    e->may_anchor = e->may_fuse && !ebb_names_have(e->skip_fusions, "anchors");
    return make_graph(e, p->graph, p->options, dump);
}

static ebb_status plan(void *context, ebb_executable *e, ebb_dump *dump)
{
    dump->n_stages = 0;
    ebb_status status = prepare(context, e, dump);
    if (!status && e->recompute.what)
        status = ebb_executable_rematerialize(e, dump);
    if (!status)
        status = lower_graph(e, dump);
    if (!status)
        status = ebb_executable_order(e);
    if (!status)
        status = ebb_executable_plan(e);
    return status;
}

void ebb_executable_unplan(ebb_executable *e)
{
    const ebb_allocator *a = e->allocator;
    const size_t n_steps = e->steps.n;
    ebb_executable_unlower(e);
    forget_variables(e);
    ebb_release(a, e->order, n_steps * sizeof *e->order);
    ebb_release(a, e->scratches, e->n_scratches * sizeof *e->scratches);
    ebb_release(a, e->packings, e->n_packings * sizeof *e->packings);
    ebb_release(a, e->map, ((size_t)e->n_user_nodes + 1) * sizeof *e->map);
    ebb_graph_destroy(e->graph);
    e->order = NULL;
    e->scratches = NULL;
    e->packings = NULL;
    e->map = NULL;
    e->graph = NULL;
    e->n_scratches = e->n_packings = e->n_inputs_needed = 0;
    for (size_t i = 0; i < e->n_fetches; i++)
        e->fetches[i] = (ebb_fetch_slot){ .user_id = e->fetches[i].user_id };
    e->stats = (ebb_executable_stats){ .n_nodes_built = e->stats.n_nodes_built };
    e->recompute_cost = (ebb_rematerialize_cost){ 0 };
}

static ebb_status compile_graph(ebb_executable *e, const ebb_graph *graph,
                                const ebb_compile_options *options)
{
    ebb_dump dump = { .folder = options->dump_dir };
    planning p = { graph, options };
    const ebb_planner planner = { prepare, plan, &p };
    ebb_status status = check_options(e, graph, options);
    if (!status)
        status = ebb_tuner_start(e, options);
    if (!status)
        status = list_user_nodes(e, graph, options);
    if (!status && options->memory_budget)
        status = ebb_executable_fit(e, (size_t)options->memory_budget, &planner, &dump);
    else if (!status && !options->skip_passes)
        status = ebb_executable_shrink(e, &planner, &dump);
    else if (!status)
        status = plan(&p, e, &dump);
    if (!status)
        status = bind_variables(e, options->plan_only);
    if (!status && !options->plan_only)
        status = ebb_executable_bind(e);
    if (!status && !options->plan_only)
        status = ebb_executable_pack(e);
    if (!status)
        count_steps(e);
    if (!status && options->profile)
        status = ebb_executable_start_profile(e);
    if (!status && dump.folder)
        status = ebb_dump_plan(e, &dump);
    return status;
}

ebb_status ebb_compile(ebb_graph *graph, const ebb_compile_options *options,
                       ebb_executable **executable)
{
    static const ebb_compile_options no_options = { .fetches = NULL };
    if (executable)
        *executable = NULL;
    ebb_status status = ebb_graph_status(graph);
    if (status)
        return status;
    if (!executable)
        return ebb_graph_report(graph, EBB_BAD_ARGUMENT, "compile: no place for the executable");
    if (!options)
        options = &no_options;
    ebb_executable *e = ebb_allocate(options->allocator, sizeof *e);
    if (!e)
        return ebb_graph_report(graph, EBB_OUT_OF_MEMORY, "compile: out of memory");
    *e = (ebb_executable){
        .allocator = options->allocator,
        .log = options->log.write ? options->log : ebb_graph_logger(graph),
        .store = options->store,
        .user_graph = graph,
        .n_user_nodes = ebb_graph_n_nodes(graph),
        .has_updates = !options->skip_updates && ebb_graph_n_updates(graph) > 0,
        .check_finite = options->check_finite,
        .stats = { .n_nodes_built = ebb_graph_n_nodes(graph) },
    };
    ebb_arena_init(&e->arena, options->allocator);
    int64_t store_size = ebb_store_size(options->store);
    status = compile_graph(e, graph, options);
    ebb_tuner_stop(e);
    if (status) {
        ebb_executable_unbind(e);
        if (options->store)
            ebb_store_shrink(options->store, store_size);
        ebb_graph_report(graph, status, "%s", e->error.message);
        ebb_executable_destroy(e);
        return status;
    }
    e->error.message[0] = 0;
    *executable = e;
    return EBB_OK;
}
