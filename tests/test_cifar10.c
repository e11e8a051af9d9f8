/* CIFAR-10 files: made ones, a sample of the real one, and everything that is wrong. */
#include "tests/support/failure.h"
#include "tests/support/files.h"

#include <ebb/io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORD_BYTES = 3073, MAX_RECORDS = 3 };

/* Pixel p of record r is 7 r + p, modulo 256; `labels` as text. */
static const unsigned char *make_records(const char *labels)
{
    static unsigned char bytes[MAX_RECORDS * RECORD_BYTES];
    for (int r = 0; labels[r]; r++) {
        bytes[r * RECORD_BYTES] = (unsigned char)(labels[r] - '0');
        for (int p = 0; p < RECORD_BYTES - 1; p++)
            bytes[r * RECORD_BYTES + 1 + p] = (unsigned char)(7 * r + p);
    }
    return bytes;
}

static const char *make_batch(const char *name, const char *labels)
{
    return file_make(name, make_records(labels), strlen(labels) * RECORD_BYTES);
}

static void make_database(void)
{
    for (int i = 1; i <= 5; i++) {
        char name[32], labels[] = { (char)('0' + i), (char)('4' + i), 0 };
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        make_batch(name, labels);
    }
    make_batch("test_batch.bin", "907");
}

START_TEST(files_become_one_set)
{
    const char *paths[] = { make_batch("plain", "38"),
                            file_make_gzip("gz", make_records("5"), RECORD_BYTES) };
    ebb_image_set set;
    ck_assert_msg(ebb_cifar10_read_files(paths, 2, NULL, &set, &error) == EBB_OK, "%s",
                  error.message);
    ck_assert_int_eq(set.n, 3);
    ck_assert_int_eq(set.channels, 3);
    ck_assert_int_eq(set.height, 32);
    ck_assert_int_eq(set.width, 32);
    ck_assert_int_eq(set.n_classes, 10);
    ck_assert_int_eq(set.images.type.shape.rank, 4);
    ck_assert_mem_eq(set.labels.data, "\3\10\5", 3);
    const uint8_t *pixels = set.images.data;
    ck_assert_mem_eq(pixels, make_records("38") + 1, 3072);
    ck_assert_mem_eq(pixels + 3072, make_records("38") + RECORD_BYTES + 1, 3072);
    ck_assert_mem_eq(pixels + 6144, make_records("5") + 1, 3072);

    float batch[2 * 3072];
    int64_t indices[] = { 2, 1 };
    ebb_tensor images = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2, 3, 32, 32), batch);
    ck_assert_int_eq(ebb_image_set_batch(&set, indices, 2, &images, NULL, &error), EBB_OK);
    ck_assert_float_eq(batch[3071], (float)(3071 % 256) / 255.0f);
    ck_assert_float_eq(batch[3072], 7 / 255.0f);
    ebb_image_set_finish(&set);
}
END_TEST

START_TEST(the_database_is_read)
{
    make_database();
    ebb_image_set train, test;
    const char *folder = test_temporary_folder();
    ck_assert_msg(ebb_cifar10_read(folder, NULL, &train, &test, &error) == EBB_OK, "%s",
                  error.message);
    ck_assert_int_eq(train.n, 10);
    ck_assert_mem_eq(train.labels.data, "\1\5\2\6\3\7\4\10\5\11", 10);
    ck_assert_int_eq(test.n, 3);
    ck_assert_mem_eq(test.labels.data, "\11\0\7", 3);
    ebb_image_set_finish(&train);
    ebb_image_set_finish(&test);
    ck_assert_int_eq(ebb_cifar10_read(folder, NULL, NULL, &test, &error), EBB_OK);
    ebb_image_set_finish(&test);
    ck_assert_int_eq(ebb_cifar10_read(folder, NULL, NULL, NULL, &error), EBB_OK);
}
END_TEST

static void expect_refusal(const char *path, ebb_status expected, const char *part)
{
    const char *paths[] = { make_batch("good", "1"), path };
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_image_set set = { .n = 1 };
    error = (ebb_error){ 0 };
    expect_failure(ebb_cifar10_read_files(paths, 2, &meter.allocator, &set, &error), expected,
                   part);
    ck_assert_msg(strstr(error.message, path), "no path in \"%s\"", error.message);
    ck_assert_ptr_null(set.images.data);
    ck_assert_int_eq(set.n, 0);
    ck_assert_int_eq(meter.n_live, 0);
}

