/* Loading data. */
#include "support/data.h"

#include "support/stop.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static bool has_cifar10(const char *folder)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/data_batch_1.bin", folder);
    return n > 0 && n < PATH_MAX && access(path, F_OK) == 0;
}

void data_load(example_data *data, const char *folder, int64_t n_train, int64_t n_test,
               uint64_t seed)
{
    ebb_error error;
    if (folder && has_cifar10(folder)) {
        need(ebb_cifar10_read(folder, NULL, &data->train, &data->test, &error), error.message);
    } else if (folder) {
        need(ebb_mnist_read(folder, NULL, &data->train, &data->test, &error), error.message);
        if (data->train.n == 0 || data->test.n == 0)
            stop("%s: there are no images", folder);
    } else {
        need(ebb_digits_draw(n_train, seed, NULL, &data->train, &error), error.message);
        need(ebb_digits_draw(n_test, ~seed, NULL, &data->test, &error), error.message);
    }
    printf("%s: %" PRId64 " training and %" PRId64 " test images of %" PRId64 "x%" PRId64 "%s\n",
           folder ? folder : "synthetic digits", data->train.n, data->test.n, data->train.height,
           data->train.width, data->train.channels == 3 ? " in color" : "");
}

void data_keep(example_data *data, int64_t n)
{
    if (n < data->train.n)
        data->train.n = n;
}

void data_finish(example_data *data)
{
    ebb_image_set_finish(&data->train);
    ebb_image_set_finish(&data->test);
}
