"""docs/security-model.md names tests that exist, and accounts for each requirement of ASVS 5.0."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from support.wsgi import Client

from swaig_wsgi import AgentApp

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "security-model.md").read_text(encoding="utf-8")
MODULES = sorted((ROOT / "swaig_wsgi").rglob("*.py"))

#: How many requirements each section of ASVS 5.0.0 has, chapter by chapter.
ASVS = (
    *((2, 10, 12, 3, 3), (3, 3, 5, 2), (1, 3, 5, 8, 8, 1, 5), (5, 5, 2, 4), (1, 6, 3, 3)),
    *((3, 12, 8, 6, 8, 4, 2, 4), (3, 4, 2, 5, 3, 2), (4, 4, 3, 2), (3, 4)),
    *((2, 3, 5, 16, 5, 2, 3), (4, 5, 5, 4, 2, 2, 2), (5, 2, 5), (4, 6, 4, 7), (2, 8, 3)),
    *((5, 5, 7, 4), (1, 5, 4, 3, 4), (2, 8, 2)),
)
REQUIREMENTS = {
    f"{chapter}.{section}.{number}"
    for chapter, sections in enumerate(ASVS, 1)
    for section, last in enumerate(sections, 1)
    for number in range(1, last + 1)
}

#: Modules that run programs, or that make objects of any type from octets.
DANGEROUS = {"code", "codeop", "ctypes", "dill", "multiprocessing", "pickle", "pty", "runpy"}
DANGEROUS |= {"shelve", "subprocess", "xml", "yaml"}
#: Functions of them and of `os`; `compile` runs nothing, and `marshal.dumps` reads nothing.
CALLS = re.compile(
    r"(eval|exec|__import__|marshal\.loads?|os\.(system|popen|exec\w*|spawn\w*|posix_spawn\w*)"
    r"|asyncio\.create_subprocess_\w+)"
)
CRYPTOGRAPHY = {"hashlib", "hmac", "secrets", "ssl"}


def rows(section: str) -> list[list[str]]:
    """Return the cells of the tables below a heading, without their first two lines."""
    text = re.search(rf"(?ms)^##+ {re.escape(section)}\n(.*?)(?=^##+ |\Z)", PAGE)
    assert text is not None, section
    lines = [line for line in text[1].splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert set(table[1]) <= {"---", ":---:"}, section
    return table[2:]


def named(text: str) -> Iterator[tuple[str, str]]:
    """Yield the file and name of each test in `text`; ``::name`` is in the file before it."""
    file = ""
    for quoted in re.findall(r"`([^`]+)`", text):
        if quoted.startswith("tests/"):
            file, _, name = quoted.partition("::")
            yield file, name
        elif quoted.startswith("::") or (file and quoted.startswith("test_")):
            yield file, quoted.removeprefix("::")


@functools.cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_every_named_test_exists() -> None:
    tests = set(named(PAGE))
    missing = [
        f"{file}::{name}"
        for file, name in sorted(tests)
        if not (ROOT / file).is_file() or (name and name not in functions(file))
    ]
    assert missing == []
    assert len(tests) > 300


def test_every_row_names_its_test() -> None:
    for section in ("Trust boundaries", "Promises", "Attacks that were tried"):
        for row in rows(section):
            assert [*named(row[-1])], row
    for row in rows("OWASP ASVS 5.0"):
        assert row[3] in ("met", "user's", "not"), row
        assert (row[3] == "met") == bool([*named(row[4])]), row


def expand(numbers: str) -> Iterator[str]:
    """Yield the requirements that `numbers` stand for: ``1.2.3-1.2.5, 4.3, 10``."""
    for part in numbers.split(", "):
        first, _, last = part.partition("-")
        if last:
            section, _, start = first.rpartition(".")
            assert last.rpartition(".")[0] == section, part
            for number in range(int(start), int(last.rpartition(".")[2]) + 1):
                yield f"{section}.{number}"
        elif first.count(".") == 2:
            yield first
        else:
            within = [each for each in REQUIREMENTS if each.startswith(first + ".")]
            assert within, part
            yield from within


def test_every_requirement_of_asvs_is_accounted_for_once() -> None:
    assert len(REQUIREMENTS) == 345
    tables = rows("OWASP ASVS 5.0") + rows("What cannot apply")
    counted = Counter(number for row in tables for number in expand(row[0]))
    assert {number: count for number, count in counted.items() if count > 1} == {}
    assert set(counted) - REQUIREMENTS == set()
    assert REQUIREMENTS - set(counted) == set()


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def test_attack_no_text_becomes_code_or_a_program() -> None:
    checked = 0
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert DANGEROUS.isdisjoint(imported(tree)), path
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                assert CALLS.fullmatch(ast.unparse(node.func)) is None, (path, node.lineno)
                checked += 1
    assert checked > 3000


def test_every_module_that_uses_cryptography_is_listed() -> None:
    using = {
        path.relative_to(ROOT / "swaig_wsgi").as_posix()
        for path in MODULES
        if not CRYPTOGRAPHY.isdisjoint(imported(ast.parse(path.read_text(encoding="utf-8"))))
    }
    listed = {name for row in rows("Cryptography") for name in re.findall(r"`([^`]+\.py)`", row[3])}
    assert listed == using


def test_an_agent_does_not_trace() -> None:
    client = Client(AgentApp("bank", basic_auth=("u", "p")), auth=("u", "p"))
    for path in ("/", "/swaig", "/post_prompt", "/health"):
        assert client.open("TRACE", path).status in (404, 405)
