#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/check-mutants.py on a project of three defects: one that a test sees, one that hangs it, and
one that nothing notices. A checker that says "killed" of the last would be worth nothing."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

PROJECT = """
project('small', 'c', default_options: ['werror=true'])
if get_option('mutant') != ''
    configure_file(output: 'up_mutant_choice.h',
        configuration: {'UP_MUT_' + get_option('mutant'): 1})
    add_project_arguments('-DUP_MUTANT_CHOICE="@0@"'.format(
        meson.project_build_root() / 'up_mutant_choice.h'), language: 'c')
endif
add_test_setup('all')
test('sum', executable('sum', 'src/sum.c', include_directories: 'src'), timeout: 1)
test('broken', find_program('false'))
"""
SOURCE = """
#include "base/mutant.h"
int main(void)
{
	volatile int sum = 1;

	while (UP_MUT(hangs))
		;
	if (!UP_MUT(is_seen))
		sum += 1;
	if (!UP_MUT(is_idle))
		sum += 0;
	return sum != 2;
}
"""
SEEN = "is_seen | src/sum.c | one is not added | sum\n"
HANGS = "hangs | src/sum.c | it never ends | sum\n"
IDLE = "is_idle | src/sum.c | nothing is not added | sum\n"


def make(where, listed):
    for path in ("src/base", "tests/mutants", "tools"):
        os.makedirs(os.path.join(where, path))
    shutil.copy(os.path.join(ROOT, "src/base/mutant.h"), os.path.join(where, "src/base"))
    shutil.copy(os.path.join(ROOT, "tools/check-mutants.py"), os.path.join(where, "tools"))
    for path, text in (("meson.build", PROJECT), ("src/sum.c", SOURCE),
                       ("meson_options.txt", "option('mutant', type: 'string', value: '')\n"),
                       ("tests/mutants/mutants.txt", listed)):
        with open(os.path.join(where, path), "w", encoding="utf-8") as f:
            f.write(text)


def checked(where, *args):
    env = {k: v for k, v in os.environ.items() if not k.startswith("MESON") and k != "BUILD"}
    done = subprocess.run([sys.executable, "tools/check-mutants.py", *args], cwd=where, env=env,
                          capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def expect(name, got, status, *patterns):
    found, text = got
    bad = [f"exit {found}, not {status}"] if found != status else []
    bad += [f"not said: {p}" for p in patterns if not re.search(p, text, re.MULTILINE)]
    return name, bad, text


def points(where):
    make(where, SEEN + HANGS + IDLE)
    yield expect("all three, each as it is", checked(where, "--tries", "2"), 1,
                 r"^is_seen +[\d.]+  sum: it failed", r"^hangs +[\d.]+  sum: watchdog: it hung",
                 r"^is_idle .*SURVIVED: not noticed in 2 tries", r"^2 killed, 1 survived\s*\Z")
    yield expect("only one", checked(where, "--only", "is_seen"), 0, r"^1 killed, 0 survived\s*\Z")
    yield expect("only a stranger", checked(where, "--only", "other"), 1, "not listed: other")
    yield expect("a quick check with a survivor", checked(where, "--quick", "9", "--seed", "1"), 1,
                 r"^1\.\.3$", "^# seed 1$", r"^not ok \d - is_idle", r"^ok \d - is_seen: sum")
    yield expect("a quick check without time", checked(where, "--quick", "1", "--seconds", "-1"),
                 0, "# SKIP the -1 seconds are over")
    for name, listed, word in (
            ("a mutant that is not listed", SEEN + HANGS, "is_idle: in src/sum.c, but not listed"),
            ("a mutant that is not there", SEEN + HANGS + IDLE + "gone | src/sum.c | x | sum\n",
             "gone: listed, but not in src"),
            ("the wrong file", SEEN + HANGS + IDLE.replace("sum.c", "add.c"), "found in src/sum.c"),
            ("a line without its killer", SEEN + HANGS + "is_idle | src/sum.c | x\n", "not `name"),
            ("twice", SEEN + SEEN + HANGS + IDLE, "is_seen is listed twice")):
        with open(os.path.join(where, "tests/mutants/mutants.txt"), "w", encoding="utf-8") as f:
            f.write(listed)
        yield expect(f"the list: {name}", checked(where, "--list"), 1, "^not ok 1", word)
    with open(os.path.join(where, "tests/mutants/mutants.txt"), "w", encoding="utf-8") as f:
        f.write(SEEN + HANGS + IDLE.replace("| sum", "| -"))
    yield expect("the list: one without a test is allowed, and said", checked(where, "--list"), 0,
                 "3 mutants, 1 without a test")
    yield expect("one without a test survives", checked(where, "--only", "is_idle"), 1,
                 "SURVIVED: no test is named yet")
    with open(os.path.join(where, "tests/mutants/mutants.txt"), "w", encoding="utf-8") as f:
        f.write(SEEN.replace("| sum", "| broken") + HANGS.replace("| sum", "| none") + IDLE)
    yield expect("killers that are no good kill nothing", checked(where, "--tries", "1"), 1,
                 r"^killer broken: \w+ without any defect", "^killer none: no such test",
                 r"^0 killed, 3 survived\s*\Z")


def main():
    with tempfile.TemporaryDirectory() as where:
        found = list(points(where))
    print(f"1..{len(found)}")
    for nr, (name, bad, text) in enumerate(found, 1):
        print(f"{'not ' if bad else ''}ok {nr} - {name}")
        for line in (bad + text.splitlines()) if bad else []:
            print(f"# {line}")
    return 1 if any(bad for _, bad, _ in found) else 0


if __name__ == "__main__":
    sys.exit(main())
