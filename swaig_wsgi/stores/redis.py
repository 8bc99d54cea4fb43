"""A store in Redis or Valkey, shared by many machines."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..concurrency import outside_main_hub
from ..core._validation import ArgumentTypeError, check_number
from ..core.redaction import escape_control
from ..core.store_urls import check_store_url, split_prefix
from ._base import (
    MAX_VALUE_BYTES,
    Count,
    StoreError,
    StoreLocation,
    check_owner,
    check_seconds,
    decode_value,
    encode_members,
    join_members,
    value_too_large,
)
from ._deadlines import bounded, within

__all__ = ["RedisStore"]

_T = TypeVar("_T")

_MAX_TIMEOUT = 0.25

# Repair the expiry of a counter that lost it, or whose expiry is beyond the window: it would lock
# a client out forever.
_HIT = """
local count = redis.call('INCR', KEYS[1])
local left = count > 1 and redis.call('PTTL', KEYS[1]) or -1
if left < 0 or left > tonumber(ARGV[1]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
    left = ARGV[1]
end
return {count, left}
"""

# A value is a hash with one field per member, whose name and value are JSON text, because Lua's
# JSON turns empty arrays into objects and long integers into floats. The field with the empty name,
# which is not JSON, distinguishes a value without members from a missing one.
_WRITE = """
local function write()
    redis.call('HSET', KEYS[1], '', '')
    for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
"""
# A server that is out of memory rejects HSET but not DEL, and nothing once a script has written. So
# write first: the value is deleted only if it can be replaced.
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
# The last argument is the owner, as JSON text.
_REPLACE_IF = f"""{_WRITE}
if redis.call('HGET', KEYS[1], '"owner"') ~= table.remove(ARGV) then return 0 end
redis.call('HSET', KEYS[1], '', '')
redis.call('DEL', KEYS[1])
write()
return 1
"""
# `size` is that of the JSON text: braces, and name, colon, value and comma of each member.
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
    """Counters and values in one Redis or Valkey server, for processes of many machines.

    Each call is one round trip, atomic in the server; the first on a connection, and the first of
    its kind on a server, takes a few more. If the server is gone, hangs, drips bytes or restarts,
    connecting takes at most `timeout` for each of its addresses, and the whole call at most twice
    `timeout`. Calls are never retried: a hit whose reply was lost would be counted twice. Resolving
    the host name has no such limit; use an address where that may hang.

    An attacker who can connect to the server can reset counters and claims: require a password,
    and TLS on networks that are not your own. Over ``rediss://`` the certificate and its host name
    are verified.

    Args:
        url: see :func:`~swaig_wsgi.core.store_urls.check_store_url`. Its option ``prefix``
            overrides the argument.
        prefix: prefix of all keys, so that several services can share a server.
        timeout: seconds to connect, and to wait for a reply; at most 0.25.

    Raises:
        TypeError: `prefix` is not a string, or `timeout` is not a number.
        ValueError: `url` is not a Redis URL, or `timeout` is out of range.
        ImportError: the package ``redis`` is not installed.
    """

    def __init__(self, url: str, *, prefix: str = "swaig:", timeout: float = 0.25) -> None:
        if not check_store_url(url).startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("expected a redis://, rediss:// or unix:// URL")
        check_seconds("timeout", check_number("timeout", timeout, 0, _MAX_TIMEOUT))
        if not isinstance(prefix, str):
            raise ArgumentTypeError(f"prefix must be a string, not {type(prefix).__name__}")
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            remedy = "pip install 'swaig-wsgi[redis]'"
            raise ImportError(f"a store in Redis needs the package redis: {remedy}") from error
        url, url_prefix = split_prefix(url)
        options: dict[str, Any] = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "retry": Retry(NoBackoff(), 0),
            # Saves one round trip to connect, and every release returns replies of the same form.
            "protocol": 2,
        }
        # Saves two more, which tell the server the name and version of redis-py.
        if importlib.util.find_spec("redis.driver_info") is None:
            options.update(lib_name=None, lib_version=None)
        else:
            options["driver_info"] = None
        if url.startswith("rediss://"):
            # Not the default before redis-py 6, which then accepts any valid certificate.
            options["ssl_check_hostname"] = True

        def connect() -> Any:
            pool = redis.ConnectionPool.from_url(url, **options)
            pool.connection_class = bounded(pool.connection_class)
            # A client that does not own its pool does not close it when garbage-collected.
            return redis.Redis(connection_pool=pool)

        self._connect: Callable[[], Any] = connect
        self._total = 2 * timeout
        self._pid = os.getpid()
        self._client = client = connect()
        prefix = prefix if url_prefix is None else url_prefix
        self.place = StoreLocation(f"{url} {prefix}")
        self._prefix = prefix.encode()
        self._hit = client.register_script(_HIT)
        self._set = client.register_script(_SET)
        self._add = client.register_script(_ADD)
        self._merge = client.register_script(_MERGE)
        self._replace_if = client.register_script(_REPLACE_IF)

    def hit(self, key: str, window: float) -> Count:
        """Count `key` once; see :meth:`Store.hit`."""
        check_seconds("window", window)
        name, milliseconds = self._key(b"n:", key), _milliseconds(window)

        def hit(client: Any) -> Count:
            count, left = self._hit(keys=(name,), args=(milliseconds,), client=client)
            return Count(int(count), min(max(int(left), 1) / 1000, window))

        return self._call(hit)

    def peek(self, key: str) -> Count | None:
        """Return the live counter of `key` without counting; see :class:`Store`."""
        name = self._key(b"n:", key)

        def peek(client: Any) -> Count | None:
            # One round trip. If the counter expires between the two, the time left is negative; so
            # it is if the counter lost its expiry, which the next hit repairs.
            count, left = client.pipeline(transaction=False).get(name).pttl(name).execute()
            return None if count is None or int(left) <= 0 else Count(int(count), int(left) / 1000)

        return self._call(peek)

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
        merged = self._wrap_errors(lambda: _decode(dict(zip(flat[::2], flat[1::2]))))
        if merged is None:
            raise value_too_large()
        return merged

    def delete(self, key: str) -> bool:
        """Remove `key`; see :meth:`Store.delete`."""
        name = self._key(b"v:", key)
        return self._call(lambda client: int(client.delete(name)) > 0)

    def add(self, key: str, value: Mapping[str, Any], ttl: float) -> bool:
        """Claim `key`; see :meth:`Store.add`."""
        added = self._send(self._add, key, value, ttl)
        return self._wrap_errors(lambda: int(added) > 0)

    def replace_if(self, key: str, owner: str, value: Mapping[str, Any], ttl: float) -> bool:
        """Replace the value of `owner`; see :meth:`Store.replace_if`."""
        check_owner(owner)
        replaced = self._send(self._replace_if, key, value, ttl, json.dumps(owner))
        return self._wrap_errors(lambda: int(replaced) > 0)

    def close(self) -> None:
        """Close idle connections; the next call opens one again."""
        self._own_client().connection_pool.disconnect(inuse_connections=False)

    def _key(self, kind: bytes, key: str) -> bytes:
        return self._prefix + kind + key.encode("utf-8", "surrogatepass")

    def _send(self, script: Any, key: str, value: Mapping[str, Any], ttl: float, *more: str) -> Any:
        check_seconds("ttl", ttl)
        name, args = self._key(b"v:", key), [str(_milliseconds(ttl))]
        for member in encode_members(value).items():
            args += member
        args += more
        return self._call(lambda client: script(keys=(name,), args=args, client=client))

    def _call(self, work: Callable[[Any], _T]) -> _T:
        with within(self._total):
            if not outside_main_hub():
                client = self._own_client()
                return self._wrap_errors(lambda: work(client))
            client = self._connect()
            try:
                return self._wrap_errors(lambda: work(client))
            finally:
                client.connection_pool.disconnect()

    def _own_client(self) -> Any:
        if self._pid != os.getpid():
            # A thread of the parent may have held a lock of the pool, so replace the client. In
            # this order: a thread that sees the new process id also sees its client.
            self._client = self._connect()
            self._pid = os.getpid()
        return self._client

    def _wrap_errors(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except StoreError:
            raise
        except Exception as error:
            # Any exception: the arguments are valid by now, and for a malformed reply, or in a
            # child forked at a bad moment, the client does not always raise a RedisError. Not
            # chained: the original still contains everything that the server sent.
            raise StoreError(f"the Redis store failed: {self._describe(error)}") from None

    def _describe(self, error: BaseException) -> str:
        # A server without AUTH echoes the arguments, truncated, so that a password in them could
        # not be found and replaced.
        text = f"{type(error).__name__}: {error}".partition(", with args")[0]
        password = self._client.connection_pool.connection_kwargs.get("password")
        return escape_control(text.replace(password, "***") if password else text)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _decode(fields: Mapping[bytes, bytes]) -> dict[str, Any] | None:
    if not fields:
        return None
    members = {name.decode(): text.decode() for name, text in fields.items() if name}
    return decode_value(join_members(members))
