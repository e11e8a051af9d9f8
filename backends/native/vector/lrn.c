/* Local response normalization and its gradient, for F64 and F32. */
#include "backends/native/vector/functions.h"
#include "backends/native/vector/isa.h"
#include <math.h>
#include <string.h>

#define NAME(name) ISA_PASTE(name, TAG)

#define T double
#define TAG f64
#define FN(name) name
#include "backends/native/vector/lrn_of_type.h"

#define T float
#define TAG f32
#define FN(name) name##f
#include "backends/native/vector/lrn_of_type.h"
