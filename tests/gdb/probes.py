#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The library's probes are those of docs/probes.md, each one instruction that does nothing, and a
tracer that looks finds what the page says.

probes.py LIBRARY PROGRAM PAGE yes|no
"""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import tap
from tap import ok, skip

LIBRARY, PROGRAM, PAGE = map(os.path.abspath, sys.argv[1:4])
BUILT = sys.argv[4] == "yes"
NOP = 0x90


def run(*line):
    return subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", timeout=100).stdout


def documented():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", open(PAGE, encoding="utf-8").read(), re.M)
    return {name: len(re.sub(r"\(.*?\)", "", args).split(",")) for name, args in rows}


def noted():
    """name: ([addresses], number of arguments) out of the library's notes."""
    found = {}
    for provider, name, at, args in re.findall(
            r"Provider: (\w+)\s+Name: (\w+)\s+Location: (0x[0-9a-f]+).*?Arguments:([^\n]*)",
            run("readelf", "-nW", LIBRARY), re.S):
        if provider == "upcall":
            found.setdefault(name, ([], set()))
            found[name][0].append(int(at, 16))
            found[name][1].add(len(args.split()))
    return found


def loads():
    return [tuple(int(x, 16) for x in row) for row in re.findall(
        r"LOAD +(0x[0-9a-f]+) (0x[0-9a-f]+) 0x[0-9a-f]+ (0x[0-9a-f]+)",
        run("readelf", "-lW", LIBRARY))]


def byte_at(address):
    for offset, at, size in loads():
        if at <= address < at + size:
            with open(LIBRARY, "rb") as f:
                f.seek(offset + address - at)
                return f.read(1)[0]
    return None


def listed():
    page, notes = documented(), noted()
    ok(page and set(page) == set(notes), "the page lists the probes that there are, and no other",
       f"page only: {set(page) - set(notes)}, library only: {set(notes) - set(page)}")
    for name, (addresses, numbers) in sorted(notes.items()):
        ok(numbers == {page.get(name)}, f"{name} has {page.get(name)} arguments", numbers)
        ok(all(byte_at(at) == NOP for at in addresses), f"{name} is one nop", addresses)


def traced():
    text = run("gdb", "-nx", "-batch", "-ex", "set breakpoint pending on",
               "-ex", "handle SIGURG nostop noprint pass",
               "-ex", "break -probe-stap upcall:uthread__create", "-ex", "run",
               "-ex", r'printf "made %d %s\n", $_probe_arg0, (char *)$_probe_arg2',
               "-ex", "delete", "-ex", "break -probe-stap upcall:uthread__switch", "-ex", "continue",
               "-ex", r'printf "on vcore %d\n", $_probe_arg1',
               "-ex", "delete", "-ex", "break -probe-stap upcall:uthread__blocked",
               "-ex", "continue", "-ex", r'printf "class %d\n", $_probe_arg1',
               "-ex", "kill", PROGRAM)
    if "Breakpoint 1," not in text:
        skip("a tracer is told", "gdb cannot trace here")
        return
    ok("made 1 reader" in text, "a tracer is told of a new uthread, its number and name", text)
    ok("on vcore 0" in text, "and of a switch and its vcore", text)
    ok(re.search(r"class [0-3]$", text, re.M), "and of a block and its class", text)


def main():
    if not BUILT:
        print("1..0 # SKIP built without sys/sdt.h")
        return 0
    if not shutil.which("readelf"):
        print("1..0 # SKIP readelf is not installed")
        return 0
    listed()
    if shutil.which("gdb"):
        traced()
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
