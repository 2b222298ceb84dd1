#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each lint passes a small good tree, and fails the same tree with one thing wrong in it."""
import os
import shutil
import subprocess
import sys
import tempfile

import contract
import functions
import headers
import layers
import man
import named
import symbols
import words
from common import Tree, report

HEAD = "/* SPDX-License-Identifier: MIT */\n/* What it promises. */\n"

GOOD = {
    "include/upcall/a.h": HEAD + "#ifndef A_H\n#define A_H\n#ifdef __cplusplus\nextern \"C\" {\n"
                          "#endif\n/* It is. Context: any; does not block. Errors: none. */\n"
                          "int upcall_a(void);\n#ifdef __cplusplus\n}\n#endif\n#endif\n",
    "include/upcall/version.h": HEAD + "#ifndef V_H\n#define V_H\n#define UPCALL_VERSION_MAJOR 1\n"
                                "#define UPCALL_VERSION_MINOR 2\n#endif\n",
    "meson.build": "project('x',\n    version: '1.2')\n",
    "src/libupcall.map": "UPCALL_0.1 {\nglobal:\n\tupcall_a;\n};\n/* interposed: getppid */\n",
    "src/abi/x.h": HEAD + "#ifndef X_H\n#define X_H\n#include <stdint.h>\n#include <stddef.h>\n"
                   "struct upabi_x {\n\tuint32_t a;\n};\n#endif\n",
    "src/base/b.h": HEAD + "#ifndef B_H\n#define B_H\n#include <stdbool.h>\n#endif\n",
    "src/base/clock.h": HEAD + "#ifndef C_H\n#define C_H\n#include <time.h>\n#endif\n",
    "src/kern/k.c": HEAD + '#include "abi/x.h"\n#include "base/b.h"\n#include <string.h>\n',
    "src/user/u.c": HEAD + '#include <upcall/a.h>\n#include "kern/k.h"\n'
                    "int upcall_a(void)\n{\n\treturn 0;\n}\n",
    "src/kern/k.h": HEAD + "#ifndef K_H\n#define K_H\n#include <stddef.h>\n#endif\n",
    "docs/man/a.3.scd": "# NAME\n\n*upcall\\_a*\n",
    "docs/meson.build": "pages = {'a': ['upcall_a']}\n",
    "docs/pitfalls.md": "| a | test |\n|---|---|\n| b | `t-a` some_case, `t`, `m.pml`, mutants `x_y` |\n",
    "docs/races.md": "\n",
    "tests/m.pml": "\n",
    "tests/t.c": HEAD + "int some_case;\n",
    "tests/mutants/mutants.txt": "x_y | f | w | t-a\n",
    "build/meson-info/intro-tests.json": '[{"name": "t-a"}]',
}

LONG = "int f(void)\n{\n" + "\tg();\n" * 70 + "}\n"

