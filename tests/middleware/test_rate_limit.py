from __future__ import annotations

import logging
import threading
from wsgiref.validate import validator

import pytest
from support.clock import Clock
from support.rates import application, fetch, statuses
from support.wsgi import environ, pass_through

from swaig_wsgi.middleware.rate_limit import RateLimitMiddleware
from swaig_wsgi.stores._scoped import ScopedStore
from swaig_wsgi.stores.memory import MemoryStore


def limiter(limit, app=application, *, clock=None, **options):
    if clock is not None:
        options.setdefault("store", MemoryStore(clock=clock))
        options["clock"] = clock
    return RateLimitMiddleware(validator(app), limit, **options)


@pytest.fixture
def clock():
    return Clock()


# The limit


def from_networks(limited, numbers, site="2001:db8:1"):
    """Return the status of a request from each of these /64 networks of a /48."""
    return [fetch(limited, f"{site}:{number:x}::1").status for number in numbers]


def test_attack_all_networks_of_a_48_have_sixteen_times_the_limit(clock):
    limited = limiter(2, clock=clock)
    assert from_networks(limited, range(100)) == [200] * 32 + [429] * 68
    response = fetch(limited, "2001:db8:1:ffff::1")
    assert response.headers["RateLimit"] == '"default";r=0;t=60'
    assert response.headers["Retry-After"] == "60"
    assert from_networks(limited, range(3), "2001:db8:2") == [200] * 3
    assert statuses(limited, 3) == [200, 200, 429]
    clock.now += 60
    assert from_networks(limited, [100, 100, 100]) == [200, 200, 429]


def test_attack_one_64_does_not_use_up_the_limit_of_its_neighbors():
    limited = limiter(2)
    assert from_networks(limited, [0] * 200) == [200] * 2 + [429] * 198
    assert from_networks(limited, range(1, 50)) == [200] * 30 + [429] * 19


def test_the_lowest_remainder_is_shown():
    limited = limiter(3)
    assert from_networks(limited, range(46)) == [200] * 46
    shown = [fetch(limited, "2001:db8:1:ff::1").headers["RateLimit"] for _ in range(2)]
    assert shown == ['"default";r=1;t=60', '"default";r=0;t=60']


def test_keys_of_ones_own_are_networks_only_if_they_read_like_one():
    limited = limiter(1, key=lambda environ: f"user {environ['REMOTE_ADDR']}/64")
    assert from_networks(limited, range(40)) == [200] * 40


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["fixed", "sliding"])
def test_attack_65536_networks_of_a_48_lock_out_no_other_client(algorithm):
    # The flood may take minutes.
    limited = RateLimitMiddleware(application, 3, window=3600, algorithm=algorithm)
    flood = from_networks(limited, range(65_536))
    assert flood.count(200) == 48
    for other in ("2001:db8:2::1", "2001:db9::1", "192.0.2.1", "64:ff9b::198.51.100.1"):
        assert statuses(limited, 4, address=other) == [200] * 3 + [429], other


def test_the_limit_applies_to_a_window_that_starts_with_the_first_request(clock):
    limited = limiter(30, clock=clock)
    assert fetch(limited).status == 200
    clock.now += 59
    assert statuses(limited, 39) == [200] * 29 + [429] * 10
    clock.now += 1
    assert statuses(limited, 31) == [200] * 30 + [429]


def test_refused_requests_do_not_extend_the_window(clock):
    limited = limiter(1, clock=clock)
    assert statuses(limited, 1) == [200]
    for _ in range(59):
        clock.now += 1
        assert statuses(limited, 1) == [429]
    clock.now += 1
    assert statuses(limited, 1) == [200]


def test_attack_the_burst_at_the_edge_of_a_window(clock):
    """A first request starts the window, its rest and the next come around its end."""
    admitted = {}
    for algorithm in ("fixed", "sliding"):
        start = clock.now
        limited = limiter(50, clock=clock, algorithm=algorithm)
        assert fetch(limited).status == 200
        clock.now = start + 59.8
        before = statuses(limited, 60).count(200)
        clock.now = start + 60.2
        after = statuses(limited, 60).count(200)
        # An attacker who goes on at a high rate.
        later = 0
        for _ in range(590):
            clock.now += 0.1
            later += statuses(limited, 3).count(200)
        admitted[algorithm] = (before, after, later)
    assert admitted["fixed"] == (49, 50, 0)
    assert admitted["sliding"] == (49, 1, 48)


