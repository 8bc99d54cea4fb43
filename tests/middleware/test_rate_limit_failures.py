"""A rate limit whose store fails."""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from wsgiref.validate import validator

import pytest
from support.clock import Clock
from support.rates import application, fetch, statuses

from swaig_wsgi.middleware.rate_limit import RateLimitMiddleware
from swaig_wsgi.stores._base import StoreBusyError, StoreError
from swaig_wsgi.stores.memory import MemoryStore
from swaig_wsgi.wsgi import add_observer, remove_observer


class Flaky(MemoryStore):
    """A store that can fail at once (refused) or after a delay (timed out)."""

    def __init__(self, clock):
        super().__init__(clock=clock)
        self.clock = clock
        self.down = False
        self.delay = 0.0
        self.hits = 0

    def hit(self, key, window):
        self.hits += 1
        if self.down:
            self.clock.now += self.delay
            raise StoreError("connection refused")
        return super().hit(key, window)

    def peek(self, key):
        if self.down:
            raise StoreError("connection refused")
        return super().peek(key)


def limiter(limit, store, clock, mode="local", **options):
    return RateLimitMiddleware(
        validator(application), limit, store=store, clock=clock, on_store_failure=mode, **options
    )


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def observed():
    """Return the kinds and events that observers have been called with."""
    seen = []

    def observe(kind, fields):
        seen.append((kind, fields["event"]))

    add_observer(observe)
    yield seen
    remove_observer(observe)


def test_requests_are_counted_locally_while_the_store_fails(clock, caplog):
    store = Flaky(clock)
    limited = limiter(3, store, clock)
    assert statuses(limited, 2) == [200, 200]
    store.down = True
    # From the last shared count.
    assert statuses(limited, 5) == [200, 429, 429, 429, 429]
    store.down = False
    assert statuses(limited, 2) == [200, 429]
    assert {record.levelno for record in caplog.records if "store" in record.getMessage()} == {
        logging.ERROR
    }


@pytest.mark.parametrize(
    ("mode", "expected"), [("local", [200] * 16 + [429]), ("allow", [200] * 17), ("deny", [503])]
)
def test_a_store_may_fail_between_the_counts_of_client_and_site(clock, mode, expected):
    class FailingForSites(Flaky):
        def hit(self, key, window):
            self.down = key.endswith("/48")
            return super().hit(key, window)

    limited = limiter(1, FailingForSites(clock), clock, mode)
    addresses = [f"2001:db8:1:{number:x}::1" for number in range(len(expected))]
    assert [fetch(limited, address).status for address in addresses] == expected


def test_the_local_count_has_the_same_window(clock):
    store = Flaky(clock)
    store.down = True
    limited = limiter(1, store, clock)
    assert statuses(limited, 2) == [200, 429]
    clock.now += 60
    assert statuses(limited, 2) == [200, 429]


@pytest.mark.parametrize("mode", ["local", "allow", "deny"])
def test_failures_are_logged_once_a_minute(clock, caplog, mode):
    store = Flaky(clock)
    store.down = True
    limited = limiter(10**6, store, clock, mode)
    for _ in range(1200):
        fetch(limited)
        clock.now += 0.1
    failures = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(failures) == 2
    assert "connection refused" in failures[0].getMessage()
    assert mode in failures[0].getMessage()
    record = failures[0]
    assert (record.event, record.reason) == ("rate_limit_store_failed", "store_failed")
    assert record.client == "192.0.2.7"


def test_each_failed_operation_is_reported_to_observers(clock, observed):
    store = Flaky(clock)
    limited = limiter(3, store, clock)
    fetch(limited)
    assert observed == []
    store.down = True
    statuses(limited, 3)
    assert [each for each in observed if each[0] == "store"] == [("store", "store_failed")] * 3


def test_another_cause_is_logged_at_once(clock, caplog):
    store = Flaky(clock)
    limited = limiter(10**6, store, clock)
    causes = ["ConnectionError", "ReadOnlyError", "ConnectionError", "ReadOnlyError", ""]
    for cause in causes:

        def hit(key, window, cause=cause):
            raise StoreError(f"it failed: {cause}", cause=cause)

        store.hit = hit
        for _ in range(3):
            fetch(limited)
        clock.now += 1
    logged = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [text.rpartition("it failed: ")[2].rstrip('")') for text in logged] == [
        "ConnectionError",
        "ReadOnlyError",
        "",
    ]


def test_on_store_failure_allow_admits_all_requests(clock):
    store = Flaky(clock)
    limited = limiter(1, store, clock, mode="allow")
    assert statuses(limited, 2) == [200, 429]
    store.down = True
    responses = [fetch(limited) for _ in range(5)]
    assert {response.status for response in responses} == {200}
    assert all("ratelimit" not in response.headers for response in responses)
    store.down = False
    assert statuses(limited, 1) == [429]


