#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tools/setup.sh on machines that lack things: who may install does, who may not is told one line.

The machine is a PATH of stand-ins: nothing is installed.
"""
import os
import stat
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = ["cc", "c++", "git", "meson", "ninja", "python3", "spin"]
REAL = ["sh", "dirname", "ls"]


def script(where, name, text):
    path = os.path.join(where, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def machine(where, uid, lacks=(), apt=None):
    for name in REAL:
        for top in ("/bin", "/usr/bin"):
            if os.path.exists(os.path.join(top, name)):
                os.symlink(os.path.join(top, name), os.path.join(where, name))
                break
    for name in TOOLS:
        if name not in lacks:
            script(where, name, "exit 0\n")
    if "pkg-config" not in lacks:
        libs = "".join(f"[ \"$2\" = {lib} ] && exit 1\n" for lib in lacks)
        script(where, "pkg-config", libs + "exit 0\n")
    script(where, "id", f"echo {uid}\n")
    if apt is not None:
        script(where, "apt-get", f"echo \"$@\" >>{where}/apt.log\n{apt}")


def run(where):
    done = subprocess.run(["/bin/sh", os.path.join(ROOT, "tools/setup.sh")],
                          env={"PATH": where}, capture_output=True, text=True)
    log = os.path.join(where, "apt.log")
    apt = open(log, encoding="utf-8").read() if os.path.exists(log) else ""
    return done.returncode, done.stdout, done.stderr, apt


def nothing_missing(where):
    machine(where, 1000)
    return run(where) == (0, "", "", "")


def user_is_told(where):
    machine(where, 1000, lacks=["meson", "cmocka"], apt="exit 0\n")
    return run(where) == (
        69, "", "missing packages; type: sudo apt-get install meson libcmocka-dev\n", "")


def no_apt_is_told(where):
    machine(where, 0, lacks=["spin"])
    return run(where) == (69, "", "missing packages; type: sudo apt-get install spin\n", "")


def root_installs(where):
    machine(where, 0, lacks=["ninja", "zlib"], apt=(
        f"[ \"$1\" = install ] || exit 0\n"
        f"echo '#!/bin/sh' >{where}/ninja; echo '#!/bin/sh' >{where}/pkg-config\n"
        f"/bin/chmod +x {where}/ninja {where}/pkg-config\n"))
    code, _, err, apt = run(where)
    return code == 0 and not err and \
        "install -qy --no-install-recommends ninja-build zlib1g-dev" in apt


def stale_lists_are_fetched_anew(where):
    machine(where, 0, lacks=["spin"], apt=(
        f"[ \"$1\" = update ] && : >{where}/fresh && exit 0\n"
        f"[ -e {where}/fresh ] || exit 100\n"
        f"echo '#!/bin/sh' >{where}/spin; /bin/chmod +x {where}/spin\n"))
    code, _, err, apt = run(where)
    return code == 0 and not err and "update" in apt


def apt_fails_is_told(where):
    machine(where, 0, lacks=["spin"], apt="exit 100\n")
    code, _, err, _ = run(where)
    return code == 69 and err == "missing packages; type: sudo apt-get install spin\n"


CASES = [nothing_missing, user_is_told, no_apt_is_told, root_installs,
         stale_lists_are_fetched_anew, apt_fails_is_told]


def main():
    bad = 0
    print(f"1..{len(CASES)}")
    for nr, case in enumerate(CASES, 1):
        with tempfile.TemporaryDirectory() as where:
            good = case(where)
            bad += not good
            print(f"{'' if good else 'not '}ok {nr} - {case.__name__}")
            if not good:
                print(f"# {run(where)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
