/* NumPy's .npy files: a magic, a version, a header that is a Python dict literal, the elements.
 * The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html */
#include "io/npy.h"

#include <ebb/io.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "'<' is the order of this machine");

static const char magic[] = "\x93NUMPY"; /* without the zero */
#define MAGIC_BYTES 6
/* Version 1 has a header length of two bytes behind magic and version, the others of four. */
#define LENGTH_AT 8
#define SHORT_PREFIX_BYTES 10
#define LONG_PREFIX_BYTES 12
/* What Ebb can read needs some 200 bytes; NumPy itself stops at 10000. */
#define MAX_HEADER_BYTES 65536
#define CHUNK_BYTES 16384

/* ---- bytes of a file, or of memory ---- */

typedef struct npy_input {
    const char *path;
    int file;                   /* -1: memory */
    const unsigned char *bytes; /* of the memory */
    uint64_t at, end;
    ebb_error *error;
} npy_input;

static ebb_status fail_at(const npy_input *in, uint64_t at, ebb_status status, const char *format,
                          ...) EBB_PRINTF(4, 5);
static ebb_status fail_at(const npy_input *in, uint64_t at, ebb_status status, const char *format,
                          ...)
{
    ebb_error what;
    va_list arguments;
    va_start(arguments, format);
    ebb_fail_v(&what, status, format, arguments);
    va_end(arguments);
    return ebb_fail(in->error, status, "%s: byte %" PRIu64 ": %s", in->path, at, what.message);
}

/* The caller knows that so many bytes are there. */
static ebb_status take_bytes(npy_input *in, void *data, size_t size_bytes)
{
    unsigned char *next = data;
    if (in->file < 0 && size_bytes > 0)
        memcpy(next, in->bytes + in->at, size_bytes);
    in->at += size_bytes;
    while (in->file >= 0 && size_bytes > 0) {
        ssize_t n = read(in->file, next, size_bytes < 1 << 30 ? size_bytes : 1 << 30);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ebb_fail(in->error, EBB_IO, "%s: cannot be read: %s", in->path,
                            n < 0 ? strerror(errno) : "the file changed while it was read");
        next += n;
        size_bytes -= (size_t)n;
    }
    return EBB_OK;
}

/* ---- the header ---- */

typedef struct npy_header {
    ebb_type type;
    bool fortran_order, swapped;
    char *text; /* the dict */
    size_t at, end;
    uint64_t offset; /* of text[0] in the file */
} npy_header;

static ebb_status fail_header(const npy_input *in, const npy_header *h, size_t at,
                              const char *format, ...) EBB_PRINTF(4, 5);
static ebb_status fail_header(const npy_input *in, const npy_header *h, size_t at,
                              const char *format, ...)
{
    ebb_error what;
    va_list arguments;
    va_start(arguments, format);
    ebb_fail_v(&what, EBB_BAD_FORMAT, format, arguments);
    va_end(arguments);
    return fail_at(in, h->offset + at, EBB_BAD_FORMAT, "%s", what.message);
}

/* "'x'", "the end of the header" or "byte 0x07". */
static const char *name_next(const npy_header *h, char name[24])
{
    unsigned char c = h->at < h->end ? (unsigned char)h->text[h->at] : 0;
    if (h->at >= h->end)
        return "the end of the header";
    if (c > ' ' && c < 0x7f)
        snprintf(name, 24, "'%c'", c);
    else
        snprintf(name, 24, "byte 0x%02x", c);
    return name;
}

/* Skips white space, and gives the next character; 0 at the end. */
static char peek(npy_header *h)
{
    while (h->at < h->end && h->text[h->at] && strchr(" \t\r\n", h->text[h->at]))
        h->at++;
    return h->at < h->end ? h->text[h->at] : '\0';
}

static bool take(npy_header *h, char c)
{
    if (peek(h) != c || h->at >= h->end)
        return false;
    h->at++;
    return true;
}

static ebb_status expect(const npy_input *in, npy_header *h, char c)
{
    char name[24];
    if (take(h, c))
        return EBB_OK;
    return fail_header(in, h, h->at, "expected '%c', found %s", c, name_next(h, name));
}

#define MAX_STRING 40

