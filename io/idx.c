/* The IDX format: two zero bytes, a type code, the rank, the dimensions as big-endian 32-bit
 * numbers, then the elements, row-major. Described on the page of the MNIST database (LeCun,
 * Cortes, Burges). */
#include <ebb/io.h>

#include "io/source.h"

#include <inttypes.h>
#include <string.h>

#define TYPE_U8 0x08

static const char *type_code_text(unsigned code)
{
    switch (code) {
    case 0x08:
        return "unsigned bytes";
    case 0x09:
        return "signed bytes";
    case 0x0b:
        return "16-bit integers";
    case 0x0c:
        return "32-bit integers";
    case 0x0d:
        return "32-bit floats";
    case 0x0e:
        return "64-bit floats";
    default:
        return "no type of the format";
    }
}

static ebb_status read_header(ebb_source *source, const char *path, ebb_shape *shape,
                              ebb_error *error)
{
    unsigned char magic[4], dims[4 * EBB_MAX_RANK];
    size_t n_read;
    ebb_status status = ebb_source_read(source, magic, sizeof magic, &n_read, error);
    if (status != EBB_OK)
        return status;
    if (n_read < sizeof magic)
        return ebb_fail(
            error, EBB_BAD_FORMAT,
            "%s: byte %zu: expected an IDX header of at least 4 bytes, found the end of "
            "the data",
            path, n_read);
    if (magic[0] != 0 || magic[1] != 0)
        return ebb_fail(error, EBB_BAD_FORMAT,
                        "%s: byte 0: expected the two zero bytes that begin an IDX file, found "
                        "0x%02x 0x%02x",
                        path, magic[0], magic[1]);
    if (magic[2] != TYPE_U8)
        return ebb_fail(error, EBB_BAD_FORMAT,
                        "%s: byte 2: expected type code 0x08 (unsigned bytes), found 0x%02x (%s)",
                        path, magic[2], type_code_text(magic[2]));
    if (magic[3] == 0 || magic[3] > EBB_MAX_RANK)
        return ebb_fail(error, EBB_BAD_FORMAT,
                        "%s: byte 3: expected a number of dimensions from 1 to %d, found %d", path,
                        EBB_MAX_RANK, magic[3]);

    size_t dims_bytes = (size_t)4 * magic[3];
    status = ebb_source_read(source, dims, dims_bytes, &n_read, error);
    if (status != EBB_OK)
        return status;
    if (n_read < dims_bytes)
        return ebb_fail(
            error, EBB_BAD_FORMAT,
            "%s: byte %zu: expected %d dimensions of 4 bytes, found the end of the data", path,
            4 + n_read, magic[3]);
    *shape = (ebb_shape){ .rank = magic[3] };
    for (int i = 0; i < shape->rank; i++)
        shape->dims[i] = (int64_t)dims[4 * i] << 24 | dims[4 * i + 1] << 16 | dims[4 * i + 2] << 8 |
                         dims[4 * i + 3];
    return EBB_OK;
}

/* Compares what the header promises with what the file holds, before any memory is asked for. */
static ebb_status check_size(ebb_source *source, const char *path, const ebb_shape *shape,
                             ebb_error *error)
{
    char text[EBB_TYPE_TEXT_BYTES];
    int64_t n = ebb_shape_elements(shape);
    if (n < 0)
        return ebb_fail(error, EBB_BAD_FORMAT,
                        "%s: byte 4: expected dimensions that a file can hold, found %s", path,
                        ebb_shape_text(shape, text));
    uint64_t found;
    ebb_status status = ebb_source_count(source, (uint64_t)n + 1, &found, error);
    if (status != EBB_OK)
        return status;
    if (found == (uint64_t)n)
        return EBB_OK;
    int header_bytes = 4 + 4 * shape->rank;
    if (found > (uint64_t)n)
        return ebb_fail(error, EBB_BAD_FORMAT,
                        "%s: byte %" PRIu64 ": expected the end of the data after %s, found more",
                        path, (uint64_t)n + (uint64_t)header_bytes, ebb_shape_text(shape, text));
    return ebb_fail(error, EBB_BAD_FORMAT,
                    "%s: byte %d: expected %" PRId64 " bytes for the dimensions %s, found %" PRIu64,
                    path, header_bytes, n, ebb_shape_text(shape, text), found);
}

ebb_status ebb_idx_read(const char *path, const ebb_allocator *allocator, ebb_tensor *tensor,
                        ebb_error *error)
{
    if (!path || !tensor)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_idx_read: %s is NULL",
                        path ? "tensor" : "path");
    *tensor = (ebb_tensor){ 0 };
    ebb_source *source;
    ebb_status status = ebb_source_open(path, allocator, &source, error);
    if (status != EBB_OK)
        return status;

    ebb_shape shape = { 0 }, again = { 0 };
    ebb_tensor data = { 0 };
    if ((status = read_header(source, path, &shape, error)) != EBB_OK ||
        (status = check_size(source, path, &shape, error)) != EBB_OK ||
        (status = ebb_source_rewind(source, error)) != EBB_OK ||
        (status = read_header(source, path, &again, error)) != EBB_OK)
        goto close;

    status = ebb_tensor_init(&data, ebb_type_of(EBB_U8, shape), allocator);
    if (status != EBB_OK) {
        char text[EBB_TYPE_TEXT_BYTES];
        status = ebb_fail(error, status, "%s: no memory for %s bytes", path,
                          ebb_shape_text(&shape, text));
        goto close;
    }
    size_t n_read;
    status = ebb_source_read(source, data.data, ebb_tensor_bytes(&data), &n_read, error);
    bool changed = n_read != ebb_tensor_bytes(&data) || !ebb_shape_equal(&shape, &again);
    if (status == EBB_OK && changed)
        status = ebb_fail(error, EBB_IO, "%s: the file changed while it was read", path);
    if (status == EBB_OK)
        *tensor = data;
    else
        ebb_tensor_finish(&data);
close:
    ebb_source_close(source);
    return status;
}
