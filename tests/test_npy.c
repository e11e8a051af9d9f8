/* NumPy's .npy files: what NumPy writes, what Ebb writes, and everything that is wrong. */
#include "tests/support/failure.h"
#include "tests/support/files.h"

#include "io/npy.h"

#include <ebb/io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct npy_bytes {
    unsigned char bytes[4096];
    size_t n;
} npy_bytes;

static void put(npy_bytes *file, const void *data, size_t n)
{
    ck_assert_uint_le(file->n + n, sizeof file->bytes);
    if (n > 0)
        memcpy(file->bytes + file->n, data, n);
    file->n += n;
}

/* A file of this version with this dict, as it stands, and data. */
static npy_bytes make_bytes(int version, const char *dict, const void *data, size_t data_bytes)
{
    npy_bytes file = { .n = 0 };
    size_t n = strlen(dict);
    unsigned char head[12] = { 0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)version, 0 };
    head[8] = (unsigned char)(n & 0xff);
    head[9] = (unsigned char)(n >> 8);
    put(&file, head, version == 1 ? 10 : 12);
    put(&file, dict, n);
    put(&file, data, data_bytes);
    return file;
}

static ebb_status parse(const npy_bytes *file, ebb_tensor *tensor)
{
    /* A block of exactly this size, so that a sanitizer sees reads behind it. */
    void *copy = malloc(file->n ? file->n : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, file->bytes, file->n);
    ebb_status status = ebb_npy_parse(copy, file->n, "f.npy", NULL, tensor, &error);
    free(copy);
    return status;
}

static void expect_tensor(const ebb_tensor *tensor, ebb_dtype dtype, ebb_shape shape,
                          const void *data)
{
    ebb_type type = ebb_type_of(dtype, shape);
    char found[EBB_TYPE_TEXT_BYTES], expected[EBB_TYPE_TEXT_BYTES];
    ck_assert_msg(ebb_type_equal(&tensor->type, &type), "%s, not %s",
                  ebb_type_text(&tensor->type, found), ebb_type_text(&type, expected));
    ck_assert(tensor->owned);
    if (ebb_type_bytes(&type) > 0)
        ck_assert_mem_eq(tensor->data, data, ebb_type_bytes(&type));
}

static void expect_parsed(const npy_bytes *file, ebb_dtype dtype, ebb_shape shape, const void *data)
{
    ebb_tensor tensor;
    ebb_status status = parse(file, &tensor);
    ck_assert_msg(status == EBB_OK, "%s", error.message);
    expect_tensor(&tensor, dtype, shape, data);
    ebb_tensor_finish(&tensor);
}

/* ---- what NumPy writes ---- */

/* numpy.save("f.npy", numpy.array([[1, 2, 3], [4, 5, 6]], "f4")) of NumPy 1.24.2, byte by byte. */
static const unsigned char numpy_file[] =
    "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
    "                                                          \n"
    "\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40\x00\x00\x80\x40\x00\x00\xa0\x40\x00\x00\xc0"
    "\x40";
static const float six[] = { 1, 2, 3, 4, 5, 6 };

START_TEST(a_file_of_numpy_is_read)
{
    ck_assert_uint_eq(sizeof numpy_file - 1, 152);
    ebb_tensor tensor;
    const char *path = file_make("numpy.npy", numpy_file, sizeof numpy_file - 1);
    ck_assert_msg(ebb_npy_read(path, NULL, &tensor, &error) == EBB_OK, "%s", error.message);
    expect_tensor(&tensor, EBB_F32, EBB_SHAPE(2, 3), six);
    ebb_tensor_finish(&tensor);
}
END_TEST

/* The same bytes: NumPy pads its header to 128 here, as Ebb does. */
START_TEST(the_file_is_as_numpy_writes_it)
{
    const char *path = file_path("mine.npy");
    ebb_tensor tensor = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2, 3), six);
    ck_assert_msg(ebb_npy_write(path, &tensor, &error) == EBB_OK, "%s", error.message);
    size_t n;
    char *bytes = file_read(path, &n);
    ck_assert_uint_eq(n, sizeof numpy_file - 1);
    ck_assert_mem_eq(bytes, numpy_file, n);
    free(bytes);
    ck_assert_int_eq(file_count(), 1);
}
END_TEST

