#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`upcall doctor`: says of each mechanism whether it is there, what it costs and how to get it; and by its
exit status whether upcall can run here."""
import json
import resource
import subprocess

from common import PATIENCE, UNAVAILABLE, UPCALL, main, same, upcall

MECHANISMS = ["runtime", "uthreads", "announced-calls", "watcher", "rseq-home", "fsgsbase", "rseq",
              "futex", "timer-signal", "short-slice", "proc-syscall", "guard-pages", "populate",
              "io_uring", "userfaultfd", "bpf", "sched_ext", "perf", "cpus", "cpu-quota",
              "limit-threads", "limit-files", "limit-locked", "limit-nice", "huge-pages"]


def look(**more):
    done = upcall("doctor", "--json", **more)
    same(done.stderr, "")
    return done.returncode, json.loads(done.stdout)


def complete():
    """Every mechanism, each with all that is to be said of it."""
    status, got = look()
    same(status, 0)
    same(got["can_run"], True)
    same([m["name"] for m in got["mechanisms"]], MECHANISMS)
    for m in got["mechanisms"]:
        assert m["gives"] and m["how_to_get"] and m["state"] in ("yes", "no", "limited"), m
        same(m["present"], m["state"] != "no")
        if m["cost_ns"] is not None:
            assert m["cost_ns"] >= 0 and m["cost_of"], m
    for m in got["mechanisms"]:
        if m["needed"]:
            assert m["present"], m


def measured():
    """What is there and does something has been measured here."""
    _, got = look()
    m = {m["name"]: m for m in got["mechanisms"]}
    for name in ("runtime", "uthreads", "announced-calls", "watcher", "futex", "timer-signal",
                 "fsgsbase"):
        assert m[name]["cost_ns"] > 0, m[name]
    # A hand-over needs at least a switch; a switch by instruction is no system call.
    assert m["announced-calls"]["cost_ns"] > m["fsgsbase"]["cost_ns"]


def words():
    """The same in words, a line each at least."""
    done = upcall("doctor")
    same(done.returncode, 0)
    for name in MECHANISMS:
        assert name in done.stdout, name
    assert done.stdout.endswith("Upcall runs here.\n"), done.stdout[-80:]


def cannot():
    """Where the runtime does not start: 69, and what was refused."""
    def no_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))

    done = subprocess.run([UPCALL, "doctor", "--json"], capture_output=True, text=True,
                          timeout=PATIENCE, preexec_fn=no_files)
    got = json.loads(done.stdout)
    same(done.returncode, UNAVAILABLE)
    same(got["can_run"], False)
    runtime = got["mechanisms"][0]
    same((runtime["name"], runtime["present"]), ("runtime", False))
    assert runtime["detail"], runtime
    done = subprocess.run([UPCALL, "doctor"], capture_output=True, text=True, timeout=PATIENCE,
                          preexec_fn=no_files)
    same(done.returncode, UNAVAILABLE)
    assert "cannot run here" in done.stdout and "to have it: " in done.stdout


def without_rseq():
    """A mechanism that is switched off is found to be off."""
    _, got = look(env={"UPCALL_NO_RSEQ": "1"})
    home = next(m for m in got["mechanisms"] if m["name"] == "rseq-home")
    same(home["present"], False)
    assert home["cost_ns"] > 0 and "UPCALL_NO_RSEQ" in home["detail"], home


def limits():
    """Limits are told as they are."""
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))

    done = subprocess.run([UPCALL, "doctor", "--json"], capture_output=True, text=True,
                          timeout=PATIENCE, preexec_fn=few)
    m = {m["name"]: m for m in json.loads(done.stdout)["mechanisms"]}
    same(m["limit-files"]["state"], "limited")
    assert m["limit-files"]["detail"].startswith("512"), m["limit-files"]
    done = subprocess.run(["taskset", "-c", "0", UPCALL, "doctor", "--json"], capture_output=True,
                          text=True, timeout=PATIENCE)
    if done.returncode != 0 and not done.stdout:
        return
    m = {m["name"]: m for m in json.loads(done.stdout)["mechanisms"]}
    assert m["cpus"]["detail"].startswith("1 of "), m["cpus"]


main([complete, measured, words, cannot, without_rseq, limits])
