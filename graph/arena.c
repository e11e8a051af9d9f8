/* A bump allocator: many small blocks that live and die together. */
#include "graph/arena.h"

#include <string.h>

#define FIRST_BLOCK_BYTES ((size_t)4096)
#define LARGEST_BLOCK_BYTES ((size_t)16 << 20) /* large enough for huge pages */
#define HEADER_BYTES ((size_t)EBB_ALIGNMENT)   /* keeps what follows aligned */

struct ebb_arena_block {
    ebb_arena_block *next;
    size_t bytes;
};

void ebb_arena_init(ebb_arena *arena, const ebb_allocator *allocator)
{
    *arena = (ebb_arena){ .allocator = allocator, .block_bytes = FIRST_BLOCK_BYTES };
}

void ebb_arena_finish(ebb_arena *arena)
{
    while (arena->blocks) {
        ebb_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        ebb_release(arena->allocator, block, block->bytes);
    }
    arena->next = arena->end = NULL;
}

static char *align_up(char *pointer, size_t alignment)
{
    return pointer + (-(uintptr_t)pointer & (alignment - 1));
}

void *ebb_arena_allocate(ebb_arena *arena, size_t size_bytes, size_t alignment)
{
    char *start = arena->next ? align_up(arena->next, alignment) : NULL;
    if (start && start <= arena->end && size_bytes <= (size_t)(arena->end - start)) {
        arena->next = start + size_bytes;
        return start;
    }
    if (size_bytes > SIZE_MAX / 4)
        return NULL;
    bool own_block =
        size_bytes > arena->block_bytes / 4; /* do not waste the rest of the current one */
    size_t bytes = own_block ? HEADER_BYTES + size_bytes : arena->block_bytes;
    ebb_arena_block *block = ebb_allocate(arena->allocator, bytes);
    if (!block)
        return NULL;
    block->bytes = bytes;
    char *data = (char *)block + HEADER_BYTES;
    if (own_block && arena->blocks) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
        return data;
    }
    block->next = arena->blocks;
    arena->blocks = block;
    arena->next = data + size_bytes;
    arena->end = (char *)block + bytes;
    if (!own_block && arena->block_bytes < LARGEST_BLOCK_BYTES)
        arena->block_bytes *= 2;
    return data;
}

char *ebb_arena_copy_text(ebb_arena *arena, const char *text, size_t length)
{
    char *copy = ebb_arena_allocate(arena, length + 1, 1);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = 0;
    }
    return copy;
}
