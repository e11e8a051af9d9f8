/* What the executable sees of a store: entries with versions. */
#ifndef RUNTIME_STORE_H
#define RUNTIME_STORE_H

#include <ebb/backend.h>
#include <ebb/store.h>

/* Stays where it is until the store is destroyed. Its data lies in `layout`, which fills it, and
 * stays as long as an executable is bound to the entry; the first one chooses
 * (docs/decisions/0009-home-layouts.md). */
typedef struct ebb_store_entry {
    ebb_type type;
    ebb_layout layout;
    void *data;
    /* What a user was given a view of: `data` if that is dense, else `plain`, which follows it. */
    void *plain;
    bool is_viewed;
    int64_t n_bound;  /* executables */
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

/* An executable uses the store: it lives on, even when destroyed, until the last one leaves. */
void ebb_store_enter(ebb_store *store);
void ebb_store_leave(ebb_store *store);
/* True if executables are bound to the entry of this name and type: *layout is that of its data,
 * and stays. Else *layout is left alone. */
bool ebb_store_is_bound(ebb_store *store, const char *name, const ebb_type *type,
                        ebb_layout *layout);
/* Counts an executable that uses the entry. The first one lays it out; the others must take the
 * layout as it is. OUT_OF_MEMORY: not bound. */
ebb_status ebb_store_bind(ebb_store *store, ebb_store_entry *entry, const ebb_layout *layout,
                          ebb_error *error);
void ebb_store_unbind(ebb_store *store, ebb_store_entry *entry);
/* The data is in row-major order. */
bool ebb_entry_is_plain(const ebb_store_entry *entry);
/* The value in row-major order, out and in. */
void ebb_entry_read(const ebb_store_entry *entry, void *value);
void ebb_entry_write(ebb_store_entry *entry, const void *value);
/* ebb_store_set of the value of another store's entry. */
ebb_status ebb_store_set_entry(ebb_store *store, const ebb_store_entry *from);
/* The same for a store that will be destroyed next: the data goes over, where it can, instead of
 * being copied, and the source's entry has none any more. */
ebb_status ebb_store_move_entry(ebb_store *store, ebb_store *source, ebb_store_entry *from);
/* Whether ebb_store_pass_data may give the data of an entry, in row-major order, to one of `type`.
 */
bool ebb_store_may_pass(ebb_store *source, const ebb_store_entry *from, const ebb_store *store,
                        const ebb_type *type);
/* An entry that ebb_store_pass_data will give its data; until then it has none. Else as
 * ebb_store_add. */
ebb_status ebb_store_add_later(ebb_store *store, const char *name, const ebb_type *type,
                               ebb_store_entry **entry, ebb_error *error);
void ebb_store_pass_data(ebb_store *source, ebb_store_entry *from, ebb_store_entry *entry);
/* Releases the data of an entry before its store is destroyed, unless an executable is bound to it.
 */
void ebb_store_drop_data(ebb_store *store, ebb_store_entry *entry);
/* After a write to the data: packed copies are old, and what users look at follows. */
void ebb_entry_touch(ebb_store_entry *entry);
/* NOT_FINITE if it has NaN or an infinity: the message names it and the first of them. */
ebb_status ebb_finite_entry(const ebb_store_entry *entry, ebb_error *error);

#endif
