#!/usr/bin/env python3
"""Changes the money rules in one place at a time and expects a unit test to notice.

Each comparison, arithmetic and logical operator, checked builtin, condition and early return of FILES is a mutant: the
file with that one thing changed. It is compiled alone, linked before the archive, and the tests of the core are run, the
quick ones first, until one fails. A mutant that none fails is a survivor: the tests lack a row, or the code says more
than it means. Assertions, and functions of nothing else (*_assert_valid), are left alone: they are tests themselves.

  mutate.py BUILD [--jobs N] [--only ledger/decide.c:120] [--list]

BUILD is the folder of a finished build (make mutation gives it). What cannot be told apart by any input stands in
equivalent.txt beside this file, with the reason; an entry that fits no survivor any more is an error too.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys
import threading

FILES = ["ledger/decide.c", "ledger/ledger.c", "ledger/accounts.c", "ledger/chain.c", "ledger/policy.c", "ledger/permission.c"]
TESTS = ["test_ledger_holds", "test_ledger", "test_ledger_model", "test_batch", "test_ledger_floor",
         "test_ledger_history", "test_ledger_memory", "test_accounts", "test_ledger_policy", "test_policy", "test_schedule", "test_chain"]
SEEDS = "12"  # of the model, for each mutant
TIMEOUT_S = 20  # a mutant that never ends is noticed too
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODEL = [*sorted(path.stem for path in (ROOT / "tests").glob("model*.c")), "stream"]  # test_ledger_model is linked with it

SWAPS = {
    "<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"], "==": ["!="], "!=": ["=="],
    "&&": ["||"], "||": ["&&"], "+=": ["-="], "-=": ["+="], "|=": ["&="], "++": ["--"], "--": ["++"],
}
SPACED = {"+": "-", "-": "+", "*": "/", "/": "*", "%": "*", "&": "|", "|": "&", "<<": ">>", ">>": "<<"}
BUILTINS = {"__builtin_add_overflow": "__builtin_sub_overflow", "__builtin_sub_overflow": "__builtin_add_overflow",
            "__builtin_mul_overflow": "__builtin_add_overflow"}
OPERATOR = re.compile(r"->|\+\+|--|\+=|-=|\|=|&=|<<=|>>=|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|<>!~]")


def masked(source):
    """The source with everything that is not to be changed blanked, place for place."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|^[ \t]*#(?:\\\n|[^\n])*',
                         re.S | re.M)
    text = pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), source)
    for match in re.finditer(r"\b(?:assert|_Static_assert)\(", text):
        end = matching(text, match.end() - 1)
        text = text[:match.start()] + re.sub(r"[^\n]", " ", text[match.start():end]) + text[end:]
    blank = re.compile(r"^static void \w+_assert_valid\(.*?^}", re.S | re.M)
    return blank.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def matching(text, at):
    """Just behind the bracket that closes the one at `at`."""
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] in "([{") - (text[i] in ")]}")
        if depth == 0:
            return i + 1
    raise ValueError("a bracket is never closed")


def operators(text):
    for match in OPERATOR.finditer(text):
        token, start, end = match.group(), match.start(), match.end()
        spaced = text[start - 1] in " \n" and text[end] in " \n"
        if token in SWAPS and (spaced or token in ("++", "--")):
            for other in SWAPS[token]:
                yield start, end, other
        elif token in SPACED and spaced:
            yield start, end, SPACED[token]
        elif token in ("!", "-", "~") and not spaced and text[end] != "=":
            yield start, end, ""
    for match in re.finditer("|".join(BUILTINS), text):
        yield match.start(), match.end(), BUILTINS[match.group()]


def conditions(text):
    """Those of if and while, forced; a loop is forced only to end."""
    for match in re.finditer(r"\b(if|while) \(", text):
        start, end = match.end(), matching(text, match.end() - 1) - 1
        yield start, start, "false && ", end
        if match.group(1) == "if":
            yield start, start, "true || ", end
    for match in re.finditer(r"\bfor \(", text):
        first = text.index(";", match.end()) + 1
        second = text.index(";", first)
        if text[first:second].strip():
            yield first, first, " false && ", second


def choices(text):
    """Of `a ? b : c` only the one, or only the other."""
    for match in re.finditer(r"\?", text):
        depth, colon, end = 0, None, None
        for i in range(match.end(), len(text)):
            if depth == 0 and text[i] == ":" and colon is None:
                colon = i
            elif depth == 0 and (text[i] in ",;" or text[i] in ")]}"):
                end = i
                break
            depth += (text[i] in "([{?") - (text[i] in ")]}") - (text[i] == ":" and depth > 0)
        if colon is None or end is None:
            continue
        yield match.end(), colon, text[colon + 1:end]
        yield colon + 1, end, text[match.end():colon]


def returns(text):
    """Each return that is not its function's last statement."""
    for match in re.finditer(r"\breturn\b[^;]*;", text):
        if not re.match(r"\s*\n\}", text[match.end():]):
            yield match.start(), match.end(), ";"


