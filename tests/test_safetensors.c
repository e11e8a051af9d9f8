/* Weights on disk: the safetensors writer and its strict reader. */
#include "tests/support/failure.h"
#include "tests/support/files.h"

#include "ops/philox.h"

#include <ebb/io.h>
#include <stdlib.h>
#include <string.h>

static void set_value(ebb_store *store, const char *name, ebb_dtype dtype, ebb_shape shape,
                      const void *data)
{
    ebb_tensor value = ebb_tensor_borrow(dtype, shape, data);
    ck_assert_msg(ebb_store_set(store, name, &value) == EBB_OK, "%s", ebb_store_message(store));
}

static void expect_value(ebb_store *store, const char *name, ebb_dtype dtype, ebb_shape shape,
                         const void *data)
{
    ebb_type type = ebb_type_of(dtype, shape);
    ebb_tensor value;
    ck_assert_int_eq(ebb_store_get(store, name, &value), EBB_OK);
    ck_assert(ebb_type_equal(&value.type, &type));
    if (ebb_type_bytes(&type) > 0)
        ck_assert_mem_eq(value.data, data, ebb_type_bytes(&type));
}

/* A file of this header and data. */
static const char *make_file(const char *header, const void *data, size_t data_bytes)
{
    uint64_t n = strlen(header);
    char *bytes = malloc(8 + n + data_bytes + 1);
    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, header, n);
    if (data_bytes > 0)
        memcpy(bytes + 8 + n, data, data_bytes);
    const char *path = file_make("made.safetensors", bytes, 8 + n + data_bytes);
    free(bytes);
    return path;
}

static const double f64[] = { 1.5, -0.0 };
static const float f32[] = { 1, 2, 3, 4, 5, 6 };
static const int64_t i64[] = { INT64_MIN, INT64_MAX };
static const int32_t i32[] = { -7 };
static const uint8_t u8[] = { 0, 128, 255 }, flags[] = { 1, 0, 1, 1, 0 };

static void fill_store(ebb_store *store)
{
    set_value(store, "step", EBB_U8, EBB_SHAPE(3), u8);
    set_value(store, "block1/fc1/w", EBB_F32, EBB_SHAPE(2, 3), f32);
    set_value(store, "block1/grad(w)-0.x_y", EBB_F64, EBB_SHAPE(2), f64);
    set_value(store, "scalar", EBB_I32, EBB_SCALAR, i32);
    set_value(store, "empty", EBB_F32, EBB_SHAPE(4, 0, 2), NULL);
    set_value(store, "deep", EBB_I64, EBB_SHAPE(1, 1, 1, 1, 1, 1, 1, 2), i64);
    set_value(store, "mask", EBB_BOOL, EBB_SHAPE(5), flags);
}

static void expect_filled(ebb_store *store)
{
    ck_assert_int_eq(ebb_store_size(store), 7);
    ck_assert_str_eq(ebb_store_name(store, 0), "step");
    ck_assert_str_eq(ebb_store_name(store, 6), "mask");
    expect_value(store, "step", EBB_U8, EBB_SHAPE(3), u8);
    expect_value(store, "block1/fc1/w", EBB_F32, EBB_SHAPE(2, 3), f32);
    expect_value(store, "block1/grad(w)-0.x_y", EBB_F64, EBB_SHAPE(2), f64);
    expect_value(store, "scalar", EBB_I32, EBB_SCALAR, i32);
    expect_value(store, "empty", EBB_F32, EBB_SHAPE(4, 0, 2), NULL);
    expect_value(store, "deep", EBB_I64, EBB_SHAPE(1, 1, 1, 1, 1, 1, 1, 2), i64);
    expect_value(store, "mask", EBB_BOOL, EBB_SHAPE(5), flags);
}

