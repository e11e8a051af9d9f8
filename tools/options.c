/* Command lines of the commands. */
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int tool_complain(const tool_command *command, int status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fprintf(stderr, "ebb %s: ", command->name);
    vfprintf(stderr, format, arguments);
    if (status == TOOL_MISUSED)
        fprintf(stderr, " (ebb help %s lists the options)", command->name);
    fputc('\n', stderr);
    va_end(arguments);
    return status;
}

static void print_help(const tool_command *command, const tool_option *table)
{
    printf("ebb %s %s: %s\n\n", command->name, command->arguments, command->summary);
    for (const tool_option *option = table; option->name; option++) {
        char left[64];
        snprintf(left, sizeof left, "%s%s%s", option->name, option->argument ? " " : "",
                 option->argument ? option->argument : "");
        printf("  %-30s %s%s\n", left, option->help,
               option->kind == TOOL_WORDS || option->kind == TOOL_PAIRS ? "; may be repeated" : "");
    }
    printf("  %-30s %s\n", "--help", "print this");
}

/* Adds a word; TOOL_GO_ON or the status of a complaint. */
static int add_word(const tool_command *command, tool_words *words, int max, const char *word)
{
    if (words->n >= max)
        return tool_complain(command, TOOL_MISUSED,
                             max == TOOL_MAX_WORDS ? "more than %d words at '%s'"
                                                   : "more than %d argument at '%s'",
                             max, word);
    words->words[words->n++] = word;
    return TOOL_GO_ON;
}

static int set_count(const tool_command *command, const tool_option *option, const char *text)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end || errno || value < 0 || value > option->limit)
        return tool_complain(command, TOOL_MISUSED, "%s needs a number from 0 to %d, not '%s'",
                             option->name, option->limit, text);
    *(int *)option->value = (int)value;
    return TOOL_GO_ON;
}

static int set_value(const tool_command *command, const tool_option *option, const char *text)
{
    switch (option->kind) {
    case TOOL_TEXT:
        *(const char **)option->value = text;
        break;
    case TOOL_PAIRS:
        if (!strchr(text, '=') || text[0] == '=' || !strchr(text, '=')[1])
            return tool_complain(command, TOOL_MISUSED, "%s needs %s, not '%s'", option->name,
                                 option->argument, text);
        return add_word(command, option->value, TOOL_MAX_WORDS, text);
    case TOOL_WORDS:
        return add_word(command, option->value, TOOL_MAX_WORDS, text);
    case TOOL_COUNT:
        return set_count(command, option, text);
    case TOOL_FLAG:
        return tool_complain(command, TOOL_MISUSED, "%s takes no value", option->name);
    }
    return TOOL_GO_ON;
}

int tool_read_options(const tool_command *command, int argc, char **argv, const tool_option *table,
                      tool_words *others, int max_others)
{
    int status = TOOL_GO_ON;
    for (int i = 0; i < argc && status == TOOL_GO_ON; i++) {
        const char *word = argv[i], *equals = strchr(word, '=');
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            print_help(command, table);
            return TOOL_DONE;
        }
        if (word[0] != '-' || word[1] == 0) {
            status = add_word(command, others, max_others, word);
            continue;
        }
        size_t length = equals ? (size_t)(equals - word) : strlen(word);
        const tool_option *option = table;
        while (option->name &&
               (strlen(option->name) != length || strncmp(option->name, word, length) != 0))
            option++;
        if (!option->name)
            return tool_complain(command, TOOL_MISUSED, "there is no option '%.*s'", (int)length,
                                 word);
        if (equals)
            status = set_value(command, option, equals + 1);
        else if (option->kind == TOOL_FLAG)
            *(bool *)option->value = true;
        else if (i + 1 < argc)
            status = set_value(command, option, argv[++i]);
        else
            return tool_complain(command, TOOL_MISUSED, "%s needs a value: %s", option->name,
                                 option->argument);
    }
    return status;
}

int tool_ways_read(const tool_command *command, const tool_ways *ways, ebb_compile_options *options)
{
    if (ways->conv_error) {
        char *end;
        options->conv_error = strtod(ways->conv_error, &end);
        if (end == ways->conv_error || *end ||
            !(options->conv_error >= 0 && options->conv_error < 1))
            return tool_complain(command, TOOL_MISUSED,
                                 "--conv-error needs a number from 0 to 1, not '%s'",
                                 ways->conv_error);
    }
    if (!ways->autotune && (ways->conv_error || ways->autotune_cache))
        return tool_complain(command, TOOL_MISUSED, "%s goes with --autotune",
                             ways->conv_error ? "--conv-error" : "--autotune-cache");
    options->backend = ways->backend;
    options->n_threads = ways->n_threads;
    options->memory_budget = (int64_t)ways->memory_budget * 1000000;
    options->autotune = ways->autotune;
    options->autotune_cache = ways->autotune_cache;
    options->skip_fusions = ways->skip_fusions;
    return TOOL_GO_ON;
}
