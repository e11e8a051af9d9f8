/* CSV: RFC 4180, header, labels, and everything that is wrong with line and column. */
#include "tests/support/files.h"
#include "tests/support/runner.h"

#include "io/csv.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static ebb_error error;

static ebb_status parse(const char *text, const ebb_csv_options *options, ebb_csv *csv)
{
    return ebb_csv_parse(text, strlen(text), "t.csv", options, NULL, csv, &error);
}

static void check_table(const char *text, ebb_csv_options options, int64_t rows, int64_t columns,
                        const double *values)
{
    for (int dtype = EBB_F64; dtype <= EBB_F32; dtype++) {
        ebb_csv csv;
        options.dtype = (ebb_dtype)dtype;
        ck_assert_msg(parse(text, &options, &csv) == EBB_OK, "\"%s\": %s", text, error.message);
        const ebb_type type = ebb_type_of((ebb_dtype)dtype, EBB_SHAPE(rows, columns));
        ck_assert(ebb_type_equal(&csv.values.type, &type));
        for (int64_t i = 0; i < rows * columns; i++)
            ck_assert_double_eq(ebb_tensor_get(&csv.values, i),
                                dtype == EBB_F32 ? (double)(float)values[i] : values[i]);
        ck_assert(!csv.labels.data && !csv.names);
        ebb_csv_finish(&csv);
    }
}

START_TEST(test_tables)
{
    static const double two[] = { 1, -2.5, 3e2, 0.1 };
    const ebb_csv_options none = { 0 };
    check_table("1,-2.5\n3e2,0.1\n", none, 2, 2, two);
    check_table("1,-2.5\n3e2,0.1", none, 2, 2, two);
    check_table("1,-2.5\r\n3e2,0.1\r\n", none, 2, 2, two);
    check_table("\xef\xbb\xbf"
                "1,-2.5\n3e2,0.1",
                none, 2, 2, two);
    check_table(" 1 ,\t-2.5\n+3E+2,.1", none, 2, 2, two);
    check_table("\"1\",\"-2.5\"\n3e2,\"0.1\"", none, 2, 2, two);
    check_table("1;-2.5\n3e2;0.1", (ebb_csv_options){ .separator = ';' }, 2, 2, two);
    check_table("1\t-2.5\n3e2\t0.1", (ebb_csv_options){ .separator = '\t' }, 2, 2, two);
    check_table("7", none, 1, 1, (double[]){ 7 });
    check_table("1\n2\n3\n", none, 3, 1, (double[]){ 1, 2, 3 });
}
END_TEST

START_TEST(test_header_and_labels)
{
    static const char text[] = "\"width, in \"\"mm\"\"\",class,\"two\nlines\",\n"
                               "1.5,2,3,4\n5,-6,7,8\n";
    const ebb_csv_options options = { .has_header = true, .label_column = 2 };
    ebb_csv csv;
    ck_assert_msg(parse(text, &options, &csv) == EBB_OK, "%s", error.message);
    ck_assert_int_eq(csv.n_columns, 3);
    ck_assert_str_eq(csv.names[0], "width, in \"mm\"");
    ck_assert_str_eq(csv.names[1], "two\nlines");
    ck_assert_str_eq(csv.names[2], "");
    ck_assert_mem_eq(csv.values.data, ((double[]){ 1.5, 3, 4, 5, 7, 8 }), 6 * sizeof(double));
    ck_assert_int_eq(csv.labels.type.dtype, EBB_I64);
    ck_assert_mem_eq(csv.labels.data, ((int64_t[]){ 2, -6 }), 2 * sizeof(int64_t));
    ebb_csv_finish(&csv);
    ck_assert_ptr_null(csv.names);
    ebb_csv_finish(NULL);
}
END_TEST