/* clang-format off */
#define DICT(descr, order, shape) "{'descr': '" descr "', 'fortran_order': " order ", 'shape': " shape ", }\n"
/* clang-format on */

START_TEST(all_dtypes_and_byte_orders_are_read)
{
    static const double f8 = -1.5;
    static const float f4 = 2.5f;
    static const int64_t i8 = INT64_MIN + 1;
    static const int32_t i4 = 0x01020304;
    static const uint8_t u1 = 200, b1 = 1;
    static const struct {
        const char *little, *big;
        ebb_dtype dtype;
        const void *value;
        size_t n;
    } cases[] = {
        { "<f8", ">f8", EBB_F64, &f8, 8 }, { "<f4", ">f4", EBB_F32, &f4, 4 },
        { "<i8", ">i8", EBB_I64, &i8, 8 }, { "<i4", ">i4", EBB_I32, &i4, 4 },
        { "|u1", ">u1", EBB_U8, &u1, 1 },  { "|b1", "<b1", EBB_BOOL, &b1, 1 },
        { "=f8", ">f8", EBB_F64, &f8, 8 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int version = 1; version <= 3; version++) {
            char dict[128];
            unsigned char reversed[8];
            const unsigned char *value = cases[i].value;
            snprintf(dict, sizeof dict, DICT("%s", "False", "()"), cases[i].little);
            npy_bytes file = make_bytes(version, dict, value, cases[i].n);
            expect_parsed(&file, cases[i].dtype, EBB_SCALAR, value);
            for (size_t b = 0; b < cases[i].n; b++)
                reversed[b] = value[cases[i].n - 1 - b];
            snprintf(dict, sizeof dict, DICT("%s", "True", "(1,)"), cases[i].big);
            file = make_bytes(version, dict, reversed, cases[i].n);
            expect_parsed(&file, cases[i].dtype, EBB_SHAPE(1), value);
        }
    }
}
END_TEST

START_TEST(fortran_order_becomes_row_major)
{
    static const int32_t columns[] = { 0, 10, 1, 11, 2, 12 }, rows[] = { 0, 1, 2, 10, 11, 12 };
    npy_bytes file = make_bytes(1, DICT("<i4", "True", "(2, 3)"), columns, sizeof columns);
    expect_parsed(&file, EBB_I32, EBB_SHAPE(2, 3), rows);

    /* Several chunks of the reader, big-endian; element [i,j,k] is 100 i + 10 j + k. */
    enum { I = 70, J = 10, K = 9, N = I * J * K };
    npy_bytes head = make_bytes(3, DICT(">i4", "True", "(70, 10, 9)"), NULL, 0);
    size_t n = head.n + 4 * N;
    unsigned char *bytes = malloc(n), *at = bytes + head.n;
    int32_t *expected = malloc(4 * N);
    ck_assert(bytes && expected);
    memcpy(bytes, head.bytes, head.n);
    for (int k = 0; k < K; k++)
        for (int j = 0; j < J; j++)
            for (int i = 0; i < I; i++) {
                int value = 100 * i + 10 * j + k;
                expected[(i * J + j) * K + k] = value;
                *at++ = 0;
                *at++ = 0;
                *at++ = (unsigned char)(value >> 8);
                *at++ = (unsigned char)(value & 0xff);
            }
    ebb_tensor tensor;
    const char *path = file_make("columns.npy", bytes, n);
    ck_assert_msg(ebb_npy_read(path, NULL, &tensor, &error) == EBB_OK, "%s", error.message);
    expect_tensor(&tensor, EBB_I32, EBB_SHAPE(I, J, K), expected);
    ebb_tensor_finish(&tensor);
    free(expected);
    free(bytes);
}
END_TEST

