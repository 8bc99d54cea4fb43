"""Pages of a site's own for refused requests: what they are rendered with, and what remains."""

from __future__ import annotations

import json
import logging
from unittest.mock import Mock

import pytest
from support.wsgi import ClosingBody, Recorder, environ, request, send

from swaig_wsgi import AuthHandler, Settings, harden
from swaig_wsgi.core.headers import SITE_HEADERS
from swaig_wsgi.core.refusals import Refusal
from swaig_wsgi.middleware import RefusalMiddleware

SETTINGS = Settings(
    max_request_size=10,
    allowed_hosts=["a.example"],
    trusted_proxies=["10.0.0.1"],
    cors_origins=["https://app.example"],
    csrf_protection=True,
)
HTML = ("Content-Type", "text/html; charset=utf-8")
HANDLER = AuthHandler(bearer_token="right-token", api_key_header="X-Partner")
GOOD = {"HTTP_HOST": "a.example", "HTTP_AUTHORIZATION": "Bearer right-token"}


class Pages:
    """An application for refusals that records what it is called with."""

    def __init__(self, *fields, body=None):
        self.fields = list(fields) or [HTML]
        self.body = body
        self.environs = []

    def __call__(self, environ, start_response):
        self.environs.append(environ)
        refusal = environ["swaig_wsgi.refusal"]
        start_response("200 OK", list(self.fields))
        return [f"<h1>{refusal.error}</h1>".encode()] if self.body is None else self.body


def site(pages, **options):
    options.setdefault("auth", HANDLER)
    return harden(Recorder(), SETTINGS, refusal_app=pages, **options)


REFUSED = [
    (400, {"HTTP_HOST": "a b"}, "malformed_host"),
    (401, {"HTTP_AUTHORIZATION": "Bearer wrong"}, "bad_token"),
    (403, {"HTTP_HOST": "evil.example"}, "host_not_allowed"),
    (403, {"HTTP_ORIGIN": "https://evil.example"}, "origin_not_allowed"),
    (413, {"body": b"x" * 11}, "too_large"),
    (429, {}, "limit_exceeded"),
]


def refuse(app, given):
    options = {**GOOD, **given}
    if not given:
        request(app, "POST", **options)
    return request(app, "POST", "/form", **options)


@pytest.mark.parametrize(("status", "given", "reason"), REFUSED)
def test_the_page_of_every_refusal(status, given, reason):
    pages = Pages()
    limit = {"rate_limit": 1} if not given else {}
    response = refuse(site(pages, **limit), given)
    json_response = refuse(site(None, **limit), given)
    (seen,) = pages.environs
    refusal = seen["swaig_wsgi.refusal"]
    assert isinstance(refusal, Refusal)
    assert (response.status, refusal.status) == (status, status)
    assert refusal.error == json.loads(json_response.body)["error"]
    assert response.text == f"<h1>{refusal.error}</h1>"
    assert response.headers["Content-Type"] == HTML[1]
    assert response.headers["Content-Length"] == str(len(response.body))
    # Every other field is that of the JSON response, but for the id of the request.
    kept = {"content-type", "content-length", "x-request-id"}
    others = [field for field in json_response.fields if field[0].lower() not in kept]
    assert set(others) <= set(response.fields)
    assert set(SITE_HEADERS) <= set(response.fields)
    assert response.headers["X-Request-Id"] == seen["swaig_wsgi.request_id"]
    assert response.headers["Cache-Control"] == "no-store"


def test_json_stays_the_default():
    response = refuse(site(None), {"body": b"x" * 11})
    assert (response.headers["Content-Type"], response.json) == (
        "application/json",
        {"error": "Request too large"},
    )


def test_a_page_of_head_has_no_body():
    pages = Pages()
    response = request(site(pages), "HEAD", HTTP_HOST="evil.example")
    assert (response.status, response.body) == (403, b"")
    assert response.headers["Content-Length"] == str(len("<h1>Forbidden: host not allowed</h1>"))


def test_an_exception_of_the_application_has_a_page(caplog):
    def broken(environ, start_response):
        raise KeyError("x")

    app = RefusalMiddleware(harden(broken, Settings()), Pages())
    response = request(app)
    assert (response.status, response.text) == (500, "<h1>Internal server error</h1>")
    assert response.exc_info[0] is KeyError


def test_responses_of_the_application_are_not_refusals():
    app = site(Pages())
    assert request(app, **GOOD).body == b"ok"
    failing = RefusalMiddleware(Recorder(b"own page", status="404 Not Found"), Pages())
    assert request(failing).body == b"own page"


