"""The core stays what its docstring promises."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

from swaig_wsgi import core

MODULES = {info.name for info in pkgutil.iter_modules(core.__path__)}
#: The parts of the standard library that neither do I/O nor depend on time or environment.
PURE = frozenset(
    {
        "__future__", "base64", "binascii", "collections", "dataclasses", "functools", "hashlib",
        "hmac", "ipaddress", "itertools", "json", "math", "re", "types", "typing", "unicodedata",
        "urllib",
    }
)  # fmt: skip


def syntax(module: str) -> ast.Module:
    return ast.parse((Path(core.__path__[0]) / f"{module}.py").read_bytes())


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_its_siblings_and_pure_parts_of_the_standard_library(module):
    imported = set()
    for node in ast.walk(syntax(module)):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            assert (node.level, node.module in MODULES) == (1, True)
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    assert imported - PURE <= ({"socket"} if module in ("rate_limit", "ssrf") else set())


def test_the_socket_module_is_used_for_parsing_and_as_the_default_resolver_only():
    used = {
        node.attr
        for module in ("rate_limit", "ssrf")
        for node in ast.walk(syntax(module))
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "socket"
    }
    assert used == {"AF_INET", "AF_INET6", "getaddrinfo", "inet_ntop", "inet_pton"}


@pytest.mark.parametrize("module", sorted(MODULES - {"_validation", "store_urls"}))
def test_all_lists_the_public_names_of_a_module(module):
    loaded = importlib.import_module(f"{core.__name__}.{module}")
    defined = set()
    for node in syntax(module).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            defined |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign):
            defined.add(node.target.id)
    assert {name for name in defined if not name.startswith("_")} <= set(loaded.__all__)
    assert all(hasattr(loaded, name) for name in loaded.__all__)
