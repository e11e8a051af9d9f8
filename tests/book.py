#!/usr/bin/env python3
"""The book's experiments (Saitoh, Deep Learning from Scratch, 2016) in short forms, on drawn digits: exact numbers where
the book has them, and that the same seed gives the same output. docs/book.md has the long forms.

    book.py FOLDER_OF_PROGRAMS
"""

import math
import os
import re
import sys
import tempfile

sys.dont_write_bytecode = True
from support.frame import Report, numbers, start

BACKENDS = ("reference", "onednn")


def near(found, wanted, tolerance):
    """Two lists of numbers agree."""
    return len(found) == len(wanted) and all(abs(f - w) <= tolerance for f, w in zip(found, wanted))


def line_with(out, words):
    """The first line with these words; "" without one."""
    return next((line for line in out if words in line), "")


def after(out, words):
    """The numbers behind these words, in the first line that has them."""
    return numbers(line_with(out, words).partition(words)[2])


class Bench:
    """Runs the examples of one backend into one folder."""

    def __init__(self, report, folder, backend, results):
        self.report, self.folder, self.backend, self.results = report, folder, backend, results
        self.is_slow = backend == "reference"

    def run(self, name, *arguments, pictures=()):
        status, out, err = start(self.folder, name, *arguments, "--backend", self.backend, "--out", self.results)
        self.check(status == 0, f"{name}: status {status} {out} {err}")
        for picture in pictures:
            path = os.path.join(self.results, picture)
            self.check(os.path.exists(path) and os.path.getsize(path) > 500, f"{name} leaves {picture}")
        return out

    def check(self, good, text):
        self.report.check(good, f"{text} on {self.backend}")


def check_chapter_2(bench):
    out = bench.run("xor", "--steps", 1000, pictures=["xor.svg"])
    places = [(a / 10, b / 10, c / 10) for a in range(-10, 11) for b in range(-10, 11) for c in range(-10, 11)]
    for name, truth in (("AND", (0, 0, 0, 1)), ("NAND", (1, 1, 1, 0)), ("OR", (0, 1, 1, 1)), ("XOR", (0, 1, 1, 0))):
        fit = sum(
            all((round(10 * (a * x + b * y + c)) > 0) == t for (x, y), t in zip(((0, 0), (0, 1), (1, 0), (1, 1)), truth))
            for a, b, c in places
        )
        found = after(out, f"{name:4}:")
        bench.check(found == [fit, len(places)], f"perceptrons for {name}: {found}, not {fit}")
    bench.check(near(after(out, "one layer: loss")[:1], [math.log(2)], 1e-4), f"one layer: {out}")
    bench.check("4 of 4 rows right" in line_with(out, "two layers"), f"two layers: {out}")


def check_chapter_3(bench):
    out = bench.run("activations", pictures=["activations.svg"])
    sigmoid = numbers(line_with(out, "sigmoid  ").replace("h(", " "))[1::2]
    bench.check(near(sigmoid, [0.26894142, 0.5, 0.73105858, 0.88079708], 1e-8), f"sigmoid: {sigmoid}")
    bench.check("below 1e-12" in line_with(out, "one matrix"), f"linear layers: {out}")
    bench.check(after(out, "products in a run")[0] == 3 and after(out, "multiplied first")[0] == 1, f"products: {out}")

    out = bench.run("forward", "--epochs", 1, "--threads", 1, pictures=["forward.dot"])
    for name, wanted in (
        ("a1 ", [0.3, 0.7, 1.1]),
        ("z1 ", [0.57444252, 0.66818777, 0.75026011]),
        ("a2 ", [0.51615984, 1.21402696]),
        ("z2 ", [0.62624937, 0.7710107]),
        ("y ", [0.31682708, 0.69627909]),
        ("softmax (0.3, 2.9, 4):", [0.01821127, 0.24519181, 0.73659691, 1]),
        ("softmax (1010, 1000, 990):", [9.999546e-1, 4.539787e-5, 2.061060e-9, 1]),
    ):
        bench.check(near(after(out, name), wanted, 1e-8), f"{name}: {after(out, name)}")
    one, many = after(out, "one by one: accuracy")[0], after(out, "in batches of 100: accuracy")[0]
    bench.check(abs(one - many) <= 5e-4 and line_with(out, "less than 1e-5").endswith("yes"), f"batches: {one} {many}")


