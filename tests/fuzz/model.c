/* Files of models: a good one is complete, and its graph holds what graphs must. */
#include "fuzz.h"

#include <string.h>

static void load(const char *path, const ebb_allocator *allocator)
{
    ebb_error error = { 0 };
    ebb_model *model = NULL;
    const ebb_status status = ebb_model_load(path, allocator, &model, &error);
    fuzz_need((status == EBB_OK) == (model != NULL), "a model comes with success only");
    if (status != EBB_OK) {
        fuzz_need(status == error.status && strstr(error.message, path),
                  "the error names the file");
        return;
    }
    fuzz_need(model->n_outputs > 0, "there are outputs");
    for (int i = 0; i < model->n_outputs; i++)
        fuzz_need(ebb_graph_owns(model->graph, model->outputs[i]), "outputs are of the graph");
    fuzz_need(ebb_graph_verify(model->graph, &error) == EBB_OK, "the graph is good");
    ebb_model_destroy(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    for (int failing = 0; failing < 2; failing++) {
        ebb_memory_meter meter;
        fuzz_meter_init(&meter, data, n_bytes, failing);
        load(fuzz_file(data, n_bytes), &meter.allocator);
        fuzz_need(meter.n_live == 0, "nothing leaks");
    }
    return 0;
}
