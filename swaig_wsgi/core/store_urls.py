"""Validation of store URLs.

Error messages contain no part of the URL: a part that looks invalid may be a password whose special
characters are not percent-encoded.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from ._validation import ArgumentTypeError

__all__ = ["check_store_url", "split_prefix", "sqlite_path"]

_FORMS = "expected memory://, sqlite://, sqlite:///path, redis://, rediss:// or unix:///path"
_REDIS_OPTIONS = frozenset({"db", "prefix"})
_TLS_OPTIONS = frozenset(
    {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
)
_SOCKET_OPTIONS = frozenset({"username", "password"})


def check_store_url(url: str) -> str:
    """Return `url` if it is a valid store URL.

    - ``memory://``
    - ``sqlite://`` (a private file), ``sqlite:///relative.db``, ``sqlite:////absolute.db``: the
      path is not percent-encoded, and there are no options.
    - ``redis://[[user]:password@][host][:port][/db]``, ``rediss://`` for the same over TLS, and
      ``unix://[[user]:password@]/path/of.sock``. Options: ``db``, ``prefix``; over TLS also
      ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``, ``ssl_cert_reqs`` and
      ``ssl_check_hostname``; for a socket also ``username`` and ``password``.

    Raises:
        TypeError: `url` is not a string.
        ValueError: it is invalid. The message describes what was expected.
    """
    if not isinstance(url, str):
        raise ArgumentTypeError(f"expected text, not {type(url).__name__}")
    if not url.isprintable():
        raise ValueError("a store URL must not contain control characters")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("memory", "sqlite", "redis", "rediss", "unix"):
        raise ValueError(_FORMS)
    if scheme == "memory":
        if rest:
            raise ValueError("expected nothing after memory://")
    elif scheme == "sqlite":
        _check_sqlite(rest)
    else:
        _check_redis(url)
    return url


def sqlite_path(url: str) -> str | None:
    """Return the path in a valid SQLite URL; None for a private file."""
    return url[len("sqlite:///") :] or None


def split_prefix(url: str) -> tuple[str, str | None]:
    """Return a valid Redis URL without its option ``prefix``, and that option's value or None."""
    base, _, query = url.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    prefix = options.pop("prefix", None)
    return (f"{base}?{urlencode(options)}" if options else base), prefix


def _check_sqlite(rest: str) -> None:
    if rest and not rest.startswith("/"):
        raise ValueError("expected a third slash before the path: sqlite:///path")
    path = rest[1:]
    if rest and not path:
        raise ValueError("expected a path after sqlite:///, or sqlite:// for a private file")
    if path == ":memory:":
        raise ValueError("expected memory:// for a store in memory, sqlite:///path for a file")
    if "?" in path:
        raise ValueError("expected no options after the path of sqlite:///path")


def _check_redis(url: str) -> None:
    parts = _split(url)
    if parts.scheme == "unix":
        if parts.hostname or len(parts.path) < 2:
            raise ValueError("expected a third slash before the path of the socket: unix:///path")
        allowed = _REDIS_OPTIONS | _SOCKET_OPTIONS
    else:
        if parts.path not in ("", "/") and not _is_number(parts.path[1:]):
            raise ValueError("expected the number of a database as path, as in redis://host/0")
        allowed = _REDIS_OPTIONS | (_TLS_OPTIONS if parts.scheme == "rediss" else frozenset())
    _check_options(parts, allowed)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = parts.port != 0 and "#" not in url and "@" not in parts.path
        if "[" in parts.netloc:
            ip_address(parts.hostname or "")  # urlsplit checks it only from Python 3.11 on
    except ValueError:
        valid = False
    if not valid:
        # Outside the handler: the message of urlsplit, which would be the context, quotes the URL.
        raise ValueError(
            "expected host, port and database as in redis://user:password@host:6379/0, "
            "with special characters of the password percent-encoded"
        )
    return parts


def _check_options(parts: SplitResult, allowed: frozenset[str]) -> None:
    options = parse_qsl(parts.query, keep_blank_values=True)
    names = [name for name, _ in options]
    if not allowed.issuperset(names) or len(set(names)) != len(names):
        raise ValueError(
            f"expected no options but {', '.join(sorted(allowed))} in a {parts.scheme}:// URL, "
            "each once, and ? in a password percent-encoded"
        )
    values = dict(options)
    if not _is_number(values.get("db", "0")):
        raise ValueError("expected a number as option db")
    if values.get("ssl_cert_reqs", "required") not in ("required", "optional", "none"):
        raise ValueError("expected required, optional or none as option ssl_cert_reqs")
    if values.get("ssl_check_hostname", "true") not in ("true", "false"):
        raise ValueError("expected true or false as option ssl_check_hostname")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
