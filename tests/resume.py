#!/usr/bin/env python3
"""Trainings that are killed at random moments go on from their checkpoints, and end with the same bits as without.

    resume.py PROGRAM KILLS [SEED]

Three models times three update rules (tests/resume_train.c), KILLS kills over all; fewer than nine: the first ones only.
Any moment must do: nothing depends on how fast the machine is.
"""

import os
import random
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from support.frame import Report

MODELS = ("mlp", "convnet", "recurrent")
RULES = ("momentum", "adam", "lion")
EPOCHS = 6
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "passive"}


def start(program, model, rule, folder, result):
    return subprocess.Popen(
        [program, model, rule, folder, str(EPOCHS), result],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def read(path):
    with open(path, "rb") as file:
        return file.read()


def first_step(output):
    words = output.split()
    return int(words[2]) if len(words) == 3 else None


def check(report, chance, program, model, rule, n_kills):
    with tempfile.TemporaryDirectory() as place:
        whole, cut = os.path.join(place, "whole"), os.path.join(place, "cut")
        os.mkdir(whole)
        os.mkdir(cut)
        began = time.monotonic()
        process = start(program, model, rule, whole, whole + ".result")
        output, errors = process.communicate()
        taken = time.monotonic() - began
        report.check(process.returncode == 0 and not errors and first_step(output) == 0, f"{model} {rule}: {output} {errors}")

        killed, resumed, done, newest = 0, 0, False, 0
        while not done:
            process = start(program, model, rule, cut, cut + ".result")
            if killed < n_kills:
                # Sometimes early, so that many kills fit into one training; anywhere from start to end.
                time.sleep(taken * chance.random() ** chance.choice((1, 2)))
                process.kill()
            output, errors = process.communicate()
            step = first_step(output)
            good = not errors and (step is None or step >= newest)
            report.check(good, f"{model} {rule}: begins at {step} after {newest}: {errors}")
            if step is not None:
                newest = step
                resumed += step > 0
            if process.returncode == 0:
                report.check(read(cut + ".result") == read(whole + ".result"), f"{model} {rule}: the same bits after {killed} kills")
                last = sorted(os.listdir(cut))[-1]
                report.check(
                    last == sorted(os.listdir(whole))[-1] and read(os.path.join(cut, last)) == read(os.path.join(whole, last)),
                    f"{model} {rule}: the same last checkpoint",
                )
                # Another training in the same way, until there were enough kills.
                done = killed >= n_kills
                for name in os.listdir(cut):
                    os.unlink(os.path.join(cut, name))
                os.unlink(cut + ".result")
                newest = 0
            elif process.returncode < 0:
                killed += 1
            else:
                report.check(False, f"{model} {rule}: {errors}")
                done = True
        print(f"{model:<10}{rule:<10}{killed:>4} kills, {resumed:>4} times resumed behind the first step")
        return killed


def main():
    program, n_kills = sys.argv[1], int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    chance = random.Random(seed)
    report = Report()
    pairs = [(model, rule) for model in MODELS for rule in RULES]
    if n_kills < len(pairs):
        pairs = [("convnet", "adam"), ("mlp", "lion")]
    total = 0
    for i, (model, rule) in enumerate(pairs):
        total += check(report, chance, program, model, rule, n_kills * (i + 1) // len(pairs) - n_kills * i // len(pairs))
    report.check(total >= n_kills, f"{total} kills, not {n_kills}")
    print(f"{total} kills in all")
    report.finish()


if __name__ == "__main__":
    main()
