"""The description of the package on PyPI: the README, with links that work there.

The README links to files beside it, so that it works wherever the repository is stored, and without
a network. PyPI has only its text. There, the links lead to the pages of the site, whose address is
in setup.cfg.
"""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
#: Pages of the site that are stored elsewhere.
PAGES = {"CONTRIBUTING.md": "contributing", "SECURITY.md": "security-policy"}
_LINK = re.compile(r"\]\((?!https?://)([^)\s#]+)(#[^)\s]*)?\)")


def long_description() -> str:
    """Return the README with absolute links.

    Raises:
        ValueError: a link leads to a file that is no page and no picture of the site.
    """
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["metadata"]["project_urls"].strip().splitlines()
    site = dict(line.split(" = ", 1) for line in lines)["Documentation"]

    def absolute(link: re.Match[str]) -> str:
        path, anchor = link[1], link[2] or ""
        page = PAGES.get(path) or re.sub(r"\Adocs/(.+)\.md\Z", r"\1", path)
        if path.endswith(".md") and page != path:
            return f"]({site}{page}.html{anchor})"
        if path.startswith("docs/") and path.endswith(".svg"):
            # Sphinx copies pictures.
            return f"]({site}_images/{path.rpartition('/')[2]})"
        raise ValueError(f"README.md links to {path}, which is not on the site")

    return _LINK.sub(absolute, (ROOT / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    setup(long_description=long_description())
