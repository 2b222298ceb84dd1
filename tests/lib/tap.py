# SPDX-License-Identifier: MIT
"""TAP for tests that are a script: ok() and skip() make a point each, end() prints the plan."""

made = failed = 0
keep = slice(-80, None)  # of what is said more of a point that failed, these lines


def ok(good, what, more=""):
    global made, failed
    made += 1
    failed += not good
    print(("" if good else "not ") + f"ok {made} - {what}", flush=True)
    if not good:
        for line in str(more).splitlines()[keep]:
            print("# " + line)


def skip(what, why):
    global made
    made += 1
    print(f"ok {made} - {what} # SKIP {why}")


def end():
    """The exit status."""
    print(f"1..{made}")
    return failed > 0
