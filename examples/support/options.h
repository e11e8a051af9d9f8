/* Command lines: --name value, --name=value, --flag, --help. */
#ifndef EXAMPLES_SUPPORT_OPTIONS_H
#define EXAMPLES_SUPPORT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum option_kind {
    OPTION_TEXT,   /* const char * */
    OPTION_COUNT,  /* int64_t */
    OPTION_NUMBER, /* double */
    OPTION_FLAG    /* bool, true if it is given */
} option_kind;

typedef struct option_row {
    const char *name; /* "rate", without dashes; NULL ends a table */
    option_kind kind;
    void *value;                /* holds the default; set if the option is given */
    const char *help;           /* one line */
    const char *const *choices; /* NULL-terminated, for OPTION_TEXT; NULL: any text */
    double low, high; /* allowed range, both included; both 0: counts from 0, any finite number */
} option_row;

/* --backend, with the names that ebb_compile takes. `variable` is a const char *, "onednn" to begin
 * with. */
#define OPTION_BACKEND(variable)                                                                   \
    {                                                                                              \
        "backend", OPTION_TEXT, &(variable), "what computes: onednn or reference",                 \
            option_backends, 0, 0                                                                  \
    }
extern const char *const option_backends[];
/* --threads N. `variable` is an int64_t, 0 to begin with. */
#define OPTION_THREADS(variable)                                                                   \
    {                                                                                              \
        "threads", OPTION_COUNT, &(variable), "0: as many as OpenMP would use", 0, 0, 1024         \
    }
/* --data DIR, for data_load (data.h). `variable` is a const char *, NULL to begin with. */
#define OPTION_DATA(variable)                                                                      \
    {                                                                                              \
        "data", OPTION_TEXT, &(variable), "folder with MNIST; none: draw digits", 0, 0, 0          \
    }
/* --seed N. `variable` is an int64_t. */
#define OPTION_SEED(variable)                                                                      \
    {                                                                                              \
        "seed", OPTION_COUNT, &(variable), "of all that is random", 0, 0, 0                        \
    }
/* --out DIR, for output_open (output.h). `variable` is a const char *, NULL to begin with. */
#define OPTION_OUT(variable)                                                                       \
    {                                                                                              \
        "out", OPTION_TEXT, &(variable), "folder for what is written, made if needed", 0, 0, 0     \
    }

/* Reads the command line into the table's variables. --help prints `summary` and the table and
 * exits with 0; a mistake prints one line on stderr and exits with 2. */
void options_read(int argc, char **argv, const char *summary, const option_row *table);

#endif
