/* PNG files: pictures made by hand out of chunks, what Ebb writes, and everything that is wrong. */
#include "io/image.h"
#include "tests/support/failure.h"
#include "tests/support/files.h"

#include <ebb/io.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <zlib.h>

/* ---- files out of chunks (PNG Specification, 3rd edition, section 5) ---- */

typedef struct png_bytes {
    unsigned char bytes[2048];
    size_t n;
} png_bytes;

static void put(png_bytes *file, const void *data, size_t n)
{
    ck_assert_uint_le(file->n + n, sizeof file->bytes);
    if (n > 0)
        memcpy(file->bytes + file->n, data, n);
    file->n += n;
}

static void put_u32(png_bytes *file, uint32_t value)
{
    const unsigned char bytes[4] = { (unsigned char)(value >> 24), (unsigned char)(value >> 16),
                                     (unsigned char)(value >> 8), (unsigned char)value };
    put(file, bytes, 4);
}

static void put_chunk(png_bytes *file, const char *type, const void *data, size_t n)
{
    const size_t start = file->n + 4;
    put_u32(file, (uint32_t)n);
    put(file, type, 4);
    put(file, data, n);
    put_u32(file, (uint32_t)crc32(0, file->bytes + start, (uInt)(n + 4)));
}

typedef struct png_header {
    uint32_t width, height;
    unsigned char depth, color, interlace;
} png_header;
enum { GREY = 0, RGB = 2, PALETTE = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

static void put_header(png_bytes *file, png_header h)
{
    static const unsigned char signature[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    png_bytes data = { .n = 0 };
    const unsigned char rest[5] = { h.depth, h.color, 0, 0, h.interlace };
    put_u32(&data, h.width);
    put_u32(&data, h.height);
    put(&data, rest, 5);
    put(file, signature, 8);
    put_chunk(file, "IHDR", data.bytes, data.n);
}

/* Compressed: rows, each with its filter byte in front. */
static void put_pixels(png_bytes *file, const void *rows, size_t n)
{
    unsigned char packed[1024];
    uLongf n_packed = sizeof packed;
    ck_assert_int_eq(compress(packed, &n_packed, rows, (uLong)n), Z_OK);
    put_chunk(file, "IDAT", packed, n_packed);
    put_chunk(file, "IEND", NULL, 0);
}

static png_bytes make_png(png_header h, const void *rows, size_t n)
{
    png_bytes file = { .n = 0 };
    put_header(&file, h);
    put_pixels(&file, rows, n);
    return file;
}

static ebb_status parse(const png_bytes *file, size_t n, ebb_tensor *tensor)
{
    void *copy = malloc(n ? n : 1); /* of exactly this size, so that a sanitizer sees more */
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, file->bytes, n);
    ebb_status status = ebb_png_parse(copy, n, "f.png", NULL, tensor, &error);
    free(copy);
    return status;
}

static void expect_picture(const ebb_tensor *tensor, ebb_shape shape, const unsigned char *pixels)
{
    const ebb_type type = ebb_type_of(EBB_U8, shape);
    char found[EBB_TYPE_TEXT_BYTES], expected[EBB_TYPE_TEXT_BYTES];
    ck_assert_msg(ebb_type_equal(&tensor->type, &type), "%s, not %s",
                  ebb_type_text(&tensor->type, found), ebb_type_text(&type, expected));
    ck_assert(tensor->owned);
    ck_assert_mem_eq(tensor->data, pixels, ebb_type_bytes(&type));
}

static void expect_parsed(const png_bytes *file, ebb_shape shape, const unsigned char *pixels)
{
    ebb_tensor tensor;
    ebb_status status = parse(file, file->n, &tensor);
    ck_assert_msg(status == EBB_OK, "%s", error.message);
    expect_picture(&tensor, shape, pixels);
    ebb_tensor_finish(&tensor);
}

static void refuse(const png_bytes *file, const char *part)
{
    ebb_tensor tensor;
    expect_failure(parse(file, file->n, &tensor), EBB_BAD_FORMAT, part);
    ck_assert_ptr_null(tensor.data);
}

#define BYTES(...)                                                                                 \
    (const unsigned char[])                                                                        \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static png_bytes grey_picture(void)
{
    return make_png((png_header){ 3, 2, 8, GREY, 0 }, BYTES(0, 10, 20, 30, 0, 40, 50, 255), 8);
}

START_TEST(reads_what_the_format_says)
{
    png_bytes file = grey_picture();
    expect_parsed(&file, EBB_SHAPE(2, 3, 1), BYTES(10, 20, 30, 40, 50, 255));
    /* filter 1: differences to the left; filter 2: to above */
    file = make_png((png_header){ 3, 2, 8, GREY, 0 }, BYTES(1, 10, 10, 10, 2, 30, 30, 225), 8);
    expect_parsed(&file, EBB_SHAPE(2, 3, 1), BYTES(10, 20, 30, 40, 50, 255));
    file = make_png((png_header){ 1, 2, 8, RGB, 0 }, BYTES(0, 1, 2, 3, 0, 4, 5, 6), 8);
    expect_parsed(&file, EBB_SHAPE(2, 1, 3), BYTES(1, 2, 3, 4, 5, 6));
    file = make_png((png_header){ 5, 1, 1, GREY, 0 }, BYTES(0, 0xa8), 2);
    expect_parsed(&file, EBB_SHAPE(1, 5, 1), BYTES(255, 0, 255, 0, 255));
    file = make_png((png_header){ 3, 1, 4, GREY, 0 }, BYTES(0, 0x0f, 0x30), 3);
    expect_parsed(&file, EBB_SHAPE(1, 3, 1), BYTES(0, 255, 51));
    /* Adam7: pass 1 has (0,0), pass 6 (1,0), pass 7 the second row */
    file = make_png((png_header){ 2, 2, 8, GREY, 1 }, BYTES(0, 1, 0, 2, 0, 3, 4), 7);
    expect_parsed(&file, EBB_SHAPE(2, 2, 1), BYTES(1, 2, 3, 4));
}
END_TEST

START_TEST(palettes_become_rgb)
{
    png_bytes file = { .n = 0 };
    put_header(&file, (png_header){ 2, 1, 8, PALETTE, 0 });
    put_chunk(&file, "PLTE", BYTES(9, 8, 7, 6, 5, 4), 6);
    put_pixels(&file, BYTES(0, 1, 0), 3);
    expect_parsed(&file, EBB_SHAPE(1, 2, 3), BYTES(6, 5, 4, 9, 8, 7));
}
END_TEST

START_TEST(refuses_other_kinds)
{
    png_bytes file = make_png((png_header){ 1, 1, 16, GREY, 0 }, BYTES(0, 1, 2), 3);
    refuse(&file, "16 bits a sample; only pictures of 8 are read");
    file = make_png((png_header){ 1, 1, 8, GREY_ALPHA, 0 }, BYTES(0, 1, 2), 3);
    refuse(&file, "transparent; only grey and RGB pictures are read");
    file = make_png((png_header){ 1, 1, 8, RGB_ALPHA, 0 }, BYTES(0, 1, 2, 3, 4), 5);
    refuse(&file, "transparent");
    file = (png_bytes){ .n = 0 };
    put_header(&file, (png_header){ 1, 1, 8, GREY, 0 });
    put_chunk(&file, "tRNS", BYTES(0, 7), 2);
    put_pixels(&file, BYTES(0, 1), 2);
    refuse(&file, "transparent");
    file = (png_bytes){ .bytes = "P5 2 2 255 1234", .n = 15 };
    refuse(&file, "f.png: byte 8: Not a PNG file");
    file = make_png((png_header){ 0, 1, 8, GREY, 0 }, BYTES(0), 1);
    refuse(&file, "f.png: byte 33: Invalid IHDR data");
    file = make_png((png_header){ 1, 1, 3, GREY, 0 }, BYTES(0, 1), 2);
    refuse(&file, "Invalid IHDR data");
}
END_TEST

START_TEST(headers_do_not_ask_for_memory)
{
    png_bytes file = make_png((png_header){ 500000, 500000, 8, RGB, 0 }, BYTES(0, 1), 2);
    refuse(&file, "500000 x 500000 pixels cannot be in a file of");
    file = make_png((png_header){ 2000000, 1, 8, RGB, 0 }, BYTES(0, 1), 2);
    refuse(&file, "Invalid IHDR data");
}
END_TEST

START_TEST(cut_files)
{
    const png_bytes file = grey_picture();
    for (size_t n = 0; n < file.n; n++) {
        ebb_tensor tensor;
        expect_failure(parse(&file, n, &tensor), EBB_BAD_FORMAT, "f.png: byte ");
        ck_assert_ptr_null(tensor.data);
        if (n > 8)
            ck_assert_msg(strstr(error.message, "the file ends too early"), "%zu: %s", n,
                          error.message);
    }
    /* fewer pixels than the header says, though all chunks are whole */
    png_bytes few = make_png((png_header){ 3, 2, 8, GREY, 0 }, BYTES(0, 10, 20, 30), 4);
    refuse(&few, "Not enough image data");
}
END_TEST

START_TEST(damaged_files)
{
    const png_bytes file = grey_picture();
    ebb_tensor tensor;
    for (size_t i = 0; i < file.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            png_bytes bad = file;
            bad.bytes[i] ^= (unsigned char)(1 << bit);
            ebb_status status = parse(&bad, bad.n, &tensor);
            ck_assert_msg(status == EBB_OK || status == EBB_BAD_FORMAT, "byte %zu: %s", i,
                          ebb_status_name(status));
            ebb_tensor_finish(&tensor);
        }
    png_bytes bad = file;
    bad.bytes[file.n - 12 - 1] ^= 1; /* in the checksum of IDAT */
    refuse(&bad, "IDAT: CRC error");
    bad = (png_bytes){ .n = 0 };
    put_header(&bad, (png_header){ 3, 2, 8, GREY, 0 });
    put_chunk(&bad, "IDAT", "no zlib data", 12);
    put_chunk(&bad, "IEND", NULL, 0);
    refuse(&bad, "f.png: byte ");
    bad = make_png((png_header){ 3, 1, 8, GREY, 0 }, BYTES(9, 1, 2, 3), 4);
    refuse(&bad, "bad adaptive filter value");
}
END_TEST

START_TEST(failing_allocations)
{
    const png_bytes file = grey_picture();
    ebb_memory_meter meter;
    ebb_status status = EBB_OUT_OF_MEMORY;
    int n = 0;
    for (; n < 100 && status; n++) {
        ebb_tensor tensor;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = n;
        status = ebb_png_parse(file.bytes, file.n, "f.png", &meter.allocator, &tensor, &error);
        if (status) {
            expect_failure(status, EBB_OUT_OF_MEMORY, "f.png: no memory for the picture");
            ck_assert_ptr_null(tensor.data);
        }
        ebb_tensor_finish(&tensor);
        ck_assert_int_eq(meter.n_live, 0);
    }
    ck_assert_int_gt(n, 4);
    ck_assert_int_eq(status, EBB_OK);
}
END_TEST

/* ---- files ---- */

static void round_trip(ebb_shape shape, ebb_shape read_as)
{
    unsigned char pixels[17 * 31 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (unsigned char)(i * i / 3);
    const ebb_tensor picture = ebb_tensor_borrow(EBB_U8, shape, pixels);
    const char *path = file_path("picture.png");
    ebb_tensor tensor;
    ebb_status status = ebb_png_write(path, &picture, &error);
    ck_assert_msg(status == EBB_OK, "%s", error.message);
    status = ebb_png_read(path, NULL, &tensor, &error);
    ck_assert_msg(status == EBB_OK, "%s", error.message);
    expect_picture(&tensor, read_as, pixels);
    ebb_tensor_finish(&tensor);
}

START_TEST(reads_what_it_writes)
{
    round_trip(EBB_SHAPE(17, 31, 3), EBB_SHAPE(17, 31, 3));
    round_trip(EBB_SHAPE(17, 31, 1), EBB_SHAPE(17, 31, 1));
    round_trip(EBB_SHAPE(31, 17), EBB_SHAPE(31, 17, 1));
    round_trip(EBB_SHAPE(1, 1, 3), EBB_SHAPE(1, 1, 3));
    ck_assert_int_eq(file_count(), 1);
}
END_TEST

START_TEST(bad_pictures_are_not_written)
{
    unsigned char pixels[12] = { 0 };
    const char *path = file_make("old.png", "old", 3);
    const ebb_tensor good = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(2, 2, 3), pixels);
    ebb_tensor bad = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3), pixels);
    expect_failure(ebb_png_write(path, &bad, &error), EBB_BAD_DTYPE,
                   "old.png: pixels are u8, not f32[3]");
    bad = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(2, 3, 2), pixels);
    expect_failure(ebb_png_write(path, &bad, &error), EBB_BAD_SHAPE,
                   "a picture is [height,width], [height,width,1] or [height,width,3], not empty: "
                   "[2,3,2]");
    bad = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(0, 3), pixels);
    expect_failure(ebb_png_write(path, &bad, &error), EBB_BAD_SHAPE, "not empty: [0,3]");
    bad = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(2, 3), NULL);
    expect_failure(ebb_png_write(path, &bad, &error), EBB_BAD_ARGUMENT, "has no data");
    expect_failure(ebb_png_write(NULL, &good, &error), EBB_BAD_ARGUMENT, "path is NULL");
    expect_failure(ebb_png_write(path, NULL, &error), EBB_BAD_ARGUMENT, "tensor is NULL");
    size_t n;
    char *text = file_read(path, &n);
    ck_assert_str_eq(text, "old");
    free(text);
    ck_assert_int_eq(file_count(), 1);
}
END_TEST

