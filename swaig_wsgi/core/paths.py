"""The request paths and methods that a middleware protects.

The path is a WSGI ``PATH_INFO``: percent-decoded once by the server, its bytes decoded as Latin-1.
It is never joined with ``SCRIPT_NAME``, which clients can choose behind some servers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote

from ._validation import check_items, check_match, check_str

__all__ = [
    "PathScope",
    "RequestScope",
    "outside_scope",
    "path_scope",
    "remove_dot_segments",
    "request_scope",
]

_SCHEME = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]*:")
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
_PARAMETERS = re.compile(r";[^/]*")
#: What other servers and applications decode, strip or cut.
_UNUSUAL = re.compile(r"[\x00-\x20\x7f%?#;]")


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


def _readings(path: str) -> tuple[str, ...]:
    """Return every path as which a server or an application might read `path`.

    These are the path itself, cut and stripped, percent-decoded once more, and cut and stripped
    again, all of them normalized in every way.
    """
    if _UNUSUAL.search(path) is None:
        return _spellings(path)
    readings = _cuts(path)
    for reading in list(readings):
        readings |= _cuts(unquote(reading, "latin-1"))
    return tuple({spelling for reading in readings for spelling in _spellings(reading)})


def _cuts(path: str) -> set[str]:
    """Return `path` with and without control characters, a tail from ``?`` or ``#``, parameters."""
    whole = {path, _CONTROL.sub("", path)}
    cut = {text.partition(delimiter)[0] for text in whole for delimiter in "?#;"}
    return {text for each in whole | cut for text in (each, _PARAMETERS.sub("", each))}


def _spellings(path: str) -> tuple[str, ...]:
    """Return every path to which an application might normalize `path`."""
    path = path or "/"
    if "//" not in path and "/." not in path and path.startswith("/"):
        return (path,)
    found = _normalized(path if path.startswith("/") else "/" + path)
    # An application that parses "//x/api" as a reference finds the path "/api" on a host "x", and
    # some servers pass a target in absolute-form unchanged, "http://x/api".
    reference = _SCHEME.sub("", path)
    if reference.startswith("//"):
        found += _normalized("/" + reference[2:].partition("/")[2])
    elif reference != path:
        found += _normalized("/" + reference)
    return found


def _normalized(rooted: str) -> tuple[str, ...]:
    # Applications differ in their steps and in the order of them: "//api/.." is below "/api" if
    # only slashes are stripped, "/x//../api" if slashes collapse before dot segments go.
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
    return re.sub(r"(?<=/)\.?/", "", path)


@dataclass(frozen=True)
class PathScope:
    """The paths that a middleware protects: those below `protect`, except those in `exempt`.

    Build one with :func:`path_scope`. Both sides are deliberately interpreted in the direction
    that protects more: a path is protected if *any* reading of it is, and exempt only if it equals
    an exempt path byte for byte, or if *every* reading of it is below a path in `exempt_below`.
    """

    protect: tuple[str, ...]
    exempt: frozenset[str]
    exempt_below: tuple[str, ...] = ()

    def covers(self, path: str) -> bool:
        """Return whether the request path `path` (a WSGI ``PATH_INFO``) is protected."""
        if path in self.exempt or "" in self.exempt_below:
            return False
        if "" in self.protect and not self.exempt_below:
            return True
        # "/" stands for the readings of "", which is below no other path.
        readings = (path or "/", *_readings(path))
        for prefix in self.exempt_below:
            if all(_is_below(reading, prefix) for reading in readings):
                return False
        return any(_is_below(reading, prefix) for reading in readings for prefix in self.protect)


def _is_below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(prefix + "/")


