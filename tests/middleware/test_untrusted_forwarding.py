"""Limits that count a proxy instead of its clients say so."""

from __future__ import annotations

import logging

import pytest
from support.wsgi import Recorder, request
from werkzeug.middleware.proxy_fix import ProxyFix

from swaig_wsgi.middleware import (
    AuthFailureLimitMiddleware,
    AuthHandler,
    AuthMiddleware,
    RateLimitMiddleware,
    TrustedProxyMiddleware,
)

PROXY = "10.0.0.1"
FIELDS = [{"HTTP_X_FORWARDED_FOR": "192.0.2.1"}, {"HTTP_FORWARDED": "for=192.0.2.1"}]


def rate(**options):
    return RateLimitMiddleware(Recorder(), 100, **options)


def failures(**options):
    handler = AuthHandler(bearer_token="token")
    return AuthFailureLimitMiddleware(AuthMiddleware(Recorder(), handler), 100, **options)


@pytest.fixture(params=[rate, failures])
def limit(request):
    return request.param


def errors(caplog):
    return [record for record in caplog.records if record.levelno == logging.ERROR]


@pytest.mark.parametrize("fields", FIELDS)
def test_attack_an_untrusted_proxy_is_reported_once(limit, fields, caplog):
    app = limit()
    for _ in range(5):
        request(app, REMOTE_ADDR=PROXY, **fields)
    (error,) = errors(caplog)
    assert error.reason == "untrusted_forwarding"
    assert error.event == ("rate_limit_shared" if limit is rate else "auth_failure_limit_shared")
    assert error.client == PROXY
    assert "SWML_TRUSTED_PROXIES" in error.getMessage()
    assert "192.0.2.1" not in error.getMessage()


@pytest.mark.parametrize("fields", [*FIELDS, {}])
def test_trusted_and_absent_proxies_are_not_reported(limit, fields, caplog):
    for app in (
        TrustedProxyMiddleware(limit(), [PROXY]),
        TrustedProxyMiddleware(limit(), [PROXY], family="forwarded"),
        ProxyFix(limit()),
        limit(exempt=["/"]),
        limit(key=lambda environ: None),
    ):
        request(app, REMOTE_ADDR=PROXY, **fields)
        # From a client that forges the field, which TrustedProxyMiddleware removes.
        request(app, REMOTE_ADDR="198.51.100.1", **fields)
    request(limit(), REMOTE_ADDR=PROXY)
    assert not errors(caplog)


def stacked():
    inner = AuthFailureLimitMiddleware(
        AuthMiddleware(Recorder(), AuthHandler(bearer_token="token")), 100
    )
    return RateLimitMiddleware(inner, 100)


@pytest.mark.parametrize("address", [PROXY, "", "unix:"])
@pytest.mark.parametrize("fields", FIELDS)
def test_one_cause_has_one_error_of_all_limits(address, fields, caplog):
    app = stacked()
    for _ in range(3):
        request(app, REMOTE_ADDR=address, **fields)
    (error,) = errors(caplog)
    assert (error.event, error.reason) == ("rate_limit_shared", "untrusted_forwarding")
    expected = "set SWML_TRUSTED_PROXIES." if address == PROXY else "SWML_TRUSTED_PROXIES to unix."
    assert expected in error.getMessage()


def test_a_unix_socket_has_one_error_whatever_its_requests_carry(limit, caplog):
    for first, second in (({}, FIELDS[0]), (FIELDS[0], {})):
        caplog.clear()
        app = limit()
        for fields in (first, second, first):
            request(app, REMOTE_ADDR="", **fields)
        (error,) = errors(caplog)
        assert error.reason == ("untrusted_forwarding" if first else "empty_key")
        assert "set SWML_TRUSTED_PROXIES to unix." in error.getMessage()


def test_an_empty_key_of_a_key_function_is_another_cause(limit, caplog):
    app = limit(key=lambda environ: "")
    for _ in range(2):
        request(app, REMOTE_ADDR=PROXY, **FIELDS[0])
    assert [error.reason for error in errors(caplog)] == ["untrusted_forwarding", "empty_key"]


def test_an_inner_limit_reports_what_the_outer_one_does_not_count(caplog):
    inner = RateLimitMiddleware(Recorder(), 100)
    app = RateLimitMiddleware(inner, 50, protect=["/login"], name="logins")
    for path in ("/", "/login", "/"):
        request(app, path=path, REMOTE_ADDR=PROXY, **FIELDS[0])
    assert [error.reason for error in errors(caplog)] == ["untrusted_forwarding"] * 2
