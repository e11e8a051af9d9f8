/* IDX, MNIST, atomic files. */
#include "tests/support/failure.h"
#include "tests/support/files.h"

#include <ebb/io.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- IDX ---- */

static void expect_idx_failure(const char *path, ebb_status expected, const char *part)
{
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_tensor tensor = { .owned = true };
    error = (ebb_error){ 0 };
    expect_failure(ebb_idx_read(path, &meter.allocator, &tensor, &error), expected, part);
    ck_assert_msg(strstr(error.message, path), "no path in \"%s\"", error.message);
    ck_assert_ptr_null(tensor.data);
    ck_assert_int_eq(tensor.owned, false);
    ck_assert_int_eq(meter.n_live, 0);
    /* A window of zlib and the reading buffers; whatever the header claims. */
    ck_assert_uint_lt(meter.peak_bytes, 256 * 1024);
}

/* Ranks 1 to 8, plain and compressed. */
START_TEST(idx_reads_every_rank)
{
    for (int rank = 1; rank <= 8; rank++) {
        unsigned char bytes[4 + 4 * 8 + 256] = { 0, 0, 8, (unsigned char)rank };
        size_t at = 4, n = 1;
        for (int i = 0; i < rank; i++, at += 4) {
            bytes[at + 3] = (unsigned char)(i == 0 ? 3 : i < 6 ? 2 : 1);
            n *= bytes[at + 3];
        }
        for (size_t i = 0; i < n; i++)
            bytes[at + i] = (unsigned char)(i * 7 + 1);
        const char *paths[] = { file_make("plain", bytes, at + n),
                                file_make_gzip("gz", bytes, at + n) };
        for (int k = 0; k < 2; k++) {
            ebb_tensor tensor;
            ck_assert_int_eq(ebb_idx_read(paths[k], NULL, &tensor, &error), EBB_OK);
            ck_assert_int_eq(tensor.type.dtype, EBB_U8);
            ck_assert_int_eq(tensor.type.shape.rank, rank);
            ck_assert_int_eq(tensor.type.shape.dims[0], 3);
            ck_assert_uint_eq(ebb_tensor_bytes(&tensor), n);
            ck_assert_mem_eq(tensor.data, bytes + at, n);
            ebb_tensor_finish(&tensor);
        }
    }
}
END_TEST

START_TEST(idx_reads_large_and_empty)
{
    size_t n = 300000; /* several chunks of the reader */
    unsigned char *bytes = malloc(8 + n);
    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, (unsigned char[]){ 0, 0, 8, 1, 0, 4, 0x93, 0xe0 }, 8);
    for (size_t i = 0; i < n; i++)
        bytes[8 + i] = (unsigned char)(i * i >> 7);
    const char *paths[] = { file_make("plain", bytes, 8 + n), file_make_gzip("gz", bytes, 8 + n) };
    for (int k = 0; k < 2; k++) {
        ebb_tensor tensor;
        ck_assert_int_eq(ebb_idx_read(paths[k], NULL, &tensor, &error), EBB_OK);
        ck_assert_mem_eq(tensor.data, bytes + 8, n);
        ebb_tensor_finish(&tensor);
    }
    free(bytes);

    unsigned char empty[] = { 0, 0, 8, 2, 0, 0, 0, 0, 255, 255, 255, 255 };
    ebb_tensor tensor;
    ck_assert_int_eq(ebb_idx_read(file_make("empty", empty, sizeof empty), NULL, &tensor, &error),
                     EBB_OK);
    ck_assert_int_eq(ebb_shape_elements(&tensor.type.shape), 0);
    ebb_tensor_finish(&tensor);
}
END_TEST

