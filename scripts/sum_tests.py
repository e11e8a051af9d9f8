#!/usr/bin/env python3
"""Adds up what the test programs of one or more build folders reported.

    sum_tests.py BUILD...

Every test program ends its output with "N passed, N failed, N skipped". One that crashed, ran out of time or ended
without that line counts as at least one failure.
"""

import json
import os
import re
import sys

COUNTS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.MULTILINE)


class Sums:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.reasons = []  # of skips
        self.failures = []  # programs

    def add(self, record):
        output = record.get("stdout", "")
        counts = COUNTS.findall(output)
        good = record["result"] in ("OK", "SKIP")
        passed, failed, skipped = map(int, counts[-1]) if counts else (0, 0, 0)
        if failed == 0 and not (good and counts):
            failed = 1
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        name = record["name"].split(" / ")[-1]
        self.reasons += [f"{name}: {line}" for line in output.splitlines() if line.startswith("skipped: ")]
        if failed:
            what = {"TIMEOUT": "ran out of time"}.get(record["result"], f"{failed} failed")
            self.failures.append(f"{name}: {what}")


def sum_logs(builds):
    sums = Sums()
    for build in builds:
        path = os.path.join(build, "meson-logs", "testlog.json")
        if not os.path.exists(path):
            sums.failures.append(f"{build}: no test ran")
            continue
        with open(path, encoding="utf-8") as log:
            for line in log:
                sums.add(json.loads(line))
    return sums


def is_good(sums):
    return not sums.failures and sums.failed == 0 and sums.passed > 0


def show(sums):
    for line in sums.reasons + [f"FAILED {line}" for line in sums.failures]:
        print(line)
    print(f"{sums.passed} passed, {sums.failed} failed, {sums.skipped} skipped", flush=True)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__.strip())
    sums = sum_logs(sys.argv[1:])
    show(sums)
    sys.exit(0 if is_good(sums) else 1)


if __name__ == "__main__":
    main()