/* What other writers do: keys in any order, double quotes, no last comma, white space, an L of
 * Python 2, no newline. */
START_TEST(other_writers_are_understood)
{
    static const uint8_t data[6] = { 1, 2, 3, 4, 5, 6 };
    static const char *const dicts[] = {
        "{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"|u1\"}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2L, 3L), }   \n",
        " {\t'shape' : ( 2 , 3 , ) ,\r\n 'descr':'<u1','fortran_order':False } \n",
    };
    for (size_t i = 0; i < sizeof dicts / sizeof *dicts; i++) {
        npy_bytes file = make_bytes(1, dicts[i], data, sizeof data);
        expect_parsed(&file, EBB_U8, EBB_SHAPE(2, 3), data);
    }
}
END_TEST

START_TEST(every_rank_and_size_comes_back)
{
    static const double values[16] = { 1, -2, 3.5, 1e-300, -0.0, 1e300 };
    static const ebb_shape shapes[] = {
        { 0, { 0 } },    { 1, { 0 } },       { 1, { 16 } },      { 2, { 4, 4 } },
        { 2, { 0, 5 } }, { 3, { 2, 0, 3 } }, { 4, { 1, 2, 1 } }, { 8, { 1, 2, 1, 2, 1, 2, 1, 2 } },
    };
    for (int dtype = EBB_NO_DTYPE + 1; dtype < EBB_N_DTYPES; dtype++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            ebb_tensor tensor, back;
            const char *path = file_path("round.npy");
            ck_assert_int_eq(
                ebb_tensor_init(&tensor, ebb_type_of((ebb_dtype)dtype, shapes[s]), NULL), EBB_OK);
            for (int64_t i = 0; i < ebb_shape_elements(&shapes[s]); i++)
                ebb_tensor_set(&tensor, i, values[i]);
            ck_assert_msg(ebb_npy_write(path, &tensor, &error) == EBB_OK, "%s", error.message);
            ck_assert_msg(ebb_npy_read(path, NULL, &back, &error) == EBB_OK, "%s", error.message);
            expect_tensor(&back, (ebb_dtype)dtype, shapes[s], tensor.data);
            ebb_tensor_finish(&back);
            ebb_tensor_finish(&tensor);
        }
    ck_assert_int_eq(file_count(), 1);
}
END_TEST

/* ---- what is wrong ---- */

