"""Every line of a log that the documentation quotes is produced by a test."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from test_events import LISTED, SCENARIOS

from swaig_wsgi.middleware._variables import warn_of_unknown_variables

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "examples/*/README.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.M | re.S)
#: What only a line of a log contains.
LOG_LINE = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b|\breason=|\boutcome=")
#: ``draining: /ready responds 503``, but no header field, JSON or option.
MESSAGE = re.compile(r"[a-z][a-z ,]+: [^\"\d]\S*( \S+)*")


class Block(NamedTuple):
    page: str
    section: str
    text: str


def blocks() -> Iterator[Block]:
    """Return the quoted lines of logs, and fail for those that are not marked as text."""
    for path in PAGES:
        page = path.read_text()
        for match in BLOCK.finditer(page):
            *_, section = ["", *re.findall(r"^##+ (.*)$", page[: match.start()], re.M)]
            if match[2] == "text":
                yield Block(path.name, section, match[3])
            elif match[2] in ("", "log", "console"):
                assert LOG_LINE.search(match[3]) is None, (path.name, match[3])


def inline() -> Iterator[str]:
    for path in PAGES:
        for text in re.findall(r"`([^`]+)`", BLOCK.sub("", path.read_text())):
            yield " ".join(text.split())


def sections_of_incidents() -> set[tuple[str, str]]:
    """Return the sections whose lines tests get with ``lines_of(page, section)`` and wait for."""
    found = set()
    for path in TESTS.rglob("*.py"):
        source = path.read_text()
        if "lines_of" in source:
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "lines_of":
                    constants = [each for each in node.args if isinstance(each, ast.Constant)]
                    assert len(constants) == 2, f"{path.name}: lines_of() needs two literals"
                    found.add(tuple(each.value for each in constants))
    return found


BLOCKS = list(blocks())
#: Sections whose lines are produced by another test: in test_events.py, and below.
ELSEWHERE = {
    *((block.page, block.section) for block in BLOCKS if block.page == "events.md"),
    ("configuration.md", "Misspelt variables"),
    # The report of a run, and no lines of a log: tox -e soak.
    ("proof.md", "Soak test"),
}


def test_every_quoted_block_is_produced_by_a_test() -> None:
    quoted = {(block.page, block.section) for block in BLOCKS}
    assert quoted - ELSEWHERE - sections_of_incidents() == set()
    assert quoted >= ELSEWHERE


def test_every_quoted_event_is_produced_by_a_test() -> None:
    pairs = {
        pair
        for text in [*(block.text for block in BLOCKS), *inline()]
        for pair in re.findall(r"(?<![=\w])([a-z_]+) reason=(\w+)", text)
    }
    assert ("auth_refused", "bad_credentials") in pairs
    assert pairs - SCENARIOS.keys() == set()
    assert pairs <= {(event, reason) for event, reason, _ in LISTED}


def test_every_message_in_a_sentence_is_expected_by_a_test() -> None:
    sources = [path.read_text() for path in TESTS.rglob("test_*.py") if path != Path(__file__)]
    messages = {text for text in inline() if MESSAGE.fullmatch(text)}
    assert "draining: /ready responds 503" in messages
    assert "ready, but some checks fail: 'store'" in messages
    assert [text for text in messages if not any(text in source for source in sources)] == []


def test_the_warning_of_misspelt_variables_is_as_quoted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (block,) = (each for each in BLOCKS if each.page == "configuration.md")
    lines = block.text.splitlines()
    for line in lines:
        monkeypatch.setenv(line.partition(":")[0], "a.example")
    monkeypatch.setattr("swaig_wsgi.middleware._variables._logged", set())
    with caplog.at_level(logging.WARNING):
        warn_of_unknown_variables()
    for line in lines:
        assert line in caplog.text
