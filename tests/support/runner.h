/* What every test program shares: a main around Check suites, skipping, and a few helpers.
 * The parent process must never run OpenMP (Check forks, and a forked OpenMP pool hangs): call Ebb
 * only inside tests, never in main or in suite-building functions. */
#ifndef TESTS_SUPPORT_RUNNER_H
#define TESTS_SUPPORT_RUNNER_H

#include <check.h>

/* Ends the running test as skipped, and says why. */
#define SKIP_TEST(...)                                                                             \
    do {                                                                                           \
        test_note_skip(__VA_ARGS__);                                                               \
        return;                                                                                    \
    } while (0)
void test_note_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Runs the suite; prints one line per failure and, last, "N passed, N failed, N skipped". Returns
 * main's exit status. */
int run_suite(Suite *suite);

/* Folder with the real data ($EBB_DATA, else ../shared/data seen from the source tree, compiled
 * in), or NULL if it is not there. */
const char *test_data_folder(void);
/* Folder of the source tree. */
const char *test_source_folder(void);
/* A fresh temporary folder, removed with its contents when the test process ends. */
const char *test_temporary_folder(void);

#endif
