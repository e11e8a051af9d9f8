/* The one allocator. Every allocation of the library goes through an `ebb_allocator` that the user
 * may give to ebb_graph_create_with, ebb_store_create, ebb_compile ...; NULL is the C heap, and for
 * large blocks the system itself, so that they go back to it at once. There is no global hook. */
#ifndef EBB_MEMORY_H
#define EBB_MEMORY_H

#include <ebb/status.h>

EBB_BEGIN

/* Alignment of every block, in bytes: a cache line, and an AVX-512 vector. */
#define EBB_ALIGNMENT 64

typedef struct ebb_allocator {
    /* Returns `size_bytes` (> 0) bytes aligned to EBB_ALIGNMENT, or NULL. */
    void *(*allocate)(void *context, size_t size_bytes);
    /* `block` came from `allocate` with the same `size_bytes`; NULL is allowed. */
    void (*release)(void *context, void *block, size_t size_bytes);
    void *context;
} ebb_allocator;

/* `allocator` may be NULL (the C heap). Zero bytes give a block of EBB_ALIGNMENT bytes. */
EBB_API void *ebb_allocate(const ebb_allocator *allocator, size_t size_bytes);
EBB_API void ebb_release(const ebb_allocator *allocator, void *block, size_t size_bytes);

/* An allocator that counts, bounds and can be made to fail: for tests, and to see what a graph
 * costs. Not safe for use from several threads at once. */
typedef struct ebb_memory_meter {
    ebb_allocator allocator;   /* give &meter.allocator to Ebb */
    const ebb_allocator *next; /* where the memory comes from; NULL: the C heap */
    size_t limit_bytes;        /* refuse what would go above; 0: no limit */
    int64_t fail_after;        /* refuse every allocation after this many more; negative: never */
    size_t live_bytes, peak_bytes;
    int64_t n_live, n_allocations, n_refused;
} ebb_memory_meter;

/* Sets all fields; no limit, no failures. The meter must outlive what uses it. */
EBB_API void ebb_memory_meter_init(ebb_memory_meter *meter, const ebb_allocator *next);

EBB_END

#endif
