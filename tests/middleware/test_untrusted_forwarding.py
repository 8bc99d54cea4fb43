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
