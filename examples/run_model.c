/* Runs a model from a file (ebb_model_save) on an array from another: all it takes to use what was
 * trained elsewhere.
 *
 *     run_model MODEL.safetensors INPUT.npy */
#include <ebb/ebb.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    ebb_error error = { .message = "usage: run_model MODEL.safetensors INPUT.npy" };
    ebb_model *model = NULL;
    ebb_tensor x = { 0 }, y = { 0 };
    ebb_executable *run = NULL;
    if (argc != 3 || ebb_model_load(argv[1], NULL, &model, &error) ||
        ebb_npy_read(argv[2], NULL, &x, &error))
        return fprintf(stderr, "%s\n", error.message), 1;
    if (model->n_inputs != 1)
        return fprintf(stderr, "%s: %d inputs, not one\n", argv[1], model->n_inputs), 1;
    ebb_compile_options how = { .fetches = model->outputs, .n_fetches = 1, .store = model->store };
    if (ebb_compile(model->graph, &how, &run) ||
        ebb_tensor_init(&y, *ebb_node_type(model->outputs[0]), NULL))
        return fprintf(stderr, "%s\n", ebb_graph_message(model->graph)), 1;
    if (ebb_run(run, &(ebb_feed){ model->inputs[0], x }, 1, &(ebb_fetch){ model->outputs[0], y },
                1))
        return fprintf(stderr, "%s\n", ebb_executable_message(run)), 1;
    for (int64_t i = 0; i < ebb_shape_elements(&y.type.shape); i++)
        printf("%.6g\n", ebb_tensor_get(&y, i));
    ebb_executable_destroy(run);
    ebb_model_destroy(model);
    ebb_tensor_finish(&x);
    ebb_tensor_finish(&y);
    return 0;
}
