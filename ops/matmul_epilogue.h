/* A matrix product with what follows it, for passes and backends. */
#ifndef OPS_MATMUL_EPILOGUE_H
#define OPS_MATMUL_EPILOGUE_H

#include "ops/epilogue.h"
#include <ebb/ops.h>

/* Inputs: a and b as of matmul; perhaps a bias, one value a column; perhaps the residual. */
typedef struct ebb_matmul_epilogue_attrs {
    ebb_matmul_attrs matmul;
    ebb_epilogue epilogue;
} ebb_matmul_epilogue_attrs;

#endif
