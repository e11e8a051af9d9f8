/* What was planned: stats, steps, and the dumps of every stage. */
#include "graph/graph_build.h"
#include "runtime/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_PATH_BYTES 4096

ebb_executable_stats ebb_executable_get_stats(const ebb_executable *e)
{
    return e ? e->stats : (ebb_executable_stats){ 0 };
}

static const char *op_of(const ebb_executable *e, const ebb_step *step)
{
    return step->is_copy ? "copy" : ebb_node_op(ebb_graph_node(e->graph, step->node))->name;
}

bool ebb_executable_step(const ebb_executable *e, int64_t index, ebb_step_info *info)
{
    if (info)
        *info = (ebb_step_info){ 0 };
    if (!e || !info || index < 0 || (uint64_t)index >= e->steps.n)
        return false;
    const ebb_step *step = &ebb_executable_steps(e)[e->order[index]];
    *info = (ebb_step_info){ .op = op_of(e, step),
                             .backend = step->backend->name,
                             .implementation = step->kernel.implementation,
                             .name = ebb_node_name(ebb_graph_node(e->graph, step->node)),
                             .n_threads = step->kernel.n_threads,
                             .read_bytes = step->read_bytes,
                             .written_bytes = step->written_bytes };
    return true;
}

/* ---- files: written under another name first, so that a file under its own name is whole ---- */

typedef struct dump_file {
    FILE *out;
    char path[MAX_PATH_BYTES], part[MAX_PATH_BYTES];
} dump_file;

static ebb_status fail_io(const dump_file *file, int why, ebb_error *error)
{
    return ebb_fail(error, EBB_IO, "dump: cannot write %.380s: %s", file->path, strerror(why));
}

static ebb_status open_file(dump_file *file, const char *folder, const char *name,
                            const char *ending, ebb_error *error)
{
    int n = snprintf(file->path, sizeof file->path, "%s/%s%s", folder, name, ending);
    int m = snprintf(file->part, sizeof file->part, "%s/%s%s.part", folder, name, ending);
    if (n < 0 || m < 0 || (size_t)m >= sizeof file->part)
        return fail_io(file, ENAMETOOLONG, error);
    file->out = fopen(file->part, "w");
    return file->out ? EBB_OK : fail_io(file, errno, error);
}

/* `status` is that of the writing. */
static ebb_status close_file(dump_file *file, ebb_status status, ebb_error *error)
{
    bool failed = ferror(file->out) != 0;
    int why = fclose(file->out) != 0 || failed ? errno : 0;
    if (!why && !status && rename(file->part, file->path) != 0)
        why = errno;
    if (!failed && !why && !status)
        return EBB_OK;
    remove(file->part);
    if (status && status != EBB_IO)
        return ebb_fail(error, status, "dump: %.380s: %s", file->path, ebb_status_text(status));
    return fail_io(file, why ? why : EIO, error);
}

ebb_status ebb_dump_stage(void *context, const char *stage, const ebb_graph *graph,
                          const ebb_node *outputs, int64_t n_outputs, ebb_error *error)
{
    ebb_dump *dump = context;
    dump_file file;
    dump->n_stages++;
    ebb_status status = open_file(&file, dump->folder, stage, ".txt", error);
    if (status)
        return status;
    status = close_file(&file, ebb_graph_print(graph, file.out), error);
    if (status)
        return status;
    ebb_dot_options options = { .outputs = outputs, .n_outputs = (int)n_outputs };
    status = open_file(&file, dump->folder, stage, ".dot", error);
    return status ? status
                  : close_file(&file, ebb_graph_write_dot(graph, file.out, &options), error);
}

/* ---- the plan ---- */

/* Where a value lies: "arena+128", "variable fc1/w", "nowhere" (not computed). */
static void describe_place(const ebb_executable *e, uint32_t index, char *text, size_t text_bytes)
{
    const ebb_buffer *buffer = &ebb_executable_buffers(e)[index];
    if (buffer->kind == EBB_BUFFER_INPUT)
        snprintf(text, text_bytes, "input %s", e->inputs[buffer->index].name);
    else if (buffer->kind == EBB_BUFFER_VARIABLE)
        snprintf(text, text_bytes, "variable %s", ebb_executable_variable_name(e, buffer->index));
    else if (buffer->variable >= 0)
        snprintf(text, text_bytes, "variable %s",
                 ebb_executable_variable_name(e, (size_t)buffer->variable));
    else if (buffer->is_left_out)
        snprintf(text, text_bytes, "nowhere");
    else
        snprintf(text, text_bytes, "%s+%zu",
                 buffer->kind == EBB_BUFFER_ARENA ? "arena" : "constants", buffer->offset);
}