def test_a_sliding_limit_tells_when_the_next_request_is_admitted(clock):
    limited = limiter(4, clock=clock, algorithm="sliding")
    assert statuses(limited, 5) == [200] * 4 + [429]
    response = fetch(limited)
    assert response.headers["Retry-After"] == "60"
    assert response.headers["RateLimit"] == '"default";r=0;t=60'
    assert response.headers["RateLimit-Policy"] == '"default";q=4;w=60'
    clock.now += 60
    assert statuses(limited, 2) == [200, 429]
    assert fetch(limited).headers["Retry-After"] == "20"
    clock.now += 19
    assert statuses(limited, 1) == [429]
    clock.now += 1
    response = fetch(limited)
    assert (response.status, response.headers["RateLimit"]) == (200, '"default";r=0;t=40')
    clock.now += 40
    assert statuses(limited, 5) == [200] * 3 + [429] * 2


def test_attack_networks_of_a_48_slide_together(clock):
    limited = limiter(2, clock=clock, algorithm="sliding")
    assert from_networks(limited, range(40)) == [200] * 32 + [429] * 8
    clock.now += 60
    assert from_networks(limited, range(40, 80)) == [200] + [429] * 39


def test_a_sliding_limit_requires_a_store_that_can_peek():
    class Blind(MemoryStore):
        peek = None

    with pytest.raises(ValueError, match="algorithm='sliding' requires a store with a method peek"):
        limiter(1, store=Blind(), algorithm="sliding")


@pytest.mark.parametrize("algorithm", ["fixed", "sliding"])
@pytest.mark.parametrize(("limit", "expected"), [(3, [200, 429, 429]), (4, [200, 200, 429])])
def test_a_limit_that_others_use_up_at_once_is_not_exceeded(clock, algorithm, limit, expected):
    """Another process counts between the operations of this one."""
    store = MemoryStore(clock=clock)

    class Racing(MemoryStore):
        place = None

        def hit(self, key, window):
            store.hit(key, window)
            return store.hit(key, window)

        def peek(self, key):
            return store.peek(key)

    limited = limiter(limit, store=Racing(), clock=clock, algorithm=algorithm)
    assert statuses(limited, 3) == expected
    assert fetch(limited).headers["Retry-After"] == "60"


def test_the_window_is_configurable(clock):
    limited = limiter(1, window=10, clock=clock)
    assert statuses(limited, 2) == [200, 429]
    clock.now += 10
    assert statuses(limited, 1) == [200]


@pytest.mark.parametrize("algorithm", ["fixed", "sliding"])
@pytest.mark.threads
def test_the_limit_is_exact_across_threads(algorithm):
    limited = RateLimitMiddleware(application, 100, algorithm=algorithm)
    start = threading.Barrier(8)
    seen = []

    def hammer():
        start.wait()
        seen.extend(statuses(limited, 50))

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [200] * 100 + [429] * 300


def test_clients_are_limited_separately():
    limited = limiter(2)
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"):
        assert statuses(limited, 3, address=address) == [200, 200, 429]


def test_request_headers_do_not_change_the_counted_address():
    limited = limiter(2)
    headers = ["HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED", "HTTP_CLIENT_IP"]
    seen = [fetch(limited, **{name: f"for=198.51.100.{n}"}) for n, name in enumerate(headers)]
    assert [response.status for response in seen] == [200, 200, 429, 429]


def test_addresses_of_an_ipv6_64_share_a_limit():
    limited = limiter(5)
    seen = [fetch(limited, address=f"2001:db8:1:2::{n:x}").status for n in range(8)]
    assert seen == [200] * 5 + [429] * 3


def test_an_ipv4_mapped_address_counts_as_ipv4():
    limited = limiter(1)
    assert fetch(limited, address="192.0.2.1").status == 200
    assert fetch(limited, address="::ffff:192.0.2.1").status == 429


def test_a_refusal_sends_retry_after_and_never_reaches_the_application(clock, caplog):
    reached = []

    def counted(environ, start_response):
        reached.append(environ)
        return application(environ, start_response)

    limited = limiter(1, counted, clock=clock)
    fetch(limited)
    clock.now += 17.3
    response = fetch(limited)
    assert response.status == 429
    assert response.json == {"error": "Rate limit exceeded"}
    assert response.headers["content-length"] == str(len(response.body))
    assert response.headers["retry-after"] == "43"
    assert response.headers["ratelimit-policy"] == '"default";q=1;w=60'
    assert response.headers["ratelimit"] == '"default";r=0;t=43'
    assert len(reached) == 1
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("swaig_wsgi.security", logging.WARNING)
    assert (record.event, record.reason) == ("rate_limited", "limit_exceeded")
    assert record.client == "192.0.2.7"


def test_retry_after_is_at_least_one_second(clock):
    limited = limiter(1, clock=clock)
    fetch(limited)
    clock.now += 59.999
    assert fetch(limited).headers["retry-after"] == "1"


def test_a_refusal_of_head_has_no_body():
    limited = limiter(1)
    assert statuses(limited, 1, method="HEAD") == [200]
    response = fetch(limited, method="HEAD")
    assert (response.status, response.body) == (429, b"")


