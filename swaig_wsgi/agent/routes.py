"""The paths below an agent's route, and its 404 and 405.

They have no placeholders, so a dictionary finds what Werkzeug's ``Map`` would, and needs no import.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..core import refusals
from ..wsgi._types import WSGIEnvironment

__all__ = ["Routes", "normal_route", "own_paths", "raw_path"]

_OWN_PATHS = frozenset({"", "/swaig", "/post_prompt", "/debug_events", "/health", "/ready"})

#: A bound for routes with U+FFFD, to which Werkzeug decodes any byte that is not UTF-8.
_MAX_FOUND = 256

_NOT_IN_ROUTES = re.compile(r"[<>?#%\\]")


class Routes:
    """The endpoints of an agent by path.

    Args:
        route: the agent's route, without a trailing slash.
        endpoints: by path below the route, each with its methods. A trailing slash is optional.
    """

    def __init__(self, route: str, endpoints: Mapping[str, tuple[Any, Sequence[str]]]) -> None:
        #: By path, then by method.
        self._endpoints: dict[str, dict[str, Any]] = {}
        for path, (endpoint, methods) in endpoints.items():
            served = {*methods, "HEAD"} if "GET" in methods else methods
            for slash in ("", "/"):
                by_method = dict.fromkeys(served, endpoint)
                self._endpoints.setdefault(f"{route}{path}{slash}", by_method)
        #: What was found, by path and method as the server passes them.
        self._found: dict[tuple[str, str], Any] = {}

    def match(self, environ: WSGIEnvironment) -> Any:
        """Return the endpoint of a request.

        Raises:
            Refusal: there is none (404), or it has another method (405).
        """
        key = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        endpoint = self._found.get(key)
        if endpoint is None:
            endpoint = self._search(environ)
            # Paths have no placeholders, so there are few keys, whatever clients request.
            if len(self._found) < _MAX_FOUND:
                self._found[key] = endpoint
        return endpoint

    def _search(self, environ: WSGIEnvironment) -> Any:
        # As Werkzeug and Flask read it.
        path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
        methods = self._endpoints.get(path or "/")
        if methods is None:
            raise refusals.not_found()
        try:
            return methods[environ["REQUEST_METHOD"].upper()]
        except KeyError:
            raise refusals.method_not_allowed(methods) from None


def own_paths(*, metrics: bool) -> frozenset[str]:
    """Return the paths of an agent's own endpoints, below its route.

    Args:
        metrics: whether ``/metrics`` is one of them.
    """
    return _OWN_PATHS | {"/metrics"} if metrics else _OWN_PATHS


def raw_path(route: str) -> str:
    """Return `route` as a WSGI server passes it in ``PATH_INFO`` (UTF-8 read as Latin-1)."""
    return route.encode().decode("latin-1")


def normal_route(route: str) -> str:
    """Return `route` without its trailing slash; the root is the empty string.

    Raises:
        ValueError: `route` does not start with a slash, or has empty or dot segments.
    """
    if not isinstance(route, str) or not route.startswith("/"):
        raise ValueError(f"route must be a path that starts with '/', not {route!r}")
    if any(segment in ("", ".", "..") for segment in route.strip("/").split("/")) and route != "/":
        raise ValueError(f"route {route!r} must not contain empty or dot segments")
    if _NOT_IN_ROUTES.search(route) or not route.isprintable():
        raise ValueError(f"route {route!r} must not contain placeholders or any of ?#%\\")
    return route.rstrip("/")
