from __future__ import annotations

import io
import json
import logging

import pytest
from support.tool_calls import (
    CALL,
    FORBIDDEN,
    SESSIONS,
    check_refused,
    guarded,
    request,
    token,
)
from support.wsgi import Recorder, send

from swaig_wsgi.middleware.tokens import ToolTokenMiddleware


def test_the_application_cannot_read_beyond_the_declared_length():
    seen = []

    def app(environ, start_response):
        seen.append(environ["wsgi.input"].read())
        seen.append(environ["wsgi.input"].read())
        start_response("200 OK", [])
        return []

    raw = json.dumps(CALL).encode()
    environ = request(wsgi_input=io.BytesIO(raw + b"GET / HTTP/1.1\r\n\r\n"))
    send(ToolTokenMiddleware(app, SESSIONS), environ, validate=False)
    assert seen == [raw, b""]
    assert environ["wsgi.input_terminated"] is True


def test_a_chunked_body_is_passed_on_with_a_length():
    endpoint, app = guarded()
    environ = request(
        CONTENT_LENGTH=None, HTTP_TRANSFER_ENCODING="chunked", wsgi_input_terminated=True
    )
    assert send(app, environ).status == 200
    (seen,) = endpoint.environs
    assert json.loads(endpoint.bodies[0]) == CALL
    assert "HTTP_TRANSFER_ENCODING" not in seen
    assert seen["CONTENT_LENGTH"] == str(len(endpoint.bodies[0]))


@pytest.mark.parametrize("content_type", [None, "", "application/json; charset=utf-8"])
def test_a_missing_or_json_content_type_is_accepted(content_type):
    _, app = guarded()
    assert send(app, request(CONTENT_TYPE=content_type)).status == 200


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (b"", "wrong_function"),
        ({}, "wrong_function"),
        ({"call_id": "root.2"}, "wrong_function"),
        ({"call_id": "root.2", "function": ""}, "wrong_function"),
        ({"call_id": "root.2", "function": "transfer_funds\0"}, "wrong_function"),
        ({"function": "transfer_funds"}, "wrong_call"),
        ({"function": "transfer_funds", "call_id": ""}, "wrong_call"),
        ({"function": "transfer_funds", "call_id": "root.2\0"}, "wrong_call"),
        ({"function": "transfer_funds", "call_id": "root.２"}, "wrong_call"),
        ({"function": "transfer_funds", "call_id": None}, "wrong_call"),
        ({"function": "transfer_funds", "conversation_id": "root.3"}, "wrong_call"),
        # `call_id` takes precedence over `call.call_id`.
        ({**CALL, "call_id": "root.3", "call": {"call_id": "root.2"}}, "wrong_call"),
        ({"function": "transfer_funds", "other": {"call_id": "root.2"}}, "wrong_call"),
        ({"FUNCTION": "transfer_funds", "call_id": "root.2"}, "wrong_function"),
    ],
)
def test_a_body_without_the_function_and_call_of_the_token_is_refused(call, reason, caplog):
    check_refused(request(call), caplog, 403, FORBIDDEN, reason)


@pytest.mark.parametrize(
    "call",
    [
        {"function": "transfer_funds", "call": {"call_id": "root.2"}},
        {"function": "transfer_funds", "conversation_id": "root.2"},
        {**CALL, "call_id": "root.3", "conversation_id": "root.2"},
    ],
)
def test_a_token_verifies_each_call_id_of_the_body(call):
    endpoint, app = guarded()
    assert send(app, request(call)).status == 200
    # The call id that the token verifies, not the first one in the body.
    assert endpoint.environs[0]["swaig_wsgi.call_id"] == "root.2"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        (member, value)
        for member in ("call_id", "function", "conversation_id")
        for value in (True, [], ["root.2"], {}, {"root.2": 1})
    ]
    + [(member, number) for member in ("call_id", "function") for number in (1, 1.5)],
)
def test_members_that_are_not_strings_are_refused(member, value, caplog):
    error = {"error": f"Bad request: {member} must be a string"}
    check_refused(request({**CALL, member: value}), caplog, 400, error, "bad_request")


