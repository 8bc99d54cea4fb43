"""Figures of speed and memory are in docs/performance.md, whose tables `tox -e bench` writes.

Time limits and bounds are no such claims: other tests hold them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
TEXTS = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")} - {PAGE})
CLAIM = re.compile(
    r"\b\d[\d.,]*\s(?:\xb5s|us|ns|microseconds?|(?:requests|calls|MB)\s(?:a|per)\s+second)\b"
    r"|\btimes\s(?:as\s)?(?:fast|slow|long)|%\s(?:faster|slower)"
    r"|\btakes\s(?:about|around|some)\s\d",
)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_other_page_states_figures_of_speed_or_memory(path: Path) -> None:
    found = [match[0] for match in CLAIM.finditer(path.read_text(encoding="utf-8"))]
    assert not found, "write a benchmark for tests/benchmarks/suite.py, and link to its table"


@pytest.mark.parametrize(
    "text",
    [
        "Counting adds about 30 \xb5s to a tool call.",
        "It serves 3,000 requests a second.",
        "the log grows by 100 MB a second",
        "1.03 times as long as before",
        "20 % faster",
        "one counter takes about 90 bytes",
    ],
)
def test_such_figures_are_found(text: str) -> None:
    assert CLAIM.search(text)


def test_figures_of_performance_outside_of_the_tables_do_not_change_from_run_to_run() -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- figures -->")
    prose = before + rest.partition("<!-- end of figures -->")[2]
    assert not re.findall(r"\d\s?(?:\xb5s|ms|MB|MiB)\b", prose)
    assert not re.findall(r"^\|.*\d", prose, re.MULTILINE)
