/* Sets of examples: their fields, batches by hand, statistics, splits. */
#include "tests/support/runtime.h"

#include <math.h>
#include <stdlib.h>

static ebb_error error;

/* Floats [6,2], bytes [6,2,2], labels [6]. */
static const float numbers[] = { 0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51 };
static const uint8_t bytes[] = { 0,   1,   2,   3,   10,  11,  12,  13,  20,  21,  22,  23,
                                 100, 101, 102, 103, 200, 201, 202, 203, 252, 253, 254, 255 };
static const int64_t classes[] = { 0, 1, 2, 2, 1, 0 };
#define NUMBERS ebb_tensor_borrow(EBB_F32, EBB_SHAPE(6, 2), numbers)
#define BYTES ebb_tensor_borrow(EBB_U8, EBB_SHAPE(6, 2, 2), bytes)
#define CLASSES ebb_tensor_borrow(EBB_I64, EBB_SHAPE(6), classes)

static ebb_dataset *create(const ebb_field *fields, int n_fields)
{
    ebb_dataset *dataset;
    ebb_status status = ebb_dataset_create(fields, n_fields, NULL, &dataset, &error);
    ck_assert_msg(status == EBB_OK, "%s", error.message);
    return dataset;
}

static void batch(const ebb_dataset *dataset, const int64_t *indices, int64_t n,
                  const ebb_tensor *tensors)
{
    ebb_status status =
        ebb_dataset_batch(dataset, indices, n, tensors, ebb_dataset_n_fields(dataset), &error);
    ck_assert_msg(status == EBB_OK, "%s", error.message);
}

/* ---- fields ---- */

START_TEST(test_copies)
{
    ebb_dataset *dataset = create((ebb_field[]){ { .values = NUMBERS }, { .values = CLASSES } }, 2);
    ck_assert_int_eq(ebb_dataset_size(dataset), 6);
    float x[6];
    int64_t t[3];
    batch(dataset, (int64_t[]){ 5, 0, 5 }, 3,
          (ebb_tensor[]){ ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3, 2), x),
                          ebb_tensor_borrow(EBB_I64, EBB_SHAPE(3), t) });
    ck_assert_mem_eq(x, ((float[]){ 50, 51, 0, 1, 50, 51 }), sizeof x);
    ck_assert_mem_eq(t, ((int64_t[]){ 0, 0, 0 }), sizeof t);
    ebb_dataset_destroy(dataset);
}
END_TEST

/* (x / divisor - mean) / std, from a table and by conversion. */
START_TEST(test_normalization)
{
    static const double mean[] = { 0.25, 0.5 }, std[] = { 2, 0.5 };
    double as_f64[24];
    for (int i = 0; i < 24; i++)
        as_f64[i] = bytes[i];
    for (int way = 0; way < 4; way++) {
        const bool from_f64 = way & 1, to_f64 = way & 2;
        const ebb_field field = {
            .values = from_f64 ? ebb_tensor_borrow(EBB_F64, EBB_SHAPE(6, 2, 2), as_f64) : BYTES,
            .dtype = to_f64 ? EBB_F64 : EBB_F32,
            .divisor = 255,
            .mean = mean,
            .std = std,
            .n_channels = 2
        };
        ebb_dataset *dataset = create(&field, 1);
        double f64[4];
        float f32[4];
        const ebb_tensor tensor =
            ebb_tensor_borrow(field.dtype, EBB_SHAPE(1, 2, 2), to_f64 ? (void *)f64 : f32);
        for (int64_t e = 0; e < 6; e++) {
            batch(dataset, &e, 1, &tensor);
            for (int i = 0; i < 4; i++) {
                const double x = (bytes[e * 4 + i] / 255.0 - mean[i / 2]) / std[i / 2];
                if (to_f64)
                    ck_assert_double_eq(f64[i], x);
                else
                    ck_assert_float_eq(f32[i], (float)x);
            }
        }
        ebb_dataset_destroy(dataset);
    }
}
END_TEST