def check_chapter_4(bench):
    out = bench.run("losses", "--steps", 30, pictures=["losses.svg"])
    bench.check(near(after(out, "class 2 found: squared error"), [0.0975, 0.510825457], 1e-8), f"losses: {out}")
    bench.check(near(after(out, "taken for 7: squared error"), [0.5975, 2.302584093], 1e-8), f"losses: {out}")
    n, n_accuracies, n_losses = numbers(line_with(out, "values of the weight"))
    bench.check(n_accuracies <= 20 and n_losses >= 0.9 * n, f"nudged weight: {n_accuracies} {n_losses}")

    out = bench.run("numerical_gradient", pictures=["numerical_gradient.svg"])
    rows = {"differences": [], "propagation": []}
    for line in out:
        kind = line.split()[1] if line.startswith("  by ") else None
        if kind:
            rows[kind].append(numbers(line))
    slopes = [[0.2], [0.3], [6, 8], [0, 4], [6, 0]]
    slopes.append([0.21924757, 0.14356243, -0.36281, 0.32887136, 0.21534364, -0.544215])
    bench.check(rows["differences"][:2] == [[0.1999999999990898], [0.2999999999986347]], f"differences: {rows}")
    for kind, found in rows.items():
        # The book's figures of the net are of its numerical gradient, to eight digits.
        bench.check(all(near(f, w, 1e-6) for f, w in zip(found, slopes)) and len(found) == 6, f"{kind}: {found}")
    bench.check(near(after(out, "  loss"), [0.92806829], 5e-7), f"loss of the small net: {out}")


def check_chapter_5(bench):
    out = bench.run("gradient_check", "--hidden", 5, pictures=["gradient_check.dot"])
    for name in ("W1", "b1", "W2", "b2"):
        bench.check(after(out, f"{name}: mean difference")[0] < 1e-4, f"gradient check: {out}")


def race(out, row, n):
    """The numbers of a row of a race's table."""
    found = after(out, row)
    return found if len(found) == n else [math.nan] * n


def check_update_rules(bench):
    steps = 20 if bench.is_slow else 150
    out = bench.run("optimizers", "--steps", steps, "--threads", 1, pictures=["optimizers.svg", "optimizers_bowl.svg"])
    for name, wanted in (
        ("SGD", [1, -6.335, -1.8, 10, -2.579787, 0.697357, 30, -0.350393, 0.084782]),
        ("Momentum", [1, -6.93, 1.6, 10, -4.347554, 0.0088, 30, 0.896414, 0.088086]),
        ("AdaGrad", [1, -5.5, 0.5, 10, -1.489386, 4e-6, 30, -0.120162, 0]),
        ("Adam ", [1, -6.7, 1.7, 10, -4.059419, -0.491846, 30, 0.136007, 0.318245]),
    ):
        bench.check(near(after(out, name), wanted, 1.5e-6), f"{name} in the bowl: {out}")
    sgd, *others = race(out, f"last {min(100, steps)}", 4)
    bench.check(sgd > (1 if bench.is_slow else 1.5) * max(others), f"SGD is slowest: {sgd} {others}")


