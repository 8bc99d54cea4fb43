"""The tables in the documentation's pages for users of the SDKs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parent.parent.parent / "docs"
SDK, SWAIG, TYPESCRIPT = PAGES = (
    "from-signalwire-sdk.md",
    "from-signalwire-swaig.md",
    "from-typescript-sdk.md",
)


class Row(NamedTuple):
    section: str
    #: The head of the first column: what its names belong to.
    owner: str
    cells: list[str]

    @property
    def names(self) -> list[str]:
        """The names in the first column."""
        return re.findall(r"`(\w+)`", self.cells[0])

    @property
    def here(self) -> str:
        """The last column."""
        return self.cells[-1]


def rows(page: str) -> Iterator[Row]:
    """Yield the rows of all tables."""
    section, head = "", None
    for line in (DOCS / page).read_text().splitlines():
        if line.startswith("#"):
            section = line.strip("# ")
        if not line.startswith("|"):
            head = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if head is None:
            head = cells[0].strip("`")
        elif set(cells[0]) != {"-"}:
            yield Row(section, head, cells)
