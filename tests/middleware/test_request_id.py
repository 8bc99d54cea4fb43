"""Every request has one id, in the response, the log and environ."""

from __future__ import annotations

import pytest
from support.wsgi import Recorder, environ, pass_through, request

from swaig_wsgi import Settings, harden
from swaig_wsgi.middleware import AllowedHostsMiddleware, RequestIDMiddleware

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


def test_an_exception_of_the_application_is_recorded_with_the_id(caplog):
    def fail(environ, start_response):
        raise LookupError("no such page")

    app = RequestIDMiddleware(fail)
    with pytest.raises(LookupError, match="no such page"):
        app(environ(headers={"X-Request-Id": "f81d4fae7dec11d0"}), lambda *_: None)
    (record,) = [each for each in caplog.records if each.name == "swaig_wsgi.security"]
    assert (record.event, record.reason) == ("request_failed", "exception")
    assert record.request_id == "f81d4fae7dec11d0"
