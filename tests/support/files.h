/* Files for tests: made and read back whole. */
#ifndef TESTS_SUPPORT_FILES_H
#define TESTS_SUPPORT_FILES_H

#include <stddef.h>

/* "FOLDER/NAME" with the folder that test_temporary_folder gives; one of eight buffers, used in
 * turn. */
const char *file_path(const char *name);
/* Both write to file_path(name) and return that path. */
const char *file_make(const char *name, const void *data, size_t n_bytes);
const char *file_make_gzip(const char *name, const void *data, size_t n_bytes);
/* Reads a whole file; free the result. NULL if it cannot be read. A zero follows the data. */
char *file_read(const char *path, size_t *n_bytes);
/* Number of entries in the temporary folder. */
int file_count(void);

#endif
