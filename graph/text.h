/* What writing and reading the text form share; DOT uses it too. */
#ifndef GRAPH_TEXT_H
#define GRAPH_TEXT_H

#include <ebb/op.h>
#include <locale.h>

/* Numbers are written and read with a point, whatever the program's locale; for this thread only.
 */
typedef struct ebb_text_locale {
    locale_t c, before;
} ebb_text_locale;

static inline bool ebb_text_locale_enter(ebb_text_locale *locale)
{
    locale->c = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    locale->before = locale->c ? uselocale(locale->c) : (locale_t)0;
    return locale->c != (locale_t)0;
}

static inline void ebb_text_locale_leave(ebb_text_locale *locale)
{
    uselocale(locale->before);
    freelocale(locale->c);
}

/* With the digits it takes to read back to the same bits. */
void ebb_text_print_number(FILE *out, double value, bool is_f32);
/* ($2 = mul $0 $1; return $2) */
void ebb_text_print_program(FILE *out, const ebb_program *program);
/* In quotes, with escapes for " \ and control characters. */
void ebb_text_print_string(FILE *out, const char *text);
/* {axes=[0], keep=true}, or nothing if all are default; data of more than `most_data` bytes as
 * "...". */
void ebb_text_print_attrs(FILE *out, const ebb_op *op, const void *attrs, size_t most_data);
bool ebb_text_has_attrs(const ebb_op *op, const void *attrs); /* not all are default */

#endif
