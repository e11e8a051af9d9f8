/* The file of choices: a line with versions and processor, then one line for each region, key and
 * choice with a tab between them. */
#include "runtime/tune.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_PATH_BYTES 4096
#define MAX_LINE_BYTES (EBB_TUNE_KEY_BYTES + EBB_CHOICE_BYTES + 2)

void ebb_tuner_log(const ebb_tuner *tuner, ebb_log_level level, const char *format, ...)
{
    char text[EBB_MESSAGE_BYTES];
    if (!tuner->log.write)
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    tuner->log.write(tuner->log.context, level, text);
}

/* ---- lines ---- */

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
static uint64_t hash_text(const char *text)
{
    uint64_t hash = 14695981039346656037u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash;
}

/* One after the other: timing a single region takes longer than looking at a million lines. */
static ebb_tune_line *find_line(const ebb_tuner *tuner, const char *key)
{
    ebb_tune_line *lines = tuner->lines.items;
    const uint64_t hash = hash_text(key);
    for (size_t i = 0; i < tuner->lines.n; i++)
        if (lines[i].hash == hash && strcmp(lines[i].key, key) == 0)
            return &lines[i];
    return NULL;
}

const ebb_tune_line *ebb_tuner_find(const ebb_tuner *tuner, const char *key)
{
    return find_line(tuner, key);
}

bool ebb_tuner_set(ebb_tuner *tuner, const char *key, const char *choice)
{
    const char *copy = ebb_arena_copy_text(&tuner->arena, choice, strlen(choice));
    ebb_tune_line *line = find_line(tuner, key);
    if (copy && !line) {
        const char *own_key = ebb_arena_copy_text(&tuner->arena, key, strlen(key));
        line = own_key ? ebb_list_add(&tuner->lines, tuner->allocator, sizeof *line, 1) : NULL;
        if (line)
            *line = (ebb_tune_line){ .hash = hash_text(key), .key = own_key };
    }
    if (!copy || !line)
        return false;
    line->choice = copy;
    return true;
}

/* ---- reading ---- */

/* The processor's name as the system tells it; "unknown" elsewhere. */
static void find_processor(char *name, size_t name_bytes)
{
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(name, name_bytes, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (!colon || strncmp(line, "model name", 10) != 0)
            continue;
        snprintf(name, name_bytes, "%s", colon + 1 + strspn(colon + 1, " \t"));
        name[strcspn(name, "\t\n")] = 0;
        break;
    }
    if (file)
        fclose(file);
}

static void fill_header(ebb_tuner *tuner, const ebb_executable *e)
{
    char processor[256];
    find_processor(processor, sizeof processor);
    int at = snprintf(tuner->header, sizeof tuner->header, "ebb-autotune 1\tEbb %s\t%s",
                      EBB_LIBRARY_VERSION, processor);
    for (int b = 0; b < e->n_backends; b++) {
        char text[128] = "";
        if (!e->backends[b]->choices || !e->backends[b]->describe || at < 0 ||
            (size_t)at >= sizeof tuner->header)
            continue;
        e->backends[b]->describe(e->backends[b], text, sizeof text);
        text[strcspn(text, "\t\n")] = 0;
        at += snprintf(tuner->header + at, sizeof tuner->header - (size_t)at, "\t%s", text);
    }
}

/* The next line without its end; false: there is none, or (*is_broken) it is none. */
static bool read_line(FILE *file, char line[MAX_LINE_BYTES], bool *is_broken)
{
    if (!fgets(line, MAX_LINE_BYTES, file)) {
        *is_broken = ferror(file) != 0;
        return false;
    }
    const size_t n = strlen(line);
    *is_broken = n == 0 || line[n - 1] != '\n';
    if (*is_broken)
        return false;
    line[n - 1] = 0;
    return true;
}

