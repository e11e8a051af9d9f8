#!/usr/bin/env python3
"""The `ebb` command: what each of its commands prints and writes, and how it refuses.

    tool.py EBB

Values are written and read here, byte by byte, so that the command's own reader is not its judge.
"""

import ast
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from support.frame import Report

FORMATS = {"<f8": "d", "<f4": "f", "<i8": "q", "<i4": "i", "|u1": "B", "|b1": "?"}

# %8 is equal to %7, and 3 and 5 are no ids: so the text's ids are not the graph's.
NET = """graph "net"
%1 = input {name="x"} : f32[2,3]
%2 = variable {name="fc/w", init=normal, b=1, seed=3} : f32[3,4]
%4 = matmul %1 %2 : f32[2,4] @fc/h
%6 = tanh %4 : f32[2,4] @a
%7 = neg %6 : f32[2,4] @twice
%8 = neg %6 : f32[2,4]
%9 = neg %4 : f32[2,4] @twice
%10 = reduce_sum %6 : f32[] @loss
%11 = input {name="i"} : i32[2]
%12 = one_hot %11 {depth=3, dtype=f32} : f32[2,3]
%13 = add %2 %2 : f32[3,4]
update %2 %13
"""
X = [0.5, -1.0, 2.0, 0.25, 0.125, -0.75]
W = [0.1 * i - 0.5 for i in range(12)]


class Tool:
    """Runs the command in a folder of its own."""

    def __init__(self, program, folder):
        self.program = program
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as out:
            out.write(data if isinstance(data, bytes) else data.encode())

    def write_npy(self, name, descr, shape, values):
        header = str({"descr": descr, "fortran_order": False, "shape": tuple(shape)}) + "\n"
        data = struct.pack(f"<{len(values)}{FORMATS[descr]}", *values)
        self.write(name, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data)

    def read_npy(self, name):
        """Returns descr, shape, values."""
        with open(self.path(name), "rb") as file:
            data = file.read()
        assert data[:8] == b"\x93NUMPY\x01\x00", data[:8]
        (length,) = struct.unpack("<H", data[8:10])
        header = ast.literal_eval(data[10 : 10 + length].decode())
        assert not header["fortran_order"] and (10 + length) % 64 == 0
        count = math.prod(header["shape"])
        values = struct.unpack(f"<{count}{FORMATS[header['descr']]}", data[10 + length :])
        return header["descr"], header["shape"], list(values)

    def start(self, *arguments, stdin="", environment=None):
        """Returns exit status, lines of stdout, lines of stderr."""
        done = subprocess.run(
            [self.program] + list(arguments), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, check=False, cwd=self.folder, env=environment,
        )
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


def near(found, expected, tolerance=1e-5):
    return len(found) == len(expected) and all(abs(a - b) <= tolerance for a, b in zip(found, expected))


def product(x, w):
    return [sum(x[3 * i + k] * w[4 * k + j] for k in range(3)) for i in range(2) for j in range(4)]


def tanh_gradient(x, w):
    """Of sum(tanh(x w)) by w."""
    slope = [1 - math.tanh(h) ** 2 for h in product(x, w)]
    return [sum(x[3 * i + k] * slope[4 * i + j] for i in range(2)) for k in range(3) for j in range(4)]


def expect(report, tool, status, part, *arguments, **options):
    """The command fails with this status and one line that contains `part`."""
    found, out, err = tool.start(*arguments, **options)
    good = found == status and not out and len(err) == 1 and part in err[0]
    report.check(good, f"ebb {' '.join(arguments)}: expected {status} and '{part}': {found} {out} {err}")


# ---- run ----


