/* Growing arrays. */
#include "runtime/runtime.h"

#include <string.h>

bool ebb_list_reserve(ebb_list *list, const ebb_allocator *allocator, size_t item_bytes, size_t n)
{
    if (n <= list->capacity)
        return true;
    void *moved = n <= SIZE_MAX / 4 / item_bytes ? ebb_allocate(allocator, n * item_bytes) : NULL;
    if (!moved)
        return false;
    if (list->n)
        memcpy(moved, list->items, list->n * item_bytes);
    ebb_release(allocator, list->items, list->capacity * item_bytes);
    list->items = moved;
    list->capacity = n;
    return true;
}

void *ebb_list_add(ebb_list *list, const ebb_allocator *allocator, size_t item_bytes, size_t n_more)
{
    size_t n = list->n + n_more, larger = list->capacity ? list->capacity * 2 : 16;
    if (n > list->capacity &&
        !ebb_list_reserve(list, allocator, item_bytes, n > larger ? n : larger))
        return NULL;
    void *added = (char *)list->items + list->n * item_bytes;
    list->n = n;
    return added;
}

void ebb_list_finish(ebb_list *list, const ebb_allocator *allocator, size_t item_bytes)
{
    ebb_release(allocator, list->items, list->capacity * item_bytes);
    *list = (ebb_list){ 0 };
}
