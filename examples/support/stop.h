/* How an example ends when something is wrong: one line on stderr, exit status 1. */
#ifndef EXAMPLES_SUPPORT_STOP_H
#define EXAMPLES_SUPPORT_STOP_H

#include <ebb/ebb.h>
#include <stdnoreturn.h>

noreturn void stop(const char *format, ...) EBB_PRINTF(1, 2);
/* Stops with the message unless `status` is EBB_OK. */
void need(ebb_status status, const char *message);
/* The same, with the message that the object keeps. */
void need_graph(ebb_graph *graph, ebb_status status);
void need_run(ebb_executable *executable, ebb_status status);

#endif
