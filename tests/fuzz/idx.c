/* IDX files, plain and gzip. */
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    for (int failing = 0; failing < 2; failing++) {
        ebb_memory_meter meter;
        ebb_tensor tensor;
        ebb_error error = { 0 };
        fuzz_meter_init(&meter, data, n_bytes, failing);
        const char *path = fuzz_file(data, n_bytes);
        ebb_status status = ebb_idx_read(path, &meter.allocator, &tensor, &error);
        fuzz_need(status == error.status, "the error has the status");
        fuzz_need(status == EBB_OK || (!tensor.data && strstr(error.message, path)),
                  "the error names the file");
        ebb_tensor_finish(&tensor);
        fuzz_need(meter.n_live == 0, "nothing leaks");
    }
    return 0;
}
