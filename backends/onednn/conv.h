/* A convolution in one of its three directions, and the forms in which oneDNN can compute it. */
#ifndef BACKENDS_ONEDNN_CONV_H
#define BACKENDS_ONEDNN_CONV_H

#include "backends/onednn/onednn.h"
#include "backends/onednn/windows.h"
#include "ops/conv.h"

typedef enum ebb_onednn_direction {
    EBB_ONEDNN_FORWARD,
    EBB_ONEDNN_BACKWARD_DATA,
    EBB_ONEDNN_BACKWARD_WEIGHTS
} ebb_onednn_direction;

/* The operands of y = conv(x, w, bias) in the region of any of the three. */
typedef struct ebb_onednn_conv {
    ebb_onednn_direction direction;
    const ebb_operand *x, *w, *y, *bias; /* bias: NULL without; the gradient in BACKWARD_WEIGHTS */
    const ebb_operand *residual;         /* the last input, or NULL */
    ebb_epilogue epilogue;
} ebb_onednn_conv;

typedef enum ebb_onednn_form {
    EBB_ONEDNN_PLAIN,
    EBB_ONEDNN_PADDED,  /* the gradient of weights, from images with their padding around them */
    EBB_ONEDNN_ROWS,    /* the same by one matrix product: dy' times the windows of x as rows */
    EBB_ONEDNN_PRODUCT, /* forward, windows of one tap, by one: places times weights */
    EBB_ONEDNN_BLOCKED, /* all images by way of oneDNN's blocked layout */
    EBB_ONEDNN_WINOGRAD /* the same, but where they lie so */
} ebb_onednn_form;

enum { EBB_ONEDNN_BLOCK = 16 }; /* channels of a pixel in oneDNN's blocked layout of images */

/* A zero struct may be finished. */
typedef struct ebb_onednn_described {
    ebb_onednn_form form;
    dn_desc x, y, bias;
    bool by_scratch;          /* the images are brought into blocks in the scratch, and back */
    dn_desc plain_x, plain_y; /* by_scratch: as they lie outside */
    dn_desc w, any;           /* w as it lies; any: for oneDNN to choose */
    dn_desc own, product;     /* ROWS: the result, as weights and as a matrix */
    dn_window window;
    ebb_onednn_windows windows; /* PADDED, ROWS, PRODUCT: what is copied of x .. */
    bool has_windows;           /* .. if it is */
    int64_t n_parts;            /* ROWS: the taps come in so many parts, one product each */
    dnnl_primitive_attr_t attr; /* of the convolution: state->attr and what follows */
    dnnl_primitive_desc_t hint, pd;
} ebb_onednn_described;

ebb_conv ebb_onednn_conv_read(const ebb_region *region);
bool ebb_onednn_channels_last(const ebb_operand *operand);
/* An image in oneDNN's blocked layout. */
bool ebb_onednn_in_blocks(const ebb_operand *operand);
/* The images may lie so: they have two dimensions, and whole blocks of channels. */
bool ebb_onednn_fits_blocks(const ebb_conv *conv);
/* The gradient of weights, with images that lie channels last, is one matrix product. */
bool ebb_onednn_prefers_rows(const ebb_conv *conv);

/* `choice`: one that ebb_onednn_conv_list named; NULL: what is known to be fast. */
dnnl_status_t ebb_onednn_conv_describe(const ebb_region *region, const ebb_onednn_conv *conv,
                                       const ebb_onednn_state *state, const char *choice,
                                       ebb_onednn_described *described);
/* w may lie so: dense, or in blocks that oneDNN knows. */
bool ebb_onednn_takes_weights(const ebb_region *region, const ebb_operand *w);
void ebb_onednn_conv_finish(ebb_onednn_described *described);
/* The choice computes with images in blocks. */
bool ebb_onednn_choice_is_blocked(const char *choice);
/* The other choices: how many, at most `max`. */
int ebb_onednn_conv_list(const ebb_region *region, const ebb_onednn_conv *conv,
                         const ebb_onednn_state *state, ebb_choice *choices, int max);

#endif
