"""Checks of configured credentials: whether a header field can carry them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ._validation import ArgumentTypeError

__all__ = [
    "CONTROL",
    "check_api_key",
    "check_basic_pair",
    "check_basic_pairs",
    "check_bearer_token",
    "check_field_name",
    "check_one_or_several",
]

#: Characters that neither user names nor passwords contain.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^`|~0-9A-Za-z]+")

_Credential = TypeVar("_Credential")


def check_field_name(name: str, what: str) -> str:
    """Return `name` if WSGI can pass a header of this name.

    Raises:
        TypeError: it is not a string.
        ValueError: it is not a field name (RFC 9110 section 5.1), contains an underscore, which
            WSGI cannot distinguish from a hyphen and servers drop, or is Authorization itself.
    """
    # The message does not contain the name: it may be a secret in the wrong place.
    expected = f"{what} must be a header name without underscores, such as X-Api-Key"
    if not isinstance(name, str):
        raise ArgumentTypeError(expected)
    if not _FIELD_NAME.fullmatch(name):
        raise ValueError(expected)
    if name.lower() == "authorization":
        raise ValueError(f"{what} cannot be Authorization; set bearer_token or basic_auth instead")
    return name


def check_bearer_token(value: str | bytes, what: str = "bearer_token") -> str | bytes:
    """Return a configured bearer token if an Authorization field can carry it.

    Raises:
        TypeError: it is neither str nor bytes.
        ValueError: it is empty, cannot be encoded as UTF-8, or contains white space, commas or
            control characters.
    """
    if re.search(r"[\x00-\x20\x7f,]", _checked_text(value, what)):
        raise ValueError(f"{what} must not contain white space, commas or control characters")
    return value


def check_api_key(value: str | bytes, what: str = "api_key") -> str | bytes:
    """Return a configured API key if a header can carry it.

    Raises:
        TypeError: it is neither str nor bytes.
        ValueError: it is empty, cannot be encoded as UTF-8, contains control characters, or
            starts or ends with a space.
    """
    if re.search(r"[\x00-\x1f\x7f]|\A | \Z", _checked_text(value, what)):
        raise ValueError(f"{what} must not contain control characters or a space at either end")
    return value


def _checked_text(value: str | bytes, what: str) -> str:
    # No message contains the value, which is a secret.
    if not isinstance(value, (str, bytes)):
        raise ArgumentTypeError(f"{what} must be a string or bytes, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{what} must not be empty")
    if isinstance(value, bytes):
        return value.decode("latin-1")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        # Not chained: the original error carries the secret.
        raise ValueError(f"{what} must not contain lone surrogates") from None
    return value


def check_basic_pair(pair: Sequence[str], what: str) -> tuple[str, str]:
    """Return a configured user name and password if the Basic scheme can carry them (RFC 7617).

    Raises:
        TypeError: it is not a tuple or list, or one of its items is not a string.
        ValueError: it is not a pair, one of them is empty, cannot be encoded as UTF-8 or contains
            control characters, or the user name contains a colon.
    """
    if not isinstance(pair, (tuple, list)):
        raise ArgumentTypeError(f"{what} must be a pair of user name and password")
    if len(pair) != 2:
        raise ValueError(f"{what} must be a pair of user name and password")
    for part, name in zip(pair, ("user name", "password")):
        if not isinstance(part, str):
            raise ArgumentTypeError(f"{what}: the {name} must be a string")
        if CONTROL.search(_checked_text(part, f"{what}: the {name}")):
            raise ValueError(f"{what}: the {name} must not contain control characters")
    user, password = pair
    if ":" in user:
        raise ValueError(f"{what}: the user name must not contain a colon")
    return user, password


def check_basic_pairs(pairs: Sequence[object], what: str) -> tuple[tuple[str, str], ...]:
    """Return one configured pair, or the pairs of a list or tuple; the first one is current.

    A list or tuple that contains a string is one pair.

    Raises:
        TypeError, ValueError: as :func:`check_basic_pair` and :func:`check_one_or_several`.
    """
    if isinstance(pairs, (list, tuple)) and any(isinstance(each, (str, bytes)) for each in pairs):
        pairs = [pairs]
    return check_one_or_several(pairs, check_basic_pair, what)


def check_one_or_several(
    values: object, check: Callable[[Any, str], _Credential], what: str
) -> tuple[_Credential, ...]:
    """Return one configured credential, or those of a list or tuple; the first one is current.

    Args:
        check: called with each of them and `what`; returns it, or raises an exception.

    Raises:
        ValueError: no credential is given, or two are equal. The message contains none of them.
    """
    items = values if isinstance(values, (list, tuple)) else (values,)
    checked = tuple(check(each, what) for each in items)
    if not checked:
        raise ValueError(f"{what} must not be empty; omit it or pass None")
    if len({_fingerprint(each) for each in checked}) < len(checked):
        raise ValueError(f"{what} contains the same value twice")
    return checked


def _fingerprint(credential: Any) -> tuple[bytes, ...]:
    parts = credential if isinstance(credential, tuple) else (credential,)
    return tuple(each.encode("utf-8") if isinstance(each, str) else each for each in parts)
