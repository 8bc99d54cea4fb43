"""A store of each kind, and a way to let its time pass."""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path

import pytest
from support.clock import Clock
from support.valkeys import Sentinels, make_cluster

from swaig_wsgi.stores import redis as redis_module
from swaig_wsgi.stores.memory import MemoryStore
from swaig_wsgi.stores.redis import RedisStore
from swaig_wsgi.stores.sqlite import SQLiteStore


@pytest.fixture(autouse=True)
def _store_patience(request, monkeypatch):
    """Let a busy machine take its time, unless the test is marked as one of the deadline."""
    # A copy of the parts that can be vendored has no store in Redis.
    has_redis = hasattr(redis_module, "_MAX_TIMEOUT")
    if has_redis and request.node.get_closest_marker("store_deadline") is None:
        monkeypatch.setattr(redis_module, "_MAX_TIMEOUT", 5.0)
        monkeypatch.setitem(RedisStore.__init__.__kwdefaults__, "timeout", 5.0)


class Kit:
    """A store, and a function that lets time pass for it."""

    def __init__(self, store, pass_time):
        self.store = store
        self.pass_time = pass_time


@pytest.fixture
def memory_kit():
    clock = Clock(1000.0)
    store = MemoryStore(clock=clock)

    def pass_time(seconds):
        clock.now += seconds

    return Kit(store, pass_time)


@pytest.fixture
def sqlite_kit(tmp_path, request):
    clock = Clock(1.7e9)
    # Locks are not fair: between threads that are switched so often, one may wait for long.
    timeout = 60 if request.node.get_closest_marker("threads") else 0.25
    store = SQLiteStore(tmp_path / "store.db", clock=clock, timeout=timeout)

    def pass_time(seconds):
        clock.now += seconds

    yield Kit(store, pass_time)
    store.close()


@pytest.fixture(scope="session")
def sentinel(valkey, tmp_path_factory):
    """Return a Sentinel that watches the server of the session."""
    sentinel = Sentinels(tmp_path_factory.mktemp("sentinel"), valkey.port, 1, replicas=0)
    yield sentinel
    sentinel.stop()


@pytest.fixture(scope="session")
def cluster(valkeys):
    """Return the servers of a cluster without replicas."""
    return make_cluster(valkeys, replicas=0)


@pytest.fixture
def redis_kit(valkey):
    yield from _redis_kit(valkey.url, [valkey])


@pytest.fixture
def sentinel_kit(valkey, sentinel):
    yield from _redis_kit(f"redis+sentinel://{sentinel.hosts}/mymaster?db=1", [valkey], db=1)


@pytest.fixture
def cluster_kit(cluster):
    yield from _redis_kit(f"redis+cluster://127.0.0.1:{cluster[0].port}", cluster)


def _redis_kit(url, servers, db=0):
    import redis

    prefix = f"test-{uuid.uuid4().hex}:"
    store = RedisStore(url, prefix=prefix)
    clients = [redis.Redis(port=server.port, db=db) for server in servers]

    def pass_time(seconds):
        # The server's clock cannot be set, so bring the expiry of all keys closer instead.
        for client in clients:
            for key in client.keys(f"{prefix}*"):
                client.pexpire(key, max(0, client.pttl(key) - round(seconds * 1000)))

    yield Kit(store, pass_time)
    store.close()
    for client in clients:
        client.close()


@pytest.fixture(params=["memory", "sqlite", "redis", "sentinel", "cluster"])
def kit(request):
    return request.getfixturevalue(f"{request.param}_kit")


@pytest.fixture
def store(kit):
    return kit.store


@pytest.fixture
def public_directory():
    """Return a directory that another user could enter, unlike those of tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)  # noqa: S103 - the mode is part of the test
        yield Path(name)
        os.chmod(name, 0o755)  # noqa: S103 - the mode is part of the test


@pytest.fixture
def open_redis():
    """Return a function that creates a store and closes it after the test."""
    stores = []

    def make(url, **options):
        stores.append(RedisStore(url, **options))
        return stores[-1]

    yield make
    for store in stores:
        store.close()
