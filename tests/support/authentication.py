"""Requests to an application behind authentication."""

from __future__ import annotations

import base64
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from support.bodies import Unreadable

from swaig_wsgi.middleware.auth import AuthHandler, AuthMiddleware


def basic(text, charset="utf-8"):
    return "Basic " + base64.b64encode(text.encode(charset)).decode()


def everything(**options):
    return AuthHandler(
        bearer_token="token", api_key="key", basic_auth=("admin", "hunter2"), **options
    )


HANDLER = everything()
BEARER = {"HTTP_AUTHORIZATION": "Bearer token"}
BASIC = {"HTTP_AUTHORIZATION": basic("admin:hunter2")}


class Inner:
    """An application that remembers what it saw."""

    def __init__(self):
        self.seen = []

    def __call__(self, environ, start_response):
        self.seen.append(dict(environ))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"inner"]


def make_environ(path="/", method="GET", **extra):
    environ = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "REMOTE_ADDR": "192.0.2.7",
        "wsgi.input": Unreadable(),
    }
    setup_testing_defaults(environ)
    return {**environ, **extra}


def call(handler=HANDLER, path="/", method="GET", *, environ=None, realm="r", **options):
    """Return status, headers, body, and the environ that the application saw, or None."""
    inner, started = Inner(), []

    def start_response(status, headers, exc_info=None):
        started.append((status, headers))
        return lambda data: None

    app = validator(AuthMiddleware(validator(inner), handler, realm=realm, **options))
    response = app(make_environ(path, method, **(environ or {})), start_response)
    body = b"".join(response)
    response.close()
    ((status, headers),) = started
    return int(status[:3]), headers, body, inner.seen[0] if inner.seen else None


def is_open(*args, **options):
    status, _, _, seen = call(*args, **options)
    assert (status, seen is not None) in [(200, True), (401, False)]
    return seen is not None
