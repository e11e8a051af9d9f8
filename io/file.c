/* Writing a file so that its final name never shows half of it: a temporary file in the same
 * folder, flushed to the disk, then renamed over the target. */
#include <ebb/io.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Leftovers of killed processes may hold names; more than this many are not plausible. */
#define MAX_NAME_TRIES 10000
/* Bytes of the target's name that the temporary name shows: its own part still fits in NAME_MAX. */
#define SHOWN_NAME_BYTES 180

typedef struct write_target {
    const char *path;
    int folder_bytes; /* length of the folder part of `path` with its slash; 0: the current folder
                       */
    bool exists;
    mode_t mode; /* of the old file */
    char temporary[PATH_MAX];
} write_target;

static ebb_status look_at_target(write_target *target, ebb_error *error)
{
    const char *slash = strrchr(target->path, '/');
    size_t folder_bytes = slash ? (size_t)(slash - target->path) + 1 : 0;
    if (target->path[folder_bytes] == 0)
        return ebb_fail(error, EBB_IO, "%s: cannot be written: the file has no name", target->path);
    if (folder_bytes > PATH_MAX - NAME_MAX - 1)
        return ebb_fail(error, EBB_IO, "%s: cannot be written: %s", target->path,
                        strerror(ENAMETOOLONG));
    target->folder_bytes = (int)folder_bytes;

    struct stat old;
    target->exists = stat(target->path, &old) == 0;
    if (target->exists && !S_ISREG(old.st_mode))
        return ebb_fail(error, EBB_IO, "%s: cannot be written: not a regular file", target->path);
    if (target->exists && access(target->path, W_OK) != 0)
        return ebb_fail(error, EBB_IO, "%s: cannot be written: %s", target->path, strerror(errno));
    target->mode = target->exists ? old.st_mode & 07777 : 0;
    return EBB_OK;
}

/* Opens a file that did not exist; -1 and errno on failure. */
static int open_temporary(write_target *target)
{
    const char *name = target->path + target->folder_bytes;
    for (int i = 0; i < MAX_NAME_TRIES; i++) {
        snprintf(target->temporary, sizeof target->temporary, "%.*s.%.*s.%ld-%d.tmp",
                 target->folder_bytes, target->path, SHOWN_NAME_BYTES, name, (long)getpid(), i);
        int file = open(target->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file >= 0 || errno != EEXIST)
            return file;
    }
    return -1;
}

/* Makes the rename itself durable. Some file systems cannot do this, and the file is whole either
 * way, so failure does not matter. */
static void sync_folder(const write_target *target)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%.*s", target->folder_bytes, target->path);
    int file = open(target->folder_bytes ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0)
        return;
    (void)fsync(file);
    close(file);
}

/* What the writer said, or what the system said about the stream. */
static ebb_status fill_stream(const write_target *target, FILE *out, ebb_file_writer write,
                              void *context, ebb_error *error)
{
    ebb_error reason = { 0 };
    errno = 0;
    ebb_status status = write(context, out, &reason);
    if (status != EBB_OK)
        return ebb_fail(error, status, "%s",
                        reason.message[0] ? reason.message : ebb_status_text(status));
    if (ferror(out) || fflush(out) != 0 || fsync(fileno(out)) != 0)
        return ebb_fail(error, EBB_IO, "%s: writing failed: %s", target->path,
                        errno ? strerror(errno) : "the stream has an error");
    return EBB_OK;
}

ebb_status ebb_file_write(const char *path, ebb_file_writer write, void *context, ebb_error *error)
{
    if (!path || !write)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_file_write: %s is NULL",
                        path ? "write" : "path");
    write_target target = { .path = path };
    ebb_status status = look_at_target(&target, error);
    if (status != EBB_OK)
        return status;

    int file = open_temporary(&target);
    if (file < 0)
        return ebb_fail(error, EBB_IO, "%s: cannot be written: %s", path, strerror(errno));
    FILE *out = fdopen(file, "wb");
    if (!out) {
        status = ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory for a stream", path);
        close(file);
        goto remove;
    }
    status = fill_stream(&target, out, write, context, error);
    if (status == EBB_OK && target.exists && fchmod(file, target.mode) != 0)
        status =
            ebb_fail(error, EBB_IO, "%s: cannot keep the file's mode: %s", path, strerror(errno));
    if (fclose(out) != 0 && status == EBB_OK)
        status = ebb_fail(error, EBB_IO, "%s: writing failed: %s", path, strerror(errno));
    if (status != EBB_OK)
        goto remove;
    if (rename(target.temporary, path) != 0) {
        status = ebb_fail(error, EBB_IO, "%s: cannot be replaced: %s", path, strerror(errno));
        goto remove;
    }
    sync_folder(&target);
    return EBB_OK;

remove:
    unlink(target.temporary);
    return status;
}