/* clang-format off */
static const struct {
    size_t n;
    unsigned char bytes[40];
    const char *message;
} bad_idx[] = {
    { 0,  { 0 },                                          "byte 0: expected an IDX header of at least 4 bytes" },
    { 3,  { 0, 0, 8 },                                    "byte 3: expected an IDX header of at least 4 bytes" },
    { 9,  { 'P', '5', 8, 1, 0, 0, 0, 1, 7 },              "byte 0: expected the two zero bytes that begin an IDX file, found 0x50 0x35" },
    { 9,  { 0, 1, 8, 1, 0, 0, 0, 1, 7 },                  "found 0x00 0x01" },
    { 9,  { 0, 0, 0x0d, 1, 0, 0, 0, 1, 7 },               "byte 2: expected type code 0x08 (unsigned bytes), found 0x0d (32-bit floats)" },
    { 9,  { 0, 0, 0x77, 1, 0, 0, 0, 1, 7 },               "found 0x77 (no type of the format)" },
    { 9,  { 0, 0, 8, 0, 0, 0, 0, 1, 7 },                  "byte 3: expected a number of dimensions from 1 to 8, found 0" },
    { 40, { 0, 0, 8, 9, 0, 0, 0, 1 },                     "from 1 to 8, found 9" },
    { 7,  { 0, 0, 8, 1, 0, 0, 0 },                        "byte 7: expected 1 dimensions of 4 bytes, found the end" },
    { 8,  { 0, 0, 8, 1, 0, 0, 0, 1 },                     "byte 8: expected 1 bytes for the dimensions [1], found 0" },
    { 10, { 0, 0, 8, 1, 0, 0, 0, 1, 7, 7 },               "byte 9: expected the end of the data after [1], found more" },
    { 10, { 0, 0, 8, 1, 0x7f, 0, 0, 0, 7, 7 },            "byte 8: expected 2130706432 bytes for the dimensions [2130706432], found 2" },
    { 14, { 0, 0, 8, 2, 0, 1, 0, 0, 0, 1, 0, 0, 7, 7 },   "byte 12: expected 4294967296 bytes for the dimensions [65536,65536], found 2" },
    { 18, { 0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 7, 7 },
                                                          "byte 4: expected dimensions that a file can hold, found [4294967295,4294967295,4294967295]" },
};
/* clang-format on */

START_TEST(idx_rejects_bad_headers)
{
    for (size_t i = 0; i < sizeof bad_idx / sizeof *bad_idx; i++) {
        expect_idx_failure(file_make("bad", bad_idx[i].bytes, bad_idx[i].n), EBB_BAD_FORMAT,
                           bad_idx[i].message);
        expect_idx_failure(file_make_gzip("bad.gz", bad_idx[i].bytes, bad_idx[i].n), EBB_BAD_FORMAT,
                           bad_idx[i].message);
    }
}
END_TEST

START_TEST(idx_rejects_broken_gzip)
{
    unsigned char bytes[8 + 200] = { 0, 0, 8, 1, 0, 0, 0, 200 };
    for (int i = 0; i < 200; i++)
        bytes[8 + i] = (unsigned char)(i * i);
    size_t n;
    char *packed = file_read(file_make_gzip("whole.gz", bytes, sizeof bytes), &n);
    for (size_t length = 2; length < n; length++)
        expect_idx_failure(file_make("cut.gz", packed, length), EBB_BAD_FORMAT,
                           "expected gzip data, found the end of the file");
    packed[n - 6] ^= 1; /* the checksum */
    expect_idx_failure(file_make("sum.gz", packed, n), EBB_BAD_FORMAT, "incorrect data check");
    packed[n - 6] ^= 1;
    packed[n - 1] ^= 1; /* the length */
    expect_idx_failure(file_make("length.gz", packed, n), EBB_BAD_FORMAT, "incorrect length check");
    packed[n - 1] ^= 1;

    char *twice = malloc(2 * n);
    memcpy(twice, packed, n);
    memcpy(twice + n, packed, n);
    expect_idx_failure(file_make("twice.gz", twice, 2 * n), EBB_BAD_FORMAT, "found more");
    expect_idx_failure(file_make("more.gz", twice, n + 5), EBB_BAD_FORMAT,
                       "found the end of the file");
    memcpy(twice + n, "garbage", 7);
    expect_idx_failure(file_make("garbage.gz", twice, n + 7), EBB_BAD_FORMAT, "expected gzip data");
    free(twice);
    free(packed);
}
END_TEST

