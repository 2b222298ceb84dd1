#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/summary.py counts points, not programs, and never calls a crash or an empty run a success."""
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TAP3 = "1..3\nok 1 - a\nok 2 - b\nok 3 - c\n"

# (what, Meson's exit status, [(result, stdout)], exit status, last line)
CASES = [
    ("points are counted", 0, [("OK", TAP3), ("OK", "")], 0, "4 passed, 0 failed"),
    ("a failed point", 1, [("FAIL", "1..3\nok 1 - a\nnot ok 2 - b\nok 3 - c\n")], 1,
     "2 passed, 1 failed"),
    ("a program without TAP", 1, [("FAIL", "some words\n"), ("OK", "ok so far\n")], 1,
     "1 passed, 1 failed"),
    ("a crash after good points", 1, [("ERROR", "1..3\nok 1 - a\nok 2 - b\n")], 1,
     "2 passed, 1 failed"),
    ("a time-out after all points", 1, [("TIMEOUT", TAP3)], 1, "3 passed, 1 failed"),
    ("too few points, whatever Meson says", 0, [("OK", "1..3\nok 1 - a\n")], 1,
     "1 passed, 1 failed"),
    ("a skipped point is neither", 0, [("OK", "1..2\nok 1 - a\nok 2 - b # SKIP no such CPU\n")], 0,
     "1 skipped\n1 passed, 0 failed"),
    ("a skipped program", 0, [("SKIP", ""), ("OK", TAP3)], 0, "1 skipped\n3 passed, 0 failed"),
    ("nothing but skips is no success", 0, [("SKIP", "")], 1, "1 skipped\n0 passed, 0 failed"),
    ("no log", 0, None, 1, "0 passed, 0 failed"),
    ("no log, and Meson failed", 2, None, 1, "0 passed, 1 failed"),
    ("Meson failed, and nothing in the log says why", 1, [("OK", TAP3)], 1, "3 passed, 1 failed"),
]


def run(where, status, tests):
    log, out = os.path.join(where, "log.json"), os.path.join(where, "out.txt")
    if tests is None:
        if os.path.exists(log):
            os.unlink(log)
    else:
        with open(log, "w", encoding="utf-8") as f:
            for result, stdout in tests:
                print(json.dumps({"name": "t", "result": result, "stdout": stdout}), file=f)
    done = subprocess.run([sys.executable, os.path.join(ROOT, "tools/summary.py"), log,
                           str(status), out], capture_output=True, text=True)
    with open(out, encoding="utf-8") as f:
        return done.returncode, f.read().strip(), done.stdout


def main():
    bad = 0
    print(f"1..{len(CASES)}")
    with tempfile.TemporaryDirectory() as where:
        for nr, (what, status, tests, exits, line) in enumerate(CASES, 1):
            *got, said = run(where, status, tests)
            failing = [r for r, out in tests or [] if "not ok" in out]
            good = got == [exits, line] and said.strip().endswith(line) and all("not ok 2 - b" in said for _ in failing)
            bad += not good
            print(f"{'' if good else 'not '}ok {nr} - {what}")
            if not good:
                print(f"# got {got}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