def check_starts(bench):
    steps = 20 if bench.is_slow else 150
    out = bench.run("initialization", "--steps", steps, "--threads", 1, pictures=["initialization_sigmoid.svg"])
    spreads = {}
    for line in out:
        if line.startswith(("sigmoid", "ReLU", "tanh")):
            name, _, row = line.rpartition("  std")
            spreads[name.strip()] = numbers(row)[:5]
    # First and last layer of the book's code; chance of the draw.
    for name, first, last, tolerance in (
        ("sigmoid std 1", 0.459, 0.440, 0.02),
        ("sigmoid std 0.01", 0.025, 0.013, 0.002),
        ("sigmoid Xavier", 0.207, 0.135, 0.015),
        ("ReLU    std 0.01", 0.058, 0, 0.002),
        ("ReLU    Xavier", 0.58, 0.18, 0.06),
        ("ReLU    He", 0.82, 1.04, 0.3),
    ):
        found = spreads.get(name, [math.nan] * 5)
        bench.check(near([found[0]], [first], 0.02) and near([found[4]], [last], tolerance), f"{name}: {found}")
    bench.check(after(out, "that start equal: after 20 steps hidden neurons differ by up to")[0] < 1e-6, f"equal: {out}")
    bench.check(after(out, "that start random: after 20 steps hidden neurons differ by up to")[0] > 1e-2, f"random: {out}")
    small, xavier, he = race(out, f"last {min(100, steps)}", 3)
    bench.check(small > 2.2 and (bench.is_slow or he < xavier < small), f"race of starts: {small} {xavier} {he}")


def check_batch_norm(bench):
    epochs = 1 if bench.is_slow else 4
    out = bench.run("batch_norm", "--epochs", epochs, "--images", 500, "--threads", 1, pictures=["batch_norm.svg"])
    bench.check(after(out, "worst relative error")[0] < 1e-7, f"gradients of batch norm: {out}")
    scales = [numbers(line) for line in out if len(line.split()) == 3 and line[0].isdigit()]
    bench.check(len(scales) == 16 and all(0 <= a <= 1 for row in scales for a in row[1:]), f"scales: {scales}")


def check_overfitting(bench):
    epochs = ("--epochs", 3, "--dropout-epochs", 2) if bench.is_slow else ("--epochs", 12, "--dropout-epochs", 12)
    out = bench.run("overfitting", *epochs, "--threads", 1, pictures=["overfitting.svg"])
    rows = [line for line in out if line.startswith(("nothing", "L2", "L1", "no dropout", "dropout"))]
    bench.check(len(rows) == 5, f"cures: {out}")
    bench.check(len(after(out, "nets alone:")) == 5 and "together" in line_with(out, "mean of them"), f"ensemble: {out}")


def check_search(bench):
    common = ("--trials", 9, "--epochs", 2 if bench.is_slow else 8)
    out = bench.run("search", *common, pictures=["search.svg"])
    ranges = [re.findall(r"10\^(-\d\.\d\d)", line) for line in out if line.startswith("round ")]
    widths = [float(high) - float(low) for _, _, low, high in ranges]
    bench.check(len(ranges) == 3 and ranges[0] == ["-8.00", "-4.00", "-6.00", "-2.00"], f"rounds: {out}")
    bench.check(max(widths[1:]) < 3, f"the range of rates narrows: {widths}")
    found = [after([line], "validation accuracy")[0] for line in out if "validation accuracy" in line]
    bench.check(len(found) == 5 and found == sorted(found, reverse=True), f"search: {out}")
    more = bench.run("search", *common, "--workers", 3)
    bench.check(more == out, f"the number of threads does not matter: {more}")


def check_text(bench):
    steps = 20 if bench.is_slow else 80
    # A text whose characters follow from those before: a b a c a b ...
    path = os.path.join(bench.results, "text.txt")
    with open(path, "w", encoding="ascii") as file:
        file.write("abacabad\n" * 400)
    for name, arguments in (("char_lstm", ("--hidden", 64)), ("transformer", ("--width", 32, "--layers", 1))):
        common = (*arguments, "--steps", steps, "--threads", 1, "--letters", 40)
        out = bench.run(name, *common, pictures=[f"{name}.svg"])
        entropy = after(out, "entropy of single ones")[0]
        held_out = after(out, "steps,")[0]
        bench.check(abs(entropy - 2.8068) < 1e-4 and held_out < entropy * (1 if steps == 20 else 0.7), f"{name}: {out}")
        out = bench.run(name, *common, "--text", path)
        held_out = after(out, "steps,")[0]
        bench.check(after(out, "entropy of single ones") == [1.4271], f"{name}: entropy {out}")
        bench.check(steps == 20 or held_out < 0.1, f"{name} learns a simple text: {out}")


