# SPDX-License-Identifier: MIT
"""What the lints share: walking the tree, reading C without its comments, printing TAP.

A lint is a module with points(tree): a list of (name, problems), or (name, None, why) for a point
that cannot be made here. problems is a list of strings; an empty one passes.
"""
import os
import re
import subprocess
import sys

SKIPPED_DIRS = re.compile(r"^(build.*|\.git|__pycache__|\.cache)$")


class Tree:
    """A checkout, and what the build made of it (None where a lint does not need it)."""

    def __init__(self, root, lib=None, kern=None, build=None):
        self.root = os.path.abspath(root)
        self.lib = lib
        self.kern = kern
        self.build = build
        self.tracked = tracked_files(self.root)

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def files(self, *tops, ext=(".c", ".h", ".S")):
        """Paths relative to the root of all files under tops with one of the endings, sorted."""
        found = []
        for top in tops:
            for where, dirs, names in os.walk(self.path(top)):
                dirs[:] = [d for d in dirs if not SKIPPED_DIRS.match(d)]
                found += [os.path.relpath(os.path.join(where, n), self.root)
                          for n in names if n.endswith(ext)]
        return sorted(f for f in found if self.tracked is None or f in self.tracked)

    def read(self, path):
        with open(self.path(path), encoding="utf-8", errors="replace") as f:
            return f.read()

    def code(self, path):
        """The file with comments and the insides of strings blanked, line numbers kept."""
        return strip(self.read(path))


def tracked_files(root):
    """What git knows of, so that a file in the making is judged once it is added; None: judge all."""
    if not os.path.exists(os.path.join(root, ".git")):
        return None
    done = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=root,
                          capture_output=True, text=True)
    return set(done.stdout.split("\0")) if done.returncode == 0 else None


TOKEN = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)


def strip(text):
    def blank(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token[0] * 2
        return re.sub(r"[^\n]", " ", token)

    # An #include's quotes are names, not strings.
    kept = re.compile(r'(^[ \t]*#[ \t]*include[ \t]*)"([^"\n]+)"', re.MULTILINE)
    text = kept.sub(r"\1<\2>", text)
    return TOKEN.sub(blank, text)


def lines_matching(text, pattern):
    """(line number, line) of every line that matches."""
    return [(i, line) for i, line in enumerate(text.split("\n"), 1) if pattern.search(line)]


def public_functions(tree):
    """Name to header of every upcall_ function that a public header declares."""
    found = {}
    for header in tree.files("include/upcall", ext=(".h",)):
        code = re.sub(r"^[ \t]*#.*(?:\\\n.*)*", "", tree.code(header), flags=re.MULTILINE)
        # A parameter or member of function type has its name in parentheses: (*name)(.
        for match in re.finditer(r"(?<!\(\*)(?<!\w)(upcall_\w+)\s*\(", code):
            before = code[:match.start()].rstrip(" \t\n*")
            # A call within an inline body follows an operator or a statement, not a type.
            if re.search(r"[\w]$", before) and not re.search(r"\breturn$", before):
                found.setdefault(match.group(1), header)
    return found


def public_objects(tree):
    """Name to header of every upcall_ object that a public header declares."""
    found = {}
    for header in tree.files("include/upcall", ext=(".h",)):
        for match in re.finditer(r"^\s*extern\b[^;(]*\b(upcall_\w+)\s*;", tree.code(header),
                                 flags=re.MULTILINE):
            found[match.group(1)] = header
    return found


def report(points):
    """Prints TAP; the exit status is 0 when every point passed."""
    print(f"1..{len(points)}")
    bad = 0
    for nr, (name, problems, *why) in enumerate(points, 1):
        if problems is None:
            print(f"ok {nr} - {name} # SKIP {why[0]}")
            continue
        print(f"{'not ' if problems else ''}ok {nr} - {name}")
        for problem in problems:
            print(f"# {problem}")
        bad += bool(problems)
    sys.stdout.flush()
    return 1 if bad else 0
