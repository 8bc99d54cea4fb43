"""The verified host of a request."""

from __future__ import annotations

from ._types import WSGIEnvironment

#: Set in ``environ`` by ``AllowedHostsMiddleware``.
HOST_ALLOWED = "swaig_wsgi.host_allowed"


def allowed_host(environ: WSGIEnvironment) -> str | None:
    """Return the ``Host`` of the request if an allowlist outside contains it, else None."""
    host: str | None = environ.get("HTTP_HOST")
    # A proxy layer in between may have replaced the host with an unverified one.
    return host if host is not None and environ.get(HOST_ALLOWED) == host else None