def check_run(report, tool):
    tool.write("net.txt", NET)
    tool.write_npy("x.npy", "<f4", (2, 3), X)
    tool.write_npy("w.npy", "<f4", (3, 4), W)
    tool.write_npy("i.npy", "<i4", (2,), [2, 0])
    values = ["--feed", "x=x.npy", "--var", "fc/w=w.npy"]
    for backend in ("onednn", "reference"):
        status, out, err = tool.start(
            "run", "net.txt", *values, "--fetch", "fc/h=h.npy", "--fetch", "%6=a.npy", "--fetch=loss=loss.npy",
            "--grad", "loss:fc/w=gw.npy", "--backend", backend, "--threads", "1",
        )
        report.check(status == 0 and not out and not err, f"run on {backend}: {status} {out} {err}")
        h = product(X, W)
        descr, shape, found = tool.read_npy("h.npy")
        report.check(descr == "<f4" and shape == (2, 4) and near(found, h), f"a node by its name: {found}")
        a = [math.tanh(value) for value in h]
        report.check(near(tool.read_npy("a.npy")[2], a), "a node by its id")
        descr, shape, found = tool.read_npy("loss.npy")
        report.check(shape == () and near(found, [sum(a)]), f"a scalar: {shape} {found}")
        report.check(near(tool.read_npy("gw.npy")[2], tanh_gradient(X, W)), "a gradient by a variable")
        for name in ("h", "a", "loss", "gw"):
            os.remove(tool.path(name + ".npy"))

    # A number instead of a file: in every element.
    text = '%1 = input {name="x"} : f32[2]\n%2 = input {name="k"} : i32[2]\n%3 = square %1 : f32[2]\n'
    status, out, err = tool.start("run", "-", "--feed", "x=1.5", "--feed", "k=-2", "--fetch", "%3", "--fetch", "k", stdin=text)
    report.check((status, out) == (0, ["%3 f32[2]", "[2.25, 2.25]", "k i32[2]", "[-2, -2]"]), f"numbers: {status} {out} {err}")
    expect(report, tool, 1, "2.5 is no value of i32", "run", "-", "--feed", "x=1", "--feed", "k=2.5", "--fetch", "k", stdin=text)

    # Ids are those of the text, also where equal nodes are one.
    for name in ("%8", "%7"):
        status, out, err = tool.start("run", "net.txt", *values, "--fetch", name + "=o.npy")
        good = status == 0 and near(tool.read_npy("o.npy")[2], [-value for value in a])
        report.check(good, f"{name} of the text: {status} {out} {err}")
    status, out, err = tool.start("run", "net.txt", *values, "--fetch", "%9=o.npy")
    report.check(status == 0 and near(tool.read_npy("o.npy")[2], [-value for value in h]), f"%9 of the text: {err}")

    status, out, err = tool.start("run", "net.txt", "--feed", "i=i.npy", "--fetch", "%12", "--fetch", "i")
    expected = ["%12 f32[2,3]", "[[0, 0, 1],", " [1, 0, 0]]", "i i32[2]", "[2, 0]"]
    report.check(status == 0 and out == expected, f"printed values: {status} {out} {err}")
    status, out, err = tool.start("run", "-", "--var", "fc/w=w.npy", stdin=NET)
    report.check(status == 0 and out[0] == "%13 f32[3,4]" and len(out) == 4, f"the last node: {out} {err}")
    status, first, err = tool.start("run", "net.txt", "--fetch", "fc/w")
    again = tool.start("run", "net.txt", "--fetch", "fc/w")[1]
    good = status == 0 and len(first) == 4 and first == again and first[1] != "[[0, 0, 0, 0],"
    report.check(good, f"a variable's first value: {first} {err}")


def check_dtypes(report, tool):
    cases = (
        ("f64", "<f8", [1.5, -0.1], "[1.5, -0.1]"),
        ("f32", "<f4", [float("inf"), 2.5], "[inf, 2.5]"),
        ("i64", "<i8", [-(2**63), 2**63 - 1], "[-9223372036854775808, 9223372036854775807]"),
        ("i32", "<i4", [7, -7], "[7, -7]"),
        ("u8", "|u1", [0, 255], "[0, 255]"),
        ("bool", "|b1", [True, False], "[true, false]"),
    )
    for dtype, descr, values, printed in cases:
        text = f'%1 = input {{name="x"}} : {dtype}[2]\n%2 = reshape %1 {{shape=[2,1]}} : {dtype}[2,1] @y\n'
        tool.write_npy("d.npy", descr, (2,), values)
        status, out, err = tool.start("run", "-", "--feed", "x=d.npy", "--fetch", "x", "--fetch", "y=y.npy", stdin=text)
        good = status == 0 and out == [f"x {dtype}[2]", printed] and tool.read_npy("y.npy") == (descr, (2, 1), values)
        report.check(good, f"{dtype}: {status} {out} {err}")
    for shape, printed in (((0,), "[]"), ((2, 0), "[]"), ((), "3")):
        dims = ",".join(str(d) for d in shape)
        tool.write_npy("d.npy", "<f8", shape, [3.0] * math.prod(shape))
        text = f'%1 = input {{name="x"}} : f64[{dims}]\n'
        status, out, err = tool.start("run", "-", "--feed", "x=d.npy", stdin=text)
        report.check(status == 0 and out == [f"x f64[{dims}]", printed], f"shape {shape}: {status} {out} {err}")
    tool.write_npy("d.npy", "<f4", (40, 30), [float(i) for i in range(1200)])
    status, out, err = tool.start("run", "-", "--feed", "x=d.npy", stdin='%1 = input {name="x"} : f32[40,30]\n')
    good = status == 0 and len(out) == 8 and out[1] == "[[0, 1, 2, ..., 27, 28, 29]," and out[4] == " ...,"
    good = good and out[7] == " [1170, 1171, 1172, ..., 1197, 1198, 1199]]"
    report.check(good, f"many elements are shortened: {out} {err}")


