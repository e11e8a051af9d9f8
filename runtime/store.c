/* The store: named values in order of creation, found by hash. Entries are blocks of their own, so
 * that executables may keep pointers to them. */
#include "runtime/store.h"
#include "runtime/layout.h"

#include <pthread.h>
#include <string.h>

struct ebb_store {
    const ebb_allocator *allocator;
    ebb_store_entry **entries;
    int64_t n_entries, capacity;
    uint32_t *slots; /* open addressing: place of the entry plus one; 0: empty */
    uint32_t n_slots;
    ebb_error error;
    /* Guards what a reader may change: views of blocked entries, and who uses what. */
    pthread_mutex_t mutex;
    int64_t n_users; /* executables */
    bool is_destroyed;
};

ebb_store *ebb_store_create(const ebb_allocator *allocator)
{
    ebb_store *store = ebb_allocate(allocator, sizeof *store);
    if (!store)
        return NULL;
    *store = (ebb_store){ .allocator = allocator };
    if (pthread_mutex_init(&store->mutex, NULL) == 0)
        return store;
    ebb_release(allocator, store, sizeof *store);
    return NULL;
}

static void destroy_entry(const ebb_store *store, ebb_store_entry *entry)
{
    ebb_release(store->allocator, entry->data, ebb_type_bytes(&entry->type));
    ebb_release(store->allocator, entry->plain, ebb_type_bytes(&entry->type));
    ebb_release(store->allocator, entry, sizeof *entry + entry->name_bytes);
}

static void release_store(ebb_store *store)
{
    for (int64_t i = 0; i < store->n_entries; i++)
        destroy_entry(store, store->entries[i]);
    ebb_release(store->allocator, store->entries, (size_t)store->capacity * sizeof *store->entries);
    ebb_release(store->allocator, store->slots, store->n_slots * sizeof *store->slots);
    pthread_mutex_destroy(&store->mutex);
    ebb_release(store->allocator, store, sizeof *store);
}

/* Changes the number of users, or takes the user's own hold. */
static void hold_store(ebb_store *store, int64_t more, bool destroy)
{
    pthread_mutex_lock(&store->mutex);
    store->n_users += more;
    store->is_destroyed = store->is_destroyed || destroy;
    const bool is_last = store->is_destroyed && store->n_users == 0;
    pthread_mutex_unlock(&store->mutex);
    if (is_last)
        release_store(store);
}

void ebb_store_destroy(ebb_store *store)
{
    if (store)
        hold_store(store, 0, true);
}

void ebb_store_enter(ebb_store *store)
{
    hold_store(store, 1, false);
}

void ebb_store_leave(ebb_store *store)
{
    hold_store(store, -1, false);
}

const char *ebb_store_message(const ebb_store *store)
{
    return store ? store->error.message : "out of memory: there is no store";
}

int64_t ebb_store_size(const ebb_store *store)
{
    return store ? store->n_entries : 0;
}

const char *ebb_store_name(const ebb_store *store, int64_t index)
{
    return store && index >= 0 && index < store->n_entries ? store->entries[index]->name : NULL;
}

const ebb_allocator *ebb_store_allocator(const ebb_store *store)
{
    return store->allocator;
}

/* ---- names ---- */

