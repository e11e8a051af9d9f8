/* The allocator interface over the C heap, and the meter. */
#include <ebb/memory.h>

#include <stdlib.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

/* Blocks from this size on ask for huge pages: fewer address translations to look up, which shows
 * where memory is the limit. */
#define LARGE_BLOCK ((size_t)8 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

static void *allocate_large(size_t size_bytes)
{
    size_t rounded = (size_bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *block = aligned_alloc(HUGE_PAGE, rounded);
#if defined __linux__ && defined MADV_HUGEPAGE
    if (block)
        (void)madvise(block, rounded, MADV_HUGEPAGE); /* a hint: ordinary pages do as well */
#endif
    return block;
}

void *ebb_allocate(const ebb_allocator *allocator, size_t size_bytes)
{
    if (size_bytes > SIZE_MAX / 2)
        return NULL;
    if (size_bytes == 0)
        size_bytes = EBB_ALIGNMENT;
    if (allocator)
        return allocator->allocate(allocator->context, size_bytes);
    if (size_bytes >= LARGE_BLOCK)
        return allocate_large(size_bytes);
    size_t rounded = (size_bytes + EBB_ALIGNMENT - 1) / EBB_ALIGNMENT * EBB_ALIGNMENT;
    return aligned_alloc(EBB_ALIGNMENT, rounded);
}

void ebb_release(const ebb_allocator *allocator, void *block, size_t size_bytes)
{
    if (!block)
        return;
    if (size_bytes == 0)
        size_bytes = EBB_ALIGNMENT;
    if (allocator)
        allocator->release(allocator->context, block, size_bytes);
    else
        free(block);
}

static void *meter_allocate(void *context, size_t size_bytes)
{
    ebb_memory_meter *meter = context;
    bool refuse = meter->fail_after == 0 ||
                  (meter->limit_bytes && (size_bytes > meter->limit_bytes ||
                                          meter->live_bytes > meter->limit_bytes - size_bytes));
    if (meter->fail_after > 0)
        meter->fail_after--;
    void *block = refuse ? NULL : ebb_allocate(meter->next, size_bytes);
    if (!block) {
        meter->n_refused++;
        return NULL;
    }
    meter->n_allocations++;
    meter->n_live++;
    meter->live_bytes += size_bytes;
    if (meter->live_bytes > meter->peak_bytes)
        meter->peak_bytes = meter->live_bytes;
    return block;
}

static void meter_release(void *context, void *block, size_t size_bytes)
{
    ebb_memory_meter *meter = context;
    if (!block)
        return;
    meter->n_live--;
    meter->live_bytes -= size_bytes;
    ebb_release(meter->next, block, size_bytes);
}

void ebb_memory_meter_init(ebb_memory_meter *meter, const ebb_allocator *next)
{
    *meter = (ebb_memory_meter){ .next = next, .fail_after = -1 };
    meter->allocator = (ebb_allocator){ meter_allocate, meter_release, meter };
}
