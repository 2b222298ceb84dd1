#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `upcall run --trace` writes: a file that a viewer opens, whatever the program's end was. Slices of
a track are nested and in order, each begun one is ended, and what is counted is there."""
import collections
import json
import os
import signal

from common import PROG, cpus, main, same, stats, temp, upcall

PHASES = {"B", "E", "i", "M"}


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def check(trace):
    """Every track by itself: order, nesting, ends. The names of the slices begun, and of instants."""
    stacks = collections.defaultdict(list)
    last = collections.defaultdict(float)
    begun, instants = collections.Counter(), collections.Counter()
    for e in trace["traceEvents"]:
        assert e["ph"] in PHASES and e["pid"] == 1, e
        if e["ph"] == "M":
            continue
        track = e["tid"]
        assert e["ts"] >= last[track] >= 0, (e, last[track])
        last[track] = e["ts"]
        if e["ph"] == "B":
            # A core, and on it a uthread.
            same(e["cat"], "uthread" if stacks[track] else "vcore", e)
            stacks[track].append(e)
            begun[e["name"].split("#")[0].rstrip("0123456789 ")] += 1
        elif e["ph"] == "E":
            assert stacks[track], ("an end without a beginning", e)
            stacks[track].pop()
        else:
            same(e["s"], "t")
            instants[e["name"]] += 1
    for track, stack in stacks.items():
        same(stack, [], f"left open on track {track}")
    named = {e["tid"] for e in trace["traceEvents"] if e["ph"] == "M" and e["tid"]}
    assert set(stacks) <= named, (set(stacks), named)
    return begun, instants


def traced(*options, program, status=0):
    path = temp("trace.json")
    got = stats("--trace", path, *options, program=program, status=status)
    trace = load(path)
    same(trace["otherData"]["records"], got["trace"]["records"])
    same(trace["otherData"]["lost"], got["trace"]["lost"])
    return got, trace


def whole():
    """A program that stops: every block, steal and notification, and every stretch online."""
    got, trace = traced("-n", str(min(cpus(), 2)), program=[PROG, "work", "40", "20"])
    begun, instants = check(trace)
    same(got["trace"]["lost"], 0)
    for c, name in (("announced", "announced"), ("unannounced", "unannounced"),
                    ("fault", "page fault"), ("uninterruptible", "uninterruptible")):
        same(instants[f"blocked: {name}"], got["blocked"][c])
        same(instants[f"unblocked: {name}"], got["unblocked"][c])
    same(instants["steal"], got["steals"])
    same(instants["slice over"] + instants["notified"], got["notifications"])
    assert begun["online, cpu"] >= 1
    # Each of the uthreads ran, under its name, which was no JSON.
    ids = {e["args"]["uthread"] for e in trace["traceEvents"]
           if e["ph"] == "B" and e["cat"] == "uthread"}
    same(len(ids), got["uthreads"])
    assert begun["wor?ker"] >= 40, begun
    assert begun["main"] >= 1


def one_core():
    """On one core each switch to another uthread is a slice."""
    got, trace = traced("-n1", program=[PROG, "work", "10", "100"])
    check(trace)
    runs = sum(e["ph"] == "B" and e.get("cat") == "uthread" for e in trace["traceEvents"])
    assert 1000 <= runs <= got["switches"], (runs, got["switches"])


def busy():
    """Turns that end by the clock."""
    _, trace = traced("-n1", "--slice", "4ms", program=[PROG, "busy", "200"])
    _, instants = check(trace)
    assert instants["slice over"] >= 5, instants


def lost_cores():
    """Cores that go: the warning, or the taking, and the end of what ran."""
    got, trace = traced(program=[PROG, "lose-cores"])
    _, instants = check(trace)
    away = instants["core to go"] + instants["core taken"]
    assert 0 < away <= got["preemptions"] and got["preemptions"] > 0, instants


def died():
    """A program that is killed: all up to its last moment, and every slice ended."""
    got, trace = traced("-n1", program=[PROG, "die", str(int(signal.SIGKILL)), "50"],
                        status=-signal.SIGKILL)
    begun, _ = check(trace)
    assert begun["wor?ker"] >= 50 * 50 and got["trace"]["lost"] == 0, begun
    ends = [e["ts"] for e in trace["traceEvents"] if e["ph"] == "E"]
    assert max(ends) * 1000 <= got["wall_ns"] + 1e6, (max(ends), got["wall_ns"])


def overflow():
    """A ring that is too small: what is lost is counted and shown, and the file is good."""
    got, trace = traced("-n1", "--trace-buffer", "4K", program=[PROG, "work", "100", "1000"])
    _, instants = check(trace)
    lost = got["trace"]["lost"]
    assert lost > 0 and got["trace"]["records"] > 0
    same(instants[f"{lost} records lost"], 1)
    # All switches are records: seen, or lost.
    assert got["trace"]["records"] + lost >= got["switches"]


def long_run():
    """More than the rings hold at once, taken while the program runs."""
    got, trace = traced("-n1", "--trace-buffer", "16K", "--slice", "1ms",
                        program=[PROG, "busy", "3000"])
    check(trace)
    same(got["trace"]["lost"], 0)
    assert got["trace"]["records"] > 512, got["trace"]  # of 32 bytes each


def stranger():
    """A program that is none of ours: an empty trace, but a trace."""
    path = temp("none.json")
    same(upcall("run", "--trace", path, "--", "true").returncode, 0)
    begun, _ = check(load(path))
    same(sum(begun.values()), 0)
    os.unlink(path)
    same(upcall("run", "--trace", path, "--", "/nonexistent/program").returncode, 127)
    check(load(path))


main([whole, one_core, busy, lost_cores, died, overflow, long_run, stranger])