/* clang-format off */
#define F4(shape) DICT("<f4", "False", shape)
static const struct {
    const char *dict;
    size_t data_bytes;
    ebb_status status;
    const char *message;
} bad_dicts[] = {
    /* The dict begins at byte 10. */
    { "",                                              0, EBB_BAD_FORMAT, "f.npy: byte 10: expected '{', found the end of the header" },
    { "[1]",                                           0, EBB_BAD_FORMAT, "byte 10: expected '{', found '['" },
    { "{",                                             0, EBB_BAD_FORMAT, "byte 11: expected a key as a string, found the end" },
    { "{1: 2}",                                        0, EBB_BAD_FORMAT, "byte 11: expected a key as a string, found '1'" },
    { "{'descr",                                       0, EBB_BAD_FORMAT, "byte 11: the string has no end" },
    { "{'descr'",                                      0, EBB_BAD_FORMAT, "byte 18: expected ':', found the end" },
    { "{'de\\x73cr': 1}",                              0, EBB_BAD_FORMAT, "byte 14: expected a key, found '\\' in the string" },
    { "{'d\xc3\xa9': 1}",                              0, EBB_BAD_FORMAT, "byte 13: expected a key, found byte 0xc3 in the string" },
    { "{'a key that is much longer than any that is known': 1}", 0, EBB_BAD_FORMAT, "byte 11: expected a key, found a string of more than 39 bytes" },
    { "{'dtype': '<f4'}",                              0, EBB_BAD_FORMAT, "byte 11: unknown key 'dtype'" },
    { "{'descr': '<f4', 'descr': '<f4'}",              0, EBB_BAD_FORMAT, "byte 27: repeated key 'descr'" },
    { "{'descr': '<f4'}",                              0, EBB_BAD_FORMAT, "byte 10: the key 'fortran_order' is missing" },
    { "{'descr': '<f4', 'fortran_order': False}",      0, EBB_BAD_FORMAT, "byte 10: the key 'shape' is missing" },
    { "{}",                                            0, EBB_BAD_FORMAT, "byte 10: the key 'descr' is missing" },
    { "{'descr': '<f4' 'shape': ()}",                  0, EBB_BAD_FORMAT, "byte 26: expected ',', found '''" },
    { "{,}",                                           0, EBB_BAD_FORMAT, "byte 11: expected a key as a string, found ','" },
    { F4("()") "x",                                    4, EBB_BAD_FORMAT, "byte 66: expected only white space behind the header's last '}'" },
    { F4("()") "{}",                                   4, EBB_BAD_FORMAT, "byte 66: expected only white space" },
    { "{'fortran_order': 0}",                          0, EBB_BAD_FORMAT, "byte 28: expected True or False, found '0'" },
    { "{'fortran_order': Tru}",                        0, EBB_BAD_FORMAT, "byte 28: expected True or False, found 'T'" },
    { "{'fortran_order': Truex}",                      0, EBB_BAD_FORMAT, "byte 32: expected ',', found 'x'" },
    /* dtypes */
    { "{'descr': 4}",                                  0, EBB_BAD_FORMAT, "byte 20: expected a dtype as a string, found '4'" },
    { "{'descr': 'f4'}",                               0, EBB_BAD_FORMAT, "byte 20: expected a dtype that begins with one of < > | =, found 'f4'" },
    { "{'descr': ''}",                                 0, EBB_BAD_FORMAT, "byte 20: expected a dtype that begins with" },
    { "{'descr': '|f4'}",                              0, EBB_BAD_FORMAT, "byte 20: dtype '|f4' does not say its byte order" },
    { "{'descr': '|O'}",                               0, EBB_BAD_DTYPE,  "byte 20: dtype '|O' (Python objects) cannot be read; Ebb has f8, f4, i8, i4, u1 and b1" },
    { "{'descr': [('x', '<f4')]}",                     0, EBB_BAD_DTYPE,  "byte 20: arrays of records (structured dtypes) cannot be read" },
    { "{'descr': ('<f4', (2,))}",                      0, EBB_BAD_DTYPE,  "byte 20: arrays of records" },
    { "{'descr': '<f2'}",                              0, EBB_BAD_DTYPE,  "'<f2' (floats of another size)" },
    { "{'descr': '<f16'}",                             0, EBB_BAD_DTYPE,  "'<f16' (floats of another size)" },
    { "{'descr': '<f44'}",                             0, EBB_BAD_DTYPE,  "'<f44' (floats of another size)" },
    { "{'descr': '<i2'}",                              0, EBB_BAD_DTYPE,  "'<i2' (integers of another size)" },
    { "{'descr': '<u8'}",                              0, EBB_BAD_DTYPE,  "'<u8' (unsigned integers of another size)" },
    { "{'descr': '<c8'}",                              0, EBB_BAD_DTYPE,  "'<c8' (complex numbers)" },
    { "{'descr': '<U4'}",                              0, EBB_BAD_DTYPE,  "'<U4' (text)" },
    { "{'descr': '|S4'}",                              0, EBB_BAD_DTYPE,  "'|S4' (byte strings)" },
    { "{'descr': '|V4'}",                              0, EBB_BAD_DTYPE,  "'|V4' (raw bytes)" },
    { "{'descr': '<M8[ns]'}",                          0, EBB_BAD_DTYPE,  "'<M8[ns]' (dates)" },
    { "{'descr': '<m8'}",                              0, EBB_BAD_DTYPE,  "'<m8' (durations)" },
    { "{'descr': '<q7'}",                              0, EBB_BAD_DTYPE,  "'<q7' (not known)" },
    { "{'descr': '<'}",                                0, EBB_BAD_DTYPE,  "'<' (not known)" },
    /* shapes; the tuple begins at byte 60 */
    { F4("3"),                                         0, EBB_BAD_FORMAT, "byte 60: expected '(', found '3'" },
    { F4("(3)"),                                      12, EBB_BAD_FORMAT, "byte 60: expected a tuple: one dimension has a comma behind it" },
    { F4("(3"),                                        0, EBB_BAD_FORMAT, "byte 64: expected a dimension from 0 up, found '}'" },
    { F4("(-1,)"),                                     0, EBB_BAD_FORMAT, "byte 61: expected a dimension from 0 up, found '-'" },
    { F4("(2.0,)"),                                    0, EBB_BAD_FORMAT, "byte 62: expected ',', found '.'" },
    { F4("(2 3)"),                                     0, EBB_BAD_FORMAT, "byte 63: expected ',', found '3'" },
    { F4("(,)"),                                       0, EBB_BAD_FORMAT, "byte 61: expected a dimension from 0 up, found ','" },
    { F4("(1,,)"),                                     0, EBB_BAD_FORMAT, "byte 63: expected a dimension from 0 up, found ','" },
    { F4("(02,)"),                                     0, EBB_BAD_FORMAT, "byte 61: the dimension begins with a zero" },
    { F4("(0x2,)"),                                    0, EBB_BAD_FORMAT, "byte 62: expected ',', found 'x'" },
    { F4("(9223372036854775808,)"),                    0, EBB_BAD_FORMAT, "byte 61: the dimension is above 2^63-1" },
    { F4("(9223372036854775807,)"),                    0, EBB_BAD_FORMAT, "byte 60: the shape is larger than any file" },
    { F4("(4294967296, 4294967296)"),                  0, EBB_BAD_FORMAT, "byte 60: the shape is larger than any file" },
    { F4("(1,1,1,1,1,1,1,1,1)"),                       4, EBB_BAD_SHAPE,  "byte 60: more than 8 dimensions" },
    /* data; it begins at byte 70 */
    { F4("(2, 3)"),                                   23, EBB_BAD_FORMAT, "byte 93: f32[2,3] needs 24 bytes of data, found the end after 23" },
    { F4("(2, 3)"),                                    0, EBB_BAD_FORMAT, "byte 70: f32[2,3] needs 24 bytes of data, found the end after 0" },
    { F4("(2, 3)"),                                   25, EBB_BAD_FORMAT, "byte 94: expected the end of the file behind f32[2,3], found 1 more bytes" },
    { F4("(0, 3)"),                                    4, EBB_BAD_FORMAT, "byte 70: expected the end of the file behind f32[0,3], found 4 more bytes" },
    { F4("(1000000000000,)"),                          8, EBB_BAD_FORMAT, "needs 4000000000000 bytes of data, found the end after 8" },
};
/* clang-format on */

