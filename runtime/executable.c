/* Running: feeds in, head, fetches of what was there before, tail, the other fetches, moves. */
#include "graph/graph_build.h"
#include "runtime/layout.h"
#include "runtime/runtime.h"

#include <string.h>

void ebb_executable_unbind(ebb_executable *e)
{
    for (size_t i = 0; i < e->n_variables; i++) {
        if (e->variables[i].is_bound)
            ebb_store_unbind(e->store, e->variables[i].entry);
        e->variables[i].is_bound = false;
    }
    if (e->has_entered)
        ebb_store_leave(e->store);
    e->has_entered = false;
}

void ebb_executable_destroy(ebb_executable *e)
{
    if (!e)
        return;
    ebb_executable_unbind(e);
    const ebb_allocator *a = e->allocator;
    size_t n_steps = e->steps.n;
    ebb_executable_stop_profile(e);
    ebb_executable_unlower(e);
    ebb_release(a, e->order, n_steps * sizeof *e->order);
    ebb_release(a, e->tasks, n_steps * sizeof *e->tasks);
    ebb_release(a, e->pointers, e->n_pointers * sizeof *e->pointers);
    ebb_release(a, e->patches, e->n_patches * sizeof *e->patches);
    ebb_release(a, e->packings, e->n_packings * sizeof *e->packings);
    ebb_release(a, e->scratches, e->n_scratches * sizeof *e->scratches);
    ebb_release(a, e->moves, e->n_variables * sizeof *e->moves);
    ebb_release(a, e->inputs, e->n_inputs * sizeof *e->inputs);
    ebb_release(a, e->fetches, e->n_fetches_listed * sizeof *e->fetches);
    ebb_release(a, e->variables, e->n_variables * sizeof *e->variables);
    ebb_release(a, e->arena_block, e->stats.arena_bytes);
    ebb_release(a, e->constant_block, e->stats.constant_bytes);
    ebb_release(a, e->packed_block, e->stats.packed_bytes);
    ebb_release(a, e->map, ((size_t)e->n_user_nodes + 1) * sizeof *e->map);
    ebb_graph_destroy(e->graph);
    ebb_arena_finish(&e->arena);
    ebb_release(a, e, sizeof *e);
}

const char *ebb_executable_message(const ebb_executable *e)
{
    return e ? e->error.message : "there is no executable";
}

/* ---- feeds and fetches ---- */