START_TEST(a_store_comes_back)
{
    const char *path = file_path("all.safetensors");
    ebb_store *saved = ebb_store_create(NULL), *loaded = ebb_store_create(NULL);
    fill_store(saved);
    ck_assert_msg(ebb_store_save(saved, path, &error) == EBB_OK, "%s", error.message);
    ck_assert_msg(ebb_store_load(loaded, path, &error) == EBB_OK, "%s", error.message);
    expect_filled(loaded);

    /* Again, into entries that are there, with other values, one more, and in another order. */
    ebb_store *other = ebb_store_create(NULL);
    uint8_t zeros[16] = { 0 };
    set_value(other, "more", EBB_U8, EBB_SHAPE(1), u8 + 2);
    set_value(other, "mask", EBB_BOOL, EBB_SHAPE(5), zeros);
    set_value(other, "deep", EBB_I64, EBB_SHAPE(1, 1, 1, 1, 1, 1, 1, 2), zeros);
    ck_assert_msg(ebb_store_load(other, path, &error) == EBB_OK, "%s", error.message);
    ck_assert_int_eq(ebb_store_size(other), 8);
    expect_value(other, "mask", EBB_BOOL, EBB_SHAPE(5), flags);
    expect_value(other, "deep", EBB_I64, EBB_SHAPE(1, 1, 1, 1, 1, 1, 1, 2), i64);
    expect_value(other, "more", EBB_U8, EBB_SHAPE(1), u8 + 2);
    expect_value(other, "block1/fc1/w", EBB_F32, EBB_SHAPE(2, 3), f32);
    ck_assert_int_eq(file_count(), 1);
    ebb_store_destroy(other);
    ebb_store_destroy(loaded);
    ebb_store_destroy(saved);
}
END_TEST

/* The bytes that the format's description asks for. */
START_TEST(the_file_is_as_the_format_says)
{
    const char *path = file_path("bytes.safetensors");
    ebb_store *store = ebb_store_create(NULL);
    set_value(store, "b", EBB_U8, EBB_SHAPE(3), "\1\2\3");
    set_value(store, "w", EBB_F32, EBB_SHAPE(1, 2), (const float[]){ 1, -2 });
    ck_assert_int_eq(ebb_store_save(store, path, &error), EBB_OK);
    ebb_store_destroy(store);
    static const char header[] =
        "{\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]},"
        "\"w\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]}}";
    size_t n, header_bytes = (sizeof header - 1 + 7) / 8 * 8;
    char *bytes = file_read(path, &n);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(n, 8 + header_bytes + 11);
    unsigned char length[8] = { (unsigned char)header_bytes };
    ck_assert_mem_eq(bytes, length, 8);
    ck_assert_mem_eq(bytes + 8, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < header_bytes; i++)
        ck_assert_int_eq(bytes[8 + i], ' ');
    ck_assert_mem_eq(bytes + 8 + header_bytes, "\0\0\x80\x3f\0\0\0\xc0\1\2\3", 11);
    free(bytes);
}
END_TEST

START_TEST(an_empty_store_comes_back)
{
    const char *path = file_path("empty.safetensors");
    ebb_store *store = ebb_store_create(NULL);
    ck_assert_int_eq(ebb_store_save(store, path, &error), EBB_OK);
    ck_assert_int_eq(ebb_store_load(store, path, &error), EBB_OK);
    ck_assert_int_eq(ebb_store_size(store), 0);
    ck_assert_int_eq(ebb_store_load(store, make_file("{}", NULL, 0), &error), EBB_OK);
    ebb_store_destroy(store);
}
END_TEST

/* What other writers do: metadata, white space, keys in any order, escapes, data that is not
 * aligned. */