START_TEST(files_that_cannot_be)
{
    unsigned char pixels[12] = { 0 };
    const ebb_tensor picture = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(2, 2, 3), pixels);
    ebb_tensor tensor;
    expect_failure(ebb_png_read(file_path("none.png"), NULL, &tensor, &error), EBB_IO,
                   "none.png: cannot be opened: No such file");
    ck_assert_ptr_null(tensor.data);
    expect_failure(ebb_png_read(test_temporary_folder(), NULL, &tensor, &error), EBB_IO,
                   "not a regular file");
    ck_assert_int_eq(mkfifo(file_path("pipe"), 0600), 0);
    expect_failure(ebb_png_read(file_path("pipe"), NULL, &tensor, &error), EBB_IO,
                   "not a regular file");
    expect_failure(ebb_png_write(file_path("none/f.png"), &picture, &error), EBB_IO,
                   "No such file");
    expect_failure(ebb_png_read(NULL, NULL, &tensor, &error), EBB_BAD_ARGUMENT, "path is NULL");
    expect_failure(ebb_png_read("f.png", NULL, NULL, &error), EBB_BAD_ARGUMENT, "tensor is NULL");
    const png_bytes file = grey_picture();
    const char *path = file_make("cut.png", file.bytes, file.n - 20);
    expect_failure(ebb_png_read(path, NULL, &tensor, &error), EBB_BAD_FORMAT,
                   "the file ends too early");
    path = file_make("empty.png", "", 0);
    expect_failure(ebb_png_read(path, NULL, &tensor, &error), EBB_BAD_FORMAT,
                   "empty.png: byte 0: the file ends too early");
}
END_TEST

