/* See golden.h. */
#include "tests/support/golden.h"
#include "tests/support/files.h"
#include "tests/support/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ebb_graph *golden_parse(const char *text)
{
    ebb_graph *graph;
    ebb_error error;
    ebb_status status = ebb_graph_parse(text, strlen(text), NULL, 0, NULL, &graph, &error);
    ck_assert_msg(!status, "%s\n%s", error.message, text);
    return graph;
}

char *golden_print(const ebb_graph *graph)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    ck_assert_int_eq(ebb_graph_print(graph, out), EBB_OK);
    fclose(out);
    return text;
}

ebb_node golden_find(const ebb_graph *graph, const char *name)
{
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(graph); id++) {
        ebb_node node = ebb_graph_node(graph, id);
        if (strcmp(ebb_node_name(node), name) == 0)
            return node;
    }
    ck_abort_msg("no node \"%s\"", name);
    return EBB_NONE;
}

int golden_outputs(const ebb_graph *graph, ebb_node outputs[MAX_OUTPUTS])
{
    int n = 0;
    for (uint32_t id = 1; id <= ebb_graph_n_nodes(graph) && n < MAX_OUTPUTS; id++) {
        ebb_node node = ebb_graph_node(graph, id);
        if (strncmp(ebb_node_name(node), "out", 3) == 0)
            outputs[n++] = node;
    }
    return n;
}

/* Cuts `text` at the next `mark`; what stands behind it, or NULL. */
static char *cut(char *text, const char *mark)
{
    char *at = text ? strstr(text, mark) : NULL;
    if (!at)
        return NULL;
    *at = 0;
    return at + strlen(mark);
}

void golden_check(const char *name, golden_pass pass, int least_cases)
{
    char path[4096];
    size_t n_bytes;
    int n_cases = 0;
    snprintf(path, sizeof path, "%s/tests/golden/%s.txt", test_source_folder(), name);
    char *text = file_read(path, &n_bytes);
    ck_assert_msg(text, "cannot read %s", path);
    for (char *next = cut(text, "== "), *at; (at = next); n_cases++) {
        next = cut(at, "\n== ");
        char *before = cut(at, "\n"), *after = cut(before, "=>\n");
        ebb_node outputs[MAX_OUTPUTS];
        ebb_graph *graph = golden_parse(before), *result = NULL;
        const int n = golden_outputs(graph, outputs);
        uint32_t *map = calloc(ebb_graph_n_nodes(graph) + 1, sizeof *map);
        ebb_error error;
        int64_t hits = 0;
        ck_assert_msg(!pass(graph, outputs, n, &result, map, &hits, &error), "%s: %s", at,
                      error.message);
        ebb_graph *expected = golden_parse(after ? after : before);
        char *got = golden_print(result ? result : graph), *wanted = golden_print(expected);
        ck_assert_msg(strcmp(got, wanted) == 0, "%s: got\n%s", at, got);
        ck_assert_int_eq(hits > 0, after != NULL);
        free(got);
        free(wanted);
        free(map);
        ebb_graph_destroy(expected);
        ebb_graph_destroy(result);
        ebb_graph_destroy(graph);
    }
    ck_assert_int_ge(n_cases, least_cases);
    free(text);
}