def check_weights(report, tool):
    status, out, err = tool.start("run", "net.txt", "--var", "fc/w=w.npy", "--save", "s.safetensors")
    report.check(status == 0 and not out and not err, f"updates are applied with --save: {out} {err}")
    status, out, err = tool.start("run", "net.txt", "--weights", "s.safetensors", "--fetch", "fc/w=o.npy")
    found = tool.read_npy("o.npy")[2]
    report.check(status == 0 and near(found, [2 * value for value in W]), f"weights: {found} {err}")
    tool.start("run", "net.txt", "--weights", "s.safetensors", "--var", "fc/w=w.npy", "--fetch", "fc/w=o.npy")
    report.check(near(tool.read_npy("o.npy")[2], W), "--var goes before --weights")
    tool.write("short.safetensors", b"\x00" * 7)
    expect(report, tool, 1, "short.safetensors: byte 0: expected the 8 bytes", "run", "net.txt", "--weights", "short.safetensors")
    other = NET.replace("f32[3,4]", "f32[3,5]").replace("f32[2,4]", "f32[2,5]")
    expect(report, tool, 1, '"fc/w" is f32[3,5] in the graph and f32[3,4] in the store', "run", "-", "--fetch", "fc/w",
           "--weights", "s.safetensors", stdin=other)


def check_run_errors(report, tool):
    def fails(part, *arguments, status=1):
        expect(report, tool, status, part, "run", "net.txt", *arguments)

    feed = ("--feed", "x=x.npy")
    fails('ebb run: input "x" (f32[2,3]) is not fed', "--fetch", "loss")
    fails("--feed x: it is f32[2,3], but w.npy is f32[3,4]", "--feed", "x=w.npy")
    fails("--feed x: it is f32[2,3], but i.npy is i32[2]", "--feed", "x=i.npy")
    fails("--feed fc/w: it is a variable: --var gives it a value", "--feed", "fc/w=w.npy")
    fails("--feed loss: it is computed", "--feed", "loss=w.npy")
    fails("--var x: it is an input: --feed gives it a value", "--var", "x=x.npy")
    fails("--var fc/w: it is f32[3,4], but x.npy is f32[2,3]", "--var", "fc/w=x.npy")
    fails("--feed %1: it is given twice", *feed, "--feed", "%1=x.npy")
    fails("net.txt has no input, variable or node 'q'", "--feed", "q=x.npy")
    fails("net.txt has no input, variable or node 'q'", *feed, "--fetch", "q")
    fails("net.txt has no node %3", *feed, "--fetch", "%3")
    fails("net.txt has no node %99999999999", *feed, "--fetch", "%99999999999")
    fails("'%x' is no id", *feed, "--fetch", "%x")
    fails("net.txt: several nodes are called 'twice': say %7 or %9", *feed, "--fetch", "twice")
    fails("none.npy: cannot be opened: No such file or directory", "--feed", "x=none.npy")
    fails("--grad fc/h:x: gradients: y 0 (fc/h f32[2,4]) is not a scalar", *feed, "--grad", "fc/h:x")
    fails("--grad loss:i: ", *feed, "--grad", "loss:i")
    fails('there is no backend "abacus"', *feed, "--backend", "abacus")
    with open(tool.path("x.npy"), "rb") as file:
        data = file.read()
    tool.write("cut.npy", data[:-1])
    fails("f32[2,3] needs 24 bytes of data, found the end after 23", "--feed", "x=cut.npy")
    tool.write("cut.npy", data[:30])
    fails("cut.npy: byte 8: a header of", "--feed", "x=cut.npy")

    # A bad index is found while the graph runs; nothing is written then.
    tool.write_npy("bad.npy", "<i4", (2,), [1, 3])
    fails("one_hot", "--feed", "i=bad.npy", "--fetch", "%12=new.npy", "--save", "new.safetensors")
    expect(report, tool, 1, "no/new.npy: cannot be written: No such file or directory", "run", "net.txt",
           "--feed", "i=i.npy", "--fetch", "i", "--fetch", "%12=no/new.npy", "--save", "new.safetensors")
    tool.write("old.npy", "old")
    fails("is not fed", "--fetch", "loss=old.npy")
    with open(tool.path("old.npy"), "rb") as file:
        report.check(file.read() == b"old", "a file stays if the run fails")
    left = [name for name in os.listdir(tool.folder) if name.startswith("new") or name.endswith(".tmp")]
    report.check(not left, f"left behind: {left}")

    for words, part in (
        (["--feed", "x"], "--feed needs x=FILE.npy|NUMBER, not 'x'"),
        (["--feed", "=x.npy"], "--feed needs x=FILE.npy|NUMBER, not '=x.npy'"),
        (["--feed", "x="], "--feed needs x=FILE.npy|NUMBER, not 'x='"),
        (["--feed"], "--feed needs a value: x=FILE.npy"),
        (["--fetch", "loss="], "--fetch needs y or y=FILE.npy, not 'loss='"),
        (["--fetch", ""], "--fetch needs y or y=FILE.npy, not ''"),
        (["--grad", "loss"], "--grad needs y:x or y:x=FILE.npy, not 'loss'"),
        (["--grad", ":x"], "--grad needs y:x"),
        (["--grad", "loss:"], "--grad needs y:x"),
        (["--threads", "two"], "--threads needs a number from 0 to 1024, not 'two'"),
        (["--threads", "1025"], "--threads needs a number from 0 to 1024, not '1025'"),
        (["--threads", "-1"], "--threads needs a number from 0 to 1024, not '-1'"),
        (["--frobnicate"], "there is no option '--frobnicate'"),
        (["other.txt"], "more than 1 argument at 'other.txt'"),
    ):
        fails(part, *words, status=2)


