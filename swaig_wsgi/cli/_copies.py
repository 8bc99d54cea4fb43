"""Copies of the parts that need only the standard library, for other projects to keep.

A copy is a package of any name. It holds its version, the license and a manifest.
"""

from __future__ import annotations

import contextlib
import keyword
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from .._version import __version__
from . import _manifest
from ._bytecode import bytecode_problems
from ._manifest import PARTS, Manifest, VendoringError, changes, read_manifest, sums

_PACKAGE = Path(__file__).resolve().parents[1]

_INIT = '''"""The secure front end of swaig-wsgi {version}, copied by ``swaig-wsgi vendor``.

Edit the original, not these files: ``swaig-wsgi vendor --check`` lists what was changed.
"""

{imports}

__all__ = [
{names}]
'''
#: The names that a copy exports itself, by part and module.
_NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "core": {"_version": ("__version__",)},
    "stores": {"sessions": ("SessionManager",)},
    "middleware": {
        "config": ("ConfigurationError", "Settings"),
        "middleware": ("AuthHandler", "harden"),
    },
}

_NO_REDIS = '''"""In place of the store in Redis, whose client is not in the standard library."""

from __future__ import annotations

from typing import Any

from .memory import MemoryStore


class RedisStore(MemoryStore):
    def __init__(self, *args: Any, **options: Any) -> None:
        raise ImportError(
            "this copy of swaig-wsgi has no store in Redis: pip install 'swaig-wsgi[redis]'"
        )
'''


def make_copy(
    dest: str | os.PathLike[str],
    *,
    stores: bool = False,
    middleware: bool = False,
    force: bool = False,
) -> Manifest:
    """Copy the core to `dest`, whose last part is the name of the package, and return its manifest.

    An existing copy is updated and keeps its parts. The new copy is complete before it replaces
    the old one.

    Args:
        dest: the directory of the copy.
        stores: whether to copy the stores and sessions, too.
        middleware: whether to copy the middleware, too, with the settings and the stores.
        force: whether to replace `dest` even if local changes or other files are lost.

    Raises:
        VendoringError: `dest` cannot name a package, or has files that would be lost.
        OSError: it cannot be written.
    """
    target = _target(dest)
    parts = {"core", *_present_parts(target, force)}
    if stores or middleware:
        parts.add("stores")
    if middleware:
        parts.add("middleware")
    contents = _contents([part for part in PARTS if part in parts])
    target.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        new, old = workshop / "new", workshop / "old"
        for name, content in contents.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        try:
            if target.exists():
                target.rename(old)
            new.rename(target)
        except BaseException:
            if old.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return read_manifest(target)


def check_copy(dest: str | os.PathLike[str]) -> list[str]:
    """Return how the copy in `dest` differs from its manifest, and from the installed package.

    Each entry is ``changed: PATH``, ``missing: PATH``, ``added: PATH``, ``bytecode: PATH ...`` or
    ``outdated: ...``. Bytecode that is not compiled from its source would run in its place; only
    that of this version of Python can be checked, and other bytecode is reported, too. An
    attacker who can write the copy can write its manifest as well; the comparison with an
    installed package of the same version finds that and reports it as ``outdated``.

    Raises:
        VendoringError: there is no copy.
    """
    root = Path(dest)
    manifest = read_manifest(root)
    changed = changes(root, manifest)
    trusted = {name for name in manifest.sums if f"changed: {name}" not in changed}
    return [*changed, *bytecode_problems(root, trusted), *_staleness(manifest)]


def _target(dest: str | os.PathLike[str]) -> Path:
    target = Path(os.path.abspath(dest))
    name = target.name
    if not name.isascii() or not name.isidentifier() or keyword.iskeyword(name):
        raise VendoringError(f"{name!r} cannot be imported: the last part must be an identifier")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise VendoringError(f"{target} is not a directory")
    real = target.resolve()
    if real in (_PACKAGE, *_PACKAGE.parents) or _PACKAGE in real.parents:
        raise VendoringError(f"{target} holds or is part of the package that would be copied")
    return target


def _present_parts(target: Path, force: bool) -> tuple[str, ...]:
    """Return the parts of the copy in `target`; without `force`, raise if files would be lost."""
    if not target.is_dir() or not any(target.iterdir()):
        return ()
    try:
        manifest = read_manifest(target)
    except VendoringError as error:
        if force:
            return ()
        raise VendoringError(f"{error}; choose another directory, or use --force") from None
    changed = changes(target, manifest)
    if changed and not force:
        problem = "was changed since it was copied, and --force would discard that"
        raise VendoringError(f"{target} {problem}:\n" + "\n".join(changed))
    return manifest.parts


def _staleness(manifest: Manifest) -> list[str]:
    if manifest.version != __version__:
        if _age(manifest.version) > _age(__version__):
            return []
        return [f"outdated: version {manifest.version}, and {__version__} is installed"]
    installed = sums(_contents(manifest.parts))
    return [
        f"outdated: {name} is not that of the installed {__version__}"
        for name in sorted({*installed, *manifest.sums} - {_manifest.NAME})
        if installed.get(name) != manifest.sums.get(name)
    ]


def _age(version: str) -> tuple[tuple[int, ...], bool]:
    """Return a key that orders versions: the numbers, and pre-releases before their release."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    release = numbers[0] if numbers else ""
    return tuple(int(part) for part in release.split(".") if part), version == release


def _contents(parts: Iterable[str]) -> dict[str, bytes]:
    """Return the files of a copy with these parts, by path."""
    contents = {"LICENSE": _license().encode(), "__init__.py": _init(parts).encode()}
    for name in ("_version.py", "py.typed", *(each for part in parts for each in PARTS[part])):
        source = _PACKAGE / name
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            contents[path.relative_to(_PACKAGE).as_posix()] = path.read_bytes()
    if "stores/redis.py" in contents:
        contents["stores/redis.py"] = _NO_REDIS.encode()
        del contents["stores/_redis_clients.py"]
    contents[_manifest.NAME] = Manifest(__version__, tuple(parts), sums(contents)).encode()
    return contents


def _init(parts: Iterable[str]) -> str:
    names = {module: each for part in parts for module, each in _NAMES[part].items()}
    imports = [f"from .{module} import {', '.join(each)}" for module, each in sorted(names.items())]
    listed = [f'    "{name}",\n' for each in names.values() for name in each]
    return _INIT.format(version=__version__, imports="\n".join(imports), names="".join(listed))


def _license() -> str:
    with contextlib.suppress(metadata.PackageNotFoundError):
        text = metadata.distribution("swaig-wsgi").read_text("licenses/LICENSE")
        if text is not None:
            return text
    try:
        return (_PACKAGE.parent / "LICENSE").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise VendoringError("the license is not installed with the package") from None
