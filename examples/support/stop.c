/* Ending a program with a message. */
#include "support/stop.h"

#include <stdio.h>
#include <stdlib.h>

void stop(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(EXIT_FAILURE);
}

void need(ebb_status status, const char *message)
{
    if (status != EBB_OK)
        stop("%s", message && message[0] ? message : ebb_status_text(status));
}

void need_graph(ebb_graph *graph, ebb_status status)
{
    need(status, ebb_graph_message(graph));
}

void need_run(ebb_executable *executable, ebb_status status)
{
    need(status, ebb_executable_message(executable));
}
