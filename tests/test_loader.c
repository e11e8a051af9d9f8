/* The loader: the same batches with and without threads, from any position, whenever it ends. The
 * program uses no graph and no OpenMP, so that it can run under ThreadSanitizer. */
#define _GNU_SOURCE /* pthread_setattr_default_np */

#include "tests/support/runner.h"

#include <ebb/training.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N = 53, WIDTH = 6 };
static ebb_error error;

#define CHECK_TEXT(text, part)                                                                     \
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" does not say \"%s\"", text, part)

static ebb_dataset *make_dataset(void)
{
    static uint8_t images[N][WIDTH][WIDTH];
    static int64_t labels[N];
    for (int i = 0; i < N; i++) {
        labels[i] = i % 10;
        for (int k = 0; k < WIDTH * WIDTH; k++)
            images[i][k / WIDTH][k % WIDTH] = (uint8_t)(i * 31 + k * 7);
    }
    const ebb_field fields[] = {
        { .name = "images",
          .values = ebb_tensor_borrow(EBB_U8, EBB_SHAPE(N, WIDTH, WIDTH), images),
          .shape = EBB_SHAPE(1, WIDTH, WIDTH),
          .divisor = 255 },
        { .name = "labels",
          .values = ebb_tensor_borrow(EBB_I64, EBB_SHAPE(N), labels),
          .dtype = EBB_I32,
          .n_classes = 10 },
    };
    ebb_dataset *dataset;
    ebb_status status = ebb_dataset_create(fields, 2, NULL, &dataset, &error);
    ck_assert_msg(status == EBB_OK, "%s", error.message);
    return dataset;
}

static ebb_loader *make_loader(const ebb_dataset *dataset, ebb_loader_options options)
{
    ebb_loader *loader;
    ebb_status status = ebb_loader_create(dataset, &options, NULL, &loader, &error);
    ck_assert_msg(status == EBB_OK, "%s", error.message);
    return loader;
}

static ebb_batch next(ebb_loader *loader)
{
    ebb_batch batch;
    ebb_status status = ebb_loader_next(loader, &batch);
    ck_assert_msg(status == EBB_OK, "%s", ebb_loader_message(loader));
    return batch;
}

static void check_same(const ebb_batch *a, const ebb_batch *b)
{
    ck_assert_int_eq(a->epoch, b->epoch);
    ck_assert_int_eq(a->number, b->number);
    ck_assert_int_eq(a->size, b->size);
    ck_assert_int_eq(a->n_examples, b->n_examples);
    ck_assert_int_eq(a->is_last, b->is_last);
    ck_assert_int_eq(a->n_fields, b->n_fields);
    ck_assert_mem_eq(a->indices, b->indices, (size_t)a->n_examples * sizeof *a->indices);
    for (int f = 0; f < a->n_fields; f++) {
        ck_assert(ebb_type_equal(&a->fields[f].type, &b->fields[f].type));
        ck_assert_int_eq(a->fields[f].type.shape.dims[0], a->size);
        ck_assert_mem_eq(a->fields[f].data, b->fields[f].data, ebb_tensor_bytes(&a->fields[f]));
    }
}

/* Lets the other threads run, now and then. */
static void dawdle(int i)
{
    if (i % 7 == 0)
        nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
}

/* Adds the position to a value, after some time. */
static ebb_status stamp(void *context, const ebb_batch *batch, ebb_tensor *fields,
                        ebb_error *reason)
{
    atomic_int *n_calls = context;
    (void)reason;
    dawdle(atomic_fetch_add(n_calls, 1));
    ((float *)fields[0].data)[0] += (float)(batch->epoch * 100 + batch->number);
    return EBB_OK;
}

static const ebb_augment changes = {
    .padding = 1, .flip_horizontal = true, .crop_height = 5, .noise = 0.1
};

/* ---- the same with threads ---- */

START_TEST(test_threads_change_nothing)
{
    ebb_dataset *dataset = make_dataset();
    for (int last = EBB_LAST_DROP; last <= EBB_LAST_PAD; last++)
        for (int n_threads = 1; n_threads <= 3; n_threads++)
            for (int queue = 1; queue <= 5; queue += 2) {
                atomic_int n_calls = 0;
                ebb_loader_options options = { .batch = 8,
                                               .seed = 5,
                                               .last = (ebb_last_batch)last,
                                               .augments = &changes,
                                               .n_augments = 1,
                                               .edit = stamp,
                                               .edit_context = &n_calls,
                                               .no_thread = true };
                ebb_loader *expected = make_loader(dataset, options);
                options.no_thread = false;
                options.n_threads = n_threads;
                options.queue = queue;
                ebb_loader *loader = make_loader(dataset, options);
                for (int i = 0; i < 30; i++) {
                    const ebb_batch a = next(expected), b = next(loader);
                    check_same(&a, &b);
                    dawdle(i);
                }
                ebb_loader_destroy(loader);
                ebb_loader_destroy(expected);
            }
    ebb_dataset_destroy(dataset);
}
END_TEST

