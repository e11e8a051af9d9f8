/* What is known of an operation beyond its descriptor. */
#ifndef TOOLS_OPS_H
#define TOOLS_OPS_H

#include <ebb/ebb.h>

#define OPS_TEXT_BYTES 128

/* "own rule", "by its decomposition", "none", or "-" for a source. */
const char *ops_gradient(const ebb_op *op);
/* The backends that take at least one of the op's samples, in F64 or F32: "onednn, native,
 * reference"; "-" if none does. Returns `text`. */
const char *ops_backends(const ebb_op *op, char text[OPS_TEXT_BYTES]);
/* "2", "1 or more". Returns `text`. */
const char *ops_inputs(const ebb_op *op, char text[OPS_TEXT_BYTES]);
/* "0, 1, 2" and so on: what an attribute may be. Returns `text`. */
const char *ops_attribute_kind(const ebb_attr_field *field, char text[OPS_TEXT_BYTES]);

/* A graph of the op on the inputs i0, i1, ... of sample `index`; NULL if the sample is one of an
 * error or cannot be built. *node is the first result. `floats` takes the place of F64. */
ebb_graph *ops_sample_graph(const ebb_op *op, int index, ebb_dtype floats, ebb_node *node);

/* Writes docs/ops.md. */
void ops_print_markdown(FILE *out);

#endif
