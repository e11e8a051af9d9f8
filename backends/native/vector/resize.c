/* Resampling of rows of pixels and of pixels with their channels, for F64 and F32. */
#include "backends/native/vector/isa.h"
#include <string.h>

#define NAME(name) ISA_PASTE(name, TAG)

#define T double
#define TAG f64
#include "backends/native/vector/resize_of_type.h"

#define T float
#define TAG f32
#include "backends/native/vector/resize_of_type.h"
