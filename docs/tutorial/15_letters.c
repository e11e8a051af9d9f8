/* A recurrent net learns a text letter by letter, and then writes it. */
#include <ebb/ebb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void stop(const char *message)
{
    fprintf(stderr, "%s\n", message);
    exit(EXIT_FAILURE);
}

static const char text[] = "the tide comes in and the tide goes out, "
                           "and the sand remembers nothing. ";
enum { LETTERS = 28, HIDDEN = 48, TIMES = 20, BATCH = 8 };

/* a-z are 0-25, space is 26, all else 27. */
static int32_t code(char c)
{
    return c >= 'a' && c <= 'z' ? c - 'a' : c == ' ' ? 26 : 27;
}

static char letter(int32_t code)
{
    return code < 26 ? (char)('a' + code) : code == 26 ? ' ' : '.';
}

/* Letters [batch, times] -> scores of the letter that follows each, as many nodes [batch, LETTERS].
 * Training and writing call it with different shapes and get the same variables. */
static ebb_nn_cell_state model(ebb_node letters, ebb_nn_cell_state first, ebb_node *scores)
{
    ebb_node inputs[TIMES], outputs[TIMES];
    int n_times = (int)ebb_node_type(letters)->shape.dims[1];
    for (int i = 0; i < n_times; i++) {
        ebb_node column = ebb_squeeze(ebb_slice_axis(letters, 1, i, i + 1, 1), EBB_AXES(1));
        inputs[i] = ebb_one_hot(column, LETTERS, EBB_F32);
    }
    ebb_nn_recurrent_options lstm = {
        .name = "lstm", .cell = EBB_NN_LSTM, .hidden = HIDDEN, .forget_bias = 1
    };
    ebb_nn_cell_state last = ebb_nn_unroll(inputs, n_times, first, &lstm, outputs);
    for (int i = 0; i < n_times; i++)
        scores[i] =
            ebb_nn_linear(outputs[i], LETTERS, &(ebb_nn_linear_options){ .name = "scores" });
    return last;
}

static void learn(ebb_store *store)
{
    ebb_graph *g = ebb_graph_create("learn");
    ebb_node x = ebb_input(g, "x", EBB_I32, EBB_SHAPE(BATCH, TIMES));
    ebb_node t = ebb_input(g, "t", EBB_I32, EBB_SHAPE(BATCH, TIMES));
    ebb_node scores[TIMES];
    model(x, (ebb_nn_cell_state){ EBB_NONE, EBB_NONE }, scores);
    ebb_node all = ebb_reshape(ebb_stack(g, scores, TIMES, 1), EBB_SHAPE(BATCH * TIMES, LETTERS));
    ebb_node loss = ebb_softmax_cross_entropy(all, ebb_reshape(t, EBB_SHAPE(BATCH * TIMES)));
    ebb_nn_rule rule = { .method = EBB_NN_ADAM, .rate = 0.01, .clip_norm = 1 };
    ebb_executable *step;
    ebb_compile_options options = { .fetches = &loss, .n_fetches = 1, .store = store };
    if (ebb_nn_minimize(loss, &rule) != EBB_OK || ebb_compile(g, &options, &step) != EBB_OK)
        stop(ebb_graph_message(g));

    int32_t letters[BATCH][TIMES], next[BATCH][TIMES];
    size_t length = strlen(text);
    float value = 0;
    ebb_feed feeds[] = { { x, ebb_tensor_borrow(EBB_I32, EBB_SHAPE(BATCH, TIMES), letters) },
                         { t, ebb_tensor_borrow(EBB_I32, EBB_SHAPE(BATCH, TIMES), next) } };
    ebb_fetch fetch = { loss, ebb_tensor_borrow(EBB_F32, EBB_SCALAR, &value) };
    for (size_t i = 0; i <= 200; i++) {
        for (size_t b = 0; b < BATCH; b++) /* eight places in the text */
            for (size_t k = 0; k < TIMES; k++) {
                letters[b][k] = code(text[(i * 5 + b * 9 + k) % length]);
                next[b][k] = code(text[(i * 5 + b * 9 + k + 1) % length]);
            }
        if (ebb_run(step, feeds, 2, &fetch, 1) != EBB_OK)
            stop(ebb_executable_message(step));
        if (i % 100 == 0)
            printf("step %3d: loss %.2f\n", (int)i, value);
    }
    ebb_executable_destroy(step);
    ebb_graph_destroy(g);
}

/* One letter at a time: the state that comes out goes in again. */
static void write_text(ebb_store *store, const char *start, int n)
{
    ebb_graph *g = ebb_graph_create("write");
    ebb_node x = ebb_input(g, "x", EBB_I32, EBB_SHAPE(1, 1));
    ebb_nn_cell_state state = { ebb_input(g, "h", EBB_F32, EBB_SHAPE(1, HIDDEN)),
                                ebb_input(g, "c", EBB_F32, EBB_SHAPE(1, HIDDEN)) };
    ebb_node scores;
    ebb_nn_cell_state last = model(x, state, &scores);
    ebb_node out[] = { last.h, last.c, ebb_cast(ebb_argmax(scores, 1), EBB_I32) };
    ebb_executable *run;
    ebb_compile_options options = { .fetches = out, .n_fetches = 3, .store = store };
    if (ebb_compile(g, &options, &run) != EBB_OK)
        stop(ebb_graph_message(g));

    int32_t now = 0, best = 0;
    float h[HIDDEN] = { 0 }, c[HIDDEN] = { 0 };
    const ebb_tensor h_data = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(1, HIDDEN), h);
    const ebb_tensor c_data = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(1, HIDDEN), c);
    ebb_feed feeds[] = { { x, ebb_tensor_borrow(EBB_I32, EBB_SHAPE(1, 1), &now) },
                         { state.h, h_data },
                         { state.c, c_data } };
    ebb_fetch fetches[] = { { out[0], h_data },
                            { out[1], c_data },
                            { out[2], ebb_tensor_borrow(EBB_I32, EBB_SHAPE(1), &best) } };
    int n_given = (int)strlen(start);
    for (int i = 0; i < n_given + n; i++) {
        now = i < n_given ? code(start[i]) : best;
        printf("%c", letter(now));
        if (ebb_run(run, feeds, 3, fetches, 3) != EBB_OK)
            stop(ebb_executable_message(run));
    }
    printf("\n");
    ebb_executable_destroy(run);
    ebb_graph_destroy(g);
}

int main(void)
{
    ebb_store *store = ebb_store_create(NULL);
    learn(store);
    write_text(store, "the tide", 60);
    ebb_store_destroy(store);
    return 0;
}
