/* safetensors files: a store takes all of one, or is as it was. */
#include "fuzz.h"

#include <string.h>

static const float before[] = { 1, 2 };

static void load(ebb_store *store, const char *path)
{
    ebb_error error = { 0 };
    ebb_tensor value = ebb_tensor_borrow(EBB_F32, EBB_SHAPE(2), before);
    if (ebb_store_set(store, "a", &value) != EBB_OK)
        return;
    ebb_status status = ebb_store_load(store, path, &error);
    fuzz_need(status == error.status, "the error has the status");
    fuzz_need(ebb_store_get(store, "a", &value) == EBB_OK, "the old entry is there");
    if (status == EBB_OK)
        return;
    fuzz_need(strstr(error.message, path) || status == EBB_OUT_OF_MEMORY,
              "the error names the file");
    fuzz_need(ebb_store_size(store) == 1, "no new entry is left");
    fuzz_need(memcmp(value.data, before, sizeof before) == 0, "the old entry has its value");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    for (int failing = 0; failing < 2; failing++) {
        ebb_memory_meter meter;
        fuzz_meter_init(&meter, data, n_bytes, failing);
        ebb_store *store = ebb_store_create(&meter.allocator);
        if (store)
            load(store, fuzz_file(data, n_bytes));
        ebb_store_destroy(store);
        fuzz_need(meter.n_live == 0, "nothing leaks");
    }
    return 0;
}
