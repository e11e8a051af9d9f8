/* Reading CSV from memory: the same reader that ebb_csv_read uses, for fuzzing and tests. */
#ifndef IO_CSV_H
#define IO_CSV_H

#include <ebb/io.h>

/* `bytes` (NULL only if n_bytes is 0) is the whole file; `path` is for messages. Errors: as
 * ebb_csv_read, less IO. */
ebb_status ebb_csv_parse(const char *bytes, size_t n_bytes, const char *path,
                         const ebb_csv_options *options, const ebb_allocator *allocator,
                         ebb_csv *csv, ebb_error *error);

#endif