def test_a_number_as_conversation_id_is_its_text(caplog):
    call = {**CALL, "call_id": "another", "conversation_id": 42}
    query = f"__token={token(call_id='42')}"
    endpoint, app = guarded()
    assert send(app, request(call, query=query)).status == 200
    assert endpoint.environs[0]["swaig_wsgi.call_id"] == "42"
    for other in (43, 4.2, -42):
        changed = request({**call, "conversation_id": other}, query=query)
        check_refused(changed, caplog, 403, FORBIDDEN, "wrong_call")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON"),
        (b"call_id=root.2&function=transfer_funds", "not JSON"),
        (b"[1,2]", "not an object"),
        (json.dumps(CALL).encode("utf-16"), "not UTF-8"),
        (b"[" * 500_000, "nested too deeply"),
        (b'{"a":' + b"9" * 5_000 + b"}", "number too long"),
        (b'{"a": NaN}', "NaN or Infinity"),
        (b'{"a": "\\ud800"}', "lone surrogate"),
        (json.dumps(CALL).encode()[:-1] + b', "function": "other"}', "duplicate key"),
        (json.dumps(CALL).encode()[:-1] + b', "call_\\u0069d": "x"}', "duplicate key"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_ambiguous_json_is_refused(body, message, caplog):
    error = {"error": f"Bad request: {message}"}
    check_refused(request(body), caplog, 400, error, "bad_request")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain",
        "application/json; charset=utf-7",
    ],
)
def test_other_content_types_are_refused(content_type, caplog):
    body = json.dumps({**CALL, "x": "&function=other&call_id=root.3&y="}).encode()
    error = {"error": "Unsupported media type"}
    environ = request(body, CONTENT_TYPE=content_type)
    check_refused(environ, caplog, 415, error, "unsupported_media_type")


def test_a_body_of_exactly_the_limit_is_accepted():
    raw = json.dumps(CALL).encode()
    endpoint, app = guarded(max_bytes=len(raw))
    assert send(app, request(raw)).status == 200
    assert endpoint.bodies == [raw]


def test_a_body_over_the_limit_is_refused(caplog):
    raw = json.dumps(CALL).encode()
    error = {"error": "Request too large"}
    for extra in ({}, {"CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "chunked"}):
        environ = request(raw, **extra, **({"wsgi.input_terminated": True} if extra else {}))
        reason = "too_large_chunked" if extra else "too_large"
        check_refused(environ, caplog, 413, error, reason, max_bytes=len(raw) - 1)


def test_the_default_limit_is_one_mebibyte():
    call = {**CALL, "x": ""}
    padding = 1_048_576 - len(json.dumps(call))
    _, app = guarded()
    assert send(app, request({**call, "x": "x" * padding})).status == 200
    _, app = guarded()
    assert send(app, request({**call, "x": "x" * (padding + 1)})).status == 413


@pytest.mark.parametrize(
    ("changes", "status", "error", "reason"),
    [
        (
            {"CONTENT_LENGTH": "-1"},
            400,
            "Bad request: malformed Content-Length",
            "malformed_length",
        ),
        ({"CONTENT_LENGTH": "1000"}, 400, "Bad request: incomplete body", "incomplete_body"),
        (
            {"CONTENT_LENGTH": None, "HTTP_TRANSFER_ENCODING": "chunked"},
            411,
            "Length required",
            "length_required",
        ),
    ],
)
def test_bad_framing_is_refused(changes, status, error, reason, caplog):
    environ = request(**changes)
    endpoint = Recorder()
    with caplog.at_level(logging.WARNING, "swaig_wsgi.security"):
        response = send(ToolTokenMiddleware(endpoint, SESSIONS), environ, validate=False)
    assert (response.status, response.json, endpoint.environs) == (status, {"error": error}, [])
    assert [record.reason for record in caplog.records] == [reason]
