#!/usr/bin/env python3
"""Counts test points in a Meson test log and prints `N skipped`, if any, then `N passed, N failed`.

A program that prints TAP counts once a point; any other counts once. A TAP program that ended badly
without a failed point (a crash, a time-out, too few points) counts as one failure more.
"""
import json
import re
import sys

POINT = re.compile(r"^(not )?ok\b(.*)$")
PLAN = re.compile(r"^1\.\.(\d+)")
LINES_SHOWN = 40
DIRECTIVE = re.compile(r"#\s*(skip|todo)", re.IGNORECASE)


def count_tap(text):
    """(passed, failed, skipped, planned) of one program's output; planned None without a plan."""
    passed = failed = skipped = 0
    planned = None
    for line in text.splitlines():
        plan = PLAN.match(line)
        if plan:
            planned = (planned or 0) + int(plan.group(1))
        point = POINT.match(line)
        if not point:
            continue
        directive = DIRECTIVE.search(point.group(2))
        if directive:
            skipped += 1
        elif point.group(1):
            failed += 1
        else:
            passed += 1
    return passed, failed, skipped, planned


def count(test):
    """(passed, failed, skipped) of one entry of the log."""
    passed, failed, skipped, planned = count_tap(test.get("stdout", ""))
    result = test["result"]
    good = result in ("OK", "EXPECTEDFAIL")
    if planned is None or passed + failed + skipped == 0:
        if result == "SKIP":
            return 0, 0, 1
        return (1, 0, 0) if good else (0, 1, 0)
    if planned != passed + failed + skipped:
        good = False
    if result not in ("SKIP",) and not good and failed == 0:
        failed = 1
    return passed, failed, skipped


def show(test):
    """What a failed test said of its failed points: Meson shows only stderr of those that print TAP."""
    lines = test.get("stdout", "").splitlines()
    shown = []
    for nr, line in enumerate(lines):
        if not line.startswith("not ok"):
            continue
        begin = end = nr
        while begin > 0 and lines[begin - 1].startswith("#") and nr - begin < LINES_SHOWN:
            begin -= 1
        while end + 1 < len(lines) and lines[end + 1].startswith("#") and end - nr < LINES_SHOWN:
            end += 1
        shown += lines[begin:end + 1]
    print(f"failed: {test.get('name')} ({test['result']})", *shown, sep="\n    ")


def main(log, status, out):
    totals = [0, 0, 0]
    try:
        with open(log, encoding="utf-8") as f:
            for line in f:
                test = json.loads(line)
                counted = count(test)
                if counted[1]:
                    show(test)
                totals = [a + b for a, b in zip(totals, counted)]
    except FileNotFoundError:
        print("check: no test ran", file=sys.stderr)
    passed, failed, skipped = totals
    # Meson said no, and we found nothing: believe it.
    if int(status) != 0 and failed == 0:
        failed = 1
    text = (f"{skipped} skipped\n" if skipped else "") + f"{passed} passed, {failed} failed"
    with open(out, "w", encoding="utf-8") as f:
        print(text, file=f)
    print(text)
    return 0 if passed > 0 and failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
