/* Examples on their way into a training: data sets in memory, splits, augmentation, and a loader
 * that prepares batches on a thread of its own. Nothing here needs a graph: what comes out are
 * tensors to feed. */
#ifndef EBB_DATA_H
#define EBB_DATA_H

#include <ebb/io.h>

EBB_BEGIN

/* ---- data sets ---- */

#define EBB_MAX_FIELDS 8

/* One tensor of a data set, and the form that its examples take in a batch. Zero is the default of
 * all but `values`. */
typedef struct ebb_field {
    const char *name;  /* for messages; default "field 0", "field 1" ... */
    ebb_tensor values; /* [n, ...]: n examples. Borrowed: they outlive the data set, unchanged */
    /* In batches. Default: that of the values; F32 if they are integers and are normalized or
     * one-hot. Integers do not become narrower unless n_classes says their range, and floats stay
     * floats. */
    ebb_dtype dtype;
    /* Of an example in batches, with as many elements; default (rank 0): as in values. */
    ebb_shape shape;
    /* Normalization: (x / divisor - mean) / std, in double, rounded once. Zero or NULL: left out.
     * One mean and std for each entry of the example's first dimension (channels or features:
     * n_channels), or one for all (n_channels 0 or 1). Copied. */
    double divisor;
    const double *mean, *std;
    int64_t n_channels;
    /* Labels: integers, each in 0..n_classes-1 (checked when the data set is made). With one_hot, a
     * last dimension [n_classes] is added: 1 at the label and 0 elsewhere; a label that was changed
     * to one out of range since has zeros only. */
    int64_t n_classes;
    bool one_hot;
} ebb_field;

typedef struct ebb_dataset ebb_dataset;

/* A data set of 1 to EBB_MAX_FIELDS fields of equal first dimension. Errors, with the field's name:
 * BAD_ARGUMENT (no examples, numbers that are not finite, std 0, normalized labels), BAD_SHAPE
 * (first dimensions differ, `shape` or n_channels do not fit), BAD_DTYPE, BAD_INDEX (a label out of
 * range: names the example), OUT_OF_MEMORY; *dataset is NULL then. */
EBB_NODISCARD EBB_API ebb_status ebb_dataset_create(const ebb_field *fields, int n_fields,
                                                    const ebb_allocator *allocator,
                                                    ebb_dataset **dataset, ebb_error *error);
EBB_API void ebb_dataset_destroy(ebb_dataset *dataset);

/* Number of examples, and of fields; 0 for NULL. */
EBB_API int64_t ebb_dataset_size(const ebb_dataset *dataset);
EBB_API int ebb_dataset_n_fields(const ebb_dataset *dataset);
/* Type of a field in a batch of n examples, not augmented; a zero struct if there is no such field.
 */
EBB_API ebb_type ebb_dataset_batch_type(const ebb_dataset *dataset, int field, int64_t n);

/* Writes the examples indices[0..n) into one tensor a field, of exactly these types; a tensor whose
 * data is NULL is left out. For loops by hand; the loader below does the same. Errors:
 * BAD_ARGUMENT, BAD_INDEX, BAD_SHAPE, BAD_DTYPE; nothing is written then. */
EBB_NODISCARD EBB_API ebb_status ebb_dataset_batch(const ebb_dataset *dataset,
                                                   const int64_t *indices, int64_t n,
                                                   const ebb_tensor *tensors, int n_tensors,
                                                   ebb_error *error);

/* Mean and standard deviation (over n, not n-1) of values / divisor, for each channel or for all
 * (n_channels 0 or 1), over the examples indices[0..n) (NULL: all, n is not used): what `mean` and
 * `std` of a field want, and of the training part alone. A channel without spread gets std 1.
 * Errors: BAD_ARGUMENT, BAD_SHAPE, BAD_DTYPE, BAD_INDEX. */
EBB_NODISCARD EBB_API ebb_status ebb_field_statistics(const ebb_field *field,
                                                      const int64_t *indices, int64_t n,
                                                      double *mean, double *std, ebb_error *error);

/* The fields of a set of images: "images", F32 [channels, height, width] divided by 255, and
 * "labels", I32 in its classes. To be changed at will before ebb_dataset_create. */
EBB_API void ebb_image_set_fields(const ebb_image_set *set, ebb_field fields[2]);

/* Deals the numbers 0..n-1, in an order drawn from the seed, into n_parts parts whose sizes are in
 * the proportion of `shares`: {6, 2, 2} for training, validation and test. indices[0..n) becomes
 * one part after the other, sizes[i] the length of part i. Sizes are rounded so that they sum to n
 * and each is within 1 of its exact share. Errors: BAD_ARGUMENT (n < 1, a share that is negative or
 * not finite, none above 0, a share above 0 that would get no example); nothing is written then. */
EBB_NODISCARD EBB_API ebb_status ebb_split_examples(int64_t n, const double *shares, int n_parts,
                                                    uint64_t seed, int64_t *indices, int64_t *sizes,
                                                    ebb_error *error);

/* ---- augmentation ---- */

/* Random changes of the images of a field, whose examples end in [height, width]. They depend on
 * the loader's seed, the epoch and the example alone, and are the same for several fields (an image
 * and its mask), but for the noise. */
