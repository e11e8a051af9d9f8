#!/usr/bin/env python3
"""Mutation test of the gradient rules: one small defect at a time in the code that makes gradients (ops/*.c,
ops/*.def); the gradient suite, or else the random graphs, must notice each.

    scripts/mutate_gradients.py BUILD                a build folder of meson, with everything built
        [--files ops/loss.c ...] [--only TEXT]       some files; mutants whose label contains TEXT
        [--list]                                     show the mutants, run nothing
        [--jobs N] [--report docs/gradient_mutants.md]

A mutant costs one compilation, one link against the build's libraries, and one run. Exits with 1 if a mutant
lives that is not argued in EQUIVALENT below, or if there are fewer than 200.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIN_MUTANTS = 200
TIMEOUT_S = 120
ENVIRONMENT = dict(os.environ, CK_VERBOSITY="normal", OMP_WAIT_POLICY="passive", OMP_NUM_THREADS="1")

# Mutants that change no gradient: file, function or row, part of the line, old text, and why.
EQUIVALENT = [
    ("ops/cross_entropy.c", "clean_labels", "ebb_full_like(t, 0)", "0",
     "the label of an ignored row only has to be a label: its terms are set to 0"),
    ("ops/elementwise.def", "hard_swish", "ebb_greater(X, FULL(0))", "0",
     "asks for the sign of x where |x| >= 3 only"),
    ("ops/elementwise.def", "pow", "ebb_full_like(A, 1)", "1",
     "stands for a <= 0 in the logarithm; the outer select throws that away"),
    ("ops/elementwise.def", "hypot", "FULL(1), R", "1", "divides 0"),
    ("ops/pooled_conv.c", "decompose_pooled", "result.dims[0] = inputs[1]->dims[1]", "inputs[1]",
     "only windows are read out of this shape"),
    ("ops/pooled_conv.c", "decompose_pooled", "result.dims[0] = inputs[0]->dims[0]", "inputs[0]",
     "only windows are read out of this shape"),
    ("ops/statistics.c", "vjp_norm_l2", "ebb_full_like(r, 1)", "1", "divides 0"),
    ("ops/loss.c", "keep_from_zero", "ebb_full_like(t, 1)", "1",
     "stands for t = 0 in the logarithm; the outer select throws that away"),
]

Mutant = collections.namedtuple("Mutant", "file where line start end old new kind")
Call = collections.namedtuple("Call", "name start end args")  # args: (start, end) of each


# ---- reading C, as far as needed ----

def blank(text):
    """Comments, strings and characters as spaces, places kept."""
    def spaces(match):
        return re.sub(r"[^\n]", " ", match.group())
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', spaces, text, flags=re.S)


def closing(text, at):
    """Index of the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(text)):
        if text[i] in "([{":
            depth += 1
        elif text[i] in ")]}":
            depth -= 1
            if depth == 0:
                return i
    raise ValueError("unbalanced brackets")


def split_args(text, start, end):
    """(start, end) of what commas part at the top level of text[start:end], without the space around."""
    parts, depth, first = [], 0, start
    for i in range(start, end + 1):
        if i == end or (text[i] == "," and depth == 0):
            a, b = first, i
            while a < b and text[a].isspace():
                a += 1
            while b > a and text[b - 1].isspace():
                b -= 1
            parts.append((a, b))
            first = i + 1
        elif text[i] in "([{":
            depth += 1
        elif text[i] in ")]}":
            depth -= 1
    return parts


def calls_in(text, start, end):
    for match in re.compile(r"\b(ebb_\w+|FULL|EBB_AXES)\s*\(").finditer(text, start, end):
        close = closing(text, match.end() - 1)
        if close < end:
            yield Call(match.group(1), match.start(), close + 1, split_args(text, match.end(), close))


FUNCTION = re.compile(r"^(?:static )?(?:inline )?[a-z_][\w ]*[ \*](\w+)\(((?:[^(){};]|\([^()]*\))*)\)\n\{", re.M)


def functions_of(text):
    """name -> (signature, start, end) of the bodies."""
    found = {}
    for match in FUNCTION.finditer(text):
        found[match.group(1)] = (match.group(), match.end() - 1, closing(text, match.end() - 1) + 1)
    return found


