import json
import logging
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from swaig_wsgi.wsgi import log_security, refuse, respond, respond_json


def call(app, method="GET", **extra):
    environ = {
        "REQUEST_METHOD": method,
        "QUERY_STRING": "",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        **extra,
    }
    setup_testing_defaults(environ)
    started = []

    def start_response(status, headers, exc_info=None):
        started.append((status, headers))
        return lambda data: None

    result = validator(app)(environ, start_response)
    body = b"".join(result)
    result.close()
    ((status, headers),) = started
    return status, headers, body


def test_an_answer_has_its_exact_length():
    def app(environ, start_response):
        body = "grün".encode()
        return respond(environ, start_response, 200, body, [("X-A", "b")], "text/plain")

    status, headers, body = call(app)
    assert status == "200 OK"
    assert headers == [("Content-Type", "text/plain"), ("Content-Length", "5"), ("X-A", "b")]
    assert body == "grün".encode()


def test_head_gets_the_headers_of_get_and_no_body():
    def app(environ, start_response):
        return respond_json(environ, start_response, 404, {"error": "Not found"})

    status, headers, body = call(app)
    assert json.loads(body) == {"error": "Not found"}
    assert call(app, "HEAD") == (status, headers, b"")
    assert dict(headers)["Content-Length"] == str(len(body))


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_an_answer_without_content_says_nothing_about_content(status, method):
    def app(environ, start_response):
        return respond(environ, start_response, status, b"", [("X-A", "b")])

    line, headers, body = call(app, method)
    assert (line[:3], headers, body) == (str(status), [("X-A", "b")], b"")


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 405, 413, 415, 429, 500, 503])
def test_every_status_has_a_reason_phrase(status):
    line, _, _ = call(lambda environ, start: respond(environ, start, status, b""))
    assert line.startswith(f"{status} ")
    assert line[4:].replace(" ", "").isalpha()


def test_json_is_ascii_whatever_it_says():
    value = {"text": "grün \u2028 </script> \ud800"}
    _, headers, body = call(lambda environ, start: respond_json(environ, start, 200, value))
    assert body.isascii()
    assert json.loads(body) == value
    assert ("Content-Type", "application/json") in headers


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], {"a": -float("inf")}, {1, 2}, b"x"]
)
def test_what_json_cannot_say_is_not_sent(value):
    started = []
    with pytest.raises((ValueError, TypeError)):
        respond_json({}, lambda *args: started.append(args), 200, value)
    assert started == []


def test_headers_may_come_from_a_generator_and_are_not_changed():
    given = [("WWW-Authenticate", "A"), ("WWW-Authenticate", "B")]

    def app(environ, start_response):
        return respond(environ, start_response, 401, b"", (pair for pair in given))

    assert call(app)[1][2:] == given

    def fixed(environ, start_response):
        return respond(environ, start_response, 401, b"", given)

    _, headers, _ = call(fixed)
    headers.append(("X", "y"))
    assert len(given) == 2
    _, without_content, _ = call(lambda environ, start: respond(environ, start, 204, b"", given))
    assert without_content is not given


def refusing(environ, start_response):
    return refuse(
        environ,
        start_response,
        403,
        "Forbidden: host not allowed",
        event="host_refused",
        reason="not_allowed",
        headers=[("X-A", "b")],
    )


def test_a_refusal_answers_and_logs_once(caplog):
    status, headers, body = call(refusing, REMOTE_ADDR="192.0.2.7")
    assert status == "403 Forbidden"
    assert json.loads(body) == {"error": "Forbidden: host not allowed"}
    assert ("X-A", "b") in headers
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("swaig_wsgi.security", logging.WARNING)
    assert record.getMessage() == "host_refused reason=not_allowed client=192.0.2.7"
    assert (record.event, record.reason, record.client) == (
        "host_refused",
        "not_allowed",
        "192.0.2.7",
    )


def test_event_and_reason_do_not_reach_the_client():
    _, headers, body = call(refusing)
    assert "host_refused" not in repr((headers, body))
    assert "not_allowed" not in repr((headers, body))


@pytest.mark.parametrize("environ", [{}, {"REMOTE_ADDR": ""}, {"REMOTE_ADDR": None}])
def test_a_client_without_an_address_is_a_dash(caplog, environ):
    log_security(environ, "event", "reason")
    assert caplog.records[0].client == "-"


@pytest.mark.parametrize(
    "forged", ["1.2.3.4\nauth_accepted", "a\rb", "a\x1b[2Jb", "a\u2028b", "a\u202eb", "a\x00b"]
)
def test_no_client_can_forge_a_line_of_the_log(caplog, forged):
    log_security({"REMOTE_ADDR": forged}, forged, forged)
    (record,) = caplog.records
    for text in (record.getMessage(), record.event, record.reason, record.client):
        assert text.isprintable()


def test_percent_signs_are_no_format(caplog):
    log_security({"REMOTE_ADDR": "%s%(x)d%n"}, "%s", "%d")
    assert caplog.records[0].getMessage() == "%s reason=%d client=%s%(x)d%n"


def test_every_record_has_event_reason_and_client(caplog):
    log_security({"REMOTE_ADDR": "192.0.2.7"}, "event", "reason", "what\nelse", logging.ERROR)
    (record,) = caplog.records
    assert (record.event, record.reason, record.client) == ("event", "reason", "192.0.2.7")
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "event reason=reason client=192.0.2.7 (what\\nelse)"
