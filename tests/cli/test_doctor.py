#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`upcall doctor`: says of each mechanism whether it is there, what it costs and how to get it; and by its
exit status whether upcall can run here."""
import json
import os
import re
import resource
import shutil
import subprocess

from common import PATIENCE, ROOT, UNAVAILABLE, UPCALL, Skip, main, same, temp, upcall

LIBRARY = os.path.join(os.path.dirname(UPCALL), "libupcall.so.0")

MECHANISMS = ["runtime", "uthreads", "announced-calls", "watcher", "rseq-home", "usdt-probes", "fsgsbase", "rseq",
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


def provided(library):
    """The names of our probes in a library, by readelf."""
    if not shutil.which("readelf"):
        raise Skip("readelf is not installed")
    text = subprocess.run(["readelf", "-n", library], capture_output=True, text=True,
                          timeout=PATIENCE, check=True).stdout
    return set(re.findall(r"Provider: upcall\s+Name: (\w+)", text))


def usdt(**more):
    _, got = look(**more)
    return next(m for m in got["mechanisms"] if m["name"] == "usdt-probes")


def built_in():
    """Probes are told by their number, with what lists them, or not to be there."""
    m = usdt()
    listed = re.fullmatch(r"(\d+) probes; to list them: readelf -n (\S+)", m["detail"])
    library = listed[2] if listed else re.fullmatch(r"none in (\S+)", m["detail"])[1]
    same(os.path.realpath(library), os.path.realpath(LIBRARY))
    names = provided(library)
    same(m["present"], bool(names))
    same(m["group"], "library")
    if listed:
        same(int(listed[1]), len(names))
        same(names, documented())
    else:
        assert "systemtap-sdt-dev" in m["how_to_get"], m


def documented():
    """What docs/probes.md names."""
    with open(os.path.join(ROOT, "docs/probes.md"), encoding="utf-8") as f:
        return set(re.findall(r"^\| `(\w+)` \|", f.read(), re.MULTILINE))


def not_built_in():
    """A library without them, or with notes that make no sense, has none."""
    if not shutil.which("objcopy"):
        raise Skip("objcopy is not installed")
    bare, odd, junk = (os.path.join(temp(name), "libupcall.so.0") for name in ("bare", "odd", "junk"))
    for path in (bare, odd, junk):
        os.mkdir(os.path.dirname(path))
    with open(junk, "wb") as f:
        f.write(b"\xff" * 100)
    subprocess.run(["objcopy", "--remove-section", ".note.stapsdt", LIBRARY, bare], check=True)
    subprocess.run(["objcopy", "--add-section", f".note.odd={junk}", bare, odd], check=True)
    for library in (bare, odd):
        m = usdt(env={"LD_LIBRARY_PATH": os.path.dirname(library)})
        same((m["present"], m["detail"]), (False, f"none in {library}"))
        assert "-Dprobes=enabled" in m["how_to_get"], m
    done = upcall("doctor", env={"LD_LIBRARY_PATH": os.path.dirname(bare)})
    assert re.search(r"^  no     usdt-probes .*\n.*none in .*\n.*to have it: ", done.stdout,
                     re.MULTILINE), done.stdout


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


main([complete, measured, words, cannot, without_rseq, built_in, not_built_in, limits])
