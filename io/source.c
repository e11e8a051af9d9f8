/* Sequential reading of plain and gzip files. The gzip side is zlib's inflate, used directly rather
 * than through gzFile, so that its memory comes from the caller's allocator and nothing behind the
 * data goes unnoticed. */
#include "io/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* Of a file that is read into memory whole. */
#define MAX_FILE_BYTES (UINT64_C(1) << 40)
#define CHUNK_BYTES ((size_t)1 << 16)
/* inflateInit2: 15 bits of window, and 16 says gzip. */
#define GZIP_WINDOW_BITS (15 + 16)

struct ebb_source {
    const char *path;
    const ebb_allocator *allocator;
    int file;
    bool is_gzip, inflating; /* inflating: `stream` must be ended */
    bool between_members;    /* a gzip member has ended, another may follow */
    uint64_t n_taken;        /* bytes of the file handed to the caller or to inflate */
    size_t buffered, at;     /* bytes in `chunk`, and the next of them */
    z_stream stream;
    unsigned char chunk[CHUNK_BYTES];
};

/* zlib does not say the size when it releases; it stands in front of each block. */
static void *allocate_for_zlib(void *context, unsigned int items, unsigned int size)
{
    const ebb_source *source = context;
    size_t bytes = (size_t)items * size + EBB_ALIGNMENT;
    unsigned char *block = ebb_allocate(source->allocator, bytes);
    if (!block)
        return NULL;
    memcpy(block, &bytes, sizeof bytes);
    return block + EBB_ALIGNMENT;
}

static void release_for_zlib(void *context, void *data)
{
    const ebb_source *source = context;
    if (!data)
        return;
    unsigned char *block = (unsigned char *)data - EBB_ALIGNMENT;
    size_t bytes;
    memcpy(&bytes, block, sizeof bytes);
    ebb_release(source->allocator, block, bytes);
}

/* Refills an empty chunk; leaves it empty at the end of the file. */
static ebb_status fill_chunk(ebb_source *source, ebb_error *error)
{
    source->at = source->buffered = 0;
    ssize_t n;
    do {
        n = read(source->file, source->chunk, sizeof source->chunk);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return ebb_fail(error, EBB_IO, "%s: cannot be read: %s", source->path, strerror(errno));
    source->buffered = (size_t)n;
    return EBB_OK;
}

ebb_status ebb_source_rewind(ebb_source *source, ebb_error *error)
{
    if (source->inflating)
        inflateEnd(&source->stream);
    source->inflating = false;
    source->between_members = false;
    source->n_taken = 0;
    if (lseek(source->file, 0, SEEK_SET) != 0)
        return ebb_fail(error, EBB_IO, "%s: cannot be read: %s", source->path, strerror(errno));
    ebb_status status = fill_chunk(source, error);
    if (status != EBB_OK)
        return status;
    source->is_gzip = source->buffered >= 2 && source->chunk[0] == 0x1f && source->chunk[1] == 0x8b;
    if (!source->is_gzip)
        return EBB_OK;
    source->stream =
        (z_stream){ .zalloc = allocate_for_zlib, .zfree = release_for_zlib, .opaque = source };
    if (inflateInit2(&source->stream, GZIP_WINDOW_BITS) != Z_OK)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory to decompress", source->path);
    source->inflating = true;
    return EBB_OK;
}

ebb_status ebb_source_open(const char *path, const ebb_allocator *allocator, ebb_source **opened,
                           ebb_error *error)
{
    *opened = NULL;
    int file =
        open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not hang */
    if (file < 0)
        return ebb_fail(error, EBB_IO, "%s: cannot be opened: %s", path, strerror(errno));
    struct stat about;
    if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) {
        close(file);
        return ebb_fail(error, EBB_IO, "%s: cannot be read: not a regular file", path);
    }
    ebb_source *source = ebb_allocate(allocator, sizeof *source);
    if (!source) {
        close(file);
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory to read it", path);
    }
    source->path = path;
    source->allocator = allocator;
    source->file = file;
    source->inflating = false;
    ebb_status status = ebb_source_rewind(source, error);
    if (status != EBB_OK) {
        ebb_source_close(source);
        return status;
    }
    *opened = source;
    return EBB_OK;
}

void ebb_source_close(ebb_source *source)
{
    if (!source)
        return;
    if (source->inflating)
        inflateEnd(&source->stream);
    close(source->file);
    ebb_release(source->allocator, source, sizeof *source);
}

static ebb_status read_plain(ebb_source *source, unsigned char *data, size_t size_bytes,
                             size_t *n_read, ebb_error *error)
{
    while (*n_read < size_bytes) {
        if (source->at == source->buffered) {
            ebb_status status = fill_chunk(source, error);
            if (status != EBB_OK)
                return status;
            if (source->buffered == 0)
                return EBB_OK;
        }
        size_t n = source->buffered - source->at;
        if (n > size_bytes - *n_read)
            n = size_bytes - *n_read;
        memcpy(data + *n_read, source->chunk + source->at, n);
        source->at += n;
        source->n_taken += n;
        *n_read += n;
    }
    return EBB_OK;
}

