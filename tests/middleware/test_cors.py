import json
import logging
import sys
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from swaig_wsgi.middleware.cors import CORSMiddleware

APP = "https://app.example.com"
EVIL = "https://evil.example"


def application(headers=(), body=b"hello", status="200 OK", calls=None):
    def app(environ, start_response):
        if calls is not None:
            calls.append(environ["REQUEST_METHOD"])
        start_response(status, [("Content-Type", "text/plain"), *headers])
        return [body]

    return validator(app)


def call(app, method="GET", **environ):
    setup_testing_defaults(environ)
    environ["REQUEST_METHOD"] = method
    environ["QUERY_STRING"] = ""
    started = []

    def start_response(status, headers, exc_info=None):
        started[:] = [status, headers]
        return lambda data: None

    result = validator(app)(environ, start_response)
    body = b"".join(result)
    result.close()
    status, headers = started
    return status, headers, body


def cors_headers(headers):
    return {name: value for name, value in headers if name.lower().startswith("access-control-")}


def vary(headers):
    return [value for name, value in headers if name.lower() == "vary"]


def ask(app, origin=APP, method="POST", headers=None, **environ):
    environ["HTTP_ORIGIN"] = origin
    environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"] = method
    if headers is not None:
        environ["HTTP_ACCESS_CONTROL_REQUEST_HEADERS"] = headers
    return call(app, "OPTIONS", **environ)


def test_an_allowed_origin():
    app = CORSMiddleware(application(), [APP], expose_headers=["X-Total"])
    status, headers, body = call(app, HTTP_ORIGIN=APP)
    assert (status, body) == ("200 OK", b"hello")
    assert cors_headers(headers) == {
        "Access-Control-Allow-Origin": APP,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "X-Total",
    }
    assert vary(headers) == ["Origin"]


@pytest.mark.parametrize("origin", [EVIL, "null", f"{APP}.evil.example", f"{APP}, {EVIL}", ""])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_origin_gets_the_answer_and_no_leave_to_read_it(origin, method):
    app = CORSMiddleware(application(), [APP])
    status, headers, body = call(app, method, HTTP_ORIGIN=origin)
    assert (status, body) == ("200 OK", b"hello")
    assert cors_headers(headers) == {}
    assert vary(headers) == ["Origin"]


def test_vary_is_there_without_an_origin_too():
    _, headers, _ = call(CORSMiddleware(application(), [APP]))
    assert cors_headers(headers) == {}
    assert vary(headers) == ["Origin"]


def test_vary_of_the_application_is_kept():
    app = CORSMiddleware(application([("vary", "Accept"), ("Vary", "Cookie")]), [APP])
    assert vary(call(app)[1]) == ["Accept, Cookie, Origin"]
    app = CORSMiddleware(application([("Vary", "*")]), [APP])
    assert vary(call(app)[1]) == ["*"]


@pytest.mark.parametrize("origin", [APP, EVIL, "null"])
def test_a_reflecting_application_opens_nothing(origin):
    def reflecting(environ, start_response):
        start_response(
            "200 OK",
            [
                ("Content-Type", "text/plain"),
                ("access-control-allow-origin", environ["HTTP_ORIGIN"]),
                ("Access-Control-Allow-Credentials", "true"),
            ],
        )
        return [b""]

    app = CORSMiddleware(validator(reflecting), [APP], allow_credentials=False)
    _, headers, _ = call(app, HTTP_ORIGIN=origin)
    assert cors_headers(headers) == ({"Access-Control-Allow-Origin": APP} if origin == APP else {})


@pytest.mark.parametrize("environ", [{}, {"HTTP_ORIGIN": APP}, {"HTTP_ORIGIN": "null"}])
def test_any_origin_is_never_with_credentials(environ):
    app = CORSMiddleware(application(), ["*"], allow_credentials=True)
    _, headers, _ = call(app, **environ)
    assert cors_headers(headers) == {"Access-Control-Allow-Origin": "*"}
    assert vary(headers) == []


