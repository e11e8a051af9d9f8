#!/usr/bin/env python3
"""The book's experiments in their long forms, on the real MNIST: the figures that docs/book.md states, for one seed. The
bounds are those of three seeds and of the book's own code, with some room.

    figures.py FOLDER_OF_PROGRAMS SOURCE_ROOT
"""

import os
import sys
import tempfile

sys.dont_write_bytecode = True
from support.frame import Report, numbers, start


class Runner:
    """Runs examples on MNIST and checks numbers that they print."""

    def __init__(self, report, folder, data, results):
        self.report, self.folder, self.data, self.results = report, folder, data, results

    def run(self, name, *arguments):
        common = ("--data", self.data, "--seed", 1, "--out", self.results)
        status, out, err = start(self.folder, name, *common, *arguments)
        self.report.check(status == 0, f"{name}: status {status} {err}")
        print(f"{name} {' '.join(arguments)}".rstrip())
        for line in out:
            print(f"  {line}")
        return out

    def check(self, what, found, *bounds):
        """Each number lies between its bounds."""
        good = len(found) == len(bounds) and all(low <= number <= high for number, (low, high) in zip(found, bounds))
        self.report.check(good, f"{what}: {found}, not in {bounds}")


def row(out, name):
    """The numbers behind the name that a line starts with."""
    return next((numbers(line[len(name) :]) for line in out if line.startswith(name)), [])


def check_two_layers(runner):
    out = runner.run("two_layer_net", "--sigmoid")
    runner.check("sigmoid, training and test", row(out, "training") + row(out, "test"), (0.94, 0.955), (0.935, 0.955))
    out = runner.run("gradient_check")
    for name, most in (("W1", 1e-4), ("b1", 1e-3), ("W2", 1e-6), ("b2", 1e-6)):
        runner.check(f"gradient of {name}", row(out, f"{name}: mean difference"), (0, most))


def check_races(runner):
    out = runner.run("optimizers")
    runner.check("update rules", row(out, "  last 100"), (0.18, 0.24), (0.05, 0.085), (0.02, 0.04), (0.025, 0.05))
    out = runner.run("initialization")
    runner.check("starting weights", row(out, "  last 100"), (2.29, 2.305), (0.27, 0.34), (0.18, 0.24))


def check_batch_norm(runner):
    out = runner.run("batch_norm")
    runner.check("scales that learn", row(out, "at least half right after 20 epochs:"), (2, 3), (16, 16), (11, 16))
    scales = {round(row[0], 5): row[1:] for row in (numbers(line) for line in out) if len(row) == 3}
    runner.check("scale 0.29", scales.get(0.29286, []), (0.9, 1), (0.55, 0.75))
    runner.check("scale 0.0136", scales.get(0.01359, []), (0.05, 0.2), (0.99, 1))


def check_overfitting(runner):
    out = runner.run("overfitting")
    runner.check("nothing", row(out, "nothing"), (201, 201), (0.99, 1), (0.72, 0.79), (0.2, 0.28))
    runner.check("L2", row(out, "L2 0.1"), (201, 201), (0.84, 0.95), (0.67, 0.75), (0.13, 0.23))
    runner.check("no dropout", row(out, "no dropout"), (301, 301), (0.99, 1), (0.72, 0.79), (0.2, 0.28))
    runner.check("dropout", row(out, "dropout 0.2"), (301, 301), (0.6, 0.78), (0.48, 0.62), (0.08, 0.2))
    one, together = row(out, "mean of them")
    runner.report.check(together > one + 0.02, f"an ensemble is better than its members: {one} {together}")


def check_search(runner):
    out = runner.run("search")
    best = row(out, "1: validation accuracy")
    runner.check("search", best[:2], (0.78, 1), (0.001, 0.01))


def main():
    folder, root = sys.argv[1:]
    report = Report()
    data = os.path.join(os.environ.get("EBB_DATA") or os.path.join(root, "..", "shared", "data"), "mnist")
    if not os.path.isdir(data):
        report.skip(f"the book's figures on MNIST: there is no folder {data}")
        report.finish()
    with tempfile.TemporaryDirectory() as results:
        runner = Runner(report, folder, data, results)
        for check in (check_two_layers, check_races, check_batch_norm, check_overfitting, check_search):
            check(runner)
    report.finish()


if __name__ == "__main__":
    main()
