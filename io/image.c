/* Pictures as PNG files, through libpng. libpng reports failures by longjmp: every function that
 * calls it with a jump buffer set (png_read.. and png_write.. below) keeps all that it changes in
 * the struct of its caller. */
#include "io/image.h"

#include <ebb/io.h>
#include <errno.h>
#include <fcntl.h>
#include <png.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* zlib's deflate makes one byte out of at most this many. */
#define MAX_RATIO 1032
#define MAX_SIDE 0x7fffffff

typedef struct png_work {
    const char *path;
    const ebb_allocator *allocator;
    png_structp png;
    png_infop info;
    ebb_tensor *tensor;
    /* reading */
    int file; /* -1: memory */
    const unsigned char *bytes;
    uint64_t at, n_bytes;
    /* writing */
    FILE *out;
    /* what went wrong */
    bool out_of_memory;
    int system_error;
    char message[200];
} png_work;

/* ---- what libpng calls ---- */

/* Of a block, before it: libpng does not say it when it frees one. */
typedef union block_size {
    size_t n_bytes;
    max_align_t align;
} block_size;

static png_voidp allocate_block(png_structp png, png_alloc_size_t n_bytes)
{
    png_work *work = png_get_mem_ptr(png);
    block_size *block = NULL;
    if (n_bytes <= SIZE_MAX - sizeof *block)
        block = ebb_allocate(work->allocator, n_bytes + sizeof *block);
    if (!block) {
        work->out_of_memory = true;
        return NULL;
    }
    block->n_bytes = n_bytes + sizeof *block;
    return block + 1;
}

static void release_block(png_structp png, png_voidp data)
{
    png_work *work = png_get_mem_ptr(png);
    block_size *block = data;
    if (block)
        ebb_release(work->allocator, block - 1, block[-1].n_bytes);
}

static PNG_NORETURN void stop(png_structp png, png_const_charp message)
{
    png_work *work = png_get_error_ptr(png);
    if (!work->message[0])
        snprintf(work->message, sizeof work->message, "%s", message);
    png_longjmp(png, 1);
}

static void ignore_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void take_bytes(png_structp png, png_bytep data, size_t n_bytes)
{
    png_work *work = png_get_io_ptr(png);
    if (n_bytes > work->n_bytes - work->at)
        png_error(png, "the file ends too early");
    if (work->file < 0)
        memcpy(data, work->bytes + work->at, n_bytes);
    for (size_t done = 0; work->file >= 0 && done < n_bytes;) {
        ssize_t n = read(work->file, data + done, n_bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            work->system_error = n < 0 ? errno : EIO;
            png_error(png, "the file cannot be read");
        }
        done += (size_t)n;
    }
    work->at += n_bytes;
}

static void give_bytes(png_structp png, png_bytep data, size_t n_bytes)
{
    png_work *work = png_get_io_ptr(png);
    if (fwrite(data, 1, n_bytes, work->out) != n_bytes) {
        work->system_error = errno ? errno : EIO;
        png_error(png, "the stream has an error");
    }
}

static void flush_bytes(png_structp png)
{
    (void)png; /* ebb_file_write flushes */
}

/* ---- reading ---- */

/* The message for libpng's, whatever kind of failure it was. */
static ebb_status explain(const png_work *work, ebb_error *error)
{
    if (work->out_of_memory)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory for the picture", work->path);
    if (work->system_error)
        return ebb_fail(error, EBB_IO, "%s: cannot be %s: %s", work->path,
                        work->out ? "written" : "read", strerror(work->system_error));
    return ebb_fail(error, EBB_BAD_FORMAT, "%s: byte %llu: %s", work->path,
                    (unsigned long long)work->at, work->message);
}

/* Reads up to the pixels, and asks for U8 grey or RGB. False: see work->message. */
static bool png_read_header(png_work *work)
{
    if (setjmp(png_jmpbuf(work->png)))
        return false;
    png_read_info(work->png, work->info);
    const png_byte color = png_get_color_type(work->png, work->info);
    if (png_get_bit_depth(work->png, work->info) > 8)
        png_error(work->png, "16 bits a sample; only pictures of 8 are read");
    if ((color & PNG_COLOR_MASK_ALPHA) || png_get_valid(work->png, work->info, PNG_INFO_tRNS))
        png_error(work->png, "transparent; only grey and RGB pictures are read");
    if (color == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(work->png);
    else if (color == PNG_COLOR_TYPE_GRAY)
        png_set_expand_gray_1_2_4_to_8(work->png);
    (void)png_set_interlace_handling(work->png);
    png_read_update_info(work->png, work->info);
    return true;
}

static bool png_read_pixels(png_work *work)
{
    if (setjmp(png_jmpbuf(work->png)))
        return false;
    const size_t row_bytes = png_get_rowbytes(work->png, work->info);
    const bool interlaced = png_get_interlace_type(work->png, work->info) != PNG_INTERLACE_NONE;
    const int n_passes = interlaced ? PNG_INTERLACE_ADAM7_PASSES : 1;
    for (int pass = 0; pass < n_passes; pass++)
        for (int64_t y = 0; y < work->tensor->type.shape.dims[0]; y++)
            png_read_row(work->png, (png_bytep)work->tensor->data + (size_t)y * row_bytes, NULL);
    png_read_end(work->png, NULL);
    return true;
}

/* `work` has its source. */
static ebb_status read_picture(png_work *work, ebb_error *error)
{
    ebb_status status = EBB_OK;
    work->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, work, stop, ignore_warning, work,
                                         allocate_block, release_block);
    work->info = work->png ? png_create_info_struct(work->png) : NULL;
    if (!work->info) {
        work->out_of_memory = true;
        status = explain(work, error);
        goto done;
    }
    png_set_read_fn(work->png, work, take_bytes);
    if (!png_read_header(work)) {
        status = explain(work, error);
        goto done;
    }
    const int64_t height = png_get_image_height(work->png, work->info);
    const int64_t width = png_get_image_width(work->png, work->info);
    const int64_t channels = png_get_channels(work->png, work->info);
    if ((uint64_t)height * (uint64_t)width / 8 > work->n_bytes * MAX_RATIO) {
        status = ebb_fail(error, EBB_BAD_FORMAT,
                          "%s: %lld x %lld pixels cannot be in a file of %llu bytes", work->path,
                          (long long)width, (long long)height, (unsigned long long)work->n_bytes);
        goto done;
    }
    status = ebb_tensor_init(work->tensor, ebb_type_of(EBB_U8, EBB_SHAPE(height, width, channels)),
                             work->allocator);
    if (status == EBB_OUT_OF_MEMORY)
        work->out_of_memory = true;
    if (status || !png_read_pixels(work)) {
        status = explain(work, error);
        ebb_tensor_finish(work->tensor);
    }
done:
    png_destroy_read_struct(&work->png, &work->info, NULL);
    return status;
}

