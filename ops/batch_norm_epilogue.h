/* batch_norm with what follows it: a residual and a relu. */
#ifndef OPS_BATCH_NORM_EPILOGUE_H
#define OPS_BATCH_NORM_EPILOGUE_H

#include "ops/batch_norm.h"
#include "ops/epilogue.h"

typedef struct ebb_batch_norm_epilogue_attrs {
    ebb_batch_norm_attrs batch_norm;
    ebb_epilogue epilogue;
} ebb_batch_norm_epilogue_attrs;

#endif
