# SPDX-License-Identifier: MIT
"""What a page names as the proof of a row is there. In the last column of the tables of PAGES a word
in backticks is a Meson test (`user-races`; `gate1` stands for all gate1-...), a model (`notify.pml`), a
mutant (behind the word mutant or mutants), an errno, or a function that is called (`f()`); a bare word
with an underscore is the name of a case, and stands in a source of the tests."""
import json
import os
import re

PAGES = ["docs/pitfalls.md", "docs/races.md"]


def built_tests(build):
    """The names of all tests, or None where there is no build folder to ask."""
    path = os.path.join(build or "", "meson-info", "intro-tests.json")
    if not build or not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as f:
        return {t["name"] for t in json.load(f)}


def rows(text):
    """(line number, last column) of each row of a table that is no head."""
    for nr, line in enumerate(text.split("\n"), 1):
        if line.startswith("| ") and line.rstrip().endswith("|"):
            yield nr, line.strip().strip("|").split("|")[-1]


def is_test(name, tests):
    return name in tests or any(t.startswith(name + "-") for t in tests)


def strangers(column, tests, models, mutants, sources):
    """What the column names and nobody has."""
    after_mutant = False
    for quoted, word in re.findall(r"`([^`]*)`|(\w+)", column):
        if word:
            after_mutant = word in ("mutant", "mutants") or (after_mutant and word == "and")
            if "_" in word and not re.search(rf"\b(test_)?{word}(_|\b)", sources):
                yield f"no test has a case {word}"
        elif quoted.endswith(".pml"):
            if quoted not in models:
                yield f"there is no model {quoted}"
        elif quoted.endswith("()") or quoted.startswith("-E"):
            continue
        elif not is_test(quoted, tests) and not (after_mutant and quoted in mutants):
            yield f"there is no test {'or mutant ' if after_mutant else ''}{quoted}"


def points(tree):
    what = "what the pages name as proof is there"
    tests = built_tests(tree.build)
    if tests is None:
        return [(what, None, "no build folder to ask for its tests")]
    sources = "\n".join(tree.read(f) for f in tree.files("tests", ext=(".c", ".cc", ".h", ".pml")))
    models = {os.path.basename(f) for f in tree.files("tests", ext=(".pml",))}
    mutants = {line.split(" | ")[0] for line in tree.read("tests/mutants/mutants.txt").split("\n")
               if " | " in line} if os.path.exists(tree.path("tests/mutants/mutants.txt")) else set()
    problems = []
    for page in PAGES:
        if not os.path.exists(tree.path(page)):
            problems.append(f"{page}: is not there")
            continue
        problems += [f"{page}:{nr}: {stranger}" for nr, column in rows(tree.read(page))
                     for stranger in strangers(column, tests, models, mutants, sources)]
    return [(what, problems)]
