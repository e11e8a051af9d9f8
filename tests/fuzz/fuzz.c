/* What the fuzz targets share. */
#define _GNU_SOURCE

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void fuzz_need(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "not so: %s\n", what);
    abort();
}

void fuzz_meter_init(ebb_memory_meter *meter, const uint8_t *data, size_t n_bytes, bool failing)
{
    uint32_t hash = 2166136261; /* FNV-1a */
    for (size_t i = 0; i < n_bytes; i++)
        hash = (hash ^ data[i]) * 16777619;
    ebb_memory_meter_init(meter, NULL);
    meter->limit_bytes = (size_t)64 << 20;
    if (failing)
        meter->fail_after = hash % 48;
}

const char *fuzz_file(const uint8_t *data, size_t n_bytes)
{
    static char path[64];
    static int file = -1;
    if (file < 0) {
        file = memfd_create("input", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    fuzz_need(file >= 0 && ftruncate(file, 0) == 0, "there is a file in memory");
    fuzz_need(pwrite(file, data, n_bytes, 0) == (ssize_t)n_bytes, "the file has room");
    return path;
}

void fuzz_image(fuzz_image_parse parse, const uint8_t *data, size_t n_bytes)
{
    for (int failing = 0; failing < 2; failing++) {
        ebb_memory_meter meter;
        ebb_tensor tensor;
        ebb_error error = { 0 };
        fuzz_meter_init(&meter, data, n_bytes, failing);
        ebb_status status = parse(data, n_bytes, "f.img", &meter.allocator, &tensor, &error);
        if (status == EBB_OK) {
            uint8_t sum = 0;
            for (size_t i = 0; i < ebb_tensor_bytes(&tensor); i++)
                sum ^= ((const uint8_t *)tensor.data)[i];
            fuzz_need(sum <= UINT8_MAX, "the elements can be read");
        } else {
            fuzz_need(!tensor.data && !meter.n_live, "nothing is left");
            fuzz_need(error.status == status && strncmp(error.message, "f.img: ", 7) == 0,
                      "the error names the file");
        }
        ebb_tensor_finish(&tensor);
        fuzz_need(meter.n_live == 0, "nothing leaks");
    }
}
