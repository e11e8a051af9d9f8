/* What writer and reader of safetensors files share.
 * The format: https://github.com/huggingface/safetensors, section "Format". */
#ifndef IO_SAFETENSORS_H
#define IO_SAFETENSORS_H

#include "runtime/store.h"

/* Length of the header, a little-endian 64-bit number. */
#define SAFETENSORS_LENGTH_BYTES 8
/* The limit that the format's own implementation sets. */
#define SAFETENSORS_MAX_HEADER_BYTES 100000000
/* The one key that is not a tensor: free text by name. */
#define SAFETENSORS_METADATA "__metadata__"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensor data is written and read as it lies in memory");

/* "F32"; NULL if the format has no such type. */
const char *ebb_safetensors_dtype_name(ebb_dtype dtype);
/* EBB_NO_DTYPE if it is none of Ebb's. */
ebb_dtype ebb_safetensors_dtype_find(const char *name);

/* A tensor of a file. Its name is prefix (NULL: none) and name, one behind the other, together a
 * name that a store takes. */
typedef struct ebb_file_tensor {
    const char *prefix, *name;
    const ebb_type *type;
    const ebb_store_entry *entry; /* that has the value */
} ebb_file_tensor;
/* A text of the metadata. */
typedef struct ebb_file_text {
    const char *key; /* UTF-8 */
    char *text;      /* UTF-8 */
} ebb_file_text;

/* Writes a file atomically. Errors: IO (the old file stays then), BAD_NAME (a tensor called like
 * the metadata, a text that is not UTF-8), LIMIT, OUT_OF_MEMORY. */
ebb_status ebb_safetensors_write(const char *path, const ebb_file_tensor *tensors, int64_t n,
                                 const ebb_file_text *texts, int n_texts,
                                 const ebb_allocator *allocator, ebb_error *error);
/* All entries of a store, as tensors[0..ebb_store_size); returns how many. */
int64_t ebb_file_tensors_fill(ebb_file_tensor *tensors, const char *prefix, const ebb_store *store);

/* ebb_store_load that also reads texts: texts[i].text becomes a copy of what stands under
 * texts[i].key, or NULL if nothing does. All are NULL on failure. */
ebb_status ebb_safetensors_read(ebb_store *store, const char *path, ebb_file_text *texts,
                                int n_texts, ebb_error *error);
/* Releases the texts, which came with a store of this allocator. */
void ebb_file_texts_finish(ebb_file_text *texts, int n_texts, const ebb_allocator *allocator);

/* Compares what a file had, read into a store of its own, with the store that is to take it: the
 * same names and types. Of `file`, names that begin with `prefix` count, without it, and of these
 * no name that begins with `without` (NULL: all). Errors: NOT_FOUND, BAD_SHAPE, BAD_DTYPE; the
 * message names the first tensors that are missing, extra or of another type. */
ebb_status ebb_store_match(const ebb_store *store, const ebb_store *file, const char *prefix,
                           const char *without, const char *path, ebb_error *error);
/* Copies the values of a file that matches into the store. */
void ebb_store_take(ebb_store *store, const ebb_store *file, const char *prefix,
                    const char *without);

#endif
