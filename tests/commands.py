#!/usr/bin/env python3
"""The scripts behind `make`: the sum of test counts, and the installation of missing packages.

    commands.py SOURCE_ROOT
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from support.frame import Report


def sum_of(root, folder, records):
    """What sum_tests.py prints for a test log, and its exit status."""
    build = os.path.join(folder, "build")
    os.makedirs(os.path.join(build, "meson-logs"), exist_ok=True)
    with open(os.path.join(build, "meson-logs", "testlog.json"), "w", encoding="utf-8") as log:
        for name, result, stdout in records:
            log.write(json.dumps({"name": "ebb:fast / " + name, "result": result, "stdout": stdout}) + "\n")
    done = subprocess.run(
        [sys.executable, os.path.join(root, "scripts", "sum_tests.py"), build],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.stdout.splitlines(), done.returncode


def check_sums(report, root, folder):
    good = ("a", "OK", "Running\n100%: Checks: 3\n3 passed, 0 failed, 0 skipped\n")
    skips = ("b", "OK", "skipped: no data\n1 passed, 0 failed, 1 skipped\n")
    cases = [
        ("good ones are added", [good, skips], "4 passed, 0 failed, 1 skipped", 0),
        ("a failure is a failure", [good, ("c", "FAIL", "2 passed, 2 failed, 0 skipped\n")], "5 passed, 2 failed, 0 skipped", 1),
        ("a crash without counts", [good, ("c", "FAIL", "")], "3 passed, 1 failed, 0 skipped", 1),
        ("a crash after good counts", [("c", "ERROR", good[2])], "3 passed, 1 failed, 0 skipped", 1),
        ("out of time", [good, ("c", "TIMEOUT", "Running\n")], "3 passed, 1 failed, 0 skipped", 1),
        ("an end without counts", [good, ("c", "OK", "hello\n")], "3 passed, 1 failed, 0 skipped", 1),
        ("nothing ran", [], "0 passed, 0 failed, 0 skipped", 1),
    ]
    for title, records, last, status in cases:
        lines, code = sum_of(root, folder, records)
        report.check(lines[-1:] == [last] and code == status, f"{title}: {lines}, status {code}")
    lines, _ = sum_of(root, folder, [good, skips])
    report.check("b: skipped: no data" in lines, f"the reason of a skip is shown: {lines}")


def install_with(root, folder, programs):
    """Runs install-dependencies.sh where only these programs exist: name -> text of a shell script, or None for the
    real one."""
    tools = os.path.join(folder, "tools")
    shutil.rmtree(tools, ignore_errors=True)
    os.makedirs(tools)
    for name, text in programs.items():
        path = os.path.join(tools, name)
        if text is None:
            os.symlink(shutil.which(name), path)
        else:
            with open(path, "w", encoding="ascii") as out:
                out.write("#!/bin/sh\n" + text + "\n")
            os.chmod(path, 0o755)
    script = os.path.join(root, "scripts", "install-dependencies.sh")
    environment = {"PATH": tools, "TMPDIR": folder}
    done = subprocess.run(
        ["/bin/sh", script],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def check_install(report, root, folder):
    if not os.path.exists("/etc/debian_version"):
        report.skip("installation of packages: this is not Debian")
        return
    tools = {name: None for name in ("env", "mktemp", "rm", "grep", "tail")}
    found = {name: "exit 0" for name in ("cc", "meson", "ninja", "dot", "pkg-config")}
    root_user, user = {"id": "echo 0"}, {"id": "echo 1000"}
    calls = os.path.join(folder, "calls")
    apt = {"apt-get": f'echo "$DEBIAN_FRONTEND $*" >> {calls}'}
    no_network = {"apt-get": 'case "$*" in *install*) echo "E: Unable to locate package meson"; exit 100;; '
                  '*) echo "W: Failed to fetch http://deb.debian.org/"; exit 0;; esac'}
    pipe_eater = 'while read -r line; do :; done'
    found["cc"] = pipe_eater

    status, out, err = install_with(root, folder, {**tools, **found})
    report.check((status, out, err) == (0, [], []), f"nothing to do: {status} {out} {err}")

    without = {name: text for name, text in found.items() if name not in ("meson", "dot")}
    one_line = [
        ("not Debian", {**tools, **without, **root_user}, "not Debian"),
        ("no root and no sudo", {**tools, **without, **user, **apt}, "root or sudo"),
        ("sudo refuses", {**tools, **without, **user, **apt, "sudo": "exit 1"}, "sudo refused"),
        ("no network", {**tools, **without, **root_user, **no_network}, "Failed to fetch"),
    ]
    for title, programs, words in one_line:
        status, out, err = install_with(root, folder, programs)
        good = status == 1 and len(err) == 1 and words in err[0] and "meson graphviz" in err[0]
        report.check(good, f"{title}: {status} {out} {err}")

    for title, programs in (("root", root_user), ("sudo", {**user, "sudo": '[ "$1" != -n ] || shift; "$@"'})):
        status, out, err = install_with(root, folder, {**tools, **without, **programs, **apt, "true": "exit 0"})
        with open(calls, encoding="ascii") as file:
            install = file.read().splitlines()[-1]
        os.remove(calls)
        good = status == 0 and not err and "ebb: installing Debian packages: meson graphviz" in out
        good = good and install.startswith("noninteractive ") and install.endswith("install -y --no-install-recommends meson graphviz")
        report.check(good, f"installs as {title}: {status} {out} {err} {install}")


def main():
    root = sys.argv[1]
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        check_sums(report, root, folder)
        check_install(report, root, folder)
    report.finish()


if __name__ == "__main__":
    main()
