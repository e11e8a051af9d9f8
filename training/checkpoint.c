/* Checkpoints: a store and the place of its training, in one safetensors file. A folder keeps the
 * last of them; what a killed process left there is recognized and passed over. */
#include "io/safetensors.h"
#include "runtime/store.h"

#include <dirent.h>
#include <ebb/training.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Text of the header that makes a file a checkpoint. */
#define KEY "ebb.checkpoint"
/* In front of the names of the best values. */
#define BEST "(best)/"
#define FILE_PREFIX "step-"
#define FILE_SUFFIX ".safetensors"
#define STEP_FORMAT "%012" PRId64
#define STATE_BYTES 400

/* ---- the place as a text: numbers only, doubles by their bits ---- */

#define STATE_FORMAT(i64, u64, x64)                                                                \
    "version=1 step=%" i64 " epoch=%" i64 " batch=%" i64 " seed=%" u64 " loss_sum=%" x64           \
    " examples=%" i64 " right=%" i64 " best=%" x64 " best_epoch=%" i64

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double value_of(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void print_state(const ebb_checkpoint *c, char text[STATE_BYTES])
{
    snprintf(text, STATE_BYTES, STATE_FORMAT(PRId64, PRIu64, PRIx64), c->step, c->epoch, c->batch,
             c->seed, bits_of(c->loss_sum), c->n_examples, c->n_right, bits_of(c->best),
             c->best_epoch);
}

static bool is_place(const ebb_checkpoint *c)
{
    return c->step >= 0 && c->epoch >= 0 && c->batch >= 0 && c->n_examples >= 0 &&
           c->n_right >= 0 && c->best_epoch >= 0;
}

static bool parse_state(const char *text, ebb_checkpoint *c)
{
    uint64_t loss_sum = 0, best = 0;
    char again[STATE_BYTES];
    *c = (ebb_checkpoint){ 0 };
    if (sscanf(text, STATE_FORMAT(SCNd64, SCNu64, SCNx64), &c->step, &c->epoch, &c->batch, &c->seed,
               &loss_sum, &c->n_examples, &c->n_right, &best, &c->best_epoch) != 9)
        return false;
    c->loss_sum = value_of(loss_sum);
    c->best = value_of(best);
    print_state(c, again);
    return strcmp(text, again) == 0 && is_place(c);
}

/* ---- one file ---- */

/* What would be written and could not be read again is refused. */
static ebb_status check_contents(const char *path, const ebb_store *store, const ebb_store *best,
                                 const ebb_checkpoint *checkpoint, ebb_error *error)
{
    if (!is_place(checkpoint))
        return ebb_fail(error, EBB_BAD_ARGUMENT,
                        "%s: a checkpoint has no negative numbers: step %" PRId64 ", epoch %" PRId64
                        ", batch %" PRId64,
                        path, checkpoint->step, checkpoint->epoch, checkpoint->batch);
    const int64_t n = ebb_store_size(store), n_best = ebb_store_size(best);
    if (n_best && n_best != n)
        return ebb_fail(error, EBB_BAD_ARGUMENT,
                        "%s: %" PRId64 " best values for %" PRId64 " variables", path, n_best, n);
    for (int64_t i = 0; i < n; i++) {
        const char *name = ebb_store_name(store, i);
        if (strncmp(name, BEST, strlen(BEST)) == 0)
            return ebb_fail(error, EBB_BAD_NAME,
                            "%s: \"%.200s\": in a checkpoint, names that begin with \"" BEST
                            "\" are those of the best values",
                            path, name);
        const ebb_store_entry *own = ebb_store_find(store, name),
                              *other = n_best ? ebb_store_find(best, name) : own;
        if (!other || !ebb_type_equal(&own->type, &other->type))
            return ebb_fail(error, EBB_BAD_ARGUMENT,
                            "%s: the best values have no \"%.200s\", or one of another type", path,
                            name);
    }
    return EBB_OK;
}

ebb_status ebb_checkpoint_save(const char *path, const ebb_store *store, const ebb_store *best,
                               const ebb_checkpoint *checkpoint, ebb_error *error)
{
    if (!path || !store || !checkpoint)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_checkpoint_save: %s is NULL",
                        !path    ? "path"
                        : !store ? "store"
                                 : "checkpoint");
    const ebb_status checked = check_contents(path, store, best, checkpoint, error);
    if (checked)
        return checked;
    const ebb_allocator *allocator = ebb_store_allocator(store);
    const int64_t n = ebb_store_size(store) + ebb_store_size(best);
    ebb_file_tensor *tensors = ebb_allocate(allocator, (size_t)n * sizeof *tensors);
    if (!tensors)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory to lay out %" PRId64 " tensors",
                        path, n);
    ebb_file_tensors_fill(tensors, NULL, store);
    ebb_file_tensors_fill(tensors + ebb_store_size(store), BEST, best);
    char state[STATE_BYTES];
    print_state(checkpoint, state);
    const ebb_status status = ebb_safetensors_write(
        path, tensors, n, &(ebb_file_text){ KEY, state }, 1, allocator, error);
    ebb_release(allocator, tensors, (size_t)n * sizeof *tensors);
    return status;
}