# (what is wrong, lint, {file: text or None to remove}, words that a problem must hold)
BAD = [
    ("kern includes host", layers,
     {"src/host/h.h": HEAD, "src/kern/k.c": HEAD + '#include "host/h.h"\n'}, "may not include"),
    ("base includes abi", layers,
     {"src/base/b.h": HEAD + '#include "abi/x.h"\n'}, "base may not include"),
    ("a relative path around the table", layers,
     {"src/kern/k.c": HEAD + '#include "../user/u.c"\n'}, "may not include"),
    ("an example looks inside", layers,
     {"examples/e.c": HEAD + '#include "../src/base/b.h"\n'}, "may not include"),
    ("a public header looks inside", layers,
     {"include/upcall/a.h": HEAD + '#include "../../src/base/b.h"\n'}, "may not include"),
    ("a folder without a row", layers, {"src/misc/m.c": HEAD}, "not in the table"),
    ("kern reads a clock", layers,
     {"src/kern/k.c": HEAD + "#include <time.h>\n"}, "<time.h>"),
    ("kern reads a clock through base", layers,
     {"src/kern/k.c": HEAD + '#include "base/clock.h"\n'}, "<time.h>"),
    ("kern allocates for itself", layers,
     {"src/kern/k.c": HEAD + "#include <stdlib.h>\n"}, "<stdlib.h>"),
    ("a public header that is not C++", headers,
     {"include/upcall/a.h": HEAD + "int upcall_a(int class);\n"}, "a.h"),
    ("a public header that needs another", headers,
     {"include/upcall/a.h": HEAD + "int upcall_a(size_t n);\n"}, "size_t"),
    ("a public header without a guard", headers,
     {"include/upcall/a.h": HEAD + "struct a {\n\tint b;\n};\n"}, "a.h"),
    ("a boundary header that is not C++", headers,
     {"src/abi/x.h": HEAD + "#include <stdint.h>\n_Static_assert(1, \"\");\n"}, "x.h"),
    ("a boundary header that needs libc", headers,
     {"src/abi/x.h": HEAD + "#include <stdint.h>\n#include <bits/none.h>\n"}, "x.h"),
    ("two versions", headers, {"meson.build": "project('x',\n    version: '1.3')\n"}, "says 1.2"),
    ("declared, not listed", symbols,
     {"include/upcall/a.h": HEAD + "int upcall_a(void);\nint upcall_b(void);\n"}, "upcall_b"),
    ("listed, not declared", symbols,
     {"src/libupcall.map": "V {\n\tupcall_a;\n\tupcall_c;\n};\n"}, "upcall_c"),
    ("listed twice", symbols,
     {"src/libupcall.map": "V {\n\tupcall_a;\n};\nW {\n\tupcall_a;\n};\n"}, "twice"),
    ("a pattern in the map", symbols,
     {"src/libupcall.map": "V {\n\tupcall_a;\n\tlocal: *;\n};\n"}, "pattern"),
    ("a stranger under a version", symbols,
     {"src/libupcall.map": "V {\n\tupcall_a;\n\tread;\n};\n"}, "read is not upcall_"),
    ("no map", symbols, {"src/libupcall.map": None}, "no src/libupcall.map"),
    ("a function without a page", man, {"docs/man/a.3.scd": None}, "no page"),
    ("a function not found by its name", man, {"docs/meson.build": "pages = {}\n"}, "in no list"),
    ("a prototype without a comment", contract,
     {"include/upcall/a.h": HEAD + "\nint upcall_a(void);\n"}, "its errors"),
    ("a prototype that does not say whether it blocks", contract,
     {"include/upcall/a.h": HEAD + "/* Context: any. Errors: none. */\nint upcall_a(void);\n"},
     "may block"),
    ("two prototypes under one comment", contract,
     {"include/upcall/a.h": HEAD + "/* Context: any; may block. Errors: none. */\n"
      "int upcall_a(void);\nint upcall_b(void);\n"}, "upcall_b"),
    ("a test that is none", named, {"docs/races.md": "| b | `t-b` |\n"}, "no test t-b"),
    ("a case that is none", named, {"docs/races.md": "| b | `t-a` no_case |\n"}, "case no_case"),
    ("a model that is none", named, {"docs/races.md": "| b | `n.pml` |\n"}, "model n.pml"),
    ("a mutant that is none", named, {"docs/races.md": "| b | mutant `z_z` |\n"}, "mutant z_z"),
    ("no page of pitfalls", named, {"docs/pitfalls.md": None}, "is not there"),
    ("a long function", functions, {"src/user/u.c": HEAD + LONG}, "f has 72 lines"),
    ("a long function after a reason for another", functions,
     {"src/user/u.c": HEAD + "/* long because: a table. */\nint h(void)\n{\n}\n\n" + LONG},
     "f has 72 lines"),
    ("swapcontext", words, {"src/user/u.c": HEAD + "int a = swapcontext(b, c);\n"}, "swapcontext"),
    ("a promise in a comment", words, {"src/user/u.c": HEAD + "/* TO" "DO */\n"}, "TO" "DO"),
    ("an atomic of one's own", words,
     {"src/user/u.c": HEAD + "int a = __atomic_load_n(&b, 0);\n"}, "base/atomic.h"),
    ("assembly outside arch", words,
     {"src/user/u.c": HEAD + "void f(void)\n{\n\t__asm__ __volatile__(\"\");\n}\n"}, "src/arch"),
    ("a CPU outside arch", words,
     {"src/user/u.c": HEAD + "#ifdef __x86_64__\n#endif\n"}, "src/arch"),
    ("a library that prints", words,
     {"src/user/u.c": HEAD + "void f(void)\n{\n\tprintf(\"\");\n}\n"}, "neither prints"),
    ("a path of one machine", words,
     {"tools/t.sh": "cd /home" "/me/x\n"}, "one machine"),
    ("no licence", words, {"src/user/u.c": "int a;\n"}, "SPDX"),
    ("no paragraph", words, {"src/user/u.c": HEAD.split("\n")[0] + "\nint a;\n"}, "promises"),
    ("a wide line", words, {"src/user/u.c": HEAD + "int " + "x" * 99 + ";\n"}, "columns"),
    ("spaces for a tab", words, {"src/user/u.c": HEAD + "void f(void)\n{\n        g();\n}\n"},
     "spaces"),
]