def test_on_store_failure_deny_refuses_all_requests(clock, caplog):
    store = Flaky(clock)
    store.down = True
    limited = limiter(5, store, clock, mode="deny")
    response = fetch(limited)
    assert (response.status, response.json) == (503, {"error": "Service unavailable"})
    refusal = caplog.records[-1]
    assert (refusal.event, refusal.reason) == ("rate_limit_unavailable", "store_failed")
    store.down = False
    assert fetch(limited).status == 200


def test_a_store_that_times_out_is_not_called_for_each_request(clock):
    store = Flaky(clock)
    store.down, store.delay = True, 0.25
    limited = limiter(100, store, clock)
    assert statuses(limited, 50) == [200] * 50
    assert store.hits == 1
    clock.now += 1
    store.down = False
    assert statuses(limited, 50) == [200] * 50
    assert store.hits == 51


class Busy(Flaky):
    """Others hold the lock of the store while it is down."""

    def hit(self, key, window):
        try:
            return super().hit(key, window)
        except StoreError:
            raise StoreBusyError("locked") from None


def test_a_store_that_waited_for_a_lock_is_used_again_at_once(clock):
    store = Busy(clock)
    store.down, store.delay = True, 0.25
    limited = limiter(100, store, clock)
    assert statuses(limited, 50) == [200] * 50
    assert store.hits == 100  # each request waits twice
    store.down = False
    assert statuses(limited, 100) == [200] * 100


def test_a_lock_that_is_free_at_the_second_try_costs_no_exactness(clock):
    class Contended(Busy):
        def hit(self, key, window):
            self.down = not self.down
            return super().hit(key, window)

    store = Contended(clock)
    processes = [limiter(100, store, clock) for _ in range(4)]
    counts = Counter(fetch(processes[number % 4]).status for number in range(400))
    assert counts == {200: 100, 429: 300}


def test_all_processes_admit_at_most_what_was_left_of_the_limit(clock):
    """Four processes, whose store fails now and then."""
    store = Flaky(clock)
    processes = [limiter(100, store, clock) for _ in range(4)]
    counts = Counter()
    for number in range(2000):
        store.down = number >= 60 and number % 5 > 0
        counts[fetch(processes[number % 4]).status] += 1
    # 40 were left when the failures began, so each process admits at most 40 more alone.
    assert 100 <= counts[200] <= 100 + 4 * 40
    clock.now += 60
    store.down = False
    assert sum(status == 200 for status in statuses(processes[0], 200)) == 100


def test_a_sliding_window_goes_on_locally(clock):
    store = Flaky(clock)
    processes = [limiter(100, store, clock, algorithm="sliding") for _ in range(4)]
    counts = Counter()
    for number in range(2000):
        store.down = number >= 60 and number % 5 > 0
        counts[fetch(processes[number % 4]).status] += 1
    assert 100 <= counts[200] <= 100 + 4 * 40
    clock.now += 90
    # Half of the previous window is left, in the store as in each process.
    for store.down in (True, False):
        assert statuses(processes[0], 200).count(200) == 50


@pytest.mark.parametrize("failing", ["0:", "1:"])
@pytest.mark.parametrize(("mode", "status"), [("allow", 200), ("deny", 503)])
def test_a_store_may_fail_between_the_counters_of_a_sliding_window(clock, failing, mode, status):
    class FailingForOne(Flaky):
        def peek(self, key):
            self.down = key.startswith(failing)
            return super().peek(key)

    limited = limiter(2, FailingForOne(clock), clock, mode, algorithm="sliding")
    assert statuses(limited, 3) == [status] * 3


@pytest.mark.parametrize(("mode", "status"), [("allow", 200), ("deny", 503)])
@pytest.mark.parametrize("reads", [True, False])
def test_other_policies_for_a_sliding_window(clock, mode, status, reads):
    store = Flaky(clock)
    if reads:  # the store fails between peek and hit
        store.peek = partial(MemoryStore.peek, store)
    limited = limiter(2, store, clock, mode, algorithm="sliding")
    assert statuses(limited, 1) == [200]
    store.down = True
    assert statuses(limited, 3) == [status] * 3
    assert "ratelimit" not in fetch(limited).headers
    store.down = False
    assert statuses(limited, 2) == [200, 429]


def test_local_windows_end_with_the_shared_one(clock):
    store = Flaky(clock)
    limited = limiter(2, store, clock)
    assert statuses(limited, 2) == [200, 200]
    clock.now += 50
    store.down = True
    response = fetch(limited)
    assert (response.status, response.headers["Retry-After"]) == (429, "10")
    clock.now += 10
    assert statuses(limited, 3) == [200, 200, 429]


def test_other_exceptions_of_a_store_propagate():
    class Broken(MemoryStore):
        def hit(self, key, window):
            raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        fetch(RateLimitMiddleware(application, 1, store=Broken()))
