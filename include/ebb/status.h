/* Result codes, error messages, the log callback, and the attributes that every public header uses.
 *
 * The library never aborts, exits or prints. A call that can fail returns an `ebb_status`, and the
 * object it was called on keeps a message (ebb_graph_message, ebb_executable_message,
 * ebb_store_message); calls without such an object take an `ebb_error *` (NULL: the message is not
 * wanted). */
#ifndef EBB_STATUS_H
#define EBB_STATUS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EBB_API __attribute__((visibility("default")))
#define EBB_NODISCARD __attribute__((warn_unused_result))
#define EBB_PRINTF(text, first) __attribute__((format(printf, text, first)))

#ifdef __cplusplus
#define EBB_BEGIN extern "C" {
#define EBB_END }
#else
#define EBB_BEGIN
#define EBB_END
#endif

EBB_BEGIN

/* clang-format off */
/*        name                text */
#define EBB_STATUS_MAP(X)                                                              \
    X(OK,                 "success")                                                   \
    X(OUT_OF_MEMORY,      "out of memory")                                             \
    X(BAD_ARGUMENT,       "an argument is not allowed")                                \
    X(BAD_SHAPE,          "shapes do not fit")                                         \
    X(BAD_DTYPE,          "dtypes do not fit")                                         \
    X(BAD_AXIS,           "an axis is out of range or repeated")                       \
    X(BAD_ATTRIBUTE,      "an attribute has a value that is not allowed")              \
    X(BAD_NAME,           "a name is empty, taken or not allowed")                     \
    X(BAD_NODE,           "a node is none or belongs to another graph")                \
    X(BAD_GRAPH,          "the graph is broken or carries an error")                   \
    X(BAD_FEED,           "a feed is missing, repeated or of the wrong type")          \
    X(BAD_INDEX,          "an index value is out of range")                            \
    X(BAD_FORMAT,         "a file or text is malformed")                               \
    X(NOT_FOUND,          "there is no such thing")                                    \
    X(NOT_DIFFERENTIABLE, "there is no gradient")                                      \
    X(NOT_FINITE,         "a value is NaN or infinite")                                \
    X(MISMATCH,           "values differ by more than allowed")                        \
    X(UNSUPPORTED,        "no backend can do this")                                    \
    X(IO,                 "reading or writing failed")                                 \
    X(BACKEND,            "a backend reported a failure")                              \
    X(LIMIT,              "a limit is exceeded")                                       \
    X(INTERNAL,           "a defect in Ebb")
/* clang-format on */

typedef enum ebb_status {
#define EBB_STATUS_ENUM(name, text) EBB_##name,
    EBB_STATUS_MAP(EBB_STATUS_ENUM)
#undef EBB_STATUS_ENUM
} ebb_status;

/* "BAD_SHAPE"; "?" for a value that is not in the table. */
EBB_API const char *ebb_status_name(ebb_status status);
/* "shapes do not fit"; "?" for a value that is not in the table. */
EBB_API const char *ebb_status_text(ebb_status status);

/* Longest message, in bytes with the terminating zero; longer ones are cut and end in "...". */
#define EBB_MESSAGE_BYTES 512

typedef struct ebb_error {
    ebb_status status;
    char message[EBB_MESSAGE_BYTES];
} ebb_error;

/* Fills `error` (NULL: does nothing) and returns `status`, so that a failing function can end with
 * `return ebb_fail(error, EBB_BAD_SHAPE, "...")`. For those who write ops, backends and loaders. */
EBB_API ebb_status ebb_fail(ebb_error *error, ebb_status status, const char *format, ...)
    EBB_PRINTF(3, 4);
EBB_API ebb_status ebb_fail_v(ebb_error *error, ebb_status status, const char *format,
                              va_list arguments) EBB_PRINTF(3, 0);

typedef enum ebb_log_level { EBB_LOG_DEBUG, EBB_LOG_INFO, EBB_LOG_WARNING } ebb_log_level;

/* Where the library says what it decided (a slow implementation avoided, a rule that fired). A zero
 * struct is silence. `write` must not call back into Ebb. */
typedef struct ebb_logger {
    void (*write)(void *context, ebb_log_level level, const char *message);
    void *context;
} ebb_logger;

EBB_END

#endif