/* Key, tab, choice; both printable. */
static bool split_line(char *line, char **choice)
{
    for (const char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' && *c != '\t')
            return false;
    char *tab = strchr(line, '\t');
    if (!tab || tab == line || tab - line >= EBB_TUNE_KEY_BYTES)
        return false;
    *tab = 0;
    *choice = tab + 1;
    const size_t n = strlen(*choice);
    return n > 0 && n < EBB_CHOICE_BYTES && !strpbrk(*choice, " \t");
}

static const char not_used[] = "autotune: %.300s is %s: its choices are not used";

static ebb_status read_lines(ebb_tuner *tuner, FILE *file)
{
    char line[MAX_LINE_BYTES], *choice;
    bool is_broken;
    if (!read_line(file, line, &is_broken) || strncmp(line, "ebb-autotune ", 13) != 0) {
        ebb_tuner_log(tuner, EBB_LOG_WARNING, not_used, tuner->path, "no file of choices");
        tuner->is_changed = true;
        return EBB_OK;
    }
    if (strcmp(line, tuner->header) != 0) {
        ebb_tuner_log(tuner, EBB_LOG_WARNING, not_used, tuner->path,
                      "of another version or processor");
        tuner->is_changed = true;
        return EBB_OK;
    }
    while (read_line(file, line, &is_broken)) {
        is_broken = !split_line(line, &choice);
        if (is_broken)
            break;
        if (!ebb_tuner_set(tuner, line, choice))
            return EBB_OUT_OF_MEMORY;
    }
    if (is_broken) {
        ebb_tuner_log(tuner, EBB_LOG_WARNING, not_used, tuner->path, "broken");
        tuner->lines.n = 0;
        tuner->is_changed = true;
    }
    return EBB_OK;
}

static ebb_status read_file(ebb_tuner *tuner)
{
    FILE *file = fopen(tuner->path, "r");
    if (!file && errno != ENOENT)
        ebb_tuner_log(tuner, EBB_LOG_WARNING, "autotune: cannot read %.300s: %s", tuner->path,
                      strerror(errno));
    if (!file)
        return EBB_OK;
    ebb_status status = read_lines(tuner, file);
    fclose(file);
    return status;
}

ebb_status ebb_tuner_start(ebb_executable *e, const ebb_compile_options *options)
{
    const double bound = options->conv_error;
    if (!(bound >= 0))
        return ebb_fail(&e->error, EBB_BAD_ARGUMENT,
                        "compile: a conv_error of %g; it is 0 or a relative error", bound);
    if (!options->autotune && (bound > 0 || options->autotune_cache))
        return ebb_fail(&e->error, EBB_BAD_ARGUMENT, "compile: %s without autotune",
                        bound > 0 ? "conv_error" : "autotune_cache");
    if (!options->autotune)
        return EBB_OK;
    ebb_tuner *tuner = ebb_allocate(e->allocator, sizeof *tuner);
    if (!tuner)
        return ebb_fail(&e->error, EBB_OUT_OF_MEMORY, "compile: out of memory");
    *tuner = (ebb_tuner){ .allocator = e->allocator,
                          .log = e->log,
                          .path = options->autotune_cache,
                          .conv_error = bound,
                          .may_time = !options->plan_only };
    ebb_arena_init(&tuner->arena, e->allocator);
    e->tuner = tuner;
    fill_header(tuner, e);
    return !tuner->path || read_file(tuner) == EBB_OK
               ? EBB_OK
               : ebb_fail(&e->error, EBB_OUT_OF_MEMORY, "compile: out of memory");
}

/* ---- writing ---- */

/* 0, or an errno. */
static int write_lines(const ebb_tuner *tuner, const char *path)
{
    const ebb_tune_line *lines = tuner->lines.items;
    FILE *file = fopen(path, "w");
    if (!file)
        return errno;
    fprintf(file, "%s\n", tuner->header);
    for (size_t i = 0; i < tuner->lines.n; i++)
        fprintf(file, "%s\t%s\n", lines[i].key, lines[i].choice);
    const bool failed = ferror(file) != 0;
    return fclose(file) != 0 || failed ? (errno ? errno : EIO) : 0;
}

/* Under another name first, so that other processes see a whole file or none. */
static void write_file(const ebb_tuner *tuner)
{
    char part[MAX_PATH_BYTES];
    const int n = snprintf(part, sizeof part, "%s.%ld.part", tuner->path, (long)getpid());
    int why = n < 0 || (size_t)n >= sizeof part ? ENAMETOOLONG : write_lines(tuner, part);
    if (!why && rename(part, tuner->path) != 0)
        why = errno;
    if (!why)
        return;
    if (why != ENAMETOOLONG)
        remove(part);
    ebb_tuner_log(tuner, EBB_LOG_WARNING, "autotune: cannot write %.300s: %s", tuner->path,
                  strerror(why));
}

void ebb_tuner_stop(ebb_executable *e)
{
    ebb_tuner *tuner = e->tuner;
    if (!tuner)
        return;
    if (tuner->path && tuner->is_changed && tuner->may_time)
        write_file(tuner);
    ebb_list_finish(&tuner->lines, tuner->allocator, sizeof(ebb_tune_line));
    ebb_arena_finish(&tuner->arena);
    ebb_release(tuner->allocator, tuner, sizeof *tuner);
    e->tuner = NULL;
}