def check_graph_errors(report, tool):
    cases = (
        ("%1 = nothing : f32[2]\n", "bad.txt: line 1, column 6: there is no op \"nothing\""),
        ('graph "g"\n%1 = input {name="x"} : f32[2\n', "bad.txt: line 2, column"),
        ('%1 = input {name="x"} : f32[2]\n%2 = neg %3 : f32[2]\n', "line 2, column"),
        ('%1 = input {name="x"} : f32[2]\n%2 = neg %1 : f32[3]\n', "%2 is f32[2], not f32[3]"),
        ('%1 = input {name="x"} : f32[2,3]\n%2 = matmul %1 %1 : f32[2,2]\n', "line 2, column"),
    )
    for text, part in cases:
        tool.write("bad.txt", text)
        for command in ("run", "check", "dot"):
            expect(report, tool, 1, part, command, "bad.txt")
    for command in ("run", "check", "dot"):
        expect(report, tool, 1, "none.txt: cannot be opened: No such file or directory", command, "none.txt")
        expect(report, tool, 1, ".: cannot be read: Is a directory", command, ".")
        expect(report, tool, 1, "standard input: line 1, column 1", command, "-", stdin="?\n")
        expect(report, tool, 2, "which graph?", command)
    for command in ("run", "check"):
        expect(report, tool, 1, "standard input has no nodes", command, "-", stdin='graph "empty"\n')


# ---- check ----


