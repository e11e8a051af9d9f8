/* Batches in the order of a training, prepared by threads ahead of the caller.
 *
 * Batch number k since the start is prepared in slot k % n_slots, whoever does it, and its values
 * depend on (seed, k) alone: threads change when a batch is ready, never what is in it. One mutex
 * guards the numbers below; a thread fills its slot without it. The caller holds the slot of the
 * last batch until its next call. */
#include "training/dataset.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

typedef enum slot_state { SLOT_FREE, SLOT_TAKEN, SLOT_READY } slot_state;

typedef struct slot {
    slot_state state;
    ebb_batch batch;
    int64_t *indices;                  /* [batch]; owned */
    ebb_tensor fields[EBB_MAX_FIELDS]; /* their data is owned, of full batches */
    void *staging;                     /* a changed example of source values; owned */
    ebb_status status;
    ebb_error error;
} slot;

/* What an augmented field needs. */
typedef struct field_plan {
    const ebb_augment *augment; /* NULL: none */
    ebb_shape shape;            /* of an example */
} field_plan;

struct ebb_loader {
    const ebb_allocator *allocator;
    const ebb_dataset *dataset;
    ebb_dataset *owned;         /* the same, of ebb_image_loader_create; else NULL */
    ebb_loader_options options; /* pointers replaced by copies */
    int64_t *indices;           /* [n]; owned, NULL: all examples */
    int64_t *order;             /* [n]: the order of epoch `order_epoch`; owned, NULL: in order */
    int64_t order_epoch;        /* -1: none yet */
    int64_t n, n_batches;
    ebb_augment augments[EBB_MAX_FIELDS];
    field_plan plans[EBB_MAX_FIELDS];
    size_t staging_bytes;
    slot *slots; /* [n_slots] */
    int n_slots;
    int64_t epoch, number; /* of the batch that comes next */
    ebb_error error;

    pthread_t threads[EBB_LOADER_MAX_THREADS];
    int n_threads; /* running */
    pthread_mutex_t mutex;
    pthread_cond_t work, ready; /* for threads: a free slot, or the end; for the caller */
    bool has_mutex, has_work, has_ready;
    bool is_stopping;
    int64_t first;       /* epoch * n_batches + number where the threads started */
    int64_t n_given_out; /* batches that threads have taken up */
    int64_t n_received;  /* batches that the caller has got */
    bool is_holding;     /* the caller has the slot of the last of them */
};

/* ---- one batch ---- */

/* The order of this epoch, in loader->order. */
static void need_order(ebb_loader *loader, int64_t epoch)
{
    if (!loader->order || loader->order_epoch == epoch)
        return;
    ebb_shuffle(loader->order, loader->n, loader->options.seed, (uint64_t)epoch);
    loader->order_epoch = epoch;
}

/* Which examples are in a batch: everything about it but the values. */
static void plan_batch(ebb_loader *loader, slot *s, int64_t epoch, int64_t number)
{
    const int64_t full = loader->options.batch, first = number * full;
    const int64_t left = loader->n - first;
    int64_t n = left < full ? left : full;
    int64_t size = full;
    if (n < full && loader->options.last == EBB_LAST_KEEP)
        size = n;
    if (loader->options.last == EBB_LAST_WRAP)
        n = full;
    need_order(loader, epoch);
    for (int64_t i = 0; i < n; i++) {
        const int64_t place = (first + i) % loader->n;
        const int64_t at = loader->order ? loader->order[place] : place;
        s->indices[i] = loader->indices ? loader->indices[at] : at;
    }
    s->batch = (ebb_batch){ .epoch = epoch,
                            .number = number,
                            .size = size,
                            .n_examples = n,
                            .indices = s->indices,
                            .is_last = number == loader->n_batches - 1,
                            .n_fields = loader->dataset->n_fields,
                            .fields = s->fields };
    for (int f = 0; f < loader->dataset->n_fields; f++)
        s->fields[f].type.shape.dims[0] = size;
}