static ebb_input_slot *find_input(const ebb_executable *e, uint32_t user_id)
{
    size_t low = 0, high = e->n_inputs;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (e->inputs[middle].user_id < user_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < e->n_inputs && e->inputs[low].user_id == user_id ? &e->inputs[low] : NULL;
}

static size_t find_fetch(const ebb_executable *e, uint32_t user_id)
{
    size_t low = 0, high = e->n_fetches;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (e->fetches[middle].user_id < user_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < e->n_fetches && e->fetches[low].user_id == user_id ? low : SIZE_MAX;
}

/* A node that the user gave, by the executable's copy of it: the user's graph may be gone. */
static const char *describe(const ebb_executable *e, ebb_node node, char text[EBB_NODE_TEXT_BYTES])
{
    if (!node.id || node.graph != e->user_graph)
        return ebb_node_text(node, text);
    uint32_t id = node.id <= e->n_user_nodes ? e->map[node.id] : 0;
    if (id && *ebb_node_name(ebb_graph_node(e->graph, id)))
        return ebb_node_text(ebb_graph_node(e->graph, id), text);
    ebb_error number;
    ebb_fail(&number, EBB_OK, "%%%u", node.id);
    memcpy(text, number.message, 16);
    return text;
}

static bool is_aligned(const ebb_tensor *tensor)
{
    return (uintptr_t)tensor->data % ebb_dtype_bytes(tensor->type.dtype) == 0;
}

static ebb_status check_feed(ebb_executable *e, int index, const ebb_feed *feed,
                             ebb_input_slot **slot)
{
    char text[EBB_NODE_TEXT_BYTES], expected[EBB_TYPE_TEXT_BYTES], given[EBB_TYPE_TEXT_BYTES];
    *slot = feed->node.graph == e->user_graph ? find_input(e, feed->node.id) : NULL;
    if (!*slot)
        return ebb_fail(&e->error, EBB_BAD_FEED,
                        "feed %d: %s is not an input of the compiled graph \"%.80s\"", index,
                        describe(e, feed->node, text), ebb_graph_name(e->graph));
    if ((*slot)->fed == e->n_runs)
        return ebb_fail(&e->error, EBB_BAD_FEED, "feed %d: input \"%.200s\" is fed twice", index,
                        (*slot)->name);
    if (!ebb_type_equal(&feed->value.type, &(*slot)->type))
        return ebb_fail(&e->error, EBB_BAD_FEED,
                        "feed %d: input \"%.150s\" is %.120s, given %.120s", index, (*slot)->name,
                        ebb_type_text(&(*slot)->type, expected),
                        ebb_type_text(&feed->value.type, given));
    if (!feed->value.data && ebb_type_bytes(&(*slot)->type))
        return ebb_fail(&e->error, EBB_BAD_FEED, "feed %d: input \"%.200s\" is given no data",
                        index, (*slot)->name);
    if (!is_aligned(&feed->value))
        return ebb_fail(&e->error, EBB_BAD_FEED,
                        "feed %d: the data of input \"%.200s\" is not aligned to its "
                        "elements",
                        index, (*slot)->name);
    return EBB_OK;
}

static ebb_status take_feeds(ebb_executable *e, const ebb_feed *feeds, int n_feeds)
{
    size_t n_needed = 0;
    for (int i = 0; i < n_feeds; i++) {
        ebb_input_slot *slot;
        ebb_status status = check_feed(e, i, &feeds[i], &slot);
        if (status)
            return status;
        slot->fed = e->n_runs;
        n_needed += slot->node != 0;
        void *data = feeds[i].value.data ? feeds[i].value.data : e->arena_block;
        if (slot->data == data)
            continue;
        slot->data = data;
        for (size_t p = slot->first_patch; p < slot->first_patch + slot->n_patches; p++)
            e->pointers[e->patches[p].argument] = (char *)data + e->patches[p].offset_bytes;
    }
    if (n_needed == e->n_inputs_needed)
        return EBB_OK;
    char expected[EBB_TYPE_TEXT_BYTES];
    const ebb_input_slot *slot = e->inputs;
    while (!slot->node || slot->fed == e->n_runs)
        slot++;
    return ebb_fail(&e->error, EBB_BAD_FEED, "input \"%.200s\" (%.120s) is not fed", slot->name,
                    ebb_type_text(&slot->type, expected));
}

static ebb_status check_fetches(ebb_executable *e, const ebb_fetch *fetches, int n_fetches)
{
    char text[EBB_NODE_TEXT_BYTES], expected[EBB_TYPE_TEXT_BYTES], given[EBB_TYPE_TEXT_BYTES];
    for (int i = 0; i < n_fetches; i++) {
        const ebb_fetch *fetch = &fetches[i];
        size_t at = fetch->node.graph == e->user_graph ? find_fetch(e, fetch->node.id) : SIZE_MAX;
        if (at == SIZE_MAX)
            return ebb_fail(
                &e->error, EBB_BAD_NODE,
                "fetch %d: %s is not among the nodes of graph \"%.80s\" that were compiled to be "
                "fetched",
                i, describe(e, fetch->node, text), ebb_graph_name(e->graph));
        const ebb_type *type = e->fetches[at].type;
        describe(e, fetch->node, text);
        if (!ebb_type_equal(&fetch->value.type, type))
            return ebb_fail(
                &e->error, fetch->value.type.dtype == type->dtype ? EBB_BAD_SHAPE : EBB_BAD_DTYPE,
                "fetch %d: %.150s is %.120s, the memory for it %.120s", i, text,
                ebb_type_text(type, expected), ebb_type_text(&fetch->value.type, given));
        if ((!fetch->value.data && ebb_type_bytes(type)) || !is_aligned(&fetch->value))
            return ebb_fail(
                &e->error, EBB_BAD_ARGUMENT,
                "fetch %d: there is no memory for %.150s, or it is not aligned to its elements", i,
                text);
    }
    return EBB_OK;
}

static void copy_fetches(const ebb_executable *e, const ebb_fetch *fetches, int n_fetches,
                         bool early)
{
    for (int i = 0; i < n_fetches; i++) {
        size_t at = find_fetch(e, fetches[i].node.id), bytes;
        const ebb_fetch_slot *slot = &e->fetches[at];
        if (slot->is_early != early || !(bytes = ebb_type_bytes(slot->type)))
            continue;
        const void *source = e->pointers[e->arguments.n + at];
        if (slot->is_strided)
            ebb_layout_read(fetches[i].value.data, source, &slot->layout, slot->type);
        else
            memmove(fetches[i].value.data, source, bytes);
    }
}

/* ---- running ---- */

/* Puts the step's op, node and place in front of what the kernel said. */
static ebb_status fail_step(ebb_executable *e, const ebb_step *step, ebb_status status)
{
    ebb_node node = ebb_graph_node(e->graph, step->node);
    char text[EBB_NODE_TEXT_BYTES];
    ebb_error why = e->error;
    int line;
    const char *file = ebb_node_file(node, &line);
    const char *what = step->is_copy ? "copy" : ebb_node_op(node)->name;
    const char *said = why.message[0] ? why.message : ebb_status_text(status);
    if (!file)
        return ebb_fail(&e->error, status, "%s %.150s: %s", what, ebb_node_text(node, text), said);
    return ebb_fail(&e->error, status, "%s %.150s (%.100s:%d): %s", what, ebb_node_text(node, text),
                    ebb_base_name(file), line, said);
}

static ebb_status run_tasks(ebb_executable *e, size_t begin, size_t end)
{
    if (e->profile) {
        size_t failed;
        ebb_status status = ebb_profile_tasks(e, begin, end, &failed);
        return status ? fail_step(e, &ebb_executable_steps(e)[e->order[failed]], status) : EBB_OK;
    }
    for (size_t at = begin; at < end; at++) {
        const ebb_task *task = &e->tasks[at];
        ebb_status status = task->run(&task->call);
        if (!status && e->check_finite)
            status = ebb_finite_results(e, &ebb_executable_steps(e)[e->order[at]]);
        if (status)
            return fail_step(e, &ebb_executable_steps(e)[e->order[at]], status);
    }
    return EBB_OK;
}

ebb_status ebb_run(ebb_executable *e, const ebb_feed *feeds, int n_feeds, const ebb_fetch *fetches,
                   int n_fetches)
{
    if (!e)
        return EBB_BAD_ARGUMENT;
    e->error.message[0] = 0;
    if (!e->arena_block)
        return ebb_fail(&e->error, EBB_BAD_ARGUMENT,
                        "run: graph \"%.200s\" was compiled with plan_only",
                        ebb_graph_name(e->graph));
    e->n_runs++;
    if (n_feeds < 0 || n_fetches < 0 || (n_feeds && !feeds) || (n_fetches && !fetches))
        return ebb_fail(&e->error, EBB_BAD_ARGUMENT,
                        "run: %d feeds or %d fetches, and no list of them", n_feeds, n_fetches);
    ebb_status status = check_fetches(e, fetches, n_fetches);
    if (!status)
        status = take_feeds(e, feeds, n_feeds);
    if (!status)
        status = ebb_executable_pack(e);
    if (!status && e->check_finite)
        status = ebb_finite_sources(e);
    if (!status)
        status = run_tasks(e, 0, e->n_head);
    if (status)
        return status;
    copy_fetches(e, fetches, n_fetches, true);
    status = run_tasks(e, e->n_head, e->steps.n);
    if (status)
        return status;
    copy_fetches(e, fetches, n_fetches, false);
    const ebb_buffer *buffers = ebb_executable_buffers(e);
    for (size_t i = 0; i < e->n_moves; i++) {
        const ebb_buffer *from = &buffers[e->moves[i].buffer];
        if (from->bytes)
            memcpy(e->variables[e->moves[i].variable].entry->data, from->memory, from->bytes);
    }
    for (size_t i = 0; i < e->n_variables; i++) {
        if (e->variables[i].value)
            ebb_entry_touch(e->variables[i].entry);
    }
    return EBB_OK;
}