typedef struct ebb_augment {
    int field;
    /* `padding` lines of `fill` are added on all four sides, then a window of crop_height x
     * crop_width (0: as the image) is cut out at a random place. With the default window this
     * shifts the image by up to `padding` in each direction. */
    int64_t padding, crop_height, crop_width;
    bool flip_horizontal, flip_vertical; /* each with probability 1/2 */
    double fill;                         /* in units of the values, before normalization */
    double noise; /* standard deviation of normal noise, in units of the batch; float fields only */
} ebb_augment;

/* ---- the loader ---- */

/* What becomes of the examples at the end of an epoch that do not fill a batch. Shapes are static:
 * a compiled graph takes batches of one size. */
typedef enum ebb_last_batch {
    EBB_LAST_DROP, /* they wait for another epoch's order; the default, for training */
    EBB_LAST_KEEP, /* a batch of its own, smaller size: for a second graph over the same store */
    EBB_LAST_WRAP, /* filled with the first examples of the epoch, again */
    EBB_LAST_PAD   /* filled with zeros behind n_examples: for exact evaluation, with a mask or by
                      counting the first n_examples alone */
} ebb_last_batch;

/* Valid until the next call with the loader. */
typedef struct ebb_batch {
    int64_t epoch, number;  /* from 0; number in the epoch */
    int64_t size;           /* first dimension of the fields */
    int64_t n_examples;     /* below size only in the last batch, with PAD */
    const int64_t *indices; /* [n_examples], of the data set */
    bool is_last;           /* of its epoch */
    int n_fields;
    const ebb_tensor *fields; /* to feed */
} ebb_batch;

/* A change of one's own to a batch: may write the values of `fields`, which are those of the batch.
 * It is called on the loader's threads, with n_threads > 1 on several at once, and must depend on
 * the batch alone. A failure comes out of the ebb_loader_next that would have given this batch. */
typedef ebb_status (*ebb_batch_edit)(void *context, const ebb_batch *batch, ebb_tensor *fields,
                                     ebb_error *error);

#define EBB_LOADER_MAX_THREADS 16
#define EBB_LOADER_MAX_QUEUE 1024

/* Zero is the default of all but `batch`. */
typedef struct ebb_loader_options {
    int64_t batch;          /* examples in a batch, >= 1 */
    const int64_t *indices; /* these examples only, a part of a split (copied); NULL: all */
    int64_t n_indices;
    bool in_order; /* every epoch as `indices` stand; else ebb_shuffle by seed and epoch */
    uint64_t seed; /* of order and augmentation */
    ebb_last_batch last;
    const ebb_augment *augments; /* at most one a field; copied */
    int n_augments;
    ebb_batch_edit edit; /* behind augmentation; NULL: none */
    void *edit_context;
    bool no_thread; /* ebb_loader_next prepares the batch itself; the values are the same */
    int n_threads;  /* that prepare batches; default 1, at most EBB_LOADER_MAX_THREADS */
    int queue;      /* batches ready ahead; default 4, at most EBB_LOADER_MAX_QUEUE */
} ebb_loader_options;

typedef struct ebb_loader ebb_loader;

/* Batches of a data set, epoch after epoch without end. All memory is taken here. The data set
 * outlives the loader. Its threads start with the first ebb_loader_next, so a loader may be made
 * before a fork but not used on both sides. One thread at a time may call with a loader. Errors:
 * BAD_ARGUMENT (a batch below 1, no examples, fewer than a batch with DROP, limits), BAD_INDEX,
 * BAD_SHAPE and BAD_DTYPE (augmentation), OUT_OF_MEMORY; *loader is NULL then. */
EBB_NODISCARD EBB_API ebb_status ebb_loader_create(const ebb_dataset *dataset,
                                                   const ebb_loader_options *options,
                                                   const ebb_allocator *allocator,
                                                   ebb_loader **loader, ebb_error *error);
/* The same for the fields of a set of images (ebb_image_set_fields), in a data set that the loader
 * owns; the images are borrowed. */
EBB_NODISCARD EBB_API ebb_status ebb_image_loader_create(const ebb_image_set *set,
                                                         const ebb_loader_options *options,
                                                         const ebb_allocator *allocator,
                                                         ebb_loader **loader, ebb_error *error);
/* At any moment; waits for its threads to finish the batches they are at. */
EBB_API void ebb_loader_destroy(ebb_loader *loader);
EBB_API const char *ebb_loader_message(const ebb_loader *loader);

/* The next batch. Errors: what `edit` returned; LIMIT (a thread cannot be started). The loader then
 * stays where it is, and the next call fails alike; ebb_loader_seek starts anew. */
EBB_NODISCARD EBB_API ebb_status ebb_loader_next(ebb_loader *loader, ebb_batch *batch);

/* Type of a field in a full batch, augmentation included; a zero struct if there is no such field.
 */
EBB_API ebb_type ebb_loader_type(const ebb_loader *loader, int field);
/* Batches in an epoch. */
EBB_API int64_t ebb_loader_n_batches(const ebb_loader *loader);
/* Of order and augmentation. */
EBB_API uint64_t ebb_loader_seed(const ebb_loader *loader);
/* Epoch and number of the batch that ebb_loader_next gives next: to be saved, and set again for an
 * exact resume. BAD_ARGUMENT: epoch below 0, or number not in 0..n_batches-1. */
EBB_API void ebb_loader_position(const ebb_loader *loader, int64_t *epoch, int64_t *number);
EBB_NODISCARD EBB_API ebb_status ebb_loader_seek(ebb_loader *loader, int64_t epoch, int64_t number);

EBB_END

#endif
