/* The store owns the values of variables, by full name. Several executables (training, evaluation,
 * another batch size) share one store: an update made by one is what the next reads. */
#ifndef EBB_STORE_H
#define EBB_STORE_H

#include <ebb/tensor.h>

EBB_BEGIN

typedef struct ebb_store ebb_store;

/* NULL when memory is out. The store must outlive every executable compiled with it. */
EBB_API ebb_store *ebb_store_create(const ebb_allocator *allocator);
EBB_API void ebb_store_destroy(ebb_store *store);
EBB_API const char *ebb_store_message(const ebb_store *store);

EBB_API int64_t ebb_store_size(const ebb_store *store);
/* Name of entry `index`, in order of creation; NULL out of range. */
EBB_API const char *ebb_store_name(const ebb_store *store, int64_t index);
/* A view of the value (borrowed, valid until the store is destroyed). It may be read between runs;
 * to write use ebb_store_set, so that executables notice. While executables keep the value in a
 * layout of their own, the view is a second copy of it, which every run that changes the value
 * brings up to date: fetch a variable to look at it only once. NOT_FOUND, OUT_OF_MEMORY. */
EBB_NODISCARD EBB_API ebb_status ebb_store_get(ebb_store *store, const char *name,
                                               ebb_tensor *value);
/* Copies the value in; makes the entry if there is none. Another dtype or shape than the entry has:
 * BAD_DTYPE, BAD_SHAPE, and nothing changes. BAD_NAME, OUT_OF_MEMORY. */
EBB_NODISCARD EBB_API ebb_status ebb_store_set(ebb_store *store, const char *name,
                                               const ebb_tensor *value);

EBB_END

#endif
