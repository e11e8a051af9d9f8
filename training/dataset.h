/* Between the files of training/ that prepare batches. */
#ifndef TRAINING_DATASET_H
#define TRAINING_DATASET_H

#include <ebb/data.h>

enum { FIELD_NAME_BYTES = 64 };

/* How an example of a field gets its form in a batch. */
typedef enum ebb_form_kind {
    EBB_FORM_COPY,    /* the same bytes */
    EBB_FORM_TABLE,   /* U8 by a table of 256 floats a channel */
    EBB_FORM_ONE_HOT, /* labels */
    EBB_FORM_CONVERT  /* through doubles */
} ebb_form_kind;

typedef struct ebb_form {
    char name[FIELD_NAME_BYTES];
    ebb_tensor values;  /* borrowed */
    ebb_dtype dtype;    /* in batches */
    ebb_shape shape;    /* of an example in a batch, without the classes of one-hot */
    int64_t n_elements; /* of an example in `values` */
    ebb_form_kind kind;
    bool one_hot, is_normalized;
    int64_t n_classes, n_channels;
    double divisor;
    double *mean, *std; /* [n_channels]; owned */
    void *table;        /* [n_channels][256], of dtype; owned */
} ebb_form;

struct ebb_dataset {
    const ebb_allocator *allocator;
    int64_t n;
    int n_fields;
    ebb_form forms[EBB_MAX_FIELDS];
};

/* Fills form->table from the other members. */
void ebb_form_fill_table(ebb_form *form);
/* Writes one example of n elements at `source` in its form. n is n_elements unless the example was
 * cropped; it is a multiple of n_channels. */
void ebb_form_write(const ebb_form *form, const void *source, int64_t n, void *out);
static inline const void *ebb_form_example(const ebb_form *form, int64_t index)
{
    const size_t bytes = (size_t)form->n_elements * ebb_dtype_bytes(form->values.type.dtype);
    return (const char *)form->values.data + (size_t)index * bytes;
}
/* Of an example whose form is `shape`. */
int64_t ebb_form_out_elements(const ebb_form *form, const ebb_shape *shape);
/* Of n examples whose form is `shape`. */
ebb_type ebb_form_batch_type(const ebb_form *form, const ebb_shape *shape, int64_t n);

/* n elements of any dtype as doubles. */
void ebb_load_doubles(ebb_dtype dtype, const void *data, int64_t first, int64_t n, double *out);

/* ---- augmentation ---- */

/* Checks, and sets *shape to that of an augmented example. */
ebb_status ebb_augment_check(const ebb_augment *augment, const ebb_form *form, ebb_shape *shape,
                             ebb_error *error);
/* The numbers of an epoch. */
uint64_t ebb_augment_key(uint64_t seed, uint64_t epoch);
/* Writes the changed source values of example `index`, of the dtype of the field's values. */
void ebb_augment_move(const ebb_augment *augment, const ebb_form *form, const ebb_shape *shape,
                      uint64_t key, int64_t index, void *out);
/* Adds noise to n floats in their form. */
void ebb_augment_noise(const ebb_augment *augment, ebb_dtype dtype, uint64_t key, int64_t index,
                       int64_t n, void *values);

#endif