/* ---- orders ---- */

START_TEST(test_epochs)
{
    ebb_dataset *dataset = make_dataset();
    static const struct {
        ebb_last_batch last;
        int n_batches, last_size, last_examples;
    } rows[] = { { EBB_LAST_DROP, 6, 8, 8 },
                 { EBB_LAST_KEEP, 7, 5, 5 },
                 { EBB_LAST_WRAP, 7, 8, 8 },
                 { EBB_LAST_PAD, 7, 8, 5 } };
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        ebb_loader *loader = make_loader(
            dataset, (ebb_loader_options){ .batch = 8, .seed = 2, .last = rows[r].last });
        ck_assert_int_eq(ebb_loader_n_batches(loader), rows[r].n_batches);
        for (int epoch = 0; epoch < 3; epoch++) {
            int64_t order[N], at = 0, first = 0;
            ebb_shuffle(order, N, 2, (uint64_t)epoch);
            for (int i = 0; i < rows[r].n_batches; i++) {
                const ebb_batch batch = next(loader);
                const bool is_last = i == rows[r].n_batches - 1;
                ck_assert_int_eq(batch.epoch, epoch);
                ck_assert_int_eq(batch.number, i);
                ck_assert_int_eq(batch.is_last, is_last);
                ck_assert_int_eq(batch.size, is_last ? rows[r].last_size : 8);
                ck_assert_int_eq(batch.n_examples, is_last ? rows[r].last_examples : 8);
                for (int64_t k = 0; k < batch.n_examples; k++, at++) {
                    ck_assert_int_eq(batch.indices[k], order[at < N ? at : first++]);
                    ck_assert_int_eq(((const int32_t *)batch.fields[1].data)[k],
                                     batch.indices[k] % 10);
                }
                for (int64_t k = batch.n_examples * WIDTH * WIDTH; k < batch.size * WIDTH * WIDTH;
                     k++)
                    ck_assert_float_eq(((const float *)batch.fields[0].data)[k], 0);
            }
        }
        ebb_loader_destroy(loader);
    }
    ebb_dataset_destroy(dataset);
}
END_TEST

START_TEST(test_parts_and_order)
{
    static const int64_t part[] = { 7, 50, 3, 7, 11 };
    ebb_dataset *dataset = make_dataset();
    ebb_loader *loader = make_loader(
        dataset,
        (ebb_loader_options){
            .batch = 3, .indices = part, .n_indices = 5, .in_order = true, .last = EBB_LAST_WRAP });
    for (int epoch = 0; epoch < 2; epoch++)
        for (int i = 0; i < 2; i++) {
            const ebb_batch batch = next(loader);
            for (int k = 0; k < 3; k++)
                ck_assert_int_eq(batch.indices[k], part[(3 * i + k) % 5]);
        }
    ebb_loader_destroy(loader);
    /* A batch larger than the set goes around more than once. */
    loader = make_loader(dataset, (ebb_loader_options){ .batch = 12,
                                                        .indices = part,
                                                        .n_indices = 5,
                                                        .in_order = true,
                                                        .last = EBB_LAST_WRAP });
    ck_assert_int_eq(ebb_loader_n_batches(loader), 1);
    ck_assert_int_eq(next(loader).indices[11], part[1]);
    ebb_loader_destroy(loader);
    ebb_dataset_destroy(dataset);
}
END_TEST

/* ---- positions ---- */

