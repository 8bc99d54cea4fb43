import logging
from wsgiref.validate import validator

import pytest
from support.wsgi import Recorder, environ, pass_through, request

from swaig_wsgi.middleware.cors import CORSMiddleware

APP = "https://app.example.com"
EVIL = "https://evil.example"


class Application(Recorder):
    def __init__(self, headers=(), body=b"hello", status="200 OK"):
        super().__init__(body, [("Content-Type", "text/plain"), *headers], status)

    @property
    def methods(self):
        return [environ["REQUEST_METHOD"] for environ in self.environs]


def guarded(application, origins=(APP,), **options):
    return CORSMiddleware(validator(application), origins, **options)


def cors_headers(response):
    return {
        name: value for name, value in response.fields if name.lower().startswith("access-control-")
    }


def vary(response):
    return response.headers.get_all("Vary")


def preflight(app, origin=APP, method="POST", headers=None, **environ):
    return request(
        app,
        "OPTIONS",
        HTTP_ORIGIN=origin,
        HTTP_ACCESS_CONTROL_REQUEST_METHOD=method,
        HTTP_ACCESS_CONTROL_REQUEST_HEADERS=headers,
        **environ,
    )


def test_an_allowed_origin():
    app = guarded(Application(), expose_headers=["X-Total"])
    response = request(app, HTTP_ORIGIN=APP)
    assert (response.status, response.body) == (200, b"hello")
    assert cors_headers(response) == {
        "Access-Control-Allow-Origin": APP,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Expose-Headers": "X-Total",
    }
    assert vary(response) == ["Origin"]


@pytest.mark.parametrize("origin", [EVIL, "null", f"{APP}.evil.example", f"{APP}, {EVIL}", ""])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_origin_gets_the_response_and_no_leave_to_read_it(origin, method):
    app = guarded(Application())
    response = request(app, method, HTTP_ORIGIN=origin)
    assert (response.status, response.body) == (200, b"hello")
    assert cors_headers(response) == {}
    assert vary(response) == ["Origin"]


def test_vary_is_sent_without_an_origin_too():
    response = request(guarded(Application()))
    assert cors_headers(response) == {}
    assert vary(response) == ["Origin"]


def test_vary_of_the_application_is_kept():
    app = guarded(Application([("vary", "Accept"), ("Vary", "Cookie")]))
    assert vary(request(app)) == ["Accept, Cookie, Origin"]
    app = guarded(Application([("Vary", "*")]))
    assert vary(request(app)) == ["*"]


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

    app = guarded(reflecting, allow_credentials=False)
    response = request(app, HTTP_ORIGIN=origin)
    assert cors_headers(response) == ({"Access-Control-Allow-Origin": APP} if origin == APP else {})


@pytest.mark.parametrize("environ", [{}, {"HTTP_ORIGIN": APP}, {"HTTP_ORIGIN": "null"}])
def test_any_origin_is_never_with_credentials(environ):
    app = guarded(Application(), ["*"], allow_credentials=True)
    response = request(app, **environ)
    assert cors_headers(response) == {"Access-Control-Allow-Origin": "*"}
    assert vary(response) == []


def test_a_refusal_inside_can_be_read_by_an_allowed_origin():
    app = guarded(Application(status="401 Unauthorized"))
    response = request(app, HTTP_ORIGIN=APP)
    assert response.status == 401
    assert cors_headers(response)["Access-Control-Allow-Origin"] == APP


def test_a_preflight_does_not_reach_the_application():
    application = Application()
    app = guarded(application)
    response = preflight(app, headers="authorization,x-one")
    assert (response.status, response.body, application.methods) == (204, b"", [])
    names = [name.lower() for name, _ in response.fields]
    assert "content-length" not in names
    assert "content-type" not in names
    assert len(names) == len(set(names))
    assert cors_headers(response) == {
        "Access-Control-Allow-Origin": APP,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Allow-Headers": "authorization, x-one",
        "Access-Control-Max-Age": "600",
    }
    assert vary(response) == [
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    ]


