"""The state of a request, which layers keep in ``environ``."""

from __future__ import annotations

from support.wsgi import Recorder, environ, request

from swaig_wsgi import Settings, harden
from swaig_wsgi.middleware import AuthHandler, RateLimitMiddleware

PROXY = "10.0.0.1"


def added(app, site, **options):
    """Return the keys that layers have added for the application."""
    assert request(app, **options).status == 200
    return site.environs[-1].keys() - environ(**options).keys()


def test_keys_begin_with_the_name_of_the_package():
    """No field of a request, whose keys begin with ``HTTP_``, can set one."""
    site = Recorder()
    settings = Settings(
        trusted_proxies=[PROXY],
        proxy_keep=["X-Forwarded-User"],
        allowed_hosts=["127.0.0.1", "a.example"],
        allowed_clients=["192.0.2.0/24"],
        rate_limit=9,
        auth_failure_limit=9,
        cors_origins=["https://a.example"],
        csrf_protection=True,
    )
    app = harden(
        site,
        settings,
        auth=AuthHandler(bearer_token="token"),
        headers={"Content-Security-Policy": "script-src 'nonce-{nonce}'"},
        refusal_app=Recorder(),
    )
    fields = {
        "Authorization": "Bearer token",
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Host": "a.example",
        "X-Forwarded-Prefix": "/agents",
        "X-Forwarded-User": "ann",
    }
    assert added(app, site, REMOTE_ADDR=PROXY, headers=fields) == {
        "HTTP_X_REQUEST_ID",
        "swaig_wsgi.auth",
        "swaig_wsgi.auth_failure",
        "swaig_wsgi.auth_failure_limits",
        "swaig_wsgi.csp_nonce",
        "swaig_wsgi.forwarded",
        "swaig_wsgi.forwarded_prefix",
        "swaig_wsgi.host_allowed",
        "swaig_wsgi.proxies.original",
        "swaig_wsgi.proxies.policy",
        "swaig_wsgi.proxies.user_fields",
        "swaig_wsgi.rate_limits",
        "swaig_wsgi.refusal_app",
        "swaig_wsgi.request_id",
    }


def test_what_was_reported_is_known_to_the_layers_inside():
    site = Recorder()
    app = RateLimitMiddleware(site, 9)
    assert added(app, site, REMOTE_ADDR="") == {
        "swaig_wsgi.rate_limits",
        "swaig_wsgi.request_id",
        "swaig_wsgi.shared_limits_reported",
    }
