#!/usr/bin/env python3
"""The examples run on both backends and print what they promise; and they refuse nonsense with one line.

    examples.py FOLDER_OF_PROGRAMS SOURCE_ROOT
"""

import os
import re
import struct
import sys
import tempfile
import zlib

sys.dont_write_bytecode = True
from support.frame import Report, numbers, start

BACKENDS = ("reference", "onednn")


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


def check_picture(report, path, width, height):
    """A whole PNG of this size."""
    data = b""
    if os.path.exists(path):
        with open(path, "rb") as file:
            data = file.read()
    good = data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82")
    found = struct.unpack(">II", data[16:24]) if good else None
    report.check(found == (width, height), f"{os.path.basename(path)}: {found}, not {(width, height)}")


def check_mistakes(report, folder, out):
    """The list of mistakes agrees with the count that is printed last."""
    counted = re.fullmatch(r"(\d+) of \d+ test images are read wrongly", out[-1] if out else "")
    with open(os.path.join(folder, "mistakes.txt"), encoding="ascii") as file:
        lines = [re.fullmatch(r"image \d+: label (\d), guess (\d)", line.rstrip("\n")) for line in file]
    good = counted and len(lines) == min(20, int(counted.group(1)))
    report.check(good and all(line and line.group(1) != line.group(2) for line in lines), f"mistakes: {out[-1:]}, {lines}")


def check_convnet(report, folder):
    common = ("--synthetic", "--images", 400, "--batch", 20, "--seed", 3, "--threads", 1)
    with tempfile.TemporaryDirectory() as results:
        weights = [os.path.join(results, name) for name in ("half", "whole", "on")]
        figures = {}
        for backend in BACKENDS:
            status, out, err = start(
                folder, "convnet", *common, "--model", "lenet", "--epochs", 1, "--backend", backend, "--out", results
            )
            lines = [line for line in out if line.startswith("epoch 1/1: ")]
            good = status == 0 and len(lines) == 1 and re.fullmatch(r"test accuracy [01]\.\d{4}", out[-1])
            report.check(good, f"convnet on {backend}: {out} {err}")
            figures[backend] = numbers(lines[0])[2] if lines else 0
        report.check(abs(figures["onednn"] - figures["reference"]) < 1e-3, f"losses of both backends: {figures}")
        report.check(os.path.exists(os.path.join(results, "convnet_lenet.svg")), "convnet plots")

        # Stopped, saved, loaded and gone on, training ends where it ends without a stop.
        deep = (*common, "--model", "deep", "--images", 60, "--out", results)
        start(folder, "convnet", *deep, "--epochs", 1, "--save", weights[0])
        whole = start(folder, "convnet", *deep, "--epochs", 2, "--save", weights[1])
        on = start(folder, "convnet", *deep, "--epochs", 1, "--load", weights[0], "--save", weights[2])
        again = start(folder, "convnet", *deep, "--epochs", 0, "--load", weights[1])
        report.check(whole[0] == on[0] == again[0] == 0, f"convnet saves and loads: {whole} {on} {again}")
        report.check(whole[1][-1:] == on[1][-1:] == again[1][-1:], f"accuracies: {whole[1]} {on[1]} {again[1]}")
        if os.path.exists(weights[1]) and os.path.exists(weights[2]):
            with open(weights[1], "rb") as one, open(weights[2], "rb") as other:
                report.check(one.read() == other.read(), "a training that went on ends with the same weights")
        status, out, err = start(folder, "convnet", *common, "--model", "lenet", "--load", weights[0], "--out", results)
        report.check(status != 0 and len(err) == 1 and 'has no tensor "' in err[0], f"weights of another model: {out} {err}")

        for model in ("simple", "simple_book", "lenet1998", "resnet20", "vgg11"):
            status, out, err = start(
                folder, "convnet", *common, "--model", model, "--images", 20, "--epochs", 1, "--out", results
            )
            report.check(status == 0 and out[-1].startswith("test accuracy "), f"convnet {model}: {out} {err}")


def check_model_file(report, folder):
    """A trained network, written as a file of its own, tells the digit of a single image."""
    with tempfile.TemporaryDirectory() as results:
        model, image = os.path.join(results, "model"), os.path.join(results, "image.npy")
        status, out, err = start(
            folder, "convnet", "--synthetic", "--images", 100, "--epochs", 1, "--batch", 20, "--model", "resnet20", "--threads", 1,
            "--out", results, "--model-file", model,
        )
        report.check(status == 0 and f"wrote {model}" in out, f"convnet writes a model: {out} {err}")
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 28, 28), }"
        header += " " * (117 - len(header)) + "\n"
        with open(image, "wb") as file:
            file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("ascii"))
            file.write(struct.pack("<784f", *(0.001 * (i % 1000) for i in range(784))))
        status, out, err = start(folder, "run_model", model, image)
        report.check(status == 0 and len(out) == 10 and all(numbers(line) for line in out), f"run_model: {out} {err}")
        status, out, err = start(folder, "run_model", image, image)
        report.check(status == 1 and len(err) == 1 and image in err[0], f"run_model without a model: {out} {err}")


