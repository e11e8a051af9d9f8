/* PGM and PPM images. */
#include "fuzz.h"

#include "io/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    fuzz_image(ebb_pnm_parse, data, n_bytes);
    return 0;
}
