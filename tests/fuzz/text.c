/* The text form: whatever is read is a graph, and comes back when it is written and read again. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

/* In malloc's memory. */
static char *print(const ebb_graph *graph, size_t *n_bytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, n_bytes);
    fuzz_need(out != NULL, "there is memory for a stream");
    fuzz_need(ebb_graph_print(graph, out) == EBB_OK, "a graph can be printed");
    fuzz_need(fclose(out) == 0, "the stream can be closed");
    return text;
}

static void look_at_graph(const ebb_graph *graph)
{
    ebb_error error = { 0 };
    ebb_status status = ebb_graph_verify(graph, &error);
    fuzz_need(status == EBB_OK, error.message);
    size_t n_first, n_second;
    char *first = print(graph, &n_first);
    ebb_graph *again;
    status = ebb_graph_parse(first, n_first, NULL, 0, NULL, &again, &error);
    fuzz_need(status == EBB_OK, error.message);
    fuzz_need(ebb_graph_n_nodes(again) == ebb_graph_n_nodes(graph), "the graph comes back");
    char *second = print(again, &n_second);
    fuzz_need(n_first == n_second && memcmp(first, second, n_first) == 0, "the text is the same");
    FILE *nowhere = fopen("/dev/null", "w");
    fuzz_need(nowhere && ebb_graph_write_dot(graph, nowhere, NULL) == EBB_OK, "it can be drawn");
    fclose(nowhere);
    ebb_graph_destroy(again);
    free(second);
    free(first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    for (int failing = 0; failing < 2; failing++) {
        ebb_memory_meter meter;
        ebb_graph *graph;
        ebb_error error = { 0 };
        fuzz_meter_init(&meter, data, n_bytes, failing);
        ebb_status status =
            ebb_graph_parse((const char *)data, n_bytes, NULL, 0, &meter.allocator, &graph, &error);
        fuzz_need((status == EBB_OK) == (graph != NULL), "there is a graph if all is well");
        fuzz_need(status == EBB_OK || status == EBB_OUT_OF_MEMORY ||
                      strncmp(error.message, "line ", 5) == 0,
                  "an error says the line");
        fuzz_need(status == error.status, "the error has the status");
        if (status == EBB_OK && !failing)
            look_at_graph(graph);
        ebb_graph_destroy(graph);
        fuzz_need(meter.n_live == 0, "nothing leaks");
    }
    return 0;
}