static uint32_t hash_name(const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

/* Names of the graph's rules, joined by '/'. */
static bool name_is_valid(const char *name)
{
    size_t part = 0;
    if (!name)
        return false;
    for (; *name; name++) {
        char c = *name;
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (c == '/' ? part == 0 : !letter && !strchr("_.-()", c))
            return false;
        part = c == '/' ? 0 : part + 1;
        if (part > 200)
            return false;
    }
    return part > 0;
}

static void put_slot(uint32_t *slots, uint32_t n_slots, uint32_t hash, uint32_t value)
{
    uint32_t i = hash & (n_slots - 1);
    while (slots[i])
        i = (i + 1) & (n_slots - 1);
    slots[i] = value;
}

static void fill_slots(const ebb_store *store, uint32_t *slots, uint32_t n_slots)
{
    memset(slots, 0, n_slots * sizeof *slots);
    for (int64_t i = 0; i < store->n_entries; i++)
        put_slot(slots, n_slots, store->entries[i]->hash, (uint32_t)i + 1);
}

ebb_store_entry *ebb_store_find(const ebb_store *store, const char *name)
{
    if (!store || !name || !store->n_slots)
        return NULL;
    uint32_t hash = hash_name(name), mask = store->n_slots - 1;
    for (uint32_t i = hash & mask; store->slots[i]; i = (i + 1) & mask) {
        ebb_store_entry *entry = store->entries[store->slots[i] - 1];
        if (entry->hash == hash && strcmp(entry->name, name) == 0)
            return entry;
    }
    return NULL;
}

/* ---- entries ---- */

/* Room for one entry more, at most half of the slots in use. */
static bool reserve_entry(ebb_store *store)
{
    if (store->n_entries == store->capacity) {
        int64_t larger = store->capacity ? store->capacity * 2 : 16;
        ebb_store_entry **moved = ebb_allocate(store->allocator, (size_t)larger * sizeof *moved);
        if (!moved)
            return false;
        if (store->n_entries)
            memcpy(moved, store->entries, (size_t)store->n_entries * sizeof *moved);
        ebb_release(store->allocator, store->entries, (size_t)store->capacity * sizeof *moved);
        store->entries = moved;
        store->capacity = larger;
    }
    if ((store->n_entries + 1) * 2 > store->n_slots) {
        if (store->n_slots > UINT32_MAX / 4)
            return false;
        uint32_t larger = store->n_slots ? store->n_slots * 2 : 32;
        uint32_t *slots = ebb_allocate(store->allocator, larger * sizeof *slots);
        if (!slots)
            return false;
        fill_slots(store, slots, larger);
        ebb_release(store->allocator, store->slots, store->n_slots * sizeof *slots);
        store->slots = slots;
        store->n_slots = larger;
    }
    return true;
}

static ebb_status check_entry(const char *name, const ebb_type *type, ebb_error *error)
{
    if (!name_is_valid(name))
        return ebb_fail(error, EBB_BAD_NAME,
                        "store: \"%.200s\" is no name: parts of 1 to 200 letters, digits and "
                        "_ . - ( ) with / between",
                        name ? name : "(null)");
    if (!ebb_dtype_bytes(type->dtype))
        return ebb_fail(error, EBB_BAD_DTYPE, "store: \"%.200s\" has no valid dtype", name);
    if (!ebb_shape_is_valid(&type->shape))
        return ebb_fail(error, EBB_BAD_SHAPE, "store: \"%.200s\" has no valid shape", name);
    return EBB_OK;
}

/* An entry of a name that is valid and new. `data`: NULL, or of the type, from the store's
 * allocator; it is the entry's from here on, if the entry could be made. */
static ebb_status make_entry(ebb_store *store, const char *name, const ebb_type *type, void *data,
                             ebb_store_entry **entry, ebb_error *error)
{
    const size_t name_bytes = strlen(name) + 1;
    ebb_store_entry *made = NULL;
    if (reserve_entry(store))
        made = ebb_allocate(store->allocator, sizeof *made + name_bytes);
    if (!made)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "store: out of memory for \"%.200s\" (%zu bytes)",
                        name, ebb_type_bytes(type));
    *made = (ebb_store_entry){
        .type = *type,
        .layout = ebb_layout_dense(&type->shape),
        .data = data,
        .version = 1,
        .hash = hash_name(name),
        .name_bytes = name_bytes,
    };
    memcpy(made->name, name, name_bytes);
    put_slot(store->slots, store->n_slots, made->hash, (uint32_t)store->n_entries + 1);
    store->entries[store->n_entries++] = made;
    *entry = made;
    return EBB_OK;
}

ebb_status ebb_store_add(ebb_store *store, const char *name, const ebb_type *type,
                         ebb_store_entry **entry, ebb_error *error)
{
    const size_t bytes = ebb_type_bytes(type);
    ebb_status status = check_entry(name, type, error);
    if (status)
        return status;
    void *data = ebb_allocate(store->allocator, bytes);
    if (!data)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "store: out of memory for \"%.200s\" (%zu bytes)",
                        name, bytes);
    memset(data, 0, bytes);
    status = make_entry(store, name, type, data, entry, error);
    if (status)
        ebb_release(store->allocator, data, bytes);
    return status;
}

ebb_status ebb_store_add_later(ebb_store *store, const char *name, const ebb_type *type,
                               ebb_store_entry **entry, ebb_error *error)
{
    const ebb_status status = check_entry(name, type, error);
    return status ? status : make_entry(store, name, type, NULL, entry, error);
}

void ebb_store_shrink(ebb_store *store, int64_t size)
{
    if (store->n_entries <= size)
        return;
    while (store->n_entries > size)
        destroy_entry(store, store->entries[--store->n_entries]);
    fill_slots(store, store->slots, store->n_slots);
}

/* ---- layouts ---- */

bool ebb_entry_is_plain(const ebb_store_entry *entry)
{
    return ebb_layout_is_dense(&entry->layout, &entry->type.shape);
}