START_TEST(bad_dicts_are_refused)
{
    static const unsigned char zeros[64];
    for (size_t i = 0; i < sizeof bad_dicts / sizeof *bad_dicts; i++) {
        npy_bytes file = make_bytes(1, bad_dicts[i].dict, zeros, bad_dicts[i].data_bytes);
        ebb_tensor tensor;
        memset(&tensor, 1, sizeof tensor);
        expect_failure(parse(&file, &tensor), bad_dicts[i].status, bad_dicts[i].message);
        ck_assert_ptr_null(tensor.data);
        ck_assert_int_eq(tensor.type.dtype, EBB_NO_DTYPE);
    }
}
END_TEST

START_TEST(bad_prefixes_are_refused)
{
    npy_bytes good = make_bytes(2, F4("()"), six, 4);
    ebb_tensor tensor;
    for (size_t n = 0; n < 10; n++) {
        char message[80];
        npy_bytes file = good;
        file.n = n;
        snprintf(message, sizeof message, "f.npy: byte %zu: expected at least 10 bytes", n);
        expect_failure(parse(&file, &tensor), EBB_BAD_FORMAT, message);
    }
    for (size_t n = 10; n < 12; n++) {
        npy_bytes file = good;
        file.n = n;
        expect_failure(parse(&file, &tensor), EBB_BAD_FORMAT,
                       "expected a header length of 4 bytes, found the end");
    }
    npy_bytes file = good;
    file.bytes[5] = 'y';
    expect_failure(parse(&file, &tensor), EBB_BAD_FORMAT, "byte 0: expected the magic \\x93NUMPY");
    file = good;
    file.bytes[6] = 0;
    expect_failure(parse(&file, &tensor), EBB_BAD_FORMAT,
                   "byte 6: expected format version 1.0, 2.0 or 3.0, found 0.0");
    file.bytes[6] = 4;
    file.bytes[7] = 1;
    expect_failure(parse(&file, &tensor), EBB_BAD_FORMAT, "found 4.1");
    file = good;
    file.bytes[11] = 0xff;
    expect_failure(parse(&file, &tensor), EBB_BAD_FORMAT,
                   "byte 8: a header of 4278190136 bytes, but only 60 bytes follow");
}
END_TEST

