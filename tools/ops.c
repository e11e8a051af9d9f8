/* ebb ops: the operations, from the registry. */
#include "ops.h"

#include "graph/text.h"
#include "tool.h"

#include <stdlib.h>
#include <string.h>

/* The first op of each group, in the registry's order, stands for the group. */
static bool starts_group(const ebb_op *const *ops, int i)
{
    for (int k = 0; k < i; k++)
        if (strcmp(ops[k]->group, ops[i]->group) == 0)
            return false;
    return true;
}

static bool is_in_group(const ebb_op *const *ops, int i, int first)
{
    return i >= first && strcmp(ops[i]->group, ops[first]->group) == 0;
}

/* ---- the list ---- */

static void print_list(FILE *out)
{
    int n;
    const ebb_op *const *ops = ebb_op_list(&n);
    fprintf(out, "%-24s %-16s %-20s %-26s\n", "operation", "in -> out", "gradient", "backends");
    for (int first = 0; first < n; first++) {
        if (!starts_group(ops, first))
            continue;
        fprintf(out, "\n%s\n", ops[first]->group);
        for (int i = first; i < n; i++) {
            char inputs[OPS_TEXT_BYTES], backends[OPS_TEXT_BYTES], way[2 * OPS_TEXT_BYTES];
            if (!is_in_group(ops, i, first))
                continue;
            snprintf(way, sizeof way, "%s -> %d", ops_inputs(ops[i], inputs), ops[i]->n_results);
            fprintf(out, "  %-22s %-16s %-20s %-26s %s\n", ops[i]->name, way, ops_gradient(ops[i]),
                    ops_backends(ops[i], backends), ops[i]->summary);
        }
    }
    fprintf(out, "\n%d operations; ebb ops NAME documents one\n", n);
}

/* ---- one op ---- */

/* clang-format off */
static const struct {
    unsigned trait;
    const char *text;
} traits[] = {
    { EBB_TRAIT_ELEMENTWISE, "element by element" },
    { EBB_TRAIT_COMMUTATIVE, "inputs may be swapped" },
    { EBB_TRAIT_VIEW,        "costs nothing where a view will do" },
    { EBB_TRAIT_RANDOM,      "random" },
    { EBB_TRAIT_SOURCE,      "source" },
    { EBB_TRAIT_UNIQUE,      "never shared" },
    { EBB_TRAIT_LIBRARY,     "whole where a backend has it, else decomposed" },
    { EBB_TRAIT_FALLIBLE,    "may fail for some values" },
    { EBB_TRAIT_VARIABLE,    "can be updated" },
};
/* clang-format on */

static void print_attributes(FILE *out, const ebb_op *op)
{
    if (!op->attrs || !op->attrs->name)
        return;
    fputs("\nattributes (default: zero)\n", out);
    for (const ebb_attr_field *f = op->attrs; f->name; f++) {
        char kind[OPS_TEXT_BYTES];
        fprintf(out, "  %-16s %-26s %s\n", f->name, ops_attribute_kind(f, kind),
                f->summary ? f->summary : "");
    }
}

#define MOST_DATA_BYTES 64 /* of a constant, in a line */

/* " {transpose_b=true}"; nothing if all are default. */
static void print_attrs(FILE *out, ebb_node node)
{
    char *text = NULL;
    size_t n = 0;
    FILE *memory = open_memstream(&text, &n);
    if (!memory)
        return;
    ebb_text_print_attrs(memory, ebb_node_op(node), ebb_node_attrs(node), MOST_DATA_BYTES);
    if (fclose(memory) == 0 && n > 0)
        fprintf(out, " %s", text);
    free(text);
}

/* "f32[2,3], f32[2,3] -> f32[2,2] {transpose_b=true}" */
static void print_types(FILE *out, ebb_node node)
{
    char text[EBB_TYPE_TEXT_BYTES];
    for (int i = 0; i < ebb_node_n_inputs(node); i++)
        fprintf(out, "%s%s", i ? ", " : "",
                ebb_type_text(ebb_node_type(ebb_node_input(node, i)), text));
    fputs(ebb_node_n_inputs(node) ? " -> " : "-> ", out);
    for (int i = 0; i < ebb_node_op(node)->n_results; i++)
        fprintf(out, "%s%s", i ? ", " : "",
                ebb_type_text(ebb_node_type(ebb_node_result(node, i)), text));
    print_attrs(out, node);
    fputc('\n', out);
}

static ebb_status print_samples(FILE *out, const ebb_op *op)
{
    ebb_graph *example = NULL;
    ebb_status status = EBB_OK;
    int n = 0;
    for (int i = 0; i < op->n_samples; i++) {
        ebb_node node;
        ebb_graph *graph = ops_sample_graph(op, i, EBB_F32, &node);
        if (!graph)
            continue;
        fprintf(out, "%s  ", n++ ? "" : "\nshapes it is tested with\n");
        print_types(out, node);
        if (example)
            ebb_graph_destroy(graph);
        else
            example = graph;
    }
    if (example) {
        fputs("\nin text form\n\n", out);
        status = ebb_graph_print(example, out);
    }
    ebb_graph_destroy(example);
    return status;
}

