"""Stores in Redis and Valkey: round trips, failures, forks, and secrets."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
import traceback
from urllib.parse import quote

import pytest
import redis
from support.store_calls import HOUR, calls
from support.waiting import fastest

from swaig_wsgi.stores._base import StoreError
from swaig_wsgi.stores.redis import RedisStore


@pytest.fixture
def client(valkey):
    client = redis.Redis.from_url(valkey.url)
    yield client
    client.close()


@pytest.fixture
def store(redis_kit):
    return redis_kit.store


def seconds_to_fail(call, match=None, within=1):
    """Return how long a call takes until it fails; on a busy machine, the fastest of several."""

    def fail():
        with pytest.raises(StoreError, match=match):
            call()

    return fastest(fail, enough=within)


def assert_fails_within_a_second(store):
    for call in calls(store):
        assert seconds_to_fail(call) < 1


# Round trips


def test_each_call_is_one_round_trip(own_valkey, open_redis):
    valkey = own_valkey()
    store = open_redis(valkey.url)
    client = redis.Redis.from_url(valkey.url)
    for call in calls(store):
        call()
    with Relay(valkey.port) as relay:
        counted = open_redis(f"redis://127.0.0.1:{relay.port}/0")
        counted.get("key")
        for call in calls(counted):
            before = relay.requests
            call()
            assert relay.requests == before + 1
        counted.close()
    assert client.info("commandstats")["cmdstat_script|load"]["calls"] == 5
    client.close()


class Relay:
    """Forwards one connection to a server, and counts what the client sends."""

    def __init__(self, port):
        self.requests = 0
        self.upstream = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(60)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run)

    def run(self):
        client, _ = self.listener.accept()
        client.settimeout(60)
        with client, contextlib.suppress(OSError):
            while data := client.recv(65536):
                self.requests += 1
                self.upstream.sendall(data)
                client.sendall(self.upstream.recv(65536))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join()
        self.listener.close()
        self.upstream.close()


def test_scripts_flushed_by_the_server_are_loaded_in_the_same_call(store, client):
    store.hit("key", HOUR)
    store.set("key", {"a": 1}, HOUR)
    client.script_flush()
    assert store.hit("key", HOUR).count == 2
    client.script_flush()
    assert store.merge("key", {"b": 2}, HOUR) == {"a": 1, "b": 2}
    client.script_flush()
    assert store.add("key", {}, HOUR) is False


# Counters


def test_a_counter_that_lost_its_expiry_gets_a_new_one(valkey, client, open_redis):
    store = open_redis(valkey.url, prefix="lost:")
    store.hit("key", HOUR)
    (name,) = client.keys("lost:*")
    assert client.persist(name)
    count = store.hit("key", HOUR)
    assert count.count == 2
    assert 0 < count.seconds_left <= HOUR
    assert 0 < client.pttl(name) <= HOUR * 1000
    client.delete(name)


# Many processes


HAMMER = """
import sys
from swaig_wsgi.stores.redis import RedisStore
store = RedisStore(sys.argv[1], prefix="hammer:")
sys.stdin.readline()
counts = [store.hit("key", 3600).count for _ in range(200)]
for number in range(20):
    store.merge("merged", {f"{sys.argv[2]}.{number}": number}, 3600)
claims = sum(store.add(f"claim{number}", {}, 3600) for number in range(50))
print(*counts)
print(claims)
store.close()
"""


@pytest.fixture(params=["one server", "sentinel", "cluster"])
def url(request):
    """Return the URL of servers of each kind that no other test has used with this prefix."""
    if request.param == "one server":
        return request.getfixturevalue("own_valkey")().url
    if request.param == "sentinel":
        hosts = request.getfixturevalue("sentinel").hosts
        return f"redis+sentinel://{hosts}/mymaster?db=2"
    return f"redis+cluster://127.0.0.1:{request.getfixturevalue('cluster')[0].port}"


def test_four_processes_count_merge_and_claim_exactly(url, open_redis, start_python):
    programs = [start_python(HAMMER, url, index) for index in range(4)]
    for program in programs:
        program.stdin.write("go\n")
        program.stdin.flush()
    seen, claims = [], 0
    for program in programs:
        out, _ = program.communicate(timeout=60)
        assert program.returncode == 0
        counts, won = out.splitlines()
        seen += map(int, counts.split())
        claims += int(won)
    assert sorted(seen) == list(range(1, 801))
    assert claims == 50
    store = open_redis(url, prefix="hammer:")
    assert store.get("merged") == {f"{i}.{n}": n for i in range(4) for n in range(20)}


FORKS = """
import os, sys
from swaig_wsgi.stores.redis import RedisStore

