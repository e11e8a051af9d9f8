/* Logic from perceptrons: y = 1 if w.x + b > 0, else 0 (Saitoh, Deep Learning from Scratch (2016),
 * chapter 2). One perceptron is AND, NAND or OR. None is XOR, but two layers are; and of NAND alone
 * come adders.
 *
 *     gates [--backend reference|onednn] [--out DIR] */
#include "support/options.h"
#include "support/output.h"
#include "support/stop.h"

#include <stdio.h>

/* A whole truth table is computed at once: every signal has one value per row. */
enum { MAX_SIGNALS = 3, MAX_ROWS = 1 << MAX_SIGNALS, MAX_OUTPUTS = 4 };

/* w1, w2 and b of the book's gates. */
static const double and_gate[] = { 0.5, 0.5, -0.7 }, nand_gate[] = { -0.5, -0.5, 0.7 },
                    or_gate[] = { 0.5, 0.5, -0.2 };

static ebb_node perceptron(const double gate[3], ebb_node a, ebb_node b)
{
    ebb_graph *g = a.graph;
    ebb_node zero = ebb_scalar(g, EBB_F32, 0), one = ebb_scalar(g, EBB_F32, 1);
    ebb_node wa = ebb_mul(ebb_scalar(g, EBB_F32, gate[0]), a);
    ebb_node wb = ebb_mul(ebb_scalar(g, EBB_F32, gate[1]), b);
    ebb_node sum = ebb_add(ebb_add(wa, wb), ebb_scalar(g, EBB_F32, gate[2]));
    return ebb_select(ebb_greater(sum, zero), one, zero);
}

static ebb_node nand(ebb_node a, ebb_node b)
{
    return perceptron(nand_gate, a, b);
}

/* ---- circuits of NAND only ---- */

static void half_adder(ebb_node a, ebb_node b, ebb_node *sum, ebb_node *carry)
{
    ebb_node c = nand(a, b);
    *sum = nand(nand(a, c), nand(b, c));
    *carry = nand(c, c);
}

static void full_adder(ebb_node a, ebb_node b, ebb_node c, ebb_node *sum, ebb_node *carry)
{
    ebb_node half, first, second;
    half_adder(a, b, &half, &first);
    half_adder(half, c, sum, &second);
    /* OR of the two carries */
    *carry = nand(nand(first, first), nand(second, second));
}

/* ---- truth tables ---- */

typedef struct circuit {
    const char *name;
    ebb_graph *graph;
    int n_inputs, n_outputs;
    ebb_node inputs[MAX_SIGNALS], outputs[MAX_OUTPUTS];
} circuit;

static circuit start_circuit(const char *name, int n_inputs)
{
    circuit made = { .name = name, .graph = ebb_graph_create(name), .n_inputs = n_inputs };
    for (int i = 0; i < n_inputs; i++)
        made.inputs[i] = ebb_input(made.graph, (char[]){ (char)('a' + i), 0 }, EBB_F32,
                                   EBB_SHAPE(1 << n_inputs));
    return made;
}

static void add_output(circuit *made, const char *name, ebb_node node)
{
    made->outputs[made->n_outputs++] = ebb_named(node, name);
}

static void print_table(const circuit *made, const char *backend)
{
    int n_rows = 1 << made->n_inputs;
    ebb_shape shape = EBB_SHAPE(n_rows);
    float in[MAX_SIGNALS][MAX_ROWS], out[MAX_OUTPUTS][MAX_ROWS];
    ebb_feed feeds[MAX_SIGNALS];
    ebb_fetch fetches[MAX_OUTPUTS];
    for (int i = 0; i < made->n_inputs; i++) {
        for (int row = 0; row < n_rows; row++)
            in[i][row] = (float)(row >> (made->n_inputs - 1 - i) & 1);
        feeds[i] = (ebb_feed){ made->inputs[i], ebb_tensor_borrow(EBB_F32, shape, in[i]) };
    }
    for (int i = 0; i < made->n_outputs; i++)
        fetches[i] = (ebb_fetch){ made->outputs[i], ebb_tensor_borrow(EBB_F32, shape, out[i]) };

    ebb_executable *run;
    ebb_compile_options how = { .fetches = made->outputs,
                                .n_fetches = made->n_outputs,
                                .backend = backend };
    need_graph(made->graph, ebb_compile(made->graph, &how, &run));
    need_run(run, ebb_run(run, feeds, made->n_inputs, fetches, made->n_outputs));
    ebb_executable_destroy(run);

    printf("%s\n", made->name);
    for (int row = -1; row < n_rows; row++) {
        for (int i = 0; i < made->n_inputs; i++)
            row < 0 ? printf("  %c", 'a' + i) : printf("  %g", in[i][row]);
        printf("  |");
        for (int i = 0; i < made->n_outputs; i++) {
            const char *name = ebb_node_name(made->outputs[i]);
            row < 0 ? printf("%7s", name) : printf("%7g", out[i][row]);
        }
        printf("\n");
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    const char *backend = "onednn", *folder = NULL;
    const option_row options[] = { OPTION_BACKEND(backend), OPTION_OUT(folder), { 0 } };
    options_read(argc, argv, "truth tables of perceptrons and of circuits made of NAND", options);
    output_folder output;
    output_open(&output, folder, argv[0]);

    circuit gates = start_circuit("gates", 2);
    ebb_node a = gates.inputs[0], b = gates.inputs[1];
    add_output(&gates, "AND", perceptron(and_gate, a, b));
    add_output(&gates, "NAND", nand(a, b));
    add_output(&gates, "OR", perceptron(or_gate, a, b));
    /* Two layers: no single perceptron can separate 01 and 10 from 00 and 11. */
    ebb_node hidden1 = nand(a, b), hidden2 = perceptron(or_gate, a, b);
    add_output(&gates, "XOR", perceptron(and_gate, hidden1, hidden2));

    ebb_node sum, carry;
    circuit half = start_circuit("half_adder", 2);
    half_adder(half.inputs[0], half.inputs[1], &sum, &carry);
    add_output(&half, "sum", sum);
    add_output(&half, "carry", carry);

    circuit full = start_circuit("full_adder", 3);
    full_adder(full.inputs[0], full.inputs[1], full.inputs[2], &sum, &carry);
    add_output(&full, "sum", sum);
    add_output(&full, "carry", carry);

    const circuit *all[] = { &gates, &half, &full };
    for (int i = 0; i < 3; i++) {
        print_table(all[i], backend);
        output_graph(
            &output, all[i]->name, all[i]->graph,
            &(ebb_dot_options){ .outputs = all[i]->outputs, .n_outputs = all[i]->n_outputs });
        ebb_graph_destroy(all[i]->graph);
    }
    return 0;
}