def gradient_functions(text):
    """Functions with a vjp, decompositions that are all the gradient an op has, and what these call here."""
    functions = functions_of(text)
    wanted = {name for name, (signature, _, _) in functions.items() if "const ebb_vjp *" in signature}
    for match in re.finditer(r"^(?:const ebb_op ebb_op_\w+ = \{|#define \w+\([^\n]*\\\n\s*const ebb_op )", text, re.M):
        body = text[match.end() - 1:text.find("};", match.end())]
        rule = re.search(r"\.decompose = (\w+)", body)
        if rule and not re.search(r"\.vjp = ", body):
            wanted.add(rule.group(1))
    todo = list(wanted)
    while todo:
        _, start, end = functions.get(todo.pop(), ("", 0, 0))
        body = text[start:end]
        names = set(re.findall(r"\b(\w+)\b", body))
        members = {name for name in re.findall(r"->(\w+)\(", body)}
        for name, (signature, _, _) in functions.items():
            called = name in names or any(name.endswith("_" + member) for member in members)
            if called and name not in wanted and "ebb_node" in signature and not name.startswith("ebb_"):
                wanted.add(name)
                todo.append(name)
    return {name: functions[name][1:] for name in wanted if name in functions}


ROWS = {  # macro of a row -> (place of the name, places of the gradients)
    "UNARY": (0, [5]), "BINARY": (0, [6, 7]), "WITH": (1, [6]),
}


def regions_of(path, text):
    """(name, start, end) of what makes gradients."""
    if path.suffix == ".def":
        for match in re.finditer(r"^(\w+)\(", text, re.M):
            if match.group(1) in ROWS and text[match.start() - 1] == "\n":
                name_at, gradients = ROWS[match.group(1)]
                args = split_args(text, match.end(), closing(text, match.end() - 1))
                for at in gradients:
                    yield text[slice(*args[name_at])], *args[at]
    else:
        for name, (start, end) in sorted(gradient_functions(text).items(), key=lambda item: item[1]):
            yield name, start, end


# ---- mutants ----

UNWRAPPED = ("neg abs sign square sqrt exp exp2 expm1 log log1p tanh sigmoid softplus erfc rsqrt reciprocal "
             "softmax log_softmax").split()
INSTEAD = {"ebb_sin": "ebb_cos", "ebb_cos": "ebb_sin", "ebb_sinh": "ebb_cosh", "ebb_cosh": "ebb_sinh",
           "ebb_greater": "ebb_less", "ebb_less": "ebb_greater", "ebb_greater_equal": "ebb_less",
           "ebb_less_equal": "ebb_greater", "ebb_equal": "ebb_not_equal", "ebb_not_equal": "ebb_equal",
           "ebb_logical_and": "ebb_logical_or", "ebb_logical_or": "ebb_logical_and",
           "ebb_maximum": "ebb_minimum", "ebb_minimum": "ebb_maximum", "ebb_softmax": "ebb_log_softmax",
           "ebb_reduce_sum": "ebb_reduce_mean", "ebb_reduce_mean": "ebb_reduce_sum"}


def of_call(text, call):
    """(old range, new text, kind) of the changes of one call."""
    args = [text[a:b] for a, b in call.args]
    whole = (call.start, call.end)
    name = call.name[4:]
    if call.name in INSTEAD:
        yield (call.start, call.start + len(call.name)), INSTEAD[call.name], "other op"
    if name in UNWRAPPED and args:
        yield whole, f"({args[0]})", "sign" if name == "neg" else "drop"
    if len(args) == 2 and name in ("add", "sub", "mul", "div"):
        yield whole, f"({args[0]})", "drop"
        if name in ("add", "mul"):
            yield whole, f"({args[1]})", "drop"
        if name == "add":
            yield whole, f"ebb_sub({args[0]}, {args[1]})", "sign"
        if name == "sub":
            yield whole, f"ebb_add({args[0]}, {args[1]})", "sign"
        if name in ("sub", "div") and args[0] != args[1]:
            yield whole, f"ebb_{name}({args[1]}, {args[0]})", "swap"
    if name == "select" and len(args) == 3:
        yield whole, f"ebb_select({args[0]}, {args[2]}, {args[1]})", "swap"
    if name in ("matmul", "matmul_with") and len(args) >= 2:
        yield whole, f"{call.name}({', '.join([args[1], args[0]] + args[2:])})", "swap"
    if name == "full_like" and len(args) == 2 or call.name == "FULL":
        if "INFINITY" not in args[-1]:
            yield call.args[-1], f"({args[-1]}) + 0.5", "constant"
    if call.name == "EBB_AXES" and len(args) == 1 and re.fullmatch(r"-?\d+", args[0]):
        yield call.args[0], "0" if args[0] != "0" else "1", "axis"


