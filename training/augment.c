/* Random changes of images. What happens to an example is a function of (seed, epoch, index). */
#include "ops/random.h"

#include "ops/philox.h"
#include "training/dataset.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Keep these random numbers apart from others of the same seed; noise has a stream for each field
 * behind NOISE_STREAM. */
#define AUGMENT_STREAM UINT32_C(0x61756701)
#define NOISE_STREAM UINT32_C(0x6e6f6900)

#define MAX_PADDING 1000000

/* ---- checks ---- */

#define FAIL(status, ...) ebb_fail(error, status, "augmentation of \"%s\"" __VA_ARGS__)

ebb_status ebb_augment_check(const ebb_augment *augment, const ebb_form *form, ebb_shape *shape,
                             ebb_error *error)
{
    char text[EBB_TYPE_TEXT_BYTES];
    const int rank = form->shape.rank;
    *shape = form->shape;
    if (!(augment->noise >= 0 && isfinite(augment->noise)))
        return FAIL(EBB_BAD_ARGUMENT, ": noise %g is negative or not finite", form->name,
                    augment->noise);
    if (augment->noise > 0 && (!ebb_dtype_is_float(form->dtype) || form->one_hot))
        return FAIL(EBB_BAD_DTYPE, ": noise needs float values: %s%s", form->name,
                    form->one_hot ? "one-hot " : "", ebb_dtype_name(form->dtype));
    if (!isfinite(augment->fill))
        return FAIL(EBB_BAD_ARGUMENT, ": fill %g is not finite", form->name, augment->fill);
    if (form->n_classes > 0 && !(augment->fill >= 0 && augment->fill < (double)form->n_classes))
        return FAIL(EBB_BAD_ARGUMENT, ": fill %g is not a label in 0..%" PRId64, form->name,
                    augment->fill, form->n_classes - 1);
    if (augment->padding < 0 || augment->crop_height < 0 || augment->crop_width < 0)
        return FAIL(EBB_BAD_ARGUMENT,
                    ": padding %" PRId64 ", crop_height %" PRId64 " and crop_width %" PRId64
                    " must be at least 0",
                    form->name, augment->padding, augment->crop_height, augment->crop_width);
    if (!augment->padding && !augment->crop_height && !augment->crop_width &&
        !augment->flip_horizontal && !augment->flip_vertical)
        return EBB_OK;
    if (rank < 2)
        return FAIL(EBB_BAD_SHAPE, ": examples %s are not [..., height, width]", form->name,
                    ebb_shape_text(shape, text));
    if (rank < 3 && form->n_channels > 1)
        return FAIL(EBB_BAD_SHAPE, ": examples %s have their channels in the height", form->name,
                    ebb_shape_text(shape, text));
    if (augment->padding > MAX_PADDING)
        return FAIL(EBB_BAD_ARGUMENT, ": padding %" PRId64 " is above %d", form->name,
                    augment->padding, MAX_PADDING);
    const int64_t crop[2] = { augment->crop_height, augment->crop_width };
    for (int i = 0; i < 2; i++) {
        int64_t *side = &shape->dims[rank - 2 + i];
        if (crop[i] > *side + 2 * augment->padding)
            return FAIL(EBB_BAD_SHAPE,
                        ": a window of %" PRId64 "x%" PRId64 " does not fit examples %s with "
                        "padding %" PRId64,
                        form->name, crop[0], crop[1], ebb_shape_text(&form->shape, text),
                        augment->padding);
        if (crop[i] > 0)
            *side = crop[i];
    }
    return EBB_OK;
}

/* ---- what happens ---- */

uint64_t ebb_augment_key(uint64_t seed, uint64_t epoch)
{
    uint32_t words[4];
    ebb_philox(seed, AUGMENT_STREAM, epoch, 0, words);
    return (uint64_t)words[1] << 32 | words[0];
}

/* 0..n-1; n < 2^32. No number is favored by more than n / 2^32. */
static int64_t draw_below(uint32_t word, int64_t n)
{
    return (int64_t)(((uint64_t)word * (uint64_t)n) >> 32);
}

/* One side of the window: line i of it is line first + i * step of the image. */
typedef struct lines {
    int64_t first, step, n;
} lines;