START_TEST(other_writers_are_understood)
{
    ebb_store *store = ebb_store_create(NULL);
    const char *path =
        make_file("{ \"__metadata__\" : {\"format\":\"pt\", \"a\\u00e9\\ud83d\\ude00\" : "
                  "\"\\n\\\"\\\\\"},\r\n\t\"\\u0062\\/\\u0063\" : { \"shape\":[ 1 , "
                  "1 ],\"data_offsets\":[1,5] , \"dtype\":\"F32\"},\n"
                  "\"a\":{\"data_offsets\":[0,1],\"dtype\":\"U8\",\"shape\":[]}}   ",
                  "\7\0\0\x80\x3f", 5);
    ck_assert_msg(ebb_store_load(store, path, &error) == EBB_OK, "%s", error.message);
    expect_value(store, "b/c", EBB_F32, EBB_SHAPE(1, 1), (const float[]){ 1 });
    expect_value(store, "a", EBB_U8, EBB_SCALAR, "\7");
    path = make_file("{\"__metadata__\":{}}", NULL, 0);
    ck_assert_int_eq(ebb_store_load(store, path, &error), EBB_OK);
    ebb_store_destroy(store);
}
END_TEST

/* clang-format off */
#define A(dtype, shape, offsets) "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define EMPTY(name, offsets) "\"" name "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":" offsets "}"
#define TENSOR(name, offsets) "\"" name "\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":" offsets "}"
static const struct {
    const char *header;
    size_t data_bytes;
    ebb_status status;
    const char *message;
} bad_files[] = {
    { "",                                    0, EBB_BAD_FORMAT, "byte 8: expected '{' as the first byte of the header" },
    { " {}",                                 0, EBB_BAD_FORMAT, "byte 8: expected '{' as the first" },
    { "{",                                   0, EBB_BAD_FORMAT, "byte 9: expected '\"', found the end of the header" },
    { "{}x",                                 0, EBB_BAD_FORMAT, "byte 10: expected only spaces behind the header's last '}'" },
    { "{\"a",                                0, EBB_BAD_FORMAT, "byte 9: the string has no end" },
    { "{\"a\\q\":1}",                        0, EBB_BAD_FORMAT, "byte 11: expected an escape sequence" },
    { "{\"a\\u00g0\":1}",                    0, EBB_BAD_FORMAT, "byte 11: expected an escape sequence" },
    { "{\"a\\u12",                           0, EBB_BAD_FORMAT, "byte 11: expected an escape sequence" },
    { "{\"a\\u0000\":1}",                    0, EBB_BAD_FORMAT, "byte 11: the escape sequence stands for no character" },
    { "{\"\\udc00\":1}",                     0, EBB_BAD_FORMAT, "byte 10: the escape sequence stands for no character" },
    { "{\"\\ud800x\":1}",                    0, EBB_BAD_FORMAT, "byte 10: expected the second half of a surrogate pair" },
    { "{\"\\ud800\\u0041\":1}",              0, EBB_BAD_FORMAT, "byte 10: expected the second half" },
    { "{\"a\tb\":1}",                        0, EBB_BAD_FORMAT, "byte 11: a control character (0x09) inside a string" },
    { "{\"a\xff\":1}",                       0, EBB_BAD_FORMAT, "byte 11: the string is not UTF-8" },
    { "{\"a\xc0\x80\":1}",                   0, EBB_BAD_FORMAT, "byte 11: the string is not UTF-8" },
    { "{\"a\xed\xa0\x80\":1}",               0, EBB_BAD_FORMAT, "byte 11: the string is not UTF-8" },
    { "{\"a\xf4\x90\x80\x80\":1}",           0, EBB_BAD_FORMAT, "byte 11: the string is not UTF-8" },
    { "{\"a\" 1}",                           0, EBB_BAD_FORMAT, "byte 13: expected ':', found '1'" },
    { "{\"a\":\001}",                        0, EBB_BAD_FORMAT, "byte 13: expected '{', found byte 0x01" },
    { "{\"a\":1}",                           0, EBB_BAD_FORMAT, "byte 13: expected '{', found '1'" },
    { "{\"a\":{}}",                          0, EBB_BAD_FORMAT, "byte 14: expected '\"', found '}'" },
    { "{\"a\":{\"dtype\":\"U8\"}}",          0, EBB_BAD_FORMAT, "tensor \"a\": the key \"shape\" is missing" },
    { "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}",
                                             0, EBB_BAD_FORMAT, "byte 27: tensor \"a\": repeated key \"dtype\"" },
    { "{\"a\":{\"stride\":1}}",              0, EBB_BAD_FORMAT, "byte 14: tensor \"a\": unknown key \"stride\"" },
    { A("\"U8\"", "[2]", "[0,2]") ",",       2, EBB_BAD_FORMAT, "expected only spaces" },
    { "{" TENSOR("a", "[0,2]") ",}",         2, EBB_BAD_FORMAT, "expected '\"', found '}'" },
    { "{" TENSOR("a", "[0,2]"),              2, EBB_BAD_FORMAT, "expected '}', found the end of the header" },
    { A("\"BF16\"", "[2]", "[0,4]"),         4, EBB_BAD_DTYPE,  "byte 22: tensor \"a\": Ebb has no dtype \"BF16\"" },
    { A("\"f32\"", "[2]", "[0,8]"),          8, EBB_BAD_DTYPE,  "Ebb has no dtype \"f32\"" },
    { A("8", "[2]", "[0,8]"),                8, EBB_BAD_FORMAT, "byte 22: expected '\"', found '8'" },
    { A("\"U8\"", "[-2]", "[0,2]"),          2, EBB_BAD_FORMAT, "expected a number from 0 up, found '-'" },
    { A("\"U8\"", "[02]", "[0,2]"),          2, EBB_BAD_FORMAT, "the number begins with a zero" },
    { A("\"U8\"", "[2.0]", "[0,2]"),         2, EBB_BAD_FORMAT, "expected a whole number without exponent" },
    { A("\"U8\"", "[2e0]", "[0,2]"),         2, EBB_BAD_FORMAT, "expected a whole number without exponent" },
    { A("\"U8\"", "[2,]", "[0,2]"),          2, EBB_BAD_FORMAT, "expected a number from 0 up, found ']'" },
    { A("\"U8\"", "[2 2]", "[0,2]"),         2, EBB_BAD_FORMAT, "expected ']', found '2'" },
    { A("\"U8\"", "2", "[0,2]"),             2, EBB_BAD_FORMAT, "expected '[', found '2'" },
    { A("\"U8\"", "[9223372036854775808]", "[0,2]"),
                                             2, EBB_BAD_FORMAT, "byte 36: the number is above 2^63-1" },
    { A("\"U8\"", "[9223372036854775807]", "[0,2]"),
                                             2, EBB_BAD_FORMAT, "tensor \"a\": the shape is larger than any file" },
    { A("\"F32\"", "[4294967296,4294967296]", "[0,0]"),
                                             0, EBB_BAD_FORMAT, "tensor \"a\": the shape is larger than any file" },
    { A("\"U8\"", "[1,1,1,1,1,1,1,1,1]", "[0,1]"),
                                             1, EBB_BAD_SHAPE,  "byte 35: tensor \"a\" has more than 8 dimensions" },
    { A("\"U8\"", "[2]", "[0,2,3]"),         2, EBB_BAD_FORMAT, "expected ']', found ','" },
    { A("\"U8\"", "[2]", "[0]"),             2, EBB_BAD_FORMAT, "expected ',', found ']'" },
    { A("\"U8\"", "[2]", "[2,0]"),           2, EBB_BAD_FORMAT, "tensor \"a\": data from 2 to 0, but the file has 2 bytes of data" },
    { A("\"U8\"", "[3]", "[0,3]"),           2, EBB_BAD_FORMAT, "tensor \"a\": data from 0 to 3, but the file has 2 bytes" },
    { A("\"U8\"", "[2]", "[9223372036854775807,9223372036854775807]"),
                                             2, EBB_BAD_FORMAT, "but the file has 2 bytes of data" },
    { A("\"F32\"", "[2]", "[0,2]"),          2, EBB_BAD_FORMAT, "tensor \"a\": f32[2] has 8 bytes, but its data_offsets are 2 apart" },
    { A("\"U8\"", "[2]", "[0,2]"),           5, EBB_BAD_FORMAT, "byte 63: expected the end of the file, found 3 bytes that belong to no tensor" },
    { A("\"U8\"", "[2]", "[1,3]"),           3, EBB_BAD_FORMAT, "byte 9: the data of tensor \"a\" begins at 1, but the data before it ends at 0 (a gap)" },
    { "{" TENSOR("a", "[0,2]") "," TENSOR("b", "[3,5]") "}",
                                             5, EBB_BAD_FORMAT, "the data of tensor \"b\" begins at 3, but the data before it ends at 2 (a gap)" },
    { "{" TENSOR("b", "[1,3]") "," TENSOR("a", "[0,2]") "}",
                                             3, EBB_BAD_FORMAT, "the data of tensor \"b\" begins at 1, but the data before it ends at 2 (they overlap)" },
    { "{" TENSOR("a", "[0,2]") "," TENSOR("b", "[2,4]") "," TENSOR("a", "[4,6]") "}",
                                             6, EBB_BAD_FORMAT, "byte 113: tensor \"a\" comes twice" },
    { "{" TENSOR("a", "[0,2]") "," TENSOR("\\u0061", "[2,4]") "}",
                                             4, EBB_BAD_FORMAT, "tensor \"a\" comes twice" },
    { "{\"__metadata__\":{},\"__metadata__\":{}}",
                                             0, EBB_BAD_FORMAT, "byte 27: repeated key \"__metadata__\"" },
    { "{\"__metadata__\":{\"a\":1}}",        0, EBB_BAD_FORMAT, "expected '\"', found '1'" },
    { "{\"__metadata__\":[]}",               0, EBB_BAD_FORMAT, "expected '{', found '['" },
    { A("\"BOOL\"", "[2]", "[0,2]"),         2, EBB_BAD_FORMAT, "tensor \"a\": expected a BOOL of 0 or 1, found 2" },
    { A("\"U8\"", "[1]", "[0,1]"),           1, EBB_OK,         "" },
    /* what the store does not take */
    { "{" TENSOR("fresh", "[0,2]") "," TENSOR("a b", "[2,4]") "}",
                                             4, EBB_BAD_NAME,   "\"a b\" is no name" },
    { "{" TENSOR("fresh", "[0,2]") "," TENSOR("", "[2,4]") "}",
                                             4, EBB_BAD_NAME,   "\"\" is no name" },
    { "{" TENSOR("fresh", "[0,2]") "," TENSOR("has", "[2,4]") "}",
                                             4, EBB_BAD_SHAPE,  "tensor \"has\" is u8[2] in the file, but u8[3] in the store" },
    { "{" TENSOR("fresh", "[0,2]") "," TENSOR("float", "[2,4]") "}",
                                             4, EBB_BAD_DTYPE,  "byte 65: tensor \"float\" is u8[2] in the file, but f32[2] in the store" },
};
/* clang-format on */