/* The best values of the file into a store of their own, which need not have them yet. */
static ebb_status take_best(const ebb_store *store, ebb_store *file, ebb_store *best,
                            const char *path, ebb_error *error)
{
    const size_t skip = strlen(BEST);
    bool has_any = false;
    for (int64_t i = 0; i < ebb_store_size(file) && !has_any; i++)
        has_any = strncmp(ebb_store_name(file, i), BEST, skip) == 0;
    ebb_status status = has_any ? ebb_store_match(store, file, BEST, NULL, path, error) : EBB_OK;
    for (int64_t i = 0; i < ebb_store_size(file) && has_any && best && !status; i++) {
        const char *name = ebb_store_name(file, i);
        ebb_tensor value;
        if (strncmp(name, BEST, skip) != 0)
            continue;
        status = ebb_store_get(file, name, &value);
        if (!status)
            status = ebb_store_set(best, name + skip, &value);
        if (status)
            ebb_fail(error, status, "%s: %.300s", path, ebb_store_message(best));
    }
    return status;
}

ebb_status ebb_checkpoint_load(const char *path, ebb_store *store, ebb_store *best,
                               ebb_checkpoint *checkpoint, ebb_error *error)
{
    if (!path || !store || !checkpoint)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_checkpoint_load: %s is NULL",
                        !path    ? "path"
                        : !store ? "store"
                                 : "checkpoint");
    const ebb_allocator *allocator = ebb_store_allocator(store);
    ebb_checkpoint found = { 0 };
    ebb_file_text text = { .key = KEY };
    ebb_store *file = ebb_store_create(allocator);
    if (!file)
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory for a store", path);
    ebb_status status = ebb_safetensors_read(file, path, &text, 1, error);
    if (!status && !text.text)
        status = ebb_fail(error, EBB_BAD_FORMAT,
                          "%s: no checkpoint: the header has no text \"" KEY "\"", path);
    else if (!status && !parse_state(text.text, &found))
        status = ebb_fail(error, EBB_BAD_FORMAT, "%s: the text \"" KEY "\" is damaged: \"%.200s\"",
                          path, text.text);
    if (!status)
        status = ebb_store_match(store, file, "", BEST, path, error);
    if (!status)
        status = take_best(store, file, best, path, error);
    if (!status) {
        ebb_store_take(store, file, "", BEST);
        *checkpoint = found;
    }
    ebb_file_texts_finish(&text, 1, allocator);
    ebb_store_destroy(file);
    return status;
}

/* ---- a folder ---- */

/* The step in a name of ours, "step-000000000120.safetensors"; -1: another name. `is_temporary`: of
 * a file that was never finished, ".step-000000000120.safetensors.4711-0.tmp". */
static int64_t step_of(const char *name, bool is_temporary)
{
    const char *digits = name + strlen(FILE_PREFIX) + (is_temporary ? 1 : 0);
    char *end;
    if (is_temporary ? strncmp(name, "." FILE_PREFIX, strlen("." FILE_PREFIX)) != 0
                     : strncmp(name, FILE_PREFIX, strlen(FILE_PREFIX)) != 0)
        return -1;
    if (*digits < '0' || *digits > '9')
        return -1;
    errno = 0;
    const long long step = strtoll(digits, &end, 10);
    char written[32];
    if (errno || snprintf(written, sizeof written, STEP_FORMAT, (int64_t)step) != end - digits ||
        strncmp(end, FILE_SUFFIX, strlen(FILE_SUFFIX)) != 0)
        return -1;
    end += strlen(FILE_SUFFIX);
    const size_t left = strlen(end);
    const bool good = is_temporary ? left > 4 && strcmp(end + left - 4, ".tmp") == 0 : left == 0;
    return good ? (int64_t)step : -1;
}

static ebb_status make_path(const char *folder, int64_t step, char path[PATH_MAX], ebb_error *error)
{
    const int n = snprintf(path, PATH_MAX, "%s/" FILE_PREFIX STEP_FORMAT FILE_SUFFIX, folder, step);
    if (n < 0 || n >= PATH_MAX)
        return ebb_fail(error, EBB_IO, "%.200s...: the path is too long", folder);
    return EBB_OK;
}

typedef struct step_list {
    const ebb_allocator *allocator;
    int64_t *steps; /* [n], descending once sorted */
    int64_t n, capacity;
} step_list;

static bool add_step(step_list *list, int64_t step)
{
    if (list->n == list->capacity) {
        const int64_t capacity = list->capacity ? 2 * list->capacity : 16;
        int64_t *steps = ebb_allocate(list->allocator, (size_t)capacity * sizeof *steps);
        if (!steps)
            return false;
        if (list->n)
            memcpy(steps, list->steps, (size_t)list->n * sizeof *steps);
        ebb_release(list->allocator, list->steps, (size_t)list->capacity * sizeof *steps);
        list->steps = steps;
        list->capacity = capacity;
    }
    list->steps[list->n++] = step;
    return true;
}