# What the application gets


SENT = {
    "query": "token=the-secret-of-the-query&lang=de",
    "HTTP_COOKIE": "sessionid=the-secret-of-the-cookie",
    "HTTP_X_API_KEY": "the-secret-of-the-key",
    "HTTP_X_PARTNER": "the-secret-of-the-partner",
    "HTTP_AUTHORIZATION": "Bearer the-secret-of-the-header",
    "HTTP_PROXY_AUTHORIZATION": "Basic the-secret-of-the-proxy",
    "HTTP_REFERER": "https://a.example/?token=the-secret-of-the-referer",
    "HTTP_X_CSRFTOKEN": "the-secret-of-the-form",
    "RAW_URI": "/form?token=the-secret-of-the-query",
    "REQUEST_URI": "/form?token=the-secret-of-the-query",
    "body": b"pin=the-secret-of-the-body",
    "SECRET_KEY": "the-secret-of-the-environment",
    "gunicorn.socket": object(),
    "swaig_wsgi.server_lingers": True,
    "werkzeug.request": "the-secret-of-a-parsed-request",
    "site.session": {"user": "the-secret-of-a-layer"},
    "HTTP_RANGE": "bytes=0-1",
    "HTTP_IF_NONE_MATCH": '"x"',
    "HTTP_EXPECT": "100-continue",
    "CONTENT_TYPE": "application/x-www-form-urlencoded",
}


def test_attack_no_secret_and_no_body_reaches_the_page():
    pages = Pages()
    language = {"HTTP_ACCEPT_LANGUAGE": "de", "REMOTE_ADDR": "192.0.2.9"}
    app = site(pages)
    given = environ("POST", "/form", **SENT, **language)
    send(app, given, validate=False)
    (seen,) = pages.environs
    assert "the-secret-of" not in str(seen)
    body = seen["wsgi.input"]
    assert (body.read(), body.read(5), body.readline(), list(body)) == (b"", b"", b"", [])
    assert given["wsgi.input"].read() == b"pin=the-secret-of-the-body"
    expected = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/form",
        "QUERY_STRING": "",
        "CONTENT_LENGTH": "0",
        **language,
        "wsgi.url_scheme": "http",
    }
    assert expected.items() <= seen.items()
    removed = {"HTTP_RANGE", "HTTP_IF_NONE_MATCH", "HTTP_EXPECT", "CONTENT_TYPE", "gunicorn.socket"}
    assert not removed & seen.keys()


def test_attack_no_user_reaches_the_page():
    pages = Pages()
    kept = ["X-Forwarded-User", "X-Forwarded-Email", "X-Team"]
    app = site(pages, proxy_keep=kept)
    users = [
        "HTTP_X_FORWARDED_USER",
        "HTTP_X_FORWARDED_EMAIL",
        "HTTP_X_TEAM",
        "HTTP_REMOTE_USER",
        "HTTP_X_AUTH_REQUEST_GROUPS",
        "HTTP_X_SSL_CLIENT_S_DN",
        "REMOTE_USER",
        "REMOTE_IDENT",
        "AUTH_TYPE",
        "SSL_CLIENT_S_DN",
        "SSL_CLIENT_M_SERIAL",
        "OIDC_CLAIM_sub",
        "LOGON_USER",
        "DATABASE_URL",
    ]
    given = environ("POST", "/form", body=b"x" * 11, **{**GOOD, **dict.fromkeys(users, "the-user")})
    given.update(REMOTE_ADDR="10.0.0.1", HTTP_USER_AGENT="Browser", HTTPS="on")
    assert send(app, given, validate=False).status == 413
    (seen,) = pages.environs
    # The page gets none of what the application would have got.
    assert given["HTTP_X_FORWARDED_USER"] == given["HTTP_X_TEAM"] == "the-user"
    assert "the-user" not in str(seen)
    assert {"HTTP_USER_AGENT": "Browser", "HTTPS": "on", "REMOTE_ADDR": "10.0.0.1"}.items() <= (
        seen.items()
    )


