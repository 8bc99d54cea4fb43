"""Requests to an application behind authentication."""

from __future__ import annotations

import base64
from wsgiref.validate import validator

from support.bodies import Unreadable
from support.wsgi import Recorder, environ, send

from swaig_wsgi.middleware.auth import AuthHandler, AuthMiddleware


def basic(text, charset="utf-8"):
    """Return the value of an ``Authorization`` header with `text`, well-formed or not."""
    return "Basic " + base64.b64encode(text.encode(charset)).decode()


def everything(**options):
    """Return a handler that accepts each of its methods."""
    return AuthHandler(
        bearer_token="token", api_key="key", basic_auth=("admin", "hunter2"), **options
    )


HANDLER = everything()
BEARER = {"HTTP_AUTHORIZATION": "Bearer token"}
BASIC = {"HTTP_AUTHORIZATION": basic("admin:hunter2")}


def make_environ(path="/", method="GET", **extra):
    return environ(method, path, **{"wsgi_input": Unreadable(), **extra})


def call(handler=HANDLER, path="/", method="GET", *, environ=None, realm="r", **options):
    """Return the response, and the environ that the application saw, or None."""
    inner = Recorder(b"inner")
    app = AuthMiddleware(validator(inner), handler, realm=realm, **options)
    response = send(app, make_environ(path, method, **(environ or {})))
    return response, inner.environs[0] if inner.environs else None


def is_open(*args, **options):
    response, seen = call(*args, **options)
    assert (response.status, seen is not None) in [(200, True), (401, False)]
    return seen is not None
