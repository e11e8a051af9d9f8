#!/usr/bin/env python3
"""The examples run on both backends and print what they promise; and they refuse nonsense with one line.

    examples.py FOLDER_OF_PROGRAMS
"""

import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from support.frame import Report, without_progress

BACKENDS = ("reference", "onednn")


def start(folder, name, *arguments):
    """Returns exit status, lines of stdout, lines of stderr."""
    command = [os.path.join(folder, name)] + [str(argument) for argument in arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, without_progress(done.stdout), done.stderr.splitlines()


def numbers(line):
    return [float(text) for text in re.findall(r"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?", line)]


def check_small_ones(report, folder, backend):
    status, out, err = start(folder, "hessian", "--backend", backend)
    good = status == 0 and len(out) == 3 and numbers(out[2])[-1] < 1e-7
    report.check(good, f"hessian on {backend}: {out} {err}")

    status, out, err = start(folder, "custom_op", "--backend", backend)
    good = status == 0 and "softplus(0) = 0.69314718056, slope 0.5" in out and "custom_op.c:" in out[-1]
    report.check(good, f"custom_op on {backend}: {out} {err}")


def check_books_first_chapters(report, folder, backend):
    """Numbers of Saitoh 2016, chapters 2, 4 and 5."""
    with tempfile.TemporaryDirectory() as results:
        common = ("--backend", backend, "--out", results)
        status, out, err = start(folder, "gates", *common)
        report.check(status == 0 and out.count("  1  1  1  |      1      1") == 1, f"gates on {backend}: {out} {err}")

        status, out, err = start(folder, "apples", *common)
        rows = {line.split()[0]: line.split()[1:] for line in out if len(line.split()) == 3}
        good = status == 0 and "total 220" in out and "total 715" in out
        good = good and rows.get("orange") == ["150", "3.3"] and rows.get("orange_count") == ["3", "165"]
        report.check(good, f"apples on {backend}: {out} {err}")
        report.check(os.path.exists(os.path.join(results, "apples.dot")), "apples writes its graph")

        status, out, err = start(folder, "gradient_descent", *common)
        good = status == 0 and any("(-6.111107929e-10, 8.148143905e-10)" in line for line in out)
        good = good and any("(-2.99999994, 3.99999992)" in line for line in out)
        report.check(good, f"gradient_descent on {backend}: {out} {err}")


def check_two_layer_net(report, folder):
    common = ("--synthetic", "--iterations", 100, "--losses", 100, "--seed", 1)
    losses = {}
    for backend in BACKENDS:
        status, out, err = start(folder, "two_layer_net", *common, "--backend", backend)
        losses[backend] = [numbers(line)[-1] for line in out if line.startswith("loss ")]
        good = status == 0 and len(losses[backend]) == 100
        good = good and re.fullmatch(r"test accuracy 0\.\d{4}|test accuracy 1\.0000", out[-1])
        report.check(good, f"two_layer_net on {backend}: {out[-2:]} {err}")
        again = start(folder, "two_layer_net", *common, "--backend", backend)
        report.check(again[1] == out, f"two_layer_net on {backend} repeats bit for bit")
    worst = max((abs(a - b) for a, b in zip(*losses.values())), default=1)
    report.check(worst <= 1e-4, f"losses of both backends differ by {worst}")


def check_digits(report, folder):
    with tempfile.TemporaryDirectory() as results:
        status, out, err = start(folder, "digits", "--out", results, "--epochs", 1)
        report.check(status == 0, f"digits: {out} {err}")
        for name, start_of_file in (("graph.svg", b"<?xml"), ("loss.svg", b"<"), ("weights.safetensors", None)):
            path = os.path.join(results, name)
            good = os.path.exists(path) and os.path.getsize(path) > 500
            if good and start_of_file:
                with open(path, "rb") as file:
                    text = file.read()
                good = text.startswith(start_of_file) and b"</svg>" in text
            report.check(good, f"digits leaves {name}")
        left = sorted(os.listdir(results))
        report.check(all(not name.startswith(".") and "tmp" not in name for name in left), f"nothing half-written: {left}")


def check_nonsense(report, folder):
    with tempfile.TemporaryDirectory() as nowhere:
        missing, file = os.path.join(nowhere, "missing"), os.path.join(nowhere, "file")
        with open(file, "wb"):
            pass
        cases = [
            ("hessian", ("--backend", "abacus"), "abacus"),
            ("hessian", ("--frontend",), "--frontend"),
            ("two_layer_net", ("--synthetic", "--iterations", "many"), "many"),
            ("two_layer_net", ("--data", missing), missing),
            ("digits", ("--out", os.path.join(file, "deeper")), file),
        ]
        for name, arguments, words in cases:
            status, out, err = start(folder, name, *arguments)
            good = status != 0 and err and any(words in line for line in err)
            report.check(good, f"{name} {arguments}: status {status} {out} {err}")


def main():
    folder = sys.argv[1]
    report = Report()
    for backend in BACKENDS:
        check_small_ones(report, folder, backend)
        check_books_first_chapters(report, folder, backend)
    check_two_layer_net(report, folder)
    check_digits(report, folder)
    check_nonsense(report, folder)
    report.finish()


if __name__ == "__main__":
    main()
