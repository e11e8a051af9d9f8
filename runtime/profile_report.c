/* Tables and traces of a profile. */
#include "ops/descriptors.h"
#include "runtime/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_BYTES 120

static const ebb_step *step_at(const ebb_executable *e, size_t position)
{
    return &ebb_executable_steps(e)[e->order[position]];
}

static double flops_of(const ebb_executable *e, const ebb_step *step)
{
    return step->is_copy ? 0 : ebb_node_flops(ebb_graph_node(e->graph, step->node));
}

static ebb_status check_profile(const ebb_executable *e, const FILE *out, ebb_error *error)
{
    if (!e || !out)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "profile: there is no %s",
                        e ? "file" : "executable");
    if (!e->profile)
        return ebb_fail(error, EBB_BAD_ARGUMENT,
                        "profile: graph \"%.80s\" was compiled without .profile",
                        ebb_graph_name(e->graph));
    return EBB_OK;
}

static ebb_status check_written(FILE *out, ebb_error *error)
{
    return fflush(out) == 0 && !ferror(out)
               ? EBB_OK
               : ebb_fail(error, EBB_IO, "profile: cannot write: %s", strerror(errno));
}

bool ebb_profile_step(const ebb_executable *e, int64_t index, ebb_step_profile *profile)
{
    if (profile)
        *profile = (ebb_step_profile){ 0 };
    if (!e || !e->profile || !profile || index < 0 || (uint64_t)index >= e->steps.n)
        return false;
    const ebb_step_time *time = &e->profile->times[index];
    *profile = (ebb_step_profile){ .n_runs = time->n_runs,
                                   .seconds = (double)time->total_ns * 1e-9,
                                   .least_seconds = (double)time->least_ns * 1e-9,
                                   .flops = flops_of(e, step_at(e, (size_t)index)) };
    return true;
}

/* ---- labels ---- */

static void append(char label[LABEL_BYTES], const char *text)
{
    size_t n = strlen(label);
    snprintf(label + n, LABEL_BYTES - n, "%s", text);
}

static void append_program(char label[LABEL_BYTES], const ebb_program *program)
{
    append(label, " (");
    for (int k = 0, n = 0; k < program->n_instructions; k++) {
        if (!program->instructions[k].op)
            continue;
        append(label, n++ ? " " : "");
        append(label, program->instructions[k].op->name);
    }
    append(label, ")");
}

static void write_label(const ebb_executable *e, size_t position, ebb_profile_by by,
                        char label[LABEL_BYTES])
{
    const ebb_step *step = step_at(e, position);
    const ebb_node node = ebb_graph_node(e->graph, step->node);
    const ebb_op *op = ebb_node_op(node);
    label[0] = 0;
    if (by == EBB_PROFILE_BY_SCOPE) {
        const char *scope = ebb_node_scope(node);
        append(label, *scope ? scope : ".");
        return;
    }
    append(label, step->is_reorder ? "reorder" : step->is_copy ? "copy" : op->name);
    if (by == EBB_PROFILE_BY_OP)
        return;
    append(label, " ");
    append(label, step->backend->name);
    append(label, " ");
    append(label, step->kernel.implementation);
    if (by == EBB_PROFILE_BY_STEP) {
        char text[EBB_NODE_TEXT_BYTES];
        append(label, " ");
        append(label, ebb_node_text(node, text));
    }
    if (!step->is_copy && ebb_op_has_program(op))
        append_program(label, ((const ebb_fused_attrs *)ebb_node_attrs(node))->program);
}

/* ---- tables ---- */

typedef struct profile_row {
    char label[LABEL_BYTES];
    double seconds, flops, bytes; /* in all runs */
    int64_t n_steps;
} profile_row;

static int compare_labels(const void *a, const void *b)
{
    return strcmp(((const profile_row *)a)->label, ((const profile_row *)b)->label);
}

static int compare_times(const void *a, const void *b)
{
    const double x = ((const profile_row *)a)->seconds, y = ((const profile_row *)b)->seconds;
    return x != y ? (x < y) - (x > y) : compare_labels(a, b);
}

