"""The host of a request, where an allowlist has found it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Set in ``environ`` by ``AllowedHostsMiddleware``.
HOST_ALLOWED = "swaig_wsgi.host_allowed"


def allowed_host(environ: WSGIEnvironment) -> str | None:
    """Return the ``Host`` of the request if an allowlist outside has found it, else None.

    A proxy layer in between may have put another host there, which nobody has judged.
    """
    host: str | None = environ.get("HTTP_HOST")
    return host if host is not None and environ.get(HOST_ALLOWED) == host else None
