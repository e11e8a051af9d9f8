/* PGM and PPM pictures, and folders of images. */
#include "tests/support/files.h"
#include "tests/support/runner.h"

#include "io/image.h"

#include <ebb/io.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static ebb_error error;

#define CHECK_TEXT(text, part)                                                                     \
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" does not say \"%s\"", text, part)

/* ---- PGM and PPM ---- */

START_TEST(test_pictures)
{
    static const struct {
        const char *bytes;
        size_t n;
        int64_t height, width, channels;
        uint8_t values[8];
    } rows[] = {
        { "P5 3 2 255\nabcdef", 17, 2, 3, 1, "abcdef" },
        { "P5\n# a comment\n3 #another\n2\n255 abcdef", 38, 2, 3, 1, "abcdef" },
        { "P6 1 2 255\nabcdef", 17, 2, 1, 3, "abcdef" },
        { "P2 3 1 255 0 128 255", 20, 1, 3, 1, { 0, 128, 255 } },
        { "P2\n3 1\n4\n0\n1 # one\n4\n", 22, 1, 3, 1, { 0, 64, 255 } },
        { "P3 1 1 1 1 0 1\n", 15, 1, 1, 3, { 255, 0, 255 } },
        { "P5 2 1 15\n\0\17", 12, 1, 2, 1, { 0, 255 } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ebb_tensor picture;
        ck_assert_msg(ebb_pnm_parse(rows[i].bytes, rows[i].n, "p", NULL, &picture, &error) ==
                          EBB_OK,
                      "%zu: %s", i, error.message);
        const ebb_type type =
            ebb_type_of(EBB_U8, EBB_SHAPE(rows[i].height, rows[i].width, rows[i].channels));
        ck_assert(ebb_type_equal(&picture.type, &type));
        ck_assert_mem_eq(picture.data, rows[i].values, ebb_tensor_bytes(&picture));
        ebb_tensor_finish(&picture);
    }
}
END_TEST

START_TEST(test_picture_errors)
{
    static const struct {
        const char *bytes, *message;
    } rows[] = {
        { "", "p: byte 0: expected P2, P3, P5 or P6" },
        { "P4 1 1 1", "expected P2, P3, P5 or P6" },
        { "P5 x", "p: byte 3: expected the width, at most 1000000" },
        { "P5 1", "p: byte 4: expected the height" },
        { "P5 1000001 1 255 ", "expected the width, at most 1000000" },
        { "P5 1 1 65536 ", "expected the largest sample, at most 65535" },
        { "P5 0 1 255 ", "must be above 0" },
        { "P5 1 1 256 ab", "16 bits a sample" },
        { "P5 1 1 255", "expected white space behind the header" },
        { "P5 2 2 255 abc", "too short for its samples" },
        { "P5 2 2 255 abcde", "goes on behind its samples" },
        { "P5 2 1 97 ab", "p: byte 11: a sample above the largest one" },
        { "P2 2 1 97 97 98", "p: byte 13: expected a sample, at most 97" },
        { "P2 2 1 97 9", "too short for its samples" },
        { "P2 2 1 97 9  ", "p: byte 13: expected a sample" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ebb_tensor picture;
        ck_assert_msg(ebb_pnm_parse(rows[i].bytes, strlen(rows[i].bytes), "p", NULL, &picture,
                                    &error) == EBB_BAD_FORMAT,
                      "%zu: %s", i, rows[i].bytes);
        CHECK_TEXT(error.message, rows[i].message);
        ck_assert_ptr_null(picture.data);
    }
    ebb_tensor picture;
    ck_assert_int_eq(ebb_pnm_read(file_path("none.ppm"), NULL, &picture, &error), EBB_IO);
    ck_assert_int_eq(ebb_pnm_read(NULL, NULL, &picture, &error), EBB_BAD_ARGUMENT);
}
END_TEST

/* ---- folders ---- */

static void make_folder(const char *name)
{
    ck_assert_int_eq(mkdir(file_path(name), 0777), 0);
}

static void make_png(const char *name, int height, int width, int channels, const uint8_t *values)
{
    const ebb_tensor picture =
        ebb_tensor_borrow(EBB_U8, EBB_SHAPE(height, width, channels), values);
    ck_assert_msg(ebb_png_write(file_path(name), &picture, &error) == EBB_OK, "%s", error.message);
}

START_TEST(test_folder)
{
    make_folder("set");
    make_folder("set/dogs");
    make_folder("set/cats");
    make_folder("set/.hidden");
    file_make("set/readme.txt", "x", 1);
    file_make("set/cats/notes.txt", "x", 1);
    make_folder("set/cats/more.png");
    file_make("set/dogs/b.PPM", "P6 1 2 255 ABCDEF", 17);
    make_png("set/dogs/a.png", 2, 1, 3, (const uint8_t *)"abcdef");
    file_make("set/cats/10.ppm", "P6 1 2 255 123456", 17);
    ebb_image_folder folder;
    ck_assert_msg(ebb_image_folder_read(file_path("set"), NULL, &folder, &error) == EBB_OK, "%s",
                  error.message);
    ck_assert_int_eq(folder.set.n, 3);
    ck_assert_int_eq(folder.set.n_classes, 2);
    ck_assert_str_eq(folder.classes[0], "cats");
    ck_assert_str_eq(folder.classes[1], "dogs");
    const ebb_type type = ebb_type_of(EBB_U8, EBB_SHAPE(3, 3, 2, 1));
    ck_assert(ebb_type_equal(&folder.set.images.type, &type));
    ck_assert_mem_eq(folder.set.images.data, "142536adbecfADBECF", 18);
    ck_assert_mem_eq(folder.set.labels.data, "\0\1\1", 3);
    ck_assert(folder.set.channels == 3 && folder.set.height == 2 && folder.set.width == 1);
    ebb_image_folder_finish(&folder);
    ck_assert_ptr_null(folder.classes);
}
END_TEST

START_TEST(test_many_grey_images)
{
    make_folder("many");
    make_folder("many/one");
    for (int i = 0; i < 50; i++) {
        char name[32], bytes[32];
        snprintf(name, sizeof name, "many/one/%02d.pgm", i);
        snprintf(bytes, sizeof bytes, "P2 2 1 255 %d %d", i, 2 * i);
        file_make(name, bytes, strlen(bytes));
    }
    ebb_image_folder folder;
    ck_assert_msg(ebb_image_folder_read(file_path("many"), NULL, &folder, &error) == EBB_OK, "%s",
                  error.message);
    const ebb_type type = ebb_type_of(EBB_U8, EBB_SHAPE(50, 1, 2));
    ck_assert(ebb_type_equal(&folder.set.images.type, &type));
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(((const uint8_t *)folder.set.images.data)[2 * i + 1], 2 * i);
    ebb_image_folder_finish(&folder);
}
END_TEST

START_TEST(test_folder_errors)
{
    ebb_image_folder folder;
    ck_assert_int_eq(ebb_image_folder_read(file_path("none"), NULL, &folder, &error), EBB_IO);
    CHECK_TEXT(error.message, "none: cannot be opened");
    make_folder("bad");
    ck_assert_int_eq(ebb_image_folder_read(file_path("bad"), NULL, &folder, &error),
                     EBB_BAD_FORMAT);
    CHECK_TEXT(error.message, "expected a folder for each of 1 to 256 classes, found 0");
    make_folder("bad/a");
    ck_assert_int_eq(ebb_image_folder_read(file_path("bad"), NULL, &folder, &error),
                     EBB_BAD_FORMAT);
    CHECK_TEXT(error.message, "bad/a: the folder of a class has no .png, .pgm or .ppm file");
    file_make("bad/a/1.pgm", "P5 1 2 255 ab", 13);
    file_make("bad/a/2.pgm", "P5 2 1 255 ab", 13);
    ck_assert_int_eq(ebb_image_folder_read(file_path("bad"), NULL, &folder, &error), EBB_BAD_SHAPE);
    CHECK_TEXT(error.message, "bad/a/2.pgm: 1x2 with 1 channels, but ");
    CHECK_TEXT(error.message, "bad/a/1.pgm is 2x1 with 1");
    file_make("bad/a/2.pgm", "P6 1 2 255 abcdef", 17);
    ck_assert_int_eq(ebb_image_folder_read(file_path("bad"), NULL, &folder, &error), EBB_BAD_SHAPE);
    CHECK_TEXT(error.message, "bad/a/2.pgm: 2x1 with 3 channels");
    file_make("bad/a/2.pgm", "P5 1 2 255 a", 12);
    ck_assert_int_eq(ebb_image_folder_read(file_path("bad"), NULL, &folder, &error),
                     EBB_BAD_FORMAT);
    CHECK_TEXT(error.message, "bad/a/2.pgm: byte 11: the file is too short");
    ck_assert(!folder.set.images.data && !folder.classes);
    ck_assert_int_eq(ebb_image_folder_read(NULL, NULL, &folder, &error), EBB_BAD_ARGUMENT);
}
END_TEST

START_TEST(test_folder_memory)
{
    make_folder("few");
    make_folder("few/a");
    make_folder("few/b");
    file_make("few/a/1.pgm", "P5 1 2 255 ab", 13);
    make_png("few/b/2.png", 2, 1, 1, (const uint8_t *)"cd");
    for (int64_t fail_after = 0;; fail_after++) {
        ebb_memory_meter meter;
        ebb_image_folder folder;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = fail_after;
        ebb_status status =
            ebb_image_folder_read(file_path("few"), &meter.allocator, &folder, &error);
        ebb_image_folder_finish(&folder);
        ck_assert_int_eq(meter.n_live, 0);
        if (status == EBB_OK) {
            ck_assert_int_gt(fail_after, 8);
            return;
        }
        ck_assert_int_eq(status, EBB_OUT_OF_MEMORY);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image_folder");
    TCase *pictures = tcase_create("pnm");
    tcase_add_test(pictures, test_pictures);
    tcase_add_test(pictures, test_picture_errors);
    suite_add_tcase(suite, pictures);
    TCase *folders = tcase_create("folders");
    tcase_add_test(folders, test_folder);
    tcase_add_test(folders, test_many_grey_images);
    tcase_add_test(folders, test_folder_errors);
    tcase_add_test(folders, test_folder_memory);
    suite_add_tcase(suite, folders);
    return run_suite(suite);
}
