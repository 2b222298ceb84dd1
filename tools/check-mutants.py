#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds each compile-time defect of tests/mutants/mutants.txt and shows which test notices it.

    check-mutants.py [--only NAME]... [--jobs N] [--tries N] [--build DIR] [--list]
    check-mutants.py --quick N [--seed N] [--seconds N]     some of them, as TAP, for `make check`

A line of the list is `name | file | defect | killer[, killer...]`; a killer is a Meson test, or - as
long as there is none: such a mutant survives. First every killer must pass without any defect: a test that fails anyhow kills nothing. Then, for each
defect, its killers run until one fails, or has run past its time limit: a hang counts as killed by
the watchdog, and the table says so. Killers that depend on luck get --tries rounds.
The last line is `N killed, N survived`; exit 0 only when none survived and the list is that of the
UP_MUT(...) in src.
"""
import argparse
import json
import os
import random
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIST = os.path.join("tests", "mutants", "mutants.txt")
USE = re.compile(r"\bUP_MUT\((\w+)\)")


class Mutant:
    def __init__(self, fields):
        self.name, self.file, self.defect, killers = fields
        self.killers = [k.strip() for k in killers.split(",") if k.strip() not in ("", "-")]


def parse(text):
    """(mutants, problems) of the list."""
    mutants, problems = [], []
    for nr, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        fields = [f.strip() for f in line.split("|")]
        if len(fields) != 4 or not all(fields) or not re.fullmatch(r"\w+", fields[0]):
            problems.append(f"{LIST}:{nr}: not `name | file | defect | killer`")
            continue
        mutants.append(Mutant(fields))
    names = [m.name for m in mutants]
    problems += [f"{n} is listed twice" for n in sorted(set(names)) if names.count(n) > 1]
    return mutants, problems


def uses(root):
    """Name to files of every UP_MUT(name) in the sources; their definition itself is none.

    Where git is, a file counts once git knows of it."""
    found = {}
    done = None
    if os.path.exists(os.path.join(root, ".git")):
        done = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z", "src"], cwd=root,
                              capture_output=True, text=True)
    known = set(done.stdout.split("\0")) if done and done.returncode == 0 else None
    for where, _, files in os.walk(os.path.join(root, "src")):
        for name in files:
            path = os.path.relpath(os.path.join(where, name), root)
            if not name.endswith((".c", ".h", ".S")) or path == "src/base/mutant.h":
                continue
            if known is not None and path not in known:
                continue
            with open(os.path.join(root, path), encoding="utf-8") as f:
                code = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.DOTALL)
            for use in USE.findall(code):
                found.setdefault(use, set()).add(path)
    return found


def mismatches(mutants, used):
    """Where the list and the sources differ."""
    listed = {m.name for m in mutants}
    problems = [f"{n}: in {', '.join(sorted(used[n]))}, but not listed"
                for n in sorted(set(used) - listed)]
    for m in mutants:
        if m.name not in used:
            problems.append(f"{m.name}: listed, but not in src")
        elif m.file not in used[m.name]:
            problems.append(f"{m.name}: listed in {m.file}, "
                            f"found in {', '.join(sorted(used[m.name]))}")
    return problems


class Bench:
    """One build folder that takes on each defect in turn; only what holds mutants is rebuilt."""

    def __init__(self, build, jobs):
        self.build = build
        self.jobs = str(jobs)
        self.tests = None

    def quiet(self, *args):
        done = subprocess.run(args, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        return done.returncode, done.stdout

    def must(self, *args):
        status, text = self.quiet(*args)
        if status:
            sys.exit(f"{' '.join(args)} failed:\n{text[-3000:]}")
        return text

    def choose(self, name):
        """Configures for the defect; "none" is the name of no defect."""
        option = f"-Dmutant={name}"
        if os.path.exists(os.path.join(ROOT, self.build, "build.ninja")):
            # Anew, since folders may have come since; Meson itself does not notice those.
            self.must("meson", "setup", "--reconfigure", self.build, option)
        else:
            self.must("meson", "setup", self.build, option)
        text = self.must("meson", "introspect", "--tests", "--targets", self.build)
        data = json.loads(text)
        outputs = {}
        for target in data["targets"]:
            for file in target["filename"]:
                outputs[os.path.realpath(file)] = os.path.relpath(
                    file, os.path.join(ROOT, self.build))
            outputs[target["id"]] = [os.path.relpath(f, os.path.join(ROOT, self.build))
                                     for f in target["filename"]]
        self.tests = {}
        for t in data["tests"]:
            needs = set()
            for word in t["cmd"]:
                needs.add(outputs.get(os.path.realpath(word), ""))
            for target in t.get("depends", []):
                needs.update(outputs.get(target, []))
            self.tests[t["name"]] = sorted(n for n in needs if n)

    def compile(self, killers):
        needs = sorted({n for k in killers for n in self.tests[k]})
        return self.quiet("ninja", "-C", self.build, "-j", self.jobs, *needs)

    def run(self, killer):
        """Meson's word for one run: OK, FAIL, TIMEOUT, ERROR, SKIP...; None: it did not run."""
        logs = os.path.join(ROOT, self.build, "meson-logs")
        # A killer may be one of the long ones: "all" leaves no suite out.
        log = os.path.join(logs, "testlog-all.json")
        if os.path.exists(log):
            os.unlink(log)
        os.environ["UP_FIRST_FAILURE"] = "1"  # tests/lib/apart.h
        self.quiet("meson", "test", "-C", self.build, "--no-rebuild", "--setup", "all", killer)
        try:
            with open(log, encoding="utf-8") as f:
                for line in f:
                    entry = json.loads(line)
                    if entry["name"].split(" / ")[-1] == killer:
                        return entry["result"]
        except FileNotFoundError:
            pass
        return None


