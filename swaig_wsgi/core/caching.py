"""Whether shared caches may give a response to other clients (RFC 9111)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["may_be_shared"]

_DIRECTIVE = re.compile(r"([!#$%&'*+.^_`|~0-9a-z-]+)(?:=(\"[^\"\\]*(?:\\.[^\"\\]*)*\"|[^\",\s]*))?")
_SHARING = frozenset({"public", "s-maxage"})
_LIFETIME = frozenset({"max-age", "expires"})
_RESTRICTIONS = frozenset({"private", "no-store", "no-cache"})
#: The latter is for content delivery networks, which ignore the former then (RFC 9213).
_FIELDS = ("cache-control", "cdn-cache-control")


def may_be_shared(headers: Iterable[tuple[str, str]]) -> bool:
    """Return whether a shared cache may reuse a response without asking its origin.

    It may if the response is marked ``public`` or ``s-maxage``, or has a lifetime (``max-age``,
    ``Expires``) and is not marked ``private``, ``no-store`` or ``no-cache``. Fields that describe
    one client or one request do not belong in such a response: other clients would receive them,
    too.

    Args:
        headers: the fields of the response.
    """
    headers = list(headers)
    given = dict(headers)
    names = "\n".join(given).lower()
    if "expires" not in names:
        if "cache-control" not in names:
            return False
        # The responses of agents. A repeated field would hide another of its name in `given`.
        unique = len(given) == len(headers) and names.count("cache-control") == 1
        if unique and given.get("Cache-Control") == "no-store":
            return False
    fields: dict[str, frozenset[str]] = {}
    for name, value in headers:
        name = name.lower()
        if name in _FIELDS:
            fields[name] = fields.get(name, frozenset()) | _directives(value)
        elif name == "expires" and value != "0":
            fields["cache-control"] = fields.get("cache-control", frozenset()) | {name}
    return any(
        directives & _SHARING or (directives & _LIFETIME and not directives & _RESTRICTIONS)
        for directives in fields.values()
    )


@lru_cache(maxsize=256)  # An application sends few different values.
def _directives(value: str) -> frozenset[str]:
    """Return the directives that are about the whole response, and not a lifetime of 0."""
    return frozenset(
        directive
        for directive, argument in _DIRECTIVE.findall(value.lower())
        # `private="a"` is about the field `a`.
        if argument != "0" and not (argument and directive in _RESTRICTIONS)
    )