static void add_row(profile_row *to, const profile_row *row)
{
    to->seconds += row->seconds;
    to->flops += row->flops;
    to->bytes += row->bytes;
    to->n_steps += row->n_steps;
}

/* One row a label, most time first; returns how many. */
static size_t collect_rows(const ebb_executable *e, ebb_profile_by by, profile_row *rows)
{
    size_t n = 0;
    for (size_t at = 0; at < e->steps.n; at++) {
        const ebb_step_time *time = &e->profile->times[at];
        const ebb_step *step = step_at(e, at);
        rows[at].seconds = (double)time->total_ns * 1e-9;
        rows[at].flops = flops_of(e, step) * (double)time->n_runs;
        rows[at].bytes = (double)(step->read_bytes + step->written_bytes) * (double)time->n_runs;
        rows[at].n_steps = 1;
        write_label(e, at, by, rows[at].label);
    }
    if (by == EBB_PROFILE_BY_STEP) {
        n = e->steps.n;
    } else {
        qsort(rows, e->steps.n, sizeof *rows, compare_labels);
        for (size_t at = 0; at < e->steps.n; at++) {
            if (n && !strcmp(rows[n - 1].label, rows[at].label))
                add_row(&rows[n - 1], &rows[at]);
            else
                rows[n++] = rows[at];
        }
    }
    qsort(rows, n, sizeof *rows, compare_times);
    return n;
}

static void print_row(FILE *out, const profile_row *row, const profile_row *sum, int64_t n_runs,
                      const ebb_machine_limits *limits)
{
    const double seconds = row->seconds > 0 ? row->seconds : 1e-30;
    const double flops = row->flops / seconds, bytes = row->bytes / seconds;
    fprintf(out, "%10.4f %6.1f%% %6lld %9.2f %8.2f", row->seconds * 1e3 / (double)n_runs,
            sum->seconds > 0 ? 100 * row->seconds / sum->seconds : 0, (long long)row->n_steps,
            flops * 1e-9, bytes * 1e-9);
    if (limits->flops > 0 || limits->bytes > 0) {
        const double f = limits->flops > 0 ? flops / limits->flops : 0,
                     b = limits->bytes > 0 ? bytes / limits->bytes : 0;
        fprintf(out, " %5.0f%% %-4s", 100 * (f > b ? f : b), f > b ? "fma" : "mem");
    }
    fprintf(out, "  %s\n", row->label);
}

ebb_status ebb_profile_write_table(const ebb_executable *e, FILE *out,
                                   const ebb_profile_table_options *options, ebb_error *error)
{
    static const ebb_profile_table_options no_options = { .n_rows = 0 };
    static const char *const headings[] = { "op", "scope", "kernel", "step" };
    ebb_status status = check_profile(e, out, error);
    if (status)
        return status;
    if (!options)
        options = &no_options;
    if (options->by < EBB_PROFILE_BY_OP || options->by > EBB_PROFILE_BY_STEP || options->n_rows < 0)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "profile: no such table: by %d, %lld rows",
                        (int)options->by, (long long)options->n_rows);
    const size_t bytes = e->steps.n * sizeof(profile_row);
    profile_row *rows = ebb_allocate(e->allocator, bytes);
    if (!rows)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "profile: out of memory");
    const size_t n = collect_rows(e, options->by, rows);
    const size_t n_shown =
        options->n_rows && (size_t)options->n_rows < n ? (size_t)options->n_rows : n;
    const int64_t n_runs = e->profile->n_runs ? e->profile->n_runs : 1;
    profile_row sum = { .label = "all" }, rest = { .label = "the rest" };
    for (size_t i = 0; i < n; i++) {
        add_row(&sum, &rows[i]);
        if (i >= n_shown)
            add_row(&rest, &rows[i]);
    }
    const bool with_limits = options->limits.flops > 0 || options->limits.bytes > 0;
    fprintf(out, "graph \"%s\", %lld runs\n", ebb_graph_name(e->graph),
            (long long)e->profile->n_runs);
    fprintf(out, "    ms/run   share  steps   GFLOP/s     GB/s%s  %s\n",
            with_limits ? "   limit   " : "", headings[options->by]);
    for (size_t i = 0; i < n_shown; i++)
        print_row(out, &rows[i], &sum, n_runs, &options->limits);
    if (n_shown < n)
        print_row(out, &rest, &sum, n_runs, &options->limits);
    print_row(out, &sum, &sum, n_runs, &options->limits);
    ebb_release(e->allocator, rows, bytes);
    return check_written(out, error);
}

