"""Calls of a tool endpoint behind the middleware that checks their tokens."""

from __future__ import annotations

import json
import logging
from wsgiref.validate import validator

from support.wsgi import Recorder, environ, send

from swaig_wsgi.middleware.tokens import ToolTokenMiddleware
from swaig_wsgi.sessions import SessionManager

SECRET = "a shared secret of the operators"
SESSIONS = SessionManager(secret_key=SECRET)
CALL = {"function": "transfer_funds", "call_id": "root.2", "argument": {"raw": "ü"}}
FORBIDDEN = {"error": "Forbidden: invalid tool token"}


def token(function_name="transfer_funds", call_id="root.2", sessions=SESSIONS) -> str:
    return sessions.generate_token(function_name, call_id)


def request(body=CALL, *, query=None, path="/swaig", method="POST", **changes):
    """Return the environ of a tool call, with the right token if `query` is None."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    query = f"__token={token()}" if query is None else query
    values = {"CONTENT_TYPE": "application/json", **changes}
    return environ(method, path, query=query, body=raw, **values)


def guarded(**options):
    """Return an endpoint, and the middleware around it."""
    endpoint = Recorder()
    return endpoint, ToolTokenMiddleware(validator(endpoint), SESSIONS, **options)


def check_refused(request, caplog, status, error, reason, **options):
    endpoint, app = guarded(**options)
    with caplog.at_level(logging.WARNING, "swaig_wsgi.security"):
        caplog.clear()
        response = send(app, request)
    assert endpoint.environs == []
    assert (response.status, response.json) == (status, error)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-length"] == str(len(response.body))
    (record,) = caplog.records
    event = {413: "body_refused", 403: "tool_token_refused"}.get(status, "request_refused")
    assert (record.event, record.reason, record.client) == (event, reason, "192.0.2.7")
    text = request.get("QUERY_STRING", "").partition("__token=")[2]
    assert not text or text not in record.getMessage()
