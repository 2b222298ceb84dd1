#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""build/examples/treesum prints what find and sha256sum print, whatever the tree; so does the same
program on pthreads. Called with the two programs."""
import os
import pty
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback

# Whoever started us in the background has it ignored, which the programs would inherit.
signal.signal(signal.SIGINT, signal.SIG_DFL)

PROGRAMS = sys.argv[1:3]
PATIENCE = 60
ODD = [b"plain", b" blank ", b"new\nline", b"back\\slash", b"both\\\n", b"cr\rhere", b"-dash", b"\xff\xfe",
       b"'quote\"", b"*?[", b"\t", b"a-b", b"\xc3\xa4"]


class Skip(Exception):
    pass


def same(got, want, *note):
    assert got == want, f"{got!r:.600}, not {want!r:.600} {' '.join(map(str, note))}"


def write(path, data=b""):
    with open(path, "wb") as f:
        f.write(data)


def reference(tree):
    """What it must print, and how it must end."""
    done = subprocess.run(["bash", "-o", "pipefail", "-c",
                           'find "$1" -type f -print0 | sort -z | xargs -0r sha256sum', "-", tree],
                          capture_output=True, env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
    return done.stdout, done.returncode


def run(*args, program=PROGRAMS[0], **more):
    return subprocess.run([program, *args], capture_output=True, timeout=PATIENCE, **more)


def like_sha256sum(tree, errors=0, **more):
    want, status = reference(tree)
    for program in PROGRAMS:
        done = run(tree, program=program, **more)
        same(done.stdout, want, program)
        same(done.returncode, 1 if status else 0, program, done.stderr)
        same(done.stderr.count(b"\n"), errors, program, done.stderr)
    return want


def odd_names(top):
    for i, name in enumerate(ODD):
        inner = os.path.join(os.fsencode(top), name)
        os.mkdir(inner)
        for j, other in enumerate(ODD):
            write(os.path.join(inner, other), b"x" * (i * 100 + j))
    same(like_sha256sum(top).count(b"\n"), len(ODD) ** 2)


def sizes(top):
    """Empty, about as long as what is read at once, and long."""
    for n in (0, 1, 55, 56, 64, 4096, 32767, 32768, 32769, 65536, 5 << 20):
        write(os.path.join(top, f"f{n}"), bytes(i * 7 & 255 for i in range(1000)) * (n // 1000 + 1))
        os.truncate(os.path.join(top, f"f{n}"), n)
    like_sha256sum(top)


def order(top):
    """By the whole path: a-b is before a/b, which is before a0."""
    for name in ("a", "b"):
        os.mkdir(os.path.join(top, name))
        write(os.path.join(top, name, "b"), b"1")
    for name in ("a-b", "a0", "a.b", "B"):
        write(os.path.join(top, name), b"2")
    like_sha256sum(top)
    like_sha256sum(top + "/")


def many_files(top):
    for d in range(20):
        os.mkdir(os.path.join(top, str(d)))
        for f in range(100):
            write(os.path.join(top, str(d), str(f)), b"%d %d" % (d, f) * (f + 1))
    same(like_sha256sum(top).count(b"\n"), 2000)


def flat(top):
    for f in range(2000):
        write(os.path.join(top, str(f)), b"%d" % f)
    same(like_sha256sum(top).count(b"\n"), 2000)


def deep(top):
    path = top
    for d in range(300):
        path = os.path.join(path, f"d{d % 10}")
        os.mkdir(path)
        write(os.path.join(path, "f"), b"%d" % d)
    same(like_sha256sum(top).count(b"\n"), 300)


def neither(top):
    """Links are not followed; what is no file is left alone."""
    write(os.path.join(top, "file"), b"x")
    os.mkdir(os.path.join(top, "empty"))
    os.symlink("file", os.path.join(top, "link"))
    os.symlink("/", os.path.join(top, "root"))
    os.symlink("nowhere", os.path.join(top, "dangling"))
    os.mkfifo(os.path.join(top, "fifo"))
    same(like_sha256sum(top).count(b"\n"), 1)
    like_sha256sum(os.path.join(top, "file"))
    like_sha256sum(os.path.join(top, "empty"))
    like_sha256sum(os.path.join(top, "link"))
    like_sha256sum(os.path.join(top, "fifo"))


def unreadable(top):
    """One line each, the others all the same, and 1 at the end."""
    os.mkdir(os.path.join(top, "closed"))
    write(os.path.join(top, "closed", "inside"), b"x")
    for name in ("a", "b\nc", "d"):
        write(os.path.join(top, name), b"x")
    os.chmod(os.path.join(top, "b\nc"), 0)
    os.chmod(os.path.join(top, "closed"), 0)
    more = {}
    if os.geteuid() == 0:
        os.chmod(top, 0o755)
        more = {"user": 65534, "group": 65534, "extra_groups": []}
    try:
        for program in PROGRAMS:
            if more and not may_run(program, more):
                raise Skip(f"nobody may not run {program}")
            done = run(top, program=program, **more)
            same(done.returncode, 1, done.stderr)
            same(sorted(line.split(b"  ")[1] for line in done.stdout.splitlines()),
                 [os.fsencode(os.path.join(top, n)) for n in ("a", "d")])
            same(sorted(done.stderr.splitlines()),
                 [b"treesum: %s: Permission denied" % os.fsencode(os.path.join(top, n))
                  for n in ("b\\nc", "closed")])
    finally:
        os.chmod(os.path.join(top, "closed"), 0o700)


def may_run(program, more):
    try:
        return run(program=program, **more).returncode == 64
    except PermissionError:
        return False


def goes_away(top):
    """What is there when the directory is read and not any more when it is opened is one line."""
    for f in range(400):
        write(os.path.join(top, str(f)), b"x" * 100000)
    for program in PROGRAMS:
        with subprocess.Popen([program, top], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
            os.rename(os.path.join(top, "399"), os.path.join(top, "399 "))
            out, err = p.communicate(timeout=PATIENCE)
        os.rename(os.path.join(top, "399 "), os.path.join(top, "399"))
        same(out.count(b"\n") + err.count(b"\n"), 400)
        same(p.returncode, 1 if err else 0)


def not_there(top):
    for program in PROGRAMS:
        done = run(os.path.join(top, "nothing"), program=program)
        same((done.returncode, done.stdout), (1, b""))
        same(done.stderr, b"treesum: %s: No such file or directory\n" %
             os.fsencode(os.path.join(top, "nothing")))


def bad_arguments(top):
    for program in PROGRAMS:
        for args in ([], [""], ["-x"], [top, top], ["-j"], ["-j", "2"], ["-j", "0", top], ["-j", "x", top],
                     ["-j", "2x", top], ["-j", "-1", top], ["-j", "99999999999999999999", top],
                     ["-j", "2", top, top], ["-j", "2", "-x"], ["-j", "", top]):
            done = run(*args, program=program)
            same((done.returncode, done.stdout), (64, b""), args)
            same(done.stderr, b"usage: treesum [-j CORES] DIR\n", args)


def cores(top):
    for f in range(50):
        write(os.path.join(top, str(f)), b"%d" % f)
    want, _ = reference(top)
    for program in PROGRAMS:
        for n in ("1", "2"):
            done = run("-j", n, top, program=program)
            same((done.returncode, done.stdout), (0, want), n, done.stderr)


def few_descriptors(top):
    many_files(top)

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    like_sha256sum(top, preexec_fn=limit)


def bounded_memory(top):
    """Beside the list nothing grows with the tree: a directory more is not a stack more."""
    peaks = []
    for nr in (500, 4000):
        for d in range(nr):
            os.makedirs(os.path.join(top, str(d)), exist_ok=True)
            write(os.path.join(top, str(d), "f"))
        with subprocess.Popen([PROGRAMS[0], top], stdout=subprocess.DEVNULL) as p:
            _, status, usage = os.wait4(p.pid, 0)
            p.returncode = os.waitstatus_to_exitcode(status)
        same(p.returncode, 0)
        peaks.append(usage.ru_maxrss)
    # 3500 more of each; a uthread each would be 8 kB at the least.
    assert peaks[1] - peaks[0] < 7000 * 2, peaks


def full(top):
    """What cannot be written is no success."""
    write(os.path.join(top, "f"))
    for program in PROGRAMS:
        with open("/dev/full", "wb") as out:
            same(subprocess.run([program, top], stdout=out, timeout=PATIENCE).returncode, 1)


def interrupted(top):
    """By what the terminal sends: it dies of it, all of it, and has printed nothing."""
    for f in range(40):
        write(os.path.join(top, str(f)))
        os.truncate(os.path.join(top, str(f)), 1 << 30)
    for program in PROGRAMS:
        with subprocess.Popen([program, top], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
            wait_until(lambda: os.path.exists(f"/proc/{p.pid}/fd") and
                       any(x.startswith(os.path.join(top, "")) for x in open_files(p.pid)))
            p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=PATIENCE)
        same((p.returncode, out, err), (-signal.SIGINT, b"", b""), program)


def open_files(pid):
    names = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            names.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return names


def wait_until(what):
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "it has not begun"
        time.sleep(0.001)


def progress(top):
    """On a terminal, and gone at the end; nowhere else."""
    for f in range(30):
        write(os.path.join(top, str(f)))
        os.truncate(os.path.join(top, str(f)), 32 << 20)
    want, _ = reference(top)
    for program in PROGRAMS:
        us, them = pty.openpty()
        with subprocess.Popen([program, top], stdout=subprocess.PIPE, stderr=them) as p:
            os.close(them)
            said = b""
            out = p.stdout.read()
            try:
                while part := os.read(us, 65536):
                    said += part
            except OSError: # the other end is closed
                pass
            os.close(us)
        same((p.returncode, out), (0, want))
        assert b" of 30 files" in said and said.endswith(b"\r\x1b[K"), said


POINTS = [odd_names, sizes, order, many_files, flat, deep, neither, unreadable, goes_away, not_there,
          bad_arguments, cores, few_descriptors, bounded_memory, full, interrupted, progress]


def main():
    failed = 0
    print(f"1..{len(POINTS)}")
    for nr, point in enumerate(POINTS, 1):
        words = point.__name__.replace("_", " ")
        with tempfile.TemporaryDirectory() as top:
            try:
                point(top)
                print(f"ok {nr} - {words}", flush=True)
            except Skip as why:
                print(f"ok {nr} - {words} # SKIP {why}", flush=True)
            except Exception:
                failed += 1
                print(f"not ok {nr} - {words}", flush=True)
                print("# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
    return failed != 0


sys.exit(main())
