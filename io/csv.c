/* CSV: RFC 4180, with any separator, and lines that end in LF or CRLF. The text is read twice: once
 * to count, once to fill. */
#include "io/csv.h"
#include "graph/text.h"
#include "io/source.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of a number, with the terminating zero; a longer field is no number. */
enum { NUMBER_BYTES = 400 };

typedef struct reader {
    const char *at, *end, *path;
    char separator;
    int64_t line; /* of `at`, from 1 */
    ebb_error *error;
} reader;

/* A field: text[0..n), between the quotes if there were any; line and column are where it begins,
 * columns counted in fields from 1. */
typedef struct field {
    const char *text;
    size_t n;
    bool is_quoted, has_escapes; /* has_escapes: doubled quotes inside */
    bool ends_record;
    int64_t line, column;
} field;

/* BAD_FORMAT, with path, line and column. */
EBB_PRINTF(3, 4)
static ebb_status fail_at(const reader *r, const field *f, const char *format, ...)
{
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return ebb_fail(r->error, EBB_BAD_FORMAT, "%s: line %" PRId64 ", column %" PRId64 ": %s",
                    r->path, f->line, f->column, text);
}

static bool ends_line(const reader *r)
{
    return *r->at == '\n' || (*r->at == '\r' && r->end - r->at > 1 && r->at[1] == '\n');
}

/* Steps over what ends a field. */
static ebb_status end_field(reader *r, field *f)
{
    f->ends_record = r->at == r->end || ends_line(r);
    if (r->at == r->end)
        return EBB_OK;
    if (f->ends_record) {
        r->at += *r->at == '\r' ? 2 : 1;
        r->line++;
    } else if (*r->at == r->separator) {
        r->at++;
    } else {
        return fail_at(r, f, "text behind a quoted field");
    }
    return EBB_OK;
}

static ebb_status read_quoted(reader *r, field *f)
{
    f->is_quoted = true;
    f->text = ++r->at;
    for (; r->at < r->end; r->at++) {
        r->line += *r->at == '\n';
        if (*r->at != '"')
            continue;
        if (r->end - r->at > 1 && r->at[1] == '"') {
            f->has_escapes = true;
            r->at++;
            continue;
        }
        f->n = (size_t)(r->at++ - f->text);
        return end_field(r, f);
    }
    return fail_at(r, f, "a quoted field does not end");
}

static ebb_status read_field(reader *r, int64_t column, field *f)
{
    *f = (field){ .text = r->at, .line = r->line, .column = column };
    if (r->at < r->end && *r->at == '"')
        return read_quoted(r, f);
    while (r->at < r->end && *r->at != r->separator && !ends_line(r)) {
        if (*r->at == '"')
            return fail_at(r, f, "a quote inside a field that is not quoted");
        r->at++;
    }
    f->n = (size_t)(r->at - f->text);
    return end_field(r, f);
}

static reader start(const char *bytes, size_t n_bytes, const char *path, char separator,
                    ebb_error *error)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf"; /* what spreadsheets put in front */
    reader r = { bytes, bytes + n_bytes, path, separator, 1, error };
    if (n_bytes >= 3 && memcmp(bytes, byte_order_mark, 3) == 0)
        r.at += 3;
    return r;
}

/* ---- values ---- */

/* A field as it is shown in a message. */
static const char *show(const field *f, char text[48])
{
    const size_t n = f->n < 40 ? f->n : 40;
    for (size_t i = 0; i < n; i++)
        text[i] = f->text[i] >= ' ' && f->text[i] <= '~' ? f->text[i] : '?';
    memcpy(text + n, f->n > n ? "..." : "", f->n > n ? 4 : 1);
    return text;
}

