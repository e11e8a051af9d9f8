/* Batches, shuffling, and the synthetic digits. */
#include "tests/support/failure.h"

#include <ebb/io.h>
#include <math.h>
#include <string.h>

/* ---- batches ---- */

static uint8_t batch_pixels[] = { 0, 255, 51, 102, 153, 204 }, batch_labels[] = { 7, 8, 9 };

static ebb_image_set make_set(void)
{
    return (ebb_image_set){
        .images = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(3, 1, 2), batch_pixels),
        .labels = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(3), batch_labels),
        .n = 3,
        .channels = 1,
        .height = 1,
        .width = 2,
        .n_classes = 10,
    };
}

START_TEST(batch_copies_and_scales)
{
    ebb_image_set set = make_set();
    int64_t indices[] = { 2, 0, 2 };
    float f32[6];
    double f64[6];
    int64_t i64[3];
    int32_t i32[3];
    uint8_t u8[3];
    ebb_tensor images[] = { ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3, 2), f32),
                            ebb_tensor_borrow(EBB_F64, EBB_SHAPE(3, 1, 1, 2), f64) };
    ebb_tensor labels[] = { ebb_tensor_borrow(EBB_I64, EBB_SHAPE(3), i64),
                            ebb_tensor_borrow(EBB_I32, EBB_SHAPE(3), i32),
                            ebb_tensor_borrow(EBB_U8, EBB_SHAPE(3, 1), u8) };
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ebb_image_set_batch(&set, indices, 3, &images[i % 2], &labels[i], &error),
                         EBB_OK);
    double expected[] = { 153 / 255.0, 204 / 255.0, 0, 1, 153 / 255.0, 204 / 255.0 };
    for (int i = 0; i < 6; i++) {
        ck_assert_double_eq(f64[i], expected[i]);
        ck_assert(f32[i] == (float)expected[i]);
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(i64[i], batch_labels[indices[i]]);
        ck_assert_int_eq(i32[i], batch_labels[indices[i]]);
        ck_assert_int_eq(u8[i], batch_labels[indices[i]]);
    }
    ck_assert_int_eq(ebb_image_set_batch(&set, indices, 3, NULL, NULL, &error), EBB_OK);
    ebb_tensor none = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(0, 2), f32);
    ck_assert_int_eq(ebb_image_set_batch(&set, NULL, 0, &none, NULL, &error), EBB_OK);
}
END_TEST

START_TEST(batch_rejects_what_does_not_fit)
{
    ebb_image_set set = make_set();
    int64_t good[] = { 0, 1 }, bad[] = { 0, 3 }, negative[] = { -1, 0 };
    float f32[4] = { -1, -1, -1, -1 };
    int32_t i32[2] = { -1, -1 };
    ebb_tensor images = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2, 2), f32);
    ebb_tensor labels = ebb_tensor_borrow(EBB_I32, EBB_SHAPE(2), i32);
    ebb_tensor large = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2, 3), f32);
    ebb_tensor ints = ebb_tensor_borrow(EBB_I32, EBB_SHAPE(2, 2), i32);
    ebb_tensor three = ebb_tensor_borrow(EBB_I32, EBB_SHAPE(3), i32);
    ebb_tensor floats = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2), f32);

    expect_failure(ebb_image_set_batch(&set, bad, 2, &images, &labels, &error), EBB_BAD_INDEX,
                   "indices[1] is 3, but there are 3 images");
    expect_failure(ebb_image_set_batch(&set, negative, 2, &images, &labels, &error), EBB_BAD_INDEX,
                   "indices[0] is -1");
    expect_failure(ebb_image_set_batch(&set, good, 2, &large, &labels, &error), EBB_BAD_SHAPE,
                   "images must hold 2 images of 1x1x2 pixels, not f32[2,3]");
    expect_failure(ebb_image_set_batch(&set, good, 2, &ints, &labels, &error), EBB_BAD_DTYPE,
                   "images must be f32 or f64, not i32[2,2]");
    expect_failure(ebb_image_set_batch(&set, good, 2, &images, &three, &error), EBB_BAD_SHAPE,
                   "labels must hold 2 labels, not i32[3]");
    expect_failure(ebb_image_set_batch(&set, good, 2, &images, &floats, &error), EBB_BAD_DTYPE,
                   "labels must be i64, i32 or u8, not f32[2]");
    expect_failure(ebb_image_set_batch(&set, good, -1, &images, &labels, &error), EBB_BAD_ARGUMENT,
                   "n is negative");
    expect_failure(ebb_image_set_batch(&set, NULL, 2, &images, &labels, &error), EBB_BAD_ARGUMENT,
                   "indices is NULL");
    expect_failure(ebb_image_set_batch(NULL, good, 2, &images, &labels, &error), EBB_BAD_ARGUMENT,
                   "set is NULL");
    for (int i = 0; i < 4; i++)
        ck_assert(f32[i] == -1);
    ck_assert_int_eq(i32[0], -1);
}
END_TEST

