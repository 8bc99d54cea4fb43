"""A rate limit whose store fails."""

from __future__ import annotations

import logging
from wsgiref.validate import validator

import pytest
from support.clock import Clock
from support.rates import application, ask, statuses

from swaig_wsgi.middleware.rate_limit import RateLimitMiddleware
from swaig_wsgi.stores._base import StoreError
from swaig_wsgi.stores.memory import MemoryStore


class Flaky(MemoryStore):
    """A store that can be down, quickly (refused) or slowly (timed out)."""

    def __init__(self, clock):
        super().__init__(clock=clock)
        self.clock = clock
        self.down = False
        self.delay = 0.0
        self.asked = 0

    def hit(self, key, window):
        self.asked += 1
        if self.down:
            self.clock.now += self.delay
            raise StoreError("connection refused")
        return super().hit(key, window)


def limiter(limit, store, clock, mode="local"):
    return RateLimitMiddleware(
        validator(application), limit, store=store, clock=clock, on_store_failure=mode
    )


@pytest.fixture
def clock():
    return Clock()


def test_a_failing_store_is_replaced_by_counting_here_and_returned_to(clock, caplog):
    store = Flaky(clock)
    limited = limiter(3, store, clock)
    assert statuses(limited, 2) == [200, 200]
    store.down = True
    assert statuses(limited, 5) == [200, 200, 200, 429, 429]
    store.down = False
    assert statuses(limited, 2) == [200, 429]
    assert {record.levelno for record in caplog.records if "store" in record.getMessage()} == {
        logging.ERROR
    }


def test_the_local_count_keeps_its_window_too(clock):
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
        ask(limited)
        clock.now += 0.1
    failures = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(failures) == 2
    assert "connection refused" in failures[0].getMessage()
    assert mode in failures[0].getMessage()
    record = failures[0]
    assert (record.event, record.reason) == ("rate_limit_store_failed", "store_failed")
    assert record.client == "192.0.2.7"


def test_a_failing_store_may_allow_everything(clock):
    store = Flaky(clock)
    limited = limiter(1, store, clock, mode="allow")
    assert statuses(limited, 2) == [200, 429]
    store.down = True
    responses = [ask(limited) for _ in range(5)]
    assert {response.status for response in responses} == {200}
    assert all("ratelimit" not in response.headers for response in responses)
    store.down = False
    assert statuses(limited, 1) == [429]


def test_a_failing_store_may_refuse_everything(clock, caplog):
    store = Flaky(clock)
    store.down = True
    limited = limiter(5, store, clock, mode="deny")
    response = ask(limited)
    assert (response.status, response.json) == (503, {"error": "Service unavailable"})
    refusal = caplog.records[-1]
    assert (refusal.event, refusal.reason) == ("rate_limit_unavailable", "store_failed")
    store.down = False
    assert ask(limited).status == 200


def test_a_store_that_times_out_does_not_hold_up_every_request(clock):
    store = Flaky(clock)
    store.down, store.delay = True, 0.25
    limited = limiter(100, store, clock)
    assert statuses(limited, 50) == [200] * 50
    assert store.asked == 1
    clock.now += 1
    store.down = False
    assert statuses(limited, 50) == [200] * 50
    assert store.asked == 51


def test_another_exception_of_a_store_is_not_swallowed():
    class Broken(MemoryStore):
        def hit(self, key, window):
            raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        ask(RateLimitMiddleware(application, 1, store=Broken()))
