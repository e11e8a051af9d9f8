/* What writer and reader of safetensors files share.
 * The format: https://github.com/huggingface/safetensors, section "Format". */
#ifndef IO_SAFETENSORS_H
#define IO_SAFETENSORS_H

#include <ebb/tensor.h>

/* Length of the header, a little-endian 64-bit number. */
#define SAFETENSORS_LENGTH_BYTES 8
/* The limit that the format's own implementation sets. */
#define SAFETENSORS_MAX_HEADER_BYTES 100000000
/* The one key that is not a tensor: free text by name. */
#define SAFETENSORS_METADATA "__metadata__"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensor data is written and read as it lies in memory");

/* "F32"; NULL if the format has no such type. */
const char *ebb_safetensors_dtype_name(ebb_dtype dtype);
/* EBB_NO_DTYPE if it is none of Ebb's. */
ebb_dtype ebb_safetensors_dtype_find(const char *name);

#endif