def check_mnist(report, folder, root):
    """Forty lines of C, from files to accuracy."""
    data = os.path.join(os.environ.get("EBB_DATA") or os.path.join(root, "..", "shared", "data"), "mnist")
    folders = [data] if os.path.exists(os.path.join(data, "train-images-idx3-ubyte.gz")) else []
    if not folders:
        print(f"skipped: mnist on real data (none in {data})")
    for arguments in ([], folders)[: 1 + len(folders)]:
        status, out, err = start(folder, "mnist", *arguments)
        accuracy = re.fullmatch(r"test accuracy (\d\.\d{4})", out[-1] if out else "")
        epochs = [line for line in out if re.fullmatch(r"epoch \d/5: loss .*; validation loss .*", line)]
        good = status == 0 and accuracy and float(accuracy.group(1)) > 0.95 and len(epochs) == 5
        report.check(good, f"mnist {arguments}: {out} {err}")
    status, out, err = start(folder, "mnist", "/none")
    report.check(status == 1 and len(err) == 1 and "/none" in err[0], f"mnist without files: {out} {err}")


def write_bar(path):
    """A grey PNG, 12x10: black, with a white bar from top to bottom."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(255 if 4 <= x < 7 else 0 for x in range(12)) for _ in range(10))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 12, 10, 8, 0, 0, 0, 0)))
        file.write(chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def check_filters(report, folder):
    with tempfile.TemporaryDirectory() as results:
        bar = os.path.join(results, "bar.png")
        write_bar(bar)
        for backend in BACKENDS:
            status, out, err = start(
                folder, "filters", "--images", 200, "--image", bar, "--out", results, "--backend", backend
            )
            # 8 rows of 10 responses: four in each row are 4, where the bar begins and ends.
            good = status == 0 and "vertical edges: mean response 1.6000" in out
            report.check(good and "horizontal edges: mean response 0.0000" in out, f"filters on {backend}: {out} {err}")
            if status == 0:
                check_mistakes(report, results, out)
        check_picture(report, os.path.join(results, "edges.png"), 2 * 280 + 12, 8 * 28 + 8)
        check_picture(report, os.path.join(results, "filters.png"), 13 * 64 + 4, 5 * 64 + 4)
        check_picture(report, os.path.join(results, "mistakes.png"), 10 * 60 + 4, 2 * 60 + 4)


def check_depth(report, folder):
    with tempfile.TemporaryDirectory() as results:
        for backend, steps in (("reference", 0), ("onednn", 12)):
            status, out, err = start(
                folder, "depth", "--steps", steps, "--threads", 1, "--out", results, "--backend", backend
            )
            fields = [line for line in out if "weights, sees" in line]
            good = status == 0 and fields == [
                "1 of 5x5: 25 weights, sees 5x5",
                "2 of 3x3: 18 weights, sees 5x5",
                "1 of 7x7: 49 weights, sees 7x7",
                "3 of 3x3: 27 weights, sees 7x7",
            ]
            names = [line.split()[1:] for line in out if line.split()[:1] == ["step"]]
            good = good and names == [["plain-20", "shortcut-20", "plain-56", "shortcut-56"]] * (steps > 0)
            rows = [line.split() for line in out if re.fullmatch(r" +\d+( +\d+\.\d{4}){4}", line)]
            report.check(good and [int(row[0]) for row in rows] == list(range(1, steps + 1)), f"depth on {backend}: {out} {err}")
        check_picture(report, os.path.join(results, "depth_fields.png"), 2 * 244 + 4, 2 * 244 + 4)
        report.check(os.path.exists(os.path.join(results, "depth.svg")), "depth plots its losses")


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
        check_picture(report, os.path.join(results, "filters.png"), 9 * 64 + 4, 4 * 64 + 4)
        check_picture(report, os.path.join(results, "mistakes.png"), 10 * 60 + 4, 2 * 60 + 4)
        check_mistakes(report, results, out)
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
            ("convnet", ("--synthetic", "--model", "abacus"), "abacus"),
            ("convnet", ("--synthetic", "--images", 10, "--out", nowhere), "too few"),
            ("convnet", ("--synthetic", "--load", missing, "--out", nowhere), missing),
            ("filters", ("--image", file, "--out", nowhere), file),
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
    check_convnet(report, folder)
    check_filters(report, folder)
    check_depth(report, folder)
    check_digits(report, folder)
    check_model_file(report, folder)
    check_mnist(report, folder, sys.argv[2])
    check_nonsense(report, folder)
    report.finish()


if __name__ == "__main__":
    main()
