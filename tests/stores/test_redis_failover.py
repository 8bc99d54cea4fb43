"""A Redis store behind one address whose server changes: connections to the old one are left."""

from __future__ import annotations

import threading
import time

import pytest
from redis import RedisError, ResponseError
from support.store_calls import HOUR, calls
from support.valkeys import Forwarder, client, replicate, say
from support.waiting import wait_until

from swaig_wsgi.stores._base import StoreError
from swaig_wsgi.stores._redis_clients import lost_primary
from swaig_wsgi.stores.redis import RedisStore


@pytest.fixture
def servers(own_valkey):
    """Return two servers."""
    config = {
        "enable-debug-command": "yes",
        # React to clients after each kilobyte that is loaded, not after two megabytes.
        "loading-process-events-interval-bytes": "1024",
        # Do not wait 5 s for more replicas.
        "repl-diskless-sync-delay": "0",
    }
    return own_valkey(config=config), own_valkey(config=config)


@pytest.fixture
def address(servers):
    forwarder = Forwarder(servers[0].port)
    yield forwarder
    forwarder.close()


@pytest.fixture
def store(address):
    store = RedisStore(address.url)
    yield store
    store.close()


def open_connections(store, address, number=4):
    """Make the store open several connections, which it keeps."""
    together = threading.Barrier(number)

    def hit():
        together.wait(60)
        for _ in range(50):
            store.hit("warm", HOUR)

    while address.connections < number:
        threads = [threading.Thread(target=hit) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def failures(store, number=20):
    """Return how many of some operations fail."""
    failed = 0
    for _ in range(number):
        try:
            store.hit("key", HOUR)
        except StoreError:
            failed += 1
    return failed


def test_a_demoted_primary_fails_one_call_not_all(servers, address, store):
    old, new = servers
    replicate(new.port, old.port)
    open_connections(store, address)
    say(new.port, "REPLICAOF", "NO", "ONE")
    address.target = new.port
    replicate(old.port, new.port)
    assert failures(store) == 1
    assert store.hit("key", HOUR).count == 20
    for call in calls(store):
        call()


@pytest.mark.threads
def test_a_demoted_primary_fails_one_call_of_each_thread_at_most(servers, address, store):
    old, new = servers
    replicate(new.port, old.port)
    open_connections(store, address, 8)
    say(new.port, "REPLICAOF", "NO", "ONE")
    address.target = new.port
    replicate(old.port, new.port)
    failed = []
    threads = [
        threading.Thread(target=lambda: failed.append(failures(store, 50))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(failed) >= 1
    assert max(failed) <= 1
    assert store.hit("key", HOUR).count == 8 * 50 - sum(failed) + 1
    # None of the connections to the old server is left.
    with client(old.port) as admin:
        wait_until(lambda: len(admin.client_list(_type="normal")) == 1)


def test_a_replica_without_its_primary_is_left(servers, address, store):
    old, new = servers
    open_connections(store, address)
    say(old.port, "CONFIG", "SET", "replica-serve-stale-data", "no")
    say(old.port, "REPLICAOF", "127.0.0.1", 1)
    address.target = new.port
    with pytest.raises(StoreError, match="MASTERDOWN|MasterDown|down"):
        store.get("key")
    assert failures(store) == 0


def test_a_server_that_loads_its_data_is_left(servers, address, store):
    old, new = servers
    say(old.port, "MSET", *(part for number in range(20_000) for part in (f"key{number}", "")))
    say(old.port, "CONFIG", "SET", "key-load-delay", 100)  # microseconds
    open_connections(store, address)
    # It ends when the server is killed.
    reload = threading.Thread(target=reply, args=(old.port, "DEBUG", "RELOAD"))
    reload.start()
    wait_until(lambda: "loading" in reply(old.port, "GET", "key1").lower())
    address.target = new.port
    with pytest.raises(StoreError, match=r"(?i)loading"):
        store.hit("key", HOUR)
    assert failures(store) == 0
    assert store.hit("key", HOUR).count == 21
    old.process.kill()
    reload.join()


def reply(port, *command):
    """Return the reply to a command, or the error, as text."""
    try:
        return str(say(port, *command))
    except RedisError as error:
        return str(error)


def test_a_primary_without_enough_replicas_is_left(servers, address, store):
    old, new = servers
    open_connections(store, address)
    say(old.port, "CONFIG", "SET", "min-replicas-to-write", 1)
    address.target = new.port
    assert failures(store) == 1


def test_a_full_primary_is_not_left(servers, address, store):
    old, _ = servers
    open_connections(store, address)
    before = address.connections
    say(old.port, "CONFIG", "SET", "maxmemory", 1)
    assert failures(store) == 20
    say(old.port, "CONFIG", "SET", "maxmemory", 0)
    assert failures(store) == 0
    assert address.connections == before


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("READONLY You can't write against a read only replica.", True),
        # Before Redis 7, of a command in a script.
        (
            "Error running script (call to f_c1): @user_script:2: @user_script: 2: "
            "-READONLY You can't write against a read only replica.",
            True,
        ),
        ("MASTERDOWN Link with MASTER is down", True),
        ("LOADING Redis is loading the dataset in memory", True),
        ("NOREPLICAS Not enough good replicas to write.", True),
        ("CLUSTERDOWN The cluster is down", True),
        ("OOM command not allowed when used memory > 'maxmemory'.", False),
        ("MISCONF Redis is configured to save RDB snapshots", False),
        ("WRONGTYPE Operation against a key", False),
        ("NOAUTH Authentication required.", False),
        ("BUSY Redis is busy running a script.", False),
    ],
)
def test_only_errors_of_a_server_that_may_have_been_replaced_end_its_connections(text, lost):
    assert lost_primary(ResponseError(text)) is lost


def test_no_call_takes_longer_than_its_limit_however_many_addresses_a_host_has(monkeypatch):
    import socket

    # Addresses that accept no connection, without a refusal.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = []
        for _ in range(4):
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
            waiting.append(each)
        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: [address] * 20)
        store = RedisStore(f"redis://many.example:{port}/0", timeout=0.1)
        times = []
        for _ in range(3):
            started = time.monotonic()
            with pytest.raises(StoreError):
                store.hit("key", HOUR)
            times.append(time.monotonic() - started)
        assert min(times) < 0.2 + 20 * 0.001 + 0.5  # 20 of them would take 2 s
        for each in waiting:
            each.close()
