#!/usr/bin/env python3
"""The program in the README compiles without a warning, runs, and learns what it says; links lead to files.

    readme.py SOURCE_ROOT LIBRARY -- CC... -- LIBS...
"""

import glob
import os
import re
import sys
import tempfile

sys.dont_write_bytecode = True
from support.frame import Report, run


def check_program(report, root, library, cc, libs):
    with open(os.path.join(root, "README.md"), encoding="utf-8") as file:
        programs = re.findall(r"^```c\n(.*?)^```$", file.read(), flags=re.DOTALL | re.MULTILINE)
    if not report.check(len(programs) == 1, f"the README has one C program, not {len(programs)}"):
        return
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "xor.c"), os.path.join(folder, "xor")
        with open(source, "w", encoding="utf-8") as out:
            out.write(programs[0])
        flags = ["-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I", os.path.join(root, "include")]
        good, output = run(cc + flags + [source, library] + libs + ["-o", program])
        if not report.check(good, f"the README's program builds:\n{output}"):
            return
        good, output = run([program])
        losses = [float(value) for value in re.findall(r"loss ([0-9.]+)$", output, flags=re.MULTILINE)]
        report.check(good and len(losses) == 5 and losses[-1] < 0.05, f"the README's program learns XOR:\n{output}")


def check_links(report, root):
    pages = glob.glob(os.path.join(root, "*.md")) + glob.glob(os.path.join(root, "docs", "**", "*.md"), recursive=True)
    for page in pages:
        with open(page, encoding="utf-8") as file:
            text = re.sub(r"^```.*?^```$", "", file.read(), flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#]+)", text):
            if not target.startswith(("http://", "https://")):
                path = os.path.join(os.path.dirname(page), target)
                report.check(os.path.exists(path), f"{os.path.relpath(page, root)} links to {target}")


def main():
    first = sys.argv.index("--")
    second = sys.argv.index("--", first + 1)
    root, library = sys.argv[1:first]
    report = Report()
    check_program(report, root, library, sys.argv[first + 1 : second], sys.argv[second + 1 :])
    check_links(report, root)
    report.finish()


if __name__ == "__main__":
    main()
