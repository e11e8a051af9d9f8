/* Random changes of images: what they may do, and what they depend on. */
#include "tests/support/runtime.h"

#include <math.h>

enum { N = 40, CHANNELS = 2, SIDE_Y = 4, SIDE_X = 5, PIXELS = CHANNELS * SIDE_Y * SIDE_X };
static ebb_error error;

/* Every pixel of every image differs from the fill. */
static uint8_t pixels[N][CHANNELS][SIDE_Y][SIDE_X];

static ebb_dataset *make_images(ebb_dtype dtype)
{
    for (int i = 0; i < N * PIXELS; i++)
        (&pixels[0][0][0][0])[i] = (uint8_t)(1 + i % 255);
    const ebb_field field = { .name = "images",
                              .values = ebb_tensor_borrow(
                                  EBB_U8, EBB_SHAPE(N, CHANNELS, SIDE_Y, SIDE_X), pixels),
                              .dtype = dtype };
    ebb_dataset *dataset;
    ck_assert_int_eq(ebb_dataset_create(&field, 1, NULL, &dataset, &error), EBB_OK);
    return dataset;
}

static ebb_loader *make_loader(const ebb_dataset *dataset, const ebb_augment *augment,
                               int64_t batch, uint64_t seed, bool in_order)
{
    const ebb_loader_options options = { .batch = batch,
                                         .seed = seed,
                                         .in_order = in_order,
                                         .augments = augment,
                                         .n_augments = 1,
                                         .no_thread = true };
    ebb_loader *loader;
    ebb_status status = ebb_loader_create(dataset, &options, NULL, &loader, &error);
    ck_assert_msg(status == EBB_OK, "%s", error.message);
    return loader;
}

static ebb_batch next(ebb_loader *loader)
{
    ebb_batch batch;
    ebb_status status = ebb_loader_next(loader, &batch);
    ck_assert_msg(status == EBB_OK, "%s", ebb_loader_message(loader));
    return batch;
}

/* Where the window of an image can have been: bits dy * 16 + dx of (dy, dx, flips); the result must
 * be one of them. */
static int find_window(const uint8_t *found, int index, const ebb_augment *a, int height, int width,
                       int *dy, int *dx, int *flips)
{
    int n = 0;
    const int padding = (int)a->padding;
    for (int flip = 0; flip < 4; flip++) {
        if ((flip & 1 && !a->flip_vertical) || (flip & 2 && !a->flip_horizontal))
            continue;
        for (int y = -padding; y <= SIDE_Y + padding - height; y++)
            for (int x = -padding; x <= SIDE_X + padding - width; x++) {
                bool same = true;
                for (int c = 0; c < CHANNELS && same; c++)
                    for (int i = 0; i < height && same; i++)
                        for (int k = 0; k < width && same; k++) {
                            const int row = y + (flip & 1 ? height - 1 - i : i);
                            const int column = x + (flip & 2 ? width - 1 - k : k);
                            const bool inside =
                                row >= 0 && row < SIDE_Y && column >= 0 && column < SIDE_X;
                            same = found[(c * height + i) * width + k] ==
                                   (inside ? pixels[index][c][row][column] : (uint8_t)a->fill);
                        }
                if (same) {
                    *dy = y, *dx = x, *flips = flip;
                    n++;
                }
            }
    }
    return n;
}

/* Every image is one of the windows that there can be, and all of them come. */
static void check_windows(ebb_augment augment, int n_expected)
{
    ebb_dataset *dataset = make_images(EBB_NO_DTYPE);
    ebb_loader *loader = make_loader(dataset, &augment, N, 3, true);
    const int height = augment.crop_height ? (int)augment.crop_height : SIDE_Y;
    const int width = augment.crop_width ? (int)augment.crop_width : SIDE_X;
    const ebb_type type = ebb_loader_type(loader, 0);
    ck_assert(ebb_type_equal(&type, &(ebb_type){ EBB_U8, EBB_SHAPE(N, CHANNELS, height, width) }));
    bool seen[4][16][16] = { { { false } } };
    int n_seen = 0;
    for (int epoch = 0; epoch < 40; epoch++) {
        const ebb_batch batch = next(loader);
        const uint8_t *found = batch.fields[0].data;
        for (int i = 0; i < N; i++, found += CHANNELS * height * width) {
            int dy = 0, dx = 0, flips = 0;
            const int n = find_window(found, i, &augment, height, width, &dy, &dx, &flips);
            ck_assert_int_ge(n, 1);
            bool *is_seen = &seen[flips][dy + 5][dx + 5];
            n_seen += n == 1 && !*is_seen;
            *is_seen |= n == 1;
        }
    }
    ck_assert_int_eq(n_seen, n_expected);
    ebb_loader_destroy(loader);
    ebb_dataset_destroy(dataset);
}