static ebb_status fail_gzip(const ebb_source *source, const char *found, ebb_error *error)
{
    return ebb_fail(error, EBB_BAD_FORMAT, "%s: byte %llu: expected gzip data, found %s",
                    source->path, (unsigned long long)source->n_taken, found);
}

/* One step of inflate from the chunk into data[0..size_bytes). */
static ebb_status inflate_some(ebb_source *source, unsigned char *data, size_t size_bytes,
                               size_t *n_written, ebb_error *error)
{
    z_stream *stream = &source->stream;
    unsigned int room = size_bytes < CHUNK_BYTES ? (unsigned int)size_bytes : CHUNK_BYTES;
    stream->next_in = source->chunk + source->at;
    stream->avail_in = (unsigned int)(source->buffered - source->at);
    stream->next_out = data;
    stream->avail_out = room;
    int result = inflate(stream, Z_NO_FLUSH);
    size_t at = source->buffered - stream->avail_in;
    source->n_taken += at - source->at;
    source->at = at;
    *n_written = room - stream->avail_out;
    switch (result) {
    case Z_STREAM_END:
        source->between_members = true;
        return EBB_OK;
    case Z_OK:
    case Z_BUF_ERROR: /* no progress without more input */
        return EBB_OK;
    case Z_MEM_ERROR:
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory to decompress", source->path);
    default:
        return fail_gzip(source, stream->msg ? stream->msg : "damaged data", error);
    }
}

static ebb_status read_gzip(ebb_source *source, unsigned char *data, size_t size_bytes,
                            size_t *n_read, ebb_error *error)
{
    while (*n_read < size_bytes) {
        if (source->at == source->buffered) {
            ebb_status status = fill_chunk(source, error);
            if (status != EBB_OK)
                return status;
            if (source->buffered == 0)
                return source->between_members ? EBB_OK
                                               : fail_gzip(source, "the end of the file", error);
        }
        if (source->between_members) {
            if (inflateReset(&source->stream) != Z_OK)
                return fail_gzip(source, "a broken stream", error);
            source->between_members = false;
        }
        size_t n_written = 0;
        ebb_status status =
            inflate_some(source, data + *n_read, size_bytes - *n_read, &n_written, error);
        if (status != EBB_OK)
            return status;
        *n_read += n_written;
    }
    return EBB_OK;
}

ebb_status ebb_source_read(ebb_source *source, void *data, size_t size_bytes, size_t *n_read,
                           ebb_error *error)
{
    *n_read = 0;
    return source->is_gzip ? read_gzip(source, data, size_bytes, n_read, error)
                           : read_plain(source, data, size_bytes, n_read, error);
}

ebb_status ebb_source_count(ebb_source *source, uint64_t limit, uint64_t *n, ebb_error *error)
{
    unsigned char sink[4096];
    *n = 0;
    while (*n < limit) {
        size_t wanted = limit - *n < sizeof sink ? (size_t)(limit - *n) : sizeof sink;
        size_t n_read;
        ebb_status status = ebb_source_read(source, sink, wanted, &n_read, error);
        if (status != EBB_OK)
            return status;
        *n += n_read;
        if (n_read < wanted)
            break;
    }
    return EBB_OK;
}

ebb_status ebb_source_read_all(const char *path, const ebb_allocator *allocator, char **bytes,
                               size_t *n_bytes, ebb_error *error)
{
    ebb_source *source;
    uint64_t size = 0;
    *bytes = NULL;
    *n_bytes = 0;
    ebb_status status = ebb_source_open(path, allocator, &source, error);
    if (status != EBB_OK)
        return status;
    status = ebb_source_count(source, MAX_FILE_BYTES + 1, &size, error);
    if (status == EBB_OK && size > MAX_FILE_BYTES)
        status = ebb_fail(error, EBB_LIMIT, "%s: larger than %llu bytes", path,
                          (unsigned long long)MAX_FILE_BYTES);
    if (status == EBB_OK)
        status = ebb_source_rewind(source, error);
    if (status == EBB_OK) {
        *bytes = ebb_allocate(allocator, (size_t)size);
        if (!*bytes)
            status = ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory for %llu bytes", path,
                              (unsigned long long)size);
    }
    if (status == EBB_OK) {
        status = ebb_source_read(source, *bytes, (size_t)size, n_bytes, error);
        if (status == EBB_OK && *n_bytes != size)
            status = ebb_fail(error, EBB_IO, "%s: became shorter while it was read", path);
        if (status != EBB_OK) {
            ebb_release(allocator, *bytes, (size_t)size);
            *bytes = NULL;
            *n_bytes = 0;
        }
    }
    ebb_source_close(source);
    return status;
}
