#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""again.py BUILD LOG SETUP: runs the tests that failed once more, alone, and puts what they gave into LOG.

Only when at most four failed: beside a busy machine a thread of lowest priority may hold a test up. Each
is named with both results, so that nobody takes it for a test that never fails. Exit 0 when none fails
the second time."""
import json
import subprocess
import sys

build, log, setup = sys.argv[1:4]
first = [json.loads(line) for line in open(log, encoding="utf-8")]
GOOD = ("OK", "SKIP", "EXPECTEDFAIL")
failed = [t for t in first if t["result"] not in GOOD]
if not failed or len(failed) > 4:
    sys.exit(1 if failed else 0)
names = [t["name"].split(" / ")[-1].strip() for t in failed]
subprocess.run(["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs", "--setup", setup,
                "--logbase", "again", "--num-processes", "1", *names], check=False)
second = {}
for line in open(f"{build}/meson-logs/again-{setup}.json", encoding="utf-8"):
    test = json.loads(line)
    second[test["name"]] = test
for test in failed:
    print(f"again: {test['name']}: first {test['result']}, then {second[test['name']]['result']}")
with open(log, "w", encoding="utf-8") as out:
    for test in first:
        out.write(json.dumps(second.get(test["name"], test)) + "\n")
sys.exit(any(t["result"] not in GOOD for t in second.values()))
