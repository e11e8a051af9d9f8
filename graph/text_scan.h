/* Reading the words of the text form; every failure says line and column. */
#ifndef GRAPH_TEXT_SCAN_H
#define GRAPH_TEXT_SCAN_H

#include "graph/arena.h"

#include <ebb/tensor.h>

#define MAX_WORD 256

typedef struct ebb_scanner {
    const char *end, *at, *line_start;
    int line;
    ebb_error *error;
    ebb_arena scratch; /* what strings are copied into */
} ebb_scanner;

/* Fills the error with "line L, column C: ..." and returns `status`. */
ebb_status ebb_scan_fail(ebb_scanner *s, ebb_status status, const char *format, ...)
    EBB_PRINTF(3, 4);

/* Steps over blanks and a comment (# to the end of the line); the others do so first. */
void ebb_scan_spaces(ebb_scanner *s);
char ebb_scan_peek(ebb_scanner *s);
bool ebb_scan_at_line_end(ebb_scanner *s);
bool ebb_scan_take(ebb_scanner *s, char c);
ebb_status ebb_scan_expect(ebb_scanner *s, char c);

/* Letters, digits and _; `what` is for the message. */
ebb_status ebb_scan_word(ebb_scanner *s, const char *what, char word[MAX_WORD]);
ebb_status ebb_scan_i64(ebb_scanner *s, int64_t low, int64_t high, int64_t *value);
ebb_status ebb_scan_f64(ebb_scanner *s, double *value);
/* In quotes; the copy lives in `scratch`. */
ebb_status ebb_scan_string(ebb_scanner *s, char **string);
/* "[2,3]"; -1 is allowed, for reshape. */
ebb_status ebb_scan_shape(ebb_scanner *s, ebb_shape *shape);
/* "f32[2,3]", a valid type. */
ebb_status ebb_scan_type(ebb_scanner *s, ebb_type *type);

#endif
