from __future__ import annotations

import logging
import threading
from wsgiref.validate import validator

import pytest
from support.clock import Clock
from support.rates import application, ask, statuses
from support.wsgi import environ, pass_through

from swaig_wsgi.middleware.rate_limit import RateLimitMiddleware
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


def test_exactly_the_limit_passes_in_a_window_from_the_first_request(clock):
    limited = limiter(30, clock=clock)
    assert ask(limited).status == 200
    clock.now += 59
    assert statuses(limited, 39) == [200] * 29 + [429] * 10
    clock.now += 1
    assert statuses(limited, 31) == [200] * 30 + [429]


def test_refused_requests_do_not_prolong_the_window(clock):
    limited = limiter(1, clock=clock)
    assert statuses(limited, 1) == [200]
    for _ in range(59):
        clock.now += 1
        assert statuses(limited, 1) == [429]
    clock.now += 1
    assert statuses(limited, 1) == [200]


def test_another_window(clock):
    limited = limiter(1, window=10, clock=clock)
    assert statuses(limited, 2) == [200, 429]
    clock.now += 10
    assert statuses(limited, 1) == [200]


def test_of_many_threads_exactly_the_limit_pass():
    limited = RateLimitMiddleware(application, 100)
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


def test_clients_are_limited_alone():
    limited = limiter(2)
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1"):
        assert statuses(limited, 3, address=address) == [200, 200, 429]


def test_no_header_of_the_client_changes_whom_it_counts_as():
    limited = limiter(2)
    headers = ["HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED", "HTTP_CLIENT_IP"]
    seen = [ask(limited, **{name: f"for=198.51.100.{n}"}) for n, name in enumerate(headers)]
    assert [response.status for response in seen] == [200, 200, 429, 429]


def test_no_address_of_a_64_gets_a_count_of_its_own():
    limited = limiter(5)
    seen = [ask(limited, address=f"2001:db8:1:2::{n:x}").status for n in range(8)]
    assert seen == [200] * 5 + [429] * 3


def test_a_mapped_address_is_the_same_client():
    limited = limiter(1)
    assert ask(limited, address="192.0.2.1").status == 200
    assert ask(limited, address="::ffff:192.0.2.1").status == 429


def test_a_refusal_says_when_to_come_back_and_reaches_no_application(clock, caplog):
    reached = []

    def counted(environ, start_response):
        reached.append(environ)
        return application(environ, start_response)

    limited = limiter(1, counted, clock=clock)
    ask(limited)
    clock.now += 17.3
    response = ask(limited)
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


def test_retry_after_is_never_less_than_a_second(clock):
    limited = limiter(1, clock=clock)
    ask(limited)
    clock.now += 59.999
    assert ask(limited).headers["retry-after"] == "1"


def test_a_refusal_of_head_has_no_body():
    limited = limiter(1)
    assert statuses(limited, 1, method="HEAD") == [200]
    response = ask(limited, method="HEAD")
    assert (response.status, response.body) == (429, b"")


# Fields on responses that are let through


def test_every_response_tells_where_the_client_stands(clock):
    limited = limiter(3, name="agent", clock=clock)
    for left in (2, 1, 0):
        response = ask(limited)
        assert response.fields == [
            ("Content-Type", "text/plain"),
            ("Content-Length", "2"),
            ("RateLimit-Policy", '"agent";q=3;w=60'),
            ("RateLimit", f'"agent";r={left};t=60'),
        ]


@pytest.mark.parametrize("name", ["RateLimit", "ratelimit", "RATELIMIT-POLICY"])
def test_fields_of_the_application_itself_win(name):
    def own(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), (name, '"own";r=1')])
        return [b"ok"]

    response = ask(limiter(3, own))
    assert response.fields == [("Content-Type", "text/plain"), (name, '"own";r=1')]


def test_of_two_limits_the_inner_one_is_announced():
    response = ask(limiter(60, limiter(5, name="inner")))
    assert response.headers["ratelimit"] == '"inner";r=4;t=60'


@pytest.mark.parametrize("own", [[], [("RateLimit", '"own";r=1')]])
def test_iterable_exc_info_and_write_are_passed_on_untouched(own):
    pass_through(lambda app: RateLimitMiddleware(app, 1), environ(), own)


