#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`upcall run`: every option and what it does, values that make no sense, and exit statuses."""
import json
import os
import signal
import subprocess

from common import (CANNOT_EXEC, FAILED, NOT_FOUND, PROG, UPCALL, USAGE, Skip, cpus, holds, main,
                    one_line, same, stats, temp, upcall)


def statuses():
    """The exit status is the program's."""
    for status in (0, 1, 5, 64, 125, 255):
        same(upcall("run", "--", PROG, "exit", str(status)).returncode, status)
    same(upcall("run", PROG, "exit", "3").returncode, 3)  # no -- needed
    same(upcall("run", "sh", "-c", "exit 4").returncode, 4)


def killed():
    """A program that a signal killed is seen as such."""
    for sig in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGINT, signal.SIGUSR1):
        same(upcall("run", "--", "sh", "-c", f"kill -{int(sig)} $$").returncode, -sig)
    # As a shell tells it: 128 and the signal's number.
    done = subprocess.run(["sh", "-c", f"{UPCALL} run -- sh -c 'kill -TERM $$'; echo $?"],
                          capture_output=True, text=True, timeout=60)
    same(done.stdout, f"{128 + signal.SIGTERM}\n")


def not_there():
    """127 and 126, and one line that says which program."""
    done = upcall("run", "--", "/nonexistent/program")
    same(done.returncode, NOT_FOUND)
    one_line(done.stderr)
    holds(done.stderr, "/nonexistent/program")
    same(upcall("run", "no-such-program-anywhere").returncode, NOT_FOUND)
    path = temp("not-executable")
    with open(path, "w", encoding="utf-8") as f:
        f.write("text\n")
    done = upcall("run", "--", path)
    same(done.returncode, CANNOT_EXEC if os.geteuid() or not os.access(path, os.X_OK) else 0)
    one_line(done.stderr)
    same(upcall("run", "--", "/").returncode, CANNOT_EXEC)


def misuse():
    """Bad options and values: one line with a hint, 64, and nothing is run."""
    marker = temp("was-run")
    for args in (["--vcores", "x"], ["--vcores", "0"], ["--vcores", "-1"], ["--vcores", "1.5"],
                 ["--vcores", "16385"], ["--vcores="], ["-n", "99999999999999999999"],
                 ["--slice", "5"], ["--slice", "1us"], ["--slice", "fast"], ["--slice", "-1ms"],
                 ["--slice", "2000s"], ["--grace", "0ms"], ["--grace", "1"], ["--max-acts", "0"],
                 ["--max-acts", "8388608"], ["--stack", "1"], ["--stack", "64k"],
                 ["--stack", "99999999G"], ["--trace-buffer", "1K"], ["--trace-buffer", "8G"],
                 ["--trace", ""], ["--output", ""], ["--bogus"], ["-q"], ["--json=1"],
                 ["--no-slice=1"]):
        done = upcall("run", *args, "--", "touch", marker)
        same(done.returncode, USAGE, args, done.stderr)
        one_line(done.stderr)
        holds(done.stderr, "upcall help run")
        same(done.stdout, "")
        assert not os.path.exists(marker), args
    for args in (["run"], ["run", "--"], ["run", "--vcores"], ["run", "--stats", "--trace"]):
        done = upcall(*args)
        same(done.returncode, USAGE, args)
        one_line(done.stderr)


def vcores():
    """--vcores: an Upcall program asks for so many, any other gets so many CPUs."""
    got = stats("--vcores", "1", program=[PROG, "work", "4", "10"])
    same(got["vcores_wanted"], 1)
    same(got["upcall"], True)
    assert len(got["vcores"]) == 1, got["vcores"]
    done = upcall("run", "-n", "1", "--", PROG, "environment")
    same(json.loads(done.stdout)["cpus"], 1)
    # More than there are: all there are.
    done = upcall("run", "--vcores", "1000", "--", PROG, "environment")
    same(json.loads(done.stdout)["cpus"], cpus())
    same(stats("--vcores", "3", program=[PROG, "work", "4", "10"])["vcores_wanted"], 3)


def affinity_back():
    """An Upcall program is not confined to the CPUs that it began on."""
    if cpus() < 2:
        raise Skip("one CPU alone")
    done = upcall("run", "--vcores", "1", "--", PROG, "options")
    same(done.returncode, 0, done.stderr)
    same(json.loads(done.stdout)["cpus"], cpus())
    # One that has chosen its CPUs itself keeps them.
    second = sorted(os.sched_getaffinity(0))[1]
    done = upcall("run", "--vcores", "1", "--", "taskset", "-c", str(second), PROG, "options")
    same(json.loads(done.stdout)["cpus"], 1, done.stderr)


def slices():
    """--slice and --no-slice."""
    same(stats("--slice", "2ms", program=[PROG, "work", "1", "1"])["slice_ns"], 2000000)
    same(stats("--slice=500us", program=[PROG, "work", "1", "1"])["slice_ns"], 500000)
    same(stats("--no-slice", program=[PROG, "work", "1", "1"])["slice_ns"], 0)
    # The later word counts.
    same(stats("--no-slice", "--slice", "3ms", program=[PROG, "exit-early"])["slice_ns"], 3000000)
    same(stats("--slice", "3ms", "--no-slice", program=[PROG, "exit-early"])["slice_ns"], 0)
    # ... over the environment's.
    same(stats("--slice", "3ms", program=[PROG, "exit-early"],
               env={"UPCALL_NO_SLICE": "1"})["slice_ns"], 3000000)
    same(stats("--no-slice", program=[PROG, "exit-early"],
               env={"UPCALL_SLICE": "1ms"})["slice_ns"], 0)
    busy = stats("-n1", "--slice", "1ms", program=[PROG, "busy", "200"])
    assert busy["notifications"] > 20, busy["notifications"]


