"""The arguments `protect`, `exempt` and `methods` of every middleware, applied to a request."""

from __future__ import annotations

from ..core.paths import RequestScope
from ..wsgi._types import WSGIEnvironment


def in_scope(scope: RequestScope, environ: WSGIEnvironment) -> bool:
    """Return whether `scope` covers the method and the path of a request.

    In most deployments every request is protected, so those layers that each request passes ask
    ``scope.everything`` first, and need no call.
    """
    return scope.everything or scope.covers(
        environ.get("REQUEST_METHOD", ""), environ.get("PATH_INFO", "")
    )