/* ---- traces ---- */

static void print_json_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        if ((unsigned char)*text >= 32)
            fputc(*text, out);
    }
    fputc('"', out);
}

/* A complete event; times in microseconds from the first event of the file. */
static void print_slice(FILE *out, const char *name, int64_t start_ns, int64_t taken_ns)
{
    fputs(",\n{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"name\":", out);
    print_json_text(out, name);
    fprintf(out, ",\"ts\":%.3f,\"dur\":%.3f", (double)start_ns * 1e-3, (double)taken_ns * 1e-3);
}

static void print_event(const ebb_executable *e, const ebb_profile_event *event, int64_t origin_ns,
                        FILE *out)
{
    static const char *const phases[] = { "forward", "backward", "update" };
    char text[EBB_NODE_TEXT_BYTES], label[LABEL_BYTES];
    const ebb_step *step = step_at(e, event->position);
    const ebb_node node = ebb_graph_node(e->graph, step->node);
    write_label(e, event->position, EBB_PROFILE_BY_OP, label);
    print_slice(out, label, event->start_ns - origin_ns, event->taken_ns);
    fprintf(out, ",\"cat\":\"%s\",\"args\":{\"node\":", phases[ebb_node_phase(node)]);
    print_json_text(out, ebb_node_text(node, text));
    fputs(",\"scope\":", out);
    print_json_text(out, ebb_node_scope(node));
    write_label(e, event->position, EBB_PROFILE_BY_KERNEL, label);
    fputs(",\"kernel\":", out);
    print_json_text(out, label);
    fprintf(out, ",\"threads\":%d,\"bytes\":%zu,\"flops\":%.0f}}", step->kernel.n_threads,
            step->read_bytes + step->written_bytes, flops_of(e, step));
}

ebb_status ebb_profile_write_trace(const ebb_executable *e, FILE *out, ebb_error *error)
{
    ebb_status status = check_profile(e, out, error);
    if (status)
        return status;
    const ebb_profile *p = e->profile;
    const uint64_t first = p->n_events > EBB_PROFILE_EVENTS ? p->n_events - EBB_PROFILE_EVENTS : 0;
    const int64_t origin = p->n_events ? p->events[first % EBB_PROFILE_EVENTS].start_ns : 0;
    fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
          "{\"ph\":\"M\",\"pid\":1,\"tid\":1,\"name\":\"process_name\",\"args\":{\"name\":",
          out);
    print_json_text(out, ebb_graph_name(e->graph));
    fputs("}}", out);
    for (uint64_t i = first; i < p->n_events;) {
        const ebb_profile_event *begin = &p->events[i % EBB_PROFILE_EVENTS], *last = begin;
        uint64_t end = i;
        for (; end < p->n_events && p->events[end % EBB_PROFILE_EVENTS].run == begin->run; end++)
            last = &p->events[end % EBB_PROFILE_EVENTS];
        char name[40];
        snprintf(name, sizeof name, "run %llu", (unsigned long long)begin->run);
        print_slice(out, name, begin->start_ns - origin,
                    last->start_ns + last->taken_ns - begin->start_ns);
        fputs("}", out);
        for (; i < end; i++)
            print_event(e, &p->events[i % EBB_PROFILE_EVENTS], origin, out);
    }
    fputs("\n]}\n", out);
    return check_written(out, error);
}