/* The decimal point is a point, whatever the program's locale says. */
START_TEST(test_locale)
{
    static const char *const with_comma[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8" };
    for (size_t i = 0; i < sizeof with_comma / sizeof *with_comma; i++)
        if (setlocale(LC_ALL, with_comma[i])) {
            check_table("1.5,2", (ebb_csv_options){ 0 }, 1, 2, (double[]){ 1.5, 2 });
            return;
        }
    SKIP_TEST("locale with a decimal comma (none is installed)");
}
END_TEST

START_TEST(test_errors)
{
    static const struct {
        const char *text;
        ebb_csv_options options;
        ebb_status status;
        const char *message;
    } rows[] = {
        { "", { 0 }, EBB_BAD_FORMAT, "t.csv: there are no rows" },
        { "a,b\n", { .has_header = true }, EBB_BAD_FORMAT, "no rows behind the header" },
        { "1,2\n3\n",
          { 0 },
          EBB_BAD_FORMAT,
          "t.csv: line 2, column 1: the row ends with 1 fields, the first one has 2" },
        { "1,2\n3,4,5\n",
          { 0 },
          EBB_BAD_FORMAT,
          "line 2, column 3: the row ends with 3 fields, the first one has 2" },
        { "1,2\n\n3,4\n", { 0 }, EBB_BAD_FORMAT, "line 2, column 1: the row ends with 1 fields" },
        { "1,2\n3,four\n",
          { 0 },
          EBB_BAD_FORMAT,
          "t.csv: line 2, column 2: expected a number, found \"four\"" },
        { "1,\n", { 0 }, EBB_BAD_FORMAT, "line 1, column 2: expected a number, found \"\"" },
        { "1,0x10\n", { 0 }, EBB_BAD_FORMAT, "found \"0x10\"" },
        { "1,nan\n", { 0 }, EBB_BAD_FORMAT, "found \"nan\"" },
        { "1,1.2.3\n", { 0 }, EBB_BAD_FORMAT, "found \"1.2.3\"" },
        { "1,1 2\n", { 0 }, EBB_BAD_FORMAT, "found \"1 2\"" },
        { "1,1e999\n", { 0 }, EBB_BAD_FORMAT, "column 2: 1e999 is too large for f64" },
        { "1,1e39\n", { .dtype = EBB_F32 }, EBB_BAD_FORMAT, "1e39 is too large for f32" },
        { "1,\"2\n3\n", { 0 }, EBB_BAD_FORMAT, "line 1, column 2: a quoted field does not end" },
        { "1,\"2\"3\n", { 0 }, EBB_BAD_FORMAT, "line 1, column 2: text behind a quoted field" },
        { "1,2\"3\"\n", { 0 }, EBB_BAD_FORMAT, "a quote inside a field that is not quoted" },
        { "\"1\n\",x\n", { 0 }, EBB_BAD_FORMAT, "line 1, column 1: expected a number" },
        { "\"a\nb\",c\n1,x\n",
          { .has_header = true },
          EBB_BAD_FORMAT,
          "line 3, column 2: expected" },
        { "1,2\n3,4.5\n",
          { .label_column = 2 },
          EBB_BAD_FORMAT,
          "line 2, column 2: expected a whole number as label, found \"4.5\"" },
        { "1,2\n",
          { .label_column = 3 },
          EBB_BAD_FORMAT,
          "rows of 2 fields have no numbers beside label column 3" },
        { "1\n", { .label_column = 1 }, EBB_BAD_FORMAT, "rows of 1 fields have no numbers" },
        { "1\n", { .label_column = -1 }, EBB_BAD_ARGUMENT, "label column -1; the first is 1" },
        { "1\n", { .separator = '"' }, EBB_BAD_ARGUMENT, "the separator cannot be character 34" },
        { "1\n", { .separator = '.' }, EBB_BAD_ARGUMENT, "the separator cannot be character 46" },
        { "1\n", { .dtype = EBB_I32 }, EBB_BAD_DTYPE, "read as f64 or f32, not i32" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ebb_csv csv;
        ck_assert_msg(parse(rows[i].text, &rows[i].options, &csv) == rows[i].status, "%zu: %s", i,
                      error.message);
        ck_assert_msg(strstr(error.message, rows[i].message), "no \"%s\" in \"%s\"",
                      rows[i].message, error.message);
        ck_assert(!csv.values.data && !csv.labels.data && !csv.names);
    }
}
END_TEST

START_TEST(test_files)
{
    static const char text[] = "1,2\n3,4\n";
    ebb_csv csv;
    const char *paths[] = { file_make("a.csv", text, sizeof text - 1),
                            file_make_gzip("a.csv.gz", text, sizeof text - 1) };
    for (int i = 0; i < 2; i++) {
        ck_assert_msg(ebb_csv_read(paths[i], NULL, NULL, &csv, &error) == EBB_OK, "%s",
                      error.message);
        ck_assert_mem_eq(csv.values.data, ((double[]){ 1, 2, 3, 4 }), 4 * sizeof(double));
        ebb_csv_finish(&csv);
    }
    ck_assert_int_eq(ebb_csv_read(file_path("none.csv"), NULL, NULL, &csv, &error), EBB_IO);
    ck_assert(strstr(error.message, "none.csv: cannot be opened"));
    ck_assert_int_eq(ebb_csv_read(NULL, NULL, NULL, &csv, &error), EBB_BAD_ARGUMENT);
    ck_assert_int_eq(ebb_csv_read(file_make("empty.csv", "", 0), NULL, NULL, &csv, &error),
                     EBB_BAD_FORMAT);
}
END_TEST

START_TEST(test_memory)
{
    const char *path = file_make("a.csv", "a,b,c\n1,2,3\n", 12);
    const ebb_csv_options options = { .has_header = true, .label_column = 1 };
    for (int64_t fail_after = 0;; fail_after++) {
        ebb_memory_meter meter;
        ebb_csv csv;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = fail_after;
        ebb_status status = ebb_csv_read(path, &options, &meter.allocator, &csv, &error);
        ebb_csv_finish(&csv);
        ck_assert_int_eq(meter.n_live, 0);
        if (status == EBB_OK) {
            ck_assert_int_ge(fail_after, 5);
            return;
        }
        ck_assert_int_eq(status, EBB_OUT_OF_MEMORY);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("csv");
    TCase *csv = tcase_create("csv");
    tcase_add_test(csv, test_tables);
    tcase_add_test(csv, test_header_and_labels);
    tcase_add_test(csv, test_locale);
    tcase_add_test(csv, test_errors);
    tcase_add_test(csv, test_files);
    tcase_add_test(csv, test_memory);
    suite_add_tcase(suite, csv);
    return run_suite(suite);
}