def mutants_of(name):
    source = (ROOT / name).read_text()
    text = masked(source)
    seen = set()

    def make(start, end, middle, change_end=None):
        if change_end is None:
            mutated = source[:start] + middle + source[end:]
        else:
            mutated = source[:start] + middle + "(" + source[end:change_end] + ")" + source[change_end:]
        line = source.count("\n", 0, start)
        before, after = source.split("\n")[line].strip(), mutated.split("\n")[line].strip()
        if mutated == source or mutated in seen:
            return None
        seen.add(mutated)
        return {"file": name, "line": line + 1, "before": before, "after": after, "text": mutated}

    found = [make(*change) for change in operators(text)]
    found += [make(start, end, word, last) for start, end, word, last in conditions(text)]
    found += [make(start, end, source_part) for start, end, source_part in choices(text)]
    found += [make(*change) for change in returns(text)]
    return sorted((mutant for mutant in found if mutant), key=lambda mutant: mutant["line"])


class Runner:
    def __init__(self, build, jobs):
        self.build = pathlib.Path(build)
        self.folders = [ROOT / "build/mutation" / str(i) for i in range(jobs)]
        self.lock = threading.Lock()
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)
        packages = "librabbitmq libpq hiredis msgpack jansson libmicrohttpd libcrypto libcurl cjose".split()
        self.flags = shlex.split(subprocess.check_output(["pkg-config", "--cflags"] + packages, text=True))

    def run(self, command, **settings):
        return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False, **settings).returncode

    def link(self, test, extra, program):
        objects = [self.build / "tests/unit" / f"{test}.o"]
        if test == "test_ledger_model":
            objects += [self.build / "tests" / f"{name}.o" for name in MODEL]
        return self.run(["gcc", "-pie", "-o", program, *objects, *extra, self.build / "all.a", "-lmsgpackc", "-lcjose", "-ljansson",
                         "-lcrypto", "-lm", "-lpthread", "-lcmocka"]) == 0

    def passes(self, test, extra, folder):
        program = folder / test
        if not self.link(test, extra, program):
            raise RuntimeError(f"could not link {test}")
        try:
            return self.run([program], timeout=TIMEOUT_S, env={**os.environ, "LEDGER_MODEL_SEEDS": SEEDS}) == 0
        except subprocess.TimeoutExpired:
            return False

    def killer(self, mutant):
        """The test that notices; "the compiler" when it is no program, None when nobody does."""
        with self.lock:
            folder = self.folders.pop()
        try:
            source, target = folder / "mutant.c", folder / "mutant.o"
            source.write_text(mutant["text"])
            if self.run(["gcc", "-std=c17", "-D_GNU_SOURCE", "-O1", "-w", "-fPIE", "-I.", *self.flags, "-c", "-o", target,
                         source], timeout=120) != 0:
                return "the compiler"
            return next((test for test in TESTS if not self.passes(test, [target], folder)), None)
        finally:
            with self.lock:
                self.folders.append(folder)


def excused():
    """(file, before, after) -> reason."""
    entries = {}
    for line in (HERE / "equivalent.txt").read_text().split("\n"):
        if line and not line.startswith("#"):
            name, before, after, reason = (part.strip() for part in line.split(" @@ "))
            entries[(name, before, after)] = reason
    return entries


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="", help="a file, or a file:line")
    parser.add_argument("--list", action="store_true", help="show the mutants, run nothing")
    options = parser.parse_args()
    only, _, line = options.only.partition(":")
    mutants = [mutant for name in FILES if not only or name == only for mutant in mutants_of(name)
               if not line or mutant["line"] == int(line)]
    if options.list:
        for mutant in mutants:
            print(f"{mutant['file']}:{mutant['line']}: {mutant['before']}  =>  {mutant['after']}")
        print(f"{len(mutants)} mutants")
        return 0
    runner, entries, survivors, dead, unused = Runner(options.build, options.jobs), excused(), 0, {}, None
    unused = set(entries)
    for test in TESTS:
        if not runner.passes(test, [], runner.folders[0]):
            sys.exit(f"{test} fails on the code as it is")
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for n, (mutant, killer) in enumerate(zip(mutants, pool.map(runner.killer, mutants)), 1):
            if sys.stderr.isatty():
                print(f"\r{n} of {len(mutants)}", end="", file=sys.stderr)
            if killer:
                dead[killer] = dead.get(killer, 0) + 1
                continue
            key = (mutant["file"], mutant["before"], mutant["after"])
            unused.discard(key)
            if key not in entries:
                survivors += 1
                print(f"{mutant['file']}:{mutant['line']}: {mutant['before']}  =>  {mutant['after']}", flush=True)
    for name, before, after in sorted(unused) if not only else []:
        print(f"equivalent.txt: nothing survives as {name}: {before}  =>  {after}")
    print(", ".join(f"{count} noticed by {killer}" for killer, count in dead.items()))
    print(f"{len(mutants)} mutants, {survivors} survivors")
    return 0 if survivors == 0 and (only or not unused) else 1


if __name__ == "__main__":
    sys.exit(main())
