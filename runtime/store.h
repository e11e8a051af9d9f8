/* What the executable sees of a store: entries with versions. */
#ifndef RUNTIME_STORE_H
#define RUNTIME_STORE_H

#include <ebb/store.h>

/* Stays where it is until the store is destroyed, as does its data. */
typedef struct ebb_store_entry {
    ebb_type type;
    void *data;
    uint64_t version; /* grows with every write, so that packed copies are noticed to be old */
    uint32_t hash;
    size_t name_bytes; /* with the zero */
    char name[];
} ebb_store_entry;

/* For what is made on behalf of the store; NULL: the C heap. */
const ebb_allocator *ebb_store_allocator(const ebb_store *store);
/* NULL if there is none. */
ebb_store_entry *ebb_store_find(const ebb_store *store, const char *name);
/* Makes an entry of a name that the store has not; its data is zero. BAD_NAME, BAD_SHAPE,
 * BAD_DTYPE, OUT_OF_MEMORY; the message goes to `error`. */
ebb_status ebb_store_add(ebb_store *store, const char *name, const ebb_type *type,
                         ebb_store_entry **entry, ebb_error *error);
/* Takes back the entries that were added since there were `size`. */
void ebb_store_shrink(ebb_store *store, int64_t size);
/* NOT_FINITE if it has NaN or an infinity: the message names it and the first of them. */
ebb_status ebb_finite_entry(const ebb_store_entry *entry, ebb_error *error);

#endif