START_TEST(test_resume)
{
    ebb_dataset *dataset = make_dataset();
    for (int n_threads = 0; n_threads <= 2; n_threads++) {
        const ebb_loader_options options = { .batch = 8,
                                             .seed = 9,
                                             .last = EBB_LAST_KEEP,
                                             .augments = &changes,
                                             .n_augments = 1,
                                             .no_thread = n_threads == 0,
                                             .n_threads = n_threads };
        ebb_loader *whole = make_loader(dataset, options);
        ebb_loader *jumping = make_loader(dataset, options);
        for (int i = 0; i < 40; i++) {
            int64_t epoch, number;
            ebb_loader_position(whole, &epoch, &number);
            ck_assert_int_eq(epoch * 7 + number, i);
            if (i % 3 == 0) { /* somewhere else, and back */
                ck_assert_int_eq(ebb_loader_seek(jumping, 5, i % 7), EBB_OK);
                for (int k = 0; k < i % 4; k++)
                    next(jumping);
                ck_assert_int_eq(ebb_loader_seek(jumping, epoch, number), EBB_OK);
            }
            const ebb_batch a = next(whole), b = next(jumping);
            check_same(&a, &b);
        }
        ck_assert_int_eq(ebb_loader_seek(whole, 0, 7), EBB_BAD_ARGUMENT);
        CHECK_TEXT(ebb_loader_message(whole), "there is no batch 7 of epoch 0; an epoch has 7");
        ck_assert_int_eq(ebb_loader_seek(whole, -1, 0), EBB_BAD_ARGUMENT);
        ck_assert_int_eq(ebb_loader_seek(whole, INT64_MAX, 0), EBB_BAD_ARGUMENT);
        ebb_loader_destroy(jumping);
        ebb_loader_destroy(whole);
    }
    ebb_dataset_destroy(dataset);
}
END_TEST

/* ---- the end, and errors ---- */

START_TEST(test_end_at_any_moment)
{
    ebb_dataset *dataset = make_dataset();
    for (int i = 0; i < 60; i++) {
        atomic_int n_calls = 0;
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        const ebb_loader_options options = { .batch = 8,
                                             .n_threads = 1 + i % 3,
                                             .queue = 1 + i % 4,
                                             .augments = &changes,
                                             .n_augments = i % 2,
                                             .edit = stamp,
                                             .edit_context = &n_calls };
        ebb_loader *loader;
        ck_assert_int_eq(ebb_loader_create(dataset, &options, &meter.allocator, &loader, &error),
                         EBB_OK);
        const int64_t n_allocations = meter.n_allocations;
        for (int k = 0; k < i / 3; k++)
            next(loader);
        ck_assert_int_eq(meter.n_allocations, n_allocations);
        ebb_loader_destroy(loader);
        ck_assert_int_eq(meter.n_live, 0);
    }
    ebb_loader_destroy(NULL);
    ebb_dataset_destroy(dataset);
}
END_TEST

static ebb_status fail_later(void *context, const ebb_batch *batch, ebb_tensor *fields,
                             ebb_error *reason)
{
    (void)context;
    (void)fields;
    if (batch->epoch * 6 + batch->number == 9)
        return ebb_fail(reason, EBB_IO, "example %d cannot be read", (int)batch->indices[0]);
    return batch->epoch == 2 ? EBB_BAD_FORMAT : EBB_OK;
}

START_TEST(test_errors_of_threads)
{
    ebb_dataset *dataset = make_dataset();
    for (int n_threads = 0; n_threads <= 2; n_threads++) {
        ebb_loader *loader = make_loader(dataset, (ebb_loader_options){ .batch = 8,
                                                                        .in_order = true,
                                                                        .edit = fail_later,
                                                                        .no_thread = n_threads == 0,
                                                                        .n_threads = n_threads });
        int64_t epoch, number;
        ebb_batch batch;
        for (int i = 0; i < 9; i++)
            next(loader);
        for (int i = 0; i < 10; i++) { /* it stays there */
            ck_assert_int_eq(ebb_loader_next(loader, &batch), EBB_IO);
            ck_assert_int_eq(batch.size, 0);
            CHECK_TEXT(ebb_loader_message(loader),
                       "loader: epoch 1, batch 3: example 24 cannot be read");
            dawdle(i);
        }
        ebb_loader_position(loader, &epoch, &number);
        ck_assert(epoch == 1 && number == 3);
        ck_assert_int_eq(ebb_loader_seek(loader, 1, 4), EBB_OK);
        ck_assert_int_eq(next(loader).number, 4);
        next(loader);
        ck_assert_int_eq(ebb_loader_next(loader, &batch), EBB_BAD_FORMAT);
        CHECK_TEXT(ebb_loader_message(loader), "epoch 2, batch 0: a file or text is malformed");
        ebb_loader_destroy(loader);
    }
    ebb_dataset_destroy(dataset);
}
END_TEST

