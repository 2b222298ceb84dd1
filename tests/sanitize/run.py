#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds a tree with a sanitizer and runs programs in it: what is right is left alone, what is wrong is
found.

run.py ROOT FOLDER SANITIZER... [--times N]
"""
import argparse
import os
import platform
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import tap
from tap import ok
tap.keep = slice(60)

# sanitizer: (meson's name, its variable, options, what its reports say, {what is wrong: what it says})
KINDS = {
    "asan": ("address", "ASAN_OPTIONS", "detect_stack_use_after_return=1", "AddressSanitizer",
             {"after-return": "stack-use-after-return", "after-free": "heap-use-after-free"}),
    "tsan": ("thread", "TSAN_OPTIONS", "suppressions={root}/tools/sanitize/tsan.supp",
             "ThreadSanitizer", {"race": "data race"}),
    "ubsan": ("undefined", "UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1", "runtime error:",
              {"overflow": "signed integer overflow"}),
}
CLEAN = "tests/sanitize/san_clean"
WRONG = "tests/sanitize/san_wrong"
PARALLEL = "examples/parallel"
# Threads that share the boundary's words, under the sanitizer themselves.
KERN = "tests/sanitize/san_kern"

def run(line, env=None, cwd=None, limit=1500):
    try:
        done = subprocess.run(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace",
                              env={**os.environ, **(env or {})}, cwd=cwd, timeout=limit)
    except subprocess.TimeoutExpired as late:
        return 124, f"{late.output or ''}\nnot over within {limit} s"
    return done.returncode, done.stdout


def run_program(line, env, where):
    """A layout that a sanitizer cannot live with is not the program's fault: without randomness then."""
    code, text = run(line, env, where, 300)
    if "unexpected memory mapping" in text and shutil.which("setarch"):
        code, text = run(["setarch", platform.machine(), "-R", *line], env, where, 300)
    return code, text


def build(root, where, kind):
    if not os.path.exists(os.path.join(where, "build.ninja")):
        code, text = run(["meson", "setup", where, root, "-Db_sanitize=" + KINDS[kind][0],
                          "-Db_lundef=false"])
        if code:
            return code, text
    return run(["ninja", "-C", where, "-j2", CLEAN, WRONG, PARALLEL, KERN])


def sanitized(root, top, kind, times):
    _, variable, options, says, wrongs = KINDS[kind]
    where = os.path.join(top, "san-" + kind)
    code, text = build(root, where, kind)
    ok(code == 0, f"{kind}: it builds", "\n".join(text.splitlines()[-40:]))
    if code:
        return
    env = {variable: options.format(root=root)}
    for line in ([CLEAN, str(times)], [PARALLEL, "2"], [KERN, str(times)]):
        code, text = run_program(line, env, where)
        ok(code == 0 and says not in text, f"{kind}: {line[0]} runs clean", text)
    for name, word in wrongs.items():
        code, text = run_program([WRONG, name], env, where)
        ok(code != 0 and says in text and word in text, f"{kind}: {name} is found", text)
        ok(re.search(r"wrong\.c", text), f"{kind}: and where", text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("folder")
    parser.add_argument("kinds", nargs="+", choices=sorted(KINDS))
    parser.add_argument("--times", type=int, default=1)
    args = parser.parse_args()
    for kind in args.kinds:
        sanitized(os.path.abspath(args.root), os.path.abspath(args.folder), kind, args.times)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