static lines draw_lines(uint32_t place, bool flip, int64_t side, int64_t padding, int64_t window)
{
    const int64_t offset = draw_below(place, side + 2 * padding - window + 1) - padding;
    return flip ? (lines){ offset + window - 1, -1, window } : (lines){ offset, 1, window };
}

static void put(void *out, int64_t at, const void *value, size_t n_bytes)
{
    memcpy((char *)out + (size_t)at * n_bytes, value, n_bytes);
}

/* One line of the result from a line of the image, n_bytes an element. */
static void move_line(const char *source, int64_t width, lines x, const void *fill, size_t n_bytes,
                      char *out)
{
    if (x.step == 1) {
        const int64_t before = x.first < 0 ? (x.first + x.n < 0 ? x.n : -x.first) : 0;
        int64_t end = width - x.first < x.n ? width - x.first : x.n;
        end = end < before ? before : end;
        for (int64_t i = 0; i < before; i++)
            put(out, i, fill, n_bytes);
        if (end > before)
            memcpy(out + (size_t)before * n_bytes, source + (size_t)(x.first + before) * n_bytes,
                   (size_t)(end - before) * n_bytes);
        for (int64_t i = end; i < x.n; i++)
            put(out, i, fill, n_bytes);
        return;
    }
    for (int64_t i = 0; i < x.n; i++) {
        const int64_t at = x.first - i;
        put(out, i, at >= 0 && at < width ? source + (size_t)at * n_bytes : fill, n_bytes);
    }
}

void ebb_augment_move(const ebb_augment *augment, const ebb_form *form, const ebb_shape *shape,
                      uint64_t key, int64_t index, void *out)
{
    const ebb_dtype dtype = form->values.type.dtype;
    const size_t n_bytes = ebb_dtype_bytes(dtype);
    const char *source = ebb_form_example(form, index);
    const int rank = shape->rank;
    if (rank < 2) {
        memcpy(out, source, (size_t)form->n_elements * n_bytes);
        return;
    }
    const int64_t height = form->shape.dims[rank - 2], width = form->shape.dims[rank - 1];
    uint32_t words[4];
    ebb_philox(key, AUGMENT_STREAM, (uint64_t)index, 0, words);
    const lines y = draw_lines(words[0], augment->flip_vertical && words[2] & 1, height,
                               augment->padding, shape->dims[rank - 2]);
    const lines x = draw_lines(words[1], augment->flip_horizontal && words[2] & 2, width,
                               augment->padding, shape->dims[rank - 1]);
    double fill_value = 0; /* room for any dtype */
    const ebb_tensor fill = ebb_tensor_borrow(dtype, EBB_SCALAR, &fill_value);
    ebb_tensor_set(&fill, 0, augment->fill);
    int64_t n_planes = 1;
    for (int i = 0; i < rank - 2; i++)
        n_planes *= shape->dims[i];
    char *line = out;
    for (int64_t plane = 0; plane < n_planes; plane++)
        for (int64_t i = 0; i < y.n; i++) {
            const int64_t at = y.first + i * y.step;
            if (at >= 0 && at < height)
                move_line(source + (size_t)((plane * height + at) * width) * n_bytes, width, x,
                          &fill_value, n_bytes, line);
            else
                for (int64_t k = 0; k < x.n; k++)
                    put(line, k, &fill_value, n_bytes);
            line += (size_t)x.n * n_bytes;
        }
}

void ebb_augment_noise(const ebb_augment *augment, ebb_dtype dtype, uint64_t key, int64_t index,
                       int64_t n, void *values)
{
    enum { CHUNK = 256 };
    const ebb_random_key numbers = { key, (uint64_t)index,
                                     NOISE_STREAM + (uint32_t)augment->field };
    for (int64_t done = 0; done < n; done += CHUNK) {
        const int64_t count = n - done < CHUNK ? n - done : CHUNK;
        double f64[CHUNK];
        float f32[CHUNK];
        ebb_random_fill(dtype, true, numbers, done, count,
                        dtype == EBB_F32 ? (void *)f32 : (void *)f64);
        for (int64_t i = 0; i < count; i++)
            if (dtype == EBB_F32)
                ((float *)values)[done + i] += (float)augment->noise * f32[i];
            else
                ((double *)values)[done + i] += augment->noise * f64[i];
    }
}
