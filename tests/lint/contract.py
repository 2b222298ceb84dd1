# SPDX-License-Identifier: MIT
"""The comment right above each public prototype says in which context it may be called, whether it
may block, and its errors:  Context: any; does not block.  Errors: -EINVAL ...
One comment a function: prototypes that share a line of comment share what is wrong in it, too."""
import re

from common import public_functions

WANTED = [("Context: ", r"\bContext:\s"),
          ("whether it may block", r"\b(may|does\s+not)[\s*]+block\b"),
          ("its errors", r"\bErrors:\s|-E[A-Z]{3,}")]


def comment_above(lines, at):
    """The comment that ends right above line `at`; lines of the declaration and of directives that
    belong to it may stand in between."""
    at -= 1
    while at >= 0 and re.match(r"#|\[\[noreturn|__attribute__", lines[at]):
        at -= 1
    if at < 0 or not lines[at].rstrip().endswith("*/"):
        return ""
    found = []
    while at >= 0:
        found.insert(0, lines[at])
        if "/*" in lines[at]:
            return "\n".join(found)
        at -= 1
    return ""


def points(tree):
    problems = []
    for name, header in sorted(public_functions(tree).items()):
        lines = tree.read(header).split("\n")
        code = tree.code(header).split("\n")
        at = next(i for i, line in enumerate(code)
                  if re.search(rf"^\w.*(?<!\w){name}\s*\(", line))
        above = comment_above(lines, at)
        problems += [f"{header}:{at + 1}: {name}: the comment above does not say {what}"
                     for what, pattern in WANTED if not re.search(pattern, above)]
    return [("each prototype has its context, whether it may block, and errors", problems)]
