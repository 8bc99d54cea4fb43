import re
from wsgiref.validate import validator

import pytest
from support.wsgi import Recorder, environ, pass_through, request

from swaig_wsgi.core.headers import SECURITY_HEADERS, SITE_HEADERS
from swaig_wsgi.middleware import AllowedHostsMiddleware
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


def test_the_defaults_can_be_others():
    app = SecurityHeadersMiddleware(application(), {"X-A": "1"}, defaults=SITE_HEADERS)
    assert fields(app)[1:] == [*SITE_HEADERS, ("X-A", "1")]


OF_RATES = "RateLimitMiddleware sends it; in harden, rate_limit=None turns it off"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (HSTS, "HSTSMiddleware sends it; in harden, use_hsts=False turns it off"),
        ("X-Request-Id", "RequestIDMiddleware sends it, and harden always has one"),
        ("RateLimit", OF_RATES),
        ("ratelimit-policy", OF_RATES),
        ("X-Frame-Option", "did you mean 'X-Frame-Options'?"),
    ],
)
def test_what_is_no_default_cannot_be_dropped(name, hint):
    expected = f"header {name!r}: None drops a default, and this is not one: {hint}"
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        SecurityHeadersMiddleware(application(), {name: None})
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("options", "kept"),
    [({}, False), ({"keep_on_refusals": False}, False), ({"keep_on_refusals": True}, True)],
)
def test_refusals_can_keep_the_headers_that_are_dropped(options, kept):
    inner = AllowedHostsMiddleware(application(), ["a.example"])
    drop = {"x-frame-options": None, "Referrer-Policy": "no-referrer"}
    app = SecurityHeadersMiddleware(inner, drop, **options)
    refused = request(app, HTTP_HOST="evil.example").headers
    assert refused.get_all("X-Frame-Options") == (["DENY"] if kept else [])
    assert refused.get_all("Referrer-Policy") == ["no-referrer"]
    assert "X-Frame-Options" not in request(app, HTTP_HOST="a.example").headers


# Nonces

CSP = "Content-Security-Policy"
REPORT = "Content-Security-Policy-Report-Only"
POLICY = "default-src 'self'; script-src 'self' 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
KEY = "swaig_wsgi.csp_nonce"


def with_policy(app, policy=POLICY):
    return SecurityHeadersMiddleware(app, {CSP: policy})


def test_a_policy_has_the_nonce_of_its_request():
    app = Recorder()
    layer = SecurityHeadersMiddleware(app, {CSP: POLICY, REPORT: "img-src 'nonce-{nonce}'"})
    nonces = set()
    for _ in range(100):
        headers = request(layer).headers
        nonce = app.environs[-1][KEY]
        assert headers[CSP] == POLICY.replace("{nonce}", nonce)
        assert headers[REPORT] == f"img-src 'nonce-{nonce}'"
        nonces.add(nonce)
    assert len(nonces) == 100
    # 128 bits in base64url, which needs no escaping in a header or in HTML.
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22}", nonce) for nonce in nonces)


def test_without_a_placeholder_a_policy_is_static_and_there_is_no_nonce():
    app = Recorder()
    policy = "default-src 'self'"
    assert request(with_policy(app, policy)).headers[CSP] == policy
    assert KEY not in app.environs[0]


def test_a_policy_of_the_application_is_kept():
    app = with_policy(application([(CSP.lower(), "default-src *")]))
    policies = [value for name, value in fields(app) if name.lower() == CSP.lower()]
    assert policies == ["default-src *"]


def test_nested_layers_agree_on_the_nonce():
    app = Recorder()
    other = {CSP: "script-src 'nonce-{nonce}'", REPORT: "style-src 'nonce-{nonce}'"}
    headers = request(SecurityHeadersMiddleware(with_policy(app), other)).headers
    nonce = app.environs[0][KEY]
    assert headers.get_all(CSP) == [POLICY.replace("{nonce}", nonce)]
    assert headers.get_all(REPORT) == [f"style-src 'nonce-{nonce}'"]


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_SWAIG_WSGI_CSP_NONCE": "a" * 22},
        {"HTTP_SWAIG_WSGI.CSP_NONCE": "a" * 22},
        {"QUERY_STRING": f"swaig_wsgi.csp_nonce={'a' * 22}"},
        {"HTTP_COOKIE": f"swaig_wsgi.csp_nonce={'a' * 22}"},
    ],
)
def test_attack_no_client_chooses_a_nonce(environ):
    app = Recorder()
    assert "aaaa" not in request(with_policy(app), **environ).headers[CSP]
    assert "aaaa" not in app.environs[0][KEY]


@pytest.mark.parametrize("given", ["", "short", "a" * 21, "a" * 21 + "'", "*" * 22, 5, None])
def test_attack_a_nonce_that_could_be_guessed_or_end_the_policy_is_replaced(given):
    app = Recorder()

    def outer(environ, start_response):
        environ[KEY] = given
        return with_policy(app)(environ, start_response)

    nonce = request(outer).headers[CSP].rpartition("'nonce-")[2][:-1]
    assert re.fullmatch(r"[\w-]{22}", nonce)
    assert app.environs[0][KEY] == nonce


def test_attack_no_304_gives_a_stored_page_another_nonce():
    app = SecurityHeadersMiddleware(
        Recorder(b"", [("ETag", '"1"')], status="304 Not Modified"),
        {CSP: POLICY, REPORT: POLICY, "Permissions-Policy": "camera=()"},
    )
    headers = request(app).headers
    assert CSP not in headers
    assert REPORT not in headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Permissions-Policy"] == "camera=()"
    static = SecurityHeadersMiddleware(app.app, {CSP: "default-src 'self'"})
    assert request(static).headers[CSP] == "default-src 'self'"


def test_refusals_have_the_policy_too():
    inner = AllowedHostsMiddleware(application(), ["a.example"])
    sent = request(with_policy(inner), HTTP_HOST="evil.example").headers[CSP]
    assert re.search(r"'nonce-[\w-]{22}'", sent)


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
