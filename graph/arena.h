/* A bump allocator: many small blocks that live and die together. */
#ifndef GRAPH_ARENA_H
#define GRAPH_ARENA_H

#include <ebb/memory.h>

typedef struct ebb_arena_block ebb_arena_block;

typedef struct ebb_arena {
    const ebb_allocator *allocator;
    ebb_arena_block *blocks; /* newest first */
    char *next, *end;
    size_t block_bytes;
} ebb_arena;

void ebb_arena_init(ebb_arena *arena, const ebb_allocator *allocator);
void ebb_arena_finish(ebb_arena *arena);
/* `alignment` is a power of two up to EBB_ALIGNMENT. Not zeroed. NULL when memory is out. */
void *ebb_arena_allocate(ebb_arena *arena, size_t size_bytes, size_t alignment);
/* Copies `length` bytes and adds a zero. */
char *ebb_arena_copy_text(ebb_arena *arena, const char *text, size_t length);

#endif