START_TEST(bad_files_change_nothing)
{
    for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; i++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        ebb_store *store = ebb_store_create(&meter.allocator);
        set_value(store, "has", EBB_U8, EBB_SHAPE(3), u8);
        set_value(store, "float", EBB_F32, EBB_SHAPE(2), f32);
        int64_t n_live = meter.n_live;
        const char *path =
            make_file(bad_files[i].header, "\1\2\3\4\5\6\7\10", bad_files[i].data_bytes);
        ebb_status status = ebb_store_load(store, path, &error);
        if (bad_files[i].status != EBB_OK) {
            expect_failure(status, bad_files[i].status, bad_files[i].message);
            ck_assert_ptr_nonnull(strstr(error.message, path));
            ck_assert_int_eq(ebb_store_size(store), 2);
            ck_assert_int_eq(meter.n_live, n_live);
        } else {
            ck_assert_int_eq(status, EBB_OK);
        }
        expect_value(store, "has", EBB_U8, EBB_SHAPE(3), u8);
        expect_value(store, "float", EBB_F32, EBB_SHAPE(2), f32);
        ebb_store_destroy(store);
        ck_assert_int_eq(meter.n_live, 0);
    }
}
END_TEST

/* Weights of another model: nothing may be missing, extra or of another shape. */
/* clang-format off */
static const struct {
    const char *header;
    size_t data_bytes;
    ebb_status status;
    const char *message;
} other_models[] = {
    { "{}",                                  0, EBB_NOT_FOUND,  ": the file has no tensor \"a\", \"b\", which the store has" },
    { "{" TENSOR("a", "[0,2]") "}",          2, EBB_NOT_FOUND,  ": the file has no tensor \"b\", which the store has" },
    { "{" TENSOR("b", "[0,2]") "}",          2, EBB_NOT_FOUND,  ": the file has no tensor \"a\", which the store has" },
    { "{" TENSOR("b", "[0,2]") "," TENSOR("c", "[2,4]") "," TENSOR("a", "[4,6]") "}",
                                             6, EBB_NOT_FOUND,  ": the store has no tensor \"c\", which the file has" },
    { "{" TENSOR("b", "[0,2]") ",\"a\":{\"dtype\":\"U8\",\"shape\":[1,2],\"data_offsets\":[2,4]}}",
                                             4, EBB_BAD_SHAPE,  "tensor \"a\" is u8[1,2] in the file, but u8[2] in the store" },
    { "{" TENSOR("c", "[0,2]") "," EMPTY("d", "[2,2]") "," EMPTY("e", "[2,2]") "," EMPTY("f", "[2,2]") ","
      "\"b\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[2,6]}}",
                                             6, EBB_NOT_FOUND,
      ": the file has no tensor \"a\", which the store has; the store has no tensor \"c\", \"d\", \"e\" and 1 more, "
      "which the file has; tensor \"b\" is i32[1] in the file, but u8[2] in the store" },
    { "{" TENSOR("b", "[0,2]") "," TENSOR("a", "[2,4]") "}",
                                             4, EBB_OK,         "" },
};
/* clang-format on */

