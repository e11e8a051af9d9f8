#!/usr/bin/env python3
"""Rooms may call each other only as the design says; the linker is the judge.

    layering.py SOURCE_ROOT ROOM=ARCHIVE... -- CC...

Each room is linked as a shared object with --no-undefined against the global symbols of the rooms it may use, and of
no other. Then, for every pair of rooms, a file that calls the second is linked with the first one's permissions: it
must link exactly if the design allows it. So the test also shows that it would notice.
"""

import os
import sys
import tempfile

sys.dont_write_bytecode = True
from support.frame import Report, run

# Who may use whom (docs/architecture.md), lowest first.
ALLOWED = {
    "graph": [],
    "ops": ["graph"],
    "autodiff": ["ops", "graph"],
    "passes": ["ops", "graph"],
    "backends": ["ops", "graph"],
    "runtime": ["passes", "backends", "ops", "graph"],
    "nn": ["autodiff", "ops", "graph"],
    "io": ["runtime", "ops", "graph"],
    "training": ["nn", "io", "runtime", "autodiff", "ops", "graph"],
}
SYSTEM = {"backends": ["-ldnnl", "-lgomp"], "io": ["-lpng", "-lz"]}
# A function of each room, to call from where it may not be called.
SAMPLE = {
    "graph": ("ebb/graph.h", "ebb_graph_create"),
    "ops": ("ebb/ops.h", "ebb_op_find"),
    "autodiff": ("ebb/autodiff.h", "ebb_gradients"),
    "passes": ("passes/passes.h", "ebb_passes_run"),
    "backends": ("ebb/backend.h", "ebb_backend_list"),
    "runtime": ("ebb/compile.h", "ebb_compile"),
    "nn": ("ebb/nn.h", "ebb_nn_minimize"),
    "io": ("ebb/io.h", "ebb_idx_read"),
    "training": ("ebb/data.h", "ebb_split_examples"),
}


def global_symbols(archive):
    good, output = run(["nm", "--defined-only", "--extern-only", "--format=posix", archive])
    if not good:
        sys.exit(output)
    rows = (line.split() for line in output.splitlines())
    return sorted({row[0] for row in rows if len(row) >= 2 and row[1] in "TDRBVWi"})


def make_interface(folder, cc, room, archive):
    """A shared object with the room's global symbols and nothing behind them. (The rooms themselves hide what is not
    public, so that they could not stand in as shared objects.)"""
    source = os.path.join(folder, f"{room}.s")
    with open(source, "w", encoding="ascii") as out:
        out.write(".text\n")
        for symbol in global_symbols(archive):
            out.write(f".globl {symbol}\n{symbol}:\n")
        out.write('.byte 0\n.section .note.GNU-stack,"",@progbits\n')
    target = os.path.join(folder, f"libinterface_{room}.so")
    good, output = run(cc + ["-shared", "-nostdlib", "-o", target, source])
    if not good:
        sys.exit(output)
    return target


def link(cc, folder, room, parts, interfaces):
    target = os.path.join(folder, "linked.so")
    uses = [interfaces[name] for name in ALLOWED[room]]
    return run(cc + ["-shared", "-Wl,--no-undefined", "-o", target] + parts + uses + SYSTEM.get(room, []) + ["-lm"])


def compile_call(folder, cc, root, room):
    """An object file that calls the room's sample function."""
    header, function = SAMPLE[room]
    source = os.path.join(folder, f"call_{room}.c")
    with open(source, "w", encoding="ascii") as out:
        # The address is enough for the linker, and needs no arguments.
        out.write(f"#include <{header}>\nvoid *call(void);\nvoid *call(void) {{ return (void *)({function}); }}\n")
    target = os.path.join(folder, f"call_{room}.o")
    flags = ["-fPIC", "-DEBB_NO_LOCATIONS", "-D_DEFAULT_SOURCE", "-I", root, "-I", os.path.join(root, "include")]
    good, output = run(cc + flags + ["-c", source, "-o", target])
    if not good:
        sys.exit(output)
    return target


def main():
    split = sys.argv.index("--")
    root, cc = sys.argv[1], sys.argv[split + 1 :]
    archives = dict(argument.split("=", 1) for argument in sys.argv[2:split])
    report = Report()
    report.check(archives.keys() == ALLOWED.keys(), f"rooms are {list(ALLOWED)}, not {list(archives)}")
    with tempfile.TemporaryDirectory() as folder:
        interfaces = {room: make_interface(folder, cc, room, archives[room]) for room in ALLOWED}
        calls = {room: compile_call(folder, cc, root, room) for room in ALLOWED}
        print("links with what it may use, and may (yes) or may not (-) call:")
        print("room      " + "".join(f"{room:>10}" for room in ["itself"] + list(ALLOWED)))
        for room in ALLOWED:
            whole = ["-Wl,--whole-archive", archives[room], "-Wl,--no-whole-archive"]
            good, output = link(cc, folder, room, whole, interfaces)
            report.check(good, f"{room} uses only {ALLOWED[room]}:\n{output}")
            row = ["yes" if good else "NO"]
            for other in ALLOWED:
                if other == room:
                    row.append(".")
                    continue
                good, output = link(cc, folder, room, [calls[other]], interfaces)
                function = SAMPLE[other][1]
                if other in ALLOWED[room]:
                    report.check(good, f"{room} may call {function}:\n{output}")
                else:
                    report.check(not good and function in output, f"{room} must not be able to call {function}")
                row.append("yes" if good else "-")
            print(f"{room:<10}" + "".join(f"{cell:>10}" for cell in row))
    report.finish()


if __name__ == "__main__":
    main()
