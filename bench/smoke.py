#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One short turn of build/bench/micro: its object has the promised shape, and every contender that
is required has answered in every row, with a figure or with why it has none."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

ROWS = ["create_join", "null_fork", "null_fork_pipe", "yield", "signal_wait", "mutex_free",
        "mutex_contended", "fork_join_spawn", "parallel_for", "bytes_per_uthread",
        "bytes_per_uthread_touched", "priority_p99"]
REQUIRED = ["upcall", "upcall-tls", "pthread", "boost", "go", "gomp", "tbb"]
# Rows that ask for no more than a thread, which each of these has.
EVERYWHERE = ["upcall", "upcall-tls", "pthread", "boost", "go"]
FOR_ALL = ["create_join", "null_fork", "yield", "signal_wait", "bytes_per_uthread"]
# Tasks that run on their creator's stack: found out, and left out of what is compared.
SHARE_STACKS = ["gomp", "tbb"]


def shape(rows):
    """Every figure is one: positive, and the median between the other two."""
    for row in rows:
        if not isinstance(row["name"], str) or row["unit"] not in ("ns", "bytes"):
            yield f"{row['name']}: name or unit"
        for name, c in row["contenders"].items():
            if not 0 < c["min"] <= c["median"] <= c["max"]:
                yield f"{row['name']}: {name}: {c}"


def answers(rows):
    for row in rows:
        for name in REQUIRED:
            if name in row["failed"]:
                yield f"{row['name']}: {name} failed: {row['failed'][name]}"
            elif name not in row["contenders"] and not row["absent"].get(name):
                yield f"{row['name']}: {name} did not answer"
    for row in rows:
        if row["name"] in FOR_ALL:
            for name in EVERYWHERE:
                if name not in row["contenders"]:
                    yield f"{row['name']}: no figure of {name}"


def sharers(rows):
    for row in rows:
        if row["name"] != "create_join" or row["vcores"] != 1:
            continue
        for name, c in row["contenders"].items():
            if c["counts"] == (name in SHARE_STACKS):
                yield f"{row['name']}: {name} counts: {c['counts']}"


def names(rows):
    most = max(row["vcores"] for row in rows)
    want = [(name, v) for name in ROWS for v in range(1, most + 1)]
    if [(row["name"], row["vcores"]) for row in rows] != want:
        yield "the rows are not the promised ones"


def lacking(micro):
    """Where nothing was built beside it, it says what is missing and measures nothing."""
    with tempfile.TemporaryDirectory() as where:
        alone = shutil.copy(micro, os.path.join(where, "micro"))
        done = subprocess.run([alone, "--json", "--smoke"], capture_output=True, text=True)
    if done.returncode != 69 or done.stdout:
        yield f"exit status {done.returncode}, {done.stdout}"
    for name in REQUIRED:
        if f"contender {name} was not built" not in done.stderr:
            yield f"{name} was not missed"


def refusals(micro):
    for args in (["no_such_row"], ["--turns", "0"], ["--turns", "x"], ["--vcores", "3"],
                 ["--peers", "nobody"], ["--no-such-option"], ["--ms", "-1"]):
        done = subprocess.run([micro, "--smoke"] + args, capture_output=True, text=True)
        if done.returncode != 64 or not done.stderr or done.stdout:
            yield f"{args}: exit status {done.returncode}"


def main(micro):
    done = subprocess.run([micro, "--json", "--smoke"], capture_output=True, text=True)
    if done.returncode == 69:
        print(f"1..0 # SKIP {'; '.join(done.stderr.split(chr(10)))}")
        return 0
    print("1..7")
    print(f"{'ok' if done.returncode == 0 else 'not ok'} 1 - micro --json --smoke ends with 0")
    for line in done.stderr.splitlines():
        print("#", line)
    bad = done.returncode != 0
    rows = json.loads(done.stdout)["rows"]
    checks = [(check, rows) for check in (names, shape, answers, sharers)]
    checks += [(check, micro) for check in (lacking, refusals)]
    for n, (check, what) in enumerate(checks):
        wrong = list(check(what))
        for line in wrong:
            print("#", line)
        print(f"{'not ok' if wrong else 'ok'} {n + 2} - {check.__name__}")
        bad = bad or wrong
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
