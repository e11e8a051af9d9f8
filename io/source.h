/* A file read from front to back, gunzipped on the way if it is a gzip file. */
#ifndef IO_SOURCE_H
#define IO_SOURCE_H

#include <ebb/memory.h>
#include <ebb/status.h>

typedef struct ebb_source ebb_source;

/* Errors: IO (cannot be opened, not a regular file), OUT_OF_MEMORY; *source is NULL then. `path`
 * must outlive the source. */
ebb_status ebb_source_open(const char *path, const ebb_allocator *allocator, ebb_source **source,
                           ebb_error *error);
void ebb_source_close(ebb_source *source);
/* Back to the first byte. */
ebb_status ebb_source_rewind(ebb_source *source, ebb_error *error);
/* Reads up to `size_bytes` uncompressed bytes; fewer only at the end. Errors: IO; BAD_FORMAT for
 * broken or truncated gzip data (the message gives the offset in the file). */
ebb_status ebb_source_read(ebb_source *source, void *data, size_t size_bytes, size_t *n_read,
                           ebb_error *error);
/* Counts the uncompressed bytes from here to the end, but at most `limit`, in constant memory; what
 * was counted is read. */
ebb_status ebb_source_count(ebb_source *source, uint64_t limit, uint64_t *n, ebb_error *error);
/* Reads a whole file, uncompressed, into memory to be released; *n_bytes may be 0. Errors: as
 * above, and LIMIT; *bytes is NULL then. */
ebb_status ebb_source_read_all(const char *path, const ebb_allocator *allocator, char **bytes,
                               size_t *n_bytes, ebb_error *error);

#endif
