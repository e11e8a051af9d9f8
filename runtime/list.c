/* Growing arrays. */
#include "runtime/runtime.h"

#include <string.h>

void *ebb_list_add(ebb_list *list, const ebb_allocator *allocator, size_t item_bytes, size_t n_more)
{
    if (n_more > list->capacity - list->n) {
        size_t larger = list->capacity ? list->capacity * 2 : 16;
        if (larger < list->n + n_more)
            larger = list->n + n_more;
        if (larger > SIZE_MAX / 4 / item_bytes)
            return NULL;
        void *moved = ebb_allocate(allocator, larger * item_bytes);
        if (!moved)
            return NULL;
        if (list->n)
            memcpy(moved, list->items, list->n * item_bytes);
        ebb_release(allocator, list->items, list->capacity * item_bytes);
        list->items = moved;
        list->capacity = larger;
    }
    void *added = (char *)list->items + list->n * item_bytes;
    list->n += n_more;
    return added;
}

void ebb_list_finish(ebb_list *list, const ebb_allocator *allocator, size_t item_bytes)
{
    ebb_release(allocator, list->items, list->capacity * item_bytes);
    *list = (ebb_list){ 0 };
}
