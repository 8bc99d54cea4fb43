"""Connections to one Redis server, to the primary that Sentinels name, and to a Redis Cluster.

How a lost primary is left. A server that was demoted keeps its connections, and rejects every
write; one that restarts rejects everything until it has loaded its data. Behind one address,
another server may be the primary by then. So after such an error, :class:`Primary` makes a new
pool, whose connections go to whatever the address, or the Sentinels, then name. :class:`Cluster`
asks the cluster for its primaries again, at most once a second.

Nothing is repeated here, except in a cluster after MOVED and ASK, with which a server says that it
did not execute the command.
"""

from __future__ import annotations

import importlib.util
import random
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, urlsplit

from ..core.store_urls import RedisNodes, redis_nodes
from ._base import StoreError
from ._deadlines import bounded

_T = TypeVar("_T")

# Of these, the first two end a failover. A primary that lost its replicas (min-replicas-to-write)
# may have been replaced by one of them. Other errors, such as those of a full server (OOM) or disk
# (MISCONF), are of a server that stays the primary: connecting again would only be a burden. The
# text is searched, because redis-py knows few of these codes, and because servers before Redis 7
# put those of a script's commands into the middle.
_LOST = re.compile(
    r"\b(?:READONLY|MASTERDOWN|LOADING|NOREPLICAS|CLUSTERDOWN|ReadOnlyError|MasterDownError"
    r"|BusyLoadingError|ClusterDownError|MasterNotFoundError|previous master is now a slave)\b"
)
#: Seconds between two questions for the primaries of a cluster.
_REDISCOVERY = 1.0
#: How often one command may be redirected. While a slot moves, a server that lacks the script costs
#: two more: loading it uses up the ASKING.
_REDIRECTIONS = 5
#: A Sentinel, or a server that is asked for the cluster, may take this part of the timeout, so that
#: a few that are gone leave time for another one, and for the command.
_QUESTION = 1 / 3


class Link(Protocol):
    """What a store sends its commands through."""

    def run(self, name: bytes, work: Callable[[Any], _T]) -> _T:
        """Return the result of `work`, called with the client of the server that has key `name`."""

    def close(self) -> None:
        """Close idle connections."""


