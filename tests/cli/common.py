# SPDX-License-Identifier: MIT
"""What the tests of the command share: running it, and printing TAP. Each point is a function; one
that raises fails, Skip says why it cannot be made here."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback

# Whoever started us in the background has them ignored, which the programs would inherit.
for sig in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(sig, signal.SIG_DFL)

UPCALL, PROG = sys.argv[1], sys.argv[2]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATIENCE = 60
TEMP = tempfile.TemporaryDirectory()

USAGE, UNAVAILABLE, FAILED, CANNOT_EXEC, NOT_FOUND = 64, 69, 125, 126, 127


class Skip(Exception):
    pass


def upcall(*args, **more):
    """The command, run to its end."""
    env = dict(os.environ, **more.pop("env", {}))
    return subprocess.run([UPCALL, *args], capture_output=True, text=True, timeout=PATIENCE, env=env,
                          **more)


def temp(name):
    return os.path.join(TEMP.name, name)


def stats(*args, program=(), status=0, **more):
    """The object that `upcall run --json` gives of a program, by way of a file."""
    out = temp("stats.json")
    if os.path.exists(out):
        os.unlink(out)
    done = upcall("run", "--json", "--output", out, *args, "--", *program, **more)
    same(done.returncode, status, done.stderr)
    with open(out, encoding="utf-8") as f:
        return json.load(f)


def same(got, want, *note):
    assert got == want, f"{got!r}, not {want!r} {' '.join(map(str, note))}"


def holds(text, part):
    assert part in text, f"{part!r} is not in {text!r}"


def one_line(text):
    assert text.count("\n") == 1 and text.endswith("\n"), f"not one line: {text!r}"


def cpus():
    return len(os.sched_getaffinity(0))


def main(points):
    first = bool(os.environ.get("UP_FIRST_FAILURE"))
    bad = 0
    print(f"1..{len(points)}")
    for nr, point in enumerate(points, 1):
        name = (point.__doc__ or point.__name__).split("\n")[0].rstrip(".")
        try:
            point()
            print(f"ok {nr} - {name}")
        except Skip as why:
            print(f"ok {nr} - {name} # SKIP {why}")
        except Exception:  # whatever it is, it is a failure of this point
            bad += 1
            print(f"not ok {nr} - {name}")
            print("\n".join("# " + line for line in traceback.format_exc().splitlines()))
        sys.stdout.flush()
        if bad and first:
            break
    sys.exit(1 if bad else 0)