START_TEST(bad_files_are_refused)
{
    expect_refusal(file_path("none"), EBB_IO, "No such file");
    expect_refusal(test_temporary_folder(), EBB_IO, "not a regular file");
    expect_refusal(file_make("empty", "", 0), EBB_BAD_FORMAT,
                   "byte 0: expected records of 3073 bytes, found the end of the data");
    expect_refusal(file_make("short", make_records("12"), RECORD_BYTES - 1), EBB_BAD_FORMAT,
                   "byte 0: expected a record of 3073 bytes, found 3072");
    expect_refusal(file_make("long", make_records("12"), RECORD_BYTES + 5), EBB_BAD_FORMAT,
                   "byte 3073: expected a record of 3073 bytes, found 5");
    expect_refusal(make_batch("label", "19:"), EBB_BAD_FORMAT,
                   "byte 6146: expected a class from 0 to 9, found 10");
    size_t n_bytes;
    char *bytes = file_read(file_make_gzip("gz", make_records("123"), 3 * RECORD_BYTES), &n_bytes);
    ck_assert_ptr_nonnull(bytes);
    expect_refusal(file_make("cut.gz", bytes, n_bytes - 20), EBB_BAD_FORMAT, "byte ");
    free(bytes);

    ebb_image_set set;
    expect_failure(ebb_cifar10_read_files(NULL, 1, NULL, &set, &error), EBB_BAD_ARGUMENT,
                   "there are no paths");
    expect_failure(ebb_cifar10_read_files(NULL, 1, NULL, NULL, &error), EBB_BAD_ARGUMENT,
                   "set is NULL");
}
END_TEST

START_TEST(incomplete_databases_are_refused)
{
    ebb_image_set train, test;
    const char *folder = test_temporary_folder();
    make_database();
    ck_assert_int_eq(unlink(file_path("test_batch.bin")), 0);
    expect_failure(ebb_cifar10_read(folder, NULL, &train, &test, &error), EBB_IO, "test_batch.bin");
    ck_assert_ptr_null(train.images.data);
    ck_assert_ptr_null(test.images.data);
    ck_assert_int_eq(unlink(file_path("data_batch_4.bin")), 0);
    expect_failure(ebb_cifar10_read(folder, NULL, &train, NULL, &error), EBB_IO,
                   "data_batch_4.bin");
    expect_failure(ebb_cifar10_read(NULL, NULL, &train, &test, &error), EBB_BAD_ARGUMENT,
                   "folder is NULL");
    static char longest[5000];
    memset(longest, 'a', sizeof longest - 1);
    expect_failure(ebb_cifar10_read(longest, NULL, &train, &test, &error), EBB_IO,
                   "the path is too long");
}
END_TEST

START_TEST(failing_allocations_leave_nothing)
{
    make_database();
    ebb_status status = EBB_OUT_OF_MEMORY;
    for (int64_t n = 0; status != EBB_OK; n++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = n;
        ebb_image_set train, test;
        status = ebb_cifar10_read(test_temporary_folder(), &meter.allocator, &train, &test, &error);
        if (status != EBB_OK)
            expect_failure(status, EBB_OUT_OF_MEMORY, "no memory");
        ebb_image_set_finish(&train);
        ebb_image_set_finish(&test);
        ck_assert_int_eq(meter.n_live, 0);
    }
}
END_TEST

/* 100 images of the real database, ten of each class. */
START_TEST(real_images_are_read)
{
    char path[4096];
    if (!test_data_folder())
        SKIP_TEST("there is no folder with the real data");
    snprintf(path, sizeof path, "%s/cifar10/sample_100.bin", test_data_folder());
    if (access(path, R_OK) != 0)
        SKIP_TEST("there is no %s", path);
    ebb_image_set set;
    const char *paths[] = { path };
    ck_assert_msg(ebb_cifar10_read_files(paths, 1, NULL, &set, &error) == EBB_OK, "%s",
                  error.message);
    ck_assert_int_eq(set.n, 100);
    int counts[10] = { 0 };
    double sum = 0;
    for (int64_t i = 0; i < set.n; i++)
        counts[((const uint8_t *)set.labels.data)[i]]++;
    for (int c = 0; c < 10; c++)
        ck_assert_int_eq(counts[c], 10);
    for (int64_t i = 0; i < set.n * 3072; i++)
        sum += ((const uint8_t *)set.images.data)[i];
    /* The whole database has a mean brightness of 0.473; a hundred of its images are near. */
    ck_assert_double_eq_tol(sum / ((double)set.n * 3072) / 255, 0.473, 0.05);
    ebb_image_set_finish(&set);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cifar10");
    TCase *good = tcase_create("good files");
    tcase_add_test(good, files_become_one_set);
    tcase_add_test(good, the_database_is_read);
    tcase_add_test(good, real_images_are_read);
    suite_add_tcase(suite, good);
    TCase *bad = tcase_create("bad files");
    tcase_add_test(bad, bad_files_are_refused);
    tcase_add_test(bad, incomplete_databases_are_refused);
    tcase_add_test(bad, failing_allocations_leave_nothing);
    suite_add_tcase(suite, bad);
    return run_suite(suite);
}
