#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks each Promela model whole with Spin, then each of its deliberate defects, which must be found.

    run.py [--full] MODEL...        TAP on stdout; one skip where spin or a compiler is missing

A defect is a word after "Broken on purpose:" in the model's head. The state space is searched
completely: a search that was cut short counts as failed, so that "no errors" means none.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

# How often things may happen: enough for each defect; with --full, more.  Several of a model are
# several searches: all hold, and a defect is found by one of them.
def handover(*counts):
    names = ("BLOCKS", "LOOKS", "REFUSALS", "YIELDS", "GRANTS", "THEFTS")
    return [f"-D{name}={count}" for name, count in zip(names, counts)]


def yields(*counts):
    names = ("ITEMS", "CORES", "LOSSES", "TARGET", "BEFORE")
    return [f"-D{name}={count}" for name, count in zip(names, counts)]


def standby(*counts):
    return [f"-D{name}={count}" for name, count in zip(("BLOCKS", "LOOKS", "STARTS", "DROPS"), counts)]


BOUNDS = {"grant": [["-DPREEMPTS=2", "-DGRANTS=3", "-DBLOCKS=1"]],
          "handover": [handover(1, 0, 0, 1, 1, 0), handover(1, 0, 1, 1, 1, 1),
                       handover(2, 0, 0, 0, 0, 0)],
          "standby": [standby(2, 2, 1, 0), standby(2, 2, 0, 1)],
          "take": [["-DTURNS=2", "-DSTRAYS=1"]],
          "yield": [yields(1, 2, 0, 2, 0), yields(1, 2, 0, 3, 1)]}
FULL = {"grant": [["-DPREEMPTS=3", "-DGRANTS=4", "-DBLOCKS=2"]],
        "handover": BOUNDS["handover"] + [handover(1, 1, 0, 0, 0, 0)],
        "standby": [standby(3, 3, 1, 0), standby(3, 3, 0, 1)],
        "take": [["-DTURNS=4", "-DSTRAYS=3"]],
        "yield": BOUNDS["yield"] + [yields(2, 2, 0, 3, 0), yields(1, 3, 1, 3, 0)]}
CC = ["-O1", "-DMEMLIM=4096", "-DSAFETY", "-DCOLLAPSE", "-DVECTORSZ=2048"]


def defects(model):
    with open(model, encoding="utf-8") as text:
        head = text.read().split("*/")[1]
    listed = head.split("Broken on purpose:")[1]
    return re.findall(r"\b[A-Z]+_[A-Z_]+[A-Z]\b", listed)


def search(model, words, bounds):
    """(found an error, was complete, states) of one search."""
    with tempfile.TemporaryDirectory() as where:
        def run(*args):
            return subprocess.run(args, cwd=where, capture_output=True, text=True, timeout=1800)
        made = run("spin", *bounds, *["-D" + w for w in words], "-a",
                   os.path.abspath(model))
        built = run("cc", *CC, "-w", "-o", "pan", "pan.c")
        if built.returncode:
            sys.exit(made.stdout + made.stderr + built.stderr)
        out = run("./pan", "-m2000000").stdout
    errors = int(re.search(r"errors: (\d+)", out).group(1))
    states = int(float(re.search(r"([\d.e+]+) states, stored", out).group(1)))
    whole = "Search not completed" not in out and "max search depth too small" not in out
    return errors > 0, whole, states


def search_all(model, words, bounds):
    """The same of all searches of a model; the first error ends them."""
    name = os.path.splitext(os.path.basename(model))[0]
    whole, states = True, 0
    for some in bounds.get(name, [[]]):
        wrong, complete, more = search(model, words, some)
        whole, states = whole and complete, states + more
        if wrong:
            return True, whole, states
    return False, whole, states


def main(models):
    bounds = BOUNDS
    if models[0] == "--full":
        models, bounds = models[1:], FULL
    if not shutil.which("spin") or not shutil.which("cc"):
        print("1..0 # SKIP spin or cc is not installed")
        return 0
    jobs = [(m, []) for m in models]
    jobs += [(m, [d]) for m in models for d in defects(m)]
    failed = 0
    print(f"1..{len(jobs)}")
    for nr, (model, words) in enumerate(jobs, 1):
        wrong, whole, states = search_all(model, words, bounds)
        good = wrong if words else whole and not wrong
        name = os.path.basename(model)
        what = f"{name}: {words[0]} is found" if words else f"{name} holds in {states} states"
        print(f"{'ok' if good else 'not ok'} {nr} - {what}", flush=True)
        failed += not good
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
