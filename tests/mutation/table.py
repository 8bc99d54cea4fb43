"""The table of modules in ``docs/proof.md``: a run of one module replaces its row, and the sums."""

from __future__ import annotations

import re

_HEADING = "| module | mutants | killed | explained | score |\n|---|---:|---:|---:|---:|\n"
_TABLE = re.compile(rf"(?<={re.escape(_HEADING)})(?:\|.*\n)*")
_ROW = re.compile(r"\| `(.+)` \| (\d+) \| (\d+) \| (\d+) \|")


def with_rows(page: str, rows: dict[str, list[int]]) -> str:
    """Return a page with these rows in its table, besides those of other modules.

    Args:
        page: the text of the page.
        rows: by module how many mutants there are, were killed, and are explained.
    """

    def replace(table: re.Match[str]) -> str:
        before = {name: [*map(int, counts)] for name, *counts in _ROW.findall(table[0])}
        merged = sorted({**before, **rows}.items())
        sums = [sum(column) for column in zip(*(counts for _, counts in merged))]
        lines = [_line(f"`{name}`", *counts) for name, counts in merged]
        return "".join([*lines, _line("all", *sums)])

    return _TABLE.sub(replace, page, 1)


def _line(name: str, mutants: int, killed: int, explained: int) -> str:
    counted = mutants - explained
    score = f"{100 * killed / counted:.1f} %" if counted else "-"
    return f"| {name} | {mutants} | {killed} | {explained} | {score} |\n"
