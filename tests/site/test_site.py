"""The built site has every page, and the API reference every public name."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote, urlsplit

import pytest
from sphinx.util.inventory import InventoryFile

import swaig_wsgi

sys.path.insert(0, str(Path(__file__).parent))
from linkcheck import judge

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build" / "site"


@pytest.fixture(scope="module")
def documented() -> dict[str, str]:
    """Return the page and anchor of each documented name."""
    if not SITE.is_dir():
        pytest.fail("build the site first: tox -e docs")
    data = (SITE / "objects.inv").read_bytes()
    inventory = InventoryFile.loads(data, uri="").data
    return {
        name: item.uri
        for kind, names in inventory.items()
        if kind.startswith("py:")
        for name, item in names.items()
        # Not another name of what is documented elsewhere.
        if item.uri.endswith(("#$", f"#{name}"))
    }


def modules() -> list[str]:
    found = pkgutil.walk_packages(swaig_wsgi.__path__, "swaig_wsgi.")
    names = ["swaig_wsgi", *(module.name for module in found)]
    return [
        name
        for name in names
        if not re.search(r"\._|\.examples", name) and name != "swaig_wsgi.__main__"
    ]


def is_object(value: Any) -> bool:
    """Return whether `value` is the same wherever it is imported from."""
    return inspect.isclass(value) or inspect.isroutine(value) or bool(get_args(value))


def places(documented: dict[str, str]) -> dict[int, str]:
    """Return the documented name of each class and function, by its identity."""
    found = {}
    for name in documented:
        module, _, attribute = name.rpartition(".")
        if module in sys.modules and hasattr(sys.modules[module], attribute):
            value = getattr(sys.modules[module], attribute)
            if is_object(value):
                found[id(value)] = name
    return found


def test_every_name_of_a_public_module_is_documented(documented: dict[str, str]) -> None:
    loaded = {name: importlib.import_module(name) for name in modules()}
    known = places(documented)
    missing = []
    for name, module in loaded.items():
        for each in getattr(module, "__all__", ()):
            value = getattr(module, each)
            elsewhere = known if is_object(value) else {}
            if f"{name}.{each}" not in documented and id(value) not in elsewhere:
                missing.append(f"{name}.{each}")
    assert missing == [], "\n".join(missing)
    assert len(loaded) > 50


def contract() -> list[tuple[str, str]]:
    found, module = [], ""
    for line in (ROOT / "tests" / "contract.txt").read_text().splitlines():
        if line.startswith("    "):
            match = re.match(r"[\w.]+", line.strip())
            assert match is not None
            found.append((module, match[0]))
        elif not line.startswith("#"):
            module = line
    return found


def test_every_name_of_the_contract_is_documented(documented: dict[str, str]) -> None:
    names = contract()
    for module in {module for module, _ in names}:
        importlib.import_module(module)
    known = places(documented)
    missing = []
    for module, name in names:
        first, _, member = name.partition(".")
        value = getattr(sys.modules[module], first)
        owner = (
            known.get(id(value), f"{module}.{first}") if is_object(value) else f"{module}.{first}"
        )
        if ".".join(filter(None, (owner, member))) not in documented:
            missing.append(f"{module}.{name}")
    assert missing == [], "\n".join(missing)
    assert len(names) > 400


class Page(HTMLParser):
    """The ids and links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.ids.add(str(found["id"]))
        if tag == "a" and found.get("href"):
            self.links.append(str(found["href"]))
        if tag == "img" and found.get("src"):
            assert found.get("alt"), f"without alternative text: {found['src']}"
            self.links.append(str(found["src"]))


def test_every_link_within_the_site_leads_to_a_page_and_an_anchor() -> None:
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in SITE.rglob("*.html")}
    broken = []
    checked = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            fragment = unquote(parts.fragment)
            known = pages[target].ids if target in pages else set()
            if not target.exists() or (fragment and fragment not in known):
                broken.append(f"{path.relative_to(SITE)}: {link}")
            checked += 1
    assert broken == []
    assert checked > 1000


def test_every_page_of_the_guide_is_in_the_contents() -> None:
    index = (SITE / "index.html").read_text(encoding="utf-8")
    table = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").partition("<!-- toctree")[0]
    for path in (ROOT / "docs").glob("*.md"):
        if path.name != "index.md":
            assert f'href="{path.stem}.html"' in index
            assert f"({path.name}" in table


def test_a_link_is_broken_if_its_server_says_so() -> None:
    link = {"filename": "a.md", "lineno": 1, "uri": "https://a.example/"}
    lines = [
        {**link, "status": "working", "info": ""},
        {**link, "status": "broken", "info": "404 Client Error: Not Found for url"},
        {**link, "status": "broken", "info": "Anchor 'x' not found"},
        {**link, "status": "broken", "info": "HTTPSConnectionPool(): Name or service not known"},
        {**link, "status": "timeout", "info": "Read timed out"},
    ]
    broken, counts = judge("\n".join(map(json.dumps, lines)))
    assert [line.partition("example/ ")[2][:6] for line in broken] == ["404 Cl", "Anchor"]
    assert counts == {"working": 1, "broken": 2, "not reached": 2}
