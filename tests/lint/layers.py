# SPDX-License-Identifier: MIT
"""Who may include whom. One table; the kernel side is held to more: see PURE_SYSTEM."""
import os
import re

# folder under src -> folders it may include besides itself; "public" is include/upcall.
MAY_INCLUDE = {
    "abi": [],
    "base": [],
    "arch": ["abi", "base"],
    "kern": ["abi", "base"],
    "host": ["abi", "base", "arch", "kern", "public"],
    "user": ["abi", "base", "arch", "kern", "host", "public"],
    "fork": ["abi", "base", "arch", "user", "public"],
    "sync": ["abi", "base", "arch", "user", "public"],
    "io": ["abi", "base", "arch", "host", "user", "public"],
    "mem": ["abi", "base", "arch", "user", "public"],
    "sched": ["base", "public"],
    "ctlfs": ["base"],
    "daemon": ["abi", "base", "arch", "kern", "host", "ctlfs"],
    "cli": ["abi", "base", "arch", "public"],
}
# Trees outside src that live on the public headers.
PUBLIC_ONLY = ["examples", "compat", "include/upcall"]

# All that the kernel side may see of the system: no clock, no thread, no system call, no heap
# (memory comes from the allocator that it is given).
PURE_SYSTEM = {"stdint.h", "stdbool.h", "stddef.h", "string.h", "errno.h", "limits.h"}
# And what it may leave for the linker: what compilers call unasked, and our own.
PURE_SYMBOL = re.compile(r"^(up_\w+|mem(cpy|set|move|cmp)|str(len|n?cmp)|_GLOBAL_OFFSET_TABLE_"
                         r"|__stack_chk_fail|__(asan|ubsan|tsan|gcov|sanitizer)_\w+)$")

INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*([<\"])([^>\"\n]+)[>\"]", re.MULTILINE)


def includes(tree, path):
    # Quotes are looked at before comments are blanked, so blank only comments here.
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", tree.read(path), flags=re.DOTALL)
    return [m.group(2) for m in INCLUDE.finditer(text)]


def resolve(tree, path, name):
    """Our file that `name` means when `path` includes it, or None: the system's."""
    for base in (os.path.dirname(path), "src", "include"):
        there = os.path.normpath(os.path.join(base, name))
        if os.path.isfile(tree.path(there)):
            return there
    return None


def folder(path):
    """What the table calls the place of one of our files; None for those above every layer."""
    if path.startswith("include/upcall/"):
        return "public"
    parts = path.split("/")
    if parts[0] == "src":
        return parts[1] if len(parts) > 2 else None
    return parts[0]


def direction(tree):
    problems = []
    for path in tree.files("src", *PUBLIC_ONLY, ext=(".c", ".h", ".S", ".cc")):
        own = folder(path)
        if own is None:
            continue
        if path.startswith("src/") and own not in MAY_INCLUDE:
            problems.append(f"{path}: folder {own} is not in the table of {__file__}")
            continue
        allowed = {own} | set(MAY_INCLUDE[own] if path.startswith("src/") else ["public"])
        for name in includes(tree, path):
            target = resolve(tree, path, name)
            if target is not None and folder(target) not in allowed:
                problems.append(f"{path}: {own} may not include {target}")
    return problems


def purity(tree):
    """The kernel side's includes, followed all the way down."""
    problems = []
    for path in tree.files("src/kern"):
        seen, todo = set(), [(path, path)]
        while todo:
            at, chain = todo.pop()
            for name in includes(tree, at):
                target = resolve(tree, at, name)
                if target is None and name not in PURE_SYSTEM:
                    problems.append(f"{chain}: <{name}> is not for the kernel side")
                elif target is not None and target not in seen:
                    seen.add(target)
                    todo.append((target, f"{chain} -> {target}"))
    return problems


def undefined(text):
    """Symbols that an archive leaves open, out of what nm prints of it."""
    opened, defined = set(), set()
    for line in text.splitlines():
        parts = line.split()
        if len(parts) == 2 and parts[0] in "Uw":
            opened.add(parts[1])
        elif len(parts) == 3:
            defined.add(parts[2])
    return sorted(opened - defined)


def points(tree):
    import subprocess
    found = [("includes point one way", direction(tree)),
             ("the kernel side includes nothing that acts", purity(tree))]
    name = "the kernel side's library calls nothing that acts"
    if tree.kern is None:
        return found + [(name, None, "no kernel side has been built")]
    text = subprocess.run(["nm", tree.kern], check=True, capture_output=True, text=True).stdout
    return found + [(name, [f"{tree.kern}: calls {s}" for s in undefined(text)
                            if not PURE_SYMBOL.match(s)])]