def tls():
    """--shared-tls."""
    same(stats("--shared-tls", program=[PROG, "exit-early"])["own_tls"], False)
    same(stats(program=[PROG, "exit-early"])["own_tls"], True)


def stack():
    """--stack."""
    done = upcall("run", "--stack", "1M", "--", PROG, "options")
    size = json.loads(done.stdout)["stack"]
    assert 900 << 10 < size <= 1 << 20, size
    done = upcall("run", "--stack", "65536", "--", PROG, "options")
    size = json.loads(done.stdout)["stack"]
    assert 32 << 10 < size <= 1 << 16, size


def activations():
    """--max-acts bounds kernel threads, and --grace is taken."""
    got = stats("--max-acts", "3", program=[PROG, "work", "10", "10"])
    assert 1 <= got["activations_peak"] <= 3, got["activations_peak"]
    assert stats(program=[PROG, "work", "10", "10"])["activations_peak"] > 1
    same(upcall("run", "--grace", "5ms", "--", PROG, "work", "1", "1").returncode, 0)


def environment():
    """The page does not reach children; a program that is none of ours is handed it harmlessly."""
    done = upcall("run", "--stats", "--json", "--", PROG, "family")
    same(done.returncode, 0, done.stderr)
    same(json.loads(done.stdout), {"variable": False, "descriptors": 0, "cpus": cpus()})
    got = json.loads(done.stderr)
    same(got["uthreads"], 11)
    same(got["others_not_counted"], 0)
    same(got["runtime_pid"], got["pid"])
    # Without anything to tell there is no page.
    done = upcall("run", "--", PROG, "environment")
    same(json.loads(done.stdout), {"variable": False, "descriptors": 0, "cpus": cpus()})


def shells():
    """A program that a shell starts is the one that is counted; a second is not."""
    got = stats(program=["sh", "-c", f"{PROG} work 7 3; {PROG} work 2 2; true"])
    same(got["uthreads"], 8)
    same(got["others_not_counted"], 1)
    assert got["runtime_pid"] != got["pid"]


def nested():
    """A run within a run has a page of its own."""
    inner = temp("inner.json")
    got = stats(program=[UPCALL, "run", "--json",
                         "-o", inner, "--", PROG, "work", "5", "1"])
    same(got["upcall"], False)
    with open(inner, encoding="utf-8") as f:
        same(json.load(f)["uthreads"], 6)


def files():
    """Files that cannot be written are said before anything runs: 125."""
    marker = temp("was-run-2")
    for option in ("--trace", "--output"):
        done = upcall("run", option, "/nonexistent/file", "--", "touch", marker)
        same(done.returncode, FAILED)
        one_line(done.stderr)
        holds(done.stderr, "/nonexistent/file")
        assert not os.path.exists(marker)
    if os.path.exists("/dev/full"):
        done = upcall("run", "--stats", "--output", "/dev/full", "--", "true")
        same(done.returncode, FAILED, done.stderr)
        done = upcall("run", "--trace", "/dev/full", "--", PROG, "work", "10", "100")
        same(done.returncode, FAILED, done.stderr)
        # The program's own failure is worth more than ours.
        same(upcall("run", "--stats", "-o", "/dev/full", "--", PROG, "exit", "7").returncode, 7)


def words():
    """The command's own words: help, an unknown command, nothing at all."""
    for args in (["--help"], ["-h"], ["help"], ["help", "run"], ["run", "--help"], ["run", "-h"],
                 ["doctor", "--help"], ["version", "--help"], ["help", "help"], ["help", "doctor"]):
        done = upcall(*args)
        same(done.returncode, 0, args)
        holds(done.stdout, "Usage: upcall")
        same(done.stderr, "")
    same(upcall("help", "run").stdout, upcall("run", "--help").stdout)
    for args in (["bogus"], [], ["--bogus"], ["help", "bogus"], ["help", "run", "x"], [""],
                 ["version", "x"], ["version", "--x"], ["doctor", "x"], ["doctor", "--x"],
                 ["help", "--x"]):
        done = upcall(*args)
        same(done.returncode, USAGE, args)
        one_line(done.stderr)
        holds(done.stderr, "see: upcall")


def version():
    """`upcall version` in words and as an object."""
    done = upcall("version", "--json")
    same(done.returncode, 0)
    got = json.loads(done.stdout)
    with open(os.path.join(os.path.dirname(__file__), "../../include/upcall/version.h"),
              encoding="utf-8") as f:
        want = ".".join(line.split()[2] for line in f if line.startswith("#define UPCALL_VERSION_")
                        and len(line.split()) == 3)
    same(got["version"], want)
    assert got["abi"] >= 3 and got["built_with"]["compiler"] and got["built_with"]["glibc"]
    holds(upcall("version").stdout, want)
    same(upcall("--version").stdout, upcall("version").stdout)
    same(upcall("-V").stdout, upcall("version").stdout)


main([statuses, killed, not_there, misuse, vcores, affinity_back, slices, tls, stack, activations,
      environment, shells, nested, files, words, version])