static void fill_field(const ebb_loader *loader, slot *s, int field)
{
    const ebb_form *form = &loader->dataset->forms[field];
    const field_plan *plan = &loader->plans[field];
    const int64_t n_source = ebb_shape_elements(&plan->shape);
    const int64_t n_out = ebb_form_out_elements(form, &plan->shape);
    const size_t out_bytes = (size_t)n_out * ebb_dtype_bytes(form->dtype);
    const uint64_t key =
        plan->augment ? ebb_augment_key(loader->options.seed, (uint64_t)s->batch.epoch) : 0;
    char *out = s->fields[field].data;
    for (int64_t i = 0; i < s->batch.n_examples; i++, out += out_bytes) {
        const int64_t index = s->indices[i];
        if (!plan->augment) {
            ebb_form_write(form, ebb_form_example(form, index), n_source, out);
            continue;
        }
        ebb_augment_move(plan->augment, form, &plan->shape, key, index, s->staging);
        ebb_form_write(form, s->staging, n_source, out);
        if (plan->augment->noise > 0)
            ebb_augment_noise(plan->augment, form->dtype, key, index, n_out, out);
    }
    if (s->batch.n_examples < s->batch.size)
        memset(out, 0, (size_t)(s->batch.size - s->batch.n_examples) * out_bytes);
}

static void fill_batch(const ebb_loader *loader, slot *s)
{
    for (int f = 0; f < loader->dataset->n_fields; f++)
        fill_field(loader, s, f);
    s->status = EBB_OK;
    if (!loader->options.edit)
        return;
    s->error = (ebb_error){ 0 };
    s->status = loader->options.edit(loader->options.edit_context, &s->batch, s->fields, &s->error);
}

/* ---- threads ---- */

static void *prepare_batches(void *context)
{
    ebb_loader *loader = context;
    pthread_mutex_lock(&loader->mutex);
    for (;;) {
        slot *s = &loader->slots[loader->n_given_out % loader->n_slots];
        if (loader->is_stopping)
            break;
        if (s->state != SLOT_FREE) {
            pthread_cond_wait(&loader->work, &loader->mutex);
            continue;
        }
        const int64_t k = loader->first + loader->n_given_out++;
        s->state = SLOT_TAKEN;
        plan_batch(loader, s, k / loader->n_batches, k % loader->n_batches);
        pthread_mutex_unlock(&loader->mutex);
        fill_batch(loader, s);
        pthread_mutex_lock(&loader->mutex);
        s->state = SLOT_READY;
        pthread_cond_signal(&loader->ready);
    }
    pthread_mutex_unlock(&loader->mutex);
    return NULL;
}

/* Ends the threads and frees all slots. */
static void stop_threads(ebb_loader *loader)
{
    if (loader->n_threads > 0) {
        pthread_mutex_lock(&loader->mutex);
        loader->is_stopping = true;
        pthread_cond_broadcast(&loader->work);
        pthread_mutex_unlock(&loader->mutex);
    }
    for (int i = 0; i < loader->n_threads; i++)
        pthread_join(loader->threads[i], NULL);
    loader->n_threads = 0;
    loader->is_stopping = loader->is_holding = false;
    for (int i = 0; i < loader->n_slots; i++)
        loader->slots[i].state = SLOT_FREE;
}

