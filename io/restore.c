/* Taking over what a file has, if it is of the same model: the file is first read into a store of
 * its own, and compared. */
#include "io/safetensors.h"

#include "runtime/store.h"

#include <ebb/io.h>
#include <inttypes.h>
#include <string.h>

/* Names that a message lists of each kind. */
#define SHOWN 3

typedef enum difference { MISSING, EXTRA, OTHER, N_DIFFERENCES } difference;

typedef struct comparison {
    int64_t n[N_DIFFERENCES];
    const ebb_store_entry *shown[N_DIFFERENCES][SHOWN]; /* of OTHER: those of the store */
    const ebb_store_entry *file_entry;                  /* of the first of OTHER */
} comparison;

static void note(comparison *c, difference kind, const ebb_store_entry *entry)
{
    if (c->n[kind] < SHOWN)
        c->shown[kind][c->n[kind]] = entry;
    c->n[kind]++;
}

static bool begins_with(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* The name without the prefix; NULL: it does not count. */
static const char *name_in_store(const char *name, const char *prefix, const char *without)
{
    if (!begins_with(name, prefix) || (without && begins_with(name, without)))
        return NULL;
    return name + strlen(prefix);
}

static const ebb_store_entry *entry_at(const ebb_store *store, int64_t index)
{
    return ebb_store_find(store, ebb_store_name(store, index));
}

/* OUT_OF_MEMORY only. */
static ebb_status compare_stores(const ebb_store *store, const ebb_store *file, const char *prefix,
                                 const char *without, comparison *c)
{
    for (int64_t i = 0; i < ebb_store_size(file); i++) {
        const char *name = name_in_store(ebb_store_name(file, i), prefix, without);
        if (name && !ebb_store_find(store, name))
            note(c, EXTRA, entry_at(file, i));
    }
    for (int64_t i = 0; i < ebb_store_size(store); i++) {
        const ebb_store_entry *entry = entry_at(store, i);
        const size_t prefix_bytes = strlen(prefix), bytes = prefix_bytes + entry->name_bytes;
        char *name = ebb_allocate(ebb_store_allocator(store), bytes);
        if (!name)
            return EBB_OUT_OF_MEMORY;
        memcpy(name, prefix, prefix_bytes);
        memcpy(name + prefix_bytes, entry->name, entry->name_bytes);
        const ebb_store_entry *found = ebb_store_find(file, name);
        ebb_release(ebb_store_allocator(store), name, bytes);
        if (!found) {
            note(c, MISSING, entry);
        } else if (!ebb_type_equal(&found->type, &entry->type)) {
            if (c->n[OTHER] == 0)
                c->file_entry = found;
            note(c, OTHER, entry);
        }
    }
    return EBB_OK;
}

typedef struct message {
    char text[EBB_MESSAGE_BYTES];
    size_t n;
} message;

static void say(message *m, const char *format, ...) EBB_PRINTF(2, 3);
static void say(message *m, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(m->text + m->n, sizeof m->text - m->n, format, arguments);
    va_end(arguments);
    if (n > 0)
        m->n = m->n + (size_t)n < sizeof m->text ? m->n + (size_t)n : sizeof m->text - 1;
}

static void say_names(message *m, const comparison *c, difference kind)
{
    for (int64_t i = 0; i < c->n[kind] && i < SHOWN; i++)
        say(m, "%s\"%.60s\"", i ? ", " : "", c->shown[kind][i]->name);
    if (c->n[kind] > SHOWN)
        say(m, " and %" PRId64 " more", c->n[kind] - SHOWN);
}

ebb_status ebb_store_match(const ebb_store *store, const ebb_store *file, const char *prefix,
                           const char *without, const char *path, ebb_error *error)
{
    comparison c = { .n = { 0 } };
    if (compare_stores(store, file, prefix, without, &c) != EBB_OK)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory to compare names", path);
    if (!c.n[MISSING] && !c.n[EXTRA] && !c.n[OTHER])
        return EBB_OK;
    message m = { .n = 0 };
    const char *between = "";
    if (c.n[MISSING]) {
        say(&m, "the file has no tensor ");
        say_names(&m, &c, MISSING);
        say(&m, ", which the store has");
        between = "; ";
    }
    if (c.n[EXTRA]) {
        say(&m, "%sthe store has no tensor ", between);
        say_names(&m, &c, EXTRA);
        say(&m, ", which the file has");
        between = "; ";
    }
    if (c.n[OTHER]) {
        char has[EBB_TYPE_TEXT_BYTES], found[EBB_TYPE_TEXT_BYTES];
        say(&m, "%stensor \"%.60s\" is %.80s in the file, but %.80s in the store", between,
            c.shown[OTHER][0]->name, ebb_type_text(&c.file_entry->type, found),
            ebb_type_text(&c.shown[OTHER][0]->type, has));
        if (c.n[OTHER] > 1)
            say(&m, " (and %" PRId64 " more of another type)", c.n[OTHER] - 1);
    }
    const ebb_status status = c.n[MISSING] || c.n[EXTRA] ? EBB_NOT_FOUND
                              : c.file_entry->type.dtype != c.shown[OTHER][0]->type.dtype
                                  ? EBB_BAD_DTYPE
                                  : EBB_BAD_SHAPE;
    return ebb_fail(error, status, "%s: %s", path, m.text);
}

void ebb_store_take(ebb_store *store, const ebb_store *file, const char *prefix,
                    const char *without)
{
    for (int64_t i = 0; i < ebb_store_size(file); i++) {
        const char *name = name_in_store(ebb_store_name(file, i), prefix, without);
        ebb_store_entry *entry = name ? ebb_store_find(store, name) : NULL;
        if (entry) /* the file's has never been bound: it is plain */
            ebb_entry_write(entry, entry_at(file, i)->data);
    }
}

ebb_status ebb_store_restore(ebb_store *store, const char *path, ebb_error *error)
{
    if (!store || !path)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_store_restore: %s is NULL",
                        store ? "path" : "store");
    ebb_store *file = ebb_store_create(ebb_store_allocator(store));
    if (!file)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory for a store", path);
    ebb_status status = ebb_store_load(file, path, error);
    if (status == EBB_OK)
        status = ebb_store_match(store, file, "", NULL, path, error);
    if (status == EBB_OK)
        ebb_store_take(store, file, "", NULL);
    ebb_store_destroy(file);
    return status;
}
