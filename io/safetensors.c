/* Writing tensors as a safetensors file. */
#include "io/safetensors.h"

#include "io/json.h"
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
    const ebb_file_tensor *tensors;
    int64_t n;
    const ebb_file_text *texts;
    int n_texts;
    const char *path;
    const ebb_allocator *allocator;
    int64_t *offsets; /* [n], of each tensor's data behind the header */
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

/* `text` is UTF-8. */
static size_t put_string(FILE *out, const char *text)
{
    size_t n = put(out, "\"");
    while (*text) {
        size_t plain = 0; /* bytes that stand for themselves */
        while ((unsigned char)text[plain] >= ' ' && text[plain] != '"' && text[plain] != '\\')
            plain++;
        if (out)
            fwrite(text, 1, plain, out);
        n += plain;
        text += plain;
        if (*text)
            n += put(out, "\\u%04x", *text++);
    }
    return n + put(out, "\"");
}

static size_t put_tensor(FILE *out, const ebb_file_tensor *tensor, int64_t offset)
{
    const ebb_shape *shape = &tensor->type->shape;
    /* Names of a store have no character that JSON would escape. */
    size_t n =
        put(out, "\"%s%s\":{\"dtype\":\"%s\",\"shape\":[", tensor->prefix ? tensor->prefix : "",
            tensor->name, ebb_safetensors_dtype_name(tensor->type->dtype));
    for (int i = 0; i < shape->rank; i++)
        n += put(out, "%s%" PRId64, i ? "," : "", shape->dims[i]);
    return n + put(out, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", offset,
                   offset + (int64_t)ebb_type_bytes(tensor->type));
}

static size_t put_header(FILE *out, const save_job *save)
{
    size_t n = put(out, "{");
    for (int i = 0; i < save->n_texts; i++) {
        n += put(out, i ? "," : "\"" SAFETENSORS_METADATA "\":{");
        n += put_string(out, save->texts[i].key);
        n += put(out, ":");
        n += put_string(out, save->texts[i].text);
    }
    if (save->n_texts)
        n += put(out, "}");
    for (int64_t i = 0; i < save->n; i++) {
        if (i || save->n_texts)
            n += put(out, ",");
        n += put_tensor(out, &save->tensors[i], save->offsets[i]);
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
            const ebb_type *type = save->tensors[i].type;
            if (ebb_dtype_bytes(type->dtype) != element_bytes[size])
                continue;
            save->offsets[i] = offset;
            offset += (int64_t)ebb_type_bytes(type);
        }
}

/* `row_major`: room for the largest tensor that lies otherwise. */
static void put_data(FILE *out, const save_job *save, void *row_major)
{
    for (size_t size = 0; size < N_ELEMENT_BYTES; size++)
        for (int64_t i = 0; i < save->n; i++) {
            const ebb_file_tensor *tensor = &save->tensors[i];
            if (ebb_dtype_bytes(tensor->type->dtype) != element_bytes[size])
                continue;
            const void *data = tensor->entry->data;
            if (!ebb_entry_is_plain(tensor->entry)) {
                ebb_entry_read(tensor->entry, row_major);
                data = row_major;
            }
            fwrite(data, 1, ebb_type_bytes(tensor->type), out);
        }
}

static size_t most_reordered_bytes(const save_job *save)
{
    size_t most = 0;
    for (int64_t i = 0; i < save->n; i++) {
        const size_t bytes = ebb_type_bytes(save->tensors[i].type);
        if (!ebb_entry_is_plain(save->tensors[i].entry) && bytes > most)
            most = bytes;
    }
    return most;
}

/* Failures of the stream stay in the stream; ebb_file_write looks. */
static ebb_status write_tensors(void *context, FILE *out, ebb_error *error)
{
    const save_job *save = context;
    uint64_t header_bytes = put_header(NULL, save);
    if (header_bytes > SAFETENSORS_MAX_HEADER_BYTES)
        return ebb_fail(error, EBB_LIMIT,
                        "%s: the header would have %" PRIu64 " bytes, more than %d", save->path,
                        header_bytes, SAFETENSORS_MAX_HEADER_BYTES);
    const size_t bytes = most_reordered_bytes(save);
    void *row_major = ebb_allocate(save->allocator, bytes);
    if (!row_major)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory for a tensor of %zu bytes",
                        save->path, bytes);
    fwrite(&header_bytes, 1, sizeof header_bytes, out);
    put_header(out, save);
    put_data(out, save, row_major);
    ebb_release(save->allocator, row_major, bytes);
    return EBB_OK;
}

static bool is_utf8(const char *text)
{
    size_t n = strlen(text), length;
    for (; n > 0; text += length, n -= length)
        if ((length = ebb_utf8_length(text, n)) == 0)
            return false;
    return true;
}

ebb_status ebb_safetensors_write(const char *path, const ebb_file_tensor *tensors, int64_t n,
                                 const ebb_file_text *texts, int n_texts,
                                 const ebb_allocator *allocator, ebb_error *error)
{
    save_job save = { .tensors = tensors,
                      .n = n,
                      .texts = texts,
                      .n_texts = n_texts,
                      .path = path,
                      .allocator = allocator };
    for (int64_t i = 0; i < n; i++)
        if (!tensors[i].prefix && strcmp(tensors[i].name, SAFETENSORS_METADATA) == 0)
            return ebb_fail(error, EBB_BAD_NAME, "%s: no tensor of a file can be called \"%s\"",
                            path, SAFETENSORS_METADATA);
    for (int i = 0; i < n_texts; i++)
        if (!is_utf8(texts[i].text))
            return ebb_fail(error, EBB_BAD_NAME, "%s: the text \"%s\" is not UTF-8", path,
                            texts[i].key);
    size_t bytes = (size_t)n * sizeof *save.offsets;
    save.offsets = ebb_allocate(allocator, bytes);
    if (!save.offsets)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory to lay out %" PRId64 " tensors",
                        path, n);
    place_data(&save);
    ebb_status status = ebb_file_write(path, write_tensors, &save, error);
    ebb_release(allocator, save.offsets, bytes);
    return status;
}

int64_t ebb_file_tensors_fill(ebb_file_tensor *tensors, const char *prefix, const ebb_store *store)
{
    const int64_t n = ebb_store_size(store);
    for (int64_t i = 0; i < n; i++) {
        const ebb_store_entry *entry = ebb_store_find(store, ebb_store_name(store, i));
        tensors[i] = (ebb_file_tensor){ prefix, entry->name, &entry->type, entry };
    }
    return n;
}

ebb_status ebb_store_save(const ebb_store *store, const char *path, ebb_error *error)
{
    if (!store || !path)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_store_save: %s is NULL",
                        store ? "path" : "store");
    const ebb_allocator *allocator = ebb_store_allocator(store);
    const size_t bytes = (size_t)ebb_store_size(store) * sizeof(ebb_file_tensor);
    ebb_file_tensor *tensors = ebb_allocate(allocator, bytes);
    if (!tensors)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory to lay out %" PRId64 " tensors",
                        path, ebb_store_size(store));
    const int64_t n = ebb_file_tensors_fill(tensors, NULL, store);
    ebb_status status = ebb_safetensors_write(path, tensors, n, NULL, 0, allocator, error);
    ebb_release(allocator, tensors, bytes);
    return status;
}
