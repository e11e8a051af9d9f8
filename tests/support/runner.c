/* The main of every test program: counts that survive Check's forks, skipping, folders. */
#define _XOPEN_SOURCE 700

#include "tests/support/runner.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* In memory that parent and forked tests share. */
typedef struct shared_counts {
    atomic_int n_skipped;
} shared_counts;

static shared_counts *shared;
static char run_folder[PATH_BYTES]; /* of the whole program; holds the folders of the tests */

/* Check's default of 4 seconds a test is short for a loaded machine or a sanitizer; it is read when
 * a test case is made, which is before run_suite. */
__attribute__((constructor)) static void set_patience(void)
{
    setenv("CK_DEFAULT_TIMEOUT", "240", 0);
}

static int make_writable(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)place;
    if (kind == FTW_D) {
        (void)chmod(path, S_IRWXU);
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    (void)remove(path);
    return 0;
}

static bool make_run_folder(void)
{
    const char *parent = getenv("TMPDIR");
    int n = snprintf(run_folder, sizeof run_folder, "%s/ebb-test-XXXXXX",
                     parent && *parent ? parent : "/tmp");
    return n > 0 && (size_t)n < sizeof run_folder && mkdtemp(run_folder);
}

void test_note_skip(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("skipped: ");
    vprintf(format, arguments);
    printf("\n");
    fflush(stdout);
    va_end(arguments);
    atomic_fetch_add(&shared->n_skipped, 1);
}

const char *test_data_folder(void)
{
    const char *folder = getenv("EBB_DATA");
    struct stat info;
    if (!folder || !*folder) {
        folder = EBB_SOURCE_ROOT "/../shared/data";
    }
    return stat(folder, &info) == 0 && S_ISDIR(info.st_mode) ? folder : NULL;
}

const char *test_source_folder(void)
{
    return EBB_SOURCE_ROOT;
}

const char *test_temporary_folder(void)
{
    static char folder[PATH_BYTES + 16];
    static pid_t owner;
    if (owner == getpid()) {
        return folder;
    }
    snprintf(folder, sizeof folder, "%s/XXXXXX", run_folder);
    if (!mkdtemp(folder)) {
        ck_abort_msg("cannot make a folder in %s", run_folder);
    }
    owner = getpid();
    return folder;
}

int run_suite(Suite *suite)
{
    int status = EXIT_FAILURE;
    SRunner *runner = srunner_create(suite);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || !make_run_folder()) {
        perror("cannot start the tests");
        srunner_free(runner);
        return EXIT_FAILURE;
    }
    srunner_run_all(runner, CK_NORMAL);
    int n_run = srunner_ntests_run(runner), n_failed = srunner_ntests_failed(runner);
    int n_skipped = atomic_load(&shared->n_skipped);
    srunner_free(runner);
    (void)nftw(run_folder, make_writable, 16, FTW_PHYS);
    (void)nftw(run_folder, remove_one, 16, FTW_PHYS | FTW_DEPTH);
    if (n_run > 0 && n_failed == 0) {
        status = EXIT_SUCCESS;
    }
    printf("%d passed, %d failed, %d skipped\n", n_run - n_failed - n_skipped, n_failed, n_skipped);
    fflush(stdout);
    munmap(shared, sizeof *shared);
    return status;
}
