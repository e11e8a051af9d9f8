/* Checkpoints: what is saved comes back, what is damaged or of another model is refused, and a
 * folder keeps the last ones. */
#include "tests/support/failure.h"
#include "tests/support/files.h"

#include <ebb/ebb.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static ebb_store *make_store(float value)
{
    ebb_store *store = ebb_store_create(NULL);
    const float w[3] = { value, -value, 2 * value };
    const int64_t counter = (int64_t)value;
    ebb_tensor tensors[] = { ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3), w),
                             ebb_tensor_borrow(EBB_I64, EBB_SCALAR, &counter) };
    ck_assert_int_eq(ebb_store_set(store, "fc1/w", &tensors[0]), EBB_OK);
    ck_assert_int_eq(ebb_store_set(store, "minimize/step", &tensors[1]), EBB_OK);
    return store;
}

static void expect_store(ebb_store *store, float value)
{
    ebb_tensor w, counter;
    ck_assert_int_eq(ebb_store_get(store, "fc1/w", &w), EBB_OK);
    ck_assert_int_eq(ebb_store_get(store, "minimize/step", &counter), EBB_OK);
    const float expected[3] = { value, -value, 2 * value };
    ck_assert_mem_eq(w.data, expected, sizeof expected);
    ck_assert_int_eq(*(const int64_t *)counter.data, (int64_t)value);
    ck_assert_int_eq(ebb_store_size(store), 2);
}

static const ebb_checkpoint place = { .step = 1234567890123,
                                      .epoch = 7,
                                      .batch = 3,
                                      .seed = UINT64_MAX,
                                      .loss_sum = -0.1,
                                      .n_examples = 300,
                                      .n_right = 299,
                                      .best = (double)INFINITY,
                                      .best_epoch = 5 };

START_TEST(a_checkpoint_comes_back)
{
    const char *path = file_path("a.safetensors");
    ebb_store *store = make_store(1), *best = make_store(2), *other = make_store(3),
              *other_best = ebb_store_create(NULL);
    ebb_checkpoint found = { 0 };
    expect_good(ebb_checkpoint_save(path, store, best, &place, &error));
    expect_good(ebb_checkpoint_load(path, other, other_best, &found, &error));
    expect_store(other, 1);
    expect_store(other_best, 2);
    ck_assert_mem_eq(&found, &place, sizeof place);

    /* nobody asks for the best; then the file has none */
    expect_good(ebb_checkpoint_load(path, other, NULL, &found, &error));
    expect_good(ebb_checkpoint_save(path, best, NULL, &place, &error));
    expect_good(ebb_checkpoint_load(path, other, other_best, &found, &error));
    expect_store(other, 2);
    ebb_store_destroy(store);
    ebb_store_destroy(best);
    ebb_store_destroy(other);
    ebb_store_destroy(other_best);
}
END_TEST

START_TEST(other_files_are_refused)
{
    const char *path = file_path("a.safetensors"), *plain = file_path("plain.safetensors");
    ebb_store *store = make_store(1), *other = make_store(3);
    ebb_checkpoint found = place;
    expect_good(ebb_store_save(store, plain, &error));
    expect_failure(ebb_checkpoint_load(plain, other, NULL, &found, &error), EBB_BAD_FORMAT,
                   "no checkpoint: the header has no text \"ebb.checkpoint\"");
    expect_failure(ebb_checkpoint_load(file_path("none"), other, NULL, &found, &error), EBB_IO,
                   "No such file");

    const int32_t more = 0;
    ebb_tensor extra = ebb_tensor_borrow(EBB_I32, EBB_SCALAR, &more);
    ck_assert_int_eq(ebb_store_set(store, "fc2/b", &extra), EBB_OK);
    expect_good(ebb_checkpoint_save(path, store, NULL, &place, &error));
    expect_failure(ebb_checkpoint_load(path, other, NULL, &found, &error), EBB_NOT_FOUND,
                   "the store has no tensor \"fc2/b\", which the file has");
    expect_store(other, 3);

    /* the best values are of another model */
    ebb_store *same = make_store(5);
    size_t n;
    expect_good(ebb_checkpoint_save(path, same, same, &place, &error));
    char *bytes = file_read(path, &n), *text = NULL;
    for (size_t i = 0; i + 20 < n && !text; i++)
        text = memcmp(bytes + i, "(best)/minimize/step", 20) == 0 ? bytes + i : NULL;
    ck_assert_ptr_nonnull(text);
    text[18] = 'o';
    expect_failure(
        ebb_checkpoint_load(file_make("stop", bytes, n), other, NULL, &found, &error),
        EBB_NOT_FOUND,
        "the file has no tensor \"minimize/step\", which the store has; the store has no tensor "
        "\"(best)/minimize/stop\", which the file has");
    expect_store(other, 3);
    free(bytes);

    /* every cut, and another text */
    expect_good(ebb_checkpoint_save(path, same, NULL, &place, &error));
    bytes = file_read(path, &n);
    text = NULL;
    for (size_t i = 0; i < n; i++) {
        const char *cut = file_make("cut.safetensors", bytes, i);
        ck_assert_int_eq(ebb_checkpoint_load(cut, other, NULL, &found, &error), EBB_BAD_FORMAT);
    }
    for (size_t i = 0; i + 9 < n && !text; i++)
        text = memcmp(bytes + i, "version=1", 9) == 0 ? bytes + i : NULL;
    ck_assert_ptr_nonnull(text);
    text[8] = '2';
    expect_failure(ebb_checkpoint_load(file_make("version", bytes, n), other, NULL, &found, &error),
                   EBB_BAD_FORMAT, "\"ebb.checkpoint\" is damaged: \"version=2 step=1234567890123");
    text[8] = '1';
    text[15] = '-';
    expect_failure(ebb_checkpoint_load(file_make("minus", bytes, n), other, NULL, &found, &error),
                   EBB_BAD_FORMAT, "is damaged");
    expect_store(other, 3);
    ck_assert_mem_eq(&found, &place, sizeof place);
    free(bytes);
    ebb_store_destroy(store);
    ebb_store_destroy(other);
    ebb_store_destroy(same);
}
END_TEST

