/* Growing arrays and hash tables of ids. */
#include "graph/graph_private.h"

#include <string.h>

bool ebb_grow(const ebb_allocator *allocator, void *array, uint32_t n, uint32_t *capacity,
              size_t item_bytes)
{
    if (n < *capacity)
        return true;
    if (*capacity > UINT32_MAX / 2)
        return false;
    uint32_t larger = *capacity ? *capacity * 2 : 16;
    void *moved = ebb_allocate(allocator, larger * item_bytes);
    if (!moved)
        return false;
    void *old;
    memcpy(&old, array, sizeof old);
    if (n)
        memcpy(moved, old, n * item_bytes);
    ebb_release(allocator, old, *capacity * item_bytes);
    memcpy(array, &moved, sizeof moved);
    *capacity = larger;
    return true;
}

uint32_t ebb_id_table_find(const id_table *table, const ebb_graph *graph, uint32_t hash,
                           id_matches matches, const void *key)
{
    if (!table->n_slots)
        return 0;
    uint32_t mask = table->n_slots - 1;
    for (uint32_t i = hash & mask;; i = (i + 1) & mask) {
        uint32_t id = table->slots[i];
        if (id == 0 || matches(graph, id, key))
            return id;
    }
}

static void put_id(uint32_t *slots, uint32_t n_slots, uint32_t hash, uint32_t id)
{
    uint32_t mask = n_slots - 1, i = hash & mask;
    while (slots[i])
        i = (i + 1) & mask;
    slots[i] = id;
}

bool ebb_id_table_add(id_table *table, const ebb_graph *graph, uint32_t hash, uint32_t id,
                      uint32_t (*rehash)(const ebb_graph *graph, uint32_t id))
{
    if (table->n_used >= table->n_slots / 2) {
        if (table->n_slots > UINT32_MAX / 4)
            return false;
        uint32_t larger = table->n_slots ? table->n_slots * 2 : 64;
        uint32_t *slots = ebb_allocate(graph->allocator, larger * sizeof *slots);
        if (!slots)
            return false;
        memset(slots, 0, larger * sizeof *slots);
        for (uint32_t i = 0; i < table->n_slots; i++) {
            if (table->slots[i])
                put_id(slots, larger, rehash(graph, table->slots[i]), table->slots[i]);
        }
        ebb_release(graph->allocator, table->slots, table->n_slots * sizeof *slots);
        table->slots = slots;
        table->n_slots = larger;
    }
    put_id(table->slots, table->n_slots, hash, id);
    table->n_used++;
    return true;
}

uint32_t ebb_hash_bytes(uint32_t seed, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint32_t hash = seed;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        hash = ebb_hash_u64(hash, word);
    }
    uint64_t rest = n;
    for (size_t i = 0; i < n; i++)
        rest = rest << 8 | p[i];
    return ebb_hash_u64(hash, rest);
}