FINE = [
    ("words in comments and strings", words,
     {"src/user/u.c": HEAD + "/* unlike swapcontext( */\nconst char *a = \"printf(\";\n"}),
    ("a long function with its reason", functions,
     {"src/user/u.c": HEAD + "/* long because: a table. */\n" + LONG}),
    ("a call in an inline body is no prototype", symbols,
     {"include/upcall/a.h": HEAD + "int upcall_a(void);\nstatic inline int x(void)\n{\n"
      "\tif (upcall_q(1))\n\t\treturn upcall_z(2);\n\treturn 0;\n}\n"}),
    ("assembly in arch", words,
     {"src/arch/x86_64/a.h": HEAD + "static void f(void)\n{\n\t__asm__(\"\");\n}\n"}),
]


def make(where, files):
    for path, text in files.items():
        full = os.path.join(where, path)
        if text is None:
            os.unlink(full)
            continue
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)


def problems_of(lint, changes, **built):
    with tempfile.TemporaryDirectory() as where:
        make(where, GOOD)
        make(where, changes)
        found = lint.points(Tree(where, build=os.path.join(where, "build"), **built))
        return [p for point in found for p in point[1] or []]


def must_complain(lint, changes, about):
    problems = problems_of(lint, changes)
    if any(about in p for p in problems):
        return []
    return [f"no problem says `{about}`; found: {problems}"]


def built(code, args):
    """Problems that the lints of built things find in a library made of one C file."""
    with tempfile.TemporaryDirectory() as where:
        source, out = os.path.join(where, "l.c"), os.path.join(where, "l.so")
        with open(source, "w", encoding="utf-8") as f:
            f.write(code)
        subprocess.run(headers.CC + args + ["-o", out, source], check=True)
        if "-c" in args:
            return problems_of(layers, {}, kern=out)
        return problems_of(symbols, {}, lib=out)


def about_libraries():
    shared = ["-shared", "-fPIC"]
    good = "int upcall_a(void) { return 1; }\nint getppid(void) { return 1; }\n"
    leak = "int up_secret(void) { return 1; }\n"
    pure = "void *memcpy(void *, const void *, unsigned long);\nvoid *up_x(void *);\n" \
           "void f(void *a) { memcpy(a, up_x(a), 4096); }\n"
    return [
        ("good library passes", built(good, shared)),
        ("bad library: a symbol leaks", [] if built(good + leak, shared) else ["not noticed"]),
        ("bad library: a symbol is missing", [] if built(leak, shared) else ["not noticed"]),
        ("good kernel side passes", built(pure, ["-c"])),
        ("bad kernel side: it allocates",
         [] if built("void *malloc(unsigned long);\nvoid *f(void) { return malloc(7); }\n", ["-c"])
         else ["not noticed"]),
    ]


def main():
    found = [(f"good tree passes: {lint.__name__}", problems_of(lint, {}))
             for lint in (layers, headers, symbols, man, contract, named, functions, words)]
    found += [(f"passes: {what}", problems_of(lint, changes)) for what, lint, changes in FINE]
    found += [(f"fails: {what}", must_complain(lint, changes, about))
              for what, lint, changes, about in BAD]
    return report(found + about_libraries())


if __name__ == "__main__":
    assert shutil.which(headers.CC[0])
    sys.exit(main())
