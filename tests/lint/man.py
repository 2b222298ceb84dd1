# SPDX-License-Identifier: MIT
"""Every public function has a page in docs/man (.3 or .3.scd) that names it, and can be asked for by
its own name: the page is called so, or docs/meson.build makes a page that leads there."""
import os
import re

from common import public_functions


def points(tree):
    named = set()
    for page in tree.files("docs/man", ext=(".3", ".3.scd")):
        # scdoc writes upcall\_x where an underscore would start an underline.
        named |= set(re.findall(r"\bupcall_\w+", tree.read(page).replace("\\_", "_")))
    pages = {os.path.basename(p).split(".")[0] for p in tree.files("docs/man", ext=(".3", ".3.scd"))}
    if os.path.exists(tree.path("docs/meson.build")):
        pages |= set(re.findall(r"'(upcall_\w+)'", tree.read("docs/meson.build")))
    functions = sorted(public_functions(tree).items())
    return [("each public function has a page",
             [f"{header}: {name} has no page in docs/man"
              for name, header in functions if name not in named]),
            ("and is found by its name",
             [f"{header}: {name} stands in no list of docs/meson.build"
              for name, header in functions if name not in pages])]