/* From the position of the loader on. Fewer threads than asked for will do, but not none. */
static ebb_status start_threads(ebb_loader *loader)
{
    sigset_t all, before;
    int failure = 0;
    loader->first = loader->epoch * loader->n_batches + loader->number;
    loader->n_given_out = loader->n_received = 0;
    /* Signals are for the threads of the program. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (loader->n_threads < loader->options.n_threads && !failure) {
        failure =
            pthread_create(&loader->threads[loader->n_threads], NULL, prepare_batches, loader);
        loader->n_threads += failure == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (loader->n_threads > 0)
        return EBB_OK;
    return ebb_fail(&loader->error, EBB_LIMIT, "loader: no thread can be started: %s",
                    strerror(failure));
}

/* The slot of the next batch, ready. */
static ebb_status receive(ebb_loader *loader, slot **received)
{
    if (loader->options.no_thread) {
        *received = &loader->slots[0];
        plan_batch(loader, *received, loader->epoch, loader->number);
        fill_batch(loader, *received);
        return EBB_OK;
    }
    if (loader->n_threads == 0) {
        const ebb_status status = start_threads(loader);
        if (status != EBB_OK)
            return status;
    }
    slot *s = &loader->slots[loader->n_received % loader->n_slots];
    pthread_mutex_lock(&loader->mutex);
    if (loader->is_holding) {
        loader->slots[(loader->n_received - 1) % loader->n_slots].state = SLOT_FREE;
        loader->is_holding = false;
        /* A thread that waits is woken once for several slots: waking costs more than a small
         * batch. When the caller would have to wait itself, all slots are free. */
        const int64_t n_free = loader->n_slots - (loader->n_given_out - loader->n_received);
        if (n_free >= (loader->n_slots + 1) / 2)
            pthread_cond_signal(&loader->work);
    }
    while (s->state != SLOT_READY)
        pthread_cond_wait(&loader->ready, &loader->mutex);
    pthread_mutex_unlock(&loader->mutex);
    *received = s;
    return EBB_OK;
}

/* ---- making a loader ---- */

static ebb_status check_options(const ebb_dataset *dataset, const ebb_loader_options *options,
                                ebb_error *error)
{
    if (!dataset || !options)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "loader: %s is NULL",
                        dataset ? "options" : "dataset");
    if (options->batch < 1 || options->batch > INT32_MAX)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "loader: a batch of %" PRId64 " examples",
                        options->batch);
    if ((unsigned)options->last > EBB_LAST_PAD)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "loader: there is no last batch of kind %d",
                        (int)options->last);
    if (options->n_threads < 0 || options->n_threads > EBB_LOADER_MAX_THREADS)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "loader: %d threads; at most %d",
                        options->n_threads, EBB_LOADER_MAX_THREADS);
    if (options->queue < 0 || options->queue > EBB_LOADER_MAX_QUEUE)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "loader: a queue of %d batches; at most %d",
                        options->queue, EBB_LOADER_MAX_QUEUE);
    if (options->n_augments < 0 || options->n_augments > EBB_MAX_FIELDS ||
        (options->n_augments > 0 && !options->augments))
        return ebb_fail(error, EBB_BAD_ARGUMENT, "loader: %d augmentations of %d fields",
                        options->n_augments, dataset->n_fields);
    if (options->indices && options->n_indices < 1)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "loader: there are no examples");
    for (int64_t i = 0; options->indices && i < options->n_indices; i++)
        if (options->indices[i] < 0 || options->indices[i] >= dataset->n)
            return ebb_fail(error, EBB_BAD_INDEX,
                            "loader: indices[%" PRId64 "] is %" PRId64 ", but there are %" PRId64
                            " examples",
                            i, options->indices[i], dataset->n);
    const int64_t n = options->indices ? options->n_indices : dataset->n;
    if (options->last == EBB_LAST_DROP && n < options->batch)
        return ebb_fail(error, EBB_BAD_ARGUMENT,
                        "loader: %" PRId64 " examples do not fill a batch of %" PRId64
                        ", and the rest of an epoch is dropped",
                        n, options->batch);
    return EBB_OK;
}

/* Fills plans and staging_bytes. */
static ebb_status plan_fields(ebb_loader *loader, ebb_error *error)
{
    const ebb_dataset *dataset = loader->dataset;
    for (int f = 0; f < dataset->n_fields; f++)
        loader->plans[f].shape = dataset->forms[f].shape;
    for (int i = 0; i < loader->options.n_augments; i++) {
        const ebb_augment *augment = &loader->options.augments[i];
        if (augment->field < 0 || augment->field >= dataset->n_fields ||
            loader->plans[augment->field].augment)
            return ebb_fail(error, EBB_BAD_ARGUMENT,
                            "loader: augmentation %d is of field %d, which %s", i, augment->field,
                            augment->field < 0 || augment->field >= dataset->n_fields
                                ? "is not there"
                                : "has one");
        loader->augments[i] = *augment;
        field_plan *plan = &loader->plans[augment->field];
        const ebb_form *form = &dataset->forms[augment->field];
        const ebb_status status = ebb_augment_check(augment, form, &plan->shape, error);
        if (status != EBB_OK)
            return status;
        plan->augment = &loader->augments[i];
        const int64_t n = ebb_shape_elements(&plan->shape);
        const size_t bytes = n > 0 ? (size_t)n * ebb_dtype_bytes(form->values.type.dtype) : 0;
        if (bytes > loader->staging_bytes)
            loader->staging_bytes = bytes;
    }
    return EBB_OK;
}

