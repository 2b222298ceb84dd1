#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The completions and the man pages know what `upcall --help` knows: each option, and none besides."""
import os
import re
import shutil
import subprocess

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
    if not shutil.which("zsh"):
        raise Skip("zsh is not installed: its syntax is not looked at")
    same(subprocess.run(["zsh", "-n", ZSH], timeout=PATIENCE).returncode, 0)


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


main([commands, all_options, values, zsh, pages, page_syntax])
