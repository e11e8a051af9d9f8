/* Rows of a training's log. Numbers have a point and all their digits, whatever the locale. */
#include "training/log.h"

#include "graph/text.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct column {
    const char *name;
    bool is_integer;
    int64_t integer;
    double number; /* NaN: there is none */
} column;

static void print_value(FILE *out, const column *c, const char *nothing)
{
    if (c->is_integer)
        fprintf(out, "%" PRId64, c->integer);
    else if (isfinite(c->number))
        ebb_text_print_number(out, c->number, false);
    else
        fputs(nothing, out);
}

ebb_status ebb_log_epoch(FILE *out, ebb_fit_format format, bool is_first,
                         const ebb_fit_report *report, ebb_error *error)
{
    const column columns[] = {
        { .name = "epoch", .is_integer = true, .integer = report->epoch },
        { .name = "step", .is_integer = true, .integer = report->step },
        { .name = "loss", .number = report->loss },
        { .name = "accuracy", .number = report->accuracy },
        { .name = "validation_loss", .number = report->validation_loss },
        { .name = "validation_accuracy", .number = report->validation_accuracy },
        { .name = "validation_top", .number = report->validation_top },
        { .name = "seconds", .number = report->seconds },
    };
    enum { N = sizeof columns / sizeof *columns };
    ebb_text_locale locale;
    if (!ebb_text_locale_enter(&locale))
        return ebb_fail(error, EBB_OUT_OF_MEMORY, "log: out of memory");
    errno = 0;
    if (format == EBB_LOG_CSV && is_first)
        for (int i = 0; i < N; i++)
            fprintf(out, "%s%s", columns[i].name, i + 1 < N ? "," : "\n");
    for (int i = 0; i < N; i++) {
        if (format == EBB_LOG_JSONL)
            fprintf(out, "%s\"%s\":", i ? "," : "{", columns[i].name);
        else if (i)
            fputc(',', out);
        print_value(out, &columns[i], format == EBB_LOG_JSONL ? "null" : "");
    }
    fputs(format == EBB_LOG_JSONL ? "}\n" : "\n", out);
    ebb_text_locale_leave(&locale);
    if (fflush(out) != 0 || ferror(out))
        return ebb_fail(error, EBB_IO, "the log cannot be written: %s",
                        errno ? strerror(errno) : "the stream has an error");
    return EBB_OK;
}

void ebb_print_epoch(FILE *out, const char *label, const ebb_fit_report *report)
{
    if (!out)
        return;
    fprintf(out, "%s: loss %.4f", label, report->loss);
    if (!isnan(report->accuracy))
        fprintf(out, ", accuracy %.4f", report->accuracy);
    if (!isnan(report->validation_loss))
        fprintf(out, "; validation loss %.4f", report->validation_loss);
    if (!isnan(report->validation_accuracy))
        fprintf(out, ", accuracy %.4f", report->validation_accuracy);
    fputc('\n', out);
    fflush(out);
}