def check_check(report, tool):
    status, out, err = tool.start("check", "net.txt", "--output", "loss")
    good = status == 0 and out[0] == "gradient of loss f32[] by x f32[2,3], fc/w f32[3,4]" and not err
    good = good and re.match(r"order 1: 4 directional derivatives, worst relative error \d\S* \(", out[1])
    report.check(good, f"check: {status} {out} {err}")
    status, out, err = tool.start("check", "net.txt", "--output", "%6", "--x", "fc/w", "--order", "2", "--feed",
                                  "x=x.npy", "--var", "fc/w=w.npy")
    good = status == 0 and out[0] == "gradient of a f32[2,4] by fc/w f32[3,4]" and out[1].startswith("order 2: 4 ")
    report.check(good, f"check at order 2: {status} {out} {err}")
    # Another dtype will do: everything is computed in F64.
    tool.write_npy("x64.npy", "<f8", (2, 3), X)
    status, out, err = tool.start("check", "net.txt", "--output", "loss", "--x", "x", "--feed", "x=x64.npy")
    report.check(status == 0, f"check at F64 values: {status} {out} {err}")
    status, out, err = tool.start("check", "-", stdin='%1 = input {name="x"} : f64[3]\n%2 = square %1 : f64[3]\n')
    report.check(status == 0 and out[0] == "gradient of %2 f64[3] by x f64[3]", f"the last node: {out} {err}")

    # |x| has no derivative at 0: the two sides differ, so neither number is right.
    tool.write_npy("kink.npy", "<f8", (1,), [1e-4])
    kink = '%1 = input {name="x"} : f64[1]\n%2 = abs %1 : f64[1]\n'
    status, out, err = tool.start("check", "-", "--feed", "x=kink.npy", stdin=kink)
    good = status == 1 and len(out) == 2 and len(err) == 1 and "relative error" in err[0] and "is above 1e-07" in err[0]
    report.check(good, f"a kink: {status} {out} {err}")

    expect(report, tool, 1, "is no float node", "check", "net.txt", "--output", "i")
    expect(report, tool, 1, "is neither input nor variable", "check", "net.txt", "--output", "loss", "--x", "a")
    expect(report, tool, 1, "is not float", "check", "net.txt", "--output", "loss", "--x", "i")
    expect(report, tool, 1, "has no input, variable or node 'q'", "check", "net.txt", "--output", "q")
    expect(report, tool, 1, "it is f32[2,3], but w.npy is f32[3,4]", "check", "net.txt", "--feed", "x=w.npy")
    expect(report, tool, 1, "standard input has no float input", "check", "-",
           stdin='%1 = input {name="x"} : i32[3]\n%2 = cast %1 {dtype=f32} : f32[3]\n')
    expect(report, tool, 2, "--order is 1 or 2, not 0", "check", "net.txt", "--order", "0")
    expect(report, tool, 2, "--order needs a number from 0 to 2, not '3'", "check", "net.txt", "--order", "3")


# ---- dot ----


def check_dot(report, tool):
    temporary = tool.path("temporary")
    os.mkdir(temporary)
    environment = dict(os.environ, TMPDIR=temporary)
    simplest = '%1 = input {name="x"} : f32[3]\n%2 = neg %1 : f32[3]\n%3 = neg %2 : f32[3] @y\n%4 = exp %3 : f32[3]\n'
    labels = {"user": 3, "simplified": 1, "fused": 1, "plan": 1}
    tool.write("simple.txt", simplest)
    for stage, n in labels.items():
        status, out, err = tool.start("dot", "simple.txt", "--stage", stage, environment=environment)
        drawn = sum("neg" in line or "exp" in line for line in out if "label=" in line)
        report.check(status == 0 and out[0].startswith("digraph") and drawn == n, f"dot {stage}: {out} {err}")
        named = any(re.search(r"\\n(native|reference) ", line) for line in out)
        report.check(named == (stage == "plan"), f"only the plan names backends: {stage} {out}")
    for name in ("net.txt", "-"):
        for stage in labels:
            status, out, err = tool.start("dot", name, "--stage", stage, "-o", "g.dot", stdin=NET, environment=environment)
            report.check(status == 0 and not out and not err, f"dot {name} {stage}: {status} {out} {err}")
            with open(tool.path("g.dot"), encoding="utf-8") as file:
                report.check("cluster" in file.read(), f"the drawing of {stage} has its scopes")
    status, out, err = tool.start("dot", "-", "--stage", "plan", "--backend", "reference", stdin=simplest, environment=environment)
    report.check(status == 0 and "reference eval" in " ".join(out), f"the plan of another backend: {out} {err}")

    if shutil.which("dot"):
        status, out, err = tool.start("dot", "simple.txt", "-o", "g.svg", environment=environment)
        with open(tool.path("g.svg"), encoding="utf-8") as file:
            text = file.read()
        report.check(status == 0 and "<svg" in text and text.rstrip().endswith("</svg>"), f"svg: {status} {err}")
    else:
        report.skip("dot -o g.svg: Graphviz is not installed")
    expect(report, tool, 1, "g2.svg: not drawn: Graphviz's program 'dot' is not installed", "dot", "simple.txt", "-o",
           "g2.svg", environment=dict(environment, PATH=temporary))
    expect(report, tool, 1, "no/g.dot: cannot be written: No such file", "dot", "simple.txt", "-o", "no/g.dot",
           environment=environment)
    expect(report, tool, 1, 'there is no backend "abacus"', "dot", "simple.txt", "--stage", "plan", "--backend",
           "abacus", environment=environment)
    expect(report, tool, 1, "a temporary folder cannot be made: No such file", "dot", "simple.txt",
           environment=dict(os.environ, TMPDIR=tool.path("no")))
    expect(report, tool, 2, "--stage is user, simplified, fused or plan, not 'last'", "dot", "simple.txt", "--stage", "last")
    expect(report, tool, 2, "-o must end in .svg or .dot, not 'g.png'", "dot", "simple.txt", "-o", "g.png")
    report.check(not os.path.exists(tool.path("g2.svg")), "no picture is left without Graphviz")
    report.check(not os.listdir(temporary), f"left in the temporary folder: {os.listdir(temporary)}")


