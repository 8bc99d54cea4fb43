"""A store in Redis or Valkey, shared by many machines."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..concurrency import outside_main_hub
from ..core.redaction import escape_control
from ..core.store_urls import check_store_url, split_prefix
from ._base import (
    MAX_VALUE_BYTES,
    Count,
    Place,
    StoreError,
    check_seconds,
    decode_value,
    encode_members,
    join_members,
    too_large,
)
from ._deadlines import bounded, within

_T = TypeVar("_T")

_MAX_TIMEOUT = 0.25

# A counter that lost its expiry, or has one beyond its window, would lock a client out for good.
_HIT = """
local count = redis.call('INCR', KEYS[1])
local left = count > 1 and redis.call('PTTL', KEYS[1]) or -1
if left < 0 or left > tonumber(ARGV[1]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
    left = ARGV[1]
end
return {count, left}
"""

# A value is a hash: a field for each member, named and filled with JSON text, because Lua's JSON
# turns empty arrays into objects and long integers into floats. The field with the empty name,
# which is no JSON, tells a value without members from none.
_WRITE = """
local function write()
    redis.call('HSET', KEYS[1], '', '')
    for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
"""
# A full server refuses to add but not to remove, and nothing more once a script has written.
_SET = f"""{_WRITE}
redis.call('HSET', KEYS[1], '', '')
redis.call('DEL', KEYS[1])
write()
return 1
"""
_ADD = f"""{_WRITE}
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
write()
return 1
"""
# The size of the JSON text: braces, and for each member its name, its value, a colon and a comma.
_MERGE = f"""{_WRITE}
local fields, given, size = redis.call('HGETALL', KEYS[1]), {{}}, 1
for i = 2, #ARGV, 2 do
    given[ARGV[i]] = true
    size = size + #ARGV[i] + #ARGV[i + 1] + 2
end
for i = 1, #fields, 2 do
    if fields[i] ~= '' and not given[fields[i]] then
        size = size + #fields[i] + #fields[i + 1] + 2
    end
end
if size > {MAX_VALUE_BYTES} then return {{}} end
write()
return redis.call('HGETALL', KEYS[1])
"""


class RedisStore:
    """Counters and values in one Redis or Valkey server, for all processes of many machines.

    Each call is one round trip, atomic in the server; the first on a connection, and the first of
    its kind on a server, takes a few more. A server that is gone, hangs, drips or restarts costs a
    call at most `timeout` to connect to each of its addresses, and no more than twice `timeout` in
    all to answer; nothing is tried again, since a counter whose answer was lost would be counted
    twice. Looking the host up has no such bound: where that may hang, give an address.

    Whoever reaches the server resets counters and claims at will: give it a password, and TLS
    where the network is not your own. Over ``rediss://`` the certificate and its host name are
    checked.

    Args:
        url: as :func:`~swaig_wsgi.core.store_urls.check_store_url` describes. Its option
            ``prefix`` wins over the argument.
        prefix: begins each key, so that several services can share a server.
        timeout: seconds to connect, and to wait for an answer; at most 0.25.

    Raises:
        ValueError: the URL is not one of Redis, `prefix` is no text, or `timeout` is out of range.
        ImportError: the package ``redis`` is not installed.
    """

    def __init__(self, url: str, *, prefix: str = "swaig:", timeout: float = 0.25) -> None:
        if not check_store_url(url).startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("expected a redis://, rediss:// or unix:// URL")
        if not _is_number(timeout) or not 0 < timeout <= _MAX_TIMEOUT:
            raise ValueError(f"timeout must be positive and at most {_MAX_TIMEOUT} seconds")
        if not isinstance(prefix, str):
            raise ValueError(f"prefix must be text, not {type(prefix).__name__}")
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise ImportError(
                "a store in Redis needs the package redis: pip install 'swaig-wsgi[redis]'"
            ) from error
        url, url_prefix = split_prefix(url)
        options: dict[str, Any] = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
            # One round trip less to connect, and answers of one shape from every release.
            "protocol": 2,
        }
        # Two more, which tell the server what it need not know: the name and version of redis-py.
        if importlib.util.find_spec("redis.driver_info") is None:
            options.update(lib_name=None, lib_version=None)
        else:
            options["driver_info"] = None
        if url.startswith("rediss://"):
            # Releases before 6 do not by themselves, and then any certificate will do.
            options["ssl_check_hostname"] = True

        def connect() -> Any:
            pool = redis.ConnectionPool.from_url(url, **options)
            pool.connection_class = bounded(pool.connection_class)
            # A client that is given its pool leaves it alone when it is collected.
            return redis.Redis(connection_pool=pool)

        self._connect: Callable[[], Any] = connect
        self._total = 2 * timeout
        self._pid = os.getpid()
        self._client = client = connect()
        prefix = prefix if url_prefix is None else url_prefix
        self.place = Place(f"{url} {prefix}")
        self._prefix = prefix.encode()
        self._hit = client.register_script(_HIT)
        self._set = client.register_script(_SET)
        self._add = client.register_script(_ADD)
        self._merge = client.register_script(_MERGE)

    def hit(self, key: str, window: float) -> Count:
        """Count `key` once; see :meth:`Store.hit`."""
        check_seconds("window", window)
        name, milliseconds = self._key(b"n:", key), _milliseconds(window)

        def hit(client: Any) -> Count:
            count, left = self._hit(keys=(name,), args=(milliseconds,), client=client)
            return Count(int(count), min(max(int(left), 1) / 1000, window))

        return self._call(hit)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the value of `key`; see :meth:`Store.get`."""
        name = self._key(b"v:", key)
        return self._call(lambda client: _decode(client.hgetall(name)))

    def set(self, key: str, value: Mapping[str, Any], ttl: float) -> None:
        """Replace the value of `key`; see :meth:`Store.set`."""
        self._send(self._set, key, value, ttl)

    def merge(self, key: str, value: Mapping[str, Any], ttl: float) -> dict[str, Any]:
        """Update the value of `key`; see :meth:`Store.merge`."""
        flat = self._send(self._merge, key, value, ttl)
        merged = self._sound(lambda: _decode(dict(zip(flat[::2], flat[1::2]))))
        if merged is None:
            raise too_large()
        return merged

    def delete(self, key: str) -> bool:
        """Remove `key`; see :meth:`Store.delete`."""
        name = self._key(b"v:", key)
        return self._call(lambda client: int(client.delete(name)) > 0)

    def add(self, key: str, value: Mapping[str, Any], ttl: float) -> bool:
        """Claim `key`; see :meth:`Store.add`."""
        added = self._send(self._add, key, value, ttl)
        return self._sound(lambda: int(added) > 0)

    def close(self) -> None:
        """Close the idle connections; the next call opens one again."""
        self._own_client().connection_pool.disconnect(inuse_connections=False)

    def _key(self, kind: bytes, key: str) -> bytes:
        return self._prefix + kind + key.encode("utf-8", "surrogatepass")

    def _send(self, script: Any, key: str, value: Mapping[str, Any], ttl: float) -> Any:
        check_seconds("ttl", ttl)
        name, args = self._key(b"v:", key), [str(_milliseconds(ttl))]
        for member in encode_members(value).items():
            args += member
        return self._call(lambda client: script(keys=(name,), args=args, client=client))

    def _call(self, work: Callable[[Any], _T]) -> _T:
        with within(self._total):
            if not outside_main_hub():
                client = self._own_client()
                return self._sound(lambda: work(client))
            client = self._connect()
            try:
                return self._sound(lambda: work(client))
            finally:
                client.connection_pool.disconnect()

    def _own_client(self) -> Any:
        if self._pid != os.getpid():
            # Whoever held a lock of the parent's pool will never release it in this fork. In this
            # order: a thread that sees the process also sees its client.
            self._client = self._connect()
            self._pid = os.getpid()
        return self._client

    def _sound(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except StoreError:
            raise
        except Exception as error:
            # Any: the arguments are sound by now, and what the client raises for an answer that
            # makes no sense, or in a child forked at a bad moment, is not always a RedisError.
            # Not chained: what the client raised still says all that the server said.
            raise StoreError(f"the Redis store failed: {self._describe(error)}") from None

    def _describe(self, error: BaseException) -> str:
        # A server that does not know AUTH repeats the beginning of what it was given, which no
        # longer is the password that could be looked for.
        text = f"{type(error).__name__}: {error}".partition(", with args")[0]
        password = self._client.connection_pool.connection_kwargs.get("password")
        return escape_control(text.replace(password, "***") if password else text)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _decode(fields: Mapping[bytes, bytes]) -> dict[str, Any] | None:
    if not fields:
        return None
    members = {name.decode(): text.decode() for name, text in fields.items() if name}
    return decode_value(join_members(members))
