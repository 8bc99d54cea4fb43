"""`protect`, `exempt` and `methods` mean the same in every middleware that refuses."""

from __future__ import annotations

import pytest
from support.wsgi import Recorder, request

from swaig_wsgi.middleware import (
    AllowedClientsMiddleware,
    AllowedHostsMiddleware,
    AuthFailureLimitMiddleware,
    AuthHandler,
    AuthMiddleware,
    BodySizeMiddleware,
    HTTPSMiddleware,
    RateLimitMiddleware,
    ToolTokenMiddleware,
    WebhookSignatureMiddleware,
)
from swaig_wsgi.middleware._scope import in_scope
from swaig_wsgi.sessions import SessionManager

HANDLER = AuthHandler(bearer_token="token")


def used_up_failures(app, **scope):
    """Return a limit that refuses the client of the tests, which has failed once."""
    limited = AuthFailureLimitMiddleware(app, 1, **scope)
    failing = AuthFailureLimitMiddleware(AuthMiddleware(app, HANDLER), 1, store=limited.store)
    assert request(failing, HTTP_AUTHORIZATION="Bearer wrong").status == 401
    return limited


def used_up_rate(app, **scope):
    limited = RateLimitMiddleware(app, 1, **scope)
    assert request(RateLimitMiddleware(app, 1, store=limited.store)).status == 200
    return limited


#: Layers that refuse the request of these tests, and the status.
LAYERS = {
    "clients": (lambda app, **scope: AllowedClientsMiddleware(app, ["198.51.100.1"], **scope), 403),
    "hosts": (lambda app, **scope: AllowedHostsMiddleware(app, ["a.example"], **scope), 403),
    "failures": (used_up_failures, 429),
    "auth": (lambda app, **scope: AuthMiddleware(app, HANDLER, **scope), 401),
    "handler": (lambda app, **scope: HANDLER.middleware(app, **scope), 401),
    "size": (lambda app, **scope: BodySizeMiddleware(app, 1, **scope), 413),
    "https": (lambda app, **scope: HTTPSMiddleware(app, **scope), 403),
    "rate": (used_up_rate, 429),
    "tokens": (lambda app, **scope: ToolTokenMiddleware(app, SessionManager(), **scope), 403),
    "signatures": (lambda app, **scope: WebhookSignatureMiddleware(app, "a key", **scope), 403),
}


@pytest.fixture(params=list(LAYERS))
def layer(request):
    return LAYERS[request.param]


def status(app, path="/api", method="POST", **options):
    options.setdefault("body", b"long")
    return request(app, method, path, validate=False, **options).status


def test_protected_paths_are_matched_in_every_reading(layer):
    wrap, refused = layer
    app = wrap(Recorder(), protect=["/api/*"])
    for path in ("/api", "/api/x", "//api", "/x/../api", "/%61pi/x", "/api;x", "/ap\0i"):
        assert status(app, path) == refused, path
    for path in ("/", "/apis", "/x/api", ""):
        assert status(app, path) == 200, path


def test_exempt_paths_are_matched_strictly(layer):
    wrap, refused = layer
    app = wrap(Recorder(), protect=["/*"], exempt=["/health", "/static/*"])
    for path in ("/health", "/static", "/static/logo.png"):
        assert status(app, path) == 200, path
    for path in ("/health/", "//health", "/Health", "/static/../api", "/static/%2e%2e/api", "/x"):
        assert status(app, path) == refused, path


def test_methods_are_matched_in_any_case(layer):
    wrap, refused = layer
    for methods in (
        ["POST", "PATCH"],
        ("post", "Patch"),
        {"POST", "PATCH"},
        iter(["POST", "PATCH"]),
    ):
        app = wrap(Recorder(), protect=["/*"], methods=methods)
        for method in ("POST", "post", "PATCH"):
            assert status(app, method=method) == refused, method
        for method in ("GET", "PUT", "POSTS", "OPTIONS"):
            assert status(app, method=method) == 200, method


def test_get_includes_head(layer):
    wrap, refused = layer
    app = wrap(Recorder(), protect=["/*"], methods=["GET"])
    assert [status(app, method=method) for method in ("GET", "HEAD", "POST")] == [
        refused,
        refused,
        200,
    ]


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ({"protect": []}, "protect is empty"),
        ({"protect": "/api"}, "protect must be a sequence"),
        ({"exempt": ["/*"]}, "exempt contains"),
        ({"methods": "POST"}, "methods must be a sequence"),
        ({"methods": ()}, "methods is empty"),
        ({"methods": ["GET POST"]}, "method must be"),
        ({"methods": [None]}, "method must be"),
        ({"methods": 5}, "methods must be a sequence"),
    ],
)
def test_invalid_scopes_are_rejected(layer, scope, message):
    wrap, _ = layer
    with pytest.raises(ValueError, match=message):
        wrap(Recorder(), **scope)


def test_a_missing_method_or_path_is_empty():
    asked = []

    class Scope:
        everything = False

        def covers(self, method, path):
            asked.append((method, path))
            return True

    assert in_scope(Scope(), {})
    assert asked == [("", "")]
