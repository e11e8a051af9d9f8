/* Batch normalization over runs of pixels and over rows of channels, for F64 and F32. */
#include "backends/native/vector/isa.h"
#include "backends/native/vector/stream.h"

#define INLINE static inline __attribute__((always_inline))
#define NAME(name) ISA_PASTE(name, TAG)

#define T double
#define TAG f64
#include "backends/native/vector/channels_of_type.h"

#define T float
#define TAG f32
#include "backends/native/vector/channels_of_type.h"
