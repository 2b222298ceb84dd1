#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The completions and the man pages know what `upcall --help` knows: each option, and none besides."""
import os
import pty
import re
import select
import shutil
import subprocess
import tempfile
import time

from common import PATIENCE, ROOT, Skip, main, same, temp, upcall

BASH = os.path.join(ROOT, "packaging/completion/upcall.bash")
ZSH = os.path.join(ROOT, "packaging/completion/_upcall")
COMMANDS = ["run", "doctor", "version", "help"]


def options(command):
    """Long and short options, by the command's own help."""
    text = upcall(command, "--help").stdout.split("Options:\n")[1].split("\n\n")[0]
    found = set()
    for line in text.splitlines():
        m = re.match(r"  (?:(-\w), |    )(--[\w-]+)", line)
        found |= {w for w in m.groups() if w}
    assert "--help" in found, text
    return found


def complete(*words):
    """What bash offers for the last of the words."""
    line = " ".join(words)
    script = f"""
. {BASH}
COMP_WORDS=({' '.join("'" + w + "'" for w in words)})
COMP_CWORD={len(words) - 1}
COMP_LINE='{line}'
COMP_POINT={len(line)}
_upcall
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True,
                          timeout=PATIENCE, cwd=temp(""))
    same(done.stderr, "")
    return set(done.stdout.split())


def commands():
    """Every command is offered, and by the overview."""
    same(complete("upcall", ""), set(COMMANDS) | {"--help", "--version"})
    same(complete("upcall", "do"), {"doctor"})
    listed = re.findall(r"^  (\w+)  ", upcall("--help").stdout, re.MULTILINE)
    same(sorted(listed), sorted(COMMANDS))
    same(complete("upcall", "help", ""), set(COMMANDS) | {"--help"})


def all_options():
    """Every option of every command is offered, and no other."""
    for command in ("run", "doctor", "version"):
        want = options(command)
        got = complete("upcall", command, "-")
        # Short ones stand in for long ones where the command has few.
        same(got - want, set(), command)
        same({w for w in want if w.startswith("--")} - got, set(), command)
    same(complete("upcall", "run", "-"), options("run"))


def values():
    """Files for files, times for times, and the program's own words behind it."""
    open(temp("a-file"), "w", encoding="utf-8").close()
    assert "a-file" in complete("upcall", "run", "--trace", "a-f")
    assert "a-file" in complete("upcall", "run", "-o", "a-f")
    assert "1ms" in complete("upcall", "run", "--slice", "1")
    assert "1" in complete("upcall", "run", "--vcores", "")
    assert "a-file" in complete("upcall", "run", "-n", "2", "cat", "a-f")
    assert "a-file" in complete("upcall", "run", "--stats", "--", "cat", "a-f")
    assert "true" in complete("upcall", "run", "--stats", "tru")
    assert "true" in complete("upcall", "run", "--", "tru")


def zsh():
    """zsh's file names the same options."""
    with open(ZSH, encoding="utf-8") as f:
        text = f.read()
    run = text.split("_upcall_run()")[1].split("\n}")[0]
    same(set(re.findall(r"(?<![\w-])--[a-z][\w-]*", run)), {w for w in options("run") if w[1] == "-"})


# Each key press of ^T writes what zsh would offer for the line, then END.
ZSH_SETUP = r"""
unsetopt beep
PS1=
fpath=($COMPLETIONS $fpath)
autoload -Uz compinit
compinit -D -u
compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then
        builtin compadd "$@"
        return
    fi
    local -a hits
    builtin compadd -A hits "$@"
    (($#hits)) && print -rl -- $hits >>$OFFERED
    builtin compadd "$@"
}
offer() {
    _main_complete 2>>$OFFERED
    print END >>$OFFERED
    compstate[insert]= compstate[list]=
}
zle -C offer complete-word offer
bindkey '^T' offer
bindkey '^U' kill-whole-line
print READY >>$OFFERED
"""


