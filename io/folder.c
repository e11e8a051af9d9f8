/* A folder of images: one folder a class, one picture a file. */
#include <ebb/io.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { MAX_CLASSES = 256 }; /* labels are U8 */

/* ---- sorted names ---- */

/* Names behind each other, each with its zero; sorted, their places are in `starts`. */
typedef struct names {
    const ebb_allocator *allocator;
    char *text;
    size_t n_text, capacity;
    char **sorted; /* [n] */
    size_t n;
} names;

static bool grow(names *list, size_t n_more)
{
    if (list->n_text + n_more <= list->capacity)
        return true;
    const size_t capacity = 2 * (list->n_text + n_more);
    char *text = ebb_allocate(list->allocator, capacity);
    if (!text)
        return false;
    if (list->n_text > 0)
        memcpy(text, list->text, list->n_text);
    ebb_release(list->allocator, list->text, list->capacity);
    list->text = text;
    list->capacity = capacity;
    return true;
}

static void finish_names(names *list)
{
    ebb_release(list->allocator, list->sorted, list->n * sizeof *list->sorted);
    ebb_release(list->allocator, list->text, list->capacity);
    *list = (names){ .allocator = list->allocator };
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool sort_names(names *list)
{
    list->sorted = ebb_allocate(list->allocator, list->n * sizeof *list->sorted);
    if (!list->sorted)
        return false;
    char *at = list->text;
    for (size_t i = 0; i < list->n; i++, at += strlen(at) + 1)
        list->sorted[i] = at;
    if (list->n > 1)
        qsort(list->sorted, list->n, sizeof *list->sorted, compare_names);
    return true;
}

/* ---- what is in a folder ---- */

static ebb_status join(const char *folder, const char *name, char path[PATH_MAX], ebb_error *error)
{
    const int n = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return n >= 0 && n < PATH_MAX
               ? EBB_OK
               : ebb_fail(error, EBB_IO, "%s/%.100s: the path is too long", folder, name);
}

static const char *ending_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : "";
}

static bool is_picture(const char *name)
{
    const char *ending = ending_of(name);
    return strcasecmp(ending, "png") == 0 || strcasecmp(ending, "pgm") == 0 ||
           strcasecmp(ending, "ppm") == 0;
}

/* The names of its folders, or of its pictures, sorted bytewise; hidden ones do not count. */
static ebb_status list_folder(const char *folder, bool wants_folders, names *list, ebb_error *error)
{
    ebb_status status = EBB_OK;
    DIR *stream = opendir(folder);
    if (!stream)
        return ebb_fail(error, EBB_IO, "%s: cannot be opened: %s", folder, strerror(errno));
    for (;;) {
        char path[PATH_MAX];
        struct stat about;
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry) {
            if (errno)
                status = ebb_fail(error, EBB_IO, "%s: cannot be read: %s", folder, strerror(errno));
            break;
        }
        const char *name = entry->d_name;
        if (name[0] == '.' || (!wants_folders && !is_picture(name)))
            continue;
        status = join(folder, name, path, error);
        if (status != EBB_OK)
            break;
        if (stat(path, &about) != 0 ||
            !(wants_folders ? S_ISDIR(about.st_mode) : S_ISREG(about.st_mode)))
            continue;
        const size_t n_bytes = strlen(name) + 1;
        if (!grow(list, n_bytes)) {
            status = ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory for its names", folder);
            break;
        }
        memcpy(list->text + list->n_text, name, n_bytes);
        list->n_text += n_bytes;
        list->n++;
    }
    closedir(stream);
    if (status == EBB_OK && !sort_names(list))
        status = ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory for its names", folder);
    return status;
}

/* ---- images ---- */

/* What is read, with room for `capacity` images. */
typedef struct reading {
    ebb_image_folder *result;
    const ebb_allocator *allocator;
    char first[PATH_MAX]; /* the picture that states the size */
    int64_t capacity;
    ebb_error *error;
} reading;

/* Images and labels of a set of `capacity` images of the size that result->set has. */
static ebb_status make_room(reading *r, int64_t capacity, const char *path)
{
    ebb_image_set *set = &r->result->set, more = *set;
    more.images = more.labels = (ebb_tensor){ 0 };
    const ebb_shape shape = set->channels == 1
                                ? EBB_SHAPE(capacity, set->height, set->width)
                                : EBB_SHAPE(capacity, set->channels, set->height, set->width);
    ebb_status status = ebb_tensor_init(&more.images, ebb_type_of(EBB_U8, shape), r->allocator);
    if (status == EBB_OK)
        status =
            ebb_tensor_init(&more.labels, ebb_type_of(EBB_U8, EBB_SHAPE(capacity)), r->allocator);
    if (status != EBB_OK) {
        ebb_image_set_finish(&more);
        return ebb_fail(r->error, status, "%s: no memory for %" PRId64 " images", path, capacity);
    }
    const size_t n_kept = (size_t)(set->n < capacity ? set->n : capacity);
    if (n_kept > 0) {
        memcpy(more.images.data, set->images.data,
               n_kept * (size_t)(set->channels * set->height * set->width));
        memcpy(more.labels.data, set->labels.data, n_kept);
    }
    ebb_tensor_finish(&set->images);
    ebb_tensor_finish(&set->labels);
    *set = more;
    r->capacity = capacity;
    return EBB_OK;
}

