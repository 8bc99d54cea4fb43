"""Layers in a stack add their fields at once, and send what they would send one by one."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import pytest
from support.wsgi import CLIENT, Recorder, request

from swaig_wsgi import Settings, harden
from swaig_wsgi.core.caching import may_be_shared
from swaig_wsgi.middleware import _response_fields
from swaig_wsgi.middleware._application import layers_of
from swaig_wsgi.middleware._response_fields import SHARING_FIELDS, ResponseFields

SETTINGS: dict[str, Any] = {
    "rate_limit": 10**6,
    "ssl_enabled": True,
    "cors_origins": ["https://app.example"],
}
ORIGIN = "https://app.example"

#: Fields of applications, each of which a layer looks at.
FIELDS = [
    ("Vary", "Accept"),
    ("Access-Control-Allow-Origin", "*"),
    ("access-control-custom", "1"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("x-request-id", "of-the-application"),
    ("Cache-Control", "public"),
    ("CDN-Cache-Control", "s-maxage=60"),
    ("Expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
    ("RateLimit", "own"),
    ("Strict-Transport-Security", "max-age=1"),
    ("X-Other", "1"),
]


def responding(*fields: tuple[str, str]) -> Any:
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain"), *fields])
        return [b"ok"]

    return application


def pairs(app: Any, **options: Any) -> list[tuple[str, str]]:
    options = {"wsgi.url_scheme": "https", "HTTP_X_REQUEST_ID": "request-1", **options}
    response = request(app, validate=False, **options)
    return [field for field in response.fields if field[0] != "RateLimit" or field[1] == "own"]


def one_by_one(monkeypatch: pytest.MonkeyPatch, app: Any, **options: Any) -> Any:
    """Return `app` in the same layers, each of which adds its own fields."""
    with monkeypatch.context() as patch:
        module = sys.modules[harden.__module__]
        patch.setattr(module, "merge_fields", lambda app, layers: app)
        return harden(app, Settings(**SETTINGS), **options)


def is_merged(app: Any) -> bool:
    while app is not None:
        if isinstance(app, ResponseFields):
            return True
        app = getattr(app, "app", None)
    return False


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("origin", [None, ORIGIN, "https://evil.example"])
def test_merged_layers_send_the_fields_of_layers_one_by_one(monkeypatch, number, origin):
    options = {} if origin is None else {"HTTP_ORIGIN": origin}
    for fields in itertools.combinations(FIELDS, number):
        app = responding(*fields)
        merged = harden(app, Settings(**SETTINGS))
        assert is_merged(merged)
        assert pairs(merged, **options) == pairs(one_by_one(monkeypatch, app), **options)


PREFLIGHT = {"HTTP_ORIGIN": ORIGIN, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("options", [{}, {"HTTP_ORIGIN": ORIGIN}, PREFLIGHT])
@pytest.mark.parametrize("paths", [["/*"], ["/api/*"]])
def test_any_origin_has_the_same_fields_one_by_one(monkeypatch, method, options, paths):
    given = {"cors": {"origins": ["*"], "paths": paths}}
    sent = {**options, "REQUEST_METHOD": method}
    for fields in ((), *((field,) for field in FIELDS)):
        app = responding(*fields)
        merged = harden(app, Settings(**SETTINGS), **given)
        assert is_merged(merged)
        assert pairs(merged, **sent) == pairs(one_by_one(monkeypatch, app, **given), **sent)
    allowed = dict(pairs(merged, **sent)).get("Access-Control-Allow-Origin")
    assert allowed == ("*" if paths == ["/*"] else None)


def test_refusals_have_the_same_fields_one_by_one(monkeypatch):
    settings = {"allowed_hosts": ["a.example"], "enforce_https": False}
    app = Recorder()
    expected = pairs(one_by_one(monkeypatch, app, **settings), HTTP_HOST="b.example")
    merged = harden(app, Settings(**SETTINGS), **settings)
    assert is_merged(merged)
    assert pairs(merged, HTTP_HOST="b.example") == expected


def test_an_exception_has_the_fields_of_the_outer_layers_only(monkeypatch):
    def failing(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        raise ValueError("before anything is sent")

    def lazily(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        raise ValueError("before anything is sent")
        yield b""

    for app in (failing, lazily):
        expected = pairs(one_by_one(monkeypatch, app))
        assert pairs(harden(app, Settings(**SETTINGS))) == expected
        assert "X-Request-Id" in dict(expected)
        assert "Vary" not in dict(expected)


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Content-Security-Policy": "script-src 'nonce-{nonce}'"}},
        {"headers": {"X-Frame-Options": None}},
        {"headers": {"Vary": "Accept"}},
        {"headers": {"Access-Control-Allow-Origin": "*"}},
        {"rate_limit": {"limit": 5, "methods": ["POST"]}},
    ],
)
def test_layers_that_see_one_another_are_not_merged(options):
    app = harden(responding(), Settings(**SETTINGS), **options)
    assert not is_merged(app)
    assert "X-Request-Id" in dict(pairs(app))


def test_may_be_shared_reads_only_the_fields_that_merged_layers_leave_to_it():
    assert not may_be_shared([("X-Other", "public, max-age=60, s-maxage=60")])
    for name in SHARING_FIELDS:
        assert may_be_shared([(name, "public, max-age=60")])


def test_requests_do_not_share_additions():
    environs: list[Any] = []

    def application(environ, start_response):
        environs.append(environ)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    app = harden(application, Settings(**SETTINGS))
    first, second = (pairs(app, REMOTE_ADDR=CLIENT) for _ in range(2))
    assert first == second
    assert not any(_response_fields.ADDITIONS in key for key in environs[0])


def test_attack_memory_of_the_names_of_fields_is_bounded():
    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", "0"), (environ["PATH_INFO"][1:], "1")])
        return []

    app = harden(application, Settings(**SETTINGS))
    for number in range(1000):
        assert (f"X-{number}", "1") in pairs(app, path=f"/X-{number}", REMOTE_ADDR=CLIENT)
    found = [each for each in layers_of(app) if isinstance(each, ResponseFields)]
    assert [each._are_unread.cache_info().currsize for each in found] == [256]