/* ---- shuffling ---- */

START_TEST(shuffle_is_a_permutation)
{
    int64_t order[1000], other[1000];
    bool seen[1000] = { false };
    ebb_shuffle(order, 1000, 1, 2);
    for (int i = 0; i < 1000; i++) {
        ck_assert(order[i] >= 0 && order[i] < 1000 && !seen[order[i]]);
        seen[order[i]] = true;
    }
    ebb_shuffle(other, 1000, 1, 2);
    ck_assert_mem_eq(order, other, sizeof order);
    ebb_shuffle(other, 1000, 1, 3);
    ck_assert_mem_ne(order, other, sizeof order);
    ebb_shuffle(other, 1000, 2, 2);
    ck_assert_mem_ne(order, other, sizeof order);
    order[0] = 77;
    ebb_shuffle(order, 0, 1, 1);
    ck_assert_int_eq(order[0], 77);
    ebb_shuffle(order, 1, 1, 1);
    ck_assert_int_eq(order[0], 0);
}
END_TEST

/* Each of the 24 orders of 4 comes about equally often: chi-squared with 23 degrees of freedom is
 * below 49.7 in 99.9% of cases. */
START_TEST(shuffle_is_fair)
{
    int counts[256] = { 0 };
    int n = 24000;
    for (int epoch = 0; epoch < n; epoch++) {
        int64_t order[4];
        ebb_shuffle(order, 4, 5, (uint64_t)epoch);
        counts[order[0] | order[1] << 2 | order[2] << 4 | order[3] << 6]++;
    }
    double chi_squared = 0;
    int n_orders = 0;
    for (int i = 0; i < 256; i++) {
        n_orders += counts[i] > 0;
        if (counts[i] > 0)
            chi_squared += pow(counts[i] - n / 24.0, 2) / (n / 24.0);
    }
    ck_assert_int_eq(n_orders, 24);
    ck_assert_double_lt(chi_squared, 49.7);
}
END_TEST

/* ---- digits ---- */

START_TEST(digits_depend_on_seed_and_place)
{
    ebb_image_set few, many, other;
    ck_assert_int_eq(ebb_digits_draw(10, 7, NULL, &few, &error), EBB_OK);
    ck_assert_int_eq(ebb_digits_draw(50, 7, NULL, &many, &error), EBB_OK);
    ck_assert_int_eq(ebb_digits_draw(50, 8, NULL, &other, &error), EBB_OK);
    ck_assert_mem_eq(few.images.data, many.images.data, 10 * 784);
    ck_assert_mem_eq(few.labels.data, many.labels.data, 10);
    ck_assert_mem_ne(many.images.data, other.images.data, 784);
    ck_assert_mem_ne(many.labels.data, other.labels.data, 50);
    for (int i = 1; i < 50; i++)
        ck_assert_mem_ne(many.images.data, (uint8_t *)many.images.data + i * 784, 784);
    ebb_image_set_finish(&few);
    ebb_image_set_finish(&many);
    ebb_image_set_finish(&other);
}
END_TEST

