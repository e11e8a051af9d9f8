#!/usr/bin/env python3
"""Installs into a temporary folder, and builds and runs a user's program against that, shared and static.

    install.py SOURCE_ROOT BUILD_ROOT CC...
"""

import glob
import os
import re
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
from support.frame import Report, run

PROGRAM = r"""
#include <ebb/ebb.h>
#include <stdio.h>

int main(void)
{
    double x_value = 3, y_value = 0;
    ebb_graph *g = ebb_graph_create("user");
    ebb_node x = ebb_input(g, "x", EBB_F64, EBB_SCALAR), y = ebb_mul(x, x), dx = EBB_NONE;
    if (ebb_gradients(y, &x, 1, &dx) != EBB_OK) return 1;
    ebb_executable *run = NULL;
    ebb_compile_options options = {0};
    options.fetches = &dx;
    options.n_fetches = 1;
    if (ebb_compile(g, &options, &run) != EBB_OK) return 2;
    ebb_feed feed = {x, ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &x_value)};
    ebb_fetch fetch = {dx, ebb_tensor_borrow(EBB_F64, EBB_SCALAR, &y_value)};
    if (ebb_run(run, &feed, 1, &fetch, 1) != EBB_OK) return 3;
    printf("%g\n", y_value);
    ebb_executable_destroy(run);
    ebb_graph_destroy(g);
    return 0;
}
"""


def declared_functions(include):
    """Names of all functions that the public headers mark with EBB_API."""
    names = set()
    for header in glob.glob(os.path.join(include, "ebb", "*.h")):
        with open(header, encoding="utf-8") as file:
            text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
        text = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
        names |= set(re.findall(r"EBB_API\s[^;(]*?\b(ebb_\w+)\s*\(", text))
    return names


def exported_symbols(library):
    good, output = run(["nm", "--dynamic", "--defined-only", "--format=posix", library])
    if not good:
        sys.exit(output)
    return {line.split()[0].split("@")[0] for line in output.splitlines() if line.strip()}


def find(folder, name):
    found = glob.glob(os.path.join(folder, "**", name), recursive=True)
    return found[0] if found else None


def check_symbols(report, root, library):
    declared, exported = declared_functions(os.path.join(root, "include")), exported_symbols(library)
    report.check(len(declared) > 50, f"only {len(declared)} functions found in the headers")
    report.check(exported <= declared, f"exported but not declared: {sorted(exported - declared)}")
    report.check(declared <= exported, f"declared but not exported: {sorted(declared - exported)}")


def check_program(report, folder, cc, language, flags, environment, title):
    source = os.path.join(folder, "user.c")
    program = os.path.join(folder, "user")
    with open(source, "w", encoding="ascii") as out:
        out.write(PROGRAM)
    cflags, libs = flags
    good, output = run(cc + ["-x", language, source, "-x", "none", "-o", program] + cflags + libs)
    if report.check(good, f"{title} builds:\n{output}"):
        good, output = run([program], env=environment)
        report.check(good and output == "6\n", f"{title} runs: {output}")


def main():
    root, build, cc = sys.argv[1], sys.argv[2], sys.argv[3:]
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        install = os.path.join(folder, "install")
        good, output = run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", install])
        if not report.check(good, output):
            report.finish()
        package = find(install, "ebb.pc")
        library = find(install, "libebb.so")
        if not report.check(package and library, f"ebb.pc and libebb.so are installed:\n{output}"):
            report.finish()
        check_symbols(report, root, library)
        names = {os.path.basename(name) for name in glob.glob(os.path.join(root, "include", "ebb", "*.h"))}
        installed = {os.path.basename(name) for name in glob.glob(os.path.join(install, "**", "ebb", "*.h"), recursive=True)}
        report.check(names == installed, f"headers installed: {sorted(installed)}")

        programs = glob.glob(os.path.join(install, "**", "bin", "*"), recursive=True)
        report.check([os.path.basename(name) for name in programs] == ["ebb"], f"programs installed: {programs}")
        for program in programs:
            good, output = run([program, "--version"])
            report.check(good and output.startswith("ebb "), f"the installed command runs: {output}")

        environment = dict(os.environ)
        environment["PKG_CONFIG_SYSROOT_DIR"] = install
        environment["PKG_CONFIG_PATH"] = os.path.dirname(package)
        flags = {}
        for title, options in (("shared", ["--libs"]), ("static", ["--libs", "--static"])):
            good, output = run(["pkg-config", "--cflags", "ebb"], env=environment)
            more, libs = run(["pkg-config"] + options + ["ebb"], env=environment)
            report.check(good and more, f"pkg-config {options}: {output} {libs}")
            flags[title] = (output.split(), libs.split())
        # -lebb would take the shared library where both are.
        cflags, libs = flags["static"]
        flags["static"] = (cflags, ["-l:libebb.a" if lib == "-lebb" else lib for lib in libs])

        with_library = dict(os.environ)
        with_library["LD_LIBRARY_PATH"] = os.path.dirname(library) + ":" + os.environ.get("LD_LIBRARY_PATH", "")
        check_program(report, folder, cc + ["-std=c17"], "c", flags["shared"], with_library, "a C program, shared")
        check_program(report, folder, cc + ["-std=c17"], "c", flags["static"], os.environ, "a C program, static")
        cxx = next((name for name in ("g++", "clang++") if shutil.which(name)), None)
        if cxx:
            check_program(
                report, folder, [cxx, "-std=c++17"], "c++", flags["shared"], with_library, "a C++ program, shared"
            )
        else:
            report.skip("a C++ program against the installed library: there is no C++ compiler")
    report.finish()


if __name__ == "__main__":
    main()