START_TEST(only_whole_stores_are_restored)
{
    for (size_t i = 0; i < sizeof other_models / sizeof *other_models; i++) {
        ebb_store *store = ebb_store_create(NULL);
        set_value(store, "a", EBB_U8, EBB_SHAPE(2), u8);
        set_value(store, "b", EBB_U8, EBB_SHAPE(2), u8);
        const char *path =
            make_file(other_models[i].header, "\1\2\3\4\5\6", other_models[i].data_bytes);
        ebb_status status = ebb_store_restore(store, path, &error);
        bool good = other_models[i].status == EBB_OK;
        if (good)
            ck_assert_msg(status == EBB_OK, "%s", error.message);
        else
            expect_failure(status, other_models[i].status, other_models[i].message);
        ck_assert_int_eq(ebb_store_size(store), 2);
        expect_value(store, "a", EBB_U8, EBB_SHAPE(2), good ? "\3\4" : (const void *)u8);
        expect_value(store, "b", EBB_U8, EBB_SHAPE(2), good ? "\1\2" : (const void *)u8);
        ebb_store_destroy(store);
    }
    expect_failure(ebb_store_restore(NULL, "x", &error), EBB_BAD_ARGUMENT,
                   "ebb_store_restore: store is NULL");
}
END_TEST