/* Bytes by 255 have the bits of ebb_image_set_batch. */
START_TEST(test_image_set_fields)
{
    ebb_image_set set;
    ebb_field fields[2];
    ck_assert_int_eq(ebb_digits_draw(20, 3, NULL, &set, &error), EBB_OK);
    ebb_image_set_fields(&set, fields);
    ebb_dataset *dataset = create(fields, 2);
    float *x = malloc(2 * 20 * 784 * sizeof *x);
    int32_t t[40];
    int64_t indices[20];
    ck_assert_ptr_nonnull(x);
    ebb_shuffle(indices, 20, 1, 2);
    const ebb_tensor expected[] = { ebb_tensor_borrow(EBB_F32, EBB_SHAPE(20, 1, 28, 28), x),
                                    ebb_tensor_borrow(EBB_I32, EBB_SHAPE(20), t) };
    const ebb_tensor found[] = { ebb_tensor_borrow(EBB_F32, EBB_SHAPE(20, 1, 28, 28), x + 15680),
                                 ebb_tensor_borrow(EBB_I32, EBB_SHAPE(20), t + 20) };
    ck_assert_int_eq(ebb_image_set_batch(&set, indices, 20, &expected[0], &expected[1], &error),
                     EBB_OK);
    batch(dataset, indices, 20, found);
    ck_assert_mem_eq(x, x + 15680, 15680 * sizeof *x);
    ck_assert_mem_eq(t, t + 20, 20 * sizeof *t);
    free(x);
    ebb_dataset_destroy(dataset);
    ebb_image_set_finish(&set);
}
END_TEST

START_TEST(test_one_hot)
{
    ebb_dataset *dataset =
        create(&(ebb_field){ .values = CLASSES, .n_classes = 3, .one_hot = true }, 1);
    const ebb_type type = ebb_dataset_batch_type(dataset, 0, 2);
    ck_assert(ebb_type_equal(&type, &(ebb_type){ EBB_F32, EBB_SHAPE(2, 3) }));
    float t[6];
    const ebb_tensor tensor = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2, 3), t);
    batch(dataset, (int64_t[]){ 3, 1 }, 2, &tensor);
    ck_assert_mem_eq(t, ((float[]){ 0, 0, 1, 0, 1, 0 }), sizeof t);
    ebb_dataset_destroy(dataset);
}
END_TEST

START_TEST(test_labels_changed_afterwards)
{
    int32_t labels[3] = { 0, 1, 2 };
    const ebb_tensor values = ebb_tensor_borrow(EBB_I32, EBB_SHAPE(3), labels);
    ebb_dataset *dataset =
        create(&(ebb_field){ .values = values, .n_classes = 3, .one_hot = true }, 1);
    labels[0] = -1;
    labels[1] = 1000000;
    float t[9];
    const ebb_tensor tensor = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3, 3), t);
    batch(dataset, (int64_t[]){ 0, 1, 2 }, 3, &tensor);
    ck_assert_mem_eq(t, ((float[]){ 0, 0, 0, 0, 0, 0, 0, 0, 1 }), sizeof t);
    ebb_dataset_destroy(dataset);
}
END_TEST

START_TEST(test_conversions)
{
    const ebb_field fields[] = {
        { .values = CLASSES, .n_classes = 3, .dtype = EBB_U8 },
        { .values = BYTES, .dtype = EBB_I64, .shape = EBB_SHAPE(4) },
        { .values = NUMBERS, .dtype = EBB_F64, .shape = EBB_SHAPE(1, 2, 1) },
        { .values = BYTES, .dtype = EBB_F32 },
    };
    ebb_dataset *dataset = create(fields, 4);
    uint8_t a[1];
    int64_t b[4];
    double c[2];
    float d[4];
    batch(dataset, (int64_t[]){ 4 }, 1,
          (ebb_tensor[]){ ebb_tensor_borrow(EBB_U8, EBB_SHAPE(1), a),
                          ebb_tensor_borrow(EBB_I64, EBB_SHAPE(1, 4), b),
                          ebb_tensor_borrow(EBB_F64, EBB_SHAPE(1, 1, 2, 1), c),
                          ebb_tensor_borrow(EBB_F32, EBB_SHAPE(1, 2, 2), d) });
    ck_assert_int_eq(a[0], 1);
    ck_assert_mem_eq(b, ((int64_t[]){ 200, 201, 202, 203 }), sizeof b);
    ck_assert_mem_eq(c, ((double[]){ 40, 41 }), sizeof c);
    ck_assert_mem_eq(d, ((float[]){ 200, 201, 202, 203 }), sizeof d);
    ebb_dataset_destroy(dataset);
}
END_TEST

