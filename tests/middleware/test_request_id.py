"""Every request has one id, in the response, the log and environ."""

from __future__ import annotations

import pytest
from support.clock import Clock
from support.wsgi import Recorder, environ, pass_through, request

from swaig_wsgi import Settings, harden
from swaig_wsgi.core.redaction import hide_values
from swaig_wsgi.core.tokens import SigningKey, sign_token
from swaig_wsgi.middleware import (
    AllowedHostsMiddleware,
    RequestIDMiddleware,
    TrustedProxyMiddleware,
)
from swaig_wsgi.wsgi import _security_log
from swaig_wsgi.wsgi._repeats import Repeats

SANE = [
    "12345678",
    "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "a" * 128,
    "edge:eu_west.1~a+b",
]
UNSAFE = [
    "",
    "1234567",
    "a" * 129,
    "two words",
    "first-id,second-id",
    "line\r\nbreak-break",
    "nul\x00nul-nul",
    "<script>alert(1)</script>",
    "reason=forged client=1.2.3.4",
    "../../etc/passwd",
    "ünïcödé-id",
    "12345678\n",
]


@pytest.mark.parametrize("sent", SANE)
def test_a_sane_incoming_id_is_kept(sent):
    site = Recorder()
    response = request(RequestIDMiddleware(site), HTTP_X_REQUEST_ID=sent)
    assert response.headers.get_all("X-Request-Id") == [sent]
    assert site.environs[0]["swaig_wsgi.request_id"] == sent


@pytest.mark.parametrize("sent", UNSAFE)
def test_attack_an_unsafe_incoming_id_reaches_no_header_log_or_application(sent, caplog):
    site = Recorder()
    app = RequestIDMiddleware(AllowedHostsMiddleware(site, ["a.example"]))
    for host in ("a.example", "evil.example"):
        response = request(app, HTTP_X_REQUEST_ID=sent, HTTP_HOST=host, validate=False)
        (made,) = response.headers.get_all("X-Request-Id")
        assert len(made) == 32
        assert made.isalnum()
    (seen,) = site.environs
    assert seen["HTTP_X_REQUEST_ID"] == seen["swaig_wsgi.request_id"] != sent
    assert all(sent not in str(value) for value in seen.values() if sent)
    assert not sent or sent not in caplog.text


def test_ids_are_made_for_each_request_that_has_none():
    app = RequestIDMiddleware(Recorder())
    ids = {request(app).headers["X-Request-Id"] for _ in range(100)}
    assert len(ids) == 100


@pytest.mark.parametrize("name", ["X-Request-Id", "X-Request-ID", "x-request-id"])
def test_the_field_is_sent_once_whatever_the_application_sends(name):
    site = Recorder(
        headers=[("Content-Type", "text/plain"), (name, "of-the-site"), (name, "again")]
    )
    app = RequestIDMiddleware(RequestIDMiddleware(site))
    response = request(app, HTTP_X_REQUEST_ID="of-the-proxy")
    assert response.headers.get_all("X-Request-Id") == ["of-the-proxy"]
    assert site.environs[0]["swaig_wsgi.request_id"] == "of-the-proxy"


def test_responses_pass_through_untouched():
    sent = pass_through(
        RequestIDMiddleware, environ(HTTP_X_REQUEST_ID="12345678"), [("X-Request-Id", "other")]
    )
    assert sent == [[("X-Request-Id", "12345678")]] * 2


def test_pages_of_other_origins_may_read_the_id():
    app = harden(Recorder(), Settings(cors_origins=["https://a.example"], rate_limit=9))
    response = request(app, HTTP_ORIGIN="https://a.example")
    exposed = response.headers["Access-Control-Expose-Headers"]
    assert exposed == "X-Request-Id, RateLimit, RateLimit-Policy, Retry-After"


ID = "f81d4fae7dec11d0"


def fail(environ, start_response):
    raise LookupError("no such page")


def fail_after_starting(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "a=b")])
    raise LookupError("no such page")


def fail_in_a_generator(environ, start_response):
    raise LookupError("no such page")
    yield


