# SPDX-License-Identifier: MIT
"""Every header stands on its own: public ones as strict C11 and C++17, the boundary's as C, C++ and
for clang's BPF target, internal ones as C."""
import os
import platform
import shutil
import subprocess

CC = os.environ.get("CC", "cc").split()
CXX = os.environ.get("CXX", "c++").split()
WARN = ["-Wall", "-Wextra", "-Wundef", "-Werror", "-fsyntax-only", "-Iinclude"]


def compiles(tree, header, compiler, args):
    """The problems of one header, included twice and alone."""
    name = header.split("/", 1)[1]
    text = f"#include <{name}>\n#include <{name}>\nextern int up_lint_not_empty;\n"
    done = subprocess.run(compiler + args + ["-"], input=text, cwd=tree.root,
                          capture_output=True, text=True)
    if done.returncode == 0:
        return []
    first = [line for line in done.stderr.splitlines() if "error" in line][:1]
    return [f"{header}: {' '.join(args[:3])}: {first[0] if first else done.stderr.strip()}"]


def each(tree, headers, compiler, args):
    return [p for header in headers for p in compiles(tree, header, compiler, args)]


def internal(tree):
    own = platform.machine()
    return [h for h in tree.files("src", ext=(".h",))
            if not h.startswith("src/arch/") or h.count("/") == 2 or f"/{own}/" in h]


def version(tree):
    """version.h and meson.build name the same version."""
    import re
    if not os.path.exists(tree.path("include/upcall/version.h")):
        return ["include/upcall/version.h: is not there"]
    header = ".".join(re.findall(r"^#define UPCALL_VERSION_\w+ (\d+)$",
                                 tree.read("include/upcall/version.h"), re.MULTILINE))
    build = re.search(r"^ +version: '([\d.]+)'", tree.read("meson.build"), re.MULTILINE)
    if build and header == build.group(1):
        return []
    return [f"version.h says {header}, meson.build {build and build.group(1)}"]


def points(tree):
    public = tree.files("include/upcall", ext=(".h",))
    abi = tree.files("src/abi", ext=(".h",))
    src = ["-Isrc"]
    bpf = ["--target=bpf", "-std=gnu11", "-ffreestanding", "-O2"]
    found = [
        ("version.h and meson.build agree", version(tree)),
        ("public headers are C11",
         each(tree, public, CC, ["-xc", "-std=c11", "-Wpedantic"] + WARN)),
        ("public headers are C++17",
         each(tree, public, CXX, ["-xc++", "-std=c++17", "-Wpedantic"] + WARN)),
        ("boundary headers are C", each(tree, abi, CC, ["-xc", "-std=gnu11"] + WARN + src)),
        ("boundary headers are C++", each(tree, abi, CXX, ["-xc++", "-std=c++17"] + WARN + src)),
        ("internal headers stand alone",
         each(tree, internal(tree), CC, ["-xc", "-std=gnu11", "-D_GNU_SOURCE"] + WARN + src)),
    ]
    name = "boundary headers are valid for BPF"
    if shutil.which("clang") is None:
        return found + [(name, None, "clang is not installed")]
    return found + [(name, each(tree, abi, ["clang", "-xc"], bpf + WARN + src))]
