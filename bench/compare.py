#!/usr/bin/env python3
"""Ebb and PyTorch, run alternately on the same cases; prints a table of ratios (PyTorch / Ebb: above 1, Ebb is faster).

    compare.py --ebb build/bench/ebb-bench --torch .../bench_torch.py [--cases mlp_book,...] [--threads 1,2]
               [--mode train|infer|both] [--pairs 5] [--secs 1.5] [--ebb-options '...'] [--json FILE]

A pair is one run of each program, one after the other; a ratio is the median over the pairs. PyTorch's side is the
fastest of its variants (--variants), found by one run of each before the pairs. The first losses of both sides must
agree to 1e-4. PyTorch's BLAS has to be a fast one: OPENBLAS_DIR names the folder of OpenBLAS's libblas.so.3, and
OpenBLAS that does not know the processor takes its slowest kernels, so OPENBLAS_CORETYPE is set if it is not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

LOSSES = 5


def parse():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--ebb", required=True, help="build/bench/ebb-bench")
    ap.add_argument("--torch", required=True, help="bench_torch.py")
    ap.add_argument("--python", default="/usr/bin/python3", help="the interpreter that has torch")
    ap.add_argument("--cases", default="", help="comma-separated; default: all that ebb-bench has")
    ap.add_argument("--threads", default="1,2")
    ap.add_argument("--mode", default="both", choices=["train", "infer", "both"])
    ap.add_argument("--variants", default="eager,jit,cl,jit_cl")
    ap.add_argument("--pairs", type=int, default=5)
    ap.add_argument("--secs", type=float, default=1.5, help="measured seconds of each run")
    ap.add_argument("--ebb-options", default="", help="further options of ebb-bench, as one word: '--autotune winograd'")
    ap.add_argument("--json", help="writes every run there")
    return ap.parse_args()


def core_type():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = next((line.split() for line in file if line.startswith("flags")), [])
    return "SKYLAKEX" if "avx512vl" in flags else "HASWELL" if "avx2" in flags else None


def environment():
    env = dict(os.environ)
    core = core_type()
    if core:
        env.setdefault("OPENBLAS_CORETYPE", core)
    return env


def run(command, env):
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    try:
        return json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        sys.stderr.write(f"{' '.join(command)}: no result (exit {done.returncode})\n{done.stderr[-2000:]}\n")
        return None


class Case:
    """One case at one number of threads, in one mode ('train' or 'infer')."""

    def __init__(self, o, env, name, threads, mode):
        self.o, self.env, self.name, self.threads, self.mode = o, env, name, threads, mode
        self.pairs = []
        self.variant = None

    def arguments(self):
        # Dropout draws other numbers on each side: losses agree only without it.
        extra = ["--losses", str(LOSSES)] if self.mode == "train" else []
        return ["--case", self.name, "--dtype", "f32", "--threads", str(self.threads), "--mode", self.mode,
                "--secs", str(self.o.secs)] + extra

    def run_ebb(self):
        return run([self.o.ebb] + self.arguments() + self.o.ebb_options.split(), self.env)

    def run_torch(self, variant):
        return run([self.o.python, self.o.torch, "--variant", variant, "--no-dropout"] + self.arguments(), self.env)

    def time_of(self, result):
        return result[self.mode + "_ms"] if result else float("inf")

    def measure(self):
        if not self.variant:
            tried = {v: self.time_of(self.run_torch(v)) for v in self.o.variants.split(",")}
            self.variant = min(tried, key=tried.get)
            if tried[self.variant] == float("inf"):
                return False
        for _ in range(self.o.pairs):
            pair = (self.run_torch(self.variant), self.run_ebb())
            if None in pair:
                return False
            self.pairs.append(pair)
        return True

    def ratio(self):
        return statistics.median(self.time_of(t) / self.time_of(e) for t, e in self.pairs)

    def memory(self):
        """Peak resident memory in MB: PyTorch, Ebb."""
        key = self.mode + "_rss_mb"
        return [statistics.median(p[side].get(key, 0) for p in self.pairs) for side in (0, 1)]

    def loss_difference(self):
        if self.mode != "train" or any("losses" not in side for pair in self.pairs for side in pair):
            return None
        return max(abs(a - b) / max(1, abs(a)) for t, e in self.pairs for a, b in zip(t["losses"], e["losses"]))

    def row(self):
        spread = [self.time_of(t) / self.time_of(e) for t, e in self.pairs]
        torch_mb, ebb_mb = self.memory()
        difference = self.loss_difference()
        return (f"| {self.name} | {self.mode} | {self.threads} | {self.variant} | **{self.ratio():.2f}** | "
                f"{min(spread):.2f} - {max(spread):.2f} | {torch_mb:.0f} | {ebb_mb:.0f} | "
                f"{'' if difference is None else format(difference, '.0e')} |")


def main():
    o = parse()
    env = environment()
    listed = {mode: subprocess.run([o.ebb, "--list", mode], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
              for mode in ("train", "infer")}
    known = list(dict.fromkeys(listed["train"] + listed["infer"]))
    names = o.cases.split(",") if o.cases else known
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"compare.py: ebb-bench has no case {', '.join(unknown)}; it has {', '.join(known)}")
    modes = ["train", "infer"] if o.mode == "both" else [o.mode]

    print("| case | mode | threads | PyTorch's variant | PyTorch / Ebb | of the pairs | PyTorch MB | Ebb MB | losses differ |")
    print("|---|---|---|---|---|---|---|---|---|")
    wrong, runs = [], []
    for name in names:
        for mode in modes:
            if name not in listed[mode]:
                continue
            for threads in (int(n) for n in o.threads.split(",")):
                case = Case(o, env, name, threads, mode)
                if not case.measure():
                    wrong.append(f"{name}, {mode}, {threads} threads: no result")
                    continue
                print(case.row(), flush=True)
                runs.append({"case": name, "mode": mode, "threads": threads, "variant": case.variant,
                             "ratio": case.ratio(), "pairs": case.pairs})
                if (case.loss_difference() or 0) > 1e-4:
                    wrong.append(f"{name}: the losses differ by {case.loss_difference():.1e}")
    if o.json:
        with open(o.json, "w", encoding="utf-8") as file:
            json.dump(runs, file, indent=1)
    for line in wrong:
        print(f"compare.py: {line}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