typedef struct warnings {
    int n;
    char last[EBB_MESSAGE_BYTES];
} warnings;

static void note_warning(void *context, ebb_log_level level, const char *message)
{
    warnings *w = context;
    ck_assert_int_eq(level, EBB_LOG_WARNING);
    w->n++;
    snprintf(w->last, sizeof w->last, "%s", message);
}

static bool exists(const char *name)
{
    return access(file_path(name), F_OK) == 0;
}

START_TEST(a_folder_keeps_the_last)
{
    const char *folder = test_temporary_folder();
    ebb_store *store = make_store(1), *other = make_store(9);
    ebb_checkpoint at = { .epoch = 1 };
    warnings said = { 0 };
    const ebb_logger log = { note_warning, &said };
    ck_assert_int_eq(ebb_checkpoint_newest(folder, NULL), -1);
    expect_failure(ebb_checkpoint_resume(folder, other, NULL, &at, &log, &error), EBB_NOT_FOUND,
                   "the folder has no checkpoint");
    file_make("notes.txt", "x", 1);
    file_make("step-.safetensors", "x", 1);
    file_make("step-12.safetensors.old", "x", 1);
    file_make(".step-000000000020.safetensors.99-0.tmp", "x", 1);
    file_make(".step-000000000099.safetensors.99-0.tmp", "x", 1);
    for (at.step = 10; at.step <= 50; at.step += 10)
        expect_good(ebb_checkpoint_add(folder, 3, store, NULL, &at, &error));
    ck_assert(!exists("step-000000000010.safetensors") && !exists("step-000000000020.safetensors"));
    ck_assert(exists("step-000000000030.safetensors") && exists("step-000000000050.safetensors"));
    ck_assert(exists("notes.txt") && exists("step-12.safetensors.old"));
    ck_assert(!exists(".step-000000000020.safetensors.99-0.tmp"));
    ck_assert(exists(".step-000000000099.safetensors.99-0.tmp"));
    ck_assert_int_eq(ebb_checkpoint_newest(folder, NULL), 50);
    expect_good(ebb_checkpoint_resume(folder, other, NULL, &at, &log, &error));
    ck_assert_int_eq(at.step, 50);
    ck_assert_int_eq(said.n, 0);

    /* half-copied and foreign files are passed over and named */
    file_make("step-000000000060.safetensors", "\x10\0\0\0\0\0\0\0{", 9);
    const char *foreign = file_path("step-000000000070.safetensors");
    expect_good(ebb_store_save(store, foreign, &error));
    expect_good(ebb_checkpoint_resume(folder, other, NULL, &at, &log, &error));
    ck_assert_int_eq(at.step, 50);
    ck_assert_int_eq(said.n, 2);
    ck_assert_msg(strstr(said.last, "passed over: ") && strstr(said.last, "000060"), "%s",
                  said.last);
    at.step = 60; /* takes the place of the damaged one */
    expect_good(ebb_checkpoint_add(folder, 1, store, NULL, &at, &error));
    ck_assert(exists("step-000000000070.safetensors") && !exists("step-000000000050.safetensors"));

    /* only damaged ones; another model; no folder */
    file_make("step-000000000060.safetensors", "", 0);
    expect_failure(ebb_checkpoint_resume(folder, other, NULL, &at, NULL, &error), EBB_NOT_FOUND,
                   "no checkpoint can be read");
    at.step = 80;
    ebb_store *small = ebb_store_create(NULL);
    expect_good(ebb_checkpoint_add(folder, 1, small, NULL, &at, &error));
    expect_failure(ebb_checkpoint_resume(folder, other, NULL, &at, NULL, &error), EBB_NOT_FOUND,
                   "the file has no tensor \"fc1/w\", \"minimize/step\"");
    expect_failure(ebb_checkpoint_resume(file_path("none"), other, NULL, &at, NULL, &error), EBB_IO,
                   "the folder cannot be read: No such file");
    expect_failure(ebb_checkpoint_add(file_path("none"), 1, store, NULL, &at, &error), EBB_IO,
                   "No such file");
    expect_failure(ebb_checkpoint_add(folder, 0, store, NULL, &at, &error), EBB_BAD_ARGUMENT,
                   "keep must be at least 1, not 0");
    ebb_store_destroy(small);
    ebb_store_destroy(store);
    ebb_store_destroy(other);
}
END_TEST

