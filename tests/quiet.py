#!/usr/bin/env python3
"""The library never aborts, exits, prints or reads the environment, and has no mutable globals.

    quiet.py ROOM=ARCHIVE... -- CC...

Looks at what each room's objects refer to. Writing to a FILE that the caller gave is allowed. An archive with one of each
offence shows that the test would notice.
"""

import os
import sys
import tempfile

sys.dont_write_bytecode = True
from support.frame import Report, run

FORBIDDEN = {
    "ends the program": "abort exit _exit _Exit quick_exit atexit raise kill __assert_fail longjmp",
    "prints": "stdout stderr printf vprintf puts putchar perror psignal syslog __printf_chk __vprintf_chk",
    "reads": "stdin getchar scanf gets",
    "uses the environment": "getenv secure_getenv setenv unsetenv putenv environ __environ",
    "starts programs": "system popen fork vfork execv execve execvp",
    "has hidden state": "rand srand random srandom drand48 strtok setlocale signal sigaction",
}
# libpng reports failures by longjmp only; the jumps end in the same file.
ALLOWED = (("image.c.o", "longjmp"),)
# Sections of variables; .data.rel.ro is constant after loading.
MUTABLE = (".data", ".bss", ".tdata", ".tbss")


def undefined_symbols(archive):
    good, output = run(["nm", "--undefined-only", "--print-file-name", "--format=posix", archive])
    if not good:
        sys.exit(output)
    for line in output.splitlines():
        place, _, rest = line.partition(": ")
        if rest.split():
            yield place.rstrip(":"), rest.split()[0].split("@")[0]


def mutable_sections(archive):
    good, output = run(["size", "-A", archive])
    if not good:
        sys.exit(output)
    member = "?"
    for line in output.splitlines():
        words = line.split()
        if len(words) >= 3 and words[1] == "(ex" or line.endswith(":"):
            member = words[0]
        elif len(words) == 3 and words[1].isdigit() and int(words[1]) > 0:
            section = words[0]
            if section.startswith(MUTABLE) and not section.startswith(".data.rel.ro"):
                yield member, section, int(words[1])


OFFENDER = """
#include <stdio.h>
#include <stdlib.h>
static int n_calls = 3;
int offend(void);
int offend(void)
{
    fprintf(stderr, "%s", getenv("HOME"));
    if (n_calls++ > 5) abort();
    return n_calls;
}
"""


def offences(archive):
    words = {symbol: why for why, symbols in FORBIDDEN.items() for symbol in symbols.split()}
    found = [f"{place} {words[symbol]}: {symbol}" for place, symbol in undefined_symbols(archive) if symbol in words and
             not any(place.rstrip("]").endswith(file) and symbol == allowed for file, allowed in ALLOWED)]
    return found + [f"{member} has mutable globals: {size} bytes in {section}" for member, section, size in
                    mutable_sections(archive)]


def make_offender(folder, cc):
    source, target, archive = (os.path.join(folder, "offender" + end) for end in (".c", ".o", ".a"))
    with open(source, "w", encoding="ascii") as out:
        out.write(OFFENDER)
    for command in (cc + ["-O2", "-fPIC", "-c", source, "-o", target], ["ar", "rc", archive, target]):
        good, output = run(command)
        if not good:
            sys.exit(output)
    return archive


def main():
    split = sys.argv.index("--")
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        found = offences(make_offender(folder, sys.argv[split + 1 :]))
        report.check(len(found) == 4, f"the test notices stderr, getenv, abort and a variable: {found}")
    for argument in sys.argv[1:split]:
        room, archive = argument.split("=", 1)
        found = offences(archive)
        report.check(not found, f"{room}: {found}")
    report.finish()


if __name__ == "__main__":
    main()
