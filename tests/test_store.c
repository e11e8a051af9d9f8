/* The store: values by name. */
#include "runtime/store.h"
#include "tests/support/runner.h"

#include <stdio.h>
#include <string.h>

static ebb_tensor pair(float *data)
{
    return ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2), data);
}

START_TEST(set_and_get)
{
    ebb_store *store = ebb_store_create(NULL);
    float a[2] = { 1, 2 }, b[2] = { 3, 4 };
    ebb_tensor value = pair(a), seen;
    ck_assert_int_eq(ebb_store_set(store, "block1/fc1/w", &value), EBB_OK);
    value = pair(b);
    ck_assert_int_eq(ebb_store_set(store, "b", &value), EBB_OK);
    ck_assert_int_eq(ebb_store_size(store), 2);
    ck_assert_str_eq(ebb_store_name(store, 0), "block1/fc1/w");
    ck_assert_str_eq(ebb_store_name(store, 1), "b");
    ck_assert_ptr_null(ebb_store_name(store, 2));
    ck_assert_ptr_null(ebb_store_name(store, -1));
    ck_assert_int_eq(ebb_store_get(store, "block1/fc1/w", &seen), EBB_OK);
    ck_assert(ebb_type_equal(&seen.type, &value.type));
    ck_assert_int_eq(seen.owned, false);
    ck_assert_double_eq(ebb_tensor_get(&seen, 1), 2);
    a[1] = 7; /* the store has a copy */
    ck_assert_double_eq(ebb_tensor_get(&seen, 1), 2);
    value = pair(b);
    ck_assert_int_eq(ebb_store_set(store, "block1/fc1/w", &value), EBB_OK);
    ck_assert_double_eq(ebb_tensor_get(&seen, 1), 4);                      /* in the same place */
    ck_assert_int_eq(ebb_store_set(store, "block1/fc1/w", &seen), EBB_OK); /* itself */
    ck_assert_double_eq(ebb_tensor_get(&seen, 0), 3);
    ebb_store_destroy(store);
}
END_TEST

START_TEST(wrong_types_change_nothing)
{
    ebb_store *store = ebb_store_create(NULL);
    float data[3] = { 1, 2, 3 };
    double wide[2] = { 5, 6 };
    ebb_tensor value = pair(data), seen;
    ck_assert_int_eq(ebb_store_set(store, "w", &value), EBB_OK);
    value = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(3), data);
    ck_assert_int_eq(ebb_store_set(store, "w", &value), EBB_BAD_SHAPE);
    ck_assert_str_eq(ebb_store_message(store), "store: \"w\" is f32[2], given f32[3]");
    value = ebb_tensor_borrow(EBB_F64, EBB_SHAPE(2), wide);
    ck_assert_int_eq(ebb_store_set(store, "w", &value), EBB_BAD_DTYPE);
    ck_assert_str_eq(ebb_store_message(store), "store: \"w\" is f32[2], given f64[2]");
    value = ebb_tensor_borrow(EBB_NO_DTYPE, EBB_SHAPE(2), wide);
    ck_assert_int_eq(ebb_store_set(store, "v", &value), EBB_BAD_DTYPE);
    ck_assert_str_eq(ebb_store_message(store), "store: \"v\" has no valid dtype");
    value = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(-2), wide);
    ck_assert_int_eq(ebb_store_set(store, "v", &value), EBB_BAD_SHAPE);
    ck_assert_int_eq(ebb_store_set(store, "v", NULL), EBB_BAD_ARGUMENT);
    value = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2), NULL);
    ck_assert_int_eq(ebb_store_set(store, "v", &value), EBB_BAD_ARGUMENT);
    ck_assert_str_eq(ebb_store_message(store), "store: no value given for \"v\"");
    ck_assert_int_eq(ebb_store_size(store), 1);
    ck_assert_int_eq(ebb_store_get(store, "w", &seen), EBB_OK);
    ck_assert_double_eq(ebb_tensor_get(&seen, 1), 2);
    ebb_store_destroy(store);
}
END_TEST

START_TEST(names)
{
    static const char *const bad[] = { "", "/", "a/", "/a", "a//b", "a b", "ä", "a\n", "a%" };
    static const char *const good[] = { "a", "a/b", "grad(w)", "x-1.5_B/c/d" };
    ebb_store *store = ebb_store_create(NULL);
    float data[2] = { 0 };
    ebb_tensor value = pair(data);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(ebb_store_set(store, bad[i], &value), EBB_BAD_NAME);
        ck_assert_ptr_nonnull(strstr(ebb_store_message(store), "is no name"));
    }
    ck_assert_int_eq(ebb_store_set(store, NULL, &value), EBB_BAD_NAME);
    char name[203];
    memset(name, 'a', sizeof name);
    name[201] = 0;
    ck_assert_int_eq(ebb_store_set(store, name, &value), EBB_BAD_NAME);
    name[200] = 0;
    ck_assert_int_eq(ebb_store_set(store, name, &value), EBB_OK);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_int_eq(ebb_store_set(store, good[i], &value), EBB_OK);
    ck_assert_int_eq(ebb_store_size(store), 5);
    ck_assert_int_eq(ebb_store_get(store, "b", &value), EBB_NOT_FOUND);
    ck_assert_str_eq(ebb_store_message(store), "store: there is no \"b\"");
    ck_assert_ptr_null(value.data);
    ck_assert_int_eq(ebb_store_get(store, NULL, &value), EBB_NOT_FOUND);
    ck_assert_int_eq(ebb_store_get(store, "a", NULL), EBB_BAD_ARGUMENT);
    ebb_store_destroy(store);
}
END_TEST

