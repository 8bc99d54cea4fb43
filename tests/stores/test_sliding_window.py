"""A rate limit with a sliding window counts alike in every store."""

from __future__ import annotations

from support.rates import application, fetch, statuses

from swaig_wsgi.middleware.rate_limit import RateLimitMiddleware


def test_a_window_slides_in_every_store(kit):
    # So long that the time which this test takes makes no difference.
    limited = RateLimitMiddleware(
        application, 10, window=6000, algorithm="sliding", store=kit.store
    )
    assert statuses(limited, 12) == [200] * 10 + [429] * 2
    kit.pass_time(5500)
    assert statuses(limited, 2) == [429] * 2
    kit.pass_time(3500)
    # Nine of the previous window fade, and half of them are left.
    assert statuses(limited, 7) == [200] * 5 + [429] * 2
    assert 300 < int(fetch(limited).headers["Retry-After"]) <= 334
    kit.pass_time(334)
    assert statuses(limited, 2) == [200, 429]
    kit.pass_time(12_000)
    assert statuses(limited, 11) == [200] * 10 + [429]


def test_algorithms_count_separately_in_one_store(kit):
    for algorithm in ("fixed", "sliding"):
        limited = RateLimitMiddleware(application, 2, algorithm=algorithm, store=kit.store)
        assert statuses(limited, 3) == [200, 200, 429]
