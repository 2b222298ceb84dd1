# SPDX-License-Identifier: MIT
"""What libupcall.so exports is what src/libupcall.map lists is what the public headers declare.

Names of libc that the library takes the place of carry no version (a versioned one would not match
read@GLIBC_2.2.5), so they cannot stand in a version's list; the map names them in a comment,
    /* interposed: read write ... */
and no prototype of ours belongs to them.
"""
import os
import re
import subprocess


def parse_map(text):
    """(names in version lists, interposed names, problems)."""
    interposed = set()
    for block in re.findall(r"/\*\s*interposed:(.*?)\*/", text, re.DOTALL):
        interposed |= set(re.findall(r"\w+", block))
    code = re.sub(r"/\*.*?\*/|#[^\n]*", "", text, flags=re.DOTALL)
    problems = []
    if "*" in code:
        problems.append("libupcall.map: a pattern; it must list every name")
    names = []
    for body in re.findall(r"\{(.*?)\}", code, re.DOTALL):
        names += [n for n in re.findall(r"([\w]+)\s*;", body)]
    problems += [f"libupcall.map: {n} stands twice" for n in sorted(set(names))
                 if names.count(n) > 1]
    problems += [f"libupcall.map: {n} is not upcall_" for n in sorted(set(names))
                 if not n.startswith("upcall_")]
    return set(names), interposed, problems


def exports(lib):
    text = subprocess.run(["nm", "-D", "--defined-only", lib], check=True, capture_output=True,
                          text=True).stdout
    found = set()
    for line in text.splitlines():
        _, kind, name = line.split()
        # A is the version itself.
        if kind != "A":
            found.add(name.split("@")[0])
    return found


def differences(a, b, a_words, b_words):
    return ([f"{n}: {a_words}, but not {b_words}" for n in sorted(a - b)] +
            [f"{n}: {b_words}, but not {a_words}" for n in sorted(b - a)])


def points(tree):
    from common import public_functions, public_objects
    declared = set(public_functions(tree)) | set(public_objects(tree))
    if not os.path.exists(tree.path("src/libupcall.map")):
        return [("declared = listed", [f"{n}: no src/libupcall.map" for n in sorted(declared)]),
                ("listed = exported", None, "there is no src/libupcall.map yet")]
    listed, interposed, problems = parse_map(tree.read("src/libupcall.map"))
    found = [("declared = listed",
              problems + differences(declared, listed, "declared", "listed"))]
    if tree.lib is None:
        return found + [("listed = exported", None, "no shared library has been built")]
    return found + [("listed = exported",
                     differences(listed | interposed, exports(tree.lib), "listed", "exported"))]
