"""Copies of the rooms that need nothing but the standard library, for other projects to keep.

A copy is a package of any name. It holds its version, the licence and :data:`MANIFEST`, the
SHA-256 sums of its files in the format that ``sha256sum --check`` reads.
"""

from __future__ import annotations

import hashlib
import keyword
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from .._version import __version__

MANIFEST = "MANIFEST.sha256"

#: Each room, with what of the package it is made of; each stands on those before it.
ROOMS: Mapping[str, tuple[str, ...]] = {
    "core": ("core",),
    "stores": ("concurrency", "stores", "processes.py", "sessions.py"),
    "middleware": ("wsgi", "middleware", "config.py"),
}

_PACKAGE = Path(__file__).resolve().parents[1]
_HEADING = re.compile(r"# swaig-wsgi (\S+): (.*)")
_SUM = re.compile(r"([0-9a-f]{64})  ([^\\\x00-\x1f]+)")

_INIT = '''"""The safe front door of swaig-wsgi {version}, as ``swaig-wsgi vendor`` copied it.

Edit the original and not these files: ``swaig-wsgi vendor --check`` tells what was changed.
"""

{imports}

__all__ = [
{names}]
'''
#: What a copy offers by itself, by room.
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


class VendoringError(Exception):
    """The copy cannot be made or checked; the message says why and what to do."""


class Copy(NamedTuple):
    """What the manifest of a copy says."""

    version: str
    rooms: tuple[str, ...]
    #: SHA-256 in hexadecimal by path, with slashes.
    sums: dict[str, str]


def vendor(
    dest: str | os.PathLike[str],
    *,
    stores: bool = False,
    middleware: bool = False,
    force: bool = False,
) -> Copy:
    """Copy the core to `dest`, whose last part is the name of the package, and return its manifest.

    A copy that is there is brought up to date and keeps the rooms that it has. The new one is
    complete before it takes the old one's place.

    Args:
        dest: the directory of the copy.
        stores: whether to copy the stores and sessions, too.
        middleware: whether to copy the middleware, too, with the settings and what it stands on.
        force: whether to replace what is there even if that loses something.

    Raises:
        VendoringError: `dest` cannot name a package, or holds what would be lost.
        OSError: it cannot be written.
    """
    target = _target(dest)
    rooms = {"core"}
    if stores or middleware:
        rooms.add("stores")
    if middleware:
        rooms.add("middleware")
    rooms.update(_present_rooms(target, force))
    contents = _contents([room for room in ROOMS if room in rooms])
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


def check(dest: str | os.PathLike[str]) -> list[str]:
    """Return how the copy in `dest` differs from what was copied, and from what is installed.

    Each entry is ``changed: PATH``, ``missing: PATH``, ``added: PATH`` or ``outdated: ...``. Byte
    code in ``__pycache__`` is not looked at. Someone who can write the copy can write its manifest
    as well; only against the installed package of the same version is that found, as ``outdated``.

    Raises:
        VendoringError: there is no copy.
    """
    root = Path(dest)
    copy = read_manifest(root)
    return [*_local_changes(root, copy), *_staleness(copy)]


def read_manifest(root: Path) -> Copy:
    """Return what the manifest in `root` says.

    Raises:
        VendoringError: there is none, or it is none of ours.
    """
    path = root / MANIFEST
    try:
        first, *lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise VendoringError(f"{root} holds no copy of swaig-wsgi: {MANIFEST} is missing") from None
    except (OSError, ValueError):
        raise VendoringError(f"{path} cannot be read") from None
    heading = _HEADING.fullmatch(first)
    sums: dict[str, str] = {}
    for line in lines:
        match = _SUM.fullmatch(line)
        # A name that leads out of the copy would make this read other files.
        if match is None or match[2] in sums or not _is_inside(match[2]):
            heading = None
            break
        sums[match[2]] = match[1]
    rooms = tuple(heading[2].split()) if heading else ()
    if heading is None or not set(rooms) <= set(ROOMS):
        raise VendoringError(f"{path} is no manifest of swaig-wsgi, or was changed")
    return Copy(heading[1], rooms, sums)


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