# Fields of successful responses


def test_every_response_carries_the_remaining_requests(clock):
    limited = limiter(3, name="agent", clock=clock)
    for left in (2, 1, 0):
        response = fetch(limited)
        assert response.fields == [
            ("Content-Type", "text/plain"),
            ("Content-Length", "2"),
            ("RateLimit-Policy", '"agent";q=3;w=60'),
            ("RateLimit", f'"agent";r={left};t=60'),
        ]


@pytest.mark.parametrize("name", ["RateLimit", "ratelimit", "RATELIMIT-POLICY"])
def test_rate_limit_fields_of_the_application_are_kept(name):
    def application_limit(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), (name, '"own";r=1')])
        return [b"ok"]

    response = fetch(limiter(3, application_limit))
    assert response.fields == [("Content-Type", "text/plain"), (name, '"own";r=1')]


def test_the_inner_of_two_limits_is_announced():
    response = fetch(limiter(60, limiter(5, name="inner")))
    assert response.headers["ratelimit"] == '"inner";r=4;t=60'


@pytest.mark.parametrize("headers", [[], [("RateLimit", '"own";r=1')]])
def test_iterable_exc_info_and_write_are_passed_through(headers):
    pass_through(lambda app: RateLimitMiddleware(app, 1), environ(), headers)


# Exempt paths


def test_exempt_paths_are_not_counted_and_get_no_fields():
    limited = limiter(1, exempt=["/health"])
    for _ in range(5):
        response = fetch(limited, path="/health")
        assert response.status == 200
        assert "ratelimit" not in response.headers
    assert statuses(limited, 2) == [200, 429]
    assert fetch(limited, path="/health").status == 200


@pytest.mark.parametrize(
    "path", ["//health", "/health/", "/health/../swaig", "/HEALTH", "/health/x", "/./health", ""]
)
def test_other_spellings_of_an_exempt_path_are_limited(path):
    limited = limiter(1, exempt=["/health"])
    assert statuses(limited, 2, path=path) == [200, 429]


def test_script_name_is_not_matched_against_exempt_paths():
    limited = limiter(1, exempt=["/health"])
    seen = statuses(limited, 2, path="/x", SCRIPT_NAME="/health")
    assert seen == [200, 429]


# Protected paths and methods


@pytest.mark.parametrize(
    "path", ["/login", "//login", "/login/x", "/x/../login", "/login;x", "/%6cogin"]
)
def test_attack_every_reading_of_a_limited_path_is_limited(path):
    limited = limiter(1, protect=["/login"])
    assert statuses(limited, 2, path=path) == [200, 429]
    assert statuses(limited, 3, path="/other") == [200, 200, 200]


def test_paths_below_an_exempt_one_are_not_counted():
    limited = limiter(1, exempt=["/static/*"])
    assert statuses(limited, 3, path="/static/logo.png") == [200] * 3
    assert statuses(limited, 2, path="/static/../api") == [200, 429]


def test_attack_methods_are_limited_in_any_case():
    limited = limiter(1, methods=["POST"])
    assert statuses(limited, 3) == [200] * 3
    limited = RateLimitMiddleware(application, 1, methods=["POST"])
    for method, status in (("POST", 200), ("post", 429), ("Post", 429)):
        assert fetch(limited, method=method, validate=False).status == status


def test_several_limits_stack_by_name():
    store = MemoryStore()
    login = limiter(2, store=store, name="login", protect=["/login"], methods=["POST"])
    app = limiter(4, login, store=store)
    assert [fetch(app, path="/login", method="POST").status for _ in range(3)] == [200, 200, 429]
    assert statuses(app, 2) == [200, 429]


# Keys


@pytest.mark.parametrize("address", [None, "", "unix:", "unknown", "192.0.2.1:80"])
def test_clients_without_an_address_share_one_limit_which_is_logged_once(caplog, address):
    limited = RateLimitMiddleware(application, 2)
    assert statuses(limited, 3, address=address) == [200, 200, 429]
    assert fetch(limited, address="192.0.2.9").status == 200
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "REMOTE_ADDR" in errors[0].getMessage()
    assert (errors[0].event, errors[0].reason) == ("rate_limit_shared", "empty_key")
    assert errors[0].client == (address or "-")


def test_a_custom_key_selects_the_counter():
    limited = limiter(1, key=lambda environ: environ.get("HTTP_X_ACCOUNT", "anonymous"))
    assert statuses(limited, 2, HTTP_X_ACCOUNT="a") == [200, 429]
    assert statuses(limited, 2, HTTP_X_ACCOUNT="b", address=None) == [200, 429]


