/* Back-propagation on a shopping bill (Saitoh, Deep Learning from Scratch (2016), chapter 5): the
 * price of apples and oranges with tax, and by how much it changes with everything that it is made
 * of.
 *
 *     apples [--backend reference|onednn] [--out DIR] */
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"

#include <stdio.h>

enum { MAX_NODES = 16 };

/* A graph of scalars, with the value that each input is given. */
typedef struct bill {
    const char *name;
    ebb_graph *graph;
    ebb_node total;
    int n_inputs;
    double given[MAX_NODES];
    ebb_feed feeds[MAX_NODES];
    /* By id. Gradients are nodes too, so they have values. */
    double values[4 * MAX_NODES], gradients[4 * MAX_NODES];
} bill;

static ebb_node give(bill *b, const char *name, double value)
{
    ebb_node node = ebb_input(b->graph, name, EBB_F64, EBB_SCALAR);
    double *place = &b->given[b->n_inputs];
    *place = value;
    b->feeds[b->n_inputs++] = (ebb_feed){ node, ebb_tensor_borrow(EBB_F64, EBB_SCALAR, place) };
    return node;
}

/* Differentiates the total by every node that it depends on, and computes all values in one run. */
static void settle(bill *b, const char *backend)
{
    uint32_t n = ebb_graph_n_nodes(b->graph);
    if (n > MAX_NODES)
        stop("%s: more than %d nodes", b->name, MAX_NODES);
    ebb_node nodes[2 * MAX_NODES]; /* values, then gradients */
    for (uint32_t i = 0; i < n; i++)
        nodes[i] = ebb_graph_node(b->graph, i + 1);
    need_graph(b->graph, ebb_gradients(b->total, nodes, (int)n, nodes + n));

    ebb_fetch fetches[2 * MAX_NODES];
    for (uint32_t i = 0; i < 2 * n; i++) {
        double *place = i < n ? &b->values[i + 1] : &b->gradients[i - n + 1];
        fetches[i] = (ebb_fetch){ nodes[i], ebb_tensor_borrow(EBB_F64, EBB_SCALAR, place) };
    }
    ebb_executable *run;
    ebb_compile_options how = { .fetches = nodes, .n_fetches = 2 * (int)n, .backend = backend };
    need_graph(b->graph, ebb_compile(b->graph, &how, &run));
    need_run(run, ebb_run(run, b->feeds, b->n_inputs, fetches, 2 * (int)n));
    ebb_executable_destroy(run);

    for (uint32_t i = 0; i < n; i++)
        if (nodes[n + i].id < 4 * MAX_NODES)
            b->values[nodes[n + i].id] = b->gradients[i + 1];

    printf("%-14s %10s %10s\n", b->name, "value", "gradient");
    for (uint32_t id = 1; id <= n; id++)
        printf("  %-12s %10g %10g\n", ebb_node_name(ebb_graph_node(b->graph, id)), b->values[id],
               b->gradients[id]);
    printf("total %g\n\n", b->values[b->total.id]);
}

/* Edges show what flows forwards and, below it, what flows back. */
static void label_edge(void *context, ebb_node node, char *text, size_t text_bytes)
{
    const bill *b = context;
    double value = node.id < 4 * MAX_NODES ? b->values[node.id] : 0;
    if (node.id <= b->total.id)
        snprintf(text, text_bytes, "%g\ngradient %g", value, b->gradients[node.id]);
    else
        snprintf(text, text_bytes, "%g", value);
}

/* The total has no edge that leaves it. */
static void label_total(void *context, ebb_node node, char *text, size_t text_bytes)
{
    text[0] = 0;
    if (node.id == ((const bill *)context)->total.id)
        label_edge(context, node, text, text_bytes);
}

int main(int argc, char **argv)
{
    const char *backend = "onednn", *folder = NULL;
    const option_row options[] = { OPTION_BACKEND(backend), OPTION_OUT(folder), { 0 } };
    options_read(argc, argv, "gradients of a shopping bill", options);
    output_folder output;
    output_open(&output, folder, argv[0]);

    bill apples = { .name = "apples", .graph = ebb_graph_create("apples") };
    ebb_node price = give(&apples, "apple", 100), count = give(&apples, "apple_count", 2);
    ebb_node sum = ebb_named(ebb_mul(price, count), "apples");
    apples.total = ebb_named(ebb_mul(sum, give(&apples, "tax", 1.1)), "total");

    bill fruit = { .name = "apples_oranges", .graph = ebb_graph_create("apples_oranges") };
    price = give(&fruit, "apple", 100);
    count = give(&fruit, "apple_count", 2);
    sum = ebb_named(ebb_mul(price, count), "apples");
    price = give(&fruit, "orange", 150);
    count = give(&fruit, "orange_count", 3);
    sum = ebb_named(ebb_add(sum, ebb_named(ebb_mul(price, count), "oranges")), "sum");
    fruit.total = ebb_named(ebb_mul(sum, give(&fruit, "tax", 1.1)), "total");

    bill *all[] = { &apples, &fruit };
    for (int i = 0; i < 2; i++)
        settle(all[i], backend);
    for (int i = 0; i < 2; i++) {
        ebb_dot_options drawing = { .edge_label = label_edge,
                                    .node_label = label_total,
                                    .context = all[i],
                                    .outputs = &all[i]->total,
                                    .n_outputs = 1 };
        output_graph(&output, all[i]->name, all[i]->graph, &drawing);
        ebb_graph_destroy(all[i]->graph);
    }
    return 0;
}