START_TEST(lying_lengths_are_found)
{
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_store *store = ebb_store_create(&meter.allocator);
    const struct {
        uint64_t length;
        const char *message;
    } lies[] = {
        { 3, "byte 0: a header of 3 bytes, but only 2 bytes follow" },
        { 100000000, "byte 0: a header of 100000000 bytes, but only 2 bytes follow" },
        { 100000001, "byte 0: a header of 100000001 bytes, more than the allowed 100000000" },
        { UINT64_MAX, "more than the allowed" },
        { 1, "byte 9: expected '\"', found the end of the header" },
        { 0, "byte 8: expected '{' as the first byte" },
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        char bytes[10];
        memcpy(bytes, &lies[i].length, 8);
        memcpy(bytes + 8, "{}", 2);
        expect_failure(ebb_store_load(store, file_make("lie", bytes, 10), &error), EBB_BAD_FORMAT,
                       lies[i].message);
    }
    expect_failure(ebb_store_load(store, file_make("short", "1234567", 7), &error), EBB_BAD_FORMAT,
                   "expected the 8 bytes of the header's length, found a file of 7 bytes");
    expect_failure(ebb_store_load(store, file_path("none"), &error), EBB_IO, "No such file");
    expect_failure(ebb_store_load(store, test_temporary_folder(), &error), EBB_IO,
                   "not a regular file");
    expect_failure(ebb_store_load(store, NULL, &error), EBB_BAD_ARGUMENT, "path is NULL");
    expect_failure(ebb_store_load(NULL, "x", &error), EBB_BAD_ARGUMENT, "store is NULL");
    ck_assert_uint_lt(meter.peak_bytes, 100000);
    ebb_store_destroy(store);
}
END_TEST

