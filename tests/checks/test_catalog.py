"""docs/checklist.md and the catalog of findings list the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from swaig_wsgi.checks import CATALOG, POINTS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "checklist.md").read_text()
GUIDE_ITEMS = 11


def anchors(page):
    """Return the anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", (DOCS / page).read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def test_the_page_lists_every_finding_with_its_meaning_and_remedy():
    rows = re.findall(r"^\| `swaig.*$", PAGE, re.M)
    expected = [
        f"| `{kind.id}` | {kind.severity} | {kind.point or ''} | {kind.meaning} | `{kind.line}` "
        f"| [{kind.page.partition('.')[0]}]({kind.page}) |".replace("|  |", "| |")
        for kind in CATALOG.values()
    ]
    assert rows == expected


@pytest.mark.parametrize("kind", CATALOG.values(), ids=str)
def test_links_lead_to_a_section(kind):
    page, _, anchor = kind.page.partition("#")
    assert (DOCS / page).is_file()
    assert not anchor or anchor in anchors(page)


def test_every_item_of_the_guides_checklist_has_findings():
    assert len(POINTS) == GUIDE_ITEMS
    found = {kind.point for kind in CATALOG.values()} - {None}
    assert found == set(range(1, GUIDE_ITEMS + 1))
    assert len(re.findall(r"^\d+\. ", PAGE, re.M)) == GUIDE_ITEMS


def test_ids_are_unique_and_give_the_severity():
    for id, kind in CATALOG.items():
        assert kind.id == id
        assert re.fullmatch(r"swaig\.[EWI]\d{3}", id)
        expected = {"E": "error", "W": "warning", "I": "info"}
        assert kind.severity == expected[id[6]]
