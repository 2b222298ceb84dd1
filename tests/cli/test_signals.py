#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Signals that a process sends to `upcall run` reach the program, once each, and its end is ours."""
import ctypes
import os
import re
import signal
import subprocess
import time

from common import PATIENCE, PROG, UPCALL, main, same

# Not those that stop, or that the kernel side of an Upcall program keeps for itself.
PLAIN = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1,
         signal.SIGALRM, signal.SIGPIPE, signal.SIGWINCH, signal.SIGIO, signal.SIGPWR,
         signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU, signal.SIGCHLD, signal.SIGTTIN,
         signal.SIGTTOU, signal.SIGTSTP, signal.SIGTRAP, signal.SIGSEGV]


class Run:
    """The command with a program that says which signals come."""

    def __init__(self, mode, *options):
        self.p = subprocess.Popen([UPCALL, "run", *options, "--", PROG, mode],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  bufsize=1, process_group=0)
        self.pid = int(re.match(r"ready (\d+)", self.line()).group(1))

    def line(self):
        return self.p.stdout.readline()

    def got(self):
        return tuple(int(w) for w in self.line().split()[1:])

    def end(self):
        self.p.send_signal(signal.SIGUSR2)
        rest = self.p.stdout.read()
        self.p.wait(PATIENCE)
        return rest


def state(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def becomes(what, pid):
    until = time.monotonic() + PATIENCE
    while state(pid) not in what:
        assert time.monotonic() < until, f"{pid} is {state(pid)}, not {what}"
        os.sched_yield()


def each(mode, signals):
    run = Run(mode)
    for sig in signals:
        run.p.send_signal(sig)
        same(run.got(), (int(sig), 0), sig)
    same(run.end(), f"got {int(signal.SIGUSR2)} 0\n")  # and nothing twice
    same(run.p.returncode, 5)


def handed_on():
    """Each signal is handed on, once."""
    each("signals", PLAIN)


def handed_on_upcall():
    """... to an Upcall program as well."""
    each("signals-upcall", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1,
                            signal.SIGWINCH, signal.SIGQUIT])


def queued():
    """A real-time signal keeps its value."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sigqueue.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
    run = Run("signals")
    for value in (1, 2, 77):
        same(libc.sigqueue(run.p.pid, signal.SIGRTMIN + 3, value), 0)
        same(run.got(), (signal.SIGRTMIN + 3, value))
    run.end()


def kills():
    """A signal that kills the program ends the command by the same one, statistics told."""
    for options in ([], ["--stats"]):
        run = subprocess.Popen([UPCALL, "run", *options, "--", "sh", "-c", "echo ready; exec sleep 60"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        same(run.stdout.readline(), "ready\n")
        run.send_signal(signal.SIGTERM)
        _, err = run.communicate(timeout=PATIENCE)
        same(run.returncode, -signal.SIGTERM)
        same("ended by signal 15" in err, bool(options), err)


def ignored():
    """What was ignored before stays ignored, in the program too."""
    def ignore():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    run = subprocess.Popen([UPCALL, "run", "--", "sh", "-c", "echo ready; read line; exit 3"],
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=ignore,
                           text=True)
    same(run.stdout.readline(), "ready\n")
    run.send_signal(signal.SIGHUP)
    run.communicate("go on\n", timeout=PATIENCE)
    same(run.returncode, 3)


def mask():
    """The program begins with the mask that the command was given."""
    def block():
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1})

    done = subprocess.run([UPCALL, "run", "--", "grep", "SigBlk", "/proc/self/status"],
                          capture_output=True, text=True, preexec_fn=block, timeout=PATIENCE)
    same(int(done.stdout.split()[1], 16), 1 << (signal.SIGUSR1 - 1))
    done = subprocess.run([UPCALL, "run", "--stats", "--", "grep", "SigBlk", "/proc/self/status"],
                          capture_output=True, text=True, timeout=PATIENCE)
    same(int(done.stdout.split()[1], 16), 0)


def stops():
    """Stopped and continued: the two of them together, whichever is told."""
    sleeper = [UPCALL, "run", "--", "sh", "-c", "echo $$; exec sleep 60"]
    run = subprocess.Popen(sleeper, stdout=subprocess.PIPE, text=True, process_group=0)
    pid = int(run.stdout.readline())
    for whom, sig in ((run.pid, signal.SIGTSTP), (pid, signal.SIGSTOP), (pid, signal.SIGTSTP),
                      (run.pid, signal.SIGTTIN)):
        os.kill(whom, sig)
        becomes("T", pid)
        becomes("T", run.pid)
        got, status = os.waitpid(run.pid, os.WUNTRACED)
        assert got == run.pid and os.WIFSTOPPED(status), status
        os.kill(run.pid, signal.SIGCONT)
        becomes("SR", run.pid)
        becomes("SR", pid)
    run.terminate()
    same(run.wait(PATIENCE), -signal.SIGTERM)


def child_signal():
    """A child of the program's that ends is none of our business."""
    run = subprocess.run([UPCALL, "run", "--", "sh", "-c", "for i in 1 2 3 4 5; do true & done; wait; exit 9"],
                         timeout=PATIENCE)
    same(run.returncode, 9)


main([handed_on, handed_on_upcall, queued, kills, ignored, mask, stops, child_signal])
