#!/usr/bin/env python3
"""docs/ops.md is what the registry says now.

    ops_doc.py EBB SOURCE_ROOT
"""

import difflib
import os
import subprocess
import sys

sys.dont_write_bytecode = True
from support.frame import Report


def main():
    ebb, root = sys.argv[1:]
    report = Report()
    done = subprocess.run([ebb, "ops", "--markdown"], stdout=subprocess.PIPE, text=True, check=False)
    report.check(done.returncode == 0, "ebb ops --markdown runs")
    with open(os.path.join(root, "docs", "ops.md"), encoding="utf-8") as file:
        written = file.read()
    changes = list(difflib.unified_diff(written.splitlines(), done.stdout.splitlines(), "docs/ops.md", "now", "", "", 0, ""))
    report.check(not changes, "docs/ops.md is old: `make ops-doc` writes it\n" + "\n".join(changes[:20]))
    names = [line.split("`")[1] for line in written.splitlines() if line.startswith("| `") and line.count("|") >= 7]
    report.check(len(set(names)) >= 40, f"docs/ops.md lists {len(set(names))} operations")
    report.finish()


if __name__ == "__main__":
    main()
