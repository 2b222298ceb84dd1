#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One short turn of build/bench/http: its object has the promised shape, every contender that is here
has a figure in every row, and one that is not is named."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

HTTP = sys.argv[1]
ROWS = ["cpu_64", "p99_64"]
CONTENDERS = ["upcall", "upcall-shared", "nginx", "go"]


def figures(rows, absent):
    for row in rows:
        for name in CONTENDERS:
            if name in absent:
                continue
            c = row["contenders"].get(name)
            if not c or not 0 < c["min"] <= c["median"] <= c["max"]:
                yield f"{row['name']}: {name}: {c}, {row['failed']}"


def refusals():
    for args in (["no_such_row"], ["--turns", "0"], ["--turns", "x"], ["--seconds", "-1"],
                 ["--no-such-option"]):
        done = subprocess.run([HTTP, *args], capture_output=True, text=True)
        if done.returncode != 64 or not done.stderr or done.stdout:
            yield f"{args}: exit status {done.returncode}"


def lacking():
    """Where nothing was built beside it: it says so, and no bound counts as met."""
    with tempfile.TemporaryDirectory() as where:
        alone = shutil.copy(HTTP, os.path.join(where, "http"))
        done = subprocess.run([alone, "--check", "--turns", "1", "--seconds", "0.01", "cpu_64"],
                              capture_output=True, text=True)
    if done.returncode != 1 or done.stdout.count("MISSED") != 2:
        yield f"exit status {done.returncode}: {done.stdout}"
    for name in ("upcall", "go"):
        if f"contender {name} is missing" not in done.stderr:
            yield f"{name} was not missed"


def main():
    done = subprocess.run([HTTP, "--json", "--turns", "1", "--seconds", "0.1", *ROWS],
                          capture_output=True, text=True)
    absent = [name for name in CONTENDERS if f"contender {name} is missing" in done.stderr]
    rows = json.loads(done.stdout)["rows"]
    wrong = [] if done.returncode == 0 else [done.stderr]
    points = [("ends with 0", wrong),
              ("the rows", [] if [row["name"] for row in rows] == ROWS else [rows]),
              ("the figures", list(figures(rows, absent))),
              ("what it refuses", list(refusals())), ("what it lacks", list(lacking()))]
    print(f"1..{len(points) + 1}")
    for nr, (what, bad) in enumerate(points, 1):
        print(f"{'not ok' if bad else 'ok'} {nr} - {what}")
        for line in bad:
            print("#", line)
    if absent:
        print(f"ok {len(points) + 1} - all contenders # SKIP not here: {' '.join(absent)}")
    else:
        print(f"ok {len(points) + 1} - all contenders")
    return any(bad for _, bad in points)


sys.exit(main())