# ---- bench ----


def check_bench(report, tool):
    tool.write("net.txt", NET)
    for by, part in (("op", "matmul"), ("scope", "fc/"), ("kernel", "native"), ("step", "f32[2,4]")):
        status, out, err = tool.start("bench", "net.txt", "--ms", "1", "--by", by, "--rows", "9", "--trace", "t.json")
        good = status == 0 and not err and re.fullmatch(r"machine, 1 thread: [\d.]+ GFLOP/s .* GB/s of memory", out[0])
        report.check(good and "limit" in "".join(out) and part in "".join(out[4:]), f"bench --by {by}: {status} {out} {err}")
        with open(tool.path("t.json"), encoding="utf-8") as file:
            events = json.load(file)["traceEvents"]
        named = [e for e in events if e.get("args", {}).get("node")]
        report.check(named and all(e["dur"] >= 0 and e["ts"] >= 0 for e in named), f"the trace: {events[:3]}")
    tool.write_npy("x.npy", "<f4", (2, 3), X)
    status, out, err = tool.start("bench", "net.txt", "--ms", "1", "--feed", "x=x.npy", "--updates", "--threads", "2")
    report.check(status == 0 and "2 threads" in out[0], f"bench with a feed: {status} {out} {err}")
    expect(report, tool, 2, "--by is op, scope, kernel or step, not 'node'", "bench", "net.txt", "--by", "node")
    expect(report, tool, 2, "--threads is 1 or more, not 0", "bench", "--threads", "0")


def check_ways(report, tool):
    """What run and bench say to the compiler."""
    tool.write("conv.txt", """%1 = input {name="x"} : f32[2,32,12,12]
%2 = variable {name="w", init=normal, b=1, seed=3} : f32[32,32,3,3]
%3 = conv %1 %2 : f32[2,32,10,10] @y
%4 = relu %3 : f32[2,32,10,10] @z
%5 = reduce_sum %4 : f32[] @loss
""")
    plain = tool.start("run", "conv.txt", "--feed", "x=0.5", "--fetch", "loss")[1]
    tuned = ("--autotune", "--autotune-cache", "tuned.txt", "--conv-error", "1e-5")
    for command in (("run",), ("bench", "--ms", "1")):
        status, out, err = tool.start(command[0], "conv.txt", *command[1:], "--feed", "x=0.5", *tuned)
        report.check(status == 0 and not err and os.path.exists(tool.path("tuned.txt")), f"{command}: {status} {out} {err}")
        os.remove(tool.path("tuned.txt"))
    status, out, err = tool.start("run", "conv.txt", "--feed", "x=0.5", "--fetch", "loss", "--skip-fusions",
                                  "anchors,programs", "--memory-budget", "64")
    report.check(status == 0 and out == plain, f"unfused: {status} {out} {err}, not {plain}")
    expect(report, tool, 1, "the memory budget of 1000000 bytes cannot be met", "run", "-", "--feed", "x=1",
           "--memory-budget", "1", stdin='%1 = input {name="x"} : f32[600,700]\n%2 = exp %1 : f32[600,700]\n')
    expect(report, tool, 1, 'there is no fusion "everything"', "run", "net.txt", "--skip-fusions", "everything")
    expect(report, tool, 2, "--conv-error needs a number from 0 to 1, not '2'", "bench", "conv.txt", "--autotune",
           "--conv-error", "2")
    expect(report, tool, 2, "--autotune-cache goes with --autotune", "run", "conv.txt", "--autotune-cache", "t.txt")


