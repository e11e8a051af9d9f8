"""What the Python tests share: counting, skipping, and running tools and examples."""

import os
import re
import subprocess
import sys


class Report:
    """Counts checks; finish() prints the line that every test program ends with."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, good, text):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED: {text}")
        return good

    def skip(self, reason):
        self.skipped += 1
        print(f"skipped: {reason}")

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        sys.exit(1 if self.failed else 0)


def run(command, **options):
    """Runs a command; returns (worked, stdout and stderr together)."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    return done.returncode == 0, done.stdout


def without_progress(output):
    """The lines of an example's output, less those that say how fast it is."""
    return [line for line in output.splitlines() if not re.search(r"\d+/\d+ +[\d.]+/s", line)]


# Threads that spin while they wait would fight with the tests beside them.
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "passive"}


def start(folder, name, *arguments):
    """Runs an example; returns exit status, lines of stdout, lines of stderr."""
    command = [os.path.join(folder, name)] + [str(argument) for argument in arguments]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, env=ENVIRONMENT
    )
    return done.returncode, without_progress(done.stdout), done.stderr.splitlines()


def numbers(line):
    return [float(text) for text in re.findall(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?", line)]
