/* The images that the examples learn from: MNIST or CIFAR-10 if the folder is given, else digits
 * that come with Ebb. */
#ifndef EXAMPLES_SUPPORT_DATA_H
#define EXAMPLES_SUPPORT_DATA_H

#include <ebb/io.h>

typedef struct example_data {
    ebb_image_set train, test;
} example_data;

/* A folder with data_batch_1.bin is CIFAR-10, another one MNIST. `folder` NULL: draws n_train and
 * n_test digits (the test images from another seed than the training ones). Prints what was loaded;
 * stops with a message if it cannot. */
void data_load(example_data *data, const char *folder, int64_t n_train, int64_t n_test,
               uint64_t seed);
/* Only the first `n` training images from now on; all if there are no more. */
void data_keep(example_data *data, int64_t n);
void data_finish(example_data *data);

#endif
