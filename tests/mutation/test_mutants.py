from __future__ import annotations

import ast

import pytest
from mutation.mutants import explanations, find_mutants
from mutation.table import with_rows

SOURCE = '''
"""Documentation."""

from __future__ import annotations

import re

__all__ = ["first"]

_NAME = re.compile("[a-z]{1,8}|pass_word|key", re.IGNORECASE)
LIMIT = 60


def first(text: str, limit: int = 5) -> bool:
    """Documentation."""
    if len(text) < limit and not text.startswith("a"):
        raise ValueError(f"a message about {text}")
    while text:
        break
    return _NAME.fullmatch(text) is not None
'''

CHANGES = {
    "_NAME: re.compile('[a-z]{1,8}|pass_word|key', re.IGNORECASE) -> "
    "re.compile('[a-z]{1,8}|pass_wordXX|key', re.IGNORECASE)",
    "_NAME: re.compile('[a-z]{1,8}|pass_word|key', re.IGNORECASE) -> "
    "re.compile('[a-z]{1,8}|pass_word|keyXX', re.IGNORECASE)",
    "_NAME: re.compile('[a-z]{1,8}|pass_word|key', re.IGNORECASE) -> "
    "re.compile('[a-z]{2,8}|pass_word|key', re.IGNORECASE)",
    "_NAME: re.compile('[a-z]{1,8}|pass_word|key', re.IGNORECASE) -> "
    "re.compile('[a-z]{1,9}|pass_word|key', re.IGNORECASE)",
    "_NAME: re.compile('[a-z]{1,8}|pass_word|key', re.IGNORECASE) -> "
    "re.compile('[a-z]{1,8}|pass_word|key', 0)",
    "LIMIT: 60 -> 61",
    "first: 5 -> 6",
    "first: len(text) < limit and (not text.startswith('a')) -> "
    "not (len(text) < limit and (not text.startswith('a')))",
    "first: len(text) < limit and (not text.startswith('a')) -> "
    "len(text) < limit or not text.startswith('a')",
    "first: len(text) < limit and (not text.startswith('a')) -> "
    "len(text) <= limit and (not text.startswith('a'))",
    "first: len(text) < limit and (not text.startswith('a')) -> "
    "len(text) < limit and text.startswith('a')",
    "first: len(text) < limit and (not text.startswith('a')) -> "
    "len(text) < limit and (not text.endswith('a'))",
    "first: len(text) < limit and (not text.startswith('a')) -> "
    "len(text) < limit and (not text.startswith('aXX'))",
    "first: raise ValueError(f'a message about {text}') -> pass",
    "first: text -> not text",
    "first: break -> continue",
    "first: return _NAME.fullmatch(text) is not None -> return None",
    "first: _NAME.fullmatch(text) is not None -> _NAME.fullmatch(text) is None",
    "first: _NAME.fullmatch(text) is not None -> _NAME.match(text) is not None",
}


def test_each_change_is_made_once() -> None:
    mutants = find_mutants("core/example.py", SOURCE)
    assert {mutant.name.partition(" ")[2] for mutant in mutants} == CHANGES
    assert len(mutants) == len(CHANGES)
    original = ast.dump(ast.parse(SOURCE))
    for number in range(len(mutants)):
        # A tree stays changed.
        tree = find_mutants("core/example.py", SOURCE)[number].tree()
        assert ast.dump(tree) != original
        compile(tree, "example.py", "exec")


def test_a_mutant_knows_the_functions_that_contain_it() -> None:
    inside = {mutant.change: mutant.functions for mutant in find_mutants("m.py", SOURCE)}
    assert inside["break -> continue"] == (("first", 14),)
    assert inside["5 -> 6"] == inside["60 -> 61"] == ()


def test_changes_that_look_alike_are_numbered() -> None:
    names = [mutant.name for mutant in find_mutants("m.py", "a = (1, 1)\n")]
    assert names == ["m.py a: (1, 1) -> (2, 1)", "m.py a: (1, 1) -> (1, 2)"]
    names = [mutant.name for mutant in find_mutants("m.py", "def f():\n    g()\n    g()\n")]
    assert names == ["m.py f: g() -> pass", "m.py f: g() -> pass (number 2)"]


def test_explanations_are_read() -> None:
    text = "# a comment\n\nm.py f: g() -> pass\n    Why it is\n    the same.\n"
    assert explanations(text) == {"m.py f: g() -> pass": "Why it is the same."}


@pytest.mark.parametrize("text", ["    why\n", "a\n", "a\n  b\na\n  b\n", "a\nb\n  c\n"])
def test_explanations_belong_to_one_mutant_each(text: str) -> None:
    with pytest.raises(ValueError, match="expla"):
        explanations(text)


PAGE = """\
Before.

| module | mutants | killed | explained | score |
|---|---:|---:|---:|---:|
| `core/a.py` | 10 | 9 | 0 | 90.0 % |
| `core/c.py` | 0 | 0 | 0 | - |
| all | 10 | 9 | 0 | 90.0 % |

| other | table |
|---|---:|
"""


def test_a_run_replaces_the_rows_of_its_modules_and_the_sums() -> None:
    written = with_rows(PAGE, {"core/b.py": [5, 3, 1], "core/a.py": [10, 10, 0]})
    assert written == PAGE.replace("9 | 0 | 90.0 %", "10 | 0 | 100.0 %", 1).replace(
        "| `core/c.py` | 0 | 0 | 0 | - |\n| all | 10 | 9 | 0 | 90.0 % |",
        "| `core/b.py` | 5 | 3 | 1 | 75.0 % |\n"
        "| `core/c.py` | 0 | 0 | 0 | - |\n"
        "| all | 15 | 13 | 1 | 92.9 % |",
    )
    assert with_rows(written, {}) == written