/* A string in either kind of quotes, without escapes. */
static ebb_status read_string(const npy_input *in, npy_header *h, const char *what,
                              char string[MAX_STRING])
{
    char quote = peek(h), name[24];
    if (quote != '\'' && quote != '"')
        return fail_header(in, h, h->at, "expected %s as a string, found %s", what,
                           name_next(h, name));
    size_t start = h->at++, n = 0;
    while (h->at < h->end && h->text[h->at] != quote) {
        unsigned char c = (unsigned char)h->text[h->at];
        if (c < ' ' || c >= 0x7f || c == '\\')
            return fail_header(in, h, h->at, "expected %s, found %s in the string", what,
                               name_next(h, name));
        if (n == MAX_STRING - 1)
            return fail_header(in, h, start, "expected %s, found a string of more than %d bytes",
                               what, MAX_STRING - 1);
        string[n++] = (char)c;
        h->at++;
    }
    if (h->at == h->end)
        return fail_header(in, h, start, "the string has no end");
    string[n] = 0;
    h->at++;
    return EBB_OK;
}

/* What a descr of NumPy says, for those that Ebb cannot read. */
static const char *name_kind(char kind)
{
    /* clang-format off */
    static const struct {
        char kind;
        const char *name;
    } kinds[] = {
        { 'O', "Python objects" }, { 'f', "floats of another size" },
        { 'i', "integers of another size" }, { 'u', "unsigned integers of another size" },
        { 'b', "truth values of another size" }, { 'c', "complex numbers" },
        { 'S', "byte strings" }, { 'a', "byte strings" }, { 'U', "text" },
        { 'V', "raw bytes" }, { 'M', "dates" }, { 'm', "durations" },
    };
    /* clang-format on */
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].kind == kind)
            return kinds[i].name;
    return NULL;
}

static const struct {
    const char *name;
    ebb_dtype dtype;
} npy_dtypes[] = { { "f8", EBB_F64 }, { "f4", EBB_F32 }, { "i8", EBB_I64 },
                   { "i4", EBB_I32 }, { "u1", EBB_U8 },  { "b1", EBB_BOOL } };
#define N_NPY_DTYPES (sizeof npy_dtypes / sizeof *npy_dtypes)

/* '<f4': byte order, kind, size. */
static ebb_status read_descr(const npy_input *in, npy_header *h)
{
    char descr[MAX_STRING], c = peek(h);
    size_t at = h->at;
    if (c == '[' || c == '(' || c == '{')
        return fail_at(in, h->offset + at, EBB_BAD_DTYPE,
                       "arrays of records (structured dtypes) cannot be read");
    ebb_status status = read_string(in, h, "a dtype", descr);
    if (status)
        return status;
    char order = descr[0];
    if (!order || !strchr("<>|=", order))
        return fail_header(in, h, at,
                           "expected a dtype that begins with one of < > | =, found '%s'", descr);
    for (size_t i = 0; i < N_NPY_DTYPES; i++) {
        if (strcmp(descr + 1, npy_dtypes[i].name) != 0)
            continue;
        h->type.dtype = npy_dtypes[i].dtype;
        bool one_byte = ebb_dtype_bytes(h->type.dtype) == 1;
        if (order == '|' && !one_byte)
            return fail_header(in, h, at, "dtype '%s' does not say its byte order", descr);
        h->swapped = order == '>' && !one_byte;
        return EBB_OK;
    }
    const char *kind = name_kind(descr[1]);
    return fail_at(in, h->offset + at, EBB_BAD_DTYPE,
                   "dtype '%s' (%s) cannot be read; Ebb has f8, f4, i8, i4, u1 and b1", descr,
                   kind ? kind : "not known");
}

static ebb_status read_flag(const npy_input *in, npy_header *h, bool *flag)
{
    static const char *const words[] = { "False", "True" };
    char name[24];
    peek(h);
    for (int i = 0; i < 2; i++) {
        size_t n = strlen(words[i]);
        if (h->end - h->at < n || memcmp(h->text + h->at, words[i], n) != 0)
            continue;
        *flag = i;
        h->at += n;
        return EBB_OK;
    }
    return fail_header(in, h, h->at, "expected True or False, found %s", name_next(h, name));
}

/* From 0 to 2^63-1, with the L behind it that Python 2 wrote. */
static ebb_status read_count(const npy_input *in, npy_header *h, int64_t *value)
{
    char c = peek(h), name[24];
    size_t start = h->at;
    *value = 0;
    for (; h->at < h->end && (c = h->text[h->at]) >= '0' && c <= '9'; h->at++) {
        if (*value > (INT64_MAX - (c - '0')) / 10)
            return fail_header(in, h, start, "the dimension is above 2^63-1");
        *value = *value * 10 + (c - '0');
    }
    if (h->at == start)
        return fail_header(in, h, start, "expected a dimension from 0 up, found %s",
                           name_next(h, name));
    if (h->at - start > 1 && h->text[start] == '0')
        return fail_header(in, h, start, "the dimension begins with a zero");
    if (h->at < h->end && h->text[h->at] == 'L')
        h->at++;
    return EBB_OK;
}