ebb_status ebb_png_parse(const void *bytes, size_t n_bytes, const char *path,
                         const ebb_allocator *allocator, ebb_tensor *tensor, ebb_error *error)
{
    *tensor = (ebb_tensor){ 0 };
    png_work work = { .path = path,
                      .allocator = allocator,
                      .tensor = tensor,
                      .file = -1,
                      .bytes = bytes,
                      .n_bytes = n_bytes };
    return read_picture(&work, error);
}

ebb_status ebb_png_read(const char *path, const ebb_allocator *allocator, ebb_tensor *tensor,
                        ebb_error *error)
{
    if (tensor)
        *tensor = (ebb_tensor){ 0 };
    if (!path || !tensor)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_png_read: %s is NULL",
                        path ? "tensor" : "path");
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hang */
    if (file < 0)
        return ebb_fail(error, EBB_IO, "%s: cannot be opened: %s", path, strerror(errno));
    struct stat about;
    ebb_status status = EBB_OK;
    if (fstat(file, &about) != 0)
        status = ebb_fail(error, EBB_IO, "%s: cannot be read: %s", path, strerror(errno));
    else if (!S_ISREG(about.st_mode))
        status = ebb_fail(error, EBB_IO, "%s: cannot be read: not a regular file", path);
    if (!status) {
        png_work work = { .path = path,
                          .allocator = allocator,
                          .tensor = tensor,
                          .file = file,
                          .n_bytes = (uint64_t)about.st_size };
        status = read_picture(&work, error);
    }
    close(file);
    return status;
}

/* ---- writing ---- */

static bool png_write_picture(png_work *work)
{
    if (setjmp(png_jmpbuf(work->png)))
        return false;
    const ebb_shape *shape = &work->tensor->type.shape;
    const png_uint_32 height = (png_uint_32)shape->dims[0], width = (png_uint_32)shape->dims[1];
    const size_t channels = shape->rank > 2 ? (size_t)shape->dims[2] : 1;
    png_set_user_limits(work->png, MAX_SIDE, MAX_SIDE);
    png_set_IHDR(work->png, work->info, width, height, 8,
                 channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(work->png, work->info);
    for (size_t y = 0; y < height; y++)
        png_write_row(work->png, (png_const_bytep)work->tensor->data + y * width * channels);
    png_write_end(work->png, work->info);
    return true;
}

static ebb_status write_stream(void *context, FILE *out, ebb_error *error)
{
    png_work *work = context;
    bool written = false;
    work->out = out;
    work->png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, work, stop, ignore_warning, work,
                                          allocate_block, release_block);
    work->info = work->png ? png_create_info_struct(work->png) : NULL;
    if (work->info) {
        png_set_write_fn(work->png, work, give_bytes, flush_bytes);
        written = png_write_picture(work);
    } else {
        work->out_of_memory = true;
    }
    png_destroy_write_struct(&work->png, &work->info);
    return written ? EBB_OK : explain(work, error);
}

ebb_status ebb_png_write(const char *path, const ebb_tensor *tensor, ebb_error *error)
{
    char text[EBB_TYPE_TEXT_BYTES];
    if (!path || !tensor)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_png_write: %s is NULL",
                        path ? "tensor" : "path");
    const ebb_shape *shape = &tensor->type.shape;
    if (tensor->type.dtype != EBB_U8)
        return ebb_fail(error, EBB_BAD_DTYPE, "%s: pixels are u8, not %s", path,
                        ebb_type_text(&tensor->type, text));
    const bool fits =
        shape->rank == 2 || (shape->rank == 3 && (shape->dims[2] == 1 || shape->dims[2] == 3));
    if (!ebb_shape_is_valid(shape) || !fits || shape->dims[0] < 1 || shape->dims[1] < 1 ||
        shape->dims[0] > MAX_SIDE || shape->dims[1] > MAX_SIDE / 4)
        return ebb_fail(error, EBB_BAD_SHAPE,
                        "%s: a picture is [height,width], [height,width,1] or [height,width,3], "
                        "not empty: %s",
                        path, ebb_shape_text(shape, text));
    if (!tensor->data)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "%s: the tensor to be written has no data", path);
    ebb_tensor pixels = *tensor;
    png_work work = { .path = path, .allocator = tensor->allocator, .tensor = &pixels, .file = -1 };
    return ebb_file_write(path, write_stream, &work, error);
}