void ebb_entry_read(const ebb_store_entry *entry, void *value)
{
    if (!ebb_entry_is_plain(entry))
        ebb_layout_read(value, entry->data, &entry->layout, &entry->type);
    else if (ebb_type_bytes(&entry->type))
        memmove(value, entry->data, ebb_type_bytes(&entry->type));
}

void ebb_entry_write(ebb_store_entry *entry, const void *value)
{
    if (!ebb_entry_is_plain(entry))
        ebb_layout_write(entry->data, value, &entry->layout, &entry->type);
    else if (ebb_type_bytes(&entry->type))
        memmove(entry->data, value, ebb_type_bytes(&entry->type));
    ebb_entry_touch(entry);
}

void ebb_entry_touch(ebb_store_entry *entry)
{
    entry->version++;
    if (entry->plain)
        ebb_entry_read(entry, entry->plain);
}

/* entry->plain, for a user to look at, if the data is not that itself. */
static bool make_plain(const ebb_store *store, ebb_store_entry *entry)
{
    if (ebb_entry_is_plain(entry) || entry->plain)
        return true;
    if (!(entry->plain = ebb_allocate(store->allocator, ebb_type_bytes(&entry->type))))
        return false;
    ebb_entry_read(entry, entry->plain);
    return true;
}

/* Nobody is bound. A view that a user was given stays valid. */
static bool lay_out(const ebb_store *store, ebb_store_entry *entry, const ebb_layout *layout)
{
    const size_t bytes = ebb_type_bytes(&entry->type);
    if (ebb_layout_agrees(&entry->layout, layout, &entry->type.shape))
        return true;
    if (!ebb_entry_is_plain(entry)) { /* back to the row-major order first of all */
        if (!make_plain(store, entry))
            return false;
        ebb_release(store->allocator, entry->data, bytes);
        entry->data = entry->plain;
        entry->plain = NULL;
        entry->layout = ebb_layout_dense(&entry->type.shape);
    }
    if (ebb_layout_is_dense(layout, &entry->type.shape))
        return true;
    void *data = ebb_allocate(store->allocator, bytes);
    if (!data)
        return false;
    ebb_layout_write(data, entry->data, layout, &entry->type);
    if (entry->is_viewed)
        entry->plain = entry->data;
    else
        ebb_release(store->allocator, entry->data, bytes);
    entry->data = data;
    entry->layout = *layout;
    return true;
}

bool ebb_store_is_bound(ebb_store *store, const char *name, const ebb_type *type,
                        ebb_layout *layout)
{
    const ebb_store_entry *entry = ebb_store_find(store, name);
    if (!entry || !ebb_type_equal(&entry->type, type))
        return false;
    pthread_mutex_lock(&store->mutex);
    const bool is_bound = entry->n_bound > 0;
    if (is_bound)
        *layout = entry->layout;
    pthread_mutex_unlock(&store->mutex);
    return is_bound;
}

ebb_status ebb_store_bind(ebb_store *store, ebb_store_entry *entry, const ebb_layout *layout,
                          ebb_error *error)
{
    ebb_status status = EBB_OK;
    pthread_mutex_lock(&store->mutex);
    if (entry->n_bound == 0 && !lay_out(store, entry, layout))
        status =
            ebb_fail(error, EBB_OUT_OF_MEMORY, "store: out of memory for \"%.200s\" (%zu bytes)",
                     entry->name, ebb_type_bytes(&entry->type));
    else if (!ebb_layout_agrees(&entry->layout, layout, &entry->type.shape))
        status = ebb_fail(error, EBB_INTERNAL,
                          "store: \"%.200s\" was bound in another layout meanwhile", entry->name);
    else
        entry->n_bound++;
    pthread_mutex_unlock(&store->mutex);
    return status;
}

void ebb_store_unbind(ebb_store *store, ebb_store_entry *entry)
{
    pthread_mutex_lock(&store->mutex);
    entry->n_bound--;
    pthread_mutex_unlock(&store->mutex);
}

/* ---- values ---- */

ebb_status ebb_store_get(ebb_store *store, const char *name, ebb_tensor *value)
{
    if (value)
        *value = (ebb_tensor){ 0 };
    if (!store)
        return EBB_OUT_OF_MEMORY;
    if (!value)
        return ebb_fail(&store->error, EBB_BAD_ARGUMENT, "store: no place for the value");
    ebb_store_entry *entry = ebb_store_find(store, name);
    if (!entry)
        return ebb_fail(&store->error, EBB_NOT_FOUND, "store: there is no \"%.200s\"",
                        name ? name : "(null)");
    pthread_mutex_lock(&store->mutex);
    const bool done = make_plain(store, entry);
    entry->is_viewed = entry->is_viewed || done;
    pthread_mutex_unlock(&store->mutex);
    if (!done)
        return ebb_fail(&store->error, EBB_OUT_OF_MEMORY,
                        "store: out of memory for a view of \"%.200s\" (%zu bytes)", name,
                        ebb_type_bytes(&entry->type));
    *value = ebb_tensor_borrow(entry->type.dtype, entry->type.shape,
                               entry->plain ? entry->plain : entry->data);
    return EBB_OK;
}