static void write_plan(const ebb_executable *e, FILE *out)
{
    const ebb_executable_stats *s = &e->stats;
    fprintf(out, "graph \"%s\": %lld nodes, %lld after the passes\n", ebb_graph_name(e->graph),
            (long long)s->n_nodes_built, (long long)s->n_nodes);
    fprintf(out, "%lld steps, %lld of them copies; %lld views\n", (long long)s->n_steps,
            (long long)s->n_copies, (long long)s->n_views);
    fprintf(out, "bytes: arena %zu (%zu without sharing), constants %zu, packed %zu, scratch %zu\n",
            s->arena_bytes, s->unplanned_bytes, s->constant_bytes, s->packed_bytes,
            s->scratch_bytes);
    for (size_t at = 0; at < e->steps.n; at++) {
        const ebb_step *step = &ebb_executable_steps(e)[e->order[at]];
        const ebb_argument *arguments = ebb_executable_arguments(e) + step->first_argument;
        char text[EBB_NODE_TEXT_BYTES];
        if (at == e->n_head)
            fprintf(out, "from here on variables are written:\n");
        fprintf(out, "%zu: %s %s, %s %s, %d thread%s, reads %zu, writes %zu bytes:", at,
                op_of(e, step), ebb_node_text(ebb_graph_node(e->graph, step->node), text),
                step->backend->name, step->kernel.implementation, step->kernel.n_threads,
                step->kernel.n_threads > 1 ? "s" : "", step->read_bytes, step->written_bytes);
        for (int i = 0; i < step->n_inputs + step->n_results; i++) {
            describe_place(e, arguments[i].buffer, text, sizeof text);
            fprintf(out, "%s %s", i == step->n_inputs ? " ->" : i ? "," : "", text);
            if (arguments[i].offset_bytes)
                fprintf(out, "[%zu..]", arguments[i].offset_bytes);
        }
        fprintf(out, "\n");
    }
    for (size_t i = 0; i < e->n_moves; i++) {
        char from[EBB_NODE_TEXT_BYTES];
        describe_place(e, e->moves[i].buffer, from, sizeof from);
        fprintf(out, "move %s -> variable %s\n", from,
                ebb_executable_variable_name(e, e->moves[i].variable));
    }
}

typedef struct plan_labels {
    const ebb_executable *e;
    uint32_t *step_of; /* by node: step plus one; 0: none */
} plan_labels;

static const ebb_step *step_of(const plan_labels *labels, ebb_node node)
{
    uint32_t step = labels->step_of[ebb_node_first_result(node, NULL).id];
    return step ? &ebb_executable_steps(labels->e)[step - 1] : NULL;
}

static void label_node(void *context, ebb_node node, char *text, size_t text_bytes)
{
    const ebb_step *step = step_of(context, node);
    text[0] = 0;
    if (step)
        snprintf(text, text_bytes, "%s %s", step->backend->name, step->kernel.implementation);
}

static void label_edge(void *context, ebb_node node, char *text, size_t text_bytes)
{
    const plan_labels *labels = context;
    const ebb_step *step = step_of(labels, node);
    char type[EBB_TYPE_TEXT_BYTES], place[EBB_NODE_TEXT_BYTES];
    ebb_type_text(ebb_node_type(node), type);
    if (!step) {
        snprintf(text, text_bytes, "%s", type);
        return;
    }
    int result;
    ebb_node_first_result(node, &result);
    const ebb_argument *arguments = ebb_executable_arguments(labels->e) + step->first_argument;
    describe_place(labels->e, arguments[step->n_inputs + result].buffer, place, sizeof place);
    snprintf(text, text_bytes, "%s %zu bytes %s", type, ebb_type_bytes(ebb_node_type(node)), place);
}

ebb_status ebb_dump_plan(ebb_executable *e, const ebb_dump *dump)
{
    dump_file file;
    ebb_status status = open_file(&file, dump->folder, "plan", ".txt", &e->error);
    if (status)
        return status;
    write_plan(e, file.out);
    status = close_file(&file, EBB_OK, &e->error);
    if (status)
        return status;
    size_t bytes = ((size_t)ebb_graph_n_nodes(e->graph) + 1) * sizeof(uint32_t);
    plan_labels labels = { .e = e, .step_of = ebb_allocate(e->allocator, bytes) };
    if (!labels.step_of)
        return ebb_fail(&e->error, EBB_OUT_OF_MEMORY, "dump: out of memory");
    memset(labels.step_of, 0, bytes);
    for (size_t s = 0; s < e->steps.n; s++) {
        if (!ebb_executable_steps(e)[s].is_copy)
            labels.step_of[ebb_executable_steps(e)[s].node] = (uint32_t)s + 1;
    }
    ebb_dot_options options = { .edge_label = label_edge,
                                .node_label = label_node,
                                .context = &labels };
    status = open_file(&file, dump->folder, "plan", ".dot", &e->error);
    if (!status)
        status = close_file(&file, ebb_graph_write_dot(e->graph, file.out, &options), &e->error);
    ebb_release(e->allocator, labels.step_of, bytes);
    return status;
}
