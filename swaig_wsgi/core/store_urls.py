"""Validation of store URLs.

Error messages contain no part of the URL: a part that looks invalid may be a password whose special
characters are not percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from ._validation import ArgumentTypeError

__all__ = ["RedisNodes", "check_store_url", "redis_nodes", "split_prefix", "sqlite_path"]

_FORMS = (
    "expected memory://, sqlite://, sqlite:///path, redis://, unix:///path, "
    "redis+sentinel://host:port/service or redis+cluster://host:port; "
    "over TLS rediss://, rediss+sentinel:// or rediss+cluster://"
)
_SENTINEL = ("redis+sentinel", "rediss+sentinel")
_CLUSTER = ("redis+cluster", "rediss+cluster")
_SCHEMES = ("memory", "sqlite", "redis", "rediss", "unix", *_SENTINEL, *_CLUSTER)
_REDIS_OPTIONS = frozenset({"db", "prefix"})
_TLS_OPTIONS = frozenset(
    {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname"}
)
_SOCKET_OPTIONS = frozenset({"username", "password"})
_SENTINEL_OPTIONS = frozenset({"sentinel_username", "sentinel_password"})
_NODE = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")


@dataclass(frozen=True)
class RedisNodes:
    """A valid URL of Sentinels or of a Redis Cluster, taken apart."""

    #: Host and port of each Sentinel, or of some servers of the cluster.
    addresses: tuple[tuple[str, int], ...]
    #: The name of the primary that the Sentinels watch; None for a cluster.
    service: str | None
    #: Whether all connections use TLS.
    tls: bool
    #: Of the servers, not of the Sentinels.
    username: str | None
    password: str | None = field(repr=False)
    #: The options of the URL, without `prefix`; they may contain a password.
    options: Mapping[str, str] = field(repr=False)


def check_store_url(url: str) -> str:
    """Return `url` if it is a valid store URL.

    - ``memory://``
    - ``sqlite://`` (a private file), ``sqlite:///relative.db``, ``sqlite:////absolute.db``: the
      path is not percent-encoded, and there are no options.
    - ``redis://[[user]:password@][host][:port][/db]``, ``rediss://`` for the same over TLS, and
      ``unix://[[user]:password@]/path/of.sock``. Options: ``db``, ``prefix``; over TLS also
      ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``, ``ssl_cert_reqs`` and
      ``ssl_check_hostname``; for a socket also ``username`` and ``password``.
    - ``redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/service``: the Sentinels
      that name the primary of `service`. User and password are those of the servers, and of
      Sentinels that demand some, unless the options ``sentinel_username`` and
      ``sentinel_password`` are others. Further options: those of ``redis://``.
    - ``redis+cluster://[[user]:password@]host[:port][,host[:port]...]``: servers of a Redis
      Cluster, which name the others. Options: ``prefix``, without braces.
    - ``rediss+sentinel://`` and ``rediss+cluster://``: the same over TLS, with the options of
      ``rediss://``. All connections use TLS, to the Sentinels also.

    Raises:
        TypeError: `url` is not a string.
        ValueError: it is invalid. The message describes what was expected.
    """
    if not isinstance(url, str):
        raise ArgumentTypeError(f"expected text, not {type(url).__name__}")
    if not url.isprintable():
        raise ValueError("a store URL must not contain control characters")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError(_FORMS)
    if scheme == "memory":
        if rest:
            raise ValueError("expected nothing after memory://")
    elif scheme == "sqlite":
        _check_sqlite(rest)
    elif "+" in scheme:
        redis_nodes(url)
    else:
        _check_redis(url)
    return url


def sqlite_path(url: str) -> str | None:
    """Return the path in a valid SQLite URL; None for a private file."""
    return url[len("sqlite:///") :] or None


def redis_nodes(url: str) -> RedisNodes | None:
    """Return the parts of a URL of Sentinels or of a cluster; None for one of another kind.

    Raises:
        ValueError: it is invalid. The message describes what was expected.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in (*_SENTINEL, *_CLUSTER):
        return None
    # By hand: urlsplit rejects a list in which an IPv6 address follows a name.
    base, _, query = rest.partition("?")
    authority, _, path = base.partition("/")
    login, _, nodes = authority.rpartition("@")
    default_port = 26379 if scheme in _SENTINEL else 6379
    addresses = [_address(node, default_port) for node in nodes.split(",")]
    wrong = None
    if "@" in path or "@" in query or "#" in rest:
        wrong = "there is @ or # after the hosts"
    elif None in addresses:
        wrong = f"host {addresses.index(None) + 1} or its port is malformed"
    if wrong:
        raise ValueError(
            f"expected {scheme}://user:password@host:port,host:port, with ports from 1 to 65535 "
            f"and special characters of the password percent-encoded: {wrong}"
        )
    allowed = {"prefix", "db"} | (_TLS_OPTIONS if scheme.startswith("rediss") else set())
    if scheme in _SENTINEL:
        allowed |= _SENTINEL_OPTIONS
        if not re.fullmatch(r"[A-Za-z0-9._-]+", path):
            raise ValueError(
                "expected the name of the service as path, of letters, digits and . - _, "
                f"as in {scheme}://host:26379/mymaster?db=0"
            )
    options = _check_options(scheme, query, frozenset(allowed))
    prefix = options.pop("prefix", "")
    if scheme in _CLUSTER:
        if path not in ("", "0") or int(options.pop("db", "0")) != 0:
            raise ValueError("expected no database but 0: a Redis Cluster has no other")
        if not {"{", "}"}.isdisjoint(prefix):
            raise ValueError("expected no braces in the prefix: they would select the server")
    username, _, password = login.partition(":")
    return RedisNodes(
        addresses=tuple(address for address in addresses if address is not None),
        service=path if scheme in _SENTINEL else None,
        tls=scheme.startswith("rediss"),
        username=unquote(username) or None,
        password=unquote(password) or None,
        options=options,
    )


def _address(node: str, default_port: int) -> tuple[str, int] | None:
    match = _NODE.fullmatch(node)
    if not match:
        return None
    host, port = match[1], int(match[2] or default_port)
    if host.startswith("["):
        host = host[1:-1]
        try:
            ip_address(host)
        except ValueError:
            return None
    return (host, port) if 0 < port < 65536 else None


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
    _check_options(parts.scheme, parts.query, allowed)


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


def _check_options(scheme: str, query: str, allowed: frozenset[str]) -> dict[str, str]:
    options = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in options]
    if not allowed.issuperset(names) or len(set(names)) != len(names):
        raise ValueError(
            f"expected no options but {', '.join(sorted(allowed))} in a {scheme}:// URL, "
            "each once, and ? in a password percent-encoded"
        )
    values = dict(options)
    if not _is_number(values.get("db", "0")):
        raise ValueError("expected a number as option db")
    if values.get("ssl_cert_reqs", "required") not in ("required", "optional", "none"):
        raise ValueError("expected required, optional or none as option ssl_cert_reqs")
    if values.get("ssl_check_hostname", "true") not in ("true", "false"):
        raise ValueError("expected true or false as option ssl_check_hostname")
    if values.get("ssl_cert_reqs") == "none" and values.get("ssl_check_hostname") == "true":
        raise ValueError("expected no ssl_check_hostname=true with ssl_cert_reqs=none")
    return values


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9