/* The entry of this name, which is made if there is none, if it may take a value of the type. */
static ebb_status open_entry(ebb_store *store, const char *name, const ebb_type *type,
                             ebb_store_entry **entry)
{
    *entry = ebb_store_find(store, name);
    if (!*entry)
        return ebb_store_add(store, name, type, entry, &store->error);
    const ebb_type *own = &(*entry)->type;
    char has[EBB_TYPE_TEXT_BYTES], given[EBB_TYPE_TEXT_BYTES];
    if (ebb_type_equal(own, type))
        return EBB_OK;
    return ebb_fail(&store->error, own->dtype == type->dtype ? EBB_BAD_SHAPE : EBB_BAD_DTYPE,
                    "store: \"%.200s\" is %.120s, given %.120s", name, ebb_type_text(own, has),
                    ebb_type_text(type, given));
}

ebb_status ebb_store_set_entry(ebb_store *store, const ebb_store_entry *from)
{
    ebb_store_entry *entry;
    const size_t bytes = ebb_type_bytes(&from->type);
    ebb_status status = open_entry(store, from->name, &from->type, &entry);
    if (status)
        return status;
    if (ebb_entry_is_plain(from)) {
        ebb_entry_write(entry, from->data);
        return EBB_OK;
    }
    if (ebb_entry_is_plain(entry)) {
        ebb_entry_read(from, entry->data);
        ebb_entry_touch(entry);
        return EBB_OK;
    }
    void *value = ebb_allocate(store->allocator, bytes);
    if (!value)
        return ebb_fail(&store->error, EBB_OUT_OF_MEMORY,
                        "store: out of memory for \"%.200s\" (%zu bytes)", from->name, bytes);
    ebb_entry_read(from, value);
    ebb_entry_write(entry, value);
    ebb_release(store->allocator, value, bytes);
    return EBB_OK;
}

/* Nobody is bound to it, so that nobody but the user can want its data. */
static bool is_free(ebb_store *store, const ebb_store_entry *entry)
{
    pthread_mutex_lock(&store->mutex);
    const bool free = entry->n_bound == 0;
    pthread_mutex_unlock(&store->mutex);
    return free;
}

bool ebb_store_may_pass(ebb_store *source, const ebb_store_entry *from, const ebb_store *store,
                        const ebb_type *type)
{
    return store->allocator == source->allocator && is_free(source, from) && from->data &&
           ebb_entry_is_plain(from) && ebb_type_equal(&from->type, type);
}

void ebb_store_pass_data(ebb_store *source, ebb_store_entry *from, ebb_store_entry *entry)
{
    entry->data = from->data;
    entry->layout = from->layout;
    from->data = NULL;
    ebb_store_drop_data(source, from);
}

void ebb_store_drop_data(ebb_store *store, ebb_store_entry *entry)
{
    const size_t bytes = ebb_type_bytes(&entry->type);
    if (!is_free(store, entry))
        return;
    ebb_release(store->allocator, entry->data, bytes);
    ebb_release(store->allocator, entry->plain, bytes);
    entry->data = entry->plain = NULL;
}

ebb_status ebb_store_move_entry(ebb_store *store, ebb_store *source, ebb_store_entry *from)
{
    ebb_store_entry *entry = NULL;
    if (store->allocator != source->allocator || ebb_store_find(store, from->name) ||
        !is_free(source, from))
        return ebb_store_set_entry(store, from);
    const ebb_status status =
        make_entry(store, from->name, &from->type, NULL, &entry, &store->error);
    if (status)
        return status;
    ebb_store_pass_data(source, from, entry);
    return EBB_OK;
}

ebb_status ebb_store_set(ebb_store *store, const char *name, const ebb_tensor *value)
{
    if (!store)
        return EBB_OUT_OF_MEMORY;
    size_t bytes = value ? ebb_tensor_bytes(value) : 0;
    if (!value || (bytes && !value->data))
        return ebb_fail(&store->error, EBB_BAD_ARGUMENT, "store: no value given for \"%.200s\"",
                        name ? name : "(null)");
    ebb_store_entry *entry;
    ebb_status status = open_entry(store, name, &value->type, &entry);
    if (status)
        return status;
    ebb_entry_write(entry, value->data);
    return EBB_OK;
}
