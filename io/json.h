/* A reader for the small part of JSON (RFC 8259) that file headers use: objects, arrays, strings
 * and counts. It reads a text in place, front to back, and its errors name the byte of the file.
 *
 * Own code, because the libraries that Debian has (jansson, cJSON, json-c, yajl) build a tree
 * first, with the byte offsets of values gone, and take their allocator from a global or not at
 * all. */
#ifndef IO_JSON_H
#define IO_JSON_H

#include <ebb/status.h>

typedef struct ebb_json {
    char *text; /* changed while it is read: strings are unescaped in place */
    size_t at, end;
    const char *path; /* for messages */
    size_t offset;    /* of text[0] in the file */
    ebb_error *error;
} ebb_json;

/* Always BAD_FORMAT; `at` is an index into the text. */
ebb_status ebb_json_fail(const ebb_json *json, size_t at, const char *format, ...) EBB_PRINTF(3, 4);
/* Skips white space; then takes `c` if it is next. */
bool ebb_json_take(ebb_json *json, char c);
/* True if only white space is left; skips it. */
bool ebb_json_at_end(ebb_json *json);
ebb_status ebb_json_expect(ebb_json *json, char c);
/* The value points into the text and ends in a zero. A zero character inside is an error, as is bad
 * UTF-8. */
ebb_status ebb_json_string(ebb_json *json, char **value);
/* An integer from 0 to 2^63-1, written without sign, fraction and exponent. */
ebb_status ebb_json_count(ebb_json *json, int64_t *value);

/* Length in bytes of the UTF-8 sequence at text[0..n), n > 0; 0 if it is not a valid one (RFC
 * 3629). */
size_t ebb_utf8_length(const char *text, size_t n);

#endif