/* Threads whose stack is larger than the address space cannot start. */
START_TEST(test_no_thread_can_start)
{
    ebb_dataset *dataset = make_dataset();
    ebb_loader *loader = make_loader(dataset, (ebb_loader_options){ .batch = 8 });
    pthread_attr_t attributes;
    size_t stack_bytes;
    ebb_batch batch;
    ck_assert_int_eq(pthread_getattr_default_np(&attributes), 0);
    ck_assert_int_eq(pthread_attr_getstacksize(&attributes, &stack_bytes), 0);
    ck_assert_int_eq(pthread_attr_setstacksize(&attributes, (size_t)1 << 56), 0);
    ck_assert_int_eq(pthread_setattr_default_np(&attributes), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(ebb_loader_next(loader, &batch), EBB_LIMIT);
        CHECK_TEXT(ebb_loader_message(loader), "loader: no thread can be started: ");
    }
    ck_assert_int_eq(pthread_attr_setstacksize(&attributes, stack_bytes), 0);
    ck_assert_int_eq(pthread_setattr_default_np(&attributes), 0);
    ck_assert_int_eq(next(loader).number, 0);
    ck_assert_int_eq(ebb_loader_next(loader, NULL), EBB_BAD_ARGUMENT);
    CHECK_TEXT(ebb_loader_message(loader), "batch is NULL");
    ck_assert_int_eq(ebb_loader_next(NULL, &batch), EBB_BAD_ARGUMENT);
    ck_assert_int_eq(next(loader).number, 1);
    pthread_attr_destroy(&attributes);
    ebb_loader_destroy(loader);
    ebb_dataset_destroy(dataset);
}
END_TEST

START_TEST(test_option_errors)
{
    static const int64_t outside[] = { 0, N };
    static const struct {
        ebb_loader_options options;
        ebb_status status;
        const char *text;
    } rows[] = {
        { { .batch = 0 }, EBB_BAD_ARGUMENT, "loader: a batch of 0 examples" },
        { { .batch = N + 1 },
          EBB_BAD_ARGUMENT,
          "loader: 53 examples do not fill a batch of 54, and the rest of an epoch is dropped" },
        { { .batch = 1, .last = (ebb_last_batch)4 }, EBB_BAD_ARGUMENT, "no last batch of kind 4" },
        { { .batch = 1, .n_threads = 17 }, EBB_BAD_ARGUMENT, "17 threads; at most 16" },
        { { .batch = 1, .queue = 1025 }, EBB_BAD_ARGUMENT, "a queue of 1025 batches; at most" },
        { { .batch = 1, .indices = outside }, EBB_BAD_ARGUMENT, "there are no examples" },
        { { .batch = 1, .indices = outside, .n_indices = 2 },
          EBB_BAD_INDEX,
          "indices[1] is 53, but there are 53 examples" },
        { { .batch = 1, .n_augments = 1 }, EBB_BAD_ARGUMENT, "1 augmentations of 2 fields" },
    };
    ebb_dataset *dataset = make_dataset();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ebb_loader *loader = (ebb_loader *)(void *)&error;
        ck_assert_int_eq(ebb_loader_create(dataset, &rows[i].options, NULL, &loader, &error),
                         rows[i].status);
        CHECK_TEXT(error.message, rows[i].text);
        ck_assert_ptr_null(loader);
    }
    ebb_loader *none;
    ck_assert_int_eq(ebb_loader_create(NULL, &rows[0].options, NULL, &none, &error),
                     EBB_BAD_ARGUMENT);
    CHECK_TEXT(error.message, "dataset is NULL");
    ebb_dataset_destroy(dataset);
}
END_TEST

START_TEST(test_memory)
{
    static const int64_t part[] = { 1, 2, 3, 4 };
    ebb_dataset *dataset = make_dataset();
    const ebb_loader_options options = {
        .batch = 2, .indices = part, .n_indices = 4, .augments = &changes, .n_augments = 1
    };
    for (int64_t fail_after = 0;; fail_after++) {
        ebb_memory_meter meter;
        ebb_loader *loader;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = fail_after;
        ebb_status status = ebb_loader_create(dataset, &options, &meter.allocator, &loader, &error);
        if (status == EBB_OK)
            next(loader);
        ebb_loader_destroy(loader);
        ck_assert_int_eq(meter.n_live, 0);
        if (status == EBB_OK) {
            ck_assert_int_gt(fail_after, 20);
            break;
        }
        ck_assert_int_eq(status, EBB_OUT_OF_MEMORY);
        CHECK_TEXT(error.message, "loader: no memory for");
    }
    ebb_dataset_destroy(dataset);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loader");
    TCase *loader = tcase_create("loader");
    tcase_add_test(loader, test_threads_change_nothing);
    tcase_add_test(loader, test_epochs);
    tcase_add_test(loader, test_parts_and_order);
    tcase_add_test(loader, test_resume);
    tcase_add_test(loader, test_end_at_any_moment);
    tcase_add_test(loader, test_errors_of_threads);
    tcase_add_test(loader, test_no_thread_can_start);
    tcase_add_test(loader, test_option_errors);
    tcase_add_test(loader, test_memory);
    suite_add_tcase(suite, loader);
    return run_suite(suite);
}