START_TEST(test_field_errors)
{
    static const double nothing[] = { 0, 0 };
    const struct {
        ebb_field fields[2];
        int n;
        ebb_status status;
        const char *text;
    } rows[] = {
        { { { 0 } }, 0, EBB_BAD_ARGUMENT, "data set: 0 fields; it takes 1 to 8" },
        { { { 0 } }, 9, EBB_BAD_ARGUMENT, "data set: 9 fields; it takes 1 to 8" },
        { { { .name = "x" } }, 1, EBB_BAD_DTYPE, "\"x\" has values without a dtype" },
        { { { .values = ebb_tensor_borrow(EBB_F32, EBB_SCALAR, numbers) } },
          1,
          EBB_BAD_SHAPE,
          "field \"field 0\": values f32[] are not [n, ...]" },
        { { { .values = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(0, 2), numbers) } },
          1,
          EBB_BAD_ARGUMENT,
          "values f32[0,2] have no examples" },
        { { { .values = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(6, 2), NULL) } },
          1,
          EBB_BAD_ARGUMENT,
          "the data of its values is NULL" },
        { { { .name = "x", .values = NUMBERS },
            { .name = "t", .values = ebb_tensor_borrow(EBB_I64, EBB_SHAPE(5), classes) } },
          2,
          EBB_BAD_SHAPE,
          "field \"t\" has 5 examples, \"x\" has 6" },
        { { { .values = NUMBERS, .shape = EBB_SHAPE(3) } },
          1,
          EBB_BAD_SHAPE,
          "shape [3] has not the elements of an example of f32[6,2]" },
        { { { .values = NUMBERS, .shape = { .rank = 100 } } },
          1,
          EBB_BAD_SHAPE,
          "shape [rank 100] has not the elements" },
        { { { .values = CLASSES, .n_classes = INT64_MAX, .one_hot = true } },
          1,
          EBB_BAD_SHAPE,
          "an example of [] with 9223372036854775807 classes is too large" },
        { { { .values = NUMBERS, .shape = EBB_SHAPE(1, 1, 1, 1, 1, 1, 1, 2) } },
          1,
          EBB_BAD_SHAPE,
          "would have more than 8 dimensions" },
        { { { .values = NUMBERS, .divisor = (double)INFINITY } },
          1,
          EBB_BAD_ARGUMENT,
          "divisor inf is not finite" },
        { { { .values = BYTES, .std = nothing } },
          1,
          EBB_BAD_ARGUMENT,
          "std 0 of channel 0 is 0 or not finite" },
        { { { .values = BYTES, .mean = nothing, .n_channels = 3 } },
          1,
          EBB_BAD_SHAPE,
          "3 channels do not fit examples [2,2]" },
        { { { .name = "t", .values = CLASSES, .n_classes = 2 } },
          1,
          EBB_BAD_INDEX,
          "data set: field \"t\": example 2: label 2 is not in 0..1" },
        { { { .values = NUMBERS, .n_classes = 2 } },
          1,
          EBB_BAD_DTYPE,
          "labels are f32, not integers" },
        { { { .values = CLASSES, .n_classes = 3, .divisor = 2 } },
          1,
          EBB_BAD_ARGUMENT,
          "labels cannot be normalized" },
        { { { .values = CLASSES, .one_hot = true } }, 1, EBB_BAD_ARGUMENT, "one-hot needs" },
        { { { .values = CLASSES, .dtype = EBB_I32 } },
          1,
          EBB_BAD_DTYPE,
          "values i64 cannot become i32" },
        { { { .values = CLASSES, .n_classes = 1000, .dtype = EBB_U8 } },
          1,
          EBB_BAD_DTYPE,
          "values i64 cannot become u8" },
        { { { .values = NUMBERS, .dtype = EBB_I32 } },
          1,
          EBB_BAD_DTYPE,
          "values f32 cannot become i32" },
        { { { .values = BYTES, .divisor = 2, .dtype = EBB_U8 } },
          1,
          EBB_BAD_DTYPE,
          "normalized values u8 cannot become u8" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ebb_dataset *dataset = (ebb_dataset *)(void *)&error;
        ck_assert_msg(ebb_dataset_create(rows[i].fields, rows[i].n, NULL, &dataset, &error) ==
                          rows[i].status,
                      "%zu: %s", i, error.message);
        CHECK_TEXT(error.message, rows[i].text);
        ck_assert_ptr_null(dataset);
    }
}
END_TEST

