/* layer_norm, rms_norm and their gradients over rows, for F64 and F32. */
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"
#include "backends/native/vector/stream.h"
#include <math.h>

#define NAME(name) ISA_PASTE(name, TAG)

#define T double
#define TAG f64
#include "backends/native/vector/norm_of_type.h"

#define T float
#define TAG f32
#include "backends/native/vector/norm_of_type.h"
