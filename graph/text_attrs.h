/* Reading attributes: what the lines of the text form and the programs in them share. */
#ifndef GRAPH_TEXT_ATTRS_H
#define GRAPH_TEXT_ATTRS_H

#include "graph/graph_build.h"
#include "graph/text_scan.h"

#include <ebb/op.h>

typedef struct ebb_text_reader {
    ebb_scanner scan;
    ebb_op_lookup lookup;
    void *context; /* of the lookup */
} ebb_text_reader;

/* "{axes=[0], keep=true}" into a zeroed struct. A list of data is stepped over: *data_list is where
 * it begins, since its type stands behind it. */
ebb_status ebb_text_read_attrs(ebb_text_reader *reader, const ebb_op *op, void *attrs,
                               const char **data_list);
/* The elements of that list, now that the type is known; they live in the scratch. */
ebb_status ebb_text_read_data(ebb_text_reader *reader, const ebb_type *type, const char *list,
                              void **data);

#endif