def test_a_refusal_inside_can_be_read_by_an_allowed_origin():
    app = CORSMiddleware(application(status="401 Unauthorized"), [APP])
    status, headers, _ = call(app, HTTP_ORIGIN=APP)
    assert status == "401 Unauthorized"
    assert cors_headers(headers)["Access-Control-Allow-Origin"] == APP


def test_a_preflight_is_answered_without_the_application():
    calls = []
    app = CORSMiddleware(application(calls=calls), [APP])
    status, headers, body = ask(app, headers="authorization,x-one")
    assert (status, body, calls) == ("204 No Content", b"", [])
    names = [name.lower() for name, _ in headers]
    assert "content-length" not in names
    assert "content-type" not in names
    assert len(names) == len(set(names))
    assert cors_headers(headers) == {
        "Access-Control-Allow-Origin": APP,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "authorization, x-one",
        "Access-Control-Max-Age": "600",
    }
    assert vary(headers) == [
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    ]


def test_a_preflight_of_any_origin():
    status, headers, _ = ask(CORSMiddleware(application(), ["*"], max_age=5), EVIL)
    assert status == "204 No Content"
    assert cors_headers(headers) == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Max-Age": "5",
    }


@pytest.mark.parametrize(
    ("question", "error", "reason"),
    [
        ({"origin": EVIL}, "Forbidden: origin not allowed", "origin_not_allowed"),
        ({"origin": "null"}, "Forbidden: origin not allowed", "origin_not_allowed"),
        (
            {"method": "DELETE"},
            "Forbidden: method not allowed for this origin",
            "method_not_allowed",
        ),
        ({"method": ""}, "Forbidden: method not allowed for this origin", "method_not_allowed"),
        (
            {"headers": "x-other"},
            "Forbidden: header not allowed for this origin",
            "header_not_allowed",
        ),
    ],
)
def test_a_refused_preflight(question, error, reason, caplog):
    calls = []
    app = CORSMiddleware(application(calls=calls), [APP], allow_headers=["X-One"])
    status, headers, body = ask(app, **question)
    assert status == "403 Forbidden"
    assert json.loads(body) == {"error": error}
    assert cors_headers(headers) == {}
    assert vary(headers) == [
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    ]
    assert calls == []
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("swaig_wsgi.security", logging.WARNING)
    assert (record.event, record.reason) == ("preflight_refused", reason)


def test_private_network_access_is_not_granted():
    app = CORSMiddleware(application(), [APP])
    _, headers, _ = ask(app, HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK="true")
    assert "Access-Control-Allow-Private-Network" not in cors_headers(headers)


