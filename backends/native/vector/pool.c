/* Pooling over runs of channels, for F64 and F32. */
#include "backends/native/vector/isa.h"
#include <math.h>
#include <string.h>

#define NAME(name) ISA_PASTE(name, TAG)

#define T double
#define I int64_t
#define TAG f64
#include "backends/native/vector/pool_of_type.h"

#define T float
#define I int32_t
#define TAG f32
#include "backends/native/vector/pool_of_type.h"