/* A gzip file may consist of several parts (RFC 1952, section 2.2). */
START_TEST(idx_reads_gzip_members)
{
    unsigned char bytes[] = { 0, 0, 8, 1, 0, 0, 0, 3, 5, 6, 7 };
    size_t n1, n2;
    char *head = file_read(file_make_gzip("head", bytes, 9), &n1);
    char *tail = file_read(file_make_gzip("tail", bytes + 9, 2), &n2);
    char *both = malloc(n1 + n2);
    memcpy(both, head, n1);
    memcpy(both + n1, tail, n2);
    ebb_tensor tensor;
    ck_assert_int_eq(ebb_idx_read(file_make("both", both, n1 + n2), NULL, &tensor, &error), EBB_OK);
    ck_assert_mem_eq(tensor.data, "\5\6\7", 3);
    ebb_tensor_finish(&tensor);
    free(both);
    free(tail);
    free(head);
}
END_TEST

START_TEST(idx_needs_a_regular_file)
{
    expect_idx_failure(file_path("nothing"), EBB_IO, "No such file");
    expect_idx_failure(test_temporary_folder(), EBB_IO, "not a regular file");
    const char *pipe = file_path("pipe");
    ck_assert_int_eq(mkfifo(pipe, 0600), 0);
    expect_idx_failure(pipe, EBB_IO, "not a regular file");
    ebb_tensor tensor;
    expect_failure(ebb_idx_read(NULL, NULL, &tensor, &error), EBB_BAD_ARGUMENT, "path is NULL");
    expect_failure(ebb_idx_read("x", NULL, NULL, &error), EBB_BAD_ARGUMENT, "tensor is NULL");
}
END_TEST

START_TEST(idx_survives_failing_allocations)
{
    unsigned char bytes[] = { 0, 0, 8, 1, 0, 0, 0, 3, 5, 6, 7 };
    const char *path = file_make_gzip("small.gz", bytes, sizeof bytes);
    for (int64_t n = 0;; n++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = n;
        ebb_tensor tensor;
        ebb_status status = ebb_idx_read(path, &meter.allocator, &tensor, &error);
        if (status == EBB_OK) {
            ebb_tensor_finish(&tensor);
            ck_assert_int_eq(meter.n_live, 0);
            ck_assert_int_ge(n, 3); /* the reader, zlib, the tensor */
            return;
        }
        expect_failure(status, EBB_OUT_OF_MEMORY, "no memory");
        ck_assert_int_eq(meter.n_live, 0);
        ck_assert_ptr_null(tensor.data);
    }
}
END_TEST

/* ---- MNIST ---- */

#define TRAIN_IMAGES "train-images-idx3-ubyte"
#define TRAIN_LABELS "train-labels-idx1-ubyte"
#define TEST_IMAGES "t10k-images-idx3-ubyte"
#define TEST_LABELS "t10k-labels-idx1-ubyte"

static const unsigned char two_images[] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0,
                                            0, 2, 0, 0, 0, 1, 1, 2, 3, 4 };
static const unsigned char wide_images[] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0,
                                             0, 1, 0, 0, 0, 2, 1, 2, 3, 4 };
static const unsigned char two_labels[] = { 0, 0, 8, 1, 0, 0, 0, 2, 9, 0 };
static const unsigned char three_labels[] = { 0, 0, 8, 1, 0, 0, 0, 3, 9, 0, 1 };
static const unsigned char bad_labels[] = { 0, 0, 8, 1, 0, 0, 0, 2, 9, 10 };

static void make_small_mnist(void)
{
    file_make(TRAIN_IMAGES, two_images, sizeof two_images);
    file_make_gzip(TRAIN_LABELS ".gz", two_labels, sizeof two_labels);
    file_make_gzip(TEST_IMAGES ".gz", two_images, sizeof two_images);
    file_make(TEST_LABELS, two_labels, sizeof two_labels);
}