def of_statements(text, start, end):
    """Changes beside calls, in the body of a function."""
    for match in re.compile(r"\bgradients\[[^\]]+\]\s*=\s*").finditer(text, start, end):
        stop = text.index(";", match.end())
        yield (match.end(), stop), f"ebb_neg({text[match.end():stop]})", "sign"
        yield (match.end(), stop), "EBB_NONE", "drop"
    body = text[start:end]
    if "inputs[0]" in body and "inputs[1]" in body:
        for match in re.compile(r"(?<!ebb_node_type\(.->)\binputs\[([01])\]").finditer(text, start, end):
            yield match.span(), f"inputs[{1 - int(match.group(1))}]", "swap"
    for match in re.compile(r"(?<![!\w])!(?=[a-z(])(?!ebb_node_is_none)").finditer(text, start, end):
        yield match.span(), "!!", "transpose or flag"
    for match in re.compile(r"\(ebb_matmul_attrs\)\{([^}]*)\}").finditer(text, start, end):
        for a, b in split_args(text, *match.span(1)):
            yield (a, b), f"!({text[a:b]})", "transpose or flag"
    for match in re.compile(r"\b(?:double|int64_t)\s+\w+\s*=\s*([^;]*);").finditer(text, start, end):
        for number in re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.x])").finditer(text, *match.span(1)):
            yield number.span(), str(float(number.group()) + 1).removesuffix(".0"), "constant"


def mutants_of(file):
    path = ROOT / file
    source = path.read_text()
    text = blank(source)
    seen = set()
    for where, start, end in regions_of(path, text):
        changes = []
        if path.suffix == ".def":
            if text[start:end] == "EBB_NONE":
                continue
            changes = [((start, end), f"ebb_neg({text[start:end]})", "sign"), ((start, end), "EBB_NONE", "drop")]
        else:
            changes = list(of_statements(text, start, end))
        for call in calls_in(text, start, end):
            changes += of_call(text, call)
        for (a, b), new, kind in changes:
            if (a, b, new) not in seen:
                seen.add((a, b, new))
                yield Mutant(file, where, source.count("\n", 0, a) + 1, a, b, source[a:b], new, kind)


def label_of(m):
    def short(text):
        text = re.sub(r"\s+", " ", text)
        return text if len(text) < 70 else text[:67] + "..."
    return f"{m.file}:{m.line} {m.where}: {m.kind}: {short(m.old)} => {short(m.new)}"


# ---- building and running ----

