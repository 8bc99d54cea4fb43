from wsgiref.validate import validator

import pytest
from support.wsgi import Recorder, environ, pass_through, request

from swaig_wsgi.core.headers import SECURITY_HEADERS
from swaig_wsgi.middleware.headers import HSTSMiddleware, SecurityHeadersMiddleware

HSTS = "Strict-Transport-Security"


def application(headers=()):
    return validator(Recorder(b"hello", [("Content-Type", "text/plain"), *headers]))


def fields(app, **environ):
    response = request(app, **environ)
    assert response.body == b"hello"
    return response.fields


def over_https(app, host="agent.example.com"):
    return request(app, wsgi_url_scheme="https", HTTP_HOST=host).headers.get_all(HSTS)


def test_the_default_security_headers_are_added():
    headers = fields(SecurityHeadersMiddleware(application()))
    assert headers == [("Content-Type", "text/plain"), *SECURITY_HEADERS]


def test_a_header_of_the_application_is_kept():
    app = SecurityHeadersMiddleware(application([("x-FRAME-options", "SAMEORIGIN")]))
    values = [value for name, value in fields(app) if name.lower() == "x-frame-options"]
    assert values == ["SAMEORIGIN"]


def test_nested_layers_send_each_header_once():
    app = SecurityHeadersMiddleware(
        SecurityHeadersMiddleware(application(), {"referrer-policy": "no-referrer"})
    )
    names = [name.lower() for name, _ in fields(app)]
    assert len(names) == len(set(names)) == 5


def test_a_mapping_replaces_adds_and_drops_headers():
    app = SecurityHeadersMiddleware(
        application(), {"X-Frame-Options": None, "Referrer-Policy": "no-referrer", "X-A": "1"}
    )
    headers = dict(fields(app))
    assert "X-Frame-Options" not in headers
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-A"] == "1"


@pytest.mark.parametrize("value", ["1\r\nSet-Cookie: a=b", "1\n\n<html>", "\0", "\u010a"])
def test_header_values_with_control_characters_are_rejected(value):
    with pytest.raises(ValueError, match="X-A"):
        SecurityHeadersMiddleware(application(), {"X-A": value})


def test_hsts_is_sent_over_https():
    assert over_https(HSTSMiddleware(application())) == ["max-age=31536000; includeSubDomains"]
    app = HSTSMiddleware(application(), 300, include_subdomains=False)
    assert over_https(app) == ["max-age=300"]
    app = HSTSMiddleware(application(), preload=True)
    assert over_https(app) == ["max-age=31536000; includeSubDomains; preload"]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HTTP_X_FORWARDED_PROTO": "https"},
        {"HTTP_FORWARDED": "proto=https"},
        {"HTTP_X_FORWARDED_SSL": "on"},
        {"SERVER_PORT": "443"},
    ],
)
def test_request_headers_cannot_enable_hsts_over_http(environ):
    headers = fields(HSTSMiddleware(application()), wsgi_url_scheme="http", **environ)
    assert HSTS not in dict(headers)


def test_hsts_of_the_application_is_kept():
    app = HSTSMiddleware(application([("strict-transport-security", "max-age=0")]))
    assert over_https(app) == ["max-age=0"]


def test_hsts_can_be_disabled():
    assert over_https(HSTSMiddleware(application(), enabled=False)) == []


@pytest.mark.parametrize(
    "host", ["agent.example.com", "AGENT.example.com", "agent.example.com.:8443"]
)
def test_hsts_is_sent_for_the_configured_host(host):
    app = HSTSMiddleware(application(), host="Agent.Example.com")
    assert over_https(app, host) == ["max-age=31536000; includeSubDomains"]


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "sub.agent.example.com",
        "agent.example.com.evil.example",
        "agent.example.com@evil.example",
        "agent.example.com, evil.example",
        "127.0.0.1",
        " ",
    ],
)
def test_hsts_is_not_sent_for_other_hosts(host):
    assert over_https(HSTSMiddleware(application(), host="agent.example.com"), host) == []


def test_hsts_is_not_sent_without_a_host_header():
    def app(environ, start_response):
        start_response("200 OK", [])
        return []

    seen = []
    HSTSMiddleware(app, host="agent.example.com")(
        {"wsgi.url_scheme": "https", "SERVER_NAME": "agent.example.com"},
        lambda status, headers, exc_info=None: seen.append(headers),
    )
    assert seen == [[]]


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_age": -1},
        {"max_age": "300"},
        {"preload": True, "max_age": 300},
        {"host": "agent.example.com:443"},
        {"host": "https://agent.example.com"},
        {"host": ""},
        {"host": 5},
    ],
)
def test_invalid_hsts_options_are_rejected(arguments):
    with pytest.raises(ValueError, match=r"max_age|host"):
        HSTSMiddleware(application(), **arguments)


@pytest.mark.parametrize("middleware", [SecurityHeadersMiddleware, HSTSMiddleware])
def test_iterable_exc_info_and_write_are_passed_through(middleware):
    added = [(HSTS, "max-age=31536000; includeSubDomains")]
    if middleware is SecurityHeadersMiddleware:
        added = list(SECURITY_HEADERS)
    sent = pass_through(middleware, environ(wsgi_url_scheme="https"), [("A", "1")])
    assert sent == [[("A", "1"), *added]] * 2