/* A limit on the file's size behaves as a full disk does. */
START_TEST(full_disk)
{
    enum { SIDE = 200 };
    static unsigned char pixels[SIDE * SIDE];
    uint32_t seed = 1;
    for (int i = 0; i < SIDE * SIDE; i++) {
        seed = seed * 1664525u + 1013904223u; /* Numerical Recipes, 7.1 */
        pixels[i] = (unsigned char)(seed >> 24);
    }
    const char *path = file_make("old.png", "old", 3);
    const ebb_tensor picture = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(SIDE, SIDE), pixels);
    struct rlimit limit = { 1000, 1000 };
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    expect_failure(ebb_png_write(path, &picture, &error), EBB_IO, "File too large");
    size_t n;
    char *text = file_read(path, &n);
    ck_assert_str_eq(text, "old");
    free(text);
    ck_assert_int_eq(file_count(), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image");
    TCase *reading = tcase_create("reading");
    tcase_add_test(reading, reads_what_the_format_says);
    tcase_add_test(reading, palettes_become_rgb);
    tcase_add_test(reading, refuses_other_kinds);
    tcase_add_test(reading, headers_do_not_ask_for_memory);
    tcase_add_test(reading, cut_files);
    tcase_add_test(reading, damaged_files);
    tcase_add_test(reading, failing_allocations);
    suite_add_tcase(suite, reading);
    TCase *files = tcase_create("files");
    tcase_add_test(files, reads_what_it_writes);
    tcase_add_test(files, bad_pictures_are_not_written);
    tcase_add_test(files, files_that_cannot_be);
    tcase_add_test(files, full_disk);
    suite_add_tcase(suite, files);
    return run_suite(suite);
}
