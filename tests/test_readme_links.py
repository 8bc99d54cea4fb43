"""The README's links work in the repository and, rewritten, on PyPI."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINK = re.compile(r"(!?)\[([^\]]+)\]\(([^)\s#]*)(#[^)\s]*)?\)")
SITE = "https://swaig-wsgi.readthedocs.io/en/latest/"


def load_setup() -> Any:
    spec = importlib.util.spec_from_file_location("setup_of_package", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup = load_setup()


def headings(path: Path) -> set[str]:
    """Return the anchors of a page, as the places where repositories are stored name them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {"#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_each_link_of_the_readme_leads_to_a_file_of_the_repository() -> None:
    links = [match for match in LINK.findall(README) if not match[2].startswith("https://")]
    assert len(links) > 20
    for is_picture, text, path, anchor in links:
        assert (ROOT / path).is_file(), path
        assert not anchor or anchor in headings(ROOT / path), f"{path}{anchor}"
        assert not is_picture or len(text) > 20, path


def test_each_link_on_pypi_leads_to_a_page_or_a_picture_of_the_site() -> None:
    shown = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md"))
    on_pypi = LINK.findall(setup.long_description())
    assert len(on_pypi) == len(LINK.findall(README))
    for is_picture, _, url, _ in on_pypi:
        assert url.startswith(SITE), url
        path = url[len(SITE) :]
        if is_picture:
            # Sphinx copies the pictures that a page shows.
            assert f"](diagrams/{path.removeprefix('_images/')})" in shown, url
        else:
            assert (ROOT / "docs" / f"{path.removesuffix('.html')}.md").is_file(), url


@pytest.mark.parametrize("path", ["examples/basic.py", "LICENSE", "docs/conf.py", "OTHER.md"])
def test_a_link_to_what_is_not_on_the_site_stops_the_build(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, path: str
) -> None:
    (tmp_path / "README.md").write_text(f"[text]({path})")
    (tmp_path / "setup.cfg").write_text((ROOT / "setup.cfg").read_text())
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=f"README.md links to {path}"):
        setup.long_description()


def test_the_releases_that_are_compared_are_those_of_the_tests() -> None:
    requirements = (ROOT / "tests" / "interop" / "requirements.txt").read_text()
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)$", requirements, re.M))
    compared = re.search(r"Compared in .*?:(.*?)Differences", README, re.S)
    assert compared is not None
    named = dict(re.findall(r"([A-Za-z-]+)\s(\d+\.\d+\.\d+)", compared[1]))
    assert len(named) == 7
    for name, release in named.items():
        assert pinned[name.lower()] == release


def test_the_first_screen_has_the_purpose_and_both_commands() -> None:
    first = README.splitlines()[:45]
    assert {"<!-- serve -->", "<!-- test -->"} <= set(first)