static bool allocate_slot(ebb_loader *loader, slot *s)
{
    const size_t batch = (size_t)loader->options.batch;
    s->indices = ebb_allocate(loader->allocator, batch * sizeof *s->indices);
    if (loader->staging_bytes > 0)
        s->staging = ebb_allocate(loader->allocator, loader->staging_bytes);
    if (!s->indices || (loader->staging_bytes > 0 && !s->staging))
        return false;
    for (int f = 0; f < loader->dataset->n_fields; f++)
        if (ebb_tensor_init(&s->fields[f], ebb_loader_type(loader, f), loader->allocator) != EBB_OK)
            return false;
    return true;
}

static ebb_status allocate(ebb_loader *loader, ebb_error *error)
{
    const size_t n = (size_t)loader->n;
    if (loader->options.indices) {
        loader->indices = ebb_allocate(loader->allocator, n * sizeof *loader->indices);
        if (!loader->indices)
            goto no_memory;
        memcpy(loader->indices, loader->options.indices, n * sizeof *loader->indices);
    }
    if (!loader->options.in_order) {
        loader->order = ebb_allocate(loader->allocator, n * sizeof *loader->order);
        if (!loader->order)
            goto no_memory;
    }
    loader->slots = ebb_allocate(loader->allocator, (size_t)loader->n_slots * sizeof(slot));
    if (!loader->slots)
        goto no_memory;
    memset(loader->slots, 0, (size_t)loader->n_slots * sizeof(slot));
    for (int i = 0; i < loader->n_slots; i++)
        if (!allocate_slot(loader, &loader->slots[i]))
            goto no_memory;
    loader->has_mutex = pthread_mutex_init(&loader->mutex, NULL) == 0;
    loader->has_work = pthread_cond_init(&loader->work, NULL) == 0;
    loader->has_ready = pthread_cond_init(&loader->ready, NULL) == 0;
    if (loader->has_mutex && loader->has_work && loader->has_ready)
        return EBB_OK;
no_memory:
    return ebb_fail(error, EBB_OUT_OF_MEMORY,
                    "loader: no memory for %d batches of %" PRId64 " examples", loader->n_slots,
                    loader->options.batch);
}

ebb_status ebb_loader_create(const ebb_dataset *dataset, const ebb_loader_options *options,
                             const ebb_allocator *allocator, ebb_loader **loader, ebb_error *error)
{
    if (!loader)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "loader: no place for it");
    *loader = NULL;
    ebb_status status = check_options(dataset, options, error);
    if (status != EBB_OK)
        return status;
    ebb_loader *made = ebb_allocate(allocator, sizeof *made);
    if (!made)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "loader: no memory for it");
    memset(made, 0, sizeof *made);
    made->allocator = allocator;
    made->dataset = dataset;
    made->options = *options;
    if (made->options.n_threads == 0)
        made->options.n_threads = 1;
    if (made->options.queue == 0)
        made->options.queue = 4;
    /* One more is with the caller. */
    made->n_slots = options->no_thread ? 1 : made->options.queue + 1;
    made->order_epoch = -1;
    made->n = options->indices ? options->n_indices : dataset->n;
    made->n_batches = made->n / options->batch;
    if (options->last != EBB_LAST_DROP && made->n % options->batch > 0)
        made->n_batches++;
    status = plan_fields(made, error);
    if (status == EBB_OK)
        status = allocate(made, error);
    if (status != EBB_OK) {
        ebb_loader_destroy(made);
        return status;
    }
    made->options.indices = NULL; /* the caller's, and copied */
    made->options.augments = NULL;
    *loader = made;
    return EBB_OK;
}

