/* Picking images into batches, and the order in which they come. */
#include <ebb/io.h>

#include "ops/philox.h"

#include <inttypes.h>

/* Keeps these random numbers apart from others of the same seed. */
#define SHUFFLE_STREAM UINT32_C(0x73687566)

static ebb_status check_batch(const ebb_image_set *set, const int64_t *indices, int64_t n,
                              const ebb_tensor *images, const ebb_tensor *labels, ebb_error *error)
{
    if (!set || n < 0 || (n > 0 && !indices))
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_image_set_batch: %s",
                        !set    ? "set is NULL"
                        : n < 0 ? "n is negative"
                                : "indices is NULL");
    int64_t pixels = set->channels * set->height * set->width;
    char text[EBB_TYPE_TEXT_BYTES];
    if (images && !ebb_dtype_is_float(images->type.dtype))
        return ebb_fail(error, EBB_BAD_DTYPE,
                        "ebb_image_set_batch: images must be f32 or f64, not %s",
                        ebb_type_text(&images->type, text));
    if (images && (pixels ? ebb_shape_elements(&images->type.shape) / pixels != n ||
                                ebb_shape_elements(&images->type.shape) % pixels != 0
                          : ebb_shape_elements(&images->type.shape) != 0))
        return ebb_fail(error, EBB_BAD_SHAPE,
                        "ebb_image_set_batch: images must hold %" PRId64 " images of %" PRId64
                        "x%" PRId64 "x%" PRId64 " pixels, not %s",
                        n, set->channels, set->height, set->width,
                        ebb_type_text(&images->type, text));
    if (labels && !ebb_dtype_is_integer(labels->type.dtype))
        return ebb_fail(error, EBB_BAD_DTYPE,
                        "ebb_image_set_batch: labels must be i64, i32 or u8, not %s",
                        ebb_type_text(&labels->type, text));
    if (labels && ebb_shape_elements(&labels->type.shape) != n)
        return ebb_fail(error, EBB_BAD_SHAPE,
                        "ebb_image_set_batch: labels must hold %" PRId64 " labels, not %s", n,
                        ebb_type_text(&labels->type, text));
    for (int64_t i = 0; i < n; i++)
        if (indices[i] < 0 || indices[i] >= set->n)
            return ebb_fail(error, EBB_BAD_INDEX,
                            "ebb_image_set_batch: indices[%" PRId64 "] is %" PRId64
                            ", but there are %" PRId64 " images",
                            i, indices[i], set->n);
    return EBB_OK;
}

static void copy_image_f32(const uint8_t *restrict pixels, int64_t n, float *restrict out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)pixels[i] / 255.0f;
}

static void copy_image_f64(const uint8_t *restrict pixels, int64_t n, double *restrict out)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (double)pixels[i] / 255.0;
}

static void copy_label(const ebb_tensor *labels, int64_t i, uint8_t label)
{
    if (labels->type.dtype == EBB_I64)
        ((int64_t *)labels->data)[i] = label;
    else if (labels->type.dtype == EBB_I32)
        ((int32_t *)labels->data)[i] = label;
    else
        ((uint8_t *)labels->data)[i] = label;
}

ebb_status ebb_image_set_batch(const ebb_image_set *set, const int64_t *indices, int64_t n,
                               const ebb_tensor *images, const ebb_tensor *labels, ebb_error *error)
{
    ebb_status status = check_batch(set, indices, n, images, labels, error);
    if (status != EBB_OK)
        return status;
    int64_t pixels = set->channels * set->height * set->width;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *image = (const uint8_t *)set->images.data + indices[i] * pixels;
        if (images && images->type.dtype == EBB_F32)
            copy_image_f32(image, pixels, (float *)images->data + i * pixels);
        else if (images)
            copy_image_f64(image, pixels, (double *)images->data + i * pixels);
        if (labels)
            copy_label(labels, i, ((const uint8_t *)set->labels.data)[indices[i]]);
    }
    return EBB_OK;
}

void ebb_shuffle(int64_t *indices, int64_t n, uint64_t seed, uint64_t epoch)
{
    uint32_t words[4] = { 0 };
    for (int64_t i = 0; i < n; i++)
        indices[i] = i;
    for (int64_t i = n - 1, k = 0; i > 0; i--, k++) {
        if (k % 2 == 0)
            ebb_philox(seed, SHUFFLE_STREAM, epoch, (uint32_t)(k / 2), words);
        /* The remainder favors no place by more than n / 2^64. */
        uint64_t number = (uint64_t)words[2 * (k % 2) + 1] << 32 | words[2 * (k % 2)];
        int64_t j = (int64_t)(number % ((uint64_t)i + 1));
        int64_t swapped = indices[i];
        indices[i] = indices[j];
        indices[j] = swapped;
    }
}