START_TEST(test_batch_errors)
{
    ebb_dataset *dataset = create(&(ebb_field){ .name = "x", .values = NUMBERS }, 1);
    float x[4] = { 7 };
    const struct {
        int64_t indices[2], n;
        ebb_type type;
        ebb_status status;
        const char *text;
    } rows[] = {
        { { 0, 6 },
          2,
          { EBB_F32, EBB_SHAPE(2, 2) },
          EBB_BAD_INDEX,
          "indices[1] is 6, but there are 6 examples" },
        { { 0, 1 }, -1, { EBB_F32, EBB_SHAPE(2, 2) }, EBB_BAD_ARGUMENT, "needs -1 indices" },
        { { 0, 1 },
          2,
          { EBB_F32, EBB_SHAPE(4) },
          EBB_BAD_SHAPE,
          "field \"x\": a batch is f32[2,2], the tensor is f32[4]" },
        { { 0, 1 }, 2, { EBB_I32, EBB_SHAPE(2, 2) }, EBB_BAD_DTYPE, "the tensor is i32[2,2]" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const ebb_tensor tensor = ebb_tensor_borrow(rows[i].type.dtype, rows[i].type.shape, x);
        ck_assert_int_eq(ebb_dataset_batch(dataset, rows[i].indices, rows[i].n, &tensor, 1, &error),
                         rows[i].status);
        CHECK_TEXT(error.message, rows[i].text);
        ck_assert_float_eq(x[0], 7);
    }
    ebb_dataset_destroy(dataset);
}
END_TEST

START_TEST(test_dataset_memory)
{
    const ebb_field fields[] = { { .values = BYTES, .divisor = 255 }, { .values = NUMBERS } };
    for (int64_t fail_after = 0;; fail_after++) {
        ebb_memory_meter meter;
        ebb_dataset *dataset;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = fail_after;
        ebb_status status = ebb_dataset_create(fields, 2, &meter.allocator, &dataset, &error);
        ebb_dataset_destroy(dataset);
        ck_assert_int_eq(meter.n_live, 0);
        if (status == EBB_OK) {
            ck_assert_int_gt(fail_after, 4);
            return;
        }
        ck_assert_int_eq(status, EBB_OUT_OF_MEMORY);
    }
}
END_TEST

/* ---- statistics ---- */

START_TEST(test_statistics)
{
    double mean[2], std[2];
    ebb_field field = { .values = NUMBERS, .n_channels = 2, .divisor = 10 };
    ck_assert_int_eq(ebb_field_statistics(&field, NULL, 0, mean, std, &error), EBB_OK);
    /* 0, 1 .. 5 and the same plus 0.1: variance 35/12 */
    ck_assert_double_eq_tol(mean[0], 2.5, 1e-12);
    ck_assert_double_eq_tol(mean[1], 2.6, 1e-12);
    ck_assert_double_eq_tol(std[0], sqrt(35.0 / 12), 1e-12);
    ck_assert_double_eq_tol(std[1], sqrt(35.0 / 12), 1e-12);
    field.n_channels = 0;
    ck_assert_int_eq(ebb_field_statistics(&field, (int64_t[]){ 1, 4 }, 2, mean, std, &error),
                     EBB_OK);
    ck_assert_double_eq_tol(mean[0], 2.55, 1e-12); /* 1, 1.1, 4, 4.1 */
    ck_assert_double_eq_tol(std[0], sqrt((1.55 * 1.55 + 1.45 * 1.45) / 2), 1e-12);
    const float same[] = { 3, 3, 3 };
    field = (ebb_field){ .values = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3), same) };
    ck_assert_int_eq(ebb_field_statistics(&field, NULL, 0, mean, std, &error), EBB_OK);
    ck_assert(mean[0] == 3 && std[0] == 1);

    ck_assert_int_eq(ebb_field_statistics(&field, (int64_t[]){ 3 }, 1, mean, std, &error),
                     EBB_BAD_INDEX);
    CHECK_TEXT(error.message, "indices[0] is 3, but there are 3 examples");
    field.n_channels = 2;
    ck_assert_int_eq(ebb_field_statistics(&field, NULL, 0, mean, std, &error), EBB_BAD_SHAPE);
    CHECK_TEXT(error.message, "2 channels do not fit values f32[3]");
    field.n_channels = 1;
    field.values.type.dtype = (ebb_dtype)77;
    ck_assert_int_eq(ebb_field_statistics(&field, NULL, 0, mean, std, &error), EBB_BAD_DTYPE);
    field.values.type.shape.rank = 99;
    ck_assert_int_eq(ebb_field_statistics(&field, NULL, 0, mean, std, &error), EBB_BAD_SHAPE);
    CHECK_TEXT(error.message, "[rank 99] are not [n, ...]");
    field = (ebb_field){ 0 };
    ck_assert_int_eq(ebb_field_statistics(&field, NULL, 0, mean, std, &error), EBB_BAD_ARGUMENT);
    CHECK_TEXT(error.message, "there are no examples");
}
END_TEST

