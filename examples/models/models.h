/* Famous networks as C functions, to be copied: each puts a network into the graph of x and returns
 * its scores [batch, classes], without a softmax (of unet: [batch, classes, height, width]). Any
 * batch size; a graph for training and one for inference share their variables by a store. Mistakes
 * are sticky errors of the graph, as with any builder.
 *
 * Parameters are counted with biases and with scale and shift of batch normalization, without its
 * running statistics. */
#ifndef EXAMPLES_MODELS_MODELS_H
#define EXAMPLES_MODELS_MODELS_H

#include <ebb/nn.h>

typedef struct model_options {
    int64_t classes; /* 0: what the paper or the book has */
    bool training;   /* dropout and batch statistics */
    bool no_dropout; /* none even in training: numbers that others can repeat */
    bool he_init;    /* build_simple_convnet: weights as in the other networks */
    uint64_t seed;
} model_options;

/* ---- Saitoh, Deep Learning from Scratch (2016): x [batch, 1, 28, 28] ---- */

/* Chapter 7: conv 30 of 5x5, ReLU, pool, affine 100, ReLU, affine 10; weights start normal with
 * 0.01, unless he_init. 433,890 parameters. */
ebb_node build_simple_convnet(ebb_node x, const model_options *options);
/* Chapter 8: six convolutions of 3x3 with 16, 16, 32, 32, 64, 64 filters, a pool after each two,
 * affine 50, affine 10, both with dropout behind them (the book's form); He's initialization.
 * 123,552 parameters. */
ebb_node build_deep_convnet(ebb_node x, const model_options *options);

/* ---- LeNet-5 (LeCun et al. 1998): x [batch, 1, 28, 28], padded to 32; 61,706 parameters ---- */

/* Sigmoid and subsampling (average pooling, without the paper's trained factors), every map seeing
 * all before it. */
ebb_node build_lenet5_1998(ebb_node x, const model_options *options);
/* As it is built today: ReLU and max pooling. */
ebb_node build_lenet5(ebb_node x, const model_options *options);

/* ---- AlexNet (Krizhevsky et al. 2012): x [batch, 3, 224, 224] ---- */

/* Two groups: 60,965,224 parameters; ungrouped 62,378,344. */
ebb_node build_alexnet(ebb_node x, bool is_grouped, const model_options *options);

/* ---- VGG (Simonyan & Zisserman 2015) ---- */

typedef struct vgg_options {
    int depth;       /* 11, 16 or 19 weight layers */
    bool batch_norm; /* behind each convolution */
    bool small_head; /* one affine layer, for small images, in the place of 4096-4096-classes with
                        dropout */
} vgg_options;
/* x [batch, 3, height, width], both at least 32. With 224x224 and 1000 classes VGG-16 has
 * 138,357,544 and VGG-19 143,667,240 parameters; VGG-11 with batch norm and small head, for 32x32
 * and 10 classes, 9,231,114. */
ebb_node build_vgg(ebb_node x, vgg_options vgg, const model_options *options);

/* ---- GoogLeNet (Szegedy et al. 2015): x [batch, 3, 224, 224]; 6,998,552 parameters ---- */

/* `auxiliary` (NULL: without) gets the scores of the two heads that help in training, behind
 * inception 4a and 4d. */
ebb_node build_googlenet(ebb_node x, ebb_node auxiliary[2], const model_options *options);

/* ---- ResNet (He et al. 2016) ---- */

typedef struct resnet_options {
    int depth;        /* 18, 34 or 50 */
    bool small_image; /* 3x3 and no pool at the start, for 32x32; else 7x7 with stride 2 and a pool,
                         for 224x224 */
} resnet_options;
/* The stride of a bottleneck is in its 3x3 (version 1.5). With 1000 classes: 18 has 11,689,512, 34
 * 21,797,672, 50 25,557,032 parameters; 18 for 32x32 and 10 classes 11,173,962. */
ebb_node build_resnet(ebb_node x, resnet_options resnet, const model_options *options);

/* The networks of section 4.2: 6 n + 2 layers of 16, 32 and 64 filters for small images, with
 * shortcuts or plain; shortcuts that change the size are subsampled and padded with zeros, so that
 * both have the same parameters. */
ebb_node build_small_resnet(ebb_node x, int depth, bool has_shortcuts,
                            const model_options *options);

/* ---- MobileNet v1 (Howard et al. 2017): x [batch, 3, 224, 224]; 4,231,976 parameters ---- */
ebb_node build_mobilenet(ebb_node x, const model_options *options);

/* ---- U-Net (Ronneberger et al. 2015), small: padded convolutions, `depth` halvings, `filters` at
 * full size ---- */

/* x [batch, channels, height, width], height and width divisible by 2^depth. */
ebb_node build_unet(ebb_node x, int depth, int64_t filters, const model_options *options);

#endif