/* Every cut of a good file, and many files with a few bytes changed: an error leaves the store as
 * it was, and nothing is read out of bounds (under the sanitizers). */
START_TEST(damaged_files_are_safe)
{
    const char *path = file_path("all.safetensors");
    ebb_store *saved = ebb_store_create(NULL);
    fill_store(saved);
    ck_assert_int_eq(ebb_store_save(saved, path, &error), EBB_OK);
    size_t n;
    char *bytes = file_read(path, &n);
    for (size_t length = 0; length < n; length++) {
        ebb_store *store = ebb_store_create(NULL);
        path = file_make("cut.safetensors", bytes, length);
        ck_assert_int_eq(ebb_store_load(store, path, &error), EBB_BAD_FORMAT);
        ck_assert_int_eq(ebb_store_size(store), 0);
        ebb_store_destroy(store);
    }
    int n_good = 0;
    for (uint32_t i = 0; i < 4000; i++) {
        char *changed = malloc(n);
        memcpy(changed, bytes, n);
        uint32_t words[4];
        ebb_philox(1, 0, 0, i, words);
        for (uint32_t k = 0; k <= i % 3; k++) {
            size_t at = words[k] % (n - 20); /* the header, mostly */
            uint32_t place = 8 + (words[3] >> 4) % (uint32_t)(n - 8);
            if (words[3] >> k & 1)
                changed[at] = (char)(words[3] >> 8 * k & 127);
            else
                changed[at] = bytes[place];
        }
        ebb_store *store = ebb_store_create(NULL);
        set_value(store, "mask", EBB_BOOL, EBB_SHAPE(5), flags);
        path = file_make("changed.safetensors", changed, n);
        if (ebb_store_load(store, path, &error) == EBB_OK) {
            n_good++;
        } else {
            ck_assert_int_eq(ebb_store_size(store), 1);
            expect_value(store, "mask", EBB_BOOL, EBB_SHAPE(5), flags);
        }
        ebb_store_destroy(store);
        free(changed);
    }
    ck_assert_int_gt(n_good, 0); /* names may change */
    ck_assert_int_lt(n_good, 2000);
    free(bytes);
    ebb_store_destroy(saved);
}
END_TEST

START_TEST(many_tensors_come_back)
{
    enum { N = 3000 };
    const char *path = file_path("many.safetensors");
    ebb_store *saved = ebb_store_create(NULL), *loaded = ebb_store_create(NULL);
    char name[32];
    for (int32_t i = 0; i < N; i++) {
        snprintf(name, sizeof name, "layer%d/w", i * 7919 % N);
        if (i % 2)
            set_value(saved, name, EBB_I32, EBB_SCALAR, &i);
        else
            set_value(saved, name, EBB_U8, EBB_SHAPE(1), u8);
    }
    ck_assert_int_eq(ebb_store_save(saved, path, &error), EBB_OK);
    ck_assert_msg(ebb_store_load(loaded, path, &error) == EBB_OK, "%s", error.message);
    ck_assert_int_eq(ebb_store_size(loaded), N);
    for (int32_t i = 0; i < N; i++) {
        ck_assert_str_eq(ebb_store_name(loaded, i), ebb_store_name(saved, i));
        if (i % 2)
            expect_value(loaded, ebb_store_name(saved, i), EBB_I32, EBB_SCALAR, &i);
    }
    ebb_store_destroy(loaded);
    ebb_store_destroy(saved);
}
END_TEST

