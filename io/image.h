/* Reading pictures from memory: the same readers that ebb_png_read and ebb_pnm_read use, for
 * fuzzing and tests. */
#ifndef IO_IMAGE_H
#define IO_IMAGE_H

#include <ebb/tensor.h>

/* `bytes` (NULL only if n_bytes is 0) is the whole file; `path` is for messages. Errors: as
 * ebb_png_read, less IO. */
ebb_status ebb_png_parse(const void *bytes, size_t n_bytes, const char *path,
                         const ebb_allocator *allocator, ebb_tensor *tensor, ebb_error *error);
/* The same of ebb_pnm_read. */
ebb_status ebb_pnm_parse(const void *bytes, size_t n_bytes, const char *path,
                         const ebb_allocator *allocator, ebb_tensor *tensor, ebb_error *error);

#endif