static void expect_mnist_failure(ebb_status expected, const char *part)
{
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_image_set train, test;
    expect_failure(ebb_mnist_read(test_temporary_folder(), &meter.allocator, &train, &test, &error),
                   expected, part);
    ck_assert_int_eq(meter.n_live, 0);
    ck_assert_ptr_null(train.images.data);
    ck_assert_int_eq(train.n, 0);
    ck_assert_ptr_null(test.labels.data);
    ck_assert_int_eq(test.n_classes, 0);
}

START_TEST(mnist_reads_plain_and_gzip)
{
    make_small_mnist();
    ebb_image_set train, test;
    const char *folder = test_temporary_folder();
    ck_assert_int_eq(ebb_mnist_read(folder, NULL, &train, &test, &error), EBB_OK);
    ck_assert_int_eq(train.n, 2);
    ck_assert_int_eq(train.height, 2);
    ck_assert_int_eq(train.width, 1);
    ck_assert_int_eq(train.n_classes, 10);
    ck_assert_mem_eq(train.images.data, "\1\2\3\4", 4);
    ck_assert_mem_eq(test.labels.data, "\11\0", 2);
    ebb_image_set_finish(&train);
    ebb_image_set_finish(&test);
    ck_assert_int_eq(unlink(file_path(TRAIN_IMAGES)), 0);
    ck_assert_int_eq(ebb_mnist_read(folder, NULL, NULL, &test, &error), EBB_OK);
    ebb_image_set_finish(&test);
    ck_assert_int_eq(ebb_mnist_read(folder, NULL, NULL, NULL, &error), EBB_OK);
}
END_TEST

START_TEST(mnist_rejects_what_does_not_fit)
{
    expect_mnist_failure(EBB_IO, TRAIN_IMAGES ": there is no such file, with or without .gz");
    make_small_mnist();
    ck_assert_int_eq(unlink(file_path(TEST_LABELS)), 0);
    expect_mnist_failure(EBB_IO, TEST_LABELS ": there is no such file");
    file_make(TEST_LABELS, three_labels, sizeof three_labels);
    expect_mnist_failure(EBB_BAD_FORMAT,
                         TEST_LABELS ": expected a label for each of 2 images, found 3");
    file_make(TEST_LABELS, bad_labels, sizeof bad_labels);
    expect_mnist_failure(EBB_BAD_FORMAT, "label 1: expected a class from 0 to 9, found 10");
    file_make(TEST_LABELS, two_images, sizeof two_images);
    expect_mnist_failure(EBB_BAD_FORMAT, TEST_LABELS ": expected labels [n], found [2,2,1]");
    file_make(TEST_LABELS, two_labels, sizeof two_labels);
    file_make(TEST_IMAGES, two_labels, sizeof two_labels);
    expect_mnist_failure(EBB_BAD_FORMAT,
                         TEST_IMAGES ": expected images [n,height,width], found [2]");
    file_make(TEST_IMAGES, wide_images, sizeof wide_images);
    expect_mnist_failure(EBB_BAD_FORMAT, "training images are 2x1, test images are 1x2");
    file_make(TRAIN_IMAGES, two_images, sizeof two_images - 1);
    expect_mnist_failure(EBB_BAD_FORMAT, TRAIN_IMAGES ": byte 16: expected 4 bytes");
    expect_failure(ebb_mnist_read(NULL, NULL, NULL, NULL, &error), EBB_BAD_ARGUMENT,
                   "folder is NULL");
}
END_TEST

START_TEST(mnist_survives_failing_allocations)
{
    make_small_mnist();
    ebb_status status = EBB_OUT_OF_MEMORY;
    for (int64_t n = 0; status != EBB_OK; n++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = n;
        ebb_image_set train, test;
        status = ebb_mnist_read(test_temporary_folder(), &meter.allocator, &train, &test, &error);
        if (status != EBB_OK)
            expect_failure(status, EBB_OUT_OF_MEMORY, "no memory");
        ebb_image_set_finish(&train);
        ebb_image_set_finish(&test);
        ck_assert_int_eq(meter.n_live, 0);
    }
}
END_TEST