/* What could be written, but not read again. */
START_TEST(unreadable_files_are_not_written)
{
    const char *folder = test_temporary_folder();
    ebb_store *store = make_store(1), *best = ebb_store_create(NULL);
    ebb_tensor w;
    ebb_checkpoint at = { .step = -1 };
    expect_failure(ebb_checkpoint_add(folder, 1, store, NULL, &at, &error), EBB_BAD_ARGUMENT,
                   "no negative numbers: step -1");
    at.step = 1;
    ck_assert_int_eq(ebb_store_get(store, "fc1/w", &w), EBB_OK);
    ck_assert_int_eq(ebb_store_set(best, "fc1/w", &w), EBB_OK);
    expect_failure(ebb_checkpoint_add(folder, 1, store, best, &at, &error), EBB_BAD_ARGUMENT,
                   "1 best values for 2 variables");
    ck_assert_int_eq(ebb_store_set(best, "other", &w), EBB_OK);
    expect_failure(ebb_checkpoint_add(folder, 1, store, best, &at, &error), EBB_BAD_ARGUMENT,
                   "the best values have no \"minimize/step\"");
    ck_assert_int_eq(ebb_store_set(store, "(best)/w", &w), EBB_OK);
    expect_failure(ebb_checkpoint_add(folder, 1, store, NULL, &at, &error), EBB_BAD_NAME,
                   "\"(best)/w\": in a checkpoint, names that begin with \"(best)/\" are");
    ck_assert_int_eq(file_count(), 0);
    /* the name of another program's file */
    file_make("step-7.safetensors", "x", 1);
    ck_assert_int_eq(ebb_checkpoint_newest(folder, NULL), -1);
    ebb_store_destroy(store);
    ebb_store_destroy(best);
}
END_TEST

/* A full disk, as far as a process can have one for itself: no file may grow beyond a limit. */
START_TEST(a_full_disk_leaves_the_old_one)
{
    const char *folder = test_temporary_folder();
    ebb_store *store = make_store(1), *other = make_store(9);
    ebb_checkpoint at = { .step = 10 };
    expect_good(ebb_checkpoint_add(folder, 1, store, NULL, &at, &error));
    const int n_files = file_count();
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limit = { 100, RLIM_INFINITY };
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    at.step = 20;
    const ebb_status status = ebb_checkpoint_add(folder, 1, store, NULL, &at, &error);
    const struct rlimit no_limit = { RLIM_INFINITY, RLIM_INFINITY };
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &no_limit), 0);
    expect_failure(status, EBB_IO, "step-000000000020.safetensors: writing failed: File too large");
    ck_assert_int_eq(file_count(), n_files);
    expect_good(ebb_checkpoint_resume(folder, other, NULL, &at, NULL, &error));
    ck_assert_int_eq(at.step, 10);
    expect_store(other, 1);
    ebb_store_destroy(store);
    ebb_store_destroy(other);
}
END_TEST

START_TEST(failing_allocations_change_nothing)
{
    const char *folder = test_temporary_folder();
    ebb_store *saved = make_store(1), *best = make_store(2);
    ebb_checkpoint at = place;
    expect_good(ebb_checkpoint_add(folder, 1, saved, best, &at, &error));
    bool is_done = false;
    for (int64_t n = 0; !is_done; n++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        ebb_store *store = ebb_store_create(&meter.allocator);
        for (int i = 0; i < 2; i++) {
            ebb_tensor value;
            ck_assert_int_eq(ebb_store_get(best, ebb_store_name(best, i), &value), EBB_OK);
            ck_assert_int_eq(ebb_store_set(store, ebb_store_name(best, i), &value), EBB_OK);
        }
        meter.fail_after = n;
        ebb_status status = ebb_checkpoint_resume(folder, store, NULL, &at, NULL, &error);
        if (!status) {
            expect_store(store, 1);
            status = ebb_checkpoint_add(folder, 1, store, NULL, &at, &error);
            is_done = status == EBB_OK;
        } else {
            expect_store(store, 2);
        }
        ck_assert(status == EBB_OK || status == EBB_OUT_OF_MEMORY);
        ebb_store_destroy(store);
        ck_assert_int_eq(meter.n_live, 0);
    }
    ebb_store_destroy(saved);
    ebb_store_destroy(best);
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("checkpoint");
    TCase *c = tcase_create("checkpoints");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, a_checkpoint_comes_back);
    tcase_add_test(c, other_files_are_refused);
    tcase_add_test(c, a_folder_keeps_the_last);
    tcase_add_test(c, unreadable_files_are_not_written);
    tcase_add_test(c, a_full_disk_leaves_the_old_one);
    tcase_add_test(c, failing_allocations_change_nothing);
    suite_add_tcase(suite, c);
    return suite;
}

int main(void)
{
    return run_suite(make_suite());
}
