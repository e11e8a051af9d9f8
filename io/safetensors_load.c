/* Reading a safetensors file into a store. Nothing of the file is believed: all of the header is
 * checked against the file's size, and against the store, before the store is touched. */
#include "io/safetensors.h"

#include "io/json.h"
#include "runtime/store.h"

#include <ebb/io.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One tensor of the header. */
typedef struct tensor_entry {
    const char *name; /* in the header's text */
    size_t at;        /* of the name, in the file */
    ebb_type type;
    int64_t begin, end;   /* of its data, behind the header */
    ebb_store_entry *old; /* of this name; NULL: the store has none */
    int64_t staged;       /* with `old`: place of the new data in load.staged */
} tensor_entry;

typedef struct load_job {
    ebb_store *store;
    const char *path;
    ebb_file_text *texts; /* wanted */
    int n_texts;
    const ebb_allocator *allocator;
    ebb_error *error;
    int file;
    uint64_t file_bytes;
    char *header;
    size_t header_bytes;
    tensor_entry *entries;
    int64_t n, capacity;
    const tensor_entry **order; /* [n]; in the end as the data lies */
    int64_t data_bytes;
    unsigned char *staged; /* data for entries that the store has already */
    size_t staged_bytes;
} load_job;

/* ---- the file ---- */

