/* Counting right predictions. */
#include "support/evaluate.h"

#include "support/stop.h"

#include <stdlib.h>

double evaluate(ebb_executable *run, ebb_node x, ebb_node prediction, const ebb_image_set *set)
{
    const ebb_type *type = ebb_node_type(x), *result = ebb_node_type(prediction);
    int64_t batch = type->shape.dims[0], n_right = 0;
    ebb_tensor images, classes;
    ebb_error error;
    int64_t *indices = malloc((size_t)batch * sizeof *indices);
    if (!indices || ebb_tensor_init(&images, *type, NULL) != EBB_OK ||
        ebb_tensor_init(&classes, *result, NULL) != EBB_OK)
        stop("no memory for a batch of %lld images", (long long)batch);
    for (int64_t start = 0; start < set->n; start += batch) {
        int64_t n = set->n - start < batch ? set->n - start : batch;
        for (int64_t i = 0; i < batch; i++)
            indices[i] = start + (i < n ? i : 0);
        need(ebb_image_set_batch(set, indices, batch, &images, NULL, &error), error.message);
        need_run(run,
                 ebb_run(run, &(ebb_feed){ x, images }, 1, &(ebb_fetch){ prediction, classes }, 1));
        for (int64_t i = 0; i < n; i++)
            n_right += ebb_tensor_get(&classes, i) == ebb_tensor_get(&set->labels, start + i);
    }
    ebb_tensor_finish(&images);
    ebb_tensor_finish(&classes);
    free(indices);
    return set->n > 0 ? (double)n_right / (double)set->n : 0;
}