class Primary:
    """One server, at an address or named by Sentinels.

    Args:
        connect: returns a new client, which does not own its pool.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self.client = connect()

    def run(self, _: bytes, work: Callable[[Any], _T]) -> _T:
        client = self.client
        try:
            return work(client)
        except Exception as error:
            if lost_primary(error) and self.client is client:
                self.client = self._connect()
            raise
        finally:
            # Replaced by this thread or another. By now, the connection that was used is idle.
            if self.client is not client:
                _disconnect(client.connection_pool)

    def close(self) -> None:
        _disconnect(self.client.connection_pool)


class Cluster:
    """The primaries of a Redis Cluster.

    redis-py's ``RedisCluster`` does not send the commands: its waits have no common limit, and it
    loads a script into every primary, which fails while any of them is gone.

    Args:
        pool: returns a new pool for an address.
        question: options of a pool to ask for the slots.
    """

    def __init__(
        self,
        addresses: tuple[tuple[str, int], ...],
        pool: Callable[..., Any],
        question: Mapping[str, float],
    ) -> None:
        self._given = addresses
        self._pool = pool
        self._question = question
        #: First and last slot, and the address of their primary.
        self._slots: list[tuple[int, int, tuple[str, int]]] = []
        self._clients: dict[tuple[str, int], Any] = {}
        self._discovered_at = float("-inf")
        self._stale = True

    def run(self, name: bytes, work: Callable[[Any], _T]) -> _T:
        redis = _redis()
        waited = time.monotonic() - self._discovered_at >= _REDISCOVERY
        if not self._slots or (self._stale and waited):
            self._discover()
        address = self._primary_of(redis.cluster.key_slot(name))
        asking = False
        for _ in range(_REDIRECTIONS):
            client = self._client(address)
            try:
                return _ask(client, work) if asking else work(client)
            except redis.cluster.AskError as error:  # of which MovedError is a subclass
                asking = not isinstance(error, redis.cluster.MovedError)
                self._stale = self._stale or not asking
                address = (error.host or address[0], error.port)
            except Exception as error:
                if lost_primary(error):
                    _disconnect(client.connection_pool)
                    self._stale = True
                elif not isinstance(error, redis.ResponseError):  # no connection, or no reply
                    self._stale = True
                raise
        problem = "the servers of the cluster disagree"
        raise StoreError(f"the Redis store failed: {problem}", cause=problem)

    def close(self) -> None:
        for client in tuple(self._clients.values()):
            _disconnect(client.connection_pool)

    def _primary_of(self, slot: int) -> tuple[str, int]:
        for first, last, address in self._slots:
            if first <= slot <= last:
                return address
        self._stale = True
        problem = "no server of the cluster has the slot of the key"
        raise StoreError(f"the Redis store failed: {problem}", cause=problem)

    def _client(self, address: tuple[str, int]) -> Any:
        client = self._clients.get(address)
        if client is None:
            client = _redis().Redis(connection_pool=self._pool(*address))
            client = self._clients.setdefault(address, client)
        return client

    def _discover(self) -> None:
        """Ask one server after the other for the slots; keep what is known if none replies."""
        self._discovered_at = time.monotonic()
        # In another order each time: the first ones may be those that are gone.
        known = list({*self._given, *(address for _, _, address in self._slots)})
        random.shuffle(known)
        failure: Exception | None = None
        for host, port in known:
            pool = self._pool(host, port, **self._question)
            try:
                reply = _redis().Redis(connection_pool=pool).execute_command("CLUSTER SLOTS")
                # A server without a name for itself means the one that was asked.
                slots = [
                    (int(first), int(last), ((primary[0] or host.encode()).decode(), primary[1]))
                    for first, last, primary, *_ in reply
                ]
            except Exception as error:
                failure = error
                continue
            finally:
                pool.disconnect()
            if slots:  # a server that was reset has none
                self._use(slots)
                return
        if failure is not None and not self._slots:
            raise failure

    def _use(self, slots: list[tuple[int, int, tuple[str, int]]]) -> None:
        self._slots, self._stale = slots, False
        for address in {*self._clients}.difference(address for _, _, address in slots):
            client = self._clients.pop(address, None)
            if client is not None:
                _disconnect(client.connection_pool)


def lost_primary(error: BaseException) -> bool:
    """Return whether `error` is that of a server that is not, or no longer, a working primary."""
    return _LOST.search(f"{type(error).__name__}: {error}") is not None


def linker(url: str, timeout: float) -> Callable[[], Link]:
    """Return a function that makes a link for `url`; nothing connects before its first use.

    Raises:
        ImportError: the package ``redis`` is not installed.
    """
    redis = _redis()
    options = _options(timeout)
    nodes = redis_nodes(url)
    if nodes is not None:
        return _nodes_linker(nodes, options)
    if url.startswith("rediss://"):
        options["ssl_check_hostname"] = _checks_name(dict(parse_qsl(urlsplit(url).query)))

    def connect() -> Any:
        pool = redis.ConnectionPool.from_url(url, **options)
        pool.connection_class = bounded(pool.connection_class)
        # A client that does not own its pool does not close it when garbage-collected.
        return redis.Redis(connection_pool=pool)

    return partial(Primary, connect)


def _nodes_linker(nodes: RedisNodes, options: dict[str, Any]) -> Callable[[], Link]:
    redis = _redis()
    given: dict[str, Any] = dict(nodes.options)
    of_sentinels = {name: given.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    if nodes.tls:
        given["ssl_check_hostname"] = _checks_name(given)
    database = int(given.pop("db", "0"))
    options = {**options, **given}
    plain = bounded(redis.SSLConnection if nodes.tls else redis.Connection)
    login = {"username": nodes.username, "password": nodes.password}
    question = dict.fromkeys(
        ("socket_timeout", "socket_connect_timeout"), options["socket_timeout"] * _QUESTION
    )
    if nodes.service is None:
        # In early releases, only this parser knows MOVED and ASK.
        if hasattr(redis.cluster, "ClusterParser"):
            options["parser_class"] = redis.cluster.ClusterParser

        def pool(host: str, port: int, **more: Any) -> Any:
            given = {**options, **login, **more}
            return redis.ConnectionPool(plain, host=host, port=port, **given)

        return lambda: Cluster(nodes.addresses, pool, question)
    managed = bounded(
        redis.sentinel.SentinelManagedSSLConnection
        if nodes.tls
        else redis.sentinel.SentinelManagedConnection
    )

    # Without credentials of their own, Sentinels may demand none, or those of the servers.
    logins = [of_sentinels] if any(of_sentinels.values()) else [{}, login]

    def connect() -> Any:
        manager = redis.sentinel.Sentinel([])
        # In another order each time: the first ones may be those that are gone.
        addresses = random.sample(nodes.addresses, len(nodes.addresses))  # nosec B311 # the order to try
        for each in logins[: 1 + any(login.values())]:
            for host, port in addresses:
                pool = redis.ConnectionPool(
                    plain, host=host, port=port, **{**options, **question, **each}
                )
                manager.sentinels.append(redis.Redis(connection_pool=pool))
        return redis.Redis(
            connection_pool=redis.sentinel.SentinelConnectionPool(
                nodes.service, manager, connection_class=managed, db=database, **options, **login
            )
        )

    return partial(Primary, connect)


def script(text: str) -> Any:
    """Return a Lua script, to be called with the client that a link provides."""
    redis = _redis()
    return redis.Redis(connection_pool=redis.ConnectionPool()).register_script(text)


def _checks_name(options: Mapping[str, str]) -> bool:
    """Return whether the certificate must be for the host's name.

    Not the default before redis-py 6, which then accepts any valid certificate. Releases before 7
    do not connect if it is set where no certificate is required.
    """
    unchecked = ("ssl_cert_reqs", "none"), ("ssl_check_hostname", "false")
    return not any(options.get(name) == value for name, value in unchecked)


def _redis() -> Any:
    """Return the package, which is optional, and only partly typed."""
    import redis.backoff
    import redis.cluster
    import redis.retry
    import redis.sentinel

    return redis


def _options(timeout: float) -> dict[str, Any]:
    redis = _redis()
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        # Saves one round trip to connect, and every release returns replies of the same form.
        "protocol": 2,
    }
    # Saves two more, which tell the server the name and version of redis-py.
    if importlib.util.find_spec("redis.driver_info") is None:
        options.update(lib_name=None, lib_version=None)
    else:
        options["driver_info"] = None
    return options


def _ask(client: Any, work: Callable[[Any], _T]) -> _T:
    with client.client() as single:  # with one connection
        single.execute_command("ASKING")
        return work(single)


def _disconnect(pool: Any) -> None:
    """Close the idle connections of a pool, and those to the Sentinels that it asks."""
    pool.disconnect(inuse_connections=False)
    for sentinel in getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()):
        sentinel.connection_pool.disconnect(inuse_connections=False)
