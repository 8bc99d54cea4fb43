import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wsgi import request

from swaig_wsgi.core.refusals import Refusal
from swaig_wsgi.wsgi import encode_json, refuse, respond, respond_json


class Text(str):
    pass


NAMES = st.text() | st.text().map(Text) | st.none() | st.integers()


@given(st.dictionaries(NAMES, NAMES | st.lists(st.text()), max_size=2))
def test_json_is_encoded_as_by_the_standard_library(value):
    assert encode_json(value) == json.dumps(value).encode()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_not_encoded(number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_json({"response": number})


def test_a_response_has_its_exact_length():
    def app(environ, start_response):
        body = "grün".encode()
        return respond(environ, start_response, 200, body, [("X-A", "b")], "text/plain")

    response = request(app)
    assert (response.status, response.reason) == (200, "OK")
    assert response.fields == [
        ("Content-Type", "text/plain"),
        ("Content-Length", "5"),
        ("X-A", "b"),
    ]
    assert response.body == "grün".encode()


def test_head_gets_the_headers_of_get_and_no_body():
    def app(environ, start_response):
        return respond_json(environ, start_response, 404, {"error": "Not found"})

    response, head = request(app), request(app, "HEAD")
    assert response.json == {"error": "Not found"}
    assert (head.status, head.fields, head.body) == (response.status, response.fields, b"")
    assert response.headers["Content-Length"] == str(len(response.body))


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_response_without_content_has_no_content_headers(status, method):
    def app(environ, start_response):
        return respond(environ, start_response, status, b"", [("X-A", "b")])

    response = request(app, method)
    assert (response.status, response.fields, response.body) == (status, [("X-A", "b")], b"")


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 405, 413, 415, 429, 500, 503])
def test_every_status_has_a_reason_phrase(status):
    response = request(lambda environ, start: respond(environ, start, status, b""))
    assert response.status == status
    assert response.reason.replace(" ", "").isalpha()


def test_json_is_ascii():
    value = {"text": "grün \u2028 </script> \ud800"}
    response = request(lambda environ, start: respond_json(environ, start, 200, value))
    assert response.body.isascii()
    assert response.json == value
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], {"a": -float("inf")}, {1, 2}, b"x"]
)
def test_an_unserializable_value_raises_before_the_response_starts(value):
    started = []
    with pytest.raises((ValueError, TypeError)):
        respond_json({}, lambda *args: started.append(args), 200, value)
    assert started == []


def test_headers_may_be_a_generator_and_are_copied():
    headers = [("WWW-Authenticate", "A"), ("WWW-Authenticate", "B")]

    def app(environ, start_response):
        return respond(environ, start_response, 401, b"", (pair for pair in headers))

    assert request(app).fields[2:] == headers

    def start_response(status, headers, exc_info=None):
        headers.append(("X", "y"))

    for status in (401, 204):
        respond({"REQUEST_METHOD": "GET"}, start_response, status, b"", headers)
    assert headers == [("WWW-Authenticate", "A"), ("WWW-Authenticate", "B")]


def app(environ, start_response):
    error = "Forbidden: host not allowed"
    refusal = Refusal(403, error, "not_allowed", event="host_refused", headers=[("X-A", "b")])
    return refuse(environ, start_response, refusal)


def test_a_refusal_is_sent_and_logged_once(caplog):
    response = request(app)
    assert (response.status, response.reason) == (403, "Forbidden")
    assert response.json == {"error": "Forbidden: host not allowed"}
    assert response.headers["X-A"] == "b"
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("swaig_wsgi.security", logging.WARNING)
    assert record.getMessage().startswith("host_refused reason=not_allowed client=192.0.2.7 ")
    assert (record.event, record.reason, record.client) == (
        "host_refused",
        "not_allowed",
        "192.0.2.7",
    )


def test_event_and_reason_do_not_reach_the_client():
    response = request(app)
    assert "host_refused" not in repr(response)
    assert "not_allowed" not in repr(response)
