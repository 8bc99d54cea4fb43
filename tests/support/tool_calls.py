"""Calls of a tool endpoint behind the middleware that checks their tokens."""

from __future__ import annotations

import io
import json
import logging
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from swaig_wsgi.middleware.tokens import ToolTokenMiddleware
from swaig_wsgi.sessions import SessionManager

SECRET = "a shared secret of the operators"
SESSIONS = SessionManager(secret_key=SECRET)
CALL = {"function": "transfer_funds", "call_id": "root.2", "argument": {"raw": "ü"}}
FORBIDDEN = {"error": "Forbidden: invalid tool token"}
ABSENT = object()


def token(function_name="transfer_funds", call_id="root.2", sessions=SESSIONS) -> str:
    return sessions.generate_token(function_name, call_id)


class Endpoint:
    """Somebody's tool endpoint, which keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[dict] = []

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        self.seen.append({**environ, "body": body})
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]


def request(body=CALL, *, query=ABSENT, path="/swaig", method="POST", **changes):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": f"__token={token()}" if query is ABSENT else query,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(raw)),
        "REMOTE_ADDR": "192.0.2.7",
        "wsgi.input": io.BytesIO(raw),
        **changes,
    }
    environ = {name: value for name, value in environ.items() if value is not ABSENT}
    setup_testing_defaults(environ)
    return environ


def send(app, environ):
    """Return the status, headers and body that `app` answers with."""
    answered = []

    def start_response(status, headers, exc_info=None):
        answered.append((status, headers))
        return lambda data: None

    iterable = app(environ, start_response)
    body = b"".join(iterable)
    if hasattr(iterable, "close"):
        iterable.close()
    status, headers = answered[-1]
    return int(status[:3]), {name.lower(): value for name, value in headers}, body


def guarded(**options):
    """Return an endpoint and itself behind the middleware, both sides under the validator."""
    endpoint = Endpoint()
    inner = validator(endpoint)
    return endpoint, validator(ToolTokenMiddleware(inner, SESSIONS, **options))


def check_refused(environ, caplog, status, error, reason, **options):
    endpoint, app = guarded(**options)
    with caplog.at_level(logging.WARNING, "swaig_wsgi.security"):
        caplog.clear()
        got, headers, body = send(app, environ)
    assert endpoint.seen == []
    assert (got, json.loads(body)) == (status, error)
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(body))
    (record,) = caplog.records
    assert (record.event, record.reason, record.client) == (
        "tool_token_refused",
        reason,
        "192.0.2.7",
    )
    text = environ.get("QUERY_STRING", "").partition("__token=")[2]
    assert not text or text not in record.getMessage()