static ebb_status open_file(load_job *load)
{
    load->file = open(load->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (load->file < 0)
        return ebb_fail(load->error, EBB_IO, "%s: cannot be opened: %s", load->path,
                        strerror(errno));
    struct stat about;
    if (fstat(load->file, &about) != 0 || !S_ISREG(about.st_mode))
        return ebb_fail(load->error, EBB_IO, "%s: cannot be read: not a regular file", load->path);
    load->file_bytes = (uint64_t)about.st_size;
    return EBB_OK;
}

static ebb_status read_bytes(load_job *load, void *data, uint64_t size_bytes)
{
    unsigned char *next = data;
    while (size_bytes > 0) {
        ssize_t n = read(load->file, next, size_bytes < 1 << 30 ? size_bytes : 1 << 30);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ebb_fail(load->error, EBB_IO, "%s: cannot be read: %s", load->path,
                            n < 0 ? strerror(errno) : "the file changed while it was read");
        next += n;
        size_bytes -= (uint64_t)n;
    }
    return EBB_OK;
}

static ebb_status read_header(load_job *load)
{
    if (load->file_bytes < SAFETENSORS_LENGTH_BYTES)
        return ebb_fail(load->error, EBB_BAD_FORMAT,
                        "%s: byte 0: expected the 8 bytes of the header's length, found a file of "
                        "%" PRIu64 " bytes",
                        load->path, load->file_bytes);
    uint64_t length;
    ebb_status status = read_bytes(load, &length, sizeof length);
    if (status != EBB_OK)
        return status;
    uint64_t left = load->file_bytes - SAFETENSORS_LENGTH_BYTES;
    if (length > SAFETENSORS_MAX_HEADER_BYTES)
        return ebb_fail(load->error, EBB_BAD_FORMAT,
                        "%s: byte 0: a header of %" PRIu64 " bytes, more than the allowed %d",
                        load->path, length, SAFETENSORS_MAX_HEADER_BYTES);
    if (length > left)
        return ebb_fail(load->error, EBB_BAD_FORMAT,
                        "%s: byte 0: a header of %" PRIu64 " bytes, but only %" PRIu64
                        " bytes follow",
                        load->path, length, left);
    load->header_bytes = (size_t)length;
    load->data_bytes = (int64_t)(left - length);
    load->header = ebb_allocate(load->allocator, load->header_bytes);
    if (!load->header)
        return ebb_fail(load->error, EBB_OUT_OF_MEMORY, "%s: no memory for the header", load->path);
    return read_bytes(load, load->header, length);
}

/* ---- the header ---- */

static ebb_status read_dtype(load_job *load, ebb_json *json, const tensor_entry *entry,
                             ebb_dtype *dtype)
{
    char *name;
    size_t at = json->at;
    ebb_status status = ebb_json_string(json, &name);
    if (status != EBB_OK)
        return status;
    *dtype = ebb_safetensors_dtype_find(name);
    if (*dtype != EBB_NO_DTYPE)
        return EBB_OK;
    return ebb_fail(load->error, EBB_BAD_DTYPE,
                    "%s: byte %zu: tensor \"%s\": Ebb has no dtype \"%.40s\"", load->path,
                    json->offset + at, entry->name, name);
}

static ebb_status read_shape(ebb_json *json, const tensor_entry *entry, ebb_shape *shape)
{
    size_t start = json->at;
    ebb_status status = ebb_json_expect(json, '[');
    if (status != EBB_OK)
        return status;
    *shape = EBB_SCALAR;
    if (ebb_json_take(json, ']'))
        return EBB_OK;
    do {
        if (shape->rank == EBB_MAX_RANK)
            return ebb_fail(json->error, EBB_BAD_SHAPE,
                            "%s: byte %zu: tensor \"%s\" has more than %d dimensions", json->path,
                            json->offset + start, entry->name, EBB_MAX_RANK);
        if ((status = ebb_json_count(json, &shape->dims[shape->rank++])) != EBB_OK)
            return status;
    } while (ebb_json_take(json, ','));
    if ((status = ebb_json_expect(json, ']')) != EBB_OK)
        return status;
    if (!ebb_shape_is_valid(shape))
        return ebb_json_fail(json, start, "tensor \"%s\": the shape is larger than any file",
                             entry->name);
    return EBB_OK;
}

static ebb_status read_offsets(load_job *load, ebb_json *json, tensor_entry *entry)
{
    size_t start = json->at;
    ebb_status status;
    if ((status = ebb_json_expect(json, '[')) != EBB_OK ||
        (status = ebb_json_count(json, &entry->begin)) != EBB_OK ||
        (status = ebb_json_expect(json, ',')) != EBB_OK ||
        (status = ebb_json_count(json, &entry->end)) != EBB_OK ||
        (status = ebb_json_expect(json, ']')) != EBB_OK)
        return status;
    if (entry->begin > entry->end || entry->end > load->data_bytes)
        return ebb_json_fail(json, start,
                             "tensor \"%s\": data from %" PRId64 " to %" PRId64
                             ", but the file has %" PRId64 " bytes of data",
                             entry->name, entry->begin, entry->end, load->data_bytes);
    return EBB_OK;
}

/* The object behind a tensor's name: dtype, shape and data_offsets, each once, in any order. */
static ebb_status read_tensor(load_job *load, ebb_json *json, tensor_entry *entry)
{
    enum { DTYPE, SHAPE, OFFSETS, N_KEYS };
    static const char *const keys[N_KEYS] = { "dtype", "shape", "data_offsets" };
    bool seen[N_KEYS] = { false };
    size_t start = json->at;
    ebb_status status = ebb_json_expect(json, '{');
    if (status != EBB_OK)
        return status;
    do {
        size_t at = json->at;
        char *key;
        if ((status = ebb_json_string(json, &key)) != EBB_OK ||
            (status = ebb_json_expect(json, ':')) != EBB_OK)
            return status;
        int k = 0;
        while (k < N_KEYS && strcmp(key, keys[k]) != 0)
            k++;
        if (k == N_KEYS || seen[k])
            return ebb_json_fail(json, at, "tensor \"%s\": %s key \"%.40s\"", entry->name,
                                 k == N_KEYS ? "unknown" : "repeated", key);
        seen[k] = true;
        status = k == DTYPE   ? read_dtype(load, json, entry, &entry->type.dtype)
                 : k == SHAPE ? read_shape(json, entry, &entry->type.shape)
                              : read_offsets(load, json, entry);
        if (status != EBB_OK)
            return status;
    } while (ebb_json_take(json, ','));
    if ((status = ebb_json_expect(json, '}')) != EBB_OK)
        return status;
    for (int k = 0; k < N_KEYS; k++)
        if (!seen[k])
            return ebb_json_fail(json, start, "tensor \"%s\": the key \"%s\" is missing",
                                 entry->name, keys[k]);
    if ((uint64_t)(entry->end - entry->begin) != ebb_type_bytes(&entry->type)) {
        char text[EBB_TYPE_TEXT_BYTES];
        return ebb_json_fail(json, start,
                             "tensor \"%s\": %s has %zu bytes, but its data_offsets are %" PRId64
                             " apart",
                             entry->name, ebb_type_text(&entry->type, text),
                             ebb_type_bytes(&entry->type), entry->end - entry->begin);
    }
    return EBB_OK;
}

static ebb_status keep_text(load_job *load, const char *key, const char *text)
{
    for (int i = 0; i < load->n_texts; i++) {
        if (strcmp(load->texts[i].key, key) != 0 || load->texts[i].text)
            continue;
        const size_t bytes = strlen(text) + 1;
        load->texts[i].text = ebb_allocate(load->allocator, bytes);
        if (!load->texts[i].text)
            return ebb_fail(load->error, EBB_OUT_OF_MEMORY, "%s: no memory for the text \"%s\"",
                            load->path, key);
        memcpy(load->texts[i].text, text, bytes);
    }
    return EBB_OK;
}

/* Free text by name. */
static ebb_status read_metadata(load_job *load, ebb_json *json)
{
    char *key, *text;
    ebb_status status = ebb_json_expect(json, '{');
    if (status != EBB_OK || ebb_json_take(json, '}'))
        return status;
    do {
        if ((status = ebb_json_string(json, &key)) != EBB_OK ||
            (status = ebb_json_expect(json, ':')) != EBB_OK ||
            (status = ebb_json_string(json, &text)) != EBB_OK ||
            (status = keep_text(load, key, text)) != EBB_OK)
            return status;
    } while (ebb_json_take(json, ','));
    return ebb_json_expect(json, '}');
}

/* NULL when memory is out; moves the entries. */
static tensor_entry *add_entry(load_job *load)
{
    if (load->n == load->capacity) {
        int64_t capacity = load->capacity ? 2 * load->capacity : 64;
        tensor_entry *entries = ebb_allocate(load->allocator, (size_t)capacity * sizeof *entries);
        if (!entries)
            return NULL;
        if (load->n)
            memcpy(entries, load->entries, (size_t)load->n * sizeof *entries);
        ebb_release(load->allocator, load->entries, (size_t)load->capacity * sizeof *entries);
        load->entries = entries;
        load->capacity = capacity;
    }
    tensor_entry *entry = &load->entries[load->n++];
    *entry = (tensor_entry){ 0 };
    return entry;
}

static ebb_status parse_header(load_job *load)
{
    ebb_json json = { .text = load->header,
                      .end = load->header_bytes,
                      .path = load->path,
                      .offset = SAFETENSORS_LENGTH_BYTES,
                      .error = load->error };
    bool has_metadata = false;
    if (json.end == 0 || json.text[0] != '{')
        return ebb_json_fail(&json, 0, "expected '{' as the first byte of the header");
    ebb_status status = ebb_json_expect(&json, '{');
    if (status != EBB_OK)
        return status;
    if (!ebb_json_take(&json, '}')) {
        do {
            char *name;
            size_t at = json.at;
            if ((status = ebb_json_string(&json, &name)) != EBB_OK ||
                (status = ebb_json_expect(&json, ':')) != EBB_OK)
                return status;
            if (strcmp(name, SAFETENSORS_METADATA) == 0) {
                if (has_metadata)
                    return ebb_json_fail(&json, at, "repeated key \"%s\"", name);
                has_metadata = true;
                status = read_metadata(load, &json);
            } else {
                tensor_entry *entry = add_entry(load);
                if (!entry)
                    return ebb_fail(load->error, EBB_OUT_OF_MEMORY,
                                    "%s: no memory for more than %" PRId64 " tensors", load->path,
                                    load->n);
                entry->name = name;
                entry->at = json.offset + at;
                status = read_tensor(load, &json, entry);
            }
            if (status != EBB_OK)
                return status;
        } while (ebb_json_take(&json, ','));
        if ((status = ebb_json_expect(&json, '}')) != EBB_OK)
            return status;
    }
    if (!ebb_json_at_end(&json)) /* spaces may fill up the header */
        return ebb_json_fail(&json, json.at, "expected only spaces behind the header's last '}'");
    return EBB_OK;
}

/* ---- the whole ---- */

static int compare_names(const void *a, const void *b)
{
    const tensor_entry *x = *(const tensor_entry *const *)a, *y = *(const tensor_entry *const *)b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

static int compare_ranges(const void *a, const void *b)
{
    const tensor_entry *x = *(const tensor_entry *const *)a, *y = *(const tensor_entry *const *)b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* No name twice; the data in one piece, each byte of one tensor. */
static ebb_status check_entries(load_job *load)
{
    load->order = ebb_allocate(load->allocator, (size_t)load->n * sizeof *load->order);
    if (!load->order)
        return ebb_fail(load->error, EBB_OUT_OF_MEMORY,
                        "%s: no memory to check %" PRId64 " tensors", load->path, load->n);
    for (int64_t i = 0; i < load->n; i++)
        load->order[i] = &load->entries[i];
    qsort(load->order, (size_t)load->n, sizeof *load->order, compare_names);
    for (int64_t i = 1; i < load->n; i++)
        if (strcmp(load->order[i - 1]->name, load->order[i]->name) == 0)
            return ebb_fail(load->error, EBB_BAD_FORMAT, "%s: byte %zu: tensor \"%s\" comes twice",
                            load->path, load->order[i]->at, load->order[i]->name);

    qsort(load->order, (size_t)load->n, sizeof *load->order, compare_ranges);
    int64_t end = 0;
    for (int64_t i = 0; i < load->n; i++) {
        const tensor_entry *entry = load->order[i];
        if (entry->begin != end)
            return ebb_fail(load->error, EBB_BAD_FORMAT,
                            "%s: byte %zu: the data of tensor \"%s\" begins at %" PRId64
                            ", but the data before it ends at %" PRId64 " (%s)",
                            load->path, entry->at, entry->name, entry->begin, end,
                            entry->begin < end ? "they overlap" : "a gap");
        end = entry->end;
    }
    if (end != load->data_bytes)
        return ebb_fail(load->error, EBB_BAD_FORMAT,
                        "%s: byte %" PRId64 ": expected the end of the file, found %" PRId64
                        " bytes that belong to no tensor",
                        load->path, (int64_t)load->header_bytes + SAFETENSORS_LENGTH_BYTES + end,
                        load->data_bytes - end);
    return EBB_OK;
}

static ebb_status check_store(load_job *load)
{
    for (int64_t i = 0; i < load->n; i++) {
        tensor_entry *entry = &load->entries[i];
        entry->old = ebb_store_find(load->store, entry->name);
        if (!entry->old)
            continue;
        const ebb_type *type = &entry->old->type;
        if (!ebb_type_equal(type, &entry->type)) {
            char has[EBB_TYPE_TEXT_BYTES], found[EBB_TYPE_TEXT_BYTES];
            return ebb_fail(load->error,
                            type->dtype != entry->type.dtype ? EBB_BAD_DTYPE : EBB_BAD_SHAPE,
                            "%s: byte %zu: tensor \"%s\" is %s in the file, but %s in the store",
                            load->path, entry->at, entry->name, ebb_type_text(&entry->type, found),
                            ebb_type_text(type, has));
        }
        entry->staged = (int64_t)load->staged_bytes;
        load->staged_bytes += ebb_type_bytes(type);
    }
    if (load->staged_bytes > 0)
        load->staged = ebb_allocate(load->allocator, load->staged_bytes);
    if (load->staged_bytes > 0 && !load->staged)
        return ebb_fail(load->error, EBB_OUT_OF_MEMORY, "%s: no memory for %zu bytes of data",
                        load->path, load->staged_bytes);
    return EBB_OK;
}

static ebb_status read_tensor_data(load_job *load, const tensor_entry *entry, void *data)
{
    ebb_status status = read_bytes(load, data, ebb_type_bytes(&entry->type));
    if (status != EBB_OK || entry->type.dtype != EBB_BOOL)
        return status;
    const unsigned char *values = data;
    for (int64_t i = 0; i < entry->end - entry->begin; i++)
        if (values[i] > 1)
            return ebb_fail(
                load->error, EBB_BAD_FORMAT,
                "%s: byte %" PRId64 ": tensor \"%s\": expected a BOOL of 0 or 1, found %d",
                load->path,
                (int64_t)load->header_bytes + SAFETENSORS_LENGTH_BYTES + entry->begin + i,
                entry->name, values[i]);
    return EBB_OK;
}

/* New entries in the header's order, data in the file's. What may fail comes before old entries
 * change, and can be taken back. */
static ebb_status fill_store(load_job *load)
{
    int64_t n_before = ebb_store_size(load->store);
    ebb_status status = EBB_OK;
    for (int64_t i = 0; i < load->n && status == EBB_OK; i++) {
        const tensor_entry *entry = &load->entries[i];
        ebb_store_entry *added;
        ebb_error reason = { 0 };
        if (!entry->old && (status = ebb_store_add(load->store, entry->name, &entry->type, &added,
                                                   &reason)) != EBB_OK)
            ebb_fail(load->error, status, "%s: byte %zu: %s", load->path, entry->at,
                     reason.message);
    }
    for (int64_t i = 0; i < load->n && status == EBB_OK; i++) {
        const tensor_entry *entry = load->order[i];
        void *data = entry->old ? load->staged + entry->staged
                                : ebb_store_find(load->store, entry->name)->data;
        if (entry->begin < entry->end)
            status = read_tensor_data(load, entry, data);
    }
    if (status != EBB_OK) {
        ebb_store_shrink(load->store, n_before);
        return status;
    }
    for (int64_t i = 0; i < load->n; i++) {
        const tensor_entry *entry = &load->entries[i];
        if (entry->old)
            ebb_entry_write(entry->old, load->staged + entry->staged);
    }
    return EBB_OK;
}

ebb_status ebb_safetensors_read(ebb_store *store, const char *path, ebb_file_text *texts,
                                int n_texts, ebb_error *error)
{
    load_job load = { .store = store,
                      .path = path,
                      .texts = texts,
                      .n_texts = n_texts,
                      .allocator = ebb_store_allocator(store),
                      .error = error,
                      .file = -1 };
    for (int i = 0; i < n_texts; i++)
        texts[i].text = NULL;
    ebb_status status;
    if ((status = open_file(&load)) == EBB_OK && (status = read_header(&load)) == EBB_OK &&
        (status = parse_header(&load)) == EBB_OK && (status = check_entries(&load)) == EBB_OK &&
        (status = check_store(&load)) == EBB_OK)
        status = fill_store(&load);
    if (status != EBB_OK)
        ebb_file_texts_finish(texts, n_texts, load.allocator);
    ebb_release(load.allocator, load.staged, load.staged_bytes);
    ebb_release(load.allocator, load.order, (size_t)load.n * sizeof *load.order);
    ebb_release(load.allocator, load.entries, (size_t)load.capacity * sizeof *load.entries);
    ebb_release(load.allocator, load.header, load.header_bytes);
    if (load.file >= 0)
        close(load.file);
    return status;
}

void ebb_file_texts_finish(ebb_file_text *texts, int n_texts, const ebb_allocator *allocator)
{
    for (int i = 0; i < n_texts; i++) {
        if (texts[i].text)
            ebb_release(allocator, texts[i].text, strlen(texts[i].text) + 1);
        texts[i].text = NULL;
    }
}

ebb_status ebb_store_load(ebb_store *store, const char *path, ebb_error *error)
{
    if (!store || !path)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_store_load: %s is NULL",
                        store ? "path" : "store");
    return ebb_safetensors_read(store, path, NULL, 0, error);
}
