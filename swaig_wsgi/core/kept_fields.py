"""Fields in which an authenticating proxy passes the user of a request."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ._patterns import lazy_pattern
from ._validation import check_items, check_match

__all__ = ["CLIENT_FIELDS", "is_single_value", "kept_fields"]

#: Fields besides ``X-Forwarded-*`` that applications read as the client's address, scheme, host or
#: prefix, as keys of ``environ``.
CLIENT_FIELDS = frozenset(
    {
        "HTTP_CF_CONNECTING_IP",
        "HTTP_CLIENT_IP",
        "HTTP_FASTLY_CLIENT_IP",
        "HTTP_FLY_CLIENT_IP",
        "HTTP_FORWARDED",
        "HTTP_FRONT_END_HTTPS",
        "HTTP_TRUE_CLIENT_IP",
        "HTTP_X_AZURE_CLIENTIP",
        "HTTP_X_CLIENT_IP",
        "HTTP_X_CLUSTER_CLIENT_IP",
        "HTTP_X_ENVOY_EXTERNAL_ADDRESS",
        "HTTP_X_HOST",
        "HTTP_X_ORIGINAL_FORWARDED_FOR",
        "HTTP_X_ORIGINAL_HOST",
        "HTTP_X_ORIGINAL_URL",
        "HTTP_X_REAL_IP",
        "HTTP_X_REWRITE_URL",
        "HTTP_X_SCHEME",
        "HTTP_X_SCRIPT_NAME",
        "HTTP_X_URL_SCHEME",
    }
)

_EXAMPLE = "('X-Forwarded-User',)"
_NAME = lazy_pattern(r"[A-Za-z][0-9A-Za-z-]*")
#: Further fields that this library, a framework or a server interprets itself.
_INTERPRETED = lazy_pattern(
    r"authorization|connection|content-.*|cookie|expect|host|origin|sec-.*|te|trailer"
    r"|transfer-encoding|upgrade|x-request-id"
    r"|x-forwarded-(?:by|for|host|path|port|prefix|proto|protocol|scheme|server|ssl|uri|url)"
    # As CLIENT_FIELDS, with other endings and beginnings.
    r"|x-original-.*|x-rewrite-.*|.*client-?ip|.*connecting-ip|.*external-address",
    re.IGNORECASE,
)
_LIST = lazy_pattern(r".*(?:groups|roles|scopes)", re.IGNORECASE)
# UTF-8 arrives as Latin-1.
_SINGLE = lazy_pattern(r"[!-+\--~\x80-\xff](?:[ -+\--~\x80-\xff]*[!-+\--~\x80-\xff])?")


def kept_fields(names: Iterable[str]) -> dict[str, str]:
    """Return the names of fields by their keys in ``environ``.

    Args:
        names: fields that a trusted proxy sets, such as ``X-Forwarded-User``.

    Raises:
        TypeError: `names` is a lone string, or a name is not a string.
        ValueError: a name is repeated, or contains other characters than letters, digits and
            hyphens: an underscore becomes the same key as a hyphen. Or the field has a meaning of
            its own, or is a list, which looks like a field that occurs twice.
    """
    found: dict[str, str] = {}
    for name in check_items("keep", names, _EXAMPLE):
        check_match("keep", name, _NAME, "a name of letters, digits and hyphens")
        key = "HTTP_" + name.upper().replace("-", "_")
        if key in CLIENT_FIELDS or _INTERPRETED.fullmatch(name):
            raise ValueError(f"keep: {name} has a meaning of its own; expected a field for users")
        if _LIST.fullmatch(name):
            raise ValueError(
                f"keep: {name} is a list, which looks like a field that a client has added to"
            )
        if key in found:
            raise ValueError(f"keep: {name} is repeated")
        found[key] = name
    return found


def is_single_value(value: str) -> bool:
    """Return whether `value` is that of one field, not of several that a server has joined.

    It must not be empty, contain commas or control characters, or begin or end with a space.
    """
    return _SINGLE.fullmatch(value) is not None
