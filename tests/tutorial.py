#!/usr/bin/env python3
"""The pages of docs/tutorial and docs/howto show what their programs are, and what these print.

    tutorial.py SOURCE_ROOT FOLDER_OF_PROGRAMS...

A page NAME.md belongs to the program NAME.c beside it, which gets NAME.safetensors, if there is one. Of its fenced blocks,

- ```c is a run of lines of that program, indented as one likes; ```c PATH or ```python PATH one of the file PATH of the
  source tree;
- ```text is a run of lines that the program prints, and so in order. Words must be equal, and so must integers, but not spaces; a
  number with a point may differ by 2 in its last digit, or by what ```text within 0.05 says.

Other blocks (```sh, ``` alone) are not looked at.
"""

import glob
import os
import re
import sys
import tempfile

sys.dont_write_bytecode = True
from support.frame import ENVIRONMENT, Report, run, without_progress

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")


def dedent(lines):
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return [line[margin:].rstrip() for line in lines]


def contains(lines, part):
    part = dedent(part)
    return any(dedent(lines[i : i + len(part)]) == part for i in range(len(lines) - len(part) + 1))


def same_number(expected, found, within):
    if not re.search(r"[.eE]", expected):
        return expected == found
    point = re.match(r"[-+]?\d+(?:\.(\d*))?(?:[eE]([-+]?\d+))?", expected)
    last_digit = 10.0 ** (int(point.group(2) or 0) - len(point.group(1) or ""))
    return abs(float(expected) - float(found)) <= (2.001 * last_digit if within is None else within)


def same_line(expected, found, within):
    if "".join(NUMBER.sub("#", expected).split()) != "".join(NUMBER.sub("#", found).split()):
        return False
    pairs = zip(NUMBER.findall(expected), NUMBER.findall(found))
    return all(same_number(a, b, within) for a, b in pairs)


def find_lines(printed, first, part, within):
    """Where the part ends in what was printed; None: it is not there."""
    for i in range(first, len(printed) - len(part) + 1):
        if all(same_line(a, b, within) for a, b in zip(part, printed[i:])):
            return i + len(part)
    return None


def check_page(report, root, folders, page):
    name, label = os.path.splitext(os.path.basename(page))[0], os.path.relpath(page, root)
    with open(page, encoding="utf-8") as file:
        text = file.read()
    program = next((p for p in (os.path.join(folder, name) for folder in folders) if os.path.exists(p)), None)
    if not report.check(program, f"{label} has a program {name}"):
        return
    weights = glob.glob(os.path.splitext(page)[0] + ".safetensors")
    with tempfile.TemporaryDirectory() as place:
        good, output = run([program] + weights, cwd=place, env=ENVIRONMENT)
    report.check(good, f"{name} runs:\n{output}")
    printed, last = without_progress(output), 0
    for match in FENCE.finditer(text):
        words, part = match.group(1).split(), match.group(2).splitlines()
        where = f"{label}:{text.count(chr(10), 0, match.start()) + 1}"
        if words[:1] in (["c"], ["python"]):
            source = os.path.join(root, words[1]) if len(words) > 1 else os.path.splitext(page)[0] + ".c"
            with open(source, encoding="utf-8") as file:
                good = contains(file.read().splitlines(), part)
            report.check(good, f"{where}: the code is in {os.path.relpath(source, root)}")
        elif words[:1] == ["text"]:
            end = find_lines(printed, last, part, float(words[2]) if len(words) > 1 else None)
            if report.check(end is not None, f"{where}: {name} prints it; it printed\n{output}"):
                last = end


def check_contents(report, root, pages):
    """Each page stands in its folder's table of contents."""
    for page in pages:
        contents = os.path.join(os.path.dirname(page), "README.md")
        with open(contents, encoding="utf-8") as file:
            good = f"]({os.path.basename(page)})" in file.read()
        report.check(good, f"{os.path.relpath(contents, root)} links to {os.path.basename(page)}")


def main():
    root, *folders = map(os.path.abspath, sys.argv[1:])
    report = Report()
    pages = [p for folder in ("tutorial", "howto") for p in sorted(glob.glob(os.path.join(root, "docs", folder, "*.md")))]
    pages = [page for page in pages if os.path.basename(page) != "README.md"]
    report.check(pages, "there are pages")
    for page in pages:
        check_page(report, root, folders, page)
    check_contents(report, root, pages)
    report.finish()


if __name__ == "__main__":
    main()
