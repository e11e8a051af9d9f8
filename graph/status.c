/* Status names and texts, and error messages. */
#include <ebb/status.h>

#include <stdio.h>
#include <string.h>

static const char *const status_names[] = {
#define STATUS_NAME(name, text) #name,
    EBB_STATUS_MAP(STATUS_NAME)
};
static const char *const status_texts[] = {
#define STATUS_TEXT(name, text) text,
    EBB_STATUS_MAP(STATUS_TEXT)
};
#define N_STATUSES ((int)(sizeof status_names / sizeof *status_names))

const char *ebb_status_name(ebb_status status)
{
    return (int)status >= 0 && (int)status < N_STATUSES ? status_names[status] : "?";
}

const char *ebb_status_text(ebb_status status)
{
    return (int)status >= 0 && (int)status < N_STATUSES ? status_texts[status] : "?";
}

ebb_status ebb_fail_v(ebb_error *error, ebb_status status, const char *format, va_list arguments)
{
    if (!error)
        return status;
    error->status = status;
    int n = vsnprintf(error->message, sizeof error->message, format, arguments);
    if (n < 0)
        error->message[0] = 0;
    else if ((size_t)n >= sizeof error->message)
        memcpy(error->message + sizeof error->message - 4, "...", 4);
    return status;
}

ebb_status ebb_fail(ebb_error *error, ebb_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    ebb_fail_v(error, status, format, arguments);
    va_end(arguments);
    return status;
}
