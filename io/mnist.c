/* The MNIST database (LeCun, Cortes, Burges): four IDX files in a folder. */
#include <ebb/io.h>

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define N_CLASSES 10

void ebb_image_set_finish(ebb_image_set *set)
{
    if (!set)
        return;
    ebb_tensor_finish(&set->images);
    ebb_tensor_finish(&set->labels);
    *set = (ebb_image_set){ 0 };
}

/* Reads folder/name, or folder/name.gz if there is no such file; `path` gets what was read. */
static ebb_status read_file(const char *folder, const char *name, int rank,
                            const ebb_allocator *allocator, ebb_tensor *tensor, char path[PATH_MAX],
                            ebb_error *error)
{
    int length = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    if (length < 0 || length + (int)sizeof ".gz" > PATH_MAX)
        return ebb_fail(error, EBB_IO, "%s: the path is too long", name);
    if (access(path, F_OK) != 0) {
        memcpy(path + length, ".gz", sizeof ".gz");
        if (access(path, F_OK) != 0)
            return ebb_fail(error, EBB_IO, "%s/%s: there is no such file, with or without .gz",
                            folder, name);
    }
    ebb_status status = ebb_idx_read(path, allocator, tensor, error);
    if (status != EBB_OK || tensor->type.shape.rank == rank)
        return status;
    char text[EBB_TYPE_TEXT_BYTES];
    return ebb_fail(error, EBB_BAD_FORMAT, "%s: expected %s, found %s", path,
                    rank == 1 ? "labels [n]" : "images [n,height,width]",
                    ebb_shape_text(&tensor->type.shape, text));
}

static ebb_status check_labels(const char *path, const ebb_image_set *set, ebb_error *error)
{
    const uint8_t *labels = set->labels.data;
    int64_t n = set->labels.type.shape.dims[0];
    if (n != set->n)
        return ebb_fail(error, EBB_BAD_FORMAT,
                        "%s: expected a label for each of %" PRId64 " images, found %" PRId64, path,
                        set->n, n);
    for (int64_t i = 0; i < n; i++)
        if (labels[i] >= N_CLASSES)
            return ebb_fail(error, EBB_BAD_FORMAT,
                            "%s: label %" PRId64 ": expected a class from 0 to %d, found %d", path,
                            i, N_CLASSES - 1, labels[i]);
    return EBB_OK;
}

static ebb_status read_set(const char *folder, const char *images, const char *labels,
                           const ebb_allocator *allocator, ebb_image_set *set, ebb_error *error)
{
    char path[PATH_MAX];
    *set = (ebb_image_set){ .n_classes = N_CLASSES };
    ebb_status status = read_file(folder, images, 3, allocator, &set->images, path, error);
    if (status != EBB_OK)
        return status;
    set->n = set->images.type.shape.dims[0];
    set->channels = 1;
    set->height = set->images.type.shape.dims[1];
    set->width = set->images.type.shape.dims[2];
    status = read_file(folder, labels, 1, allocator, &set->labels, path, error);
    if (status != EBB_OK)
        return status;
    return check_labels(path, set, error);
}

ebb_status ebb_mnist_read(const char *folder, const ebb_allocator *allocator, ebb_image_set *train,
                          ebb_image_set *test, ebb_error *error)
{
    if (train)
        *train = (ebb_image_set){ 0 };
    if (test)
        *test = (ebb_image_set){ 0 };
    if (!folder)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_mnist_read: folder is NULL");
    ebb_status status = EBB_OK;
    if (train)
        status = read_set(folder, "train-images-idx3-ubyte", "train-labels-idx1-ubyte", allocator,
                          train, error);
    if (test && status == EBB_OK)
        status = read_set(folder, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", allocator,
                          test, error);
    if (status == EBB_OK && train && test &&
        (train->height != test->height || train->width != test->width))
        status = ebb_fail(error, EBB_BAD_FORMAT,
                          "%s: training images are %" PRId64 "x%" PRId64
                          ", test images are %" PRId64 "x%" PRId64,
                          folder, train->height, train->width, test->height, test->width);
    if (status != EBB_OK) {
        ebb_image_set_finish(train);
        ebb_image_set_finish(test);
    }
    return status;
}
