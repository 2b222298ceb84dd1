#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The main job: treesum over a tree under `upcall run --stats`, beside what else would do it: sha256sum
by a batched xargs -P, and the same program on a pool of pthreads.  Contenders take turns, each round
beginning with the next one: what is below a virtual disk may have a cache of its own, which the first of
all fills for the others.  After the first warm round the slower of each kind is dropped, and what stands
in the table is the median of the other's rounds.  All must print the same sums.  tools/run.sh calls it;
its settings are DIR, ROUNDS, and DROP, the file that drops the page cache.
"""
import errno
import os
import statistics
import subprocess
import sys
import tempfile
import time

BUILD = os.environ.get("BUILD", "build")
UPCALL = os.path.join(BUILD, "upcall")
TREESUM = os.path.join(BUILD, "examples", "treesum")
PTHREAD = os.path.join(BUILD, "examples", "treesum-pthread")
DROP = os.environ.get("DROP", "/proc/sys/vm/drop_caches")
CPUS = len(os.sched_getaffinity(0))


class Contender:
    """A way to do it: what it is called, which kind it is of, and its rounds as (wall, CPU) seconds."""

    def __init__(self, name, kind, argv, unread):
        self.name, self.kind, self.argv, self.unread = name, kind, argv, unread
        self.warm, self.cold = [], []

    def median(self):
        return statistics.median(wall for wall, _ in self.warm)


def pool(tree, threads):
    return Contender(f"pthread pool, {threads} threads", "pthread", [PTHREAD, "-j", str(threads), tree], 1)


def xargs(tree, processes):
    line = f'find "$1" -type f -print0 | xargs -0r -n 200 -P {processes} sha256sum'
    return Contender(f"xargs -n 200 -P {processes} sha256sum", "xargs", ["sh", "-c", line, "-", tree], 123)


def die(why):
    print(f"run: {why}", file=sys.stderr)
    sys.exit(1)


def settings():
    """The tree, and how many warm rounds."""
    tree, rounds = os.environ.get("DIR", "/usr"), os.environ.get("ROUNDS", "3")
    if not rounds.isdigit() or not 1 <= int(rounds) <= 1000:
        die(f"ROUNDS is no number from 1 to 1000: {rounds}")
    if not os.path.isdir(tree):
        die(f"DIR is no directory: {tree}")
    if tree.startswith("-"):
        tree = "./" + tree
    for program in (UPCALL, TREESUM, PTHREAD):
        if not os.access(program, os.X_OK):
            die(f"{program} has not been built")
    return tree, int(rounds)


def run(c, out):
    """One round: seconds of wall, and of CPU, its children's included.  On a terminal treesum shows how
    far it is."""
    with open(out, "wb") as to, tempfile.TemporaryFile() as said:
        err = None if sys.stderr.isatty() and c.kind != "xargs" else said
        began = time.monotonic()
        with subprocess.Popen(c.argv, stdin=subprocess.DEVNULL, stdout=to, stderr=err) as p:
            _, status, usage = os.wait4(p.pid, 0)
            p.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - began
        if p.returncode not in (0, c.unread):
            said.seek(0)
            words = said.read(500).decode(errors="replace").strip().replace("\n", "; ")
            print(file=sys.stderr)
            die(f"{c.name} ended with {p.returncode}: {words}")
    return wall, usage.ru_utime + usage.ru_stime


def lines(path):
    with open(path, "rb") as f:
        return sorted(f.read().split(b"\n"))


def same_sums(c, out, first):
    """That a contender printed what the first one has: sha256sum's own order is nobody's, under -P."""
    got = lines(out)
    if got != first:
        odd = sorted(set(got) ^ set(first)) or [b"a line that is there twice"]
        die(f"{c.name} printed other sums: {odd[0].decode(errors='replace')}")


def round_of(contenders, where, out, first, say):
    """All of them once; the sums that the first of all printed."""
    for c in contenders:
        print(f"  {say}: {c.name} ...", end="", file=sys.stderr, flush=True)
        getattr(c, where).append(run(c, out))
        print(f" {getattr(c, where)[-1][0]:.2f} s", file=sys.stderr, flush=True)
        if first is None:
            first = lines(out)
        same_sums(c, out, first)
    return first


def drop_caches():
    os.sync()
    with open(DROP, "w", encoding="ascii") as f:
        f.write("3")


def why_not_cold():
    try:
        drop_caches()
    except OSError as e:
        return f"{DROP}: {e.strerror}" + (", only root may" if e.errno == errno.EACCES else "")
    return None


def cold_rounds(contenders, rounds, out, first):
    for nr in range(rounds):
        for c in contenders[nr % len(contenders):] + contenders[:nr % len(contenders)]:
            drop_caches()
            first = round_of([c], "cold", out, first, f"cold {nr + 1} of {rounds}")
    return first


def best(contenders, kind):
    return min((c for c in contenders if c.kind == kind), key=Contender.median)


def warm_rounds(contenders, rounds, out, first):
    """What is left: ours, and the best of each kind."""
    for nr in range(rounds):
        first = round_of(contenders, "warm", out, first, f"warm {nr + 1} of {rounds}")
        if not nr:
            contenders = [best(contenders, kind) for kind in ("upcall", "pthread", "xargs")]
        contenders = contenders[1:] + contenders[:1]
    return sorted(contenders, key=lambda c: ("upcall", "pthread", "xargs").index(c.kind))


def table(what, contenders, where):
    ours = statistics.median(wall for wall, _ in getattr(contenders[0], where))
    print(f"\n{what:<40} {'seconds':>8} {'CPU':>8}  treesum to it")
    for c in contenders:
        wall, cpu = (statistics.median(x) for x in zip(*getattr(c, where)))
        ratio = "" if c is contenders[0] else f"{ours / wall:15.2f}"
        print(f"  {c.name:<38} {wall:8.2f} {cpu:8.2f}{ratio}")


def main():
    tree, rounds = settings()
    with tempfile.TemporaryDirectory() as temp:
        out, stats = os.path.join(temp, "sums"), os.path.join(temp, "stats")
        ours = Contender("treesum, a uthread a file", "upcall",
                         [UPCALL, "run", "--stats", "--output", stats, "--", TREESUM, tree], 1)
        skip, first = why_not_cold(), None
        print(f"SHA-256 of every file below {tree}, on {CPUS} cores", flush=True)
        cold = [ours, pool(tree, 16 * CPUS), xargs(tree, 4 * CPUS)]
        if skip:
            print(f"SKIP cold: {skip}")
        else:
            first = cold_rounds(cold, rounds, out, first)
        warm = [ours, pool(tree, CPUS), pool(tree, 4 * CPUS), xargs(tree, CPUS), xargs(tree, 2 * CPUS)]
        left = warm_rounds(warm, rounds, out, first)
        if not skip:
            table(f"cold, median of {rounds}", cold, "cold")
        table(f"warm, median of {rounds}, best of its kind", left, "warm")
        print(f"\nAll printed the same {sum(1 for line in lines(out) if line)} sums."
              " treesum's cores, the last time:\n")
        with open(stats, encoding="utf-8") as f:
            print(f.read(), end="")


main()