def fail_before_the_first_byte(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b""
    raise LookupError("no such page")


class Chunks:
    """What frameworks return for responses that are streamed; its first chunk fails."""

    def __init__(self):
        self.closed = False

    def __iter__(self):
        return self

    def __next__(self):
        raise LookupError("no such page")

    def close(self):
        self.closed = True


def fail_in_a_stream(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Chunks()


FAILING = (
    fail,
    fail_after_starting,
    fail_in_a_generator,
    fail_before_the_first_byte,
    fail_in_a_stream,
)


def events(caplog):
    found = [each for each in caplog.records if each.name == "swaig_wsgi.security"]
    return [(each.event, each.reason, each.request_id) for each in found]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("app", FAILING, ids=lambda app: app.__name__)
def test_an_exception_is_a_response_and_a_record_with_the_id(app, method, caplog):
    app = harden(app, Settings(ssl_domain="127.0.0.1"))
    response = request(
        app, method, headers={"X-Request-Id": ID}, wsgi_url_scheme="https", validate=False
    )
    assert response.status == 500
    assert response.headers["X-Request-Id"] == ID
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "Strict-Transport-Security" in response.headers
    assert "Set-Cookie" not in response.headers
    body = b'{"error": "Internal server error"}'
    assert response.headers["Content-Length"] == str(len(body))
    assert response.body == (b"" if method == "HEAD" else body)
    assert response.exc_info[0] is LookupError
    assert events(caplog) == [("request_failed", "exception", ID)]
    (record,) = [each for each in caplog.records if each.name == "swaig_wsgi"]
    assert (record.exc_info[0], record.request_id) == (LookupError, ID)


def test_one_of_several_layers_responds_to_an_exception(caplog):
    response = request(RequestIDMiddleware(harden(fail)), headers={"X-Request-Id": ID})
    assert (response.status, response.headers.get_all("X-Request-Id")) == (500, [ID])
    assert events(caplog) == [("request_failed", "exception", ID)]


class Server:
    """Like a server that has sent the headers, which raises the `exc_info` that it gets."""

    def __init__(self):
        self.sent = []

    def start_response(self, status, headers, exc_info=None):
        if exc_info and self.sent:
            raise exc_info[1]
        return self.sent.append

    def serve(self, app):
        request = environ(headers={"X-Request-Id": ID})
        self.sent.extend(app(request, self.start_response))


def test_an_exception_after_the_first_byte_is_raised_in_the_server(caplog):
    def written(environ, start_response):
        start_response("200 OK", [])(b"early")
        raise LookupError("no such page")

    def generated(environ, start_response):
        start_response("200 OK", [])
        yield b"early"
        raise LookupError("no such page")

    for app in (written, generated):
        server = Server()
        with pytest.raises(LookupError, match="no such page"):
            server.serve(RequestIDMiddleware(app))
        assert server.sent == [b"early"]
    assert events(caplog) == [("request_failed", "exception", ID)] * 2


def test_the_generator_of_an_application_is_closed():
    closed = []

    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.append(True)

    body = RequestIDMiddleware(app)(environ(), lambda *_: None)
    assert next(iter(body)) == b"one"
    body.close()
    assert closed == [True]


def test_a_stream_is_closed_whether_it_was_read_or_not():
    for read in (True, False):
        chunks = Chunks()
        body = RequestIDMiddleware(lambda *_, chunks=chunks: chunks)(environ(), lambda *_: None)
        if read:
            assert b"".join(body) == b'{"error": "Internal server error"}'
        body.close()
        assert chunks.closed


def test_what_the_servers_file_wrapper_returns_stays_as_it_is():
    class Wrapper(Chunks):
        pass

    for wrapper in (Wrapper, lambda file: Wrapper()):
        wrapped = Wrapper()
        app = RequestIDMiddleware(lambda *_, wrapped=wrapped: wrapped)
        served = environ(**{"wsgi.file_wrapper": wrapper})
        assert app(served, lambda *_: None) is wrapped


def test_a_debugger_outside_gets_the_exception(caplog):
    key = "werkzeug.debug.preserve_context"
    with pytest.raises(LookupError, match="no such page"):
        request(harden(fail), **{key: list}, validate=False)
    assert [each[:2] for each in events(caplog)] == [("request_failed", "exception")]


def test_attack_an_id_that_contains_a_secret_is_replaced(caplog):
    hide_values(["the-old-password-of-may"])
    app = harden(Recorder(), Settings(allowed_hosts=["a.example"]))
    token = sign_token(SigningKey(b"k" * 32), "pay", "call-1", 4_000_000_000, "0" * 16)
    for secret in ("the-old-password-of-may", token):
        for sent in (secret, f"{secret}.1"):
            caplog.clear()
            response = request(app, HTTP_X_REQUEST_ID=sent, HTTP_HOST="b.example")
            (record,) = caplog.records
            assert secret not in caplog.text + record.request_id + str(response.headers.items())
            assert response.headers["X-Request-Id"] == record.request_id
    site = Recorder()
    response = request(RequestIDMiddleware(site), HTTP_X_REQUEST_ID=sent)
    assert site.environs[0]["HTTP_X_REQUEST_ID"] == response.headers["X-Request-Id"] != sent


def test_attack_tracebacks_of_the_application_do_not_fill_the_log(caplog):
    app = harden(fail)
    for _ in range(300):
        assert request(app).status == 500
    assert len([each for each in caplog.records if each.exc_info]) == 10
    assert sum("no more tracebacks" in each.getMessage() for each in caplog.records) == 1


def test_the_refusal_of_conflicting_proxy_policies_has_the_id(caplog):
    inner = harden(Recorder(), Settings(trusted_proxies=["10.0.0.1"]))
    response = request(TrustedProxyMiddleware(inner, 1), HTTP_X_REQUEST_ID=ID)
    assert (response.status, response.headers.get_all("X-Request-Id")) == (503, [ID])
    assert events(caplog) == [("service_misconfigured", "conflicting_proxy_policies", ID)]
    response = request(RequestIDMiddleware(TrustedProxyMiddleware(inner, 1)), HTTP_X_REQUEST_ID=ID)
    assert response.headers.get_all("X-Request-Id") == [ID]


def test_each_request_writes_the_sums_of_repeated_records_that_are_due(monkeypatch, caplog):
    clock = Clock()
    monkeypatch.setattr(_security_log, "_repeats", Repeats(clock))
    app = RequestIDMiddleware(AllowedHostsMiddleware(Recorder(), ["a.example"]))
    for _ in range(15):
        request(app, HTTP_HOST="b.example")
    clock.now += 60
    caplog.clear()
    assert request(app, HTTP_HOST="a.example").status == 200
    (record,) = caplog.records
    assert (record.event, record.repeated) == ("host_refused", 5)
