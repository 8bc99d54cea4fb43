"""Earlier credentials, which are accepted during a rotation: each use is recorded."""

from __future__ import annotations

import pytest
from support.authentication import basic
from support.tool_calls import SECRET, token
from support.tool_calls import request as tool_call
from support.wsgi import Recorder, environ, send

from swaig_wsgi.core.signatures import sign_body
from swaig_wsgi.middleware import (
    AuthHandler,
    AuthMiddleware,
    ToolTokenMiddleware,
    WebhookSignatureMiddleware,
)
from swaig_wsgi.sessions import SessionManager

EARLIER = "what was the secret before that."
HANDLER = AuthHandler(
    bearer_token=["token", "0ld-token"],
    api_key=["key", "0ld-key"],
    basic_auth=[("ann", "hunter2"), ("ann", "hunter1"), ("bob", "b")],
)


def authentication(**fields):
    return AuthMiddleware(Recorder(), HANDLER), environ(headers=fields)


def tool_token(secret, *fallbacks):
    sessions = SessionManager(secret_key=SECRET, fallback_keys=fallbacks)
    text = token(sessions=SessionManager(secret_key=secret))
    return ToolTokenMiddleware(Recorder(), sessions), tool_call(query=f"__token={text}")


def signature(key, *keys):
    signed = sign_body(key, "http://127.0.0.1/", b"{}")
    request = environ("POST", body=b"{}", headers={"X-SignalWire-SHA256-Signature": signed})
    return WebhookSignatureMiddleware(Recorder(), keys, base_url="http://127.0.0.1"), request


@pytest.mark.parametrize(
    ("make", "credentials", "kind"),
    [
        (authentication, {"authorization": "Bearer token"}, None),
        (authentication, {"authorization": "Bearer 0ld-token"}, "bearer"),
        (authentication, {"x_api_key": "key"}, None),
        (authentication, {"x_api_key": "0ld-key"}, "api_key"),
        (authentication, {"authorization": basic("ann:hunter2")}, None),
        (authentication, {"authorization": basic("ann:hunter1")}, "password"),
        (authentication, {"authorization": basic("bob:b")}, None),
        (tool_token, [SECRET], None),
        (tool_token, [SECRET, EARLIER], None),
        (tool_token, [EARLIER, EARLIER], "tool_secret"),
        (tool_token, [EARLIER, "one of another time", EARLIER], "tool_secret"),
        (signature, ["new", "new"], None),
        (signature, ["new", "new", "0ld"], None),
        (signature, ["0ld", "new", "0ld"], "signing_key"),
        (signature, ["0ld", "new", "newer", "0ld"], "signing_key"),
    ],
)
def test_the_use_of_an_earlier_credential_is_recorded(make, credentials, kind, caplog):
    app, request = make(**credentials) if isinstance(credentials, dict) else make(*credentials)
    assert send(app, request).status == 200
    if kind is None:
        assert not caplog.records
        return
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("swaig_wsgi.security", "WARNING")
    assert (record.event, record.reason) == ("fallback_credential", kind)
    assert record.client == "192.0.2.7"
    assert getattr(record, "user", None) == ("ann" if kind == "password" else None)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"Authorization": "Bearer 0ld-token"}, "bearer"),
        ({"X-Api-Key": "0ld-key"}, "api_key"),
        ({"Authorization": basic("ann:hunter1")}, "password"),
        ({"Authorization": "Bearer token"}, None),
        ({"Authorization": "Bearer wrong"}, None),
    ],
)
@pytest.mark.parametrize("name", ["authenticate", "validate"])
def test_a_handler_without_its_middleware_records_it_too(name, headers, kind, caplog):
    getattr(HANDLER, name)(headers)
    events = [(record.event, record.reason) for record in caplog.records]
    assert events == ([("fallback_credential", kind)] if kind else [])