START_TEST(no_store)
{
    ebb_tensor value;
    float data[2] = { 0 };
    ck_assert_int_eq(ebb_store_size(NULL), 0);
    ck_assert_ptr_null(ebb_store_name(NULL, 0));
    ck_assert_int_eq(ebb_store_get(NULL, "w", &value), EBB_OUT_OF_MEMORY);
    value = pair(data);
    ck_assert_int_eq(ebb_store_set(NULL, "w", &value), EBB_OUT_OF_MEMORY);
    ck_assert_str_eq(ebb_store_message(NULL), "out of memory: there is no store");
    ebb_store_destroy(NULL);
}
END_TEST

/* Scalars and empty tensors are values too. */
START_TEST(scalars_and_nothing)
{
    ebb_store *store = ebb_store_create(NULL);
    double number = 4.5;
    ebb_tensor value = ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &number), seen;
    ck_assert_int_eq(ebb_store_set(store, "scalar", &value), EBB_OK);
    value = ebb_tensor_borrow(EBB_I64, EBB_SHAPE(3, 0), NULL);
    ck_assert_int_eq(ebb_store_set(store, "empty", &value), EBB_OK);
    ck_assert_int_eq(ebb_store_get(store, "scalar", &seen), EBB_OK);
    ck_assert_double_eq(ebb_tensor_get(&seen, 0), 4.5);
    ck_assert_int_eq(ebb_store_get(store, "empty", &seen), EBB_OK);
    ck_assert_int_eq(ebb_shape_elements(&seen.type.shape), 0);
    ebb_store_destroy(store);
}
END_TEST

/* Entries and their data stay where they are while the store grows and shrinks. */
START_TEST(many_entries)
{
    ebb_store *store = ebb_store_create(NULL);
    float data[2];
    void *places[1000];
    char name[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "layer%d/w", i);
        data[0] = (float)i;
        data[1] = -1;
        ebb_tensor value = pair(data);
        ck_assert_int_eq(ebb_store_set(store, name, &value), EBB_OK);
        ck_assert_int_eq(ebb_store_get(store, name, &value), EBB_OK);
        places[i] = value.data;
    }
    ebb_store_shrink(store, 900);
    ck_assert_int_eq(ebb_store_size(store), 900);
    for (int i = 0; i < 1000; i++) {
        ebb_tensor value;
        snprintf(name, sizeof name, "layer%d/w", i);
        ck_assert_int_eq(ebb_store_get(store, name, &value), i < 900 ? EBB_OK : EBB_NOT_FOUND);
        if (i < 900) {
            ck_assert_str_eq(ebb_store_name(store, i), name);
            ck_assert_ptr_eq(value.data, places[i]);
            ck_assert_double_eq(ebb_tensor_get(&value, 0), i);
        }
    }
    ebb_store_destroy(store);
}
END_TEST

START_TEST(versions_grow)
{
    ebb_store *store = ebb_store_create(NULL);
    float data[2] = { 0 };
    ebb_tensor value = pair(data);
    ck_assert_int_eq(ebb_store_set(store, "w", &value), EBB_OK);
    const ebb_store_entry *entry = ebb_store_find(store, "w");
    uint64_t version = entry->version;
    ck_assert_int_eq(ebb_store_set(store, "w", &value), EBB_OK);
    ck_assert_uint_gt(entry->version, version);
    ebb_store_destroy(store);
}
END_TEST

START_TEST(failing_allocations)
{
    bool all_made = false;
    for (int n = 0; !all_made; n++) {
        ebb_memory_meter meter;
        ebb_memory_meter_init(&meter, NULL);
        meter.fail_after = n;
        float data[2] = { 1, 2 };
        ebb_tensor value = pair(data);
        ebb_store *store = ebb_store_create(&meter.allocator);
        all_made = store != NULL;
        for (int i = 0; i < 40; i++) {
            char name[32];
            snprintf(name, sizeof name, "v%d", i);
            ebb_status status = ebb_store_set(store, name, &value);
            if (status) {
                all_made = false;
                ck_assert_int_eq(status, EBB_OUT_OF_MEMORY);
                ck_assert_ptr_nonnull(strstr(ebb_store_message(store), "out of memory"));
                ck_assert_ptr_null(ebb_store_find(store, name));
            }
            meter.fail_after = status && store ? -1 : meter.fail_after;
        }
        if (store)
            ck_assert_int_ge(ebb_store_size(store), 39);
        ebb_store_destroy(store);
        ck_assert_int_eq(meter.n_live, 0);
        ck_assert_uint_eq(meter.live_bytes, 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *tests = tcase_create("store");
    tcase_add_test(tests, set_and_get);
    tcase_add_test(tests, wrong_types_change_nothing);
    tcase_add_test(tests, names);
    tcase_add_test(tests, no_store);
    tcase_add_test(tests, scalars_and_nothing);
    tcase_add_test(tests, many_entries);
    tcase_add_test(tests, versions_grow);
    tcase_add_test(tests, failing_allocations);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
