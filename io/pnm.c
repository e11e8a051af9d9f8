/* Pictures as PGM and PPM (Netpbm's formats P2, P3, P5 and P6; the manual pages pgm(5), ppm(5)). */
#include "io/image.h"

#include "io/source.h"

#include <ebb/io.h>
#include <inttypes.h>
#include <string.h>

#define MAX_SIDE 1000000

typedef struct scanner {
    const uint8_t *bytes;
    size_t at, n;
    const char *path;
    ebb_error *error;
} scanner;

static ebb_status fail(const scanner *s, const char *what)
{
    return ebb_fail(s->error, EBB_BAD_FORMAT, "%s: byte %zu: %s", s->path, s->at, what);
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A decimal number of at most `top`, with white space and comments (# to the end of the line)
 * before it. */
static ebb_status read_number(scanner *s, int64_t top, const char *what, int64_t *number)
{
    while (s->at < s->n && (is_space(s->bytes[s->at]) || s->bytes[s->at] == '#'))
        if (s->bytes[s->at++] == '#')
            while (s->at < s->n && s->bytes[s->at] != '\n')
                s->at++;
    const size_t first = s->at;
    *number = 0;
    while (s->at < s->n && s->bytes[s->at] >= '0' && s->bytes[s->at] <= '9' && *number <= top)
        *number = *number * 10 + (s->bytes[s->at++] - '0');
    if (s->at > first && *number <= top)
        return EBB_OK;
    s->at = first;
    return ebb_fail(s->error, EBB_BAD_FORMAT, "%s: byte %zu: expected %s, at most %" PRId64,
                    s->path, s->at, what, top);
}

static ebb_status read_samples(scanner *s, bool is_text, int64_t top, const ebb_tensor *tensor)
{
    uint8_t *out = tensor->data;
    const int64_t n = (int64_t)ebb_tensor_bytes(tensor);
    for (int64_t i = 0; i < n; i++) {
        int64_t sample;
        if (is_text) {
            const ebb_status status = read_number(s, top, "a sample", &sample);
            if (status != EBB_OK)
                return status;
        } else {
            sample = s->bytes[s->at++];
            if (sample > top) {
                s->at--;
                return fail(s, "a sample above the largest one that the header states");
            }
        }
        out[i] = (uint8_t)((sample * 255 + top / 2) / top);
    }
    return EBB_OK;
}

ebb_status ebb_pnm_parse(const void *bytes, size_t n_bytes, const char *path,
                         const ebb_allocator *allocator, ebb_tensor *tensor, ebb_error *error)
{
    scanner s = { bytes, 0, n_bytes, path, error };
    int64_t width, height, top;
    *tensor = (ebb_tensor){ 0 };
    if (n_bytes < 3 || s.bytes[0] != 'P' || !memchr("2356", s.bytes[1], 4))
        return fail(&s, "expected P2, P3, P5 or P6 of a PGM or PPM picture");
    const bool is_text = s.bytes[1] <= '3', is_color = s.bytes[1] == '3' || s.bytes[1] == '6';
    s.at = 2;
    ebb_status status = read_number(&s, MAX_SIDE, "the width", &width);
    if (status == EBB_OK)
        status = read_number(&s, MAX_SIDE, "the height", &height);
    if (status == EBB_OK)
        status = read_number(&s, 65535, "the largest sample", &top);
    if (status != EBB_OK)
        return status;
    if (width < 1 || height < 1 || top < 1)
        return fail(&s, "width, height and the largest sample must be above 0");
    if (top > 255)
        return fail(&s, "16 bits a sample; only pictures of 8 are read");
    if (s.at == s.n || !is_space(s.bytes[s.at]))
        return fail(&s, "expected white space behind the header");
    s.at++;
    const int64_t channels = is_color ? 3 : 1, n = width * height * channels;
    /* A sample takes a byte; as text a digit and a blank, but for the last one. */
    const size_t n_left = s.n - s.at;
    if (is_text ? (uint64_t)n > n_left / 2 + 1 : (uint64_t)n > n_left)
        return fail(&s, "the file is too short for its samples");
    if (!is_text && (uint64_t)n < n_left)
        return fail(&s, "the file goes on behind its samples");
    const ebb_type type = ebb_type_of(EBB_U8, EBB_SHAPE(height, width, channels));
    status = ebb_tensor_init(tensor, type, allocator);
    if (status != EBB_OK)
        return ebb_fail(error, status, "%s: no memory for the picture", path);
    status = read_samples(&s, is_text, top, tensor);
    if (status != EBB_OK)
        ebb_tensor_finish(tensor);
    return status;
}

ebb_status ebb_pnm_read(const char *path, const ebb_allocator *allocator, ebb_tensor *tensor,
                        ebb_error *error)
{
    if (tensor)
        *tensor = (ebb_tensor){ 0 };
    if (!path || !tensor)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_pnm_read: %s is NULL",
                        path ? "tensor" : "path");
    char *bytes;
    size_t n_bytes;
    ebb_status status = ebb_source_read_all(path, allocator, &bytes, &n_bytes, error);
    if (status != EBB_OK)
        return status;
    status = ebb_pnm_parse(bytes, n_bytes, path, allocator, tensor, error);
    ebb_release(allocator, bytes, n_bytes);
    return status;
}