/* A decimal number, with blanks around it. */
static ebb_status parse_number(const reader *r, const field *f, ebb_dtype dtype, double *value)
{
    char text[NUMBER_BYTES], shown[48], *end = text;
    const char *from = f->text, *to = f->text + f->n;
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (from < to && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    const size_t n = (size_t)(to - from);
    bool is_number = n > 0 && n < sizeof text;
    for (size_t i = 0; i < n && is_number; i++)
        is_number = strchr("0123456789+-.eE", from[i]) != NULL && from[i] != '\0';
    if (is_number) {
        memcpy(text, from, n);
        text[n] = '\0';
        *value = strtod(text, &end);
        is_number = end == text + n;
    }
    if (!is_number)
        return fail_at(r, f, "expected a number, found \"%s\"", show(f, shown));
    if (!(dtype == EBB_F32 ? isfinite((float)*value) : isfinite(*value)))
        return fail_at(r, f, "%s is too large for %s", show(f, shown), ebb_dtype_name(dtype));
    return EBB_OK;
}

static ebb_status parse_label(const reader *r, const field *f, int64_t *label)
{
    double value;
    char shown[48];
    const ebb_status status = parse_number(r, f, EBB_F64, &value);
    if (status != EBB_OK)
        return status;
    /* 2^53: whole numbers up to there are exact */
    if (value != floor(value) || fabs(value) > 9007199254740992.0)
        return fail_at(r, f, "expected a whole number as label, found \"%s\"", show(f, shown));
    *label = (int64_t)value;
    return EBB_OK;
}

/* ---- the header ---- */

/* Names lie one behind the other, each with its zero, behind the pointers to them. */
static ebb_status keep_names(reader r, int64_t n_fields, int64_t label, ebb_csv *csv)
{
    const size_t n_pointers = (size_t)csv->n_columns;
    const size_t n_text = (size_t)(r.end - r.at) + (size_t)n_fields;
    csv->names_bytes = n_pointers * sizeof *csv->names + n_text;
    csv->names = ebb_allocate(csv->allocator, csv->names_bytes);
    if (!csv->names)
        return ebb_fail(r.error, EBB_OUT_OF_MEMORY, "%s: no memory for the names", r.path);
    char *text = (char *)(csv->names + n_pointers);
    int64_t at = 0;
    for (int64_t column = 1; column <= n_fields; column++) {
        field f;
        const ebb_status status = read_field(&r, column, &f);
        if (status != EBB_OK)
            return status;
        if (column == label)
            continue;
        csv->names[at++] = text;
        for (size_t i = 0; i < f.n; i++) {
            *text++ = f.text[i];
            i += f.has_escapes && f.text[i] == '"';
        }
        *text++ = '\0';
    }
    return EBB_OK;
}

/* ---- the whole ---- */

/* Counts rows and fields; all rows have the same number. */
static ebb_status count(reader r, bool has_header, int64_t *n_rows, int64_t *n_fields)
{
    *n_rows = -(int64_t)has_header;
    *n_fields = 0;
    while (r.at < r.end) {
        field f;
        int64_t column = 0;
        do {
            const ebb_status status = read_field(&r, ++column, &f);
            if (status != EBB_OK)
                return status;
        } while (!f.ends_record);
        if (*n_fields == 0)
            *n_fields = column;
        else if (column != *n_fields)
            return fail_at(&r, &f,
                           "the row ends with %" PRId64 " fields, the first one has %" PRId64,
                           column, *n_fields);
        ++*n_rows;
    }
    if (*n_rows < 1)
        return ebb_fail(r.error, EBB_BAD_FORMAT, "%s: there are no rows%s", r.path,
                        has_header && *n_rows == 0 ? " behind the header" : "");
    return EBB_OK;
}

static ebb_status read_rows(reader r, int64_t n_rows, int64_t n_fields, int64_t label, ebb_csv *csv)
{
    int64_t at = 0;
    for (int64_t row = 0; row < n_rows; row++)
        for (int64_t column = 1; column <= n_fields; column++) {
            field f;
            double value = 0;
            ebb_status status = read_field(&r, column, &f);
            if (status == EBB_OK && column == label)
                status = parse_label(&r, &f, (int64_t *)csv->labels.data + row);
            else if (status == EBB_OK)
                status = parse_number(&r, &f, csv->values.type.dtype, &value);
            if (status != EBB_OK)
                return status;
            if (column != label)
                ebb_tensor_set(&csv->values, at++, value);
        }
    return EBB_OK;
}

static ebb_status allocate(ebb_csv *csv, ebb_dtype dtype, int64_t n_rows, bool has_label,
                           const char *path, ebb_error *error)
{
    const ebb_type values = ebb_type_of(dtype, EBB_SHAPE(n_rows, csv->n_columns));
    const ebb_type labels = ebb_type_of(EBB_I64, EBB_SHAPE(n_rows));
    ebb_status status = ebb_tensor_init(&csv->values, values, csv->allocator);
    if (status == EBB_OK && has_label)
        status = ebb_tensor_init(&csv->labels, labels, csv->allocator);
    if (status == EBB_OK)
        return EBB_OK;
    return ebb_fail(error, status, "%s: no memory for %" PRId64 " rows of %" PRId64 " numbers",
                    path, n_rows, csv->n_columns);
}

static ebb_status check_options(const ebb_csv_options *options, const char *path, ebb_error *error)
{
    const char separator = options->separator;
    if (options->dtype != EBB_NO_DTYPE && !ebb_dtype_is_float(options->dtype))
        return ebb_fail(error, EBB_BAD_DTYPE, "%s: numbers are read as f64 or f32, not %s", path,
                        ebb_dtype_name(options->dtype));
    if (separator != '\0' && strchr("\"\r\n0123456789+-.eE", separator))
        return ebb_fail(error, EBB_BAD_ARGUMENT, "%s: the separator cannot be character %d", path,
                        separator);
    if (options->label_column < 0)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "%s: label column %" PRId64 "; the first is 1",
                        path, options->label_column);
    return EBB_OK;
}