static ebb_status print_op(FILE *out, const ebb_op *op)
{
    char text[OPS_TEXT_BYTES];
    fprintf(out, "%s: %s\n\n", op->name, op->summary);
    fprintf(out, "  group     %s\n", op->group);
    fprintf(out, "  inputs    %s\n", ops_inputs(op, text));
    fprintf(out, "  results   %d\n", op->n_results);
    fprintf(out, "  gradient  %s\n", ops_gradient(op));
    fprintf(out, "  backends  %s\n", ops_backends(op, text));
    bool any = false;
    for (size_t i = 0; i < sizeof traits / sizeof *traits; i++) {
        if (op->traits & traits[i].trait)
            fprintf(out, "%s%s", any ? ", " : "  traits    ", traits[i].text);
        any = any || op->traits & traits[i].trait;
    }
    if (any)
        fputc('\n', out);
    print_attributes(out, op);
    return print_samples(out, op);
}

/* ---- docs/ops.md ---- */

/* Text for a cell of a table. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("|\\*_<>`", *text))
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void print_group_table(FILE *out, const ebb_op *const *ops, int first, int n)
{
    fprintf(out,
            "\n## %s\n\n| op | inputs | results | gradient | backends | |\n"
            "|---|---|---|---|---|---|\n",
            ops[first]->group);
    for (int i = first; i < n; i++) {
        if (!is_in_group(ops, i, first))
            continue;
        char inputs[OPS_TEXT_BYTES], backends[OPS_TEXT_BYTES];
        fprintf(out, "| `%s` | %s | %d | %s | %s | ", ops[i]->name, ops_inputs(ops[i], inputs),
                ops[i]->n_results, ops_gradient(ops[i]), ops_backends(ops[i], backends));
        print_cell(out, ops[i]->summary);
        fputs(" |\n", out);
    }
}

static void print_attribute_table(FILE *out, const ebb_op *const *ops, int first, int n)
{
    bool any = false;
    for (int i = first; i < n; i++) {
        const ebb_attr_field *f = is_in_group(ops, i, first) ? ops[i]->attrs : NULL;
        for (; f && f->name; f++) {
            char kind[OPS_TEXT_BYTES];
            if (!any)
                fputs("\n| op | attribute | is | |\n|---|---|---|---|\n", out);
            any = true;
            fprintf(out, "| `%s` | `%s` | %s | ", ops[i]->name, f->name,
                    ops_attribute_kind(f, kind));
            print_cell(out, f->summary ? f->summary : "");
            fputs(" |\n", out);
        }
    }
}

void ops_print_markdown(FILE *out)
{
    int n;
    const ebb_op *const *ops = ebb_op_list(&n);
    fprintf(out,
            "# Operations\n\n"
            "All %d operations that come with Ebb. This page is written by `ebb ops --markdown` "
            "from the registry: change the\n"
            "descriptors in `ops/`, not this page. `ebb ops NAME` says more of one: its traits, "
            "the shapes it is tested with, its\n"
            "text form. Builders, broadcasting and errors: "
            "[include/ebb/ops.h](../include/ebb/ops.h).\n\n"
            "- *gradient*: by a rule of its own, by that of its decomposition, or none. Any order "
            "is possible where there is one.\n"
            "- *backends*: those that compute at least some of its types and shapes, the reference "
            "kernel in plain loops last.\n"
            "  Which one does is decided per node ([backends.md](backends.md)); what none takes "
            "whole is decomposed.\n"
            "- *attributes* are zero by default, and stand in braces in the text form "
            "(`{axes=[0], keep=true}`).\n",
            n);
    for (int first = 0; first < n; first++) {
        if (!starts_group(ops, first))
            continue;
        print_group_table(out, ops, first, n);
        print_attribute_table(out, ops, first, n);
    }
}

static ebb_status write_markdown(void *context, FILE *out, ebb_error *error)
{
    (void)context;
    (void)error;
    ops_print_markdown(out);
    return EBB_OK;
}

/* ---- the command ---- */

int tool_ops(const tool_command *command, int argc, char **argv)
{
    bool markdown = false;
    const char *output = NULL;
    tool_words names = { .n = 0 };
    /* clang-format off */
    const tool_option table[] = {
        { "--markdown", TOOL_FLAG, &markdown, "", "print docs/ops.md", 0 },
        { "-o", TOOL_TEXT, &output, "FILE", "where --markdown goes [standard output]", 0 },
        { NULL, TOOL_FLAG, NULL, NULL, NULL, 0 },
    };
    /* clang-format on */
    int status = tool_read_options(command, argc, argv, table, &names, 1);
    if (status != TOOL_GO_ON)
        return status;
    if ((markdown && names.n) || (output && !markdown))
        return tool_complain(command, TOOL_MISUSED, "%s",
                             output ? "-o goes with --markdown alone"
                                    : "--markdown prints all operations, not one");
    ebb_error error;
    if (markdown && output)
        return ebb_file_write(output, write_markdown, NULL, &error)
                   ? tool_complain(command, TOOL_FAILED, "%s", error.message)
                   : TOOL_DONE;
    if (markdown || names.n == 0) {
        (markdown ? ops_print_markdown : print_list)(stdout);
        return TOOL_DONE;
    }
    const ebb_op *op = ebb_op_find(names.words[0]);
    if (!op)
        return tool_complain(command, TOOL_FAILED, "there is no operation '%s'", names.words[0]);
    if (print_op(stdout, op))
        return tool_complain(command, TOOL_FAILED, "the text form cannot be written");
    return TOOL_DONE;
}
