"""The host allowlist."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.hosts import host_patterns
from ..core.paths import path_scope
from ..wsgi import HOST_ALLOWED, refuse
from ._marks import is_marked, leave_mark

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_MARKS = "swaig_wsgi.ran.hosts"
_MALFORMED = (400, "Bad request: malformed Host header")
_REFUSALS = {
    "missing_host": _MALFORMED,
    "malformed_host": _MALFORMED,
    "host_not_allowed": (403, "Forbidden: host not allowed"),
}


class AllowedHostsMiddleware:
    """Let in only requests that are addressed to hosts of an allowlist.

    Whoever may choose the ``Host`` chooses the URLs that an application builds from it, and by
    DNS rebinding a web page makes a browser send its requests here under the page's own name.

    A missing or malformed ``Host`` is answered 400, in HTTP/1.0 as well, another host 403.
    Behind a proxy that tells the host in another field, put ``TrustedProxyMiddleware`` outside.

    ``environ["swaig_wsgi.host_allowed"]`` is then the ``Host`` that was found in a list that is
    not ``"*"``; :func:`allowed_host` reads it.

    Args:
        app: the application to guard.
        allowed_hosts: ``"a.example"``, ``"*.example"`` (subdomains), ``".example"`` (it and its
            subdomains), addresses, ``"*"``; see :func:`core.hosts.host_patterns`.
        exempt: paths, compared exactly with ``PATH_INFO``, that are answered under any host.

    Raises:
        ValueError: a pattern or a path is malformed, or there is no pattern.
    """

    def __init__(
        self,
        app: WSGIApplication,
        allowed_hosts: Iterable[str],
        *,
        exempt: Iterable[str] = (),
    ) -> None:
        self.app = app
        self._patterns = host_patterns(allowed_hosts)
        self._scope = path_scope(("/*",), exempt)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST")
        target = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
        # Whoever stands in between may have put another host there.
        mark = (self._patterns, host, target)
        if is_marked(environ, _MARKS, mark):
            return self.app(environ, start_response)
        environ.pop(HOST_ALLOWED, None)
        if self._scope.covers(environ.get("PATH_INFO", "")):
            reason = self._patterns.refusal(host, target)
            if reason is not None:
                status, error = _REFUSALS[reason]
                return refuse(
                    environ, start_response, status, error, event="host_refused", reason=reason
                )
            if not self._patterns.every:
                # Inner layers may build on a host that somebody wrote down, not on any host.
                environ[HOST_ALLOWED] = host
            leave_mark(environ, _MARKS, mark)
        return self.app(environ, start_response)
