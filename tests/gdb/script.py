#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/gdb/upcall-gdb.py: every uthread is listed with what it does, and its backtrace is its own, in
a live process, in a core that gdb has written, and in one of Linux' own.

script.py PROGRAM SCRIPT
"""
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import tap
from tap import ok, skip

PROGRAM, SCRIPT = map(os.path.abspath, sys.argv[1:3])
# name: (states that it may be in, a function of the program's on its stack, what it waits for).
# gdb stops threads one by one: the runner is taken for one that is in a fault before the others stand,
# and another one goes on in its place. Linux' core is of one moment.
MOVED = {"in-kernel", "running", "ready", "preempted"}
EXPECTED = {
    "main": ({"aside"}, "seen_main_joins", r"the end of uthread 6|join"),
    "reader": ({"in-kernel"}, "seen_reading", r"in a call"),
    "blocker": ({"waiting"}, "seen_blocking", r"upcall_wake\(\), told by told"),
    "joiner": ({"aside"}, "seen_joining", r"the end of uthread 1|join"),
    "yielder": ({"ready", "preempted"}, "seen_yielding", ""),
    "beside": ({"preempted"}, "seen_spinning_beside", ""),
    "runner": ({"running"}, "seen_running", ""),
}
OTHERS = {name: what[1] for name, what in EXPECTED.items()}

def gdb(*commands, args=()):
    line = ["gdb", "-nx", "-batch", "-x", SCRIPT]
    for command in commands:
        line += ["-ex", command]
    done = subprocess.run(line + list(args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", timeout=200)
    return done.stdout


def listed(text):
    """name: (state, waits for) out of `upcall uthreads`."""
    table = text.partition("waits for\n")[2].partition("\nuthread ")[0]
    rows = re.findall(r"^ +\d+ {2}(\w+) +([\w-]+) +(?:\d+|-) +(?:\d+|-) *(.*)$", table, re.M)
    return {name: (state, waits) for name, state, waits in rows}


def backtraces(text):
    text = text.partition("\nvcore  state")[0]
    parts = re.split(r'^uthread \d+ "(\w+)" \([\w-]+\)$', text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def look(text, where, exact):
    rows, traces = listed(text), backtraces(text)
    ok(set(rows) == set(EXPECTED), f"{where}: all uthreads are listed, and no other", text)
    for name, (states, function, waits) in EXPECTED.items():
        state, waiting = rows.get(name, ("", ""))
        moved = not exact and states & MOVED and state in MOVED
        ok(moved or (state in states and re.match(waits, waiting)),
           f"{where}: {name} is {state}", text)
        trace = traces.get(name, "")
        ok(function in trace and not any(f in trace for n, f in OTHERS.items() if n != name),
           f"{where}: its backtrace is its own", trace or text)
    ok(re.search(r"^ +0  online ", text, re.M), f"{where}: its vcore is listed as online", text)


LOOK = ("upcall uthreads", "upcall bt all", "upcall vcores")


def live_and_gcore(where):
    # A uthread that goes on on another thread meets its breakpoint once more: it is deleted first.
    core = os.path.join(where, "gcore")
    text = gdb("break seen_ready", "run", *LOOK, "upcall bt 2", "upcall apply 2 print fn",
               "upcall bt 77", "upcall bt", "upcall gcore " + core, "delete", "break seen_over",
               "continue", "kill", args=[PROGRAM])
    look(text, "live", False)
    ok(re.search(r"\$1 = .*<told>", text), "a command is applied in a uthread's own frame", text)
    ok("there is no uthread 77" in text,
       "one that does not exist is refused", text)
    ok("usage: upcall bt" in text, "a missing argument is, too", text)
    ok("SIGURG" not in text, "the notification signal passes quietly", text)
    ok(", seen_over ()" in text, "the program goes on after all these looks", text)
    ok(not re.search(r"Python Exception|Traceback", text), "the script has no error of its own", text)
    look(gdb(*LOOK, args=[PROGRAM, core]), "gdb's core", False)


def another_signal():
    number = str(int(signal.SIGRTMIN) + 4)
    text = gdb("break seen_ready", "run " + number, "upcall uthreads", "delete", "break seen_over",
               "continue", "kill", args=[PROGRAM])
    ok(", seen_over ()" in text and "received signal" not in text,
       f"another signal ({number}) passes quietly as well", text)


def linux_core(where):
    pattern = open("/proc/sys/kernel/core_pattern", encoding="ascii").read().strip()
    what = "Linux' core"
    if "/" in pattern or pattern.startswith("|") or "%" in pattern:
        return skip(what, f"cores go to {pattern}")

    def unlimited():
        os.chdir(where)
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    done = subprocess.run([PROGRAM, "0", "abort"], stdin=subprocess.DEVNULL, preexec_fn=unlimited,
                          timeout=100, check=False)
    cores = [f for f in os.listdir(where) if f.startswith("core")]
    if not cores:
        return skip(what, f"none was written (the program ended with {done.returncode})")
    return look(gdb(*LOOK, args=[PROGRAM, os.path.join(where, cores[0])]), what, True)


def not_started():
    text = gdb("upcall uthreads", "break main", "run", "upcall uthreads", "kill", args=[PROGRAM])
    ok("no debugging information of libupcall" in text or "not been started" in text,
       "before the start it says so", text)


def main():
    if not shutil.which("gdb"):
        print("1..0 # SKIP gdb is not installed")
        return 0
    probe = gdb("starti", "kill", args=[PROGRAM])
    if "Program stopped" not in probe:
        print("1..0 # SKIP gdb may not trace here: " + probe.strip().replace("\n", " ")[-200:])
        return 0
    with tempfile.TemporaryDirectory() as where:
        live_and_gcore(where)
        another_signal()
        linux_core(where)
        not_started()
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
