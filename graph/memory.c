/* The allocator interface over the C heap, and the meter. */
#include <ebb/memory.h>

#include <stdlib.h>

/* Large blocks come straight from the system and go back to it at once. In the heap their places
 * would stay the process's when weights are laid out anew or copied. Sanitizers cannot look into
 * such blocks. */
#if defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#if defined __SANITIZE_ADDRESS__
#define IS_SANITIZED 1
#endif

#if defined __linux__ && !defined IS_SANITIZED
#include <sys/mman.h>
#include <unistd.h>

#define LARGE_BLOCK ((size_t)256 << 10)
/* From this size on the whole huge pages of a block are asked for as such: fewer address
 * translations to look up, which shows where memory is the limit. */
#define HUGE_BLOCK ((size_t)8 << 20)
#define HUGE_PAGE ((size_t)2 << 20)

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Where the system maps no more (a process may have 65530 mappings, say), from the heap. Such a
 * block is told by where it starts: never at the start of a page, as mapped blocks do. */
static void *allocate_from_heap(size_t size_bytes, size_t page)
{
    char *start = aligned_alloc(page, round_up(size_bytes + EBB_ALIGNMENT, page));
    return start ? start + EBB_ALIGNMENT : NULL;
}

static void *allocate_large(size_t size_bytes)
{
    const size_t page = page_bytes(), length = round_up(size_bytes, page);
    const size_t spare = size_bytes >= HUGE_BLOCK ? HUGE_PAGE - page : 0;
    char *start =
        mmap(NULL, length + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return allocate_from_heap(size_bytes, page);
    if (!spare)
        return start;
    const size_t before = (HUGE_PAGE - (uintptr_t)start % HUGE_PAGE) % HUGE_PAGE;
    if (before)
        (void)munmap(start, before);
    if (spare > before)
        (void)munmap(start + before + length, spare - before);
#if defined MADV_HUGEPAGE
    (void)madvise(start + before, length / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* a hint */
#endif
    return start + before;
}

static void release_large(void *block, size_t size_bytes)
{
    const size_t page = page_bytes();
    if ((uintptr_t)block % page)
        free((char *)block - EBB_ALIGNMENT);
    else
        (void)munmap(block, round_up(size_bytes, page));
}
#else
#define LARGE_BLOCK SIZE_MAX
static void *allocate_large(size_t size_bytes)
{
    (void)size_bytes;
    return NULL;
}

static void release_large(void *block, size_t size_bytes)
{
    (void)block;
    (void)size_bytes;
}
#endif

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
    else if (size_bytes >= LARGE_BLOCK)
        release_large(block, size_bytes);
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
