#!/usr/bin/env python3
"""The book's networks on the real MNIST (Saitoh 2016): the two-layer net of chapter 5 reaches 0.97 in 10,000 steps;
SimpleConvNet of chapter 7 reaches 0.97 in one epoch, from He's initialization, and DeepConvNet of chapter 8 0.985 in
three.

    training.py FOLDER_OF_PROGRAMS SOURCE_ROOT
"""

import os
import re
import resource
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from support.frame import Report, without_progress


def train(folder, data, *arguments):
    command = [os.path.join(folder, "two_layer_net"), "--data", data, "--seed", "1"] + list(arguments)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return without_progress(done.stdout) if done.returncode == 0 else []


def losses_of(lines):
    return [float(line.split()[-1]) for line in lines if line.startswith("loss ")]


def train_convnet(report, folder, data, model, epochs, least):
    command = [os.path.join(folder, "convnet"), "--data", data, "--seed", "1", "--model", model, "--epochs", str(epochs)]
    with tempfile.TemporaryDirectory() as results:
        done = subprocess.run(command + ["--out", results], stdout=subprocess.PIPE, text=True, check=False)
    last = (done.stdout.splitlines() or [""])[-1]
    print(f"{model}, epochs: {epochs}: {last}")
    found = re.fullmatch(r"test accuracy (\d\.\d{4})", last)
    good = done.returncode == 0 and found and float(found.group(1)) >= least
    report.check(good, f"{model} reaches {least} after {epochs} epochs: {last}")


def main():
    folder, root = sys.argv[1:]
    report = Report()
    data = os.path.join(os.environ.get("EBB_DATA") or os.path.join(root, "..", "shared", "data"), "mnist")
    if not os.path.isdir(data):
        report.skip(f"training on MNIST: there is no folder {data}")
        report.finish()

    losses = {}
    for backend in ("reference", "onednn"):
        out = train(folder, data, "--iterations", "10000", "--losses", "100", "--backend", backend)
        found = re.fullmatch(r"test accuracy (\d\.\d{4})", out[-1] if out else "")
        print(f"{backend}: {found.group(0) if found else out[-1:]}")
        report.check(found and float(found.group(1)) >= 0.97, f"{backend} reaches 0.97: {out[-1:]}")
        losses[backend] = losses_of(out)
        if backend == "onednn":
            again = train(folder, data, "--iterations", "10000", "--losses", "100", "--backend", backend)
            report.check(again == out, "the run repeats bit for bit")
    worst = max((abs(a - b) for a, b in zip(*losses.values())), default=1)
    print(f"largest difference of the first losses: {worst:.2g}")
    report.check(len(losses["onednn"]) == 100 and worst <= 1e-4, f"losses of both backends differ by {worst}")

    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"peak memory: {peak_mb:.0f} MB")
    report.check(peak_mb < 120, f"peak memory of two_layer_net is {peak_mb:.0f} MB")

    train_convnet(report, folder, data, "simple", 1, 0.970)
    train_convnet(report, folder, data, "deep", 3, 0.985)
    report.finish()


if __name__ == "__main__":
    main()
