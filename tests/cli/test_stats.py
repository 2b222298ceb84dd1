#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `upcall run --stats` tells: whole after a stop, after exit() and after a death, and true."""
import json
import signal
import subprocess

from common import PATIENCE, PROG, UPCALL, cpus, main, same, stats, upcall

CLASSES = ["announced", "fault", "uninterruptible", "unannounced"]


def check(got):
    """What holds for any run."""
    same(got["upcall"], True)
    same(got["runtime_pid"], got["pid"])
    same(sorted(got["blocked"]), sorted(CLASSES))
    for key in ("switches", "steals", "preemptions", "migrations", "online_ns", "events_posted",
                "events_lost"):
        same(got[key], sum(v[key] for v in got["vcores"]), key)
    for c in CLASSES:
        assert got["unblocked"][c] <= got["blocked"][c], got
    assert 0 < got["online_ns"] <= got["wall_ns"] * len(got["vcores"]), got
    for v in got["vcores"]:
        assert v["online_ns"] <= got["wall_ns"] and v["stretches"] >= (v["online_ns"] > 0), v
    assert got["user_ns"] + got["system_ns"] > 0
    assert got["activations_peak"] >= 1
    same(got["activations_counted"], True)


def stopped():
    """A program that stops the runtime."""
    got = stats("-n1", program=[PROG, "work", "100", "50"])
    check(got)
    same(got["uthreads"], 101)
    same(got["uthreads_left"], 1)
    assert got["switches"] >= 100 * 50, got["switches"]
    same(got["exit_status"], 0)
    same(got["signal"], None)
    same(got["stopped"], True)
    same(got["blocked"], got["unblocked"])
    assert got["blocked"]["announced"] > 0 and got["blocked"]["unannounced"] > 0, got["blocked"]


def crowd():
    """Kernel threads come and go under other numbers: whatever they made counts."""
    got = stats(program=[PROG, "crowd", "60"])
    check(got)
    same(got["uthreads"], 1 + 3 * (60 + 60 * 5))


def left():
    """One that ends without a stop."""
    got = stats(program=[PROG, "leave", "30", "10"])
    check(got)
    same(got["uthreads"], 31)
    same(got["stopped"], False)


def died():
    """One that dies by a signal: nothing is missing."""
    for sig in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT):
        got = stats("-n1", program=[PROG, "die", str(int(sig)), "200"], status=-sig)
        check(got)
        same(got["uthreads"], 201)
        assert got["switches"] >= 200 * 50, got["switches"]
        same(got["signal"], int(sig))
        same(got["signal_name"], signal.Signals(sig).name[3:])
        same(got["exit_status"], None)
        assert got["blocked"]["announced"] > 0, got["blocked"]


def busy():
    """Turns that end by the clock are notifications, and time online is time on a core."""
    got = stats("-n1", "--slice", "4ms", program=[PROG, "busy", "300"])
    check(got)
    assert got["notifications"] >= 10, got["notifications"]
    same(len(got["vcores"]), 1)
    assert got["online_ns"] > 250e6, got["online_ns"]


def idle():
    """Time asleep is not time online."""
    got = stats("-n1", program=["sh", "-c", f"exec {PROG} work 1 1"])
    check(got)
    asleep = stats("-n1", program=[PROG, "work", "1", "1"])
    assert asleep["online_ns"] < asleep["wall_ns"], asleep


def lost_cores():
    """Cores that are asked back are counted."""
    got = stats("-n", str(min(cpus(), 2)), program=[PROG, "lose-cores"])
    check(got)
    assert got["preemptions"] > 0, got


def stranger():
    """A program that is none of ours: that is said, and what Linux knows of it."""
    got = stats("-n1", program=["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"])
    same(got["upcall"], False)
    same(got["cpus"], 1)
    assert got["user_ns"] > 0 and "switches" not in got
    done = upcall("run", "--stats", "--", "true")
    assert "not an Upcall program" in done.stderr, done.stderr


def refused():
    """A runtime that could not be started: why."""
    got = stats(program=[PROG, "work", "1", "1"], status=99, env={"UPCALL_VCORES": "zero"})
    same(got["upcall"], False)  # refused before anything was claimed
    got = stats(program=["sh", "-c", f"ulimit -n 8; exec {PROG} work 1 1"], status=99)
    same(got["upcall"], False)
    assert got.get("start_errno", 0) > 0, got


def table():
    """The table has a line a vcore, and all that the object has."""
    done = upcall("run", "--stats", "--vcores", "1", "--", PROG, "work", "20", "20")
    for part in ("exit status 0 after ", "processor time", "vcore", "all", "uthreads         21 made",
                 "notifications", "blocked ", "unblocked", "activations", "events", " lost"):
        assert part in done.stderr, (part, done.stderr)
    rows = done.stderr.splitlines()
    head = next(i for i, row in enumerate(rows) if row.split()[:1] == ["vcore"])
    same(len(rows[head]), len(rows[head + 1]), "aligned")
    same(len(rows[head]), len(rows[head + 2]), "aligned")


def streams():
    """The program's output is its own; numbers go to stderr, or to the file named."""
    done = subprocess.run([UPCALL, "run", "--json", "--", "sh", "-c", "echo out"], text=True,
                          capture_output=True, timeout=PATIENCE)
    same(done.stdout, "out\n")
    same(json.loads(done.stderr)["command"], ["sh", "-c", "echo out"])
    got = stats(program=["sh", "-c", 'exit "$#"', "a\"b", "c\\d", "\u00e9"], status=2)
    same(got["command"][3:], ["a\"b", "c\\d", "\u00e9"])


main([stopped, crowd, left, died, busy, idle, lost_cores, stranger, refused, table, streams])