/* The real files: first labels as the book prints them, sizes of the database. */
START_TEST(mnist_reads_the_real_files)
{
    char folder[4096];
    if (!test_data_folder())
        SKIP_TEST("there is no folder with the real data");
    snprintf(folder, sizeof folder, "%s/mnist", test_data_folder());
    if (access(folder, R_OK) != 0)
        SKIP_TEST("there is no %s", folder);
    ebb_image_set train, test;
    ck_assert_msg(ebb_mnist_read(folder, NULL, &train, &test, &error) == EBB_OK, "%s",
                  error.message);
    ck_assert_int_eq(train.n, 60000);
    ck_assert_int_eq(test.n, 10000);
    ck_assert_int_eq(train.height * train.width, 784);
    ck_assert_mem_eq(train.labels.data, "\5\0\4\1\11\2\1\3\1\4", 10);
    /* The mean brightness that everybody normalizes with. */
    double sum = 0;
    for (int64_t i = 0; i < 60000 * 784; i++)
        sum += ((const uint8_t *)train.images.data)[i];
    ck_assert_double_eq_tol(sum / (60000.0 * 784) / 255, 0.1307, 5e-5);
    ebb_image_set_finish(&train);
    ebb_image_set_finish(&test);
}
END_TEST

/* ---- atomic files ---- */

typedef struct text_writer {
    const char *text;
    int times;
    ebb_status status;
    const char *message;
} text_writer;

static ebb_status write_text(void *context, FILE *out, ebb_error *reason)
{
    const text_writer *writer = context;
    for (int i = 0; i < writer->times; i++)
        fputs(writer->text, out);
    if (writer->message)
        ebb_fail(reason, writer->status, "%s", writer->message);
    return writer->status;
}

static void expect_content(const char *path, const char *text)
{
    size_t n;
    char *content = file_read(path, &n);
    ck_assert_ptr_nonnull(content);
    ck_assert_str_eq(content, text);
    free(content);
}

START_TEST(file_is_written_and_replaced)
{
    const char *path = file_path("out.txt");
    text_writer writer = { .text = "tide", .times = 2 };
    ck_assert_int_eq(ebb_file_write(path, write_text, &writer, &error), EBB_OK);
    expect_content(path, "tidetide");
    struct stat about;
    mode_t mask = umask(0);
    umask(mask);
    ck_assert_int_eq(stat(path, &about), 0);
    ck_assert_uint_eq(about.st_mode & 07777, 0666 & ~mask);

    ck_assert_int_eq(chmod(path, 0640), 0);
    writer.times = 1;
    ck_assert_int_eq(ebb_file_write(path, write_text, &writer, &error), EBB_OK);
    expect_content(path, "tide");
    ck_assert_int_eq(stat(path, &about), 0);
    ck_assert_uint_eq(about.st_mode & 07777, 0640);
    ck_assert_int_eq(file_count(), 1);

    ck_assert_int_eq(chdir(test_temporary_folder()), 0);
    ck_assert_int_eq(ebb_file_write("bare", write_text, &writer, &error), EBB_OK);
    expect_content(file_path("bare"), "tide");
}
END_TEST

START_TEST(file_stays_when_the_writer_fails)
{
    const char *path = file_make("out.txt", "old", 3);
    text_writer writer = { "new", 5000, EBB_BAD_GRAPH, "the tide is out" };
    expect_failure(ebb_file_write(path, write_text, &writer, &error), EBB_BAD_GRAPH,
                   "the tide is out");
    expect_content(path, "old");
    writer.message = NULL;
    expect_failure(ebb_file_write(path, write_text, &writer, &error), EBB_BAD_GRAPH,
                   ebb_status_text(EBB_BAD_GRAPH));
    expect_content(path, "old");
    ck_assert_int_eq(file_count(), 1);
    expect_failure(ebb_file_write(file_path("fresh"), write_text, &writer, &error), EBB_BAD_GRAPH,
                   "");
    ck_assert_int_eq(file_count(), 1);
}
END_TEST

