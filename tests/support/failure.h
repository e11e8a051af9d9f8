/* Failures with a status and a message, for tests of functions that take an ebb_error: give them
 * &error. */
#ifndef TESTS_SUPPORT_FAILURE_H
#define TESTS_SUPPORT_FAILURE_H

#include "tests/support/runner.h"

#include <ebb/status.h>
#include <string.h>

static ebb_error error;

/* `part` of the message. */
static inline void expect_failure(ebb_status status, ebb_status expected, const char *part)
{
    ck_assert_msg(status == expected, "%s, not %s: %s", ebb_status_name(status),
                  ebb_status_name(expected), error.message);
    ck_assert_int_eq(error.status, status);
    ck_assert_msg(strstr(error.message, part), "no \"%s\" in \"%s\"", part, error.message);
}

static inline void expect_good(ebb_status status)
{
    ck_assert_msg(status == EBB_OK, "%s: %s", ebb_status_name(status), error.message);
}

#endif
