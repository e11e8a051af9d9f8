/* Words, numbers, strings and types of the text form. */
#include "graph/text_scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NUMBER 64

ebb_status ebb_scan_fail(ebb_scanner *s, ebb_status status, const char *format, ...)
{
    ebb_error inner;
    va_list arguments;
    va_start(arguments, format);
    ebb_fail_v(&inner, status, format, arguments);
    va_end(arguments);
    return ebb_fail(s->error, status, "line %d, column %d: %s", s->line,
                    (int)(s->at - s->line_start) + 1, inner.message);
}

/* ---- words ---- */

void ebb_scan_spaces(ebb_scanner *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
    if (s->at < s->end && *s->at == '#') {
        while (s->at < s->end && *s->at != '\n')
            s->at++;
    }
}

char ebb_scan_peek(ebb_scanner *s)
{
    ebb_scan_spaces(s);
    return s->at < s->end ? *s->at : '\0';
}

bool ebb_scan_at_line_end(ebb_scanner *s)
{
    ebb_scan_spaces(s);
    return s->at >= s->end || *s->at == '\n';
}

bool ebb_scan_take(ebb_scanner *s, char c)
{
    if (ebb_scan_peek(s) != c || s->at >= s->end)
        return false;
    s->at++;
    return true;
}

ebb_status ebb_scan_expect(ebb_scanner *s, char c)
{
    return ebb_scan_take(s, c) ? EBB_OK : ebb_scan_fail(s, EBB_BAD_FORMAT, "expected '%c'", c);
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

ebb_status ebb_scan_word(ebb_scanner *s, const char *what, char word[MAX_WORD])
{
    ebb_scan_spaces(s);
    size_t n = 0;
    while (s->at + n < s->end && is_word_char(s->at[n]))
        n++;
    if (n == 0 || n >= MAX_WORD)
        return ebb_scan_fail(s, EBB_BAD_FORMAT, "expected %s", what);
    memcpy(word, s->at, n);
    word[n] = 0;
    s->at += n;
    return EBB_OK;
}

ebb_status ebb_scan_i64(ebb_scanner *s, int64_t low, int64_t high, int64_t *value)
{
    ebb_scan_spaces(s);
    char digits[MAX_NUMBER];
    size_t n = 0;
    while (s->at + n < s->end && n < sizeof digits - 1 &&
           (is_word_char(s->at[n]) || (n == 0 && s->at[n] == '-'))) {
        digits[n] = s->at[n];
        n++;
    }
    digits[n] = 0;
    char *stop;
    errno = 0;
    long long read = strtoll(digits, &stop, 10);
    if (n == 0 || *stop || errno)
        return ebb_scan_fail(s, EBB_BAD_FORMAT, "expected an integer");
    if (read < low || read > high)
        return ebb_scan_fail(s, EBB_BAD_FORMAT, "%lld is out of range", read);
    s->at += n;
    *value = read;
    return EBB_OK;
}

ebb_status ebb_scan_f64(ebb_scanner *s, double *value)
{
    ebb_scan_spaces(s);
    char digits[MAX_NUMBER];
    size_t n = 0;
    while (s->at + n < s->end && n < sizeof digits - 1 &&
           (is_word_char(s->at[n]) || s->at[n] == '-' || s->at[n] == '+' || s->at[n] == '.')) {
        digits[n] = s->at[n];
        n++;
    }
    digits[n] = 0;
    char *stop;
    *value = strtod(digits, &stop);
    if (n == 0 || *stop)
        return ebb_scan_fail(s, EBB_BAD_FORMAT, "expected a number");
    s->at += n;
    return EBB_OK;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

ebb_status ebb_scan_string(ebb_scanner *s, char **string)
{
    ebb_status status = ebb_scan_expect(s, '"');
    if (status)
        return status;
    size_t n = 0;
    const char *close = s->at;
    while (close < s->end && *close != '"' && *close != '\n')
        close += close + 1 < s->end && *close == '\\' ? 2 : 1;
    if (close >= s->end || *close != '"')
        return ebb_scan_fail(s, EBB_BAD_FORMAT, "the string does not end");
    char *copy = ebb_arena_allocate(&s->scratch, (size_t)(close - s->at) + 1, 1);
    if (!copy)
        return ebb_scan_fail(s, EBB_OUT_OF_MEMORY, "out of memory");
    while (s->at < close) {
        char c = *s->at++;
        if (c == '\\') {
            c = *s->at++;
            if (c == 'x' && close - s->at >= 2 && hex_value(s->at[0]) >= 0 &&
                hex_value(s->at[1]) >= 0) {
                c = (char)(hex_value(s->at[0]) * 16 + hex_value(s->at[1]));
                s->at += 2;
            } else if (c != '"' && c != '\\') {
                return ebb_scan_fail(s, EBB_BAD_FORMAT, "unknown escape in a string");
            }
        }
        if (c == 0)
            return ebb_scan_fail(s, EBB_BAD_FORMAT, "a string may not contain a zero byte");
        copy[n++] = c;
    }
    copy[n] = 0;
    s->at = close + 1;
    *string = copy;
    return EBB_OK;
}

ebb_status ebb_scan_shape(ebb_scanner *s, ebb_shape *shape)
{
    *shape = (ebb_shape){ 0 };
    ebb_status status = ebb_scan_expect(s, '[');
    if (status || ebb_scan_take(s, ']'))
        return status;
    do {
        if (shape->rank == EBB_MAX_RANK)
            return ebb_scan_fail(s, EBB_BAD_FORMAT, "more than %d dimensions", EBB_MAX_RANK);
        status = ebb_scan_i64(s, -1, INT64_MAX, &shape->dims[shape->rank]);
        if (status)
            return status;
        shape->rank++;
    } while (ebb_scan_take(s, ','));
    return ebb_scan_expect(s, ']');
}

ebb_status ebb_scan_type(ebb_scanner *s, ebb_type *type)
{
    char word[MAX_WORD];
    ebb_status status = ebb_scan_word(s, "a type", word);
    if (status)
        return status;
    if (!ebb_dtype_parse(word, &type->dtype))
        return ebb_scan_fail(s, EBB_BAD_FORMAT, "\"%s\" is no dtype", word);
    status = ebb_scan_shape(s, &type->shape);
    if (!status && !ebb_shape_is_valid(&type->shape))
        return ebb_scan_fail(s, EBB_BAD_FORMAT, "a negative or overflowing dimension");
    return status;
}
