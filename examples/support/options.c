/* Reading command lines. */
#include "support/options.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>

const char *const option_backends[] = { "onednn", "reference", NULL };

static const char *program_name(char **argv)
{
    const char *path = argv[0] ? argv[0] : "program", *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

noreturn static void refuse(char **argv, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
noreturn static void refuse(char **argv, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", program_name(argv));
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (--help lists the options)\n");
    va_end(arguments);
    exit(2);
}

/* ---- --help ---- */

static void print_default(const option_row *option)
{
    switch (option->kind) {
    case OPTION_TEXT: {
        const char *text = *(const char *const *)option->value;
        if (text)
            printf(" [%s]", text);
        break;
    }
    case OPTION_COUNT:
        printf(" [%lld]", (long long)*(const int64_t *)option->value);
        break;
    case OPTION_NUMBER:
        printf(" [%g]", *(const double *)option->value);
        break;
    case OPTION_FLAG:
        break;
    }
}

noreturn static void print_help(char **argv, const char *summary, const option_row *table)
{
    static const char *const values[] = {
        [OPTION_TEXT] = "TEXT", [OPTION_COUNT] = "N", [OPTION_NUMBER] = "X", [OPTION_FLAG] = ""
    };
    printf("%s: %s\n\noptions [defaults]:\n", program_name(argv), summary);
    for (const option_row *option = table; option->name; option++) {
        char left[64];
        snprintf(left, sizeof left, "--%s %s", option->name, values[option->kind]);
        printf("  %-20s %s", left, option->help);
        print_default(option);
        printf("\n");
    }
    printf("  %-20s %s\n", "--help", "print this");
    exit(EXIT_SUCCESS);
}

/* ---- values ---- */

static bool in_range(const option_row *option, double value)
{
    if (option->low == 0 && option->high == 0)
        return option->kind == OPTION_COUNT ? value >= 0 : isfinite(value);
    return value >= option->low && value <= option->high;
}

static void set_text(char **argv, const option_row *option, const char *text)
{
    if (option->choices) {
        int i = 0;
        while (option->choices[i] && strcmp(option->choices[i], text) != 0)
            i++;
        if (!option->choices[i]) {
            char list[256] = "";
            for (i = 0; option->choices[i]; i++) {
                strncat(list, i ? ", " : "", sizeof list - strlen(list) - 1);
                strncat(list, option->choices[i], sizeof list - strlen(list) - 1);
            }
            refuse(argv, "--%s must be one of %s, not '%s'", option->name, list, text);
        }
    }
    *(const char **)option->value = text;
}

static void set_value(char **argv, const option_row *option, const char *text)
{
    char *end = NULL;
    double value = 0;
    long long count = 0;
    errno = 0;
    switch (option->kind) {
    case OPTION_TEXT:
        set_text(argv, option, text);
        return;
    case OPTION_COUNT:
        count = strtoll(text, &end, 10);
        value = (double)count;
        break;
    case OPTION_NUMBER:
        value = strtod(text, &end);
        break;
    case OPTION_FLAG:
        refuse(argv, "--%s takes no value", option->name);
    }
    if (end == text || *end || (errno == ERANGE && fabs(value) > 1))
        refuse(argv, "--%s needs a %snumber, not '%s'", option->name,
               option->kind == OPTION_COUNT ? "whole " : "", text);
    if (!in_range(option, value)) {
        if (option->low == 0 && option->high == 0)
            refuse(argv, "--%s must be %s, not %s", option->name,
                   option->kind == OPTION_COUNT ? "0 or more" : "finite", text);
        refuse(argv, "--%s must be from %g to %g, not %s", option->name, option->low, option->high,
               text);
    }
    if (option->kind == OPTION_COUNT)
        *(int64_t *)option->value = count;
    else
        *(double *)option->value = value;
}

void options_read(int argc, char **argv, const char *summary, const option_row *table)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
            print_help(argv, summary, table);
        if (strncmp(word, "--", 2) != 0)
            refuse(argv, "'%s' is no option", word);
        const char *name = word + 2, *equals = strchr(name, '=');
        size_t length = equals ? (size_t)(equals - name) : strlen(name);
        const option_row *option = table;
        while (option->name &&
               (strlen(option->name) != length || strncmp(option->name, name, length) != 0))
            option++;
        if (!option->name)
            refuse(argv, "there is no option '--%.*s'", (int)length, name);
        if (equals)
            set_value(argv, option, equals + 1);
        else if (option->kind == OPTION_FLAG)
            *(bool *)option->value = true;
        else if (i + 1 < argc)
            set_value(argv, option, argv[++i]);
        else
            refuse(argv, "--%s needs a value", option->name);
    }
}