def test_attack_changes_of_the_copy_change_nothing():
    def pages(environ, start_response):
        for key in ("REMOTE_ADDR", "PATH_INFO", "REQUEST_METHOD"):
            environ[key] = "changed"
        environ["wsgi.input"].close()
        start_response("200 OK", [HTML])
        return [b"page"]

    given = environ("POST", "/form", body=b"x" * 11, **GOOD)
    before = {key: given[key] for key in ("REMOTE_ADDR", "PATH_INFO", "REQUEST_METHOD")}
    assert send(site(pages), given, validate=False).status == 413
    assert before.items() <= given.items()
    assert given["wsgi.input"].read() == b"x" * 11


# What remains of the response


def test_attack_a_page_cannot_weaken_the_refusal():
    fields = [
        ("content-type", "text/html"),
        ("content-length", "1"),
        ("Set-Cookie", "sessionid=replaced"),
        ("CACHE-CONTROL", "public, max-age=60"),
        ("Expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
        ("ETag", '"x"'),
        ("Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT"),
        ("Retry-After", "0"),
        ("RateLimit", '"forged";r=9;t=9'),
        ("X-Request-Id", "another-id"),
        ("Content-Language", "de"),
        ("Vary", "Accept-Language"),
    ]
    app = site(Pages(*fields), rate_limit=1, auth=None)
    assert request(app, HTTP_HOST="a.example").status == 200
    response = request(app, HTTP_HOST="a.example", HTTP_X_REQUEST_ID="of-the-client")
    assert response.status == 429
    assert response.headers["Retry-After"] == "60"
    assert response.headers["RateLimit"] == '"default";r=0;t=60'
    assert response.headers["X-Request-Id"] == "of-the-client"
    assert response.headers["Content-Length"] == str(len(response.body))
    assert response.headers["Cache-Control"] == "no-store"
    assert not {"Set-Cookie", "Expires", "ETag", "Last-Modified"} & set(response.headers)
    assert response.headers["Content-Language"] == "de"
    assert "Accept-Language" in response.headers["Vary"]


@pytest.mark.parametrize("dropped", [None, {"X-Frame-Options": None}])
def test_attack_a_page_cannot_replace_the_fields_of_outer_layers(dropped):
    policy = "default-src 'self'; script-src 'nonce-{nonce}'"
    fields = {
        "x-frame-options": "ALLOWALL",
        "X-Content-Type-Options": "none",
        "REFERRER-POLICY": "unsafe-url",
        "Content-Security-Policy": "default-src *",
        "Strict-Transport-Security": "max-age=0",
        "Access-Control-Allow-Origin": "*",
    }
    options = {
        "use_hsts": True,
        "headers": {"Content-Security-Policy": policy, **(dropped or {})},
    }
    sent = {**GOOD, "HTTP_HOST": "evil.example", "wsgi.url_scheme": "https"}
    own = ("Permissions-Policy", "camera=()")
    app, json_app = site(Pages(*fields.items(), own), **options), site(None, **options)
    for given in (sent, {**sent, "HTTP_HOST": "a.example", "body": b"x" * 11}):
        given["swaig_wsgi.csp_nonce"] = "n" * 22
        response = request(app, "POST", **given)
        expected = request(json_app, "POST", **given)
        assert response.status == expected.status in (403, 413)
        for name in fields:
            assert response.headers.get_all(name) == expected.headers.get_all(name), name
        # What no outer layer sends is the page's.
        assert own in response.fields


def test_an_application_replaces_the_fields_of_outer_layers_itself():
    """As before: only pages of refusals cannot."""
    inside = Recorder(b"ok", [HTML, ("X-Frame-Options", "SAMEORIGIN")])
    app = harden(inside, Settings(), refusal_app=Pages())
    assert request(app).headers.get_all("X-Frame-Options") == ["SAMEORIGIN"]


@pytest.mark.parametrize(
    "name",
    [
        "Retry-After",
        "WWW-Authenticate",
        "Allow",
        "RateLimit",
        "RateLimit-Policy",
        "CDN-Cache-Control",
        "Cloudflare-CDN-Cache-Control",
        "Surrogate-Control",
        "Edge-Control",
        "X-Accel-Expires",
        "X-Accel-Redirect",
        "X-Sendfile",
        "Keep-Alive",
        "Upgrade",
    ],
)
def test_attack_a_page_adds_no_field_of_refusals_caches_and_connections(name):
    for given in ({"HTTP_HOST": "evil.example"}, {**GOOD, "body": b"x" * 11}):
        response = request(site(Pages(HTML, (name, "99999"))), "POST", **given)
        assert response.status in (403, 413)
        assert response.headers["Content-Type"] == HTML[1]
        assert response.headers.get(name) is None


def test_challenges_are_kept():
    app = site(Pages(HTML, ("WWW-Authenticate", "Forged")))
    response = request(app, HTTP_HOST="a.example")
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="swaig-wsgi"'


def test_a_page_without_a_type_is_text():
    response = request(site(Pages(("X-Own", "1"))), validate=False)
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_what_the_application_writes_is_part_of_the_page():
    def pages(environ, start_response):
        start_response("200 OK", [HTML])(b"begins, ")
        return closing

    closing = ClosingBody()
    assert request(site(pages)).body == b"begins, late"
    assert closing.closed


# Failures


def raises(environ, start_response):
    raise RuntimeError("no template")


def raises_late(environ, start_response):
    start_response("200 OK", [HTML])
    yield b"half a page"
    raise RuntimeError("no template")


def starts_nothing(environ, start_response):
    return [b"page"]


def yields_text(environ, start_response):
    start_response("200 OK", [HTML])
    return ["page"]


@pytest.mark.parametrize("pages", [raises, raises_late, starts_nothing, yields_text])
def test_a_failure_falls_back_to_json_and_is_logged_once(pages, caplog):
    app = site(pages)
    for _ in range(3):
        response = request(app, HTTP_HOST="evil.example")
        assert response.status == 403
        assert response.json == {"error": "Forbidden: host not allowed"}
        assert set(SITE_HEADERS) <= set(response.fields)
    logged = [each for each in caplog.records if each.name == "swaig_wsgi"]
    (record,) = logged
    assert record.levelno == logging.ERROR
    assert "refusals are JSON instead" in record.getMessage()


def page_of(status="200 OK", headers=(HTML,), body=(b"page",)):
    def pages(environ, start_response):
        start_response(status, headers if headers is None else list(headers))
        return body

    return pages


MALFORMED = {
    "a value with CRLF": page_of(headers=[("X-A", "b\r\nX-Evil: 1")]),
    "a value with LF": page_of(headers=[HTML, ("X-A", "b\n")]),
    "a value with NUL": page_of(headers=[("X-A", "b\0")]),
    "a value outside of Latin-1": page_of(headers=[("X-A", "\u20ac")]),
    "a value of bytes": page_of(headers=[("X-A", b"b")]),
    "no type": page_of(headers=[("Content-Type", None)]),
    "a type with CRLF": page_of(headers=[("Content-Type", "text/html\r\nX-Evil: 1")]),
    "a length of an integer": page_of(headers=[HTML, ("Content-Length", 4)]),
    "an empty name": page_of(headers=[("", "b")]),
    "a name with a space": page_of(headers=[("X A", "b")]),
    "a name with CRLF": page_of(headers=[("X-A\r\nX-Evil", "b")]),
    "a name of bytes": page_of(headers=[(b"X-A", "b")]),
    "a name of None": page_of(headers=[(None, "b")]),
    "a field of three": page_of(headers=[("X-A", "b", "c")]),
    "a field of text": page_of(headers=["ab"]),
    "no fields": page_of(headers=None),
    "no status": page_of(status=None),
    "a status that is an integer": page_of(status=200),
    "a status of bytes": page_of(status=b"200 OK"),
    "an empty status": page_of(status=""),
    "a status of words": page_of(status="OK"),
    "a status with CRLF": page_of(status="200 OK\r\nX-Evil: 1"),
    "a body of integers": page_of(body=b"page"),
    "a body of nothing": page_of(body=None),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_attack_a_malformed_page_costs_neither_the_refusal_nor_its_headers(name, caplog):
    app = site(MALFORMED[name])
    for _ in range(3):
        response = request(app, "POST", **GOOD, body=b"x" * 11)
        assert (response.status, response.json) == (413, {"error": "Request too large"})
        assert response.headers["Content-Type"] == "application/json"
        assert set(SITE_HEADERS) <= set(response.fields)
        assert "X-Request-Id" in response.headers
        assert not {"X-Evil", "X-A"} & set(response.headers)
    (record,) = (each for each in caplog.records if each.name == "swaig_wsgi")
    assert record.levelno == logging.ERROR
    assert "refusals are JSON instead" in record.getMessage()


def test_the_value_of_a_malformed_field_is_not_logged(caplog):
    request(site(page_of(headers=[("X-A", "the-value\n")])), HTTP_HOST="evil.example")
    assert "'X-A'" in caplog.text
    assert "the-value" not in caplog.text


def test_an_exception_of_the_application_is_json_if_its_page_is_malformed():
    def broken(environ, start_response):
        raise KeyError("x")

    app = harden(broken, Settings(), refusal_app=MALFORMED["a value with CRLF"])
    response = request(app)
    assert (response.status, response.json) == (500, {"error": "Internal server error"})


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_ends_a_worker_ends_it_from_a_page_as_from_a_view(kind):
    """gunicorn ends a worker that has timed out by SystemExit in the code that it runs."""

    class Ending(ClosingBody):
        def __iter__(self):
            raise kind

    body = Ending()
    for pages in (Pages(body=body), Mock(side_effect=kind)):
        with pytest.raises(kind):
            request(site(pages), HTTP_HOST="evil.example")
    assert body.closed
    with pytest.raises(kind):
        request(harden(Mock(side_effect=kind), Settings()))


def test_the_body_of_a_page_that_fails_is_closed():
    class Failing(ClosingBody):
        def __iter__(self):
            raise RuntimeError

    body = Failing()
    assert request(site(Pages(body=body))).json == {"error": "Forbidden: host not allowed"}
    assert body.closed


def test_attack_an_application_for_refusals_does_not_run_the_site():
    """Its views would run for requests that were refused."""

    class Site:
        def wsgi_app(self, environ, start_response):
            raise AssertionError

        def __call__(self, environ, start_response):
            return self.wsgi_app(environ, start_response)

    class WhiteNoiseLike:
        __call__ = Site.__call__

        def __init__(self, application):
            self.application, self.app, self.wsgi_app = application, self, "not an application"

    own = Site()
    wrapped = RefusalMiddleware(own.wsgi_app, Pages())
    for app, pages in (
        (own, own),
        (own.wsgi_app, own),
        (own, own.wsgi_app),
        (own.wsgi_app, own.wsgi_app),
        (wrapped, own),
        (wrapped, RefusalMiddleware(own, Pages())),
        (own, WhiteNoiseLike(own)),
    ):
        with pytest.raises(TypeError, match="runs the views of the application"):
            harden(app, Settings(), refusal_app=pages)
    for app, pages in ((own, Site()), (own, Mock()), (Mock(), Mock())):
        assert harden(app, Settings(), refusal_app=pages) is not None


def test_attack_pages_that_call_the_hardened_application_do_not_recur(caplog):
    def pages(environ, start_response):
        return app(environ, start_response)

    app = harden(Recorder(), SETTINGS, refusal_app=pages)
    assert request(app, HTTP_HOST="evil.example").json == {"error": "Forbidden: host not allowed"}
    assert "refusal_app raised" in caplog.text
    assert "refusal_app calls the application that has refused the request" in caplog.text


@pytest.mark.parametrize("layers", [0, 1])
def test_attack_a_handler_of_django_does_not_render_refusals(layers):
    """Each runs the views of the one site of the process."""

    class Handler(Recorder):
        __module__ = "django.core.handlers.wsgi"

    pages = Handler()
    for _ in range(layers):
        pages = RefusalMiddleware(pages, Pages())
    with pytest.raises(TypeError, match="runs the views of the application"):
        harden(Recorder(), Settings(), refusal_app=pages)


@pytest.mark.parametrize("pages", ["pages.html", Recorder, 5])
def test_what_is_no_application_is_a_type_error(pages):
    with pytest.raises(TypeError, match="refusal_app must be a WSGI application"):
        harden(Recorder(), Settings(), refusal_app=pages)


def test_a_hardened_application_is_a_type_error():
    with pytest.raises(TypeError, match="refusal_app is hardened already"):
        harden(Recorder(), Settings(), refusal_app=harden(Recorder(), Settings()))


def test_the_innermost_of_two_decides():
    outer, inner = Pages(body=[b"outer"]), Pages(body=[b"inner"])
    app = RefusalMiddleware(harden(Recorder(), SETTINGS, refusal_app=inner), outer)
    assert request(app).body == b"inner"


def test_attack_a_page_that_raises_the_refusal_keeps_no_frames_of_earlier_requests():
    def raising(environ, start_response):
        raise environ["swaig_wsgi.refusal"]

    def frames():
        given = environ(**{**GOOD, "HTTP_AUTHORIZATION": "Bearer wrong"})
        send(app, given)
        traceback, number = given["swaig_wsgi.refusal"].__traceback__, 0
        while traceback is not None:
            traceback, number = traceback.tb_next, number + 1
        return number

    app = site(raising)
    assert frames() == frames() == frames()