store = RedisStore(sys.argv[1], prefix="forks:")
assert store.hit("key", 3600).count == 1
store.set("key", {"by": "parent"}, 3600)
children = []
for index in range(3):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for number in range(100):
                store.hit(f"child{index}", 3600)
                store.hit("key", 3600)
            assert store.hit(f"child{index}", 3600).count == 101
            assert store.get("key") == {"by": "parent"}
            status = 0
        finally:
            os._exit(status)
    children.append(pid)
for number in range(100):
    store.hit("parent", 3600)
assert store.hit("parent", 3600).count == 101
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
assert store.hit("key", 3600).count == 302
store.close()
"""


@pytest.mark.threads
def test_forked_children_use_the_store_of_their_parent(url, run_python):
    run_python(FORKS, url)


FORKS_BESIDE_THREADS = """
import os, signal, sys, threading
from swaig_wsgi.stores.redis import RedisStore

store = RedisStore(sys.argv[1], prefix="beside:")
store.hit("key", 3600)
pool = store._link.client.connection_pool
held, done = threading.Event(), threading.Event()

def hold(name):
    with getattr(pool, name):
        held.set()
        done.wait(60)

def count():
    while not done.is_set():
        store.hit("key", 3600)

def forked():
    pid = os.fork()
    if pid == 0:
        signal.alarm(3)
        status = 1
        try:
            assert store.hit("child", 3600).count >= 1
            store.close()
            assert store.hit("child", 3600).count >= 1
            del globals()["store"], globals()["pool"]
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]

threads = [threading.Thread(target=count) for _ in range(2)]
for thread in threads:
    thread.start()
statuses = [forked() for _ in range(10)]
done.set()
for thread in threads:
    thread.join()
for name in ("_lock", "_fork_lock"):
    held.clear()
    done.clear()
    thread = threading.Thread(target=hold, args=(name,))
    thread.start()
    held.wait(60)
    statuses.append(forked())
    done.set()
    thread.join()
