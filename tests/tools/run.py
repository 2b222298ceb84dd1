#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/run.sh: every contender, every round, one table; and one line where it cannot be. Called with
the build folder."""
import os
import stat
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(sys.argv[1])


def run(top, **env):
    """On a tree; the caches stay, whoever we are, unless a point says what to write to."""
    return subprocess.run(["sh", os.path.join(ROOT, "tools/run.sh")], capture_output=True, text=True,
                          timeout=200, env={"PATH": os.environ["PATH"], "BUILD": BUILD, "DIR": top,
                                            "ROUNDS": "1", "DROP": "/nothing/there", **env})


def make_tree(top):
    os.chmod(top, 0o755)
    for d in range(10):
        os.mkdir(os.path.join(top, f"d {d}"))
        for f in range(30):
            with open(os.path.join(top, f"d {d}", f"f\n{f}"), "w", encoding="ascii") as out:
                out.write(str(d * f) * 100)


def stand_in(where, name, text):
    """A program of that name in a build folder of links to the real one's."""
    path = os.path.join(where, name)
    os.unlink(path)
    with open(path, "w", encoding="ascii") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def build_of_links(where):
    os.mkdir(os.path.join(where, "examples"))
    for name in ("upcall", "examples/treesum", "examples/treesum-pthread"):
        os.symlink(os.path.join(BUILD, name), os.path.join(where, name))


def refused(done, why):
    """It fails, and says why in one line, which is the last."""
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("run: ") and \
        why in done.stderr.splitlines()[-1], done


def whole(top, _):
    done = run(top, ROUNDS="3")
    assert done.returncode == 0, done
    for part in ("SKIP cold: /nothing/there: No such file", "treesum, a uthread a file",
                 "pthread pool, ", "xargs -n 200 -P ", "warm, median of 3", "uthreads ",
                 "All printed the same 300 sums.", "activations "):
        assert part in done.stdout, done
    for part in ("warm 1 of 3: treesum", "warm 3 of 3: xargs", "warm 2 of 3: pthread"):
        assert part in done.stderr, done
    assert "cold" not in done.stderr and "cold, median" not in done.stdout, done


def cold(top, where):
    """The page cache is dropped before each, by the word that drops all of it."""
    drop = os.path.join(where, "drop")
    with open(drop, "w", encoding="ascii"):
        pass
    done = run(top, DROP=drop)
    assert done.returncode == 0 and "SKIP" not in done.stdout and "cold, median" in done.stdout, done
    assert done.stderr.count("cold 1 of 1: ") == 3, done
    with open(drop, encoding="ascii") as f:
        assert f.read() == "3"


def bad_settings(top, _):
    refused(run(os.path.join(top, "nothing")), "DIR")
    for rounds in ("0", "x", "-1", "", "9999"):
        refused(run(top, ROUNDS=rounds), "ROUNDS")


def not_built(top, where):
    build_of_links(where)
    os.unlink(os.path.join(where, "examples/treesum"))
    refused(run(top, BUILD=where), "has not been built")


def other_sums(top, where):
    build_of_links(where)
    stand_in(where, "examples/treesum-pthread", f'{BUILD}/examples/treesum "$3" | sed 1s/./0/\n')
    refused(run(top, BUILD=where), "other sums")


def contender_fails(top, where):
    build_of_links(where)
    stand_in(where, "examples/treesum-pthread", "echo it is tired >&2\nexit 3\n")
    done = run(top, BUILD=where)
    refused(done, "ended with 3: it is tired")


POINTS = [whole, cold, bad_settings, not_built, other_sums, contender_fails]


def main():
    failed = 0
    print(f"1..{len(POINTS)}")
    for nr, point in enumerate(POINTS, 1):
        words = point.__name__.replace("_", " ")
        with tempfile.TemporaryDirectory() as top, tempfile.TemporaryDirectory() as where:
            make_tree(top)
            try:
                point(top, where)
                print(f"ok {nr} - {words}", flush=True)
            except Exception as e: # TAP says what it was
                failed += 1
                print(f"not ok {nr} - {words}: {str(e)!r:.900}", flush=True)
    return failed != 0


sys.exit(main())
