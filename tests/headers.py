#!/usr/bin/env python3
"""Every public header must compile alone, twice included, as C17 and as C++17, without a warning.

    headers.py SOURCE_ROOT CC...
"""

import os
import shutil
import sys

sys.dont_write_bytecode = True
from support.frame import Report, run

C_FLAGS = "-std=c17 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla"
CXX_FLAGS = "-std=c++17 -Wall -Wextra -Wpedantic -Wconversion -Wshadow"
# Macros whose expansion differs between the languages.
USES = {
    "tensor.h": """
ebb_shape use(void);
ebb_shape use(void) { return EBB_SCALAR.rank == 0 ? EBB_SHAPE(2, 3) : EBB_SCALAR; }
""",
    "graph.h": """
bool use(void);
bool use(void) { return ebb_node_is_none(EBB_NONE); }
""",
    "op.h": """
ebb_axes use(void);
ebb_axes use(void) { return EBB_AXES(0, -1); }
ebb_ints use_ints(void);
ebb_ints use_ints(void) { return EBB_INTS(3, -1).n == 2 ? EBB_INTS(INT64_MIN) : EBB_NO_INTS; }
""",
    "ops.h": """
ebb_node use(ebb_node x);
ebb_node use(ebb_node x) { return ebb_reduce_sum(ebb_add(x, x), EBB_ALL_AXES, false); }
""",
}


def find_cxx():
    for name in ("g++", "clang++"):
        if shutil.which(name):
            return [name]
    return None


def main():
    root, cc = sys.argv[1], sys.argv[2:]
    include = os.path.join(root, "include")
    headers = sorted(name for name in os.listdir(os.path.join(include, "ebb")) if name.endswith(".h"))
    report = Report()
    report.check(len(headers) > 0, "there are public headers")
    languages = [("c", "C17", cc, C_FLAGS.split())]
    cxx = find_cxx()
    if cxx:
        languages.append(("c++", "C++17", cxx, CXX_FLAGS.split()))
    else:
        report.skip("headers as C++17: there is no C++ compiler")
    for language, title, compiler, flags in languages:
        for header in headers:
            text = f"#include <ebb/{header}>\n#include <ebb/{header}>\n"
            text += USES.get(header, "")
            command = compiler + flags + ["-Werror", "-I", include, "-x", language, "-fsyntax-only", "-"]
            good, output = run(command, input=text)
            report.check(good, f"ebb/{header} as {title}:\n{output}")
    report.finish()


if __name__ == "__main__":
    main()
