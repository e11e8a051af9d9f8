/* Reading .npy from memory: the same reader that ebb_npy_read uses, for fuzzing and for archives.
 */
#ifndef IO_NPY_H
#define IO_NPY_H

#include <ebb/tensor.h>

/* `bytes` (NULL only if n_bytes is 0) is the whole file; `path` is for messages. Errors: as
 * ebb_npy_read, less IO. */
ebb_status ebb_npy_parse(const void *bytes, size_t n_bytes, const char *path,
                         const ebb_allocator *allocator, ebb_tensor *tensor, ebb_error *error);

#endif