# ---- ops, and the whole ----


def check_ops(report, tool):
    status, out, err = tool.start("ops")
    names = [line.split()[0] for line in out if line.startswith("  ")]
    report.check(status == 0 and not err and len(names) >= 40, f"ops: {status} {len(names)} {err}")
    report.check(out[-1] == f"{len(names)} operations; ebb ops NAME documents one", f"ops counts: {out[-1]}")
    report.check("element-wise" in out and len(set(names)) == len(names), "ops are in groups, each once")
    matmul = next(line for line in out if line.startswith("  matmul "))
    report.check(re.search(r"2 -> 1 +own rule +onednn, native, reference +\w", matmul), f"ops: {matmul}")
    for name in names:
        status, out, err = tool.start("ops", name)
        text = "\n".join(out)
        good = status == 0 and not err and out[0].startswith(f"{name}: ") and "  gradient  " in text
        report.check(good, f"ops {name}: {status} {out[:3]} {err}")
        # The text form of the example is a graph.
        if "\nin text form\n" in text:
            example = text.split("\nin text form\n")[1]
            status, drawn, err = tool.start("dot", "-", stdin=example)
            report.check(status == 0 and drawn, f"the example of {name}: {example} {err}")
    text = "\n".join(tool.start("ops", "matmul")[1])
    report.check("transpose_b      true or false" in text and "] {transpose_a=true}" in text, f"ops matmul: {text}")
    text = "\n".join(tool.start("ops", "variable")[1])
    report.check("constant, uniform, normal" in text and "source, can be updated" in text, f"ops variable: {text}")
    expect(report, tool, 1, "there is no operation 'nothing'", "ops", "nothing")
    expect(report, tool, 2, "--markdown prints all operations, not one", "ops", "add", "--markdown")
    expect(report, tool, 2, "-o goes with --markdown alone", "ops", "-o", "x.md")
    expect(report, tool, 2, "--markdown takes no value", "ops", "--markdown=yes")
    expect(report, tool, 1, "no/x.md: cannot be written", "ops", "--markdown", "-o", "no/x.md")
    status, out, err = tool.start("ops", "--markdown", "-o", "ops.md")
    with open(tool.path("ops.md"), encoding="utf-8") as file:
        report.check(status == 0 and file.read().splitlines() == tool.start("ops", "--markdown")[1], f"-o: {out} {err}")


def check_whole(report, tool):
    status, out, err = tool.start("--version")
    report.check(status == 0 and re.fullmatch(r"ebb \d+\.\d+\.\d+", out[0]) and not err, f"--version: {out} {err}")
    status, out, err = tool.start("help")
    good = status == 0 and all(any(f"ebb {name} " in line for line in out) for name in ("ops", "run", "check", "dot", "bench"))
    report.check(good and not err, f"help: {out} {err}")
    report.check(tool.start("--help") == (0, out, []), "--help is help")
    report.check(tool.start() == (2, [], out), "without a command: help on stderr")
    for name in ("ops", "run", "check", "dot", "bench"):
        status, out, err = tool.start("help", name)
        report.check(status == 0 and out[0].startswith(f"ebb {name} ") and not err, f"help {name}: {out} {err}")
        report.check(tool.start(name, "--help") == (0, out, []), f"{name} --help is help {name}")
        for word in re.findall(r"^  (--?\w+) \S", "\n".join(out), re.MULTILINE):
            status, _, err = tool.start(name, word)
            good = status == (0 if word == "--help" else 2) and len(err) <= 1
            report.check(good or word == "--markdown", f"{name} {word} without a value: {status} {err}")
    expect(report, tool, 2, "there is no command 'frob'", "frob")
    expect(report, tool, 2, "there is no help on 'frob'", "help", "frob")
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([tool.program, "ops"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        good = done.returncode == 1 and "standard output cannot be written: No space left" in done.stderr
        report.check(good, f"a full disk: {done.returncode} {done.stderr}")


def main():
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        tool = Tool(os.path.abspath(sys.argv[1]), folder)
        check_run(report, tool)
        check_dtypes(report, tool)
        check_weights(report, tool)
        check_run_errors(report, tool)
        check_graph_errors(report, tool)
        check_check(report, tool)
        check_dot(report, tool)
        check_bench(report, tool)
        check_ways(report, tool)
        check_ops(report, tool)
        check_whole(report, tool)
    report.finish()


if __name__ == "__main__":
    main()