START_TEST(huge_headers_are_refused)
{
    npy_bytes head = make_bytes(2, "", NULL, 0);
    enum { N = 65537 };
    unsigned char *bytes = calloc(1, 12 + N);
    ck_assert_ptr_nonnull(bytes);
    memcpy(bytes, head.bytes, 12);
    bytes[8] = 1;
    bytes[10] = 1;
    ebb_tensor tensor;
    expect_failure(ebb_npy_parse(bytes, 12 + N, "f.npy", NULL, &tensor, &error), EBB_BAD_FORMAT,
                   "byte 8: a header of 65537 bytes, more than the allowed 65536");
    free(bytes);
}
END_TEST

START_TEST(truth_is_0_or_1)
{
    ebb_tensor tensor;
    npy_bytes file = make_bytes(1, DICT("|b1", "False", "(2, 2)"), "\0\1\1\2", 4);
    expect_failure(parse(&file, &tensor), EBB_BAD_FORMAT,
                   "byte 73: expected a truth value of 0 or 1, found 2");
    file = make_bytes(1, DICT("|b1", "True", "(2, 2)"), "\0\377\1\1", 4);
    expect_failure(parse(&file, &tensor), EBB_BAD_FORMAT,
                   "byte 70: expected a truth value of 0 or 1, found 255");
}
END_TEST

/* Any change of one byte is read or refused, and any file that is cut is refused. */
START_TEST(damaged_files_are_safe)
{
    for (size_t i = 0; i < sizeof numpy_file - 1; i++) {
        npy_bytes file = { .n = 0 };
        ebb_tensor tensor;
        put(&file, numpy_file, i);
        ck_assert_int_eq(parse(&file, &tensor), EBB_BAD_FORMAT);
        for (int bit = 0; bit < 8; bit++) {
            file.n = 0;
            put(&file, numpy_file, sizeof numpy_file - 1);
            file.bytes[i] ^= (unsigned char)(1 << bit);
            if (parse(&file, &tensor) == EBB_OK)
                ebb_tensor_finish(&tensor);
            else
                ck_assert_ptr_null(tensor.data);
        }
    }
}
END_TEST

START_TEST(failing_allocations_leave_nothing)
{
    static const int32_t columns[] = { 0, 10, 1, 11, 2, 12 };
    npy_bytes file = make_bytes(1, DICT("<i4", "True", "(2, 3)"), columns, sizeof columns);
    const char *path = file_make("columns.npy", file.bytes, file.n);
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    ebb_tensor tensor;
    for (int64_t n = 0; n < 2; n++) {
        meter.fail_after = n;
        expect_failure(ebb_npy_read(path, &meter.allocator, &tensor, &error), EBB_OUT_OF_MEMORY,
                       n ? "columns.npy: no memory for i32[2,3]" : "no memory for the header");
        ck_assert_ptr_null(tensor.data);
        ck_assert_int_eq(meter.n_live, 0);
    }
    meter.fail_after = 2;
    ck_assert_int_eq(ebb_npy_read(path, &meter.allocator, &tensor, &error), EBB_OK);
    ck_assert_int_eq(meter.n_live, 1);
    ebb_tensor_finish(&tensor);
    ck_assert_int_eq(meter.n_live, 0);
}
END_TEST