ebb_status ebb_csv_parse(const char *bytes, size_t n_bytes, const char *path,
                         const ebb_csv_options *options, const ebb_allocator *allocator,
                         ebb_csv *csv, ebb_error *error)
{
    const ebb_csv_options defaults = { 0 };
    const ebb_csv_options *o = options ? options : &defaults;
    const int64_t label = o->label_column;
    int64_t n_rows, n_fields;
    ebb_text_locale locale;
    *csv = (ebb_csv){ .allocator = allocator };
    ebb_status status = check_options(o, path, error);
    if (status != EBB_OK)
        return status;
    reader r = start(bytes ? bytes : "", n_bytes, path, o->separator ? o->separator : ',', error);
    status = count(r, o->has_header, &n_rows, &n_fields);
    if (status != EBB_OK)
        return status;
    if (label > n_fields || (label > 0 && n_fields == 1))
        return ebb_fail(error, EBB_BAD_FORMAT,
                        "%s: rows of %" PRId64 " fields have no numbers beside label column "
                        "%" PRId64,
                        path, n_fields, label);
    csv->n_columns = n_fields - (label > 0);
    status = allocate(csv, o->dtype ? o->dtype : EBB_F64, n_rows, label > 0, path, error);
    if (status == EBB_OK && o->has_header) {
        field f = { .ends_record = false };
        reader header = r;
        for (int64_t column = 1; column <= n_fields; column++)
            status = read_field(&r, column, &f);
        header.end = r.at;
        status = keep_names(header, n_fields, label, csv);
    }
    if (status == EBB_OK) {
        if (ebb_text_locale_enter(&locale)) {
            status = read_rows(r, n_rows, n_fields, label, csv);
            ebb_text_locale_leave(&locale);
        } else {
            status = ebb_fail(error, EBB_OUT_OF_MEMORY, "%s: no memory for a locale", path);
        }
    }
    if (status != EBB_OK)
        ebb_csv_finish(csv);
    return status;
}

void ebb_csv_finish(ebb_csv *csv)
{
    if (!csv)
        return;
    ebb_tensor_finish(&csv->values);
    ebb_tensor_finish(&csv->labels);
    ebb_release(csv->allocator, (void *)csv->names, csv->names_bytes);
    *csv = (ebb_csv){ 0 };
}

ebb_status ebb_csv_read(const char *path, const ebb_csv_options *options,
                        const ebb_allocator *allocator, ebb_csv *csv, ebb_error *error)
{
    if (csv)
        *csv = (ebb_csv){ 0 };
    if (!path || !csv)
        return ebb_fail(error, EBB_BAD_ARGUMENT, "ebb_csv_read: %s is NULL", path ? "csv" : "path");
    char *bytes;
    size_t n_bytes;
    ebb_status status = ebb_source_read_all(path, allocator, &bytes, &n_bytes, error);
    if (status != EBB_OK)
        return status;
    status = ebb_csv_parse(bytes, n_bytes, path, options, allocator, csv, error);
    ebb_release(allocator, bytes, n_bytes);
    return status;
}
