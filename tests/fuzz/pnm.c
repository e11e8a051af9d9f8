/* PGM and PPM images: what is read has all its elements, and what is refused leaves nothing. */
#include "fuzz.h"

#include "io/image.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    for (int failing = 0; failing < 2; failing++) {
        ebb_memory_meter meter;
        ebb_tensor tensor;
        ebb_error error = { 0 };
        fuzz_meter_init(&meter, data, n_bytes, failing);
        ebb_status status =
            ebb_pnm_parse(data, n_bytes, "f.pnm", &meter.allocator, &tensor, &error);
        if (status == EBB_OK) {
            uint8_t sum = 0;
            for (size_t i = 0; i < ebb_tensor_bytes(&tensor); i++)
                sum ^= ((const uint8_t *)tensor.data)[i];
            fuzz_need(sum <= UINT8_MAX, "the elements can be read");
        } else {
            fuzz_need(!tensor.data && !meter.n_live, "nothing is left");
            fuzz_need(error.status == status && strncmp(error.message, "f.pnm: ", 7) == 0,
                      "the error names the file");
        }
        ebb_tensor_finish(&tensor);
        fuzz_need(meter.n_live == 0, "nothing leaks");
    }
    return 0;
}
