/* Files for tests. */
#include "tests/support/files.h"

#include "tests/support/runner.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

const char *file_path(const char *name)
{
    static char paths[8][PATH_MAX];
    static int next;
    char *path = paths[next++ % 8];
    int n = snprintf(path, PATH_MAX, "%s/%s", test_temporary_folder(), name);
    ck_assert_int_lt(n, PATH_MAX);
    return path;
}

const char *file_make(const char *name, const void *data, size_t n_bytes)
{
    const char *path = file_path(name);
    (void)remove(
        path); /* some file systems wait for the disk when a file is cut and written again */
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, n_bytes, file), n_bytes);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

const char *file_make_gzip(const char *name, const void *data, size_t n_bytes)
{
    const char *path = file_path(name);
    gzFile file = gzopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    if (n_bytes > 0)
        ck_assert_int_eq(gzwrite(file, data, (unsigned)n_bytes), (int)n_bytes);
    ck_assert_int_eq(gzclose(file), Z_OK);
    return path;
}

char *file_read(const char *path, size_t *n_bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    ck_assert_int_ge(size, 0);
    rewind(file);
    char *data = malloc((size_t)size + 1);
    ck_assert_ptr_nonnull(data);
    ck_assert_uint_eq(fread(data, 1, (size_t)size, file), (size_t)size);
    fclose(file);
    data[size] = 0;
    *n_bytes = (size_t)size;
    return data;
}

int file_count(void)
{
    DIR *folder = opendir(test_temporary_folder());
    ck_assert_ptr_nonnull(folder);
    int n = -2; /* . and .. */
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}
