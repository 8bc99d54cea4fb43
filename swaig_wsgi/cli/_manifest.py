"""The manifest of a copy: its version, its parts and the SHA-256 sums of its files.

After the first line it has the format that ``sha256sum --check`` reads.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

NAME = "MANIFEST.sha256"

#: The modules and packages of each part; each part is based on those before it.
PARTS: Mapping[str, tuple[str, ...]] = {
    "core": ("core",),
    "stores": ("concurrency", "stores", "processes.py", "sessions.py"),
    "middleware": ("wsgi", "middleware", "config.py"),
}

_HEADING = re.compile(r"# swaig-wsgi (\S+): (.*)")
_SUM = re.compile(r"([0-9a-f]{64})  ([^\\\x00-\x1f]+)")


class VendoringError(Exception):
    """The copy cannot be made or checked; the message gives the reason and a remedy."""


class Manifest(NamedTuple):
    """The content of a manifest."""

    version: str
    parts: tuple[str, ...]
    #: SHA-256 in hexadecimal by path, with slashes.
    sums: dict[str, str]

    def encode(self) -> bytes:
        """Return the manifest as the file's content."""
        lines = [f"# swaig-wsgi {self.version}: {' '.join(self.parts)}"]
        lines += [f"{digest}  {name}" for name, digest in sorted(self.sums.items())]
        return "".join(f"{line}\n" for line in lines).encode()


def sums(contents: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 sums of `contents`, by path."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def read_manifest(root: Path) -> Manifest:
    """Return the manifest of the copy in `root`.

    Raises:
        VendoringError: there is no manifest, or it is invalid.
    """
    path = root / NAME
    try:
        first, *lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise VendoringError(f"{root} holds no copy of swaig-wsgi: {NAME} is missing") from None
    except (OSError, ValueError):
        raise VendoringError(f"{path} cannot be read") from None
    heading = _HEADING.fullmatch(first)
    found = [match for match in map(_SUM.fullmatch, lines) if match is not None]
    digests = {match[2]: match[1] for match in found}
    parts = tuple(heading[2].split()) if heading else ()
    if (
        heading is None
        or not set(parts) <= set(PARTS)
        or len(digests) != len(lines)
        or not all(map(_is_inside, digests))
    ):
        raise VendoringError(f"{path} is not a manifest of swaig-wsgi, or was changed")
    return Manifest(heading[1], parts, digests)


def changes(root: Path, manifest: Manifest) -> list[str]:
    """Return how the files in `root` differ from `manifest`, bytecode aside, sorted.

    Each entry is ``changed: PATH``, ``missing: PATH`` or ``added: PATH``.
    """
    found = set(_files(root)) - {NAME}
    problems = [f"added: {name}" for name in found - manifest.sums.keys()]
    for name, expected in manifest.sums.items():
        if name not in found:
            problems.append(f"missing: {name}")
        elif _sum_of(root / name) != expected:
            problems.append(f"changed: {name}")
    return sorted(problems)


def _is_inside(name: str) -> bool:
    # A path out of the copy would make the check read other files.
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.as_posix() == name


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