def check_chapter_7(bench):
    out = bench.run("convolution", pictures=["convolution.dot"])
    for name, wanted in (
        ("convolution:", [15, 16, 6, 15]),
        ("with bias 3:", [18, 19, 9, 18]),
        ("padding 1:", [7, 12, 10, 2, 4, 15, 16, 10, 10, 6, 15, 6, 8, 10, 4, 3]),
        ("stride 2 on 7x7:", [15, 17, 15, 17, 15, 17, 15, 17, 15]),
        ("maximum of 2x2:", [2, 3, 4, 2]),
        ("mean of 2x2:", [1, 1.5, 2.25, 1]),
    ):
        bench.check(after(out, name) == wanted, f"{name} {after(out, name)}")
    for line in (
        "4x4, padding 1, stride 1, filter 3: 4x4",
        "7x7, padding 0, stride 2, filter 3: 3x3",
        "28x31, padding 2, stride 3, filter 5: 10x11",
        "im2col of 1x3x7x7 for 5x5: 9x75",
        "im2col of 10x3x7x7 for 5x5: 90x75",
    ):
        bench.check(line in out, f"{line}: {out}")
    bench.check(after(out, "worst relative error")[0] < 1e-7, f"gradients of a convnet: {out}")


CHECKS = [
    check_chapter_2,
    check_chapter_3,
    check_chapter_4,
    check_chapter_5,
    check_update_rules,
    check_starts,
    check_batch_norm,
    check_overfitting,
    check_search,
    check_chapter_7,
    check_text,
]


def check_seeds(report, folder):
    """The same seed gives the same lines, another one others."""
    with tempfile.TemporaryDirectory() as results:
        for name, arguments in (("xor", ("--steps", 50)), ("losses", ()), ("transformer", ("--steps", 3))):
            runs = [start(folder, name, *arguments, "--out", results, "--seed", seed)[1] for seed in (1, 1, 2)]
            report.check(runs[0] == runs[1] != runs[2], f"{name} repeats for a seed: {runs}")


def check_famous_nets(report, folder):
    with tempfile.TemporaryDirectory() as results:
        status, out, err = start(folder, "famous_nets", "--out", results)
        found = {line.split()[0]: int(line.split()[1]) for line in out if "weights," in line}
    wanted = {
        "LeNet-5": 61706,
        "SimpleConvNet": 433890,
        "DeepConvNet": 123552,
        "AlexNet": 60965224,
        "VGG-16": 138357544,
        "VGG-19": 143667240,
        "GoogLeNet": 6998552,
        "ResNet-18": 11689512,
        "ResNet-34": 21797672,
        "ResNet-50": 25557032,
    }
    report.check(status == 0 and found == wanted, f"famous nets: {found} {err}")


def check_nonsense(report, folder):
    """One line on stderr that says what is wrong."""
    with tempfile.TemporaryDirectory() as nowhere:
        file = os.path.join(nowhere, "file")
        with open(file, "wb") as short:
            short.write(b"too short")
        for name, arguments, words in (
            ("xor", ("--steps", 0), "--steps"),
            ("losses", ("--data", nowhere), nowhere),
            ("optimizers", ("--data", file), file),
            ("batch_norm", ("--images", 5), "--images"),
            ("overfitting", ("--epochs", "many"), "many"),
            ("search", ("--workers", 1000), "--workers"),
            ("search", ("--out", os.path.join(file, "deeper")), file),
            ("char_lstm", ("--text", file), "too few"),
            ("char_lstm", ("--text", os.path.join(nowhere, "none")), "none"),
            ("transformer", ("--width", 20), "--width"),
        ):
            status, out, err = start(folder, name, "--out", nowhere, *arguments)
            good = status != 0 and len(err) == 1 and words in err[0]
            report.check(good, f"{name} {arguments}: status {status} {out} {err}")


def main():
    folder = sys.argv[1]
    report = Report()
    for backend in BACKENDS:
        with tempfile.TemporaryDirectory() as results:
            bench = Bench(report, folder, backend, results)
            for check in CHECKS:
                check(bench)
    check_seeds(report, folder)
    check_famous_nets(report, folder)
    check_nonsense(report, folder)
    report.finish()


if __name__ == "__main__":
    main()