print(statuses)
"""


@pytest.mark.threads
def test_a_child_does_not_wait_for_a_lock_that_a_thread_of_its_parent_held(own_valkey, run_python):
    assert run_python(FORKS_BESIDE_THREADS, own_valkey().url) == f"{[0] * 12}\n"


# Failures


def test_a_stopped_server_is_a_store_error_until_it_is_back(own_valkey, open_redis):
    valkey = own_valkey()
    store = open_redis(valkey.url)
    assert store.hit("key", HOUR).count == 1
    valkey.stop()
    assert_fails_within_a_second(store)
    valkey.start()
    assert store.hit("key", HOUR).count == 1
    store.set("key", {"a": 1}, HOUR)
    valkey.stop()
    valkey.start()
    # The old connection is dead, and the new server has no scripts.
    assert store.hit("key", HOUR).count == 1


@pytest.mark.store_deadline
def test_a_hanging_server_is_a_store_error_until_it_continues(own_valkey, open_redis):
    valkey = own_valkey()
    store = open_redis(valkey.url)
    fresh = open_redis(valkey.url)
    store.hit("key", HOUR)
    valkey.process.send_signal(signal.SIGSTOP)
    for call in (lambda: store.hit("key", HOUR), lambda: fresh.get("key")):
        assert seconds_to_fail(call, "Timeout") < 1
    valkey.process.send_signal(signal.SIGCONT)
    assert store.hit("other", HOUR).count == 1
    assert fresh.get("key") is None


def test_a_server_that_never_ran_is_a_store_error(own_valkey, open_redis):
    valkey = own_valkey()
    valkey.stop()
    assert_fails_within_a_second(open_redis(valkey.url))


def test_a_full_server_is_a_store_error_until_there_is_room(own_valkey, open_redis):
    valkey = own_valkey()
    store = open_redis(valkey.url)
    client = redis.Redis.from_url(valkey.url)
    store.hit("key", HOUR)
    store.set("key", {"a": 1}, HOUR)
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    for call in (
        lambda: store.hit("key", HOUR),
        lambda: store.set("key", {}, HOUR),
        lambda: store.merge("key", {}, HOUR),
        lambda: store.add("other", {}, HOUR),
    ):
        with pytest.raises(StoreError, match="OutOfMemory"):
            call()
    assert store.get("key") == {"a": 1}
    client.config_set("maxmemory", 0)
    assert store.hit("key", HOUR).count == 2
    client.close()


def test_a_key_of_another_program_is_a_store_error(valkey, client, open_redis):
    store = open_redis(valkey.url, prefix="foreign:")
    client.set("foreign:v:key", "text", ex=60)
    client.lpush("foreign:n:key", "text")
    for call in (
        lambda: store.hit("key", HOUR),
        lambda: store.get("key"),
        lambda: store.merge("key", {}, HOUR),
    ):
        with pytest.raises(StoreError, match="WRONGTYPE"):
            call()
    client.delete("foreign:v:key", "foreign:n:key")
    client.hset("foreign:v:key", "name", "no JSON")
    with pytest.raises(StoreError, match="something other"):
        store.get("key")
    client.hset("foreign:v:key", b"\xff", b"\xff")
    with pytest.raises(StoreError, match="UnicodeDecodeError"):
        store.get("key")
    client.delete("foreign:v:key")


class Impostor:
    """Sends the same bytes in reply to anything."""

    def __init__(self, reply):
        self.reply = reply
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while True:
            client, _ = self.listener.accept()
            client.settimeout(1)
            with client, contextlib.suppress(OSError):
                while data := client.recv(65536):
                    if data == b"stop":
                        return
                    client.sendall(self.reply)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"stop")
            self.thread.join()
        self.listener.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\0\0\0\0\r\n",
        b"+\xff\r\n",
        b"*1\r\n:1\r\n",
        b"$-1\r\n",
    ],
)
def test_a_server_that_is_not_redis_is_a_store_error(reply, open_redis):
    with Impostor(reply) as impostor:
        store = open_redis(f"redis://127.0.0.1:{impostor.port}/0")
        with pytest.raises(StoreError):
            store.hit("key", HOUR)
        store.close()


class Dripper(Impostor):
    """Sends an endless reply, byte by byte."""

    def run(self):
        while True:
            client, _ = self.listener.accept()
            with client, contextlib.suppress(OSError):
                if client.recv(65536) == b"stop":
                    return
                for _ in range(100):
                    client.sendall(b"1")
                    time.sleep(0.05)


@pytest.mark.store_deadline
def test_a_server_that_drips_bytes_is_a_store_error(open_redis):
    with Dripper(b"") as dripper:
        for path in ("/0", "/1"):
            store = open_redis(f"redis://127.0.0.1:{dripper.port}{path}")
            assert seconds_to_fail(lambda store=store: store.hit("key", HOUR), "Timeout") < 1
            store.close()


class Slow(Impostor):
    """Takes almost the whole timeout for each reply."""

    def run(self):
        while True:
            client, _ = self.listener.accept()
            client.settimeout(1)
            with client, contextlib.suppress(OSError):
                while data := client.recv(65536):
                    if data == b"stop":
                        return
                    time.sleep(0.2)
                    client.sendall(b"+OK\r\n" if b"EVALSHA" not in data else b"-NOSCRIPT x\r\n")


@pytest.mark.store_deadline
def test_a_server_that_is_slow_at_every_step_is_a_store_error(open_redis):
    with Slow(b"") as slow:
        store = open_redis(f"redis://:password@127.0.0.1:{slow.port}/1")
        assert seconds_to_fail(lambda: store.hit("key", HOUR), "Timeout", 0.75) < 0.75
        store.close()


def test_a_new_connection_sends_no_unneeded_commands(own_valkey, open_redis):
    valkey = own_valkey()
    client = redis.Redis.from_url(valkey.url)
    client.config_resetstat()
    store = open_redis(f"redis://127.0.0.1:{valkey.port}/1")
    store.hit("key", HOUR)
    store.hit("key", HOUR)
    stats = {name: stat["calls"] for name, stat in client.info("commandstats").items()}
    del stats["cmdstat_config|resetstat"]
    assert set(stats) == {
        *("cmdstat_select", "cmdstat_evalsha", "cmdstat_script|load"),
        *("cmdstat_incr", "cmdstat_pexpire", "cmdstat_pttl"),
    }
    assert stats["cmdstat_select"] == stats["cmdstat_script|load"] == 1
    client.close()


@pytest.mark.store_deadline
def test_tls_to_a_server_without_tls_is_a_store_error(valkey, open_redis):
    assert_fails_within_a_second(open_redis(f"rediss://127.0.0.1:{valkey.port}/0"))


# Secrets


PASSWORD = "p@ss:w/ö?#hunter2"
QUOTED = "p%40ss%3Aw%2F%C3%B6%3F%23hunter2"


def shown(error):
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def test_the_password_is_used_and_never_shown(own_valkey, open_redis):
    valkey = own_valkey()
    client = redis.Redis.from_url(valkey.url)
    client.config_set("requirepass", PASSWORD)
    store = open_redis(f"redis://:{QUOTED}@127.0.0.1:{valkey.port}/0")
    assert store.hit("key", HOUR).count == 1
    assert "hunter2" not in repr(store)
    client.close()
    for url in (valkey.url, f"redis://:hunter2@127.0.0.1:{valkey.port}/0"):
        with pytest.raises(StoreError, match="Authentication") as caught:
            open_redis(url).hit("key", HOUR)
        assert "hunter2" not in shown(caught.value)
    valkey.stop()
    with pytest.raises(StoreError) as caught:
        store.hit("key", HOUR)
    assert "hunter2" not in shown(caught.value)


@pytest.mark.parametrize("name", ["", "user"])
@pytest.mark.parametrize(
    "password",
    [
        "hunter2",
        # Servers echo the first 128 characters, not always unchanged.
        "hunter2" * 40,
        "hunter2\n" * 3,
    ],
)
def test_an_echoed_password_is_not_in_the_error(open_redis, name, password):
    echoed = password.replace("\n", " ")[:128]
    reply = f"-ERR unknown command 'AUTH'\x1b[2J, with args beginning with: '{echoed}' \r\n"
    with Impostor(reply.encode()) as impostor:
        url = f"redis://{name}:{quote(password)}@127.0.0.1:{impostor.port}/0"
        store = open_redis(url)
        with pytest.raises(StoreError, match=r"unknown command 'AUTH'\\x1b") as caught:
            store.hit("key", HOUR)
        assert "hunter2" not in shown(caught.value)
        store.close()


def test_a_password_echoed_elsewhere_is_not_in_the_error(open_redis):
    with Impostor(b"-ERR `hunter2` is not welcome\r\n") as impostor:
        store = open_redis(f"redis://:hunter2@127.0.0.1:{impostor.port}/0")
        with pytest.raises(StoreError, match="not welcome") as caught:
            store.hit("key", HOUR)
        assert "hunter2" not in shown(caught.value)
        store.close()


# Options


def test_keys_begin_with_the_prefix(own_valkey, open_redis):
    valkey = own_valkey()
    client = redis.Redis.from_url(valkey.url)
    for store, prefix in (
        (open_redis(valkey.url), b"swaig:"),
        (open_redis(valkey.url, prefix="mine:"), b"mine:"),
        (open_redis(f"{valkey.url}?prefix=its%3A", prefix="mine:"), b"its:"),
        (open_redis(f"{valkey.url}?prefix="), b""),
    ):
        client.flushall()
        store.hit("key", HOUR)
        store.set("key", {}, HOUR)
        assert sorted(client.keys()) == [prefix + b"n:key", prefix + b"v:key"]
    client.close()


def test_stores_of_two_prefixes_share_nothing(valkey, open_redis):
    first, second = open_redis(valkey.url, prefix="first:"), open_redis(valkey.url, prefix="2:")
    first.set("key", {"a": 1}, HOUR)
    assert second.get("key") is None
    assert second.delete("key") is False
    assert first.delete("key") is True


def test_a_database_is_chosen_by_the_url(valkey, open_redis):
    first = open_redis(f"redis://127.0.0.1:{valkey.port}/1")
    second = open_redis(f"redis://127.0.0.1:{valkey.port}?db=2")
    first.set("key", {"a": 1}, HOUR)
    assert second.get("key") is None
    assert first.delete("key") is True


def test_a_unix_socket_can_be_used(own_valkey, open_redis, public_directory):
    path = public_directory / "valkey.sock"
    own_valkey(unix_socket_path=path)
    store = open_redis(f"unix://{path}?prefix=a:&db=1")
    assert store.hit("key", HOUR).count == 1


@pytest.mark.store_deadline
@pytest.mark.parametrize("timeout", [0, -1, 0.26, float("nan"), float("inf"), "0.1", None, True])
def test_rejects_a_timeout_out_of_range(timeout):
    with pytest.raises(ValueError, match="timeout"):
        RedisStore("redis://127.0.0.1", timeout=timeout)


@pytest.mark.parametrize("prefix", [None, 5, b"swaig:"])
def test_rejects_a_prefix_that_is_not_a_string(prefix):
    with pytest.raises(ValueError, match="prefix must be a string"):
        RedisStore("redis://127.0.0.1", prefix=prefix)


@pytest.mark.parametrize(
    "url",
    [
        None,
        5,
        "memory://",
        "sqlite://",
        "http://127.0.0.1",
        "redis://127.0.0.1?socket_timeout=60",
        "redis://127.0.0.1?retry_on_timeout=true",
    ],
)
def test_rejects_a_url_of_another_store(url):
    with pytest.raises(ValueError, match="expected"):
        RedisStore(url)


WITHOUT_REDIS = """
import sys
import swaig_wsgi.stores
assert "redis" not in sys.modules
sys.modules["redis"] = None
try:
    swaig_wsgi.stores.open_store("redis://127.0.0.1")
except ImportError as error:
    print(error)
"""


def test_without_redis_py_the_error_names_the_package_to_install(run_python):
    assert "pip install 'swaig-wsgi[redis]'" in run_python(WITHOUT_REDIS)


def test_locations_can_be_compared_and_do_not_show_the_password():
    url = "redis://user:hunter2@127.0.0.1:1/0"
    location = RedisStore(url).place
    assert location == RedisStore(url).place
    assert location != RedisStore(url, prefix="other:").place
    assert location != RedisStore("redis://user:hunter2@127.0.0.1:1/1").place
    assert "hunter2" not in repr(location)