/* (), (3,), (2, 3), (2, 3,) */
static ebb_status read_shape(const npy_input *in, npy_header *h)
{
    ebb_shape *shape = &h->type.shape;
    peek(h);
    size_t start = h->at;
    bool comma = true;
    ebb_status status = expect(in, h, '(');
    *shape = EBB_SCALAR;
    while (!status && !take(h, ')')) {
        if (!comma)
            return expect(in, h, ',');
        if (shape->rank == EBB_MAX_RANK)
            return fail_at(in, h->offset + start, EBB_BAD_SHAPE, "more than %d dimensions",
                           EBB_MAX_RANK);
        status = read_count(in, h, &shape->dims[shape->rank++]);
        comma = !status && take(h, ',');
    }
    if (status)
        return status;
    if (shape->rank == 1 && !comma)
        return fail_header(in, h, start, "expected a tuple: one dimension has a comma behind it");
    if (!ebb_shape_is_valid(shape))
        return fail_header(in, h, start, "the shape is larger than any file");
    return EBB_OK;
}

/* The dict, with its three keys in any order. */
static ebb_status read_dict(const npy_input *in, npy_header *h)
{
    enum { DESCR, ORDER, SHAPE, N_KEYS };
    static const char *const keys[N_KEYS] = { "descr", "fortran_order", "shape" };
    bool seen[N_KEYS] = { false }, comma = true;
    ebb_status status = expect(in, h, '{');
    while (!status && !take(h, '}')) {
        char key[MAX_STRING];
        if (!comma)
            return expect(in, h, ',');
        peek(h);
        size_t at = h->at;
        if ((status = read_string(in, h, "a key", key)) != EBB_OK ||
            (status = expect(in, h, ':')) != EBB_OK)
            return status;
        int k = 0;
        while (k < N_KEYS && strcmp(key, keys[k]) != 0)
            k++;
        if (k == N_KEYS || seen[k])
            return fail_header(in, h, at, "%s key '%s'", k == N_KEYS ? "unknown" : "repeated", key);
        seen[k] = true;
        status = k == DESCR   ? read_descr(in, h)
                 : k == ORDER ? read_flag(in, h, &h->fortran_order)
                              : read_shape(in, h);
        comma = !status && take(h, ',');
    }
    if (status)
        return status;
    for (int k = 0; k < N_KEYS; k++)
        if (!seen[k])
            return fail_header(in, h, 0, "the key '%s' is missing", keys[k]);
    if (peek(h) || h->at < h->end)
        return fail_header(in, h, h->at, "expected only white space behind the header's last '}'");
    return EBB_OK;
}

/* Magic, version and length; leaves in->at behind them. */
static ebb_status read_prefix(npy_input *in, uint32_t *header_bytes)
{
    unsigned char prefix[LONG_PREFIX_BYTES] = { 0 };
    if (in->end < SHORT_PREFIX_BYTES)
        return fail_at(in, in->end, EBB_BAD_FORMAT,
                       "expected at least %d bytes of an .npy file, found the end",
                       SHORT_PREFIX_BYTES);
    ebb_status status = take_bytes(in, prefix, SHORT_PREFIX_BYTES);
    if (status)
        return status;
    if (memcmp(prefix, magic, MAGIC_BYTES) != 0)
        return fail_at(in, 0, EBB_BAD_FORMAT, "expected the magic \\x93NUMPY of an .npy file");
    unsigned major = prefix[MAGIC_BYTES], minor = prefix[MAGIC_BYTES + 1];
    if (major < 1 || major > 3 || minor != 0)
        return fail_at(in, MAGIC_BYTES, EBB_BAD_FORMAT,
                       "expected format version 1.0, 2.0 or 3.0, found %u.%u", major, minor);
    size_t n = major == 1 ? SHORT_PREFIX_BYTES : LONG_PREFIX_BYTES;
    if (in->end < n)
        return fail_at(in, in->end, EBB_BAD_FORMAT,
                       "expected a header length of 4 bytes, found the end");
    if ((status = take_bytes(in, prefix + SHORT_PREFIX_BYTES, n - SHORT_PREFIX_BYTES)) != EBB_OK)
        return status;
    for (size_t i = n; i > LENGTH_AT; i--)
        *header_bytes = *header_bytes << 8 | prefix[i - 1];
    if (*header_bytes > in->end - n)
        return fail_at(in, LENGTH_AT, EBB_BAD_FORMAT,
                       "a header of %" PRIu32 " bytes, but only %" PRIu64 " bytes follow",
                       *header_bytes, in->end - n);
    if (*header_bytes > MAX_HEADER_BYTES)
        return fail_at(in, LENGTH_AT, EBB_BAD_FORMAT,
                       "a header of %" PRIu32 " bytes, more than the allowed %d", *header_bytes,
                       MAX_HEADER_BYTES);
    return EBB_OK;
}

