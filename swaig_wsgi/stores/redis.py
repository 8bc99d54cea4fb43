"""A store in Redis or Valkey, shared by many machines."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from ..concurrency import outside_main_hub
from ..core._validation import ArgumentTypeError, check_number
from ..core.redaction import escape_control
from ..core.store_urls import check_store_url, redis_nodes, split_prefix
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
from ._deadlines import within
from ._redis_clients import Link, linker, script

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

# The time left is negative if the counter lost its expiry, which the next hit repairs. This is sent
# as text each time: it is short, and two commands could not follow one redirection in a cluster.
_PEEK = """
local count = redis.call('GET', KEYS[1])
return count and {count, redis.call('PTTL', KEYS[1])} or {}
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
    """Counters and values in Redis or Valkey, for processes of many machines.

    One server, the primary that Sentinels name, or a Redis Cluster. Each call is one round trip,
    atomic in the server; the first on a connection, and the first of its kind on a server, takes a
    few more. If a server is gone, hangs, drips bytes, restarts or is demoted, a call takes at most
    twice `timeout`, including connecting, and asking Sentinels or a cluster for the primary. Calls
    are never retried: a hit whose reply was lost would be counted twice. Resolving host names has
    no such limit; use addresses where that may hang.

    After an error of a server that is no longer the primary, or is loading its data, the next call
    connects anew.

    An attacker who can connect to the server can reset counters and claims: require a password,
    and TLS on networks that are not your own. Over TLS the certificate and its host name are
    verified.

    In a cluster, the names of keys contain a hash of the caller's key, in braces: a client that
    chose the key could otherwise choose the server.

    Args:
        url: see :func:`~swaig_wsgi.core.store_urls.check_store_url`. Its option ``prefix``
            overrides the argument.
        prefix: prefix of all keys, so that several services can share a server.
        timeout: seconds to connect, and to wait for a reply; at most 0.25.

    Raises:
        TypeError: `prefix` is not a string, or `timeout` is not a number.
        ValueError: `url` is not a Redis URL, `timeout` is out of range, or `prefix` has braces in a
            cluster.
        ImportError: the package ``redis`` is not installed.
    """

    def __init__(self, url: str, *, prefix: str = "swaig:", timeout: float = 0.25) -> None:
        if not check_store_url(url).startswith(("redis", "unix")):
            raise ValueError("expected a Redis URL, such as redis://host:6379/0")
        check_seconds("timeout", check_number("timeout", timeout, 0, _MAX_TIMEOUT))
        if not isinstance(prefix, str):
            raise ArgumentTypeError(f"prefix must be a string, not {type(prefix).__name__}")
        url, url_prefix = split_prefix(url)
        prefix = prefix if url_prefix is None else url_prefix
        nodes = redis_nodes(url)
        self._in_cluster = nodes is not None and nodes.service is None
        if self._in_cluster and not {"{", "}"}.isdisjoint(prefix):
            raise ValueError(
                "prefix must have no braces in a cluster: they would select the server"
            )
        try:
            self._make_link: Callable[[], Link] = linker(url, timeout)
        except ImportError as error:
            remedy = "pip install 'swaig-wsgi[redis]'"
            raise ImportError(f"a store in Redis needs the package redis: {remedy}") from error
        self._total = 2 * timeout
        self._pid = os.getpid()
        self._link = self._make_link()
        self.place = StoreLocation(f"{url} {prefix}")
        self._prefix = prefix.encode()
        self._secrets = _secrets(url)
        self._hit = script(_HIT)
        self._set = script(_SET)
        self._add = script(_ADD)
        self._merge = script(_MERGE)
        self._replace_if = script(_REPLACE_IF)

    def hit(self, key: str, window: float) -> Count:
        """Count `key` once; see :meth:`Store.hit`."""
        check_seconds("window", window)
        name, milliseconds = self._key(b"n:", key), _milliseconds(window)

        def hit(client: Any) -> Count:
            count, left = self._hit(keys=(name,), args=(milliseconds,), client=client)
            return Count(int(count), min(max(int(left), 1) / 1000, window))

        return self._call(name, hit)

    def peek(self, key: str) -> Count | None:
        """Return the live counter of `key` without counting; see :class:`Store`."""
        name = self._key(b"n:", key)

        def peek(client: Any) -> Count | None:
            found = client.eval(_PEEK, 1, name)
            if not found or int(found[1]) <= 0:
                return None
            return Count(int(found[0]), int(found[1]) / 1000)

        return self._call(name, peek)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the value of `key`; see :meth:`Store.get`."""
        name = self._key(b"v:", key)
        return self._call(name, lambda client: _decode(client.hgetall(name)))

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
        return self._call(name, lambda client: int(client.delete(name)) > 0)

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
        self._own_link().close()

    def _key(self, kind: bytes, key: str) -> bytes:
        name = key.encode("utf-8", "surrogatepass")
        if self._in_cluster:
            # The two counters of a sliding window, which are read together, share a slot.
            number, name = (name[:2], name[2:]) if name[:2] in (b"0:", b"1:") else (b"", name)
            name = number + b"{" + hashlib.sha256(name).hexdigest().encode() + b"}"
        return self._prefix + kind + name

    def _send(self, script: Any, key: str, value: Mapping[str, Any], ttl: float, *more: str) -> Any:
        check_seconds("ttl", ttl)
        name, args = self._key(b"v:", key), [str(_milliseconds(ttl))]
        for member in encode_members(value).items():
            args += member
        args += more
        return self._call(name, lambda client: script(keys=(name,), args=args, client=client))

    def _call(self, name: bytes, work: Callable[[Any], _T]) -> _T:
        with within(self._total):
            if not outside_main_hub():
                link = self._own_link()
                return self._wrap_errors(lambda: link.run(name, work))
            link = self._make_link()
            try:
                return self._wrap_errors(lambda: link.run(name, work))
            finally:
                link.close()

    def _own_link(self) -> Link:
        if self._pid != os.getpid():
            # A thread of the parent may have held a lock of a pool, so replace the link. In this
            # order: a thread that sees the new process id also sees its link.
            self._link = self._make_link()
            self._pid = os.getpid()
        return self._link

    def _wrap_errors(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except StoreError:
            raise
        except Exception as error:
            # Any exception: the arguments are valid by now, and for a malformed reply, or in a
            # child forked at a bad moment, the client does not always raise a RedisError. Not
            # chained: the original still contains everything that the server sent.
            message = f"the Redis store failed: {self._describe(error)}"
            raise StoreError(message, cause=_cause(error)) from None

    def _describe(self, error: BaseException) -> str:
        # A server without AUTH echoes the arguments, truncated, so that a password in them could
        # not be found and replaced.
        text = f"{type(error).__name__}: {error}".partition(", with args")[0]
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return escape_control(text)


def _cause(error: Exception) -> str:
    # Servers send a code first, such as MISCONF; not every redis-py has a class for each.
    code = re.match("[A-Z]{3,32}(?= )", str(error))
    return f"{type(error).__name__} {code[0]}" if code else type(error).__name__


def _secrets(url: str) -> list[str]:
    """Return the passwords in a valid URL."""
    nodes = redis_nodes(url)
    if nodes is not None:
        found = (nodes.password, nodes.options.get("sentinel_password"))
    else:
        parts = urlsplit(url)
        option = dict(parse_qsl(parts.query)).get("password")
        found = (unquote(parts.password or ""), option)
    return [secret for secret in found if secret]


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _decode(fields: Mapping[bytes, bytes]) -> dict[str, Any] | None:
    if not fields:
        return None
    members = {name.decode(): text.decode() for name, text in fields.items() if name}
    return decode_value(join_members(members))
