"""Stores behind Sentinels and in a cluster: logins, names of keys, slots, lost servers."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
from support.ports import free_port
from support.rates import application, statuses
from support.store_calls import HOUR, calls
from support.valkeys import Sentinels, make_cluster, say
from support.waiting import fastest

from swaig_wsgi.middleware import RateLimitMiddleware
from swaig_wsgi.stores import open_store
from swaig_wsgi.stores._base import StoreError
from swaig_wsgi.stores.redis import RedisStore

PASSWORD = "p@ss:w/?#{hunter2}"
QUOTED = quote(PASSWORD, safe="")
OTHER = "another hunter2"


@pytest.fixture
def sentinels(tmp_path):
    """Return a function that starts Sentinels."""
    started = []

    def start(primary, number=1, **options):
        started.append(Sentinels(tmp_path, primary, number, replicas=0, **options))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def use_every_method(store):
    for call in calls(store):
        call()
    assert store.hit("again", HOUR).count == 1
    assert store.hit("again", HOUR).count == 2


def test_a_url_opens_a_store():
    for url in ("redis+sentinel://a:1,b:2/name?db=0", "redis+cluster://a:1,b:2"):
        store = open_store(url)
        assert isinstance(store, RedisStore)
        assert store.place == open_store(url).place


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_locations_and_stores_do_not_show_a_password(scheme):
    url = f"{scheme}+sentinel://user:hunter2@a/name?sentinel_password=hunter2"
    assert "hunter2" not in repr(RedisStore(url).place) + repr(RedisStore(url))


def test_the_rights_in_the_documentation_are_sufficient(own_valkey, small_cluster, open_redis):
    page = Path(__file__).parents[2] / "docs" / "stores.md"
    line = re.search(r"^ *(ACL SETUSER agent .*)$", page.read_text(), re.M)[1]
    single = own_valkey()
    for server, url in (
        (single, f"redis://agent:password@127.0.0.1:{single.port}/1"),
        (small_cluster, f"redis+cluster://agent:password@127.0.0.1:{small_cluster.port}"),
    ):
        say(server.port, *line.split())
        say(server.port, "ACL", "SETUSER", "default", "resetpass", "nocommands")
        use_every_method(open_redis(url))


# Sentinels


@pytest.mark.parametrize(
    ("login", "url"),
    [
        (None, "agent:{password}@{hosts}/mymaster"),
        (("agent", PASSWORD), "agent:{password}@{hosts}/mymaster?db=1"),
        (
            ("watcher", OTHER),
            "agent:{password}@{hosts}/mymaster"
            "?sentinel_username=watcher&sentinel_password=another+hunter2",
        ),
    ],
    ids=["of the servers only", "the same for Sentinels", "others for Sentinels"],
)
def test_servers_and_sentinels_are_given_their_passwords(
    own_valkey, sentinels, open_redis, login, url
):
    server = own_valkey()
    user = ("ACL", "SETUSER", "agent", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    say(server.port, *user)
    say(server.port, "CONFIG", "SET", "requirepass", "of the default user")
    watching = sentinels(server.port, login=login, server_login=("agent", PASSWORD))
    good = "redis+sentinel://" + url.format(password=QUOTED, hosts=watching.hosts)
    use_every_method(open_redis(good))
    bad = "redis+sentinel://" + url.format(password="wronghunter2", hosts=watching.hosts)
    with pytest.raises(StoreError) as caught:
        open_redis(bad).hit("key", HOUR)
    assert "hunter2" not in str(caught.value)


def test_a_service_that_no_sentinel_knows_is_a_store_error(valkey, sentinel, open_redis):
    with pytest.raises(StoreError, match="No master found for 'other'"):
        open_redis(f"redis+sentinel://{sentinel.hosts}/other").hit("key", HOUR)


@pytest.mark.store_deadline
def test_sentinels_that_are_gone_or_hang_are_passed_over(sentinel, open_redis):
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        hosts = f"127.0.0.1:{hangs.getsockname()[1]},127.0.0.1:{free_port()},{sentinel.hosts}"
        # In a random order each time.
        for number in range(1, 11):
            store = open_redis(f"redis+sentinel://{hosts}/mymaster?prefix=passed-over:")
            assert store.hit("key", HOUR).count == number


@pytest.mark.store_deadline
def test_no_call_waits_long_for_sentinels_that_hang(open_redis):
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        hosts = ",".join([f"127.0.0.1:{hangs.getsockname()[1]}"] * 20)
        store = open_redis(f"redis+sentinel://:password@{hosts}/mymaster")

        def fail():
            with pytest.raises(StoreError):
                store.hit("key", HOUR)

        assert fastest(fail, enough=1) < 1  # 20 of them would take 1.7 s


# Clusters


@pytest.fixture
def clean(cluster):
    """Return the servers of a cluster without keys."""
    for server in cluster:
        say(server.port, "FLUSHALL")
    return cluster


def names(servers):
    return [name for server in servers for name in say(server.port, "KEYS", "*")]


def url_of(servers):
    return f"redis+cluster://127.0.0.1:{servers[0].port}"


def test_names_of_keys_contain_a_hash_and_share_a_slot(clean, open_redis):
    store = open_redis(url_of(clean))
    store.hit("given {by} a client", HOUR)
    store.set("given {by} a client", {}, HOUR)
    counter, value = sorted(names(clean))
    assert re.fullmatch(rb"swaig:n:\{[0-9a-f]{64}\}", counter)
    assert re.fullmatch(rb"swaig:v:\{[0-9a-f]{64}\}", value)
    assert redis.cluster.key_slot(counter) == redis.cluster.key_slot(value)


def test_the_counters_of_a_sliding_window_share_a_slot(clean, open_redis):
    store = open_redis(url_of(clean))
    limited = RateLimitMiddleware(application, 5, window=60, algorithm="sliding", store=store)
    assert statuses(limited, 6) == [200] * 5 + [429]
    (first,) = names(clean)
    # So that the first counter fades, and the second begins.
    (owner,) = (server for server in clean if names([server]))
    say(owner.port, "PEXPIRE", first, 30_000)
    assert statuses(limited, 1) == [200]
    assert len(names(clean)) == 2
    assert len({redis.cluster.key_slot(name) for name in names(clean)}) == 1


def test_attack_a_client_cannot_put_all_its_keys_on_one_server(clean, open_redis):
    store = open_redis(url_of(clean))
    for number in range(100):
        store.hit(f"{{same}}{number}", HOUR)
    assert [len(names([server])) > 10 for server in clean] == [True] * 3


@pytest.mark.parametrize("prefix", ["{", "a}", "{a}:"])
def test_a_prefix_cannot_select_the_server(prefix):
    with pytest.raises(ValueError, match="braces"):
        RedisStore("redis+cluster://127.0.0.1", prefix=prefix)


def test_a_cluster_is_found_by_any_of_its_servers(cluster, open_redis):
    for server in cluster:
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{server.port}"
        use_every_method(open_redis(f"redis+cluster://{hosts}?prefix={server.port}:"))


def test_counts_are_exact_while_a_slot_moves(clean, open_redis):
    store = open_redis(url_of(clean))
    expected = 0

    def hits_are_exact():
        nonlocal expected
        for _ in range(5):
            expected += 1
            assert store.hit("key", HOUR).count == expected
            assert store.peek("key").count == expected

    hits_are_exact()
    (name,) = names(clean)
    slot = redis.cluster.key_slot(name)
    source = next(server for server in clean if names([server]))
    target = next(server for server in clean if server is not source)
    source_id, target_id = (say(each.port, "CLUSTER MYID").decode() for each in (source, target))
    say(target.port, "CLUSTER SETSLOT", slot, "IMPORTING", source_id)
    say(source.port, "CLUSTER SETSLOT", slot, "MIGRATING", target_id)
    hits_are_exact()
    # The server sends this key with ASK to the other one, which has not loaded the script.
    say(target.port, "SCRIPT FLUSH")
    say(source.port, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", name)
    hits_are_exact()
    for server in (target, source):
        say(server.port, "CLUSTER SETSLOT", slot, "NODE", target_id)
    hits_are_exact()
    for call in calls(store):
        call()
    # Back to where the other tests expect it.
    say(target.port, "FLUSHALL")
    for server in (source, target):
        say(server.port, "CLUSTER SETSLOT", slot, "NODE", source_id)


@pytest.fixture
def small_cluster(own_valkey):
    """Return the only server of a cluster."""
    (server,) = make_cluster(own_valkey, primaries=1, replicas=0)
    return server


def test_a_server_of_a_cluster_is_given_its_password(small_cluster, open_redis):
    port = small_cluster.port
    say(port, "CONFIG", "SET", "requirepass", PASSWORD)
    use_every_method(open_redis(f"redis+cluster://:{QUOTED}@127.0.0.1:{port}"))
    use_every_method(open_redis(f"redis+cluster://default:{QUOTED}@127.0.0.1:{port}?prefix=a"))
    for login in ("", ":wronghunter2@"):
        with pytest.raises(StoreError, match="Authentication") as caught:
            open_redis(f"redis+cluster://{login}127.0.0.1:{port}").hit("key", HOUR)
        assert "hunter2" not in str(caught.value)


def test_a_slot_without_a_server_is_a_store_error(small_cluster, open_redis):
    store = open_redis(url_of([small_cluster]))
    store.hit("key", HOUR)
    say(small_cluster.port, "FLUSHALL")
    say(small_cluster.port, "CLUSTER FLUSHSLOTS")
    with pytest.raises(StoreError, match=r"(?i)hash slot not served|cluster is down|clusterdown"):
        store.hit("key", HOUR)
    with pytest.raises(StoreError, match="slot"):
        open_redis(url_of([small_cluster])).hit("key", HOUR)


@pytest.mark.store_deadline
def test_a_cluster_that_hangs_is_a_store_error_until_it_continues(small_cluster, open_redis):
    used, unused = open_redis(url_of([small_cluster])), open_redis(url_of([small_cluster]))
    used.hit("key", HOUR)
    small_cluster.process.send_signal(signal.SIGSTOP)
    for store in (used, unused):

        def fail(store=store):
            with pytest.raises(StoreError, match="Timeout"):
                store.hit("key", HOUR)

        assert fastest(fail, enough=1) < 1
    small_cluster.process.send_signal(signal.SIGCONT)
    assert used.hit("other", HOUR).count == 1
    assert unused.hit("other", HOUR).count == 2
