# SPDX-License-Identifier: MIT
"""What must not be written, and where; and how a source file must begin."""
import re

from common import lines_matching

CODE, TEXT = "code", "text"

# (pattern, in code or in all text, where, but not there, why)
FORBIDDEN = [
    (r"\b(swap|make|set|get)context\b", CODE, ["src", "include"], [],
     "it makes a system call at every switch"),
    (r"\b(TODO|FIXME|XXX)\b", TEXT, ["src", "include", "tests", "bench", "examples"],
     ["tests/lint"], "do it, or open an issue"),
    (r"\b(__atomic_\w+|__sync_\w+|_Atomic|atomic_\w+\s*\()", CODE, ["src", "include"],
     ["src/base/atomic.h"], "all atomics go through base/atomic.h"),
    (r"<stdatomic\.h>", CODE, ["src", "include"], [], "all atomics go through base/atomic.h"),
    (r"\b(__x86_64__|__i386__|__aarch64__|__riscv|REG_R[A-Z0-9]+|__builtin_ia32_\w+)\b", CODE,
     ["src", "include"], ["src/arch", "src/base/atomic.h", "src/base/syscall.h", "include/upcall/critical.h",
                          "include/upcall/sync_inline.h"],
     "one CPU is src/arch's business"),
    (r"<(asm/prctl|immintrin|x86intrin|cpuid)\.h>", CODE, ["src", "include"], ["src/arch"],
     "one CPU is src/arch's business"),
    (r"\b(__asm__|asm)\b\s*(__volatile__|volatile|goto)?\s*\(", CODE, ["src", "include"],
     ["src/arch", "src/base/atomic.h", "src/base/syscall.h", "include/upcall/critical.h",
      "include/upcall/sync_inline.h"],
     "all assembly is in src/arch"),
    (r"\b(printf|fprintf|vprintf|puts|fputs|putchar|perror|exit|abort|err|errx|warnx?)\s*\(", CODE,
     ["src"], ["src/cli", "src/daemon"], "the library neither prints nor exits"),
    (r"(^|[\s\"'(=])/(work|root|home/\w+)/", TEXT,
     ["src", "include", "tests", "bench", "examples", "docs", "tools", ".ci"], ["tests/lint"],
     "a path of one machine"),
]
COLUMNS = 100


def under(path, places):
    return any(path == p or path.startswith(p + "/") for p in places)


def forbidden(tree):
    problems = []
    for pattern, kind, where, but, why in FORBIDDEN:
        ext = (".c", ".h", ".S", ".cc") if kind is CODE else (
            ".c", ".h", ".S", ".cc", ".md", ".py", ".sh", ".pml", ".txt", "meson.build")
        for path in tree.files(*where, ext=ext):
            if under(path, but):
                continue
            text = tree.code(path) if kind is CODE else tree.read(path)
            problems += [f"{path}:{nr}: {line.strip()[:60]}: {why}"
                         for nr, line in lines_matching(text, re.compile(pattern))]
    return problems


def heads(tree):
    """First line SPDX, then a comment that says what the file promises."""
    problems = []
    for path in tree.files("src", "include", "tests", "bench", "examples",
                           ext=(".c", ".h", ".S", ".cc")):
        lines = tree.read(path).split("\n") + ["", ""]
        if not re.match(r"(/\*|//) SPDX-License-Identifier: MIT", lines[0]):
            problems.append(f"{path}: the first line is not SPDX-License-Identifier: MIT")
        elif not re.match(r"\s*(/\*|//)", lines[1]):
            problems.append(f"{path}: no paragraph says what the file promises")
    return problems


def shape(tree):
    """Tabs indent, and no code (comments and long strings aside) is wider than 100 columns."""
    problems = []
    for path in tree.files("src", "include", "tests", "bench", "examples",
                           ext=(".c", ".h", ".S", ".cc")):
        code = tree.code(path).split("\n")
        for nr, line in enumerate(tree.read(path).split("\n"), 1):
            if len(code[nr - 1].rstrip().expandtabs(8)) > COLUMNS:
                problems.append(f"{path}:{nr}: more than {COLUMNS} columns")
            if re.match(r"\t* {8,}\S", line):
                problems.append(f"{path}:{nr}: spaces where a tab indents")
            if line != line.rstrip():
                problems.append(f"{path}:{nr}: space at the end of the line")
    return problems


def points(tree):
    return [("no forbidden word", forbidden(tree)),
            ("each file says what it promises", heads(tree)),
            ("tabs, and no more than 100 columns", shape(tree))]