HOW = {"TIMEOUT": "watchdog: it hung", "FAIL": "it failed", "ERROR": "it crashed or failed",
       "INTERRUPT": "interrupted"}


def try_mutant(bench, mutant, tries):
    """(killer, how), or (None, why it lived)."""
    if not mutant.killers:
        return None, "no test is named yet"
    bench.choose(mutant.name)
    status, text = bench.compile(mutant.killers)
    if status:
        # A defect that does not compile shows nothing of the tests.
        print(text[-3000:], file=sys.stderr)
        return None, "does not compile"
    for nr in range(1, tries + 1):
        for killer in mutant.killers:
            result = bench.run(killer)
            if result in ("FAIL", "TIMEOUT", "ERROR"):
                return killer, HOW[result] + (f" (try {nr})" if nr > 1 else "")
            if result not in ("OK", "EXPECTEDFAIL"):
                return None, f"{killer}: {result}"
    return None, f"not noticed in {tries} tries"


def baseline(bench, mutants):
    """Killers that are no good as such: {killer: why}."""
    bench.choose("none")
    wanted = sorted({k for m in mutants for k in m.killers})
    bad = {k: "no such test" for k in wanted if k not in bench.tests}
    good = [k for k in wanted if k not in bad]
    status, text = bench.compile(good)
    if good and status:
        sys.exit(f"the build without a defect failed:\n{text[-3000:]}")
    for killer in good:
        result = bench.run(killer)
        if result != "OK":
            bad[killer] = f"{result} without any defect"
    return bad


def run_all(bench, mutants, args):
    bad = baseline(bench, mutants)
    for killer, why in sorted(bad.items()):
        print(f"killer {killer}: {why}")
    width = max([len(m.name) for m in mutants] + [6])
    print(f"{'mutant':<{width}}  {'seconds':>7}  killed by")
    killed = survived = 0
    for m in mutants:
        start = time.monotonic()
        if any(k in bad for k in m.killers):
            killer, how = None, "a killer of it is no good"
        else:
            killer, how = try_mutant(bench, m, args.tries)
        killed += killer is not None
        survived += killer is None
        fate = f"{killer}: {how}" if killer else f"SURVIVED: {how}"
        print(f"{m.name:<{width}}  {time.monotonic() - start:7.1f}  {fate}   [{m.defect}]",
              flush=True)
    print(f"{killed} killed, {survived} survived")
    return 0 if killed and not survived else 1


def run_quick(bench, mutants, args):
    """TAP; what the time did not allow is skipped, and says so."""
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(1 << 32)
    mutants = [m for m in mutants if m.killers]
    chosen = random.Random(seed).sample(mutants, min(args.quick, len(mutants)))
    end = time.monotonic() + args.seconds
    print(f"1..{max(len(chosen), 1)}")
    print(f"# seed {seed}", flush=True)
    if not chosen:
        print("ok 1 - mutants # SKIP no mutant with a test is listed")
        return 0
    bad = baseline(bench, chosen)
    survived = 0
    for nr, m in enumerate(chosen, 1):
        if time.monotonic() > end:
            print(f"ok {nr} - {m.name} # SKIP the {args.seconds} seconds are over")
            continue
        wrong = [f"{k}: {bad[k]}" for k in m.killers if k in bad]
        killer, how = (None, wrong[0]) if wrong else try_mutant(bench, m, args.tries)
        survived += killer is None
        print(f"{'' if killer else 'not '}ok {nr} - {m.name}: {killer or 'survived'}: {how}",
              flush=True)
    return 1 if survived else 0


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--build", default=os.environ.get("BUILD", "build") + "/mutants")
    parser.add_argument("--list", action="store_true", help="compare the list with src, as TAP")
    parser.add_argument("--quick", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seconds", type=int, default=60)
    return parser.parse_args()


def main():
    args = arguments()
    with open(os.path.join(ROOT, LIST), encoding="utf-8") as f:
        mutants, problems = parse(f.read())
    problems += mismatches(mutants, uses(ROOT))
    if args.list:
        print(f"1..1\n{'not ' if problems else ''}ok 1 - the list is what src holds: "
              f"{len(mutants)} mutants, {sum(not m.killers for m in mutants)} without a test")
        for problem in problems:
            print(f"# {problem}")
        return 1 if problems else 0
    for problem in problems:
        print(f"# {problem}", flush=True)
    strangers = set(args.only) - {m.name for m in mutants}
    if strangers:
        sys.exit(f"not listed: {', '.join(sorted(strangers))}")
    if args.only:
        mutants = [m for m in mutants if m.name in args.only]
    bench = Bench(args.build, args.jobs)
    if args.quick is not None:
        return run_quick(bench, mutants, args)
    if not mutants:
        print("0 killed, 0 survived")
        return 1
    return run_all(bench, mutants, args) | (1 if problems else 0)


if __name__ == "__main__":
    sys.exit(main())