def commands_of(build):
    """source -> its compile command; and the link command of each test program, all as argument lists."""
    compile_of, links = {}, {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = os.path.relpath(os.path.normpath(os.path.join(entry["directory"], entry["file"])), ROOT)
        command = shlex.split(entry["command"])
        compile_of.setdefault(source, command[1:] if os.path.basename(command[0]) == "ccache" else command)
    for program in ("tests/test_gradients", "tests/test_random_graphs"):
        lines = subprocess.run(["ninja", "-C", str(build), "-t", "commands", program], check=True, text=True,
                               capture_output=True).stdout.splitlines()
        links[program] = shlex.split(lines[-1])
    return compile_of, links


def replaced(command, option, value):
    at = command.index(option)
    return command[:at] + [option, value] + command[at + 2:]


def compiling(command, folder, source, output):
    """`command` for another source and output, quickly and without warnings; headers of `folder` come first."""
    words, skip = [], False
    for word in command[1:-1]:
        takes_value = word in ("-o", "-MF", "-MQ")
        if not skip and not takes_value and word not in ("-c", "-MD"):
            words.append(word)
        skip = takes_value
    return [command[0], f"-I{folder}", *words, "-w", "-O0", "-c", str(source), "-o", str(output)]


def source_for(m):
    """The file that is compiled when m.file changes."""
    return m.file if m.file.endswith(".c") else m.file.removesuffix(".def") + ".c"


def build_object(m, folder, build, compile_of):
    """Compiles the mutant into folder/mutant.o. False if the compiler refuses it."""
    text = (ROOT / m.file).read_text()
    changed = folder / m.file
    changed.parent.mkdir(parents=True, exist_ok=True)
    changed.write_text(text[:m.start] + m.new + text[m.end:])
    source = folder / source_for(m)
    if not source.exists():
        source.write_text((ROOT / source_for(m)).read_text())
    command = compiling(compile_of[source_for(m)], folder, source, folder / "mutant.o")
    return subprocess.run(command, cwd=build, capture_output=True).returncode == 0


def run_program(program, folder, build, links):
    """None if the mutant lives, else what noticed it."""
    output = folder / "test"
    link = replaced(links[program], "-o", str(output))
    link.insert(link.index("-o") + 2, str(folder / "mutant.o"))
    done = subprocess.run(link, cwd=build, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"cannot link a mutant: {done.stderr}")
    try:
        done = subprocess.run([str(output)], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True,
                              errors="replace", timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return "does not end"
    if done.returncode == 0:
        return None
    first = re.search(r":([FE]):([^:]*):([^:]*):\d+: (.*)", done.stdout)
    if not first:
        return "crash"
    result, _, test, message = first.groups()
    if result == "E":
        return "crash"
    if test == "registry_against_differences":
        return "differences" if "MISMATCH" in message else "refused"
    return {"graphs_agree": "random graphs"}.get(test, test.replace("_", " "))


def try_mutant(m, build, compile_of, links, index):
    with tempfile.TemporaryDirectory(prefix="ebb-mutant-") as name:
        folder = pathlib.Path(name)
        if not build_object(m, folder, build, compile_of):
            return index, "does not compile"
        return index, next(filter(None, (run_program(p, folder, build, links) for p in links)), None)


# ---- the report ----

def reason_for(m):
    line = (ROOT / m.file).read_text().splitlines()[m.line - 1]
    for file, where, part, old, reason in EQUIVALENT:
        if m.file == file and m.where == where and part in line and m.old == old:
            return reason
    return None


def write_report(path, mutants, results):
    rows = collections.OrderedDict()
    for m, how in zip(mutants, results):
        rows.setdefault((m.file, m.where), []).append((m, how))
    n_killed = sum(how is not None for how in results)
    lines = ["# Mutants of the gradient rules", "",
             "Written by `scripts/mutate_gradients.py`: each line counts small defects put into one gradient rule, one",
             "at a time (a sign flipped, a term or factor dropped, operands or transposes swapped, a constant or axis",
             "changed, another op), and what noticed them first: *differences* is the registry's samples against",
             "central differences, *refused* an error while the gradient is built or run, the others are tests of",
             "`tests/test_gradients.c`; *random graphs* ran only where these did not notice.", "",
             f"{len(mutants)} mutants, {n_killed} killed, {len(mutants) - n_killed} equivalent.", "",
             "| file | op or function | mutants | killed | how |", "|---|---|---:|---:|---|"]
    for (file, where), found in rows.items():
        how = collections.Counter(h for _, h in found if h)
        text = ", ".join(f"{h} {n}" for h, n in how.most_common())
        lines.append(f"| {file} | {where} | {len(found)} | {sum(how.values())} | {text} |")
    by_kind = collections.OrderedDict()
    for m, how in zip(mutants, results):
        by_kind.setdefault(m.kind, []).append(how is not None)
    lines += ["", "| defect | mutants | killed |", "|---|---:|---:|"]
    lines += [f"| {kind} | {len(k)} | {sum(k)} |" for kind, k in sorted(by_kind.items())]
    alive = [(m, reason_for(m)) for m, how in zip(mutants, results) if how is None]
    if alive:
        lines += ["", "Equivalent ones, which change no gradient:", ""]
        lines += [f"- `{label_of(m)}`: {reason or 'NOT ARGUED'}" for m, reason in alive]
    pathlib.Path(path).write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--files", nargs="+")
    parser.add_argument("--only")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report")
    options = parser.parse_args()
    files = options.files or sorted(str(p.relative_to(ROOT)) for p in (ROOT / "ops").glob("*.*")
                                    if p.suffix in (".c", ".def"))
    mutants = [m for file in files for m in mutants_of(file) if not options.only or options.only in label_of(m)]
    if options.list:
        print("\n".join(map(label_of, mutants)))
        print(f"{len(mutants)} mutants")
        return 0
    build = options.build.resolve()
    compile_of, links = commands_of(build)
    for program in links:
        if subprocess.run([str(build / program)], env=ENVIRONMENT, stdout=subprocess.DEVNULL).returncode:
            print(f"{program} fails as it is")
            return 1
    results = [None] * len(mutants)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(try_mutant, m, build, compile_of, links, i) for i, m in enumerate(mutants)]
        for job in concurrent.futures.as_completed(jobs):
            i, results[i] = job.result()
            if results[i] is None:
                reason = reason_for(mutants[i])
                print(f"{'equivalent' if reason else 'LIVES'}: {label_of(mutants[i])}", flush=True)
    kept = [i for i, how in enumerate(results) if how != "does not compile"]
    mutants, results = [mutants[i] for i in kept], [results[i] for i in kept]
    alive = [m for m, how in zip(mutants, results) if how is None]
    unargued = [m for m in alive if not reason_for(m)]
    how = collections.Counter(h for h in results if h)
    print(f"{len(mutants)} mutants, {len(mutants) - len(alive)} killed, {len(alive) - len(unargued)} equivalent, "
          f"{len(unargued)} live")
    print(", ".join(f"{h} {n}" for h, n in how.most_common()))
    if options.report:
        write_report(options.report, mutants, results)
    few = not options.files and not options.only and len(mutants) < MIN_MUTANTS
    if few:
        print(f"fewer than {MIN_MUTANTS} mutants")
    print(f"{len(mutants) - len(unargued)} passed, {len(unargued) + few} failed, 0 skipped")
    return 1 if unargued or few else 0


if __name__ == "__main__":
    sys.exit(main())