static ebb_status add_picture(reading *r, const char *path, int label)
{
    ebb_image_set *set = &r->result->set;
    ebb_tensor picture;
    ebb_status status = strcasecmp(ending_of(path), "png") == 0
                            ? ebb_png_read(path, r->allocator, &picture, r->error)
                            : ebb_pnm_read(path, r->allocator, &picture, r->error);
    if (status != EBB_OK)
        return status;
    const int64_t *dims = picture.type.shape.dims; /* [height, width, channels] */
    if (set->n == 0) {
        snprintf(r->first, sizeof r->first, "%s", path);
        set->height = dims[0];
        set->width = dims[1];
        set->channels = dims[2];
    } else if (dims[0] != set->height || dims[1] != set->width || dims[2] != set->channels) {
        status = ebb_fail(r->error, EBB_BAD_SHAPE,
                          "%s: %" PRId64 "x%" PRId64 " with %" PRId64
                          " channels, but %s is %" PRId64 "x%" PRId64 " with %" PRId64,
                          path, dims[0], dims[1], dims[2], r->first, set->height, set->width,
                          set->channels);
        goto done;
    }
    if (set->n == r->capacity)
        status = make_room(r, 2 * r->capacity + 16, path);
    if (status != EBB_OK)
        goto done;
    const int64_t n_pixels = set->height * set->width, channels = set->channels;
    const uint8_t *from = picture.data;
    uint8_t *to = (uint8_t *)set->images.data + set->n * n_pixels * channels;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t i = 0; i < n_pixels; i++)
            to[c * n_pixels + i] = from[i * channels + c];
    ((uint8_t *)set->labels.data)[set->n++] = (uint8_t)label;
done:
    ebb_tensor_finish(&picture);
    return status;
}

static ebb_status add_class(reading *r, const char *folder, int label)
{
    names pictures = { .allocator = r->allocator };
    ebb_status status = list_folder(folder, false, &pictures, r->error);
    if (status == EBB_OK && pictures.n == 0)
        status = ebb_fail(r->error, EBB_BAD_FORMAT,
                          "%s: the folder of a class has no .png, .pgm or .ppm file", folder);
    for (size_t i = 0; i < pictures.n && status == EBB_OK; i++) {
        char path[PATH_MAX];
        status = join(folder, pictures.sorted[i], path, r->error);
        if (status == EBB_OK)
            status = add_picture(r, path, label);
    }
    finish_names(&pictures);
    return status;
}

/* The names of the classes, in one block: pointers, and text behind them. */
static ebb_status keep_classes(reading *r, const char *folder, const names *classes)
{
    ebb_image_folder *result = r->result;
    const size_t n_pointers = classes->n;
    result->classes_bytes = n_pointers * sizeof *result->classes + classes->n_text;
    result->classes = ebb_allocate(r->allocator, result->classes_bytes);
    if (!result->classes)
        return ebb_fail(r->error, EBB_OUT_OF_MEMORY, "%s: no memory for its names", folder);
    char *text = (char *)(result->classes + n_pointers);
    for (size_t i = 0; i < n_pointers; i++) {
        const size_t n_bytes = strlen(classes->sorted[i]) + 1;
        memcpy(text, classes->sorted[i], n_bytes);
        result->classes[i] = text;
        text += n_bytes;
    }
    return EBB_OK;
}

void ebb_image_folder_finish(ebb_image_folder *folder)
{
    if (!folder)
        return;
    ebb_image_set_finish(&folder->set);
    ebb_release(folder->allocator, (void *)folder->classes, folder->classes_bytes);
    *folder = (ebb_image_folder){ 0 };
}

ebb_status ebb_image_folder_read(const char *path, const ebb_allocator *allocator,
                                 ebb_image_folder *folder, ebb_error *error)
{
    if (folder)
        *folder = (ebb_image_folder){ .allocator = allocator };
    if (!path || !folder)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_image_folder_read: %s is NULL",
                        path ? "folder" : "path");
    reading r = { .result = folder, .allocator = allocator, .error = error };
    names classes = { .allocator = allocator };
    ebb_status status = list_folder(path, true, &classes, error);
    if (status == EBB_OK && (classes.n == 0 || classes.n > MAX_CLASSES))
        status = ebb_fail(error, EBB_BAD_FORMAT,
                          "%s: expected a folder for each of 1 to %d classes, found %zu", path,
                          MAX_CLASSES, classes.n);
    if (status == EBB_OK)
        status = keep_classes(&r, path, &classes);
    folder->set.n_classes = (int)classes.n;
    for (size_t i = 0; i < classes.n && status == EBB_OK; i++) {
        char class_path[PATH_MAX];
        status = join(path, classes.sorted[i], class_path, error);
        if (status == EBB_OK)
            status = add_class(&r, class_path, (int)i);
    }
    if (status == EBB_OK)
        status = make_room(&r, folder->set.n, path);
    finish_names(&classes);
    if (status != EBB_OK)
        ebb_image_folder_finish(folder);
    return status;
}