static ebb_status read_header(npy_input *in, const ebb_allocator *allocator, npy_header *h)
{
    uint32_t header_bytes = 0;
    ebb_status status = read_prefix(in, &header_bytes);
    if (status)
        return status;
    *h = (npy_header){ .end = header_bytes, .offset = in->at };
    h->text = ebb_allocate(allocator, header_bytes);
    if (!h->text)
        return ebb_fail(in->error, EBB_OUT_OF_MEMORY, "%s: no memory for the header", in->path);
    status = take_bytes(in, h->text, header_bytes);
    if (!status)
        status = read_dict(in, h);
    ebb_release(allocator, h->text, header_bytes);
    h->text = NULL;
    return status;
}

/* ---- the elements ---- */

static ebb_status check_size(const npy_input *in, const npy_header *h)
{
    char text[EBB_TYPE_TEXT_BYTES];
    uint64_t needed = ebb_type_bytes(&h->type), found = in->end - in->at;
    ebb_type_text(&h->type, text);
    if (found < needed)
        return fail_at(in, in->end, EBB_BAD_FORMAT,
                       "%s needs %" PRIu64 " bytes of data, found the end after %" PRIu64, text,
                       needed, found);
    if (found > needed)
        return fail_at(in, in->at + needed, EBB_BAD_FORMAT,
                       "expected the end of the file behind %s, found %" PRIu64 " more bytes", text,
                       found - needed);
    return EBB_OK;
}

static void swap_bytes(void *data, size_t element_bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (element_bytes == 8) {
            uint64_t *value = (uint64_t *)data + i;
            *value = __builtin_bswap64(*value);
        } else {
            uint32_t *value = (uint32_t *)data + i;
            *value = __builtin_bswap32(*value);
        }
    }
}

/* values[0..n) are the last bytes that were taken. */
static ebb_status check_truth(const npy_input *in, const unsigned char *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (values[i] > 1)
            return fail_at(in, in->at - n + i, EBB_BAD_FORMAT,
                           "expected a truth value of 0 or 1, found %d", values[i]);
    return EBB_OK;
}

/* The file has the first dimension running fastest; the tensor the last. In constant memory. */
static ebb_status take_columns(npy_input *in, const ebb_tensor *tensor)
{
    const ebb_shape *shape = &tensor->type.shape;
    size_t size = ebb_dtype_bytes(tensor->type.dtype);
    int64_t strides[EBB_MAX_RANK], index[EBB_MAX_RANK] = { 0 }, at = 0;
    size_t left = (size_t)ebb_shape_elements(shape);
    unsigned char chunk[CHUNK_BYTES];
    ebb_shape_strides(shape, strides);
    while (left > 0) {
        size_t n = left < CHUNK_BYTES / size ? left : CHUNK_BYTES / size;
        ebb_status status = take_bytes(in, chunk, n * size);
        if (!status && tensor->type.dtype == EBB_BOOL)
            status = check_truth(in, chunk, n);
        if (status)
            return status;
        left -= n;
        for (size_t i = 0; i < n; i++) {
            memcpy((unsigned char *)tensor->data + (size_t)at * size, chunk + i * size, size);
            for (int d = 0; d < shape->rank; d++) {
                at += strides[d];
                if (++index[d] < shape->dims[d])
                    break;
                at -= strides[d] * shape->dims[d];
                index[d] = 0;
            }
        }
    }
    return EBB_OK;
}

static ebb_status read_array(npy_input *in, const ebb_allocator *allocator, ebb_tensor *tensor)
{
    npy_header h;
    ebb_tensor data;
    char text[EBB_TYPE_TEXT_BYTES];
    ebb_status status = read_header(in, allocator, &h);
    if (!status)
        status = check_size(in, &h);
    if (status)
        return status;
    status = ebb_tensor_init(&data, h.type, allocator);
    if (status)
        return ebb_fail(in->error, status, "%s: no memory for %s", in->path,
                        ebb_type_text(&h.type, text));
    size_t bytes = ebb_tensor_bytes(&data), element_bytes = ebb_dtype_bytes(h.type.dtype);
    if (h.fortran_order && h.type.shape.rank > 1) {
        status = take_columns(in, &data);
    } else {
        status = take_bytes(in, data.data, bytes);
        if (!status && h.type.dtype == EBB_BOOL)
            status = check_truth(in, data.data, bytes);
    }
    if (!status && h.swapped)
        swap_bytes(data.data, element_bytes, bytes / element_bytes);
    if (status)
        ebb_tensor_finish(&data);
    else
        *tensor = data;
    return status;
}

