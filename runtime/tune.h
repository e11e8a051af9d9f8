/* Choosing between the ways in which a backend can compute a region, by taking the time; and a file
 * of such choices. */
#ifndef RUNTIME_TUNE_H
#define RUNTIME_TUNE_H

#include "runtime/runtime.h"

enum { EBB_TUNE_KEY_BYTES = 1024, EBB_TUNE_HEADER_BYTES = 1024 };

/* What was chosen for a region: name of the backend, op, attributes, operands, threads, error. */
typedef struct ebb_tune_line {
    uint64_t hash; /* of the key */
    const char *key, *choice;
} ebb_tune_line;

typedef struct ebb_tuner {
    const ebb_allocator *allocator;
    ebb_logger log;
    ebb_arena arena;   /* keys and choices */
    ebb_list lines;    /* ebb_tune_line */
    const char *path;  /* of the file; NULL: none */
    double conv_error; /* as in the options */
    bool may_time, is_changed;
    char
        header[EBB_TUNE_HEADER_BYTES]; /* versions and processor: a file with another is not used */
} ebb_tuner;

/* Reads the file, if there is one that can be used. e->tuner stays NULL without autotune. */
ebb_status ebb_tuner_start(ebb_executable *e, const ebb_compile_options *options);
/* Writes the file, if there is something new; what goes wrong is logged. May be stopped without a
 * start. */
void ebb_tuner_stop(ebb_executable *e);
/* The fastest way to compute the region, which the backend would take by default: it may be one of
 * another backend. *choice: its name, which lives until the tuner stops; NULL: what the backend
 * does by itself. */
ebb_status ebb_tuner_choose(ebb_executable *e, const ebb_region *region, int *backend,
                            const char **choice);

/* tune_cache.c */
void EBB_PRINTF(3, 4)
    ebb_tuner_log(const ebb_tuner *tuner, ebb_log_level level, const char *format, ...);
const ebb_tune_line *ebb_tuner_find(const ebb_tuner *tuner, const char *key);
/* In place of what there was; both are copied. False: out of memory. */
bool ebb_tuner_set(ebb_tuner *tuner, const char *key, const char *choice);

#endif
