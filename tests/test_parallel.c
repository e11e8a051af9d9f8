/* Threads of kernels: how many there are, how work is shared out, what they are told. */
#include "backends/parallel.h"
#include "tests/support/runner.h"

typedef struct visits {
    int counts[64], n;
} visits;

static void visit(void *context, int index, int n)
{
    visits *v = context;
    v->counts[index]++;
    if (index == 0)
        v->n = n;
}

START_TEST(test_parallel)
{
    for (int n_threads = 0; n_threads <= 5; n_threads++) {
        visits v = { { 0 }, 0 };
        ebb_parallel(n_threads, visit, &v);
        ck_assert_int_ge(v.n, 1);
        ck_assert_int_le(v.n, n_threads > 1 ? n_threads : 1);
        for (int i = 0; i < 64; i++)
            ck_assert_int_eq(v.counts[i], i < v.n);
    }
}
END_TEST

START_TEST(test_parts)
{
    for (int64_t n_items = 0; n_items < 40; n_items++)
        for (int n = 1; n < 9; n++) {
            int64_t at = 0;
            for (int i = 0; i < n; i++) {
                int64_t begin, end;
                ebb_parallel_part(n_items, i, n, &begin, &end);
                ck_assert_int_eq(begin, at);
                ck_assert(end - begin == n_items / n || end - begin == n_items / n + 1);
                at = end;
            }
            ck_assert_int_eq(at, n_items);
        }
}
END_TEST

START_TEST(test_exchange)
{
    int before = ebb_threads_default();
    ck_assert_int_ge(before, 1);
    ck_assert_int_eq(ebb_threads_exchange(3), before);
    ck_assert_int_eq(ebb_threads_default(), 3);
    ck_assert_int_eq(ebb_threads_exchange(before), 3);
    ck_assert_int_eq(ebb_threads_default(), before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("parallel");
    TCase *tcase = tcase_create("threads");
    tcase_add_test(tcase, test_parallel);
    tcase_add_test(tcase, test_parts);
    tcase_add_test(tcase, test_exchange);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
