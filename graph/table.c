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
    if (larger <= n)
        larger = n + 1;
    void *moved = ebb_allocate(allocator, larger * item_bytes);
    if (!moved)
        return false;
    void *old;
    memcpy(&old, array, sizeof old);
    if (*capacity)
        memcpy(moved, old, *capacity * item_bytes);
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
        id_slot slot = table->slots[i];
        if (slot.id == 0 || (slot.hash == hash && matches(graph, slot.id, key)))
            return slot.id;
    }
}

static void put_slot(id_slot *slots, uint32_t n_slots, id_slot slot)
{
    uint32_t mask = n_slots - 1, i = slot.hash & mask;
    while (slots[i].id)
        i = (i + 1) & mask;
    slots[i] = slot;
}

bool ebb_id_table_reserve(id_table *table, const ebb_allocator *allocator, uint32_t n)
{
    uint32_t larger = table->n_slots ? table->n_slots : 64;
    while (larger / 2 < n) {
        if (larger > UINT32_MAX / 4)
            return false;
        larger *= 2;
    }
    if (larger == table->n_slots)
        return true;
    id_slot *slots = ebb_allocate(allocator, larger * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, 0, larger * sizeof *slots);
    for (uint32_t i = 0; i < table->n_slots; i++) {
        if (table->slots[i].id)
            put_slot(slots, larger, table->slots[i]);
    }
    ebb_release(allocator, table->slots, table->n_slots * sizeof *slots);
    table->slots = slots;
    table->n_slots = larger;
    return true;
}

bool ebb_id_table_add(id_table *table, const ebb_allocator *allocator, uint32_t hash, uint32_t id)
{
    if (!ebb_id_table_reserve(table, allocator, table->n_used + 1))
        return false;
    put_slot(table->slots, table->n_slots, (id_slot){ hash, id });
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
