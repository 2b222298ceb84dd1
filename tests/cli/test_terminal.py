#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""`upcall run` on a terminal, as a job of a shell's: what is typed reaches the program once, job control
works as without it, and the terminal stays the program's."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

from common import PATIENCE, PROG, UPCALL, main, same

# What a shell does for one job: a group of its own in the foreground, told of stops, `fg` by a line.
SHELL = r"""
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
control = int(sys.argv[1])
pid = os.fork()
if not pid:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpgrp())
    os.close(control)
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[2], sys.argv[2:])
while True:
    got, status = os.waitpid(pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    os.tcsetpgrp(0, os.getpgrp())
    os.write(1, b"shell: stopped %d\n" % os.WSTOPSIG(status))
    os.read(control, 1)
    os.tcsetpgrp(0, pid)
    os.killpg(pid, signal.SIGCONT)
os.tcsetpgrp(0, os.getpgrp())
code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
os.write(1, b"shell: ended %d\n" % code)
"""


class Terminal:
    def __init__(self, *command):
        self.master, slave = pty.openpty()
        attrs = termios.tcgetattr(slave)
        attrs[3] &= ~termios.ECHO
        attrs[1] &= ~termios.OPOST
        termios.tcsetattr(slave, termios.TCSANOW, attrs)
        there, self.control = os.pipe()

        def session():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.p = subprocess.Popen([sys.executable, "-c", SHELL, str(there), *command], stdin=slave,
                                  stdout=slave, stderr=slave, preexec_fn=session,
                                  pass_fds=[there])
        os.close(slave)
        os.close(there)
        self.text = b""

    def type(self, what):
        os.write(self.master, what)

    def fg(self):
        os.write(self.control, b"x")

    def expect(self, what):
        """Up to and with these words; what came before them."""
        until = time.monotonic() + PATIENCE
        what = what.encode()
        while what not in self.text:
            left = until - time.monotonic()
            assert left > 0, f"{what!r} does not come: {self.text!r}"
            if select.select([self.master], [], [], left)[0]:
                try:
                    self.text += os.read(self.master, 4096)
                except OSError:
                    raise AssertionError(f"the terminal is gone: {self.text!r}") from None
        before, self.text = self.text.split(what, 1)
        return before.decode()

    def close(self):
        self.p.wait(PATIENCE)
        os.close(self.master)
        os.close(self.control)


def session(mode, *options):
    t = Terminal(UPCALL, "run", *options, "--", PROG, mode)
    t.expect("ready ")
    t.expect("\n")
    # The program has the terminal.
    t.type(b"one\n")
    t.expect("read one foreground yes\n")
    # ^C reaches it, and once: the line that comes next is the answer to the next one typed.
    for _ in range(5):
        t.type(b"\x03")
        t.expect("got 02\n")
        t.type(b"two\n")
        same(t.expect("read two foreground yes\n"), "")
    # ^Z stops the job, fg goes on with it, and the terminal is the program's again.
    for _ in range(3):
        t.type(b"\x1a")
        t.expect(f"shell: stopped {int(signal.SIGTSTP)}\n")
        t.fg()
        t.expect(f"got {int(signal.SIGCONT)}\n")
        t.type(b"three\n")
        same(t.expect("read three foreground yes\n"), "")
    # Another size of the window, once.
    fcntl.ioctl(t.master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 90, 0, 0))
    t.expect(f"got {int(signal.SIGWINCH)}\n")
    t.type(b"four\n")
    same(t.expect("read four foreground yes\n"), "")
    t.type(b"exit\n")
    t.expect("shell: ended 6\n")
    t.close()


def plain():
    """A program that is none of ours."""
    session("terminal")


def with_stats():
    """... told of at the end."""
    session("terminal", "--stats")


def upcall_program():
    """An Upcall program."""
    session("terminal-upcall")


def quit_ends():
    """^\\ ends both by the signal."""
    t = Terminal(UPCALL, "run", "--", "sh", "-c", "echo ready; exec sleep 60")
    t.expect("ready\n")
    t.type(b"\x1c")
    t.expect(f"shell: ended -{int(signal.SIGQUIT)}\n")
    t.close()


def interrupt_ends():
    """^C ends both by the signal."""
    t = Terminal(UPCALL, "run", "--", "sh", "-c", "echo ready; exec sleep 60")
    t.expect("ready\n")
    t.type(b"\x03")
    t.expect(f"shell: ended -{int(signal.SIGINT)}\n")
    t.close()


def colours():
    """The table is coloured on a terminal, and not with NO_COLOR or into a file."""
    t = Terminal(UPCALL, "run", "--stats", "--", "true")
    assert "\x1b[" in t.expect("shell: ended 0\n")
    t.close()
    os.environ["NO_COLOR"] = "1"
    t = Terminal(UPCALL, "run", "--stats", "--", "true")
    assert "\x1b[" not in t.expect("shell: ended 0\n")
    t.close()
    del os.environ["NO_COLOR"]
    done = subprocess.run([UPCALL, "run", "--stats", "--", "true"], capture_output=True, text=True,
                          timeout=PATIENCE)
    assert "\x1b[" not in done.stderr and "not an Upcall program" in done.stderr, done.stderr


def doctor_progress():
    """doctor says on a terminal what it is at, and takes it away again."""
    t = Terminal(UPCALL, "doctor", "--json")
    text = t.expect("shell: ended 0\n")
    assert "looking: " in text and "\r\x1b[K{" in text, text[-300:]
    t.close()


main([plain, with_stats, upcall_program, quit_ends, interrupt_ends, colours, doctor_progress])
