/* Data on its way into a training: splits. */
#include "tests/support/runtime.h"

#include <math.h>

/* ---- splits ---- */

static void check_parts(int64_t n, const double *shares, int n_parts, const int64_t *expected)
{
    int64_t indices[1000], sizes[8], sum = 0;
    bool is_there[1000] = { false };
    ebb_error error;
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
        ebb_error error;
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
    TCase *split = tcase_create("split");
    tcase_add_test(split, test_split);
    tcase_add_test(split, test_split_depends_on_seed_alone);
    tcase_add_test(split, test_split_errors);
    suite_add_tcase(suite, split);
    return run_suite(suite);
}