static int compare_steps(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

static void finish_list(step_list *list)
{
    ebb_release(list->allocator, list->steps, (size_t)list->capacity * sizeof *list->steps);
}

/* The checkpoints of the folder, newest first. With `leftovers_until` >= 0 it also removes files
 * of steps up to that one which a killed process did not finish. */
static ebb_status list_folder(const char *folder, int64_t leftovers_until,
                              const ebb_allocator *allocator, step_list *list, ebb_error *error)
{
    *list = (step_list){ .allocator = allocator };
    DIR *entries = opendir(folder);
    if (!entries)
        return ebb_fail(error, EBB_IO, "%s: the folder cannot be read: %s", folder,
                        strerror(errno));
    ebb_status status = EBB_OK;
    for (const struct dirent *entry; !status && (entry = readdir(entries)) != NULL;) {
        const int64_t step = step_of(entry->d_name, false);
        if (step >= 0 && !add_step(list, step))
            status = ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory to list the folder", folder);
        const int64_t left = step_of(entry->d_name, true);
        if (left >= 0 && left <= leftovers_until)
            unlinkat(dirfd(entries), entry->d_name, 0);
    }
    closedir(entries);
    if (!status && list->n)
        qsort(list->steps, (size_t)list->n, sizeof *list->steps, compare_steps);
    if (status)
        finish_list(list);
    return status;
}

int64_t ebb_checkpoint_newest(const char *folder, const ebb_allocator *allocator)
{
    step_list list;
    if (!folder || list_folder(folder, -1, allocator, &list, NULL) != EBB_OK)
        return -1;
    const int64_t newest = list.n ? list.steps[0] : -1;
    finish_list(&list);
    return newest;
}

ebb_status ebb_checkpoint_add(const char *folder, int64_t keep, const ebb_store *store,
                              const ebb_store *best, const ebb_checkpoint *checkpoint,
                              ebb_error *error)
{
    char path[PATH_MAX];
    step_list list;
    if (!folder || !store || !checkpoint)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_checkpoint_add: %s is NULL",
                        !folder  ? "folder"
                        : !store ? "store"
                                 : "checkpoint");
    if (keep < 1)
        return ebb_fail(error, EBB_BAD_ARGUMENT,
                        "ebb_checkpoint_add: keep must be at least 1, not %" PRId64, keep);
    ebb_status status = make_path(folder, checkpoint->step, path, error);
    if (!status)
        status = ebb_checkpoint_save(path, store, best, checkpoint, error);
    if (!status)
        status = list_folder(folder, checkpoint->step, ebb_store_allocator(store), &list, error);
    if (status)
        return status;
    /* Newer ones than this belong to somebody else, or are damaged: they stay. */
    int64_t n = 0;
    for (int64_t i = 0; i < list.n; i++)
        if (list.steps[i] <= checkpoint->step && ++n > keep &&
            make_path(folder, list.steps[i], path, NULL) == EBB_OK)
            unlink(path); /* if it cannot be removed it only takes room */
    finish_list(&list);
    return EBB_OK;
}

static void warn(const ebb_logger *log, const char *message)
{
    char line[EBB_MESSAGE_BYTES + 32];
    if (!log || !log->write)
        return;
    snprintf(line, sizeof line, "checkpoint passed over: %s", message);
    log->write(log->context, EBB_LOG_WARNING, line);
}

ebb_status ebb_checkpoint_resume(const char *folder, ebb_store *store, ebb_store *best,
                                 ebb_checkpoint *checkpoint, const ebb_logger *log,
                                 ebb_error *error)
{
    char path[PATH_MAX];
    step_list list;
    ebb_error reason = { 0 };
    if (!folder || !store || !checkpoint)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_checkpoint_resume: %s is NULL",
                        !folder  ? "folder"
                        : !store ? "store"
                                 : "checkpoint");
    ebb_status status = list_folder(folder, -1, ebb_store_allocator(store), &list, error);
    if (status)
        return status;
    bool is_found = false;
    for (int64_t i = 0; i < list.n && !is_found; i++) {
        status = make_path(folder, list.steps[i], path, &reason);
        if (!status)
            status = ebb_checkpoint_load(path, store, best, checkpoint, &reason);
        if (status == EBB_BAD_FORMAT || status == EBB_IO)
            warn(log, reason.message);
        else
            is_found = true;
    }
    finish_list(&list);
    if (is_found)
        return status ? ebb_fail(error, status, "%s", reason.message) : EBB_OK;
    if (status)
        return ebb_fail(error, EBB_NOT_FOUND, "%.100s: no checkpoint can be read: %s", folder,
                        reason.message);
    return ebb_fail(error, EBB_NOT_FOUND, "%s: the folder has no checkpoint", folder);
}
