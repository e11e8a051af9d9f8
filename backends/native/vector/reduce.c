/* Sums and maxima of runs and of columns, for F64 and F32. */
#include "backends/native/vector/isa.h"
#include <math.h>

#define NAME(name) ISA_PASTE(name, TAG)

#define T double
#define TAG f64
#include "backends/native/vector/reduce_of_type.h"

#define T float
#define TAG f32
#include "backends/native/vector/reduce_of_type.h"
