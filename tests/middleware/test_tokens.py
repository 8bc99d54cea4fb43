from __future__ import annotations

import itertools
import json
import os
import time
from urllib.parse import quote
from wsgiref.validate import validator

import pytest
from support.bodies import Unreadable
from support.tool_calls import (
    CALL,
    FORBIDDEN,
    SECRET,
    SESSIONS,
    check_refused,
    guarded,
    request,
    token,
)
from support.wsgi import Recorder, pass_through, send

from swaig_wsgi.core.tokens import SigningKey, sign_token
from swaig_wsgi.middleware.tokens import ToolTokenMiddleware, key_detail
from swaig_wsgi.processes import GeneratedKey
from swaig_wsgi.sessions import SessionManager


def expired() -> str:
    key = SigningKey(SECRET.encode())
    return sign_token(key, "transfer_funds", "root.2", int(time.time()) - 1, "a1b2c3d4")


def test_a_call_with_a_valid_token_reaches_the_application_unchanged():
    endpoint, app = guarded()
    environ = request(HTTP_X_OTHER="kept")
    original = dict(environ)
    response = send(app, environ)
    assert (response.status, response.body) == (200, b"ok")
    (seen,) = endpoint.environs
    assert json.loads(endpoint.bodies[0]) == CALL
    assert seen["swaig_wsgi.call_id"] == "root.2"
    for name in ("CONTENT_LENGTH", "CONTENT_TYPE", "QUERY_STRING", "PATH_INFO", "HTTP_X_OTHER"):
        assert seen[name] == original[name]


@pytest.mark.parametrize(
    "query",
    ["__token={}", "__token={}%3D%3D", "a=1&__token={}", "%5F_token={}&a=%26", "__token={}&;"],
)
def test_the_token_is_read_from_any_valid_query(query):
    sessions = SESSIONS
    call_id = next(c for c in ("c", "cc", "ccc") if len(token(call_id=c)) % 4 == 2)
    text = token(call_id=call_id, sessions=sessions)
    _, app = guarded()
    environ = request({**CALL, "call_id": call_id}, query=query.format(text))
    assert send(app, environ).status == 200


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "missing"),
        ("a=1", "missing"),
        ("token=" + token(), "missing"),
        ("a=1;__token=" + token(), "missing"),
        ("__token=", "malformed"),
        ("__token=junk", "malformed"),
        ("__token=" + token() + "%00", "malformed"),
        ("__token=" + token() + ";a=1", "malformed"),
        ("__token=" + "A" * 100_000, "malformed"),
        ("__token=%ED%A0%80", "malformed"),
        ("__token=" + token(sessions=SessionManager()), "bad_signature"),
        ("__token=" + expired(), "expired"),
        ("__token=" + token("other"), "wrong_function"),
        ("__token=" + token(call_id="root.3"), "wrong_call"),
        ("__token=" + token(call_id="root"), "wrong_call"),
        (f"__token={token()}&__token={token()}", "repeated"),
        (f"__token={token()}&%5F_token=x", "repeated"),
        (f"__token=x&__token={token()}", "repeated"),
        (f"__token={token()}&a=1;__token=x", "repeated"),
    ],
    ids=itertools.count(),
)
def test_a_call_without_a_valid_token_is_refused(query, reason, caplog):
    check_refused(request(query=query), caplog, 403, FORBIDDEN, reason)


def test_a_missing_query_string_is_a_missing_token():
    app = ToolTokenMiddleware(Recorder(), SESSIONS)
    assert send(app, request(QUERY_STRING=None), validate=False).status == 403


@pytest.mark.parametrize("position", range(0, len(token()), 7))
def test_a_tampered_token_is_refused(position):
    endpoint, app = guarded()
    text = token()
    changed = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]
    assert send(app, request(query=f"__token={changed}")).status == 403
    assert endpoint.environs == []


@pytest.mark.parametrize(
    "path",
    ["/swaig", "/swaig/", "/swaig/x", "//swaig", "/swaig//", "/a/../swaig", "/./swaig", "swaig"],
)
def test_no_spelling_of_the_path_bypasses_the_check(path):
    endpoint = Recorder()
    app = ToolTokenMiddleware(endpoint, SESSIONS)
    for extra in ({}, {"SCRIPT_NAME": "/elsewhere"}):
        response = send(app, request(query="", path=path, **extra), validate=False)
        assert response.status == 403
    assert endpoint.environs == []


def test_other_paths_need_no_token():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode()]

    for path in ("/", "/swaigx", "/post_prompt", "/x/swaig", "/SWAIG"):
        environ = request(query="", path=path, wsgi_input=Unreadable())
        assert send(ToolTokenMiddleware(app, SESSIONS), environ).body == path.encode()


def test_other_paths_can_be_protected(caplog):
    check_refused(
        request(query="", path="/tools/a"), caplog, 403, FORBIDDEN, "missing", protect=("/tools/*",)
    )
    endpoint, app = guarded(protect=("/tools",))
    assert send(app, request(path="/tools/a")).status == 200
    assert send(app, request(query="", path="/swaig")).status == 200
    assert [seen.get("swaig_wsgi.call_id") for seen in endpoint.environs] == ["root.2", None]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"])
