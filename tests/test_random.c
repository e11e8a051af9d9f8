/* The generator: known answers, moments, independence of place and number; and first values of
 * variables. */
#include "ops/philox.h"
#include "ops/random.h"
#include "tests/support/runner.h"
#include <ebb/ops.h>
#include <math.h>
#include <string.h>

START_TEST(philox_known_answers)
{
    /* Random123 1.09, tests/kat_vectors, philox4x32 10: counter, key, words. */
    static const struct {
        uint32_t counter[4], key[2], words[4];
    } rows[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
          { 0xffffffff, 0xffffffff },
          { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
          { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t words[4];
        ebb_philox((uint64_t)rows[i].key[1] << 32 | rows[i].key[0], rows[i].counter[1],
                   (uint64_t)rows[i].counter[3] << 32 | rows[i].counter[2], rows[i].counter[0],
                   words);
        for (int k = 0; k < 4; k++)
            ck_assert_uint_eq(words[k], rows[i].words[k]);
    }
}
END_TEST

/* Mean and variance of n numbers, and that any part of them is the same when drawn alone. */
static void check_numbers(ebb_dtype dtype, bool normal, double mean, double variance)
{
    enum { N = 20000 };
    static double whole[N], part[N];
    const int64_t bytes = (int64_t)ebb_dtype_bytes(dtype);
    ebb_random_key key = { 42, 7, 3 };
    ebb_random_fill(dtype, normal, key, 0, N, whole);
    const ebb_tensor numbers = ebb_tensor_borrow(dtype, EBB_SHAPE(N), whole);
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < N; i++) {
        double x = ebb_tensor_get(&numbers, i);
        sum += x;
        squares += (x - mean) * (x - mean);
        if (!normal)
            ck_assert(x >= 0 && x < 1);
    }
    /* five standard errors of a mean of N, and of a variance */
    ck_assert_double_eq_tol(sum / N, mean, 5 * sqrt(variance / N));
    ck_assert_double_eq_tol(squares / N, variance, 5 * variance * sqrt(2.0 / N));
    for (int64_t first = 0; first < 11; first++) {
        ebb_random_fill(dtype, normal, key, first, 9, part);
        ck_assert(memcmp(part, (char *)whole + first * bytes, (size_t)(9 * bytes)) == 0);
    }
    const ebb_random_key others[] = {
        { 43, 7, 3 }, { 42, 8, 3 }, { 42, 7, 4 }, { 42, 7 | 1ull << 32, 3 }
    };
    for (int i = 0; i < 4; i++) {
        ebb_random_fill(dtype, normal, others[i], 0, 9, part);
        ck_assert(memcmp(part, whole, (size_t)(9 * bytes)) != 0);
    }
}

START_TEST(random_numbers)
{
    check_numbers(EBB_F64, false, 0.5, 1.0 / 12);
    check_numbers(EBB_F32, false, 0.5, 1.0 / 12);
    check_numbers(EBB_F64, true, 0, 1);
    check_numbers(EBB_F32, true, 0, 1);
}
END_TEST

START_TEST(first_values)
{
    /* FNV-1a, 64 bits: draft-eastlake-fnv, test vectors */
    ck_assert(ebb_name_hash("") == UINT64_C(0xcbf29ce484222325));
    ck_assert(ebb_name_hash("a") == UINT64_C(0xaf63dc4c8601ec8c));
    ck_assert(ebb_name_hash("foobar") == UINT64_C(0x85944171f73967e8));
    float a[1000], b[1000];
    ebb_tensor ta = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(1000), a);
    ebb_tensor tb = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(1000), b);
    ebb_init init = { EBB_INIT_CONSTANT, 0.5, 0, 0 };
    ebb_init_fill(&init, "w", &ta);
    ck_assert(a[0] == 0.5f && a[999] == 0.5f);
    init = (ebb_init){ EBB_INIT_UNIFORM, -3, 5, 9 };
    ebb_init_fill(&init, "w", &ta);
    for (int i = 0; i < 1000; i++)
        ck_assert(a[i] >= -3 && a[i] < 5);
    ebb_init_fill(&init, "w", &tb);
    ck_assert(memcmp(a, b, sizeof a) == 0);
    ebb_init_fill(&init, "v", &tb);
    ck_assert(memcmp(a, b, sizeof a) != 0);
    /* rounding must not reach the upper bound: the float above 1 is 1.2e-7 away */
    init = (ebb_init){ EBB_INIT_UNIFORM, 1, 1 + 1.2e-7, 9 };
    ebb_init_fill(&init, "w", &ta);
    for (int i = 0; i < 1000; i++)
        ck_assert(a[i] >= 1 && (double)a[i] < init.b);
    init = (ebb_init){ EBB_INIT_NORMAL, 10, 0.01, 9 };
    ebb_init_fill(&init, "w", &ta);
    double sum = 0;
    for (int i = 0; i < 1000; i++)
        sum += (double)a[i];
    ck_assert_double_eq_tol(sum / 1000, 10, 5 * 0.01 / sqrt(1000));
    int32_t whole[3];
    ebb_tensor tw = ebb_tensor_borrow(EBB_I32, EBB_SHAPE(3), whole);
    init = (ebb_init){ EBB_INIT_CONSTANT, 7, 0, 0 };
    ebb_init_fill(&init, "n", &tw);
    ck_assert_int_eq(whole[2], 7);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("random");
    TCase *numbers = tcase_create("numbers");
    tcase_add_test(numbers, philox_known_answers);
    tcase_add_test(numbers, random_numbers);
    tcase_add_test(numbers, first_values);
    suite_add_tcase(suite, numbers);
    return run_suite(suite);
}