START_TEST(test_windows)
{
    check_windows((ebb_augment){ .padding = 0 }, 1);
    check_windows((ebb_augment){ .padding = 1 }, 9);
    check_windows((ebb_augment){ .padding = 2, .fill = 0 }, 25);
    check_windows((ebb_augment){ .flip_horizontal = true }, 2);
    check_windows((ebb_augment){ .flip_vertical = true }, 2);
    check_windows((ebb_augment){ .flip_horizontal = true, .flip_vertical = true, .padding = 1 },
                  36);
    check_windows((ebb_augment){ .crop_height = 3, .crop_width = 3 }, 2 * 3);
    check_windows((ebb_augment){ .padding = 1, .crop_height = 3, .flip_horizontal = true },
                  4 * 3 * 2);
    check_windows((ebb_augment){ .padding = 1, .crop_height = 6, .crop_width = 7 }, 1);
}
END_TEST

/* A window may lie in the padding altogether. */
START_TEST(test_padding_beyond_the_image)
{
    ebb_dataset *dataset = make_images(EBB_NO_DTYPE);
    const ebb_augment augments[] = { { .padding = 9, .crop_height = 2, .crop_width = 2 },
                                     { .padding = 9,
                                       .crop_height = 2,
                                       .crop_width = 2,
                                       .flip_horizontal = true,
                                       .flip_vertical = true } };
    for (int i = 0; i < 2; i++) {
        ebb_loader *loader = make_loader(dataset, &augments[i], N, 3, true);
        int n_empty = 0, n_full = 0;
        for (int epoch = 0; epoch < 10; epoch++) {
            const uint8_t *found = next(loader).fields[0].data;
            for (int image = 0; image < N; image++, found += CHANNELS * 4) {
                int n_pixels = 0;
                for (int k = 0; k < CHANNELS * 4; k++)
                    n_pixels += found[k] > 0;
                n_empty += n_pixels == 0;
                n_full += n_pixels == CHANNELS * 4;
            }
        }
        ck_assert_int_gt(n_empty, 0);
        ck_assert_int_gt(n_full, 0);
        ebb_loader_destroy(loader);
    }
    ebb_dataset_destroy(dataset);
}
END_TEST

/* The change of an image depends on seed, epoch and index: not on the batch, nor on its place. */
START_TEST(test_depends_on_seed_epoch_and_index)
{
    const ebb_augment augment = {
        .padding = 2, .flip_horizontal = true, .flip_vertical = true, .noise = 0.5
    };
    ebb_dataset *dataset = make_images(EBB_F32);
    ebb_loader *whole = make_loader(dataset, &augment, N, 3, true);
    ebb_loader *parts = make_loader(dataset, &augment, 8, 3, false);
    ebb_loader *other = make_loader(dataset, &augment, N, 4, true);
    int n_same_epoch = 0, n_same_seed = 0;
    float before[N][PIXELS];
    for (int epoch = 0; epoch < 3; epoch++) {
        const ebb_batch all = next(whole);
        const float(*expected)[PIXELS] = (const float(*)[PIXELS])all.fields[0].data;
        for (int b = 0; b < N / 8; b++) {
            const ebb_batch batch = next(parts);
            for (int i = 0; i < 8; i++)
                ck_assert_mem_eq((const float *)batch.fields[0].data + i * PIXELS,
                                 expected[batch.indices[i]], sizeof *expected);
        }
        const float(*others)[PIXELS] = (const float(*)[PIXELS])next(other).fields[0].data;
        for (int i = 0; i < N; i++) {
            n_same_seed += memcmp(expected[i], others[i], sizeof *expected) == 0;
            n_same_epoch += epoch > 0 && memcmp(expected[i], before[i], sizeof *expected) == 0;
        }
        memcpy(before, expected, sizeof before);
    }
    ck_assert_int_eq(n_same_seed, 0);
    ck_assert_int_eq(n_same_epoch, 0);
    ebb_loader_destroy(other);
    ebb_loader_destroy(parts);
    ebb_loader_destroy(whole);
    ebb_dataset_destroy(dataset);
}
END_TEST

START_TEST(test_noise)
{
    for (int dtype = EBB_F64; dtype <= EBB_F32; dtype++) {
        const ebb_augment augment = { .noise = 0.25 };
        ebb_dataset *dataset = make_images((ebb_dtype)dtype);
        ebb_loader *loader = make_loader(dataset, &augment, N, 3, true);
        const ebb_batch batch = next(loader);
        double sum = 0, squares = 0;
        for (int i = 0; i < N * PIXELS; i++) {
            const double x = ebb_tensor_get(&batch.fields[0], i) - (double)(&pixels[0][0][0][0])[i];
            sum += x;
            squares += x * x;
        }
        /* five standard errors */
        ck_assert_double_eq_tol(sum / (N * PIXELS), 0, 5 * 0.25 / sqrt(N * PIXELS));
        ck_assert_double_eq_tol(squares / (N * PIXELS) / (0.25 * 0.25), 1,
                                5 * sqrt(2.0 / (N * PIXELS)));
        ebb_loader_destroy(loader);
        ebb_dataset_destroy(dataset);
    }
}
END_TEST