class Zsh:
    """An interactive one at a terminal of its own, which is asked what it offers for a line."""

    def __init__(self):
        if not shutil.which("zsh"):
            raise Skip("zsh is not installed")
        self.home = tempfile.mkdtemp(dir=temp(""))
        self.offered = os.path.join(self.home, ".offered")
        setup = os.path.join(self.home, ".setup")
        with open(setup, "w", encoding="utf-8") as f:
            f.write(ZSH_SETUP)
        open(os.path.join(self.home, "a-file"), "w", encoding="utf-8").close()
        self.pid, self.terminal = pty.fork()
        if not self.pid:
            os.chdir(self.home)
            os.environ.update(HOME=self.home, TERM="dumb", OFFERED=self.offered,
                              COMPLETIONS=os.path.dirname(ZSH))
            os.execvp("zsh", ["zsh", "-f", "-i"])
        self.type(". ~/.setup\n")
        self.until("READY")

    def type(self, text):
        os.write(self.terminal, text.encode())

    def until(self, last):
        """The lines before that one."""
        end = time.monotonic() + PATIENCE
        seen = b""
        while time.monotonic() < end:
            if select.select([self.terminal], [], [], 0.02)[0]:
                seen += os.read(self.terminal, 65536)  # or zsh would wait for us
            if not os.path.exists(self.offered):
                continue
            with open(self.offered, encoding="utf-8") as f:
                lines = f.read().splitlines()
            if lines and lines[-1] == last:
                os.unlink(self.offered)
                return lines[:-1]
        raise AssertionError(f"zsh does not answer; its terminal shows {seen!r}")

    def complete(self, line):
        self.type(line + "\x14")
        found = self.until("END")
        self.type("\x15")
        return {word.strip() for word in found}

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


def zsh_loads():
    """zsh takes the file for the command's, and reads it without a word."""
    if not shutil.which("zsh"):
        raise Skip("zsh is not installed")
    script = """
fpath=($1 $fpath)
autoload -Uz compinit
compinit -D -u
[[ $_comps[upcall] == _upcall ]] && autoload +X _upcall && ((${#functions[_upcall]} > 100))
"""
    done = subprocess.run(["zsh", "-fc", script, "zsh", os.path.dirname(ZSH)], capture_output=True,
                          text=True, timeout=PATIENCE)
    same((done.returncode, done.stdout, done.stderr), (0, "", ""))


def zsh_commands():
    """zsh offers each command, and each option of each, and no other."""
    z = Zsh()
    same(z.complete("upcall "), set(COMMANDS) | {"--help", "--version"})
    same(z.complete("upcall do"), {"doctor"})
    same(z.complete("upcall -"), {"--help", "--version"})
    same(z.complete("upcall help "), set(COMMANDS))
    for command in ("run", "doctor", "version"):
        # An option that takes a value may stand with the sign for it.
        same({w.rstrip("=") for w in z.complete(f"upcall {command} -")}, options(command), command)
    z.close()


def zsh_values():
    """... times for times, files for files, programs, and the program's own words behind it."""
    z = Zsh()
    assert "1ms" in z.complete("upcall run --slice 1")
    assert "1ms" in z.complete("upcall run --slice=1")
    same(z.complete("upcall run --trace a-f"), {"a-file"})
    same(z.complete("upcall run -o a-f"), {"a-file"})
    for before in ("", "--stats ", "-n 2 --slice=1ms ", "-s -- "):
        assert "true" in z.complete(f"upcall run {before}tru"), before
        same(z.complete(f"upcall run {before}cat a-f"), {"a-file"}, before)
    same(z.complete("upcall run ./a-file --sta"), set())
    assert "--trace" in {w.rstrip("=") for w in z.complete("upcall run --stats --tr")}
    assert "--no-slice" not in z.complete("upcall run --slice 1ms --")
    z.close()


def pages():
    """The man pages name each option and each exit status."""
    for command in ("run", "doctor"):
        with open(os.path.join(ROOT, f"docs/man/upcall-{command}.1"), encoding="utf-8") as f:
            text = f.read()
        told = set(re.findall(r"Fl -([a-z][\w-]*)", text.replace("\\-", "-")))
        same(told, {w[2:] for w in options(command) if w.startswith("--")}, command)
        for status in re.findall(r"\b(\d\d+)\b", upcall(command, "--help").stdout.split(
                "Exit status:")[1]):
            assert re.search(rf"^\.It (Li )?{status}\b", text, re.MULTILINE), (command, status)
    with open(os.path.join(ROOT, "docs/man/upcall.1"), encoding="utf-8") as f:
        text = f.read()
    for command in COMMANDS:
        assert re.search(rf"\.It .*\b{command}\b", text), command


def page_syntax():
    """... and are well formed."""
    tool = shutil.which("mandoc")
    for page in ("upcall", "upcall-run", "upcall-doctor"):
        path = os.path.join(ROOT, f"docs/man/{page}.1")
        if tool:
            done = subprocess.run([tool, "-T", "lint", "-W", "warning", path], capture_output=True,
                                  text=True, timeout=PATIENCE)
            same(done.returncode, 0, done.stdout)
            continue
        tool2 = shutil.which("groff")
        if not tool2:
            raise Skip("neither mandoc nor groff is installed")
        done = subprocess.run([tool2, "-mdoc", "-Tutf8", "-ww", "-z", path], capture_output=True,
                              text=True, timeout=PATIENCE)
        same((done.returncode, done.stderr), (0, ""))


main([commands, all_options, values, zsh, zsh_loads, zsh_commands, zsh_values, pages, page_syntax])