# Exempt paths


def test_exempt_paths_are_neither_counted_nor_announced():
    limited = limiter(1, exempt=["/health"])
    for _ in range(5):
        response = ask(limited, path="/health")
        assert response.status == 200
        assert "ratelimit" not in response.headers
    assert statuses(limited, 2) == [200, 429]
    assert ask(limited, path="/health").status == 200


@pytest.mark.parametrize(
    "path", ["//health", "/health/", "/health/../swaig", "/HEALTH", "/health/x", "/./health", ""]
)
def test_what_only_looks_exempt_is_limited(path):
    limited = limiter(1, exempt=["/health"])
    assert statuses(limited, 2, path=path) == [200, 429]


def test_a_script_name_exempts_nothing():
    limited = limiter(1, exempt=["/health"])
    seen = statuses(limited, 2, path="/x", SCRIPT_NAME="/health")
    assert seen == [200, 429]


# Keys


@pytest.mark.parametrize("address", [None, "", "unix:", "unknown", "192.0.2.1:80"])
def test_clients_without_an_address_share_one_limit_and_the_log_says_so_once(caplog, address):
    limited = RateLimitMiddleware(application, 2)
    assert statuses(limited, 3, address=address) == [200, 200, 429]
    assert ask(limited, address="192.0.2.9").status == 200
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "REMOTE_ADDR" in errors[0].getMessage()
    assert (errors[0].event, errors[0].reason) == ("rate_limit_shared", "empty_key")
    assert errors[0].client == (address or "-")


def test_a_custom_key():
    limited = limiter(1, key=lambda environ: environ.get("HTTP_X_ACCOUNT", "nobody"))
    assert statuses(limited, 2, HTTP_X_ACCOUNT="a") == [200, 429]
    assert statuses(limited, 2, HTTP_X_ACCOUNT="b", address=None) == [200, 429]


def test_long_keys_are_counted_apart_but_not_kept():
    store = MemoryStore()
    limited = limiter(1, key=lambda environ: environ["HTTP_X_ACCOUNT"], store=store)
    for account in ("a" * 100_000, "a" * 99_999 + "b"):
        assert statuses(limited, 2, HTTP_X_ACCOUNT=account) == [200, 429]
    assert all(len(key) < 200 for key in store._counters)


@pytest.mark.parametrize("key", [None, 5, b"a"])
def test_a_key_that_is_not_a_string_is_an_error(key):
    limited = RateLimitMiddleware(application, 1, key=lambda environ: key)
    with pytest.raises(TypeError, match="key must return a string"):
        ask(limited)


@pytest.mark.parametrize("other", [{"limit": 5}, {"window": 30}, {"name": "login"}])
def test_limits_that_differ_do_not_mix_in_one_store(other):
    store = MemoryStore()
    options = {"limit": 2, **other}
    first, second = limiter(2, store=store), limiter(store=store, **options)
    assert statuses(first, 3) == [200, 200, 429]
    assert ask(second).status == 200


def test_limits_that_agree_count_together_in_one_store():
    store = MemoryStore()
    first, second = limiter(2, store=store), limiter(2, store=store)
    assert [ask(app).status for app in (first, second, first, second)] == [200, 200, 429, 429]


# Construction


@pytest.mark.parametrize("number", [0, -1, True, 1.5, "60", None])
def test_bad_numbers_are_refused(number):
    with pytest.raises(ValueError, match="limit"):
        RateLimitMiddleware(application, number)
    with pytest.raises(ValueError, match="window"):
        RateLimitMiddleware(application, 1, window=number)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exempt": "/health"}, "sequence"),
        ({"exempt": ["health"]}, "'/'"),
        ({"exempt": ["/health/*"]}, "exactly"),
        ({"key": "REMOTE_ADDR"}, "key"),
        ({"on_store_failure": "ignore"}, "local, allow, deny"),
        ({"on_store_failure": None}, "local, allow, deny"),
        ({"name": 'a"'}, "name"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RateLimitMiddleware(application, 1, **options)