START_TEST(failing_allocations_change_nothing)
{
    const char *path = file_path("all.safetensors");
    ebb_store *saved = ebb_store_create(NULL);
    fill_store(saved);
    ck_assert_int_eq(ebb_store_save(saved, path, &error), EBB_OK);
    ebb_store_destroy(saved);
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_store *store = ebb_store_create(&meter.allocator);
    uint8_t zeros[5] = { 0 };
    set_value(store, "mask", EBB_BOOL, EBB_SHAPE(5), zeros);
    ebb_status status = EBB_OUT_OF_MEMORY;
    int64_t n = 0;
    for (; status != EBB_OK; n++) {
        int64_t n_live = meter.n_live;
        meter.fail_after = n;
        status = ebb_store_load(store, path, &error);
        meter.fail_after = -1;
        if (status == EBB_OK)
            break;
        expect_failure(status, EBB_OUT_OF_MEMORY, "memory");
        ck_assert_int_eq(meter.n_live, n_live);
        ck_assert_int_eq(ebb_store_size(store), 1);
        expect_value(store, "mask", EBB_BOOL, EBB_SHAPE(5), zeros);
    }
    ck_assert_int_gt(n, 10); /* six new entries of two blocks each */
    expect_value(store, "mask", EBB_BOOL, EBB_SHAPE(5), flags);
    meter.fail_after = 0;
    expect_failure(ebb_store_save(store, path, &error), EBB_OUT_OF_MEMORY,
                   "no memory to lay out 7");
    ebb_store_destroy(store);
    ck_assert_int_eq(meter.n_live, 0);
}
END_TEST

START_TEST(saving_fails_cleanly)
{
    ebb_store *store = ebb_store_create(NULL);
    fill_store(store);
    expect_failure(ebb_store_save(store, file_path("no/w"), &error), EBB_IO,
                   "no/w: cannot be written: No such file or directory");
    expect_failure(ebb_store_save(store, NULL, &error), EBB_BAD_ARGUMENT, "path is NULL");
    expect_failure(ebb_store_save(NULL, "x", &error), EBB_BAD_ARGUMENT, "store is NULL");
    const char *path = file_make("old", "old", 3);
    set_value(store, "__metadata__", EBB_U8, EBB_SHAPE(3), u8);
    expect_failure(ebb_store_save(store, path, &error), EBB_BAD_NAME, "called \"__metadata__\"");
    size_t n;
    char *bytes = file_read(path, &n);
    ck_assert_str_eq(bytes, "old");
    free(bytes);
    ebb_store_destroy(store);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safetensors");
    TCase *good = tcase_create("good files");
    tcase_add_test(good, a_store_comes_back);
    tcase_add_test(good, the_file_is_as_the_format_says);
    tcase_add_test(good, an_empty_store_comes_back);
    tcase_add_test(good, other_writers_are_understood);
    tcase_add_test(good, many_tensors_come_back);
    suite_add_tcase(suite, good);
    TCase *bad = tcase_create("bad files");
    tcase_add_test(bad, bad_files_change_nothing);
    tcase_add_test(bad, only_whole_stores_are_restored);
    tcase_add_test(bad, lying_lengths_are_found);
    tcase_add_test(bad, damaged_files_are_safe);
    tcase_add_test(bad, failing_allocations_change_nothing);
    tcase_add_test(bad, saving_fails_cleanly);
    suite_add_tcase(suite, bad);
    return run_suite(suite);
}
