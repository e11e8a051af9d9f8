/* Writing a store as a safetensors file. */
#include "io/safetensors.h"

#include "runtime/store.h"

#include <ebb/io.h>
#include <inttypes.h>
#include <string.h>

static const char *const dtype_names[EBB_N_DTYPES] = {
#define DTYPE_NAME(name, text, ctype, bytes) [EBB_##name] = #name,
    EBB_DTYPE_MAP(DTYPE_NAME)
};

const char *ebb_safetensors_dtype_name(ebb_dtype dtype)
{
    return dtype > EBB_NO_DTYPE && dtype < EBB_N_DTYPES ? dtype_names[dtype] : NULL;
}

ebb_dtype ebb_safetensors_dtype_find(const char *name)
{
    for (int i = EBB_NO_DTYPE + 1; i < EBB_N_DTYPES; i++)
        if (strcmp(name, dtype_names[i]) == 0)
            return (ebb_dtype)i;
    return EBB_NO_DTYPE;
}

typedef struct save_job {
    const ebb_store *store;
    const char *path;
    int64_t n;
    int64_t *offsets; /* [n], of each entry's data behind the header */
} save_job;

/* Prints to `out`, or only measures if it is NULL. */
static size_t put(FILE *out, const char *format, ...) EBB_PRINTF(2, 3);
static size_t put(FILE *out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = out ? vfprintf(out, format, arguments) : vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    return n > 0 ? (size_t)n : 0;
}

static size_t put_entry(FILE *out, const ebb_store_entry *entry, int64_t offset)
{
    const ebb_shape *shape = &entry->type.shape;
    /* Names of a store have no character that JSON would escape. */
    size_t n = put(out, "\"%s\":{\"dtype\":\"%s\",\"shape\":[", entry->name,
                   ebb_safetensors_dtype_name(entry->type.dtype));
    for (int i = 0; i < shape->rank; i++)
        n += put(out, "%s%" PRId64, i ? "," : "", shape->dims[i]);
    return n + put(out, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", offset,
                   offset + (int64_t)ebb_type_bytes(&entry->type));
}

static const ebb_store_entry *get_entry(const save_job *save, int64_t i)
{
    return ebb_store_find(save->store, ebb_store_name(save->store, i));
}

static size_t put_header(FILE *out, const save_job *save)
{
    size_t n = put(out, "{");
    for (int64_t i = 0; i < save->n; i++) {
        if (i)
            n += put(out, ",");
        n += put_entry(out, get_entry(save, i), save->offsets[i]);
    }
    n += put(out, "}");
    /* The data begins at a multiple of eight bytes. */
    while (n % 8 != 0)
        n += put(out, " ");
    return n;
}

/* Element sizes, the largest first: so all data lies aligned to its element size. */
static const size_t element_bytes[] = { 8, 4, 2, 1 };
#define N_ELEMENT_BYTES (sizeof element_bytes / sizeof *element_bytes)

static void place_data(save_job *save)
{
    int64_t offset = 0;
    for (size_t size = 0; size < N_ELEMENT_BYTES; size++)
        for (int64_t i = 0; i < save->n; i++) {
            const ebb_type *type = &get_entry(save, i)->type;
            if (ebb_dtype_bytes(type->dtype) != element_bytes[size])
                continue;
            save->offsets[i] = offset;
            offset += (int64_t)ebb_type_bytes(type);
        }
}

static void put_data(FILE *out, const save_job *save)
{
    for (size_t size = 0; size < N_ELEMENT_BYTES; size++)
        for (int64_t i = 0; i < save->n; i++) {
            const ebb_store_entry *entry = get_entry(save, i);
            if (ebb_dtype_bytes(entry->type.dtype) == element_bytes[size])
                fwrite(entry->data, 1, ebb_type_bytes(&entry->type), out);
        }
}

/* Failures of the stream stay in the stream; ebb_file_write looks. */
static ebb_status write_store(void *context, FILE *out, ebb_error *error)
{
    const save_job *save = context;
    uint64_t header_bytes = put_header(NULL, save);
    if (header_bytes > SAFETENSORS_MAX_HEADER_BYTES)
        return ebb_fail(error, EBB_LIMIT,
                        "%s: the header would have %" PRIu64 " bytes, more than %d", save->path,
                        header_bytes, SAFETENSORS_MAX_HEADER_BYTES);
    fwrite(&header_bytes, 1, sizeof header_bytes, out);
    put_header(out, save);
    put_data(out, save);
    return EBB_OK;
}

ebb_status ebb_store_save(const ebb_store *store, const char *path, ebb_error *error)
{
    if (!store || !path)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_store_save: %s is NULL",
                        store ? "path" : "store");
    const ebb_allocator *allocator = ebb_store_allocator(store);
    save_job save = { .store = store, .path = path, .n = ebb_store_size(store) };
    for (int64_t i = 0; i < save.n; i++)
        if (strcmp(ebb_store_name(store, i), SAFETENSORS_METADATA) == 0)
            return ebb_fail(error, EBB_BAD_NAME, "%s: no tensor of a file can be called \"%s\"",
                            path, SAFETENSORS_METADATA);
    size_t bytes = (size_t)save.n * sizeof *save.offsets;
    save.offsets = ebb_allocate(allocator, bytes);
    if (!save.offsets)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory to lay out %" PRId64 " tensors",
                        path, save.n);
    place_data(&save);
    ebb_status status = ebb_file_write(path, write_store, &save, error);
    ebb_release(allocator, save.offsets, bytes);
    return status;
}