/* ---- splits ---- */

static void check_parts(int64_t n, const double *shares, int n_parts, const int64_t *expected)
{
    int64_t indices[1000], sizes[8], sum = 0;
    bool is_there[1000] = { false };

    ck_assert_int_eq(ebb_split_examples(n, shares, n_parts, 1, indices, sizes, &error), EBB_OK);
    for (int i = 0; i < n_parts; i++) {
        ck_assert_int_eq(sizes[i], expected[i]);
        sum += sizes[i];
    }
    ck_assert_int_eq(sum, n);
    for (int64_t i = 0; i < n; i++) {
        ck_assert(indices[i] >= 0 && indices[i] < n && !is_there[indices[i]]);
        is_there[indices[i]] = true;
    }
}

START_TEST(test_split)
{
    check_parts(1000, (double[]){ 6, 2, 2 }, 3, (int64_t[]){ 600, 200, 200 });
    check_parts(1000, (double[]){ 0.6, 0.2, 0.2 }, 3, (int64_t[]){ 600, 200, 200 });
    check_parts(7, (double[]){ 6, 2, 2 }, 3, (int64_t[]){ 4, 2, 1 });
    check_parts(10, (double[]){ 1, 0, 1 }, 3, (int64_t[]){ 5, 0, 5 });
    check_parts(1, (double[]){ 3 }, 1, (int64_t[]){ 1 });
    check_parts(3, (double[]){ 1e-300, 0 }, 2, (int64_t[]){ 3, 0 });
}
END_TEST

START_TEST(test_split_depends_on_seed_alone)
{
    const double shares[] = { 8, 2 };
    int64_t first[100], again[100], other[100], epoch[100], sizes[2];
    ck_assert_int_eq(ebb_split_examples(100, shares, 2, 5, first, sizes, NULL), EBB_OK);
    ck_assert_int_eq(ebb_split_examples(100, shares, 2, 5, again, sizes, NULL), EBB_OK);
    ck_assert_int_eq(ebb_split_examples(100, shares, 2, 6, other, sizes, NULL), EBB_OK);
    ck_assert_mem_eq(first, again, sizeof first);
    ck_assert_mem_ne(first, other, sizeof first);
    ebb_shuffle(epoch, 100, 5, 0);
    ck_assert_mem_ne(first, epoch, sizeof first);
}
END_TEST

START_TEST(test_split_errors)
{
    static const struct {
        int64_t n;
        double shares[3];
        int n_parts;
        const char *text;
    } rows[] = {
        { 0, { 6, 2, 2 }, 3, "ebb_split_examples: cannot deal 0 examples into 3 parts" },
        { 5, { 6, 2, 2 }, 0, "ebb_split_examples: cannot deal 5 examples into 0 parts" },
        { 5, { 6, -2, 2 }, 3, "share 1 is -2; it must be a finite number from 0" },
        { 5, { 6, (double)NAN, 2 }, 3, "share 1 is nan" },
        { 5, { 0, 0, 0 }, 3, "the shares sum to 0" },
        { 5, { 98, 1, 1 }, 3, "part 1 (1 of 100) of 5 examples would be empty" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t indices[5] = { -7 }, sizes[3] = { -7 };

        ck_assert_int_eq(ebb_split_examples(rows[i].n, rows[i].shares, rows[i].n_parts, 0, indices,
                                            sizes, &error),
                         EBB_BAD_ARGUMENT);
        CHECK_TEXT(error.message, rows[i].text);
        ck_assert(indices[0] == -7 && sizes[0] == -7);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("data");
    TCase *field = tcase_create("fields");
    tcase_add_test(field, test_copies);
    tcase_add_test(field, test_normalization);
    tcase_add_test(field, test_image_set_fields);
    tcase_add_test(field, test_one_hot);
    tcase_add_test(field, test_labels_changed_afterwards);
    tcase_add_test(field, test_conversions);
    tcase_add_test(field, test_field_errors);
    tcase_add_test(field, test_batch_errors);
    tcase_add_test(field, test_dataset_memory);
    tcase_add_test(field, test_statistics);
    suite_add_tcase(suite, field);
    TCase *split = tcase_create("split");
    tcase_add_test(split, test_split);
    tcase_add_test(split, test_split_depends_on_seed_alone);
    tcase_add_test(split, test_split_errors);
    suite_add_tcase(suite, split);
    return run_suite(suite);
}