@pytest.mark.parametrize(
    "environ",
    [{}, {"HTTP_ORIGIN": EVIL}, {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"}],
)
def test_other_options_requests_are_the_applications(environ):
    calls = []
    status, _, _ = call(CORSMiddleware(application(calls=calls), [APP]), "OPTIONS", **environ)
    assert (status, calls) == ("200 OK", ["OPTIONS"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("origin", [EVIL, "null", f"{APP}.evil.example", ""])
def test_csrf_protection_refuses_a_foreign_origin(method, origin, caplog):
    calls = []
    app = CORSMiddleware(application(calls=calls), [APP], csrf_protection=True)
    status, headers, body = call(app, method, HTTP_ORIGIN=origin, HTTP_HOST="service.example")
    assert status == "403 Forbidden"
    assert json.loads(body) == {"error": "Forbidden: origin not allowed"}
    assert cors_headers(headers) == {}
    assert vary(headers) == ["Origin"]
    assert calls == []
    (record,) = caplog.records
    assert (record.event, record.reason) == ("origin_refused", "origin_not_allowed")


@pytest.mark.parametrize(
    ("method", "environ"),
    [
        ("POST", {}),
        ("POST", {"HTTP_ORIGIN": APP}),
        ("POST", {"HTTP_ORIGIN": "http://service.example:3000"}),
        ("GET", {"HTTP_ORIGIN": EVIL}),
        ("HEAD", {"HTTP_ORIGIN": EVIL}),
    ],
)
def test_csrf_protection_lets_the_rest_through(method, environ, caplog):
    app = CORSMiddleware(application(body=b""), [APP], csrf_protection=True)
    environ["swaig_wsgi.host_allowed"] = "service.example:3000"
    status, _, _ = call(app, method, HTTP_HOST="service.example:3000", **environ)
    assert status == "200 OK"
    assert caplog.records == []


def test_the_own_origin_counts_only_with_a_host_of_the_allowlist():
    # By DNS rebinding a page makes a browser send it here under the page's own name.
    app = CORSMiddleware(application(), [APP], csrf_protection=True)
    environ = {"HTTP_HOST": "evil.example", "HTTP_ORIGIN": "http://evil.example"}
    assert call(app, "POST", **environ)[0] == "403 Forbidden"


def test_csrf_protection_behind_an_undeclared_tls_proxy_fails_closed():
    app = CORSMiddleware(application(), [APP], csrf_protection=True)
    environ = {"HTTP_HOST": "service.example", "HTTP_ORIGIN": "https://service.example"}
    environ["swaig_wsgi.host_allowed"] = "service.example"
    assert call(app, "POST", **environ)[0] == "403 Forbidden"
    environ["wsgi.url_scheme"] = "https"
    assert call(app, "POST", **environ)[0] == "200 OK"


def test_csrf_protection_alone_leaves_the_applications_own_cors_alone(caplog):
    calls = []
    own = [("Access-Control-Allow-Origin", APP), ("Vary", "Accept")]
    app = CORSMiddleware(application(own, calls=calls), None, csrf_protection=True)
    for origin in (APP, EVIL):
        asked = {"HTTP_ORIGIN": origin, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"}
        for method in ("OPTIONS", "GET"):
            status, headers, _ = call(app, method, **asked)
            assert (status, own) == ("200 OK", [pair for pair in headers if pair in own])
            assert vary(headers) == ["Accept"]
    assert calls == ["OPTIONS", "GET", "OPTIONS", "GET"]
    assert caplog.records == []
    # What the application's own CORS allows may still be forged: only a list here says otherwise.
    for origin in (APP, EVIL, "null"):
        status, headers, _ = call(app, "PUT", HTTP_ORIGIN=origin)
        assert status == "403 Forbidden"
    assert calls == ["OPTIONS", "GET", "OPTIONS", "GET"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"origins": None},
        {"origins": ["app.example.com"]},
        {"origins": ["null"]},
        {"origins": [APP], "allow_methods": ["GET\r\n"]},
        {"origins": [APP], "csrf_protection": "false"},
    ],
)
def test_bad_configuration_is_refused_at_construction(arguments):
    with pytest.raises(ValueError, match=r"app\.example\.com|null|GET|csrf_protection"):
        CORSMiddleware(application(), **arguments)


def test_the_application_is_passed_through_untouched():
    class Body:
        closed = False

        def __iter__(self):
            return iter([b"x"])

        def close(self):
            self.closed = True

    body, seen, written = Body(), [], []

    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            raise KeyError
        except KeyError:
            write = start_response("500 Oops", [("Vary", "A")], sys.exc_info())
        write(b"early")
        return body

    def start_response(status, headers, exc_info=None):
        seen.append((status, headers, exc_info and exc_info[0]))
        return written.append

    environ = {"HTTP_ORIGIN": EVIL}
    setup_testing_defaults(environ)
    assert CORSMiddleware(app, [APP])(environ, start_response) is body
    assert not body.closed
    assert written == [b"early"]
    assert seen == [
        ("200 OK", [("Vary", "Origin")], None),
        ("500 Oops", [("Vary", "A, Origin")], KeyError),
    ]
