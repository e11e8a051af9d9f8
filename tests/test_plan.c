/* The memory planner: no two values that live at the same time share memory, whatever the
 * lifetimes. */
#include "runtime/plan.h"
#include "tests/support/runner.h"

#include <stdint.h>
#include <stdlib.h>

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* 0..n-1 */
static int64_t below(uint64_t *state, int64_t n)
{
    return (int64_t)(next_random(state) % (uint64_t)n);
}

static size_t rounded(size_t bytes)
{
    return (bytes + EBB_ALIGNMENT - 1) / EBB_ALIGNMENT * EBB_ALIGNMENT;
}

static bool overlap_in_time(const ebb_interval *a, const ebb_interval *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static bool overlap_in_space(size_t a, size_t a_bytes, size_t b, size_t b_bytes)
{
    return a_bytes && b_bytes && a < b + b_bytes && b < a + a_bytes;
}

/* The one overlap that is allowed: an interval on top of the one it takes over. */
static bool takes_over(const ebb_interval *intervals, int64_t a, int64_t b)
{
    return intervals[a].inplace == b && intervals[b].last == intervals[a].first &&
           intervals[b].bytes == intervals[a].bytes;
}

static void check_plan(const ebb_interval *intervals, int64_t n, const size_t *offsets, size_t peak)
{
    int64_t n_steps = 0;
    for (int64_t i = 0; i < n; i++) {
        ck_assert_uint_eq(offsets[i] % EBB_ALIGNMENT, 0);
        ck_assert_uint_le(offsets[i] + intervals[i].bytes, peak);
        if (intervals[i].last >= n_steps)
            n_steps = intervals[i].last + 1;
        for (int64_t j = 0; j < i; j++) {
            if (overlap_in_time(&intervals[i], &intervals[j]) && !takes_over(intervals, i, j) &&
                !takes_over(intervals, j, i))
                ck_assert_msg(!overlap_in_space(offsets[i], intervals[i].bytes, offsets[j],
                                                intervals[j].bytes),
                              "intervals %lld and %lld overlap", (long long)i, (long long)j);
        }
    }
    /* What lives at a step needs at least its own bytes, those that were taken over counted once.
     */
    for (int64_t t = 0; t < n_steps; t++) {
        size_t live = 0;
        for (int64_t i = 0; i < n; i++) {
            bool here = intervals[i].first <= t && t <= intervals[i].last;
            bool counted = intervals[i].inplace >= 0 && intervals[i].first == t &&
                           takes_over(intervals, i, intervals[i].inplace);
            if (here && !counted)
                live += rounded(intervals[i].bytes);
        }
        ck_assert_uint_le(live, peak);
    }
}

static size_t plan(const ebb_interval *intervals, int64_t n, ebb_plan_strategy strategy,
                   size_t *offsets)
{
    ebb_memory_meter meter;
    ebb_memory_meter_init(&meter, NULL);
    size_t peak = SIZE_MAX;
    ck_assert_int_eq(ebb_plan_memory(intervals, n, strategy, &meter.allocator, offsets, &peak),
                     EBB_OK);
    ck_assert_int_eq(meter.n_live, 0);
    return peak;
}

static void check_random_intervals(int round)
{
    uint64_t seed = 0x9E3779B97F4A7C15u + (uint64_t)round * 77777;
    int64_t n = 1 + below(&seed, 120), n_steps = 1 + below(&seed, 60);
    int64_t n_sizes = 1 + below(&seed, 8); /* few sizes make taking over likely */
    ebb_interval intervals[128];
    for (int64_t i = 0; i < n; i++) {
        int64_t first = below(&seed, n_steps);
        intervals[i] =
            (ebb_interval){ .bytes = (size_t)(below(&seed, n_sizes) * below(&seed, 3) * 60),
                            .first = first,
                            .last = first + below(&seed, n_steps - first),
                            .inplace = below(&seed, n + 1) - 1 };
        if (round % 2) /* as in graphs: results take over inputs that end where they begin */
            for (int64_t j = 0; j < i; j++)
                if (intervals[j].last == first && intervals[j].bytes == intervals[i].bytes)
                    intervals[i].inplace = j;
    }
    size_t offsets[128], peaks[2];
    for (int s = 0; s < 2; s++) {
        peaks[s] = plan(intervals, n, s ? EBB_PLAN_BY_TIME : EBB_PLAN_BY_SIZE, offsets);
        check_plan(intervals, n, offsets, peaks[s]);
    }
    ck_assert_uint_le(plan(intervals, n, EBB_PLAN_AUTO, offsets),
                      peaks[0] < peaks[1] ? peaks[0] : peaks[1]);
}

START_TEST(random_intervals)
{
    for (int round = 0; round < 400; round++)
        check_random_intervals(round);
}
END_TEST

START_TEST(nothing_to_plan)
{
    size_t peak = 1;
    ck_assert_int_eq(ebb_plan_memory(NULL, 0, EBB_PLAN_AUTO, NULL, NULL, &peak), EBB_OK);
    ck_assert_uint_eq(peak, 0);
    ebb_interval empty[2] = { { 0, 0, 3, -1 }, { 0, 1, 1, 0 } };
    size_t offsets[2] = { 1, 1 };
    for (int s = EBB_PLAN_AUTO; s <= EBB_PLAN_BY_TIME; s++) {
        ck_assert_uint_eq(plan(empty, 2, (ebb_plan_strategy)s, offsets), 0);
        ck_assert_uint_eq(offsets[0] | offsets[1], 0);
    }
}
END_TEST

/* A chain in which each value takes over the one before needs the memory of one. */
START_TEST(chains_use_one_block)
{
    ebb_interval chain[100];
    size_t offsets[100];
    for (int64_t i = 0; i < 100; i++)
        chain[i] = (ebb_interval){ 1000, i, i + 1, i - 1 };
    for (int s = EBB_PLAN_BY_SIZE; s <= EBB_PLAN_BY_TIME; s++)
        ck_assert_uint_eq(plan(chain, 100, (ebb_plan_strategy)s, offsets), 1024);
    for (int64_t i = 0; i < 100; i++)
        chain[i].inplace = -1;
    for (int s = EBB_PLAN_BY_SIZE; s <= EBB_PLAN_BY_TIME; s++)
        ck_assert_uint_eq(plan(chain, 100, (ebb_plan_strategy)s, offsets), 2048);
}
END_TEST

/* Two results cannot take over the same input; other sizes and other ends cannot at all. */
START_TEST(taking_over_has_conditions)
{
    ebb_interval twice[3] = { { 64, 0, 1, -1 }, { 64, 1, 2, 0 }, { 64, 1, 2, 0 } };
    ebb_interval size[2] = { { 128, 0, 1, -1 }, { 64, 1, 2, 0 } };
    ebb_interval longer[2] = { { 64, 0, 2, -1 }, { 64, 1, 2, 0 } };
    size_t offsets[3];
    for (int s = EBB_PLAN_BY_SIZE; s <= EBB_PLAN_BY_TIME; s++) {
        ck_assert_uint_eq(plan(twice, 3, (ebb_plan_strategy)s, offsets), 128);
        ck_assert_uint_ne(offsets[1], offsets[2]);
        ck_assert_uint_eq(plan(size, 2, (ebb_plan_strategy)s, offsets), 192);
        ck_assert_uint_eq(plan(longer, 2, (ebb_plan_strategy)s, offsets), 128);
    }
}
END_TEST

/* Forward and backward of a long chain: values die in the reverse of the order in which they were
 * born. The plan is as small as what lives at the turning point, and comes in one go. */
START_TEST(a_million_intervals)
{
    enum { HALF = 500000 };
    int64_t n = 2 * HALF;
    ebb_interval *intervals = calloc((size_t)n, sizeof *intervals);
    size_t *offsets = calloc((size_t)n, sizeof *offsets);
    ck_assert_ptr_nonnull(intervals);
    ck_assert_ptr_nonnull(offsets);
    for (int64_t i = 0; i < HALF; i++) {
        intervals[i] = (ebb_interval){ 100, i, 2 * HALF - 1 - i, -1 };
        intervals[HALF + i] = (ebb_interval){ 100, HALF + i, HALF + i + (i + 1 < HALF), -1 };
    }
    size_t peak = plan(intervals, n, EBB_PLAN_AUTO, offsets);
    ck_assert_uint_ge(peak, (size_t)HALF * 128);
    ck_assert_uint_le(peak, (size_t)(HALF + 2) * 128);
    free(intervals);
    free(offsets);
}
END_TEST

START_TEST(too_much_is_out_of_memory)
{
    ebb_interval huge[3] = { { SIZE_MAX / 3, 0, 1, -1 },
                             { SIZE_MAX / 3, 0, 1, -1 },
                             { SIZE_MAX / 3, 0, 1, -1 } };
    size_t offsets[3], peak;
    ck_assert_int_eq(ebb_plan_memory(huge, 3, EBB_PLAN_AUTO, NULL, offsets, &peak),
                     EBB_OUT_OF_MEMORY);
}
END_TEST

START_TEST(failing_allocations)
{
    ebb_interval intervals[300];
    size_t offsets[300], peak;
    for (int64_t i = 0; i < 300; i++)
        intervals[i] = (ebb_interval){ (size_t)(i * 37 % 900), i, i + i % 11, i - 1 };
    for (int s = EBB_PLAN_BY_SIZE; s <= EBB_PLAN_BY_TIME; s++) {
        ebb_status status = EBB_OUT_OF_MEMORY;
        for (int n = 0; status == EBB_OUT_OF_MEMORY; n++) {
            ebb_memory_meter meter;
            ebb_memory_meter_init(&meter, NULL);
            meter.fail_after = n;
            status = ebb_plan_memory(intervals, 300, (ebb_plan_strategy)s, &meter.allocator,
                                     offsets, &peak);
            ck_assert_int_eq(meter.n_live, 0);
            ck_assert_int_lt(n, 100);
        }
        ck_assert_int_eq(status, EBB_OK);
        check_plan(intervals, 300, offsets, peak);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plan");
    TCase *tests = tcase_create("plan");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, random_intervals);
    tcase_add_test(tests, nothing_to_plan);
    tcase_add_test(tests, chains_use_one_block);
    tcase_add_test(tests, taking_over_has_conditions);
    tcase_add_test(tests, a_million_intervals);
    tcase_add_test(tests, too_much_is_out_of_memory);
    tcase_add_test(tests, failing_allocations);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