/* An image and its mask move together. */
START_TEST(test_fields_move_together)
{
    ebb_dataset *images = make_images(EBB_NO_DTYPE);
    ebb_dataset_destroy(images);
    const ebb_field fields[] = {
        { .values = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(N, CHANNELS, SIDE_Y, SIDE_X), pixels),
          .divisor = 2 },
        { .values = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(N, CHANNELS, SIDE_Y, SIDE_X), pixels),
          .n_classes = 256,
          .one_hot = true }
    };
    const ebb_augment augments[] = {
        { .field = 0, .padding = 1, .flip_horizontal = true, .fill = 7 },
        { .field = 1, .padding = 1, .flip_horizontal = true, .fill = 7 }
    };
    ebb_dataset *dataset;
    ck_assert_int_eq(ebb_dataset_create(fields, 2, NULL, &dataset, &error), EBB_OK);
    ebb_loader *loader;
    ck_assert_int_eq(ebb_loader_create(
                         dataset,
                         &(ebb_loader_options){
                             .batch = N, .augments = augments, .n_augments = 2, .no_thread = true },
                         NULL, &loader, &error),
                     EBB_OK);
    const ebb_batch batch = next(loader);
    const float *image = batch.fields[0].data, *mask = batch.fields[1].data;
    for (int i = 0; i < N * PIXELS; i++)
        ck_assert_float_eq(mask[i * 256 + (int)(2 * image[i])], 1);
    ebb_loader_destroy(loader);
    ebb_dataset_destroy(dataset);
}
END_TEST

START_TEST(test_errors)
{
    static const double mean[SIDE_Y] = { 0 };
    static const uint8_t labels[N] = { 0 };
    const ebb_field fields[] = {
        { .name = "images",
          .values = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(N, CHANNELS, SIDE_Y, SIDE_X), pixels) },
        { .name = "lines",
          .values = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(N, SIDE_Y, SIDE_X), pixels),
          .mean = mean,
          .n_channels = SIDE_Y },
        { .name = "labels",
          .values = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(N), labels),
          .n_classes = 10,
          .one_hot = true },
    };
    static const struct {
        ebb_augment augments[2];
        int n;
        ebb_status status;
        const char *text;
    } rows[] = {
        { { { .field = 3 } }, 1, EBB_BAD_ARGUMENT, "augmentation 0 is of field 3, which is not" },
        { { { .field = 0 }, { .field = 0 } },
          2,
          EBB_BAD_ARGUMENT,
          "augmentation 1 is of field 0, which has one" },
        { { { .noise = -1 } }, 1, EBB_BAD_ARGUMENT, "noise -1 is negative or not finite" },
        { { { .noise = 1 } },
          1,
          EBB_BAD_DTYPE,
          "augmentation of \"images\": noise needs float values: u8" },
        { { { .field = 2, .noise = 1 } }, 1, EBB_BAD_DTYPE, "one-hot f32" },
        { { { .fill = (double)NAN } }, 1, EBB_BAD_ARGUMENT, "fill nan is not finite" },
        { { { .field = 2, .fill = 10 } }, 1, EBB_BAD_ARGUMENT, "fill 10 is not a label in 0..9" },
        { { { .padding = -1 } },
          1,
          EBB_BAD_ARGUMENT,
          "padding -1, crop_height 0 and crop_width 0" },
        { { { .padding = 1000001 } }, 1, EBB_BAD_ARGUMENT, "padding 1000001 is above" },
        { { { .field = 2, .padding = 1 } },
          1,
          EBB_BAD_SHAPE,
          "augmentation of \"labels\": examples [] are not [..., height, width]" },
        { { { .field = 1, .padding = 1 } }, 1, EBB_BAD_SHAPE, "channels in the height" },
        { { { .padding = 1, .crop_height = 7, .crop_width = 7 } },
          1,
          EBB_BAD_SHAPE,
          "a window of 7x7 does not fit examples [2,4,5] with padding 1" },
    };
    ebb_dataset *dataset;
    ck_assert_int_eq(ebb_dataset_create(fields, 3, NULL, &dataset, &error), EBB_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const ebb_loader_options options = { .batch = 1,
                                             .augments = rows[i].augments,
                                             .n_augments = rows[i].n };
        ebb_loader *loader = (ebb_loader *)(void *)&error;
        ck_assert_msg(ebb_loader_create(dataset, &options, NULL, &loader, &error) == rows[i].status,
                      "%zu: %s", i, error.message);
        CHECK_TEXT(error.message, rows[i].text);
        ck_assert_ptr_null(loader);
    }
    ebb_dataset_destroy(dataset);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("augment");
    TCase *augment = tcase_create("augment");
    tcase_add_test(augment, test_windows);
    tcase_add_test(augment, test_padding_beyond_the_image);
    tcase_add_test(augment, test_depends_on_seed_epoch_and_index);
    tcase_add_test(augment, test_noise);
    tcase_add_test(augment, test_fields_move_together);
    tcase_add_test(augment, test_errors);
    suite_add_tcase(suite, augment);
    return run_suite(suite);
}
