/* The CIFAR-10 database (Krizhevsky 2009) in its binary form: records of a label and a picture of
 * 32x32 pixels, as three planes: red, green, blue. */
#include <ebb/io.h>

#include "io/source.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

enum { N_CLASSES = 10, CHANNELS = 3, SIDE = 32, N_TRAINING_FILES = 5 };
#define PIXEL_BYTES ((size_t)CHANNELS * SIDE * SIDE)
#define RECORD_BYTES (1 + PIXEL_BYTES)
/* More records than this in one file, and sums of sizes could overflow. */
#define MAX_RECORDS (INT64_C(1) << 32)

/* Adds the number of records to *n. */
static ebb_status count_records(const char *path, const ebb_allocator *allocator, int64_t *n,
                                ebb_error *error)
{
    ebb_source *source;
    ebb_status status = ebb_source_open(path, allocator, &source, error);
    if (status != EBB_OK)
        return status;
    const uint64_t limit = (uint64_t)MAX_RECORDS * RECORD_BYTES + 1;
    uint64_t n_bytes = 0;
    status = ebb_source_count(source, limit, &n_bytes, error);
    ebb_source_close(source);
    if (status != EBB_OK)
        return status;
    if (n_bytes == 0)
        return ebb_fail(error, EBB_BAD_FORMAT,
                        "%s: byte 0: expected records of %zu bytes, found the end of the data",
                        path, RECORD_BYTES);
    if (n_bytes % RECORD_BYTES != 0 || n_bytes == limit)
        return ebb_fail(error, EBB_BAD_FORMAT,
                        "%s: byte %" PRIu64 ": expected a record of %zu bytes, found %" PRIu64,
                        path, n_bytes - n_bytes % RECORD_BYTES, RECORD_BYTES,
                        n_bytes % RECORD_BYTES);
    *n += (int64_t)(n_bytes / RECORD_BYTES);
    return EBB_OK;
}

static ebb_status fail_changed(const char *path, ebb_error *error)
{
    return ebb_fail(error, EBB_IO, "%s: the file changed while it was read", path);
}

/* Reads all records of a file into the set behind the first *n. */
static ebb_status read_records(const char *path, const ebb_allocator *allocator,
                               const ebb_image_set *set, int64_t *n, ebb_error *error)
{
    ebb_source *source;
    ebb_status status = ebb_source_open(path, allocator, &source, error);
    uint8_t label, *labels = set->labels.data, *pixels = set->images.data;
    for (uint64_t at = 0; status == EBB_OK; at += RECORD_BYTES, (*n)++) {
        size_t n_read = 0;
        status = ebb_source_read(source, &label, 1, &n_read, error);
        if (status != EBB_OK || n_read == 0)
            break;
        if (label >= N_CLASSES)
            status = ebb_fail(error, EBB_BAD_FORMAT,
                              "%s: byte %" PRIu64 ": expected a class from 0 to %d, found %d", path,
                              at, N_CLASSES - 1, label);
        else if (*n == set->n)
            status = fail_changed(path, error);
        if (status != EBB_OK)
            break;
        labels[*n] = label;
        status =
            ebb_source_read(source, pixels + (size_t)*n * PIXEL_BYTES, PIXEL_BYTES, &n_read, error);
        if (status == EBB_OK && n_read != PIXEL_BYTES)
            status = fail_changed(path, error);
    }
    ebb_source_close(source);
    return status;
}

ebb_status ebb_cifar10_read_files(const char *const *paths, int n_paths,
                                  const ebb_allocator *allocator, ebb_image_set *set,
                                  ebb_error *error)
{
    if (set)
        *set = (ebb_image_set){ 0 };
    if (!set || n_paths < 1 || !paths)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_cifar10_read_files: %s",
                        set ? "there are no paths" : "set is NULL");
    int64_t n = 0;
    ebb_status status = EBB_OK;
    for (int i = 0; i < n_paths && status == EBB_OK; i++)
        status = count_records(paths[i], allocator, &n, error);
    if (status != EBB_OK)
        return status;

    ebb_image_set all = {
        .n = n, .channels = CHANNELS, .height = SIDE, .width = SIDE, .n_classes = N_CLASSES
    };
    status = ebb_tensor_init(&all.images, ebb_type_of(EBB_U8, EBB_SHAPE(n, CHANNELS, SIDE, SIDE)),
                             allocator);
    if (status == EBB_OK)
        status = ebb_tensor_init(&all.labels, ebb_type_of(EBB_U8, EBB_SHAPE(n)), allocator);
    if (status != EBB_OK)
        ebb_fail(error, status, "%s: no memory for %" PRId64 " images", paths[0], n);

    int64_t n_read = 0;
    for (int i = 0; i < n_paths && status == EBB_OK; i++)
        status = read_records(paths[i], allocator, &all, &n_read, error);
    if (status == EBB_OK && n_read != n)
        status = fail_changed(paths[0], error);
    if (status == EBB_OK)
        *set = all;
    else
        ebb_image_set_finish(&all);
    return status;
}

ebb_status ebb_cifar10_read(const char *folder, const ebb_allocator *allocator,
                            ebb_image_set *train, ebb_image_set *test, ebb_error *error)
{
    if (train)
        *train = (ebb_image_set){ 0 };
    if (test)
        *test = (ebb_image_set){ 0 };
    if (!folder)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_cifar10_read: folder is NULL");
    char texts[N_TRAINING_FILES + 1][PATH_MAX];
    const char *paths[N_TRAINING_FILES + 1];
    for (int i = 0; i <= N_TRAINING_FILES; i++) {
        int length = i < N_TRAINING_FILES
                         ? snprintf(texts[i], PATH_MAX, "%s/data_batch_%d.bin", folder, i + 1)
                         : snprintf(texts[i], PATH_MAX, "%s/test_batch.bin", folder);
        if (length < 0 || length >= PATH_MAX)
            return ebb_fail(error, EBB_IO, "%.64s...: the path is too long", folder);
        paths[i] = texts[i];
    }
    ebb_status status = EBB_OK;
    if (train)
        status = ebb_cifar10_read_files(paths, N_TRAINING_FILES, allocator, train, error);
    if (test && status == EBB_OK)
        status = ebb_cifar10_read_files(paths + N_TRAINING_FILES, 1, allocator, test, error);
    if (status != EBB_OK) {
        ebb_image_set_finish(train);
        ebb_image_set_finish(test);
    }
    return status;
}