void ebb_loader_destroy(ebb_loader *loader)
{
    if (!loader)
        return;
    const ebb_allocator *allocator = loader->allocator;
    if (loader->slots)
        stop_threads(loader);
    for (int i = 0; loader->slots && i < loader->n_slots; i++) {
        slot *s = &loader->slots[i];
        for (int f = 0; f < loader->dataset->n_fields; f++) {
            s->fields[f].type.shape.dims[0] = loader->options.batch; /* as it was allocated */
            ebb_tensor_finish(&s->fields[f]);
        }
        ebb_release(allocator, s->staging, loader->staging_bytes);
        ebb_release(allocator, s->indices, (size_t)loader->options.batch * sizeof *s->indices);
    }
    if (loader->has_ready)
        pthread_cond_destroy(&loader->ready);
    if (loader->has_work)
        pthread_cond_destroy(&loader->work);
    if (loader->has_mutex)
        pthread_mutex_destroy(&loader->mutex);
    ebb_release(allocator, loader->slots, (size_t)loader->n_slots * sizeof(slot));
    ebb_release(allocator, loader->order, (size_t)loader->n * sizeof *loader->order);
    ebb_release(allocator, loader->indices, (size_t)loader->n * sizeof *loader->indices);
    ebb_dataset_destroy(loader->owned);
    ebb_release(allocator, loader, sizeof *loader);
}

ebb_status ebb_image_loader_create(const ebb_image_set *set, const ebb_loader_options *options,
                                   const ebb_allocator *allocator, ebb_loader **loader,
                                   ebb_error *error)
{
    ebb_field fields[2];
    ebb_dataset *dataset;
    if (loader)
        *loader = NULL;
    if (!set || !loader)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "loader: %s",
                        set ? "no place for it" : "there is no set of images");
    ebb_image_set_fields(set, fields);
    ebb_status status = ebb_dataset_create(fields, 2, allocator, &dataset, error);
    if (status == EBB_OK)
        status = ebb_loader_create(dataset, options, allocator, loader, error);
    if (status == EBB_OK)
        (*loader)->owned = dataset;
    else
        ebb_dataset_destroy(dataset);
    return status;
}

const char *ebb_loader_message(const ebb_loader *loader)
{
    return loader ? loader->error.message : "there is no loader";
}

/* ---- using it ---- */

ebb_status ebb_loader_next(ebb_loader *loader, ebb_batch *batch)
{
    if (batch)
        *batch = (ebb_batch){ 0 };
    if (!loader || !batch)
        return loader ? ebb_fail(&loader->error, EBB_BAD_ARGUMENT, "loader: batch is NULL")
                      : EBB_BAD_ARGUMENT;
    slot *s;
    ebb_status status = receive(loader, &s);
    if (status != EBB_OK)
        return status;
    if (s->status != EBB_OK)
        return ebb_fail(&loader->error, s->status,
                        "loader: epoch %" PRId64 ", batch %" PRId64 ": %s", loader->epoch,
                        loader->number,
                        s->error.message[0] ? s->error.message : ebb_status_text(s->status));
    *batch = s->batch;
    loader->n_received++;
    loader->is_holding = !loader->options.no_thread;
    if (++loader->number == loader->n_batches) {
        loader->number = 0;
        loader->epoch++;
    }
    return EBB_OK;
}

ebb_type ebb_loader_type(const ebb_loader *loader, int field)
{
    if (!loader || field < 0 || field >= loader->dataset->n_fields)
        return (ebb_type){ 0 };
    return ebb_form_batch_type(&loader->dataset->forms[field], &loader->plans[field].shape,
                               loader->options.batch);
}

int64_t ebb_loader_n_batches(const ebb_loader *loader)
{
    return loader ? loader->n_batches : 0;
}

uint64_t ebb_loader_seed(const ebb_loader *loader)
{
    return loader ? loader->options.seed : 0;
}

void ebb_loader_position(const ebb_loader *loader, int64_t *epoch, int64_t *number)
{
    *epoch = loader ? loader->epoch : 0;
    *number = loader ? loader->number : 0;
}

ebb_status ebb_loader_seek(ebb_loader *loader, int64_t epoch, int64_t number)
{
    if (!loader)
        return EBB_BAD_ARGUMENT;
    if (epoch < 0 || epoch > INT64_MAX / 2 / loader->n_batches || number < 0 ||
        number >= loader->n_batches)
        return ebb_fail(&loader->error, EBB_BAD_ARGUMENT,
                        "loader: there is no batch %" PRId64 " of epoch %" PRId64
                        "; an epoch has %" PRId64,
                        number, epoch, loader->n_batches);
    stop_threads(loader);
    loader->epoch = epoch;
    loader->number = number;
    return EBB_OK;
}