def path_scope(protect: Iterable[str] = ("/*",), exempt: Iterable[str] = ()) -> PathScope:
    """Compile path patterns.

    Args:
        protect: decoded paths; each covers itself and everything below. ``/api``, ``/api/`` and
            ``/api/*`` mean the same, ``/*`` means every path.
        exempt: decoded paths to skip, matched exactly. ``/static/*`` also skips ``/static`` and
            the paths below it that no server or application reads as another path.

    Raises:
        TypeError: a lone string is given for a sequence of patterns, or a pattern is not a string.
        ValueError: `protect` is empty or `exempt` contains ``/*``, so that nothing would be
            protected; or a pattern does not start with ``/``, contains ``*`` other than as its last
            segment, an empty, ``.`` or ``..`` segment, or a lone surrogate.
    """
    protected = tuple(map(_wsgi_path, check_items("protect", protect, "('/api/*',)")))
    if not protected:
        raise ValueError("protect is empty: nothing would be protected; ('/*',) means every path")
    exempted = tuple(map(_wsgi_path, check_items("exempt", exempt, "('/health',)")))
    if "/*" in exempted:
        raise ValueError("exempt contains '/*', every path: nothing would be protected")
    return _scope((path.removesuffix("*").rstrip("/") for path in protected), exempted)


def outside_scope(paths: Iterable[str]) -> PathScope:
    """Compile `paths` that grant something; the scope covers every other path.

    They match as strictly as `exempt` in :func:`path_scope`. ``/*`` means every path.

    Raises:
        TypeError, ValueError: as for :func:`path_scope`; or `paths` is empty.
    """
    granted = tuple(map(_wsgi_path, check_items("paths", paths, "('/api/*',)")))
    if not granted:
        raise ValueError("paths is empty: it would grant nothing; ('/*',) means every path")
    return _scope(("",), granted)


def _scope(protect: Iterable[str], exempt: tuple[str, ...]) -> PathScope:
    return PathScope(
        tuple(protect),
        frozenset(path for path in exempt if not path.endswith("/*")),
        tuple(path[:-2] for path in exempt if path.endswith("/*")),
    )


def _wsgi_path(pattern: str) -> str:
    """Return a valid pattern in the encoding of ``PATH_INFO``."""
    if not check_str("path pattern", pattern).startswith("/"):
        raise ValueError(f"path pattern {pattern!r} must start with '/'")
    # A normalized path has no such segments, so the pattern would protect nothing.
    if "//" in pattern or not {".", ".."}.isdisjoint(pattern.split("/")):
        raise ValueError(f"path pattern {pattern!r} must not contain an empty, '.' or '..' segment")
    if "*" in pattern.removesuffix("/*"):
        raise ValueError(f"path pattern {pattern!r}: '*' may only be the last segment")
    try:
        return pattern.encode("utf-8").decode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"path pattern {pattern!r} cannot be encoded as UTF-8") from None


@dataclass(frozen=True)
class RequestScope:
    """The requests that a middleware protects: those to `paths` with one of `methods`.

    Build one with :func:`request_scope`.
    """

    paths: PathScope
    #: In upper case; None for every method.
    methods: frozenset[str] | None = None
    #: Whether every request is protected.
    everything: bool = field(init=False, compare=False)

    def __post_init__(self) -> None:
        paths = self.paths
        everything = self.methods is None and "" in paths.protect
        everything = everything and not paths.exempt and not paths.exempt_below
        object.__setattr__(self, "everything", everything)

    def covers(self, method: str, path: str) -> bool:
        """Return whether a request with this method and ``PATH_INFO`` is protected.

        The method is compared in upper case, as which Werkzeug and Django read it.
        """
        protected = self.methods is None or method.upper() in self.methods
        return protected and self.paths.covers(path)


def request_scope(
    protect: Iterable[str] = ("/*",),
    exempt: Iterable[str] = (),
    methods: Iterable[str] | None = None,
) -> RequestScope:
    """Compile the arguments `protect`, `exempt` and `methods` of a middleware.

    Args:
        protect, exempt: as for :func:`path_scope`.
        methods: the methods to protect, in any case; None for all. GET includes HEAD, to which
            applications respond with the same code.

    Raises:
        TypeError, ValueError: as for :func:`path_scope`; or `methods` is a lone string, is empty,
            or contains something that is not a method (RFC 9110 section 9.1).
    """
    paths = path_scope(protect, exempt)
    if methods is None:
        return RequestScope(paths)
    named = check_items("methods", methods, "('POST',)")
    if not named:
        raise ValueError("methods is empty: nothing would be protected; None means every method")
    upper = {
        check_match("method", each, _METHOD, "a method, such as 'POST'").upper() for each in named
    }
    return RequestScope(paths, frozenset(upper | ({"HEAD"} if "GET" in upper else set())))