/* All classes equally often; strokes that neither vanish nor fill the image nor leave it; and not
 * so easy that the nearest class mean finds them all. */
START_TEST(digits_have_the_right_statistics)
{
    enum { N = 5000 };
    static double means[10][784];
    int counts[10] = { 0 }, n_right = 0;
    ebb_image_set set;
    ck_assert_int_eq(ebb_digits_draw(N, 1, NULL, &set, &error), EBB_OK);
    ck_assert_int_eq(set.n, N);
    ck_assert_int_eq(set.height, 28);
    ck_assert_int_eq(set.width, 28);
    ck_assert_int_eq(set.n_classes, 10);
    const uint8_t *images = set.images.data, *labels = set.labels.data;
    double border = 0;
    for (int i = 0; i < N; i++) {
        double sum = 0;
        ck_assert_int_lt(labels[i], 10);
        counts[labels[i]]++;
        for (int p = 0; p < 784; p++) {
            means[labels[i]][p] += images[i * 784 + p];
            sum += images[i * 784 + p];
            if (p < 28 || p >= 27 * 28 || p % 28 == 0 || p % 28 == 27)
                border += images[i * 784 + p];
        }
        ck_assert_double_gt(sum / 784 / 255, 0.02);
        ck_assert_double_lt(sum / 784 / 255, 0.40);
    }
    ck_assert_double_lt(border / N / 108 / 255, 0.05);
    for (int c = 0; c < 10; c++) {
        ck_assert_int_gt(counts[c], 430); /* 500, less 3.3 standard deviations */
        ck_assert_int_lt(counts[c], 570);
        for (int p = 0; p < 784; p++)
            means[c][p] /= counts[c];
    }
    for (int i = 0; i < N; i++) {
        double best = INFINITY;
        int guess = 0;
        for (int c = 0; c < 10; c++) {
            double distance = 0;
            for (int p = 0; p < 784; p++)
                distance += pow(images[i * 784 + p] - means[c][p], 2);
            if (distance < best) {
                best = distance;
                guess = c;
            }
        }
        n_right += guess == labels[i];
    }
    ck_assert_int_gt(n_right, N / 2);
    ck_assert_int_lt(n_right, N * 9 / 10);
    ebb_image_set_finish(&set);
}
END_TEST

START_TEST(digits_fail_cleanly)
{
    ebb_image_set set;
    ck_assert_int_eq(ebb_digits_draw(0, 1, NULL, &set, &error), EBB_OK);
    ck_assert_int_eq(set.n, 0);
    ebb_image_set_finish(&set);
    expect_failure(ebb_digits_draw(-1, 1, NULL, &set, &error), EBB_BAD_ARGUMENT,
                   "cannot draw -1 images");
    expect_failure(ebb_digits_draw(INT64_MAX / 4, 1, NULL, &set, &error), EBB_BAD_ARGUMENT,
                   "cannot draw");
    expect_failure(ebb_digits_draw(1, 1, NULL, NULL, &error), EBB_BAD_ARGUMENT, "set is NULL");
    for (int64_t n = 0; n < 2; n++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = n;
        expect_failure(ebb_digits_draw(3, 1, &meter.allocator, &set, &error), EBB_OUT_OF_MEMORY,
                       "no memory for 3 images");
        ck_assert_int_eq(meter.n_live, 0);
        ck_assert_ptr_null(set.images.data);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("digits");
    TCase *batch = tcase_create("batch");
    tcase_add_test(batch, batch_copies_and_scales);
    tcase_add_test(batch, batch_rejects_what_does_not_fit);
    tcase_add_test(batch, shuffle_is_a_permutation);
    tcase_add_test(batch, shuffle_is_fair);
    suite_add_tcase(suite, batch);
    TCase *digits = tcase_create("digits");
    tcase_add_test(digits, digits_depend_on_seed_and_place);
    tcase_add_test(digits, digits_have_the_right_statistics);
    tcase_add_test(digits, digits_fail_cleanly);
    suite_add_tcase(suite, digits);
    return run_suite(suite);
}
