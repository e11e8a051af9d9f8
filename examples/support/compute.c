/* Computing values once. */
#include "support/compute.h"

#include "support/stop.h"

#include <stdlib.h>

void compute(const ebb_node *nodes, int n, const ebb_feed *feeds, int n_feeds, const char *backend,
             double *const *values)
{
    ebb_graph *g = nodes[0].graph;
    ebb_store *store = ebb_store_create(NULL);
    ebb_executable *run;
    ebb_compile_options how = { .fetches = nodes,
                                .n_fetches = n,
                                .store = store,
                                .backend = backend,
                                .skip_updates = true,
                                .skip_passes = true };
    need_graph(g, ebb_compile(g, &how, &run));
    ebb_fetch *fetches = malloc((size_t)n * sizeof *fetches);
    if (!fetches)
        stop("no memory for %d results", n);
    for (int i = 0; i < n; i++) {
        fetches[i].node = nodes[i];
        need(ebb_tensor_init(&fetches[i].value, *ebb_node_type(nodes[i]), NULL),
             "no memory for results");
    }
    need_run(run, ebb_run(run, feeds, n_feeds, fetches, n));
    for (int i = 0; i < n; i++) {
        int64_t n_elements = ebb_shape_elements(&fetches[i].value.type.shape);
        for (int64_t k = 0; k < n_elements; k++)
            values[i][k] = ebb_tensor_get(&fetches[i].value, k);
        ebb_tensor_finish(&fetches[i].value);
    }
    free(fetches);
    ebb_executable_destroy(run);
    ebb_store_destroy(store);
}

double *compute_one(ebb_node node, const char *backend, double *values)
{
    compute(&node, 1, NULL, 0, backend, &values);
    return values;
}
