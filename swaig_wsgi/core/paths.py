"""Which request paths a middleware guards.

The path is a WSGI ``PATH_INFO``: percent-decoded once by the server, its bytes read as Latin-1.
It is never decoded a second time and never joined with ``SCRIPT_NAME``, which some servers let a
client choose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SCHEME = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*:")


def _wsgi_str(path: str) -> str:
    return path.encode("utf-8").decode("latin-1")


def remove_dot_segments(path: str) -> str:
    """Return `path` without ``.`` and ``..`` segments (RFC 3986 section 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for position, segment in enumerate(segments):
        if segment in (".", ".."):
            if segment == ".." and kept:
                kept.pop()
            if position == len(segments) - 1:
                kept.append("")
        else:
            kept.append(segment)
    return "/" + "/".join(kept)


def _spellings(path: str) -> tuple[str, ...]:
    """Return every path that an application might take `path` for."""
    path = path or "/"
    if "//" not in path and "/." not in path and path.startswith("/"):
        return (path,)
    found = _normalised(path if path.startswith("/") else "/" + path)
    # To one that parses it as a reference, "//x/api" is the path "/api" of a host "x"; and some
    # servers hand on a target in absolute form as it came, "http://x/api".
    reference = _SCHEME.sub("", path)
    if reference.startswith("//"):
        found += _normalised("/" + reference[2:].partition("/")[2])
    elif reference != path:
        found += _normalised("/" + reference)
    return found


def _normalised(rooted: str) -> tuple[str, ...]:
    # Applications differ in what they do and in what they do first: "//api/.." is below "/api"
    # for one that only strips slashes, "/x//../api" for one that squeezes them before it climbs.
    collapsed = _collapse(rooted)
    return (
        rooted,
        "/" + rooted.lstrip("/"),
        collapsed,
        remove_dot_segments(rooted),
        remove_dot_segments(collapsed),
        _collapse(remove_dot_segments(rooted)),
    )


def _collapse(path: str) -> str:
    """Return `path` without empty and ``.`` segments; ``..`` stays."""
    return re.sub(r"/(?:\.?/)+", "/", path)


@dataclass(frozen=True)
class PathScope:
    """The paths that a middleware guards: those under `protect`, except those in `exempt`.

    Build one with :func:`path_scope`. The two sides are read differently on purpose, each in the
    direction that guards more: a path is protected when *any* way of normalising it is, and
    exempt only when it is, byte for byte, an exempt one.
    """

    protect: tuple[str, ...]
    exempt: frozenset[str]

    def covers(self, path: str) -> bool:
        """Tell whether the request path `path` (a WSGI ``PATH_INFO``) is guarded."""
        if path in self.exempt:
            return False
        if "" in self.protect:
            return True
        return any(
            spelling == prefix or spelling.startswith(prefix + "/")
            for spelling in _spellings(path)
            for prefix in self.protect
        )


def path_scope(protect: Iterable[str] = ("/*",), exempt: Iterable[str] = ()) -> PathScope:
    """Compile path patterns.

    Args:
        protect: decoded paths; each covers itself and everything below. ``/api``, ``/api/`` and
            ``/api/*`` mean the same, ``/*`` means every path.
        exempt: decoded paths that are let off, each exactly as written.

    Raises:
        ValueError: `protect` is empty, so that nothing would be guarded; a lone string stands
            where a sequence of patterns belongs; or a pattern does not start with ``/``, holds
            ``*`` anywhere but as its last segment, holds an empty, ``.`` or ``..`` segment, or
            is not text that UTF-8 can encode.
    """
    if isinstance(protect, str) or isinstance(exempt, str):
        raise ValueError("path patterns come as a sequence of strings, such as ('/api/*',)")
    prefixes = []
    for pattern in protect:
        _check_pattern(pattern)
        prefix = pattern[:-1] if pattern.endswith("/*") else pattern
        if "*" in prefix:
            raise ValueError(f"path pattern {pattern!r}: '*' may only be the last segment")
        prefixes.append(_wsgi_str(prefix).rstrip("/"))
    if not prefixes:
        raise ValueError("protect is empty: nothing would be guarded; ('/*',) means every path")
    exact = []
    for pattern in exempt:
        _check_pattern(pattern)
        if "*" in pattern:
            raise ValueError(f"exempt path {pattern!r} is compared exactly and cannot hold '*'")
        exact.append(_wsgi_str(pattern))
    return PathScope(tuple(prefixes), frozenset(exact))


def _check_pattern(pattern: str) -> None:
    if not isinstance(pattern, str) or not pattern.startswith("/"):
        raise ValueError(f"path pattern {pattern!r} must be a string that starts with '/'")
    # Never what a request is compared with after normalising, so it would guard nothing.
    if "//" in pattern or not {".", ".."}.isdisjoint(pattern.split("/")):
        raise ValueError(f"path pattern {pattern!r} must not hold an empty, '.' or '..' segment")
    try:
        pattern.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"path pattern {pattern!r} must be text that UTF-8 can encode") from None