def _present_rooms(target: Path, force: bool) -> Iterable[str]:
    """Return the rooms of the copy in `target`; refuse to lose anything without `force`."""
    if not target.is_dir() or not any(target.iterdir()):
        return ()
    try:
        copy = read_manifest(target)
    except VendoringError as error:
        if force:
            return ()
        raise VendoringError(
            f"{error}; choose another directory, or replace it by --force"
        ) from None
    changes = _local_changes(target, copy)
    if changes and not force:
        raise VendoringError(
            f"{target} was changed since it was copied, and --force would lose that:\n"
            + "\n".join(changes)
        )
    return copy.rooms


def _local_changes(root: Path, copy: Copy) -> list[str]:
    found = set(_files(root)) - {MANIFEST}
    problems = []
    for name, expected in copy.sums.items():
        if name not in found:
            problems.append(f"missing: {name}")
        elif _sum_of(root / name) != expected:
            problems.append(f"changed: {name}")
    return sorted([*problems, *(f"added: {name}" for name in found - set(copy.sums))])


def _staleness(copy: Copy) -> list[str]:
    if copy.version != __version__:
        if _age(copy.version) > _age(__version__):
            return []
        return [f"outdated: version {copy.version}, and {__version__} is installed"]
    installed = _sums(_contents(copy.rooms))
    return [
        f"outdated: {name} is not that of the installed {__version__}"
        for name in sorted({*installed, *copy.sums} - {MANIFEST})
        if installed.get(name) != copy.sums.get(name)
    ]


def _age(version: str) -> tuple[tuple[int, ...], bool]:
    """Return what orders versions: the numbers, and pre-releases before their release."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    release = numbers[0] if numbers else ""
    return tuple(int(part) for part in release.split(".") if part), version == release


def _contents(rooms: Iterable[str]) -> dict[str, bytes]:
    """Return the files of a copy with these rooms, by path."""
    contents = {
        "LICENSE": _licence().encode(),
        "__init__.py": _init(rooms).encode(),
    }
    for name in ("_version.py", "py.typed", *(part for room in rooms for part in ROOMS[room])):
        source = _PACKAGE / name
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            contents[path.relative_to(_PACKAGE).as_posix()] = path.read_bytes()
    if "stores/redis.py" in contents:
        contents["stores/redis.py"] = _NO_REDIS.encode()
    lines = [f"# swaig-wsgi {__version__}: {' '.join(rooms)}"]
    lines += [f"{digest}  {name}" for name, digest in sorted(_sums(contents).items())]
    contents[MANIFEST] = "".join(f"{line}\n" for line in lines).encode()
    return contents


def _init(rooms: Iterable[str]) -> str:
    names = {module: each for room in rooms for module, each in _NAMES[room].items()}
    return _INIT.format(
        version=__version__,
        imports="\n".join(
            f"from .{module} import {', '.join(each)}" for module, each in sorted(names.items())
        ),
        names="".join(f'    "{name}",\n' for each in names.values() for name in each),
    )


def _licence() -> str:
    try:
        text = metadata.distribution("swaig-wsgi").read_text("licenses/LICENSE")
    except metadata.PackageNotFoundError:
        text = None
    if text is not None:
        return text
    try:
        return (_PACKAGE.parent / "LICENSE").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise VendoringError("the licence is not installed with the package") from None


def _sums(contents: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def _sum_of(path: Path) -> str:
    # A link may lead to the same content today and to another tomorrow.
    if path.is_symlink() or not path.is_file():
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _files(root: Path) -> Iterable[str]:
    for directory, subdirectories, names in os.walk(root):
        here = Path(directory)
        links = [name for name in subdirectories if (here / name).is_symlink()]
        for name in (*names, *links):
            if not (here.name == "__pycache__" and name.endswith(".pyc")):
                yield (here / name).relative_to(root).as_posix()


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.as_posix() == name
