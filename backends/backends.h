/* The backends that come with Ebb, and the op with which the runtime makes values dense. */
#ifndef BACKENDS_BACKENDS_H
#define BACKENDS_BACKENDS_H

#include <ebb/backend.h>

extern const ebb_backend ebb_backend_reference;
extern const ebb_backend ebb_backend_native;
extern const ebb_backend ebb_backend_onednn;

/* One input, one result of the same type: the input, dense. Takes any input layout; never stands in
 * a graph. */
extern const ebb_op ebb_op_copy;

#endif
