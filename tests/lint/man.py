# SPDX-License-Identifier: MIT
"""Every public function has a page in docs/man (.3 or .3.scd) that names it."""
import re

from common import public_functions


def points(tree):
    named = set()
    for page in tree.files("docs/man", ext=(".3", ".3.scd")):
        # scdoc writes upcall\_x where an underscore would start an underline.
        named |= set(re.findall(r"\bupcall_\w+", tree.read(page).replace("\\_", "_")))
    return [("each public function has a page",
             [f"{header}: {name} has no page in docs/man"
              for name, header in sorted(public_functions(tree).items()) if name not in named])]
