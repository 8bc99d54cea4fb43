"""Requests to an application whose rate is limited."""

from __future__ import annotations

from support.wsgi import CLIENT, request


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"] if environ["REQUEST_METHOD"] != "HEAD" else []


def fetch(app, address=CLIENT, **options):
    """Return the response to a request from `address` below a mount point."""
    return request(app, **{"SCRIPT_NAME": "/mounted", "REMOTE_ADDR": address, **options})


def statuses(app, times, **options):
    return [fetch(app, **options).status for _ in range(times)]