START_TEST(files_that_cannot_be_read)
{
    ebb_tensor tensor;
    expect_failure(ebb_npy_read(file_path("none.npy"), NULL, &tensor, &error), EBB_IO,
                   "none.npy: cannot be opened: No such file or directory");
    expect_failure(ebb_npy_read(test_temporary_folder(), NULL, &tensor, &error), EBB_IO,
                   "cannot be read: not a regular file");
    expect_failure(ebb_npy_read(file_make("empty.npy", "", 0), NULL, &tensor, &error),
                   EBB_BAD_FORMAT, "empty.npy: byte 0: expected at least 10 bytes");
    expect_failure(ebb_npy_read(NULL, NULL, &tensor, &error), EBB_BAD_ARGUMENT, "path is NULL");
    expect_failure(ebb_npy_read("x", NULL, NULL, &error), EBB_BAD_ARGUMENT, "tensor is NULL");
    ck_assert_int_eq(ebb_npy_read(NULL, NULL, NULL, NULL), EBB_BAD_ARGUMENT);
}
END_TEST

START_TEST(writing_fails_cleanly)
{
    ebb_tensor tensor = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2, 3), six);
    const char *path = file_path("x.npy");
    expect_failure(ebb_npy_write(file_path("no/x.npy"), &tensor, &error), EBB_IO,
                   "no/x.npy: cannot be written: No such file or directory");
    expect_failure(ebb_npy_write(NULL, &tensor, &error), EBB_BAD_ARGUMENT, "path is NULL");
    expect_failure(ebb_npy_write(path, NULL, &error), EBB_BAD_ARGUMENT, "tensor is NULL");
    ebb_tensor wrong = tensor;
    wrong.type.dtype = EBB_NO_DTYPE;
    expect_failure(ebb_npy_write(path, &wrong, &error), EBB_BAD_DTYPE, "x.npy: the tensor");
    wrong = tensor;
    wrong.type.shape.rank = 9;
    expect_failure(ebb_npy_write(path, &wrong, &error), EBB_BAD_SHAPE, "no valid shape");
    wrong = tensor;
    wrong.data = NULL;
    expect_failure(ebb_npy_write(path, &wrong, &error), EBB_BAD_ARGUMENT, "has no data");
    ck_assert_int_eq(file_count(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("npy");
    TCase *good = tcase_create("good files");
    tcase_add_test(good, a_file_of_numpy_is_read);
    tcase_add_test(good, the_file_is_as_numpy_writes_it);
    tcase_add_test(good, all_dtypes_and_byte_orders_are_read);
    tcase_add_test(good, fortran_order_becomes_row_major);
    tcase_add_test(good, other_writers_are_understood);
    tcase_add_test(good, every_rank_and_size_comes_back);
    suite_add_tcase(suite, good);
    TCase *bad = tcase_create("bad files");
    tcase_add_test(bad, bad_dicts_are_refused);
    tcase_add_test(bad, bad_prefixes_are_refused);
    tcase_add_test(bad, huge_headers_are_refused);
    tcase_add_test(bad, truth_is_0_or_1);
    tcase_add_test(bad, damaged_files_are_safe);
    tcase_add_test(bad, failing_allocations_leave_nothing);
    tcase_add_test(bad, files_that_cannot_be_read);
    tcase_add_test(bad, writing_fails_cleanly);
    suite_add_tcase(suite, bad);
    return run_suite(suite);
}
