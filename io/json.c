/* The strict JSON reader. */
#include "io/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

ebb_status ebb_json_fail(const ebb_json *json, size_t at, const char *format, ...)
{
    char what[EBB_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return ebb_fail(json->error, EBB_BAD_FORMAT, "%s: byte %zu: %s", json->path, json->offset + at,
                    what);
}

static void skip_space(ebb_json *json)
{
    while (json->at < json->end && memchr(" \t\r\n", json->text[json->at], 4))
        json->at++;
}

/* "'x'", "the end" or "byte 0x07", for messages. */
static const char *name_character(const ebb_json *json, size_t at, char name[16])
{
    if (at >= json->end)
        return "the end of the header";
    unsigned char c = (unsigned char)json->text[at];
    if (c > ' ' && c < 0x7f)
        snprintf(name, 16, "'%c'", c);
    else
        snprintf(name, 16, "byte 0x%02x", c);
    return name;
}

bool ebb_json_take(ebb_json *json, char c)
{
    skip_space(json);
    if (json->at >= json->end || json->text[json->at] != c)
        return false;
    json->at++;
    return true;
}

bool ebb_json_at_end(ebb_json *json)
{
    skip_space(json);
    return json->at >= json->end;
}

ebb_status ebb_json_expect(ebb_json *json, char c)
{
    if (ebb_json_take(json, c))
        return EBB_OK;
    char name[16];
    return ebb_json_fail(json, json->at, "expected '%c', found %s", c,
                         name_character(json, json->at, name));
}

size_t ebb_utf8_length(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80)
        return 1;
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    /* overlong forms, surrogates, and what lies above U+10FFFF */
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return length;
}

/* The four hexadecimal digits at `at`; -1 if they are not that. */
static int32_t read_hex(const ebb_json *json, size_t at)
{
    int32_t value = 0;
    if (json->end - at < 4)
        return -1;
    for (size_t i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        char c = json->text[at + i];
        const char *digit = c ? strchr(digits, c) : NULL;
        if (!digit)
            return -1;
        value = value * 16 + (int32_t)((digit - digits) % 16);
    }
    return value;
}

static char *put_utf8(char *out, int32_t code)
{
    if (code < 0x80) {
        *out++ = (char)code;
    } else if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
        *out++ = (char)(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        *out++ = (char)(0xe0 | code >> 12);
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    } else {
        *out++ = (char)(0xf0 | code >> 18);
        *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
        *out++ = (char)(0x80 | (code & 0x3f));
    }
    return out;
}

/* An escape sequence; json->at is at its backslash. Its text is never shorter than its UTF-8. */
static ebb_status read_escape(ebb_json *json, char **out)
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    size_t at = json->at;
    char letter = at + 1 < json->end ? json->text[at + 1] : 0;
    const char *known = letter ? strchr(letters, letter) : NULL;
    if (known) {
        *(*out)++ = values[known - letters];
        json->at += 2;
        return EBB_OK;
    }
    int32_t code = letter == 'u' ? read_hex(json, at + 2) : -1;
    if (code < 0)
        return ebb_json_fail(json, at, "expected an escape sequence of JSON");
    json->at += 6;
    if (code >= 0xd800 && code < 0xdc00) {
        bool pair = json->end - json->at >= 6 && json->text[json->at] == '\\' &&
                    json->text[json->at + 1] == 'u';
        int32_t low = pair ? read_hex(json, json->at + 2) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return ebb_json_fail(json, at, "expected the second half of a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        json->at += 6;
    } else if (code == 0 || (code >= 0xdc00 && code < 0xe000)) {
        return ebb_json_fail(json, at, "the escape sequence stands for no character of a name");
    }
    *out = put_utf8(*out, code);
    return EBB_OK;
}

ebb_status ebb_json_string(ebb_json *json, char **value)
{
    ebb_status status = ebb_json_expect(json, '"');
    if (status != EBB_OK)
        return status;
    size_t start = json->at - 1;
    char *out = json->text + json->at;
    *value = out;
    while (json->at < json->end && json->text[json->at] != '"') {
        char *next = json->text + json->at;
        if (*next == '\\') {
            if ((status = read_escape(json, &out)) != EBB_OK)
                return status;
            continue;
        }
        if ((unsigned char)*next < 0x20)
            return ebb_json_fail(json, json->at, "a control character (0x%02x) inside a string",
                                 (unsigned)*next);
        size_t length = ebb_utf8_length(next, json->end - json->at);
        if (length == 0)
            return ebb_json_fail(json, json->at, "the string is not UTF-8");
        memmove(out, next, length);
        out += length;
        json->at += length;
    }
    if (json->at >= json->end)
        return ebb_json_fail(json, start, "the string has no end");
    json->at++;
    *out = 0;
    return EBB_OK;
}

ebb_status ebb_json_count(ebb_json *json, int64_t *value)
{
    skip_space(json);
    size_t start = json->at;
    *value = 0;
    while (json->at < json->end && json->text[json->at] >= '0' && json->text[json->at] <= '9') {
        int digit = json->text[json->at] - '0';
        if (*value > (INT64_MAX - digit) / 10)
            return ebb_json_fail(json, start, "the number is above 2^63-1");
        *value = *value * 10 + digit;
        json->at++;
    }
    char name[16];
    if (json->at == start)
        return ebb_json_fail(json, start, "expected a number from 0 up, found %s",
                             name_character(json, start, name));
    if (json->at - start > 1 && json->text[start] == '0')
        return ebb_json_fail(json, start, "the number begins with a zero");
    if (json->at < json->end && memchr(".eE", json->text[json->at], 3))
        return ebb_json_fail(json, start, "expected a whole number without exponent");
    return EBB_OK;
}