def test_every_method_needs_a_token(method):
    for query, body in (("", b""), (f"__token={token()}", b""), ("", json.dumps(CALL).encode())):
        endpoint = Recorder()
        app = ToolTokenMiddleware(endpoint, SESSIONS)
        response = send(app, request(body, query=query, method=method))
        assert (response.status, endpoint.environs) == (403, [])
        assert int(response.headers["content-length"]) == len(json.dumps(FORBIDDEN))
        assert response.body == (b"" if method == "HEAD" else json.dumps(FORBIDDEN).encode())


@pytest.mark.parametrize(
    "query",
    [
        "",
        "__token=junk",
        "__token=" + expired(),
        f"__token={token()}&__token={token()}",
        "__token=" + token(sessions=SessionManager()),
    ],
    ids=itertools.count(),
)
def test_a_body_without_a_valid_token_is_not_read(query):
    app = ToolTokenMiddleware(Recorder(), SESSIONS)
    assert send(app, request(query=query, wsgi_input=Unreadable())).status == 403


def test_the_verified_call_id_in_environ_cannot_be_forged():
    endpoint, app = guarded()
    assert send(app, request(**{"swaig_wsgi.call_id": "forged"})).status == 200
    assert send(app, request(path="/other", **{"swaig_wsgi.call_id": "forged"})).status == 200
    assert [seen.get("swaig_wsgi.call_id") for seen in endpoint.environs] == ["root.2", None]
    refused = request(query="", **{"swaig_wsgi.call_id": "forged"})
    send(app, refused)
    assert "swaig_wsgi.call_id" not in refused


def test_every_refusal_sends_the_same_response():
    responses = set()
    for query in (
        "",
        "__token=junk",
        "__token=" + expired(),
        "__token=" + token("other"),
        "__token=" + token(call_id="root.3"),
        "__token=" + token(sessions=SessionManager()),
        f"__token={token()}&__token={token()}",
    ):
        response = send(guarded()[1], request(query=query))
        responses.add((response.status, tuple(response.fields), response.body))
    assert len(responses) == 1


@pytest.mark.parametrize(
    ("call", "query", "extra", "claimed"),
    [
        ({}, "__token=" + token(), {"CONTENT_TYPE": "text/plain"}, True),
        ({**CALL, "call_id": "root.3"}, "__token=" + token(), {}, True),
        ({**CALL, "function": "other"}, "__token=" + token(), {}, True),
        (b"[]", "__token=" + token(), {}, True),
        (CALL, "__token=" + expired(), {}, True),
        # Usually one that was issued before a restart.
        (CALL, "__token=" + token(sessions=SessionManager()), {}, True),
        (CALL, "__token=junk", {}, False),
        (CALL, "", {}, False),
    ],
    ids=itertools.count(),
)
def test_a_refusal_is_recorded_with_the_call_of_the_token(call, query, extra, claimed, caplog):
    forged = {"swaig_wsgi.tool": "forged", "swaig_wsgi.claimed_call_id": "forged"}
    assert send(guarded()[1], request(call, query=query, **forged, **extra)).status >= 400
    (record,) = caplog.records
    found = (getattr(record, "tool", None), getattr(record, "call_id", None))
    assert found == (("transfer_funds", "root.2") if claimed else (None, None))


@pytest.mark.parametrize("given", [SECRET, GeneratedKey(b"k" * 32, os.getpid(), 1e9)])
@pytest.mark.parametrize("reason", ["bad_signature", "expired", "missing", ""])
def test_only_a_generated_key_explains_a_bad_signature(given, reason):
    detail = key_detail(SessionManager(secret_key=given), reason)
    assert bool(detail) is (reason == "bad_signature" and given != SECRET)
    assert isinstance(detail, str)


def test_tokens_signed_with_a_fallback_key_are_accepted():
    old = SessionManager(secret_key="what was the secret before that.")
    ring = SessionManager(secret_key=SECRET, fallback_keys=["what was the secret before that."])
    for sessions, status in ((ring, 200), (SESSIONS, 403)):
        app = validator(ToolTokenMiddleware(validator(Recorder()), sessions))
        assert send(app, request(query="__token=" + token(sessions=old))).status == status


def test_non_ascii_call_ids_are_supported():
    call_id = "ürüm-☎ ~?"
    endpoint, app = guarded()
    environ = request(
        {**CALL, "call_id": call_id}, query="__token=" + quote(token(call_id=call_id))
    )
    assert send(app, environ).status == 200
    assert endpoint.environs[0]["swaig_wsgi.call_id"] == call_id


def test_iterable_exc_info_and_write_are_passed_through():
    headers = [("X-A", "1")]
    sent = pass_through(lambda app: ToolTokenMiddleware(app, SESSIONS), request(), headers)
    assert sent == [headers] * 2


def test_exceptions_of_the_application_propagate():
    def app(environ, start_response):
        raise ValueError("of the application")

    with pytest.raises(ValueError, match="of the application"):
        send(ToolTokenMiddleware(app, SESSIONS), request())


@pytest.mark.parametrize("sessions", [None, SECRET, object(), SessionManager])
def test_invalid_sessions_are_rejected(sessions):
    with pytest.raises(ValueError, match="SessionManager"):
        ToolTokenMiddleware(Recorder(), sessions)


@pytest.mark.parametrize(
    "options",
    [{"protect": "/swaig"}, {"protect": ["swaig"]}, {"max_bytes": -1}, {"max_bytes": "1"}],
)
def test_invalid_options_are_rejected(options):
    with pytest.raises(ValueError, match=r"protect|path pattern|max_bytes"):
        ToolTokenMiddleware(Recorder(), SESSIONS, **options)
