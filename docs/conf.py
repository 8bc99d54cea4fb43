"""The site of the guide: ``tox -e docs``.

The pages are Markdown that also reads well where it is stored. So what only Sphinx needs stands in
comments: ``<!-- toctree: Caption`` starts the list of a section's pages.
"""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any
from urllib.request import urlopen

from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

import swaig_wsgi  # noqa: E402

log = logging.getLogger(__name__)

project = "swaig-wsgi"
version = release = swaig_wsgi.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
html_theme = "furo"
html_title = f"swaig-wsgi {release}"
html_show_copyright = False
exclude_patterns = ["_build"]

# Every link to a heading of a page is checked, as the places where the pages are stored name it.
myst_heading_anchors = 4
# A prompt and the output are not copied.
copybutton_exclude = ".linenos, .gp, .go"

autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    # What Python's own classes have is not repeated for each of their subclasses.
    "inherited-members": "object, BaseException, Exception, ValueError, dict, tuple, Protocol, "
    "Mapping, MutableMapping, Formatter, RawIOBase, IOBase",
}
# In docstrings, `name` is a parameter or another name in code.
default_role = "literal"
napoleon_use_ivar = True

# Every name of this package must be found. Names of other packages become links if their
# inventories can be read.
nitpicky = True


def external(name: str) -> str:
    """Return the pattern of a package's names."""
    return rf"{re.escape(name)}(\..*)?"


nitpick_ignore_regex = [
    (r"py:.*", "|".join(map(external, (*sorted(sys.stdlib_module_names), *dir(builtins))))),
    # Imported for type checkers only, so without a module.
    (r"py:class", r"ThreadPoolExecutor"),
    (r"py:.*", r"(django|flask|gunicorn|opentelemetry|pytest|redis|werkzeug)(\..*)?"),
]

_INVENTORIES = {
    "python": "https://docs.python.org/3/",
    "werkzeug": "https://werkzeug.palletsprojects.com/en/stable/",
    "flask": "https://flask.palletsprojects.com/en/stable/",
    "django": "https://docs.djangoproject.com/en/stable/",
}


def reachable() -> Iterator[tuple[str, tuple[str, None]]]:
    """Yield the inventories that can be read now.

    Sphinx warns of any other, which would be an error without a network. Without an inventory, the
    names of that package are not links.
    """
    for name, url in _INVENTORIES.items():
        try:
            inventory = {"django": f"{url}_objects/"}.get(name, f"{url}objects.inv")
            urlopen(inventory, timeout=5).close()  # noqa: S310 - the URLs above
        except OSError as error:
            log.info("no links to %s: %s", url, error)
        else:
            yield name, (url, None if name != "django" else inventory)


intersphinx_mapping = dict(reachable())
intersphinx_timeout = 10

#: Pages that are files of the repository's root.
_OF_THE_ROOT = {
    "contributing": "CONTRIBUTING.md",
    "security-policy": "SECURITY.md",
    "changelog": "CHANGELOG.md",
}
_TOCTREE = re.compile(r"<!-- toctree: (.+)\n((?:.+\n)+?)-->")
#: The file of a block: ``<!-- django: settings.py -->``, ``<!-- site: shop mysite/urls.py -->``.
_FILE = re.compile(r"^<!-- (?:django: |site: \w+ )([\w./]+) -->\n```(\w+)\n", re.M)


def read_source(app: Sphinx, docname: str, source: list[str]) -> None:
    """Convert the comments of a page, or read the file of the root that it stands for."""
    if docname in _OF_THE_ROOT:
        file = ROOT / _OF_THE_ROOT[docname]
        app.env.note_dependency(str(file))
        text = file.read_text(encoding="utf-8").replace("](docs/", "](")
        for page, name in _OF_THE_ROOT.items():
            text = text.replace(f"]({name}", f"]({page}.md")
        source[0] = text
    source[0] = _TOCTREE.sub(r"```{toctree}\n:caption: \1\n:hidden:\n\n\2```", source[0])
    source[0] = _FILE.sub(r"```{code-block} \2\n:caption: \1\n\n", source[0])


@cache
def canonical_names(app: Sphinx) -> dict[int, str]:
    """Return the documented name of each class and function, by its identity."""
    found = {}
    for name, entry in app.env.domains.python_domain.objects.items():
        module, _, attribute = name.rpartition(".")
        is_object = entry.objtype in ("class", "exception", "function") and not entry.aliased
        if is_object and module in sys.modules:
            found[id(getattr(import_module(module), attribute))] = name
    return found


def resolve(app: Sphinx, env: Any, node: Any, contnode: Any) -> Any:
    """Resolve a name of this package as its docstrings write it.

    They write `Store.get`, `..core.tokens` or, in annotations, the module that defines a name,
    while it is documented where users import it from.
    """
    if node.get("refdomain") != "py":
        return None
    objects = env.domains.python_domain.objects
    target = node["reftarget"].lstrip("~.")
    owner, _, member = target.rpartition(".")
    for module, attributes in ((target, ()), (owner, (member,))):
        # A class by the module that defines it, and a member of such a class.
        home, _, name = module.rpartition(".")
        value = getattr(sys.modules.get(home), name, None)
        if value is not None and id(value) in (names := canonical_names(app)):
            target = ".".join((names[id(value)], *attributes))
            break
    ends = f".{target}"
    candidates = [each for each in objects if each == target or each.endswith(ends)]
    if not candidates:
        # Private, or only for type checkers: it exists, but has no place on a page.
        ours = (module for name, module in [*sys.modules.items()] if name.startswith("swaig_wsgi"))
        exists = any(hasattr(module, target.rpartition(".")[2]) for module in ours)
        return contnode if exists else None
    inner = node.get("py:class") or node.get("py:module") or ""
    found = min(candidates, key=lambda each: (not each.startswith(inner), each.count("."), each))
    entry = objects[found]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, found)


#: Docstrings of attributes as they are written, while napoleon works on them.
_attributes: dict[str, list[str]] = {}


def keep_attribute(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Keep the docstring of an attribute: napoleon takes what precedes a colon for its type."""
    if what in ("attribute", "data", "property"):
        _attributes[name] = lines.copy()


def restore_attribute(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Restore the docstring of an attribute after napoleon."""
    lines[:] = _attributes.pop(name, lines)


def import_names(app: Sphinx) -> None:
    """Import every public name, also those that a package imports when they are first used."""
    for module in walk_packages(swaig_wsgi.__path__, "swaig_wsgi."):
        if not re.search(r"\._|\.examples", module.name):
            imported = import_module(module.name)
            for name in getattr(imported, "__all__", ()):
                getattr(imported, name)


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", import_names)
    app.connect("source-read", read_source)
    app.connect("autodoc-process-docstring", keep_attribute, priority=400)
    app.connect("autodoc-process-docstring", restore_attribute, priority=600)
    # After intersphinx, so that `Exception` is that of Python.
    app.connect("missing-reference", resolve, priority=600)
