# SPDX-License-Identifier: MIT
"""No function of src is longer than 60 lines, unless a comment right above it says why:
    /* long because: ... */
Clang-format puts a function's braces into column 0, and nothing else; that is what is counted."""
import re

LIMIT = 60


def functions(text):
    """(first line, last line, name, comment above) of each function definition."""
    lines = text.split("\n")
    start = None
    for i, line in enumerate(lines):
        if line == "{":
            start = i
        elif line == "}" and start is not None:
            head = start - 1
            # The signature reaches up to an empty line, a comment's end, a brace or a directive.
            while head > 0 and not re.search(r"^$|\*/\s*$|^[}#]|;\s*$", lines[head - 1]):
                head -= 1
            above = []
            at = head - 1
            if at >= 0 and lines[at].rstrip().endswith("*/"):
                while at >= 0:
                    above.insert(0, lines[at])
                    if "/*" in lines[at]:
                        break
                    at -= 1
            name = re.search(r"(\w+)\s*\(", " ".join(lines[head:start]))
            yield start + 1, i + 1, name.group(1) if name else "?", "\n".join(above)
            start = None


def points(tree):
    problems = []
    for path in tree.files("src", ext=(".c", ".h")):
        for first, last, name, above in functions(tree.read(path)):
            length = last - first + 1
            if length > LIMIT and "long because:" not in above:
                problems.append(f"{path}:{first}: {name} has {length} lines, more than {LIMIT}")
    return [("functions are short, or say why not", problems)]