/* A limit on the file's size behaves as a full disk does: write fails. */
START_TEST(file_stays_when_the_disk_is_full)
{
    const char *path = file_make("out.txt", "old", 3);
    struct rlimit limit = { 1000, 1000 };
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    text_writer writer = { .text = "new", .times = 1000 };
    expect_failure(ebb_file_write(path, write_text, &writer, &error), EBB_IO,
                   "out.txt: writing failed: File too large");
    writer.times = 100000; /* fails while the writer still writes */
    expect_failure(ebb_file_write(path, write_text, &writer, &error), EBB_IO,
                   "out.txt: writing failed");
    expect_content(path, "old");
    ck_assert_int_eq(file_count(), 1);
}
END_TEST

START_TEST(file_names_what_cannot_be_written)
{
    text_writer writer = { .text = "x", .times = 1 };
    expect_failure(ebb_file_write(file_path("no/such/folder"), write_text, &writer, &error), EBB_IO,
                   "no/such/folder: cannot be written: No such file or directory");
    expect_failure(ebb_file_write(test_temporary_folder(), write_text, &writer, &error), EBB_IO,
                   "not a regular file");
    expect_failure(ebb_file_write("/dev/null", write_text, &writer, &error), EBB_IO,
                   "/dev/null: cannot be written: not a regular file");
    expect_failure(ebb_file_write(file_path(""), write_text, &writer, &error), EBB_IO,
                   "the file has no name");
    static char longest[5000];
    memset(longest, 'x', sizeof longest - 1);
    longest[4900] = '/';
    expect_failure(ebb_file_write(longest, write_text, &writer, &error), EBB_IO, "xxx");
    expect_failure(ebb_file_write(NULL, write_text, &writer, &error), EBB_BAD_ARGUMENT,
                   "path is NULL");
    expect_failure(ebb_file_write("x", NULL, NULL, &error), EBB_BAD_ARGUMENT, "write is NULL");
    if (geteuid() != 0) { /* root may write anywhere */
        ck_assert_int_eq(chmod(test_temporary_folder(), 0500), 0);
        expect_failure(ebb_file_write(file_path("x"), write_text, &writer, &error), EBB_IO,
                       "x: cannot be written: Permission denied");
        ck_assert_int_eq(chmod(test_temporary_folder(), 0700), 0);
        const char *path = file_make("locked", "old", 3);
        ck_assert_int_eq(chmod(path, 0400), 0);
        expect_failure(ebb_file_write(path, write_text, &writer, &error), EBB_IO,
                       "locked: cannot be written: Permission denied");
    }
    ck_assert_int_le(file_count(), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("io");
    TCase *idx = tcase_create("idx");
    tcase_add_test(idx, idx_reads_every_rank);
    tcase_add_test(idx, idx_reads_large_and_empty);
    tcase_add_test(idx, idx_rejects_bad_headers);
    tcase_add_test(idx, idx_rejects_broken_gzip);
    tcase_add_test(idx, idx_reads_gzip_members);
    tcase_add_test(idx, idx_needs_a_regular_file);
    tcase_add_test(idx, idx_survives_failing_allocations);
    suite_add_tcase(suite, idx);
    TCase *mnist = tcase_create("mnist");
    tcase_add_test(mnist, mnist_reads_plain_and_gzip);
    tcase_add_test(mnist, mnist_rejects_what_does_not_fit);
    tcase_add_test(mnist, mnist_survives_failing_allocations);
    tcase_add_test(mnist, mnist_reads_the_real_files);
    suite_add_tcase(suite, mnist);
    TCase *file = tcase_create("file");
    tcase_add_test(file, file_is_written_and_replaced);
    tcase_add_test(file, file_stays_when_the_writer_fails);
    tcase_add_test(file, file_stays_when_the_disk_is_full);
    tcase_add_test(file, file_names_what_cannot_be_written);
    suite_add_tcase(suite, file);
    return run_suite(suite);
}
