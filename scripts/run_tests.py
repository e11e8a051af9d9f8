#!/usr/bin/env python3
"""Runs the tests of one suite and prints, last, the sum over all programs: N passed, N failed, N skipped.

    run_tests.py BUILD SUITE

What failed and why something was skipped is shown before. Exit status 1 if a test failed or nothing ran.
"""

import os
import subprocess
import sys

import sum_tests


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    build, suite = sys.argv[1:]
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.remove(log)
    command = ["meson", "test", "-C", build, "--no-rebuild", "--suite", suite, "--print-errorlogs"]
    status = subprocess.run(command).returncode
    sums = sum_tests.sum_logs([build])
    sum_tests.show(sums)
    sys.exit(1 if status or not sum_tests.is_good(sums) else 0)


if __name__ == "__main__":
    main()
