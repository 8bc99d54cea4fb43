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


def test_an_allowed_origin_may_read_the_response():
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
def test_other_origins_get_no_cors_headers(origin, method):
    app = guarded(Application())
    response = request(app, method, HTTP_ORIGIN=origin)
    assert (response.status, response.body) == (200, b"hello")
    assert cors_headers(response) == {}
    assert vary(response) == ["Origin"]


def test_vary_is_sent_for_requests_without_an_origin():
    response = request(guarded(Application()))
    assert cors_headers(response) == {}
    assert vary(response) == ["Origin"]


def test_the_vary_header_of_the_application_is_extended():
    app = guarded(Application([("vary", "Accept"), ("Vary", "Cookie")]))
    assert vary(request(app)) == ["Accept, Cookie, Origin"]
    app = guarded(Application([("Vary", "*")]))
    assert vary(request(app)) == ["*"]


@pytest.mark.parametrize("origin", [APP, EVIL, "null"])
def test_cors_headers_of_the_application_are_replaced(origin):
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
def test_the_wildcard_never_allows_credentials(environ):
    app = guarded(Application(), ["*"], allow_credentials=True)
    response = request(app, **environ)
    assert cors_headers(response) == {"Access-Control-Allow-Origin": "*"}
    assert vary(response) == []


def test_error_responses_carry_cors_headers():
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


def test_the_wildcard_allows_a_preflight_of_any_origin():
    response = preflight(guarded(Application(), ["*"], max_age=5), EVIL)
    assert response.status == 204
    assert cors_headers(response) == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Max-Age": "5",
    }


@pytest.mark.parametrize(
    ("options", "error", "reason"),
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
def test_a_disallowed_preflight_is_403_and_logged(options, error, reason, caplog):
    application = Application()
    app = guarded(application, allow_headers=["X-One"])
    response = preflight(app, **options)
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
def test_other_options_requests_reach_the_application(environ):
    application = Application()
    assert request(guarded(application), "OPTIONS", **environ).status == 200
    assert application.methods == ["OPTIONS"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("origin", [EVIL, "null", f"{APP}.evil.example", ""])
def test_csrf_protection_refuses_other_origins(method, origin, caplog):
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
def test_csrf_protection_allows_safe_methods_and_allowed_origins(method, environ, caplog):
    app = guarded(Application(body=b""), csrf_protection=True)
    environ["swaig_wsgi.host_allowed"] = "service.example:3000"
    response = request(app, method, HTTP_HOST="service.example:3000", **environ)
    assert response.status == 200
    assert caplog.records == []


def test_csrf_protection_refuses_a_request_of_another_site_without_an_origin(caplog):
    application = Application()
    app = guarded(application, csrf_protection=True)
    for fetch_site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        assert request(app, "POST", HTTP_SEC_FETCH_SITE=fetch_site).status == status
    assert application.methods == ["POST"]
    assert {record.event for record in caplog.records} == {"origin_refused"}


def test_csrf_protection_trusts_the_same_origin_only_for_an_allowed_host():
    # With DNS rebinding, a browser sends a request here under the host name of the page.
    app = guarded(Application(), csrf_protection=True)
    environ = {"HTTP_HOST": "evil.example", "HTTP_ORIGIN": "http://evil.example"}
    assert request(app, "POST", **environ).status == 403


def test_csrf_protection_refuses_when_a_tls_proxy_is_not_configured():
    app = guarded(Application(), csrf_protection=True)
    environ = {"HTTP_HOST": "service.example", "HTTP_ORIGIN": "https://service.example"}
    environ["swaig_wsgi.host_allowed"] = "service.example"
    assert request(app, "POST", **environ).status == 403
    environ["wsgi.url_scheme"] = "https"
    assert request(app, "POST", **environ).status == 200


def test_csrf_protection_without_origins_keeps_the_cors_of_the_application(caplog):
    fields = [("Access-Control-Allow-Origin", APP), ("Vary", "Accept")]
    application = Application(fields)
    app = guarded(application, None, csrf_protection=True)
    for origin in (APP, EVIL):
        headers = {"HTTP_ORIGIN": origin, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PUT"}
        for method in ("OPTIONS", "GET"):
            response = request(app, method, **headers)
            assert response.status == 200
            assert [pair for pair in response.fields if pair in fields] == fields
            assert vary(response) == ["Accept"]
    assert application.methods == ["OPTIONS", "GET", "OPTIONS", "GET"]
    assert caplog.records == []
    # Without a list of origins here, CSRF protection ignores what the application allows.
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
def test_invalid_options_are_rejected(arguments):
    with pytest.raises(ValueError, match=r"app\.example\.com|null|GET|csrf_protection"):
        CORSMiddleware(Application(), **arguments)


def test_iterable_exc_info_and_write_are_passed_through():
    sent = pass_through(
        lambda app: CORSMiddleware(app, [APP]), environ(HTTP_ORIGIN=EVIL), [("Vary", "A")]
    )
    assert sent == [[("Vary", "A, Origin")]] * 2