def test_a_preflight_of_any_origin():
    response = preflight(guarded(Application(), ["*"], max_age=5), EVIL)
    assert response.status == 204
    assert cors_headers(response) == {
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
    application = Application()
    app = guarded(application, allow_headers=["X-One"])
    response = preflight(app, **question)
    assert response.status == 403
    assert response.json == {"error": error}
    assert cors_headers(response) == {}
    assert vary(response) == [
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    ]
    assert application.methods == []
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("swaig_wsgi.security", logging.WARNING)
    assert (record.event, record.reason) == ("preflight_refused", reason)


def test_private_network_access_is_not_granted():
    app = guarded(Application())
    response = preflight(app, HTTP_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK="true")
    assert "Access-Control-Allow-Private-Network" not in cors_headers(response)


@pytest.mark.parametrize(
    "environ",
    [{}, {"HTTP_ORIGIN": EVIL}, {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"}],
)
def test_other_options_requests_are_the_applications(environ):
    application = Application()
    assert request(guarded(application), "OPTIONS", **environ).status == 200
    assert application.methods == ["OPTIONS"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("origin", [EVIL, "null", f"{APP}.evil.example", ""])
def test_csrf_protection_refuses_a_foreign_origin(method, origin, caplog):
    application = Application()
    app = guarded(application, csrf_protection=True)
    response = request(app, method, HTTP_ORIGIN=origin, HTTP_HOST="service.example")
    assert response.status == 403
    assert response.json == {"error": "Forbidden: origin not allowed"}
    assert cors_headers(response) == {}
    assert vary(response) == ["Origin"]
    assert application.methods == []
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
def test_csrf_protection_allows_other_requests(method, environ, caplog):
    app = guarded(Application(body=b""), csrf_protection=True)
    environ["swaig_wsgi.host_allowed"] = "service.example:3000"
    response = request(app, method, HTTP_HOST="service.example:3000", **environ)
    assert response.status == 200
    assert caplog.records == []


def test_the_own_origin_counts_only_with_a_host_of_the_allowlist():
    # By DNS rebinding a page makes a browser send it here under the page's own name.
    app = guarded(Application(), csrf_protection=True)
    environ = {"HTTP_HOST": "evil.example", "HTTP_ORIGIN": "http://evil.example"}
    assert request(app, "POST", **environ).status == 403


def test_csrf_protection_behind_an_undeclared_tls_proxy_fails_closed():
    app = guarded(Application(), csrf_protection=True)
    environ = {"HTTP_HOST": "service.example", "HTTP_ORIGIN": "https://service.example"}
    environ["swaig_wsgi.host_allowed"] = "service.example"
    assert request(app, "POST", **environ).status == 403
    environ["wsgi.url_scheme"] = "https"
    assert request(app, "POST", **environ).status == 200


def test_csrf_protection_alone_leaves_the_applications_own_cors_alone(caplog):
    own = [("Access-Control-Allow-Origin", APP), ("Vary", "Accept")]
    application = Application(own)
    app = guarded(application, None, csrf_protection=True)
    for origin in (APP, EVIL):
        asked = {"HTTP_ORIGIN": origin, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"}
        for method in ("OPTIONS", "GET"):
            response = request(app, method, **asked)
            assert response.status == 200
            assert [pair for pair in response.fields if pair in own] == own
            assert vary(response) == ["Accept"]
    assert application.methods == ["OPTIONS", "GET", "OPTIONS", "GET"]
    assert caplog.records == []
    # What the application's own CORS allows may still be forged: only a list here says otherwise.
    for origin in (APP, EVIL, "null"):
        response = request(app, "PUT", HTTP_ORIGIN=origin)
        assert response.status == 403
    assert application.methods == ["OPTIONS", "GET", "OPTIONS", "GET"]


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
        CORSMiddleware(Application(), **arguments)


def test_the_application_is_passed_through_untouched():
    sent = pass_through(
        lambda app: CORSMiddleware(app, [APP]), environ(HTTP_ORIGIN=EVIL), [("Vary", "A")]
    )
    assert sent == [[("Vary", "A, Origin")]] * 2