def test_long_keys_are_counted_separately_and_stored_shortened():
    store = MemoryStore()
    limited = limiter(1, key=lambda environ: environ["HTTP_X_ACCOUNT"], store=store)
    for account in ("a" * 100_000, "a" * 99_999 + "b"):
        assert statuses(limited, 2, HTTP_X_ACCOUNT=account) == [200, 429]
    assert all(len(key) < 200 for key in store._counters)


def test_requests_without_a_key_are_not_counted():
    limited = limiter(1, key=lambda environ: environ.get("HTTP_X_ACCOUNT"))
    for _ in range(3):
        response = fetch(limited)
        assert (response.status, response.headers.get("RateLimit")) == (200, None)
    assert statuses(limited, 2, HTTP_X_ACCOUNT="a") == [200, 429]
    assert fetch(limited).status == 200


@pytest.mark.parametrize("key", [False, 5, b"a"])
def test_a_key_that_is_not_a_string_raises(key):
    limited = RateLimitMiddleware(application, 1, key=lambda environ: key)
    with pytest.raises(TypeError, match="key must return a string"):
        fetch(limited)


@pytest.mark.parametrize("other", [{"limit": 5}, {"window": 30}, {"name": "login"}])
def test_different_limits_count_separately_in_one_store(other):
    store = MemoryStore()
    options = {"limit": 2, **other}
    first, second = limiter(2, store=store), limiter(store=store, **options)
    assert statuses(first, 3) == [200, 200, 429]
    assert fetch(second).status == 200


def test_equal_limits_count_together_in_one_store():
    store = MemoryStore()
    first, second = limiter(2, store=store), limiter(2, store=store)
    assert [fetch(app).status for app in (first, second, first, second)] == [200, 200, 429, 429]


# Construction


@pytest.mark.parametrize("number", [0, -1, True, 1.5, "60", None])
def test_invalid_limits_and_windows_are_rejected(number):
    with pytest.raises(ValueError, match="limit"):
        RateLimitMiddleware(application, number)
    with pytest.raises(ValueError, match="window"):
        RateLimitMiddleware(application, 1, window=number)


async def asynchronous_key(environ):
    raise NotImplementedError


class AsynchronousKey:
    __call__ = staticmethod(asynchronous_key)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exempt": "/health"}, "sequence"),
        ({"exempt": ["health"]}, "'/'"),
        ({"exempt": ["/health*"]}, "last segment"),
        ({"protect": "/login"}, "sequence"),
        ({"protect": []}, "protect is empty"),
        ({"methods": "POST"}, "sequence"),
        ({"methods": []}, "methods is empty"),
        ({"methods": ["P OST"]}, "method must be"),
        ({"key": "REMOTE_ADDR"}, "key"),
        ({"key": asynchronous_key}, "key must not be asynchronous"),
        ({"key": AsynchronousKey()}, "key must not be asynchronous"),
        ({"on_store_failure": "ignore"}, "local, allow, deny"),
        ({"on_store_failure": None}, "local, allow, deny"),
        ({"name": 'a"'}, "name"),
        ({"algorithm": "moving"}, "'fixed' or 'sliding'"),
    ],
)
def test_invalid_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        RateLimitMiddleware(application, 1, **options)


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({}, ['rate:2:60:"default":192.0.2.7']),
        ({"name": "calls", "window": 5}, ['rate:2:5:"calls":192.0.2.7']),
        ({"key": lambda environ: "192.0.2.7"}, ['rate:2:60:"default":key:192.0.2.7']),
        (
            {"algorithm": "sliding"},
            ['0:sliding:2:60:"default":192.0.2.7', '1:sliding:2:60:"default":192.0.2.7'],
        ),
    ],
)
def test_processes_of_all_versions_count_under_the_same_keys(options, keys):
    """They share a store during a rolling upgrade."""
    used = set()

    class Recording(MemoryStore):
        def hit(self, key, window):
            used.add(key)
            return super().hit(key, window)

        def peek(self, key):
            used.add(key)
            return super().peek(key)

    assert fetch(limiter(2, store=Recording(), **options)).status == 200
    assert sorted(used) == keys


def test_counters_of_agents_have_the_scopes_of_their_stores():
    base = MemoryStore()
    limited = limiter(2, store=ScopedStore(ScopedStore(base, "inner"), "outer"))
    assert statuses(limited, 3) == [200, 200, 429]
    assert base.peek('agent:"inner":agent:"outer":rate:2:60:"default":192.0.2.7').count == 3


@pytest.mark.parametrize("algorithm", ["fixed", "sliding"])
def test_equal_limits_count_a_request_once(algorithm):
    store = MemoryStore()
    inner = limiter(2, store=store, algorithm=algorithm)
    outer = limiter(2, inner, store=store, algorithm=algorithm)
    assert statuses(outer, 3) == [200, 200, 429]