ebb_status ebb_npy_parse(const void *bytes, size_t n_bytes, const char *path,
                         const ebb_allocator *allocator, ebb_tensor *tensor, ebb_error *error)
{
    npy_input in = { .path = path, .file = -1, .bytes = bytes, .end = n_bytes, .error = error };
    *tensor = (ebb_tensor){ 0 };
    return read_array(&in, allocator, tensor);
}

ebb_status ebb_npy_read(const char *path, const ebb_allocator *allocator, ebb_tensor *tensor,
                        ebb_error *error)
{
    if (!path || !tensor)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_npy_read: %s is NULL",
                        path ? "tensor" : "path");
    *tensor = (ebb_tensor){ 0 };
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hang */
    if (file < 0)
        return ebb_fail(error, EBB_IO, "%s: cannot be opened: %s", path, strerror(errno));
    struct stat about;
    ebb_status status = EBB_OK;
    if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode))
        status = ebb_fail(error, EBB_IO, "%s: cannot be read: not a regular file", path);
    if (!status) {
        npy_input in = {
            .path = path, .file = file, .end = (uint64_t)about.st_size, .error = error
        };
        status = read_array(&in, allocator, tensor);
    }
    close(file);
    return status;
}

/* ---- writing ---- */

/* Data begins at a multiple of this. */
#define DATA_ALIGNMENT 64
/* With eight dimensions of 19 digits; so version 1.0, with a length of two bytes, always does. */
#define MAX_WRITTEN_BYTES 320

static ebb_status write_array(void *context, FILE *out, ebb_error *error)
{
    const ebb_tensor *tensor = context;
    const ebb_shape *shape = &tensor->type.shape;
    char header[MAX_WRITTEN_BYTES];
    (void)error; /* failures of the stream stay in the stream; ebb_file_write looks */
    size_t i = 0;
    while (i < N_NPY_DTYPES && npy_dtypes[i].dtype != tensor->type.dtype)
        i++;
    char order = ebb_dtype_bytes(tensor->type.dtype) == 1 ? '|' : '<';
    int n = snprintf(header, sizeof header, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                     order, npy_dtypes[i].name);
    for (int d = 0; d < shape->rank; d++)
        n += snprintf(header + n, sizeof header - (size_t)n, "%s%" PRId64, d ? ", " : "",
                      shape->dims[d]);
    n += snprintf(header + n, sizeof header - (size_t)n, "%s), }", shape->rank == 1 ? "," : "");
    while ((SHORT_PREFIX_BYTES + n + 1) % DATA_ALIGNMENT != 0)
        header[n++] = ' ';
    header[n++] = '\n';

    unsigned char prefix[SHORT_PREFIX_BYTES];
    memcpy(prefix, magic, MAGIC_BYTES);
    prefix[MAGIC_BYTES] = 1;
    prefix[MAGIC_BYTES + 1] = 0;
    prefix[LENGTH_AT] = (unsigned char)(n & 0xff);
    prefix[LENGTH_AT + 1] = (unsigned char)(n >> 8);
    fwrite(prefix, 1, sizeof prefix, out);
    fwrite(header, 1, (size_t)n, out);
    if (ebb_tensor_bytes(tensor) > 0)
        fwrite(tensor->data, 1, ebb_tensor_bytes(tensor), out);
    return EBB_OK;
}

ebb_status ebb_npy_write(const char *path, const ebb_tensor *tensor, ebb_error *error)
{
    if (!path || !tensor)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_npy_write: %s is NULL",
                        path ? "tensor" : "path");
    if (ebb_dtype_bytes(tensor->type.dtype) == 0)
        return ebb_fail(error, EBB_BAD_DTYPE, "%s: the tensor to be written has no dtype", path);
    if (!ebb_shape_is_valid(&tensor->type.shape))
        return ebb_fail(error, EBB_BAD_SHAPE, "%s: the tensor to be written has no valid shape",
                        path);
    if (!tensor->data && ebb_tensor_bytes(tensor) > 0)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "%s: the tensor to be written has no data", path);
    return ebb_file_write(path, write_array, (void *)(uintptr_t)tensor, error);
}
