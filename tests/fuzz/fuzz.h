/* What the fuzz targets share. Each looks at one input twice: with all the memory it may want, and
 * with an allocation that fails somewhere. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <ebb/ebb.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

/* Ends the program, so that the fuzzer keeps the input, unless `good`. */
void fuzz_need(bool good, const char *what);

/* Starts the meter: at most 64 MiB, and with `failing` one allocation fails, which depends on the
 * input. fuzz_need(meter.n_live == 0) is for the end. */
void fuzz_meter_init(ebb_memory_meter *meter, const uint8_t *data, size_t n_bytes, bool failing);

/* The path of a file in memory that holds the input, until the next call. */
const char *fuzz_file(const uint8_t *data, size_t n_bytes);

typedef ebb_status (*fuzz_image_parse)(const void *data, size_t n_bytes, const char *path,
                                       const ebb_allocator *allocator, ebb_tensor *tensor,
                                       ebb_error *error);
/* What is read has all its elements, and what is refused leaves nothing. */
void fuzz_image(fuzz_image_parse parse, const uint8_t *data, size_t n_bytes);

#endif
