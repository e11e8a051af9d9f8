/* softmax, log_softmax and log-sum-exp of rows and of columns, for F64 and F32. */
#include "backends/native/vector/exp.h"
#include "backends/native/vector/functions.h"
#include "backends/native/vector/isa.h"
#include "backends/native/vector/lanes.h"
#include "backends/native/vector/stream.h"
#include <float.h>

#define NAME(name) ISA_PASTE(name, TAG)

#define T double
#define TAG f64
#define FN(name) name
#define LANES_MAX LANES_MAX_F64
#include "backends/native/vector/softmax_of_type.h"

#define T float
#define TAG f32
#define FN(name) name##f
#define LANES_MAX LANES_MAX_F32
#include "backends/native/vector/softmax_of_type.h"
