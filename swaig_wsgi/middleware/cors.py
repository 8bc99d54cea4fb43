"""CORS round any WSGI application."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..core.cors import (
    PREFLIGHT_VARY,
    cors_policy,
    preflight,
    refuses_origin,
    replace_cors_headers,
    response_headers,
)
from ..wsgi import allowed_host, refuse, respond
from ._marks import is_marked, leave_mark, lift_mark

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_MARKS = "swaig_wsgi.ran.cors"
_PREFLIGHT_VARY = ("Vary", ", ".join(PREFLIGHT_VARY))
_REFUSALS = {
    "origin_not_allowed": "Forbidden: origin not allowed",
    "method_not_allowed": "Forbidden: method not allowed for this origin",
    "header_not_allowed": "Forbidden: header not allowed for this origin",
}


class CORSMiddleware:
    """Lets pages of other origins read answers, and answers their preflights.

    Stands outside authentication: preflights carry no credentials, and a page shall be able to
    read why it was refused. The inner application's own ``Access-Control-*`` headers are replaced.

    A preflight (``OPTIONS`` with ``Origin`` and ``Access-Control-Request-Method``) is answered
    here: 204, or 403 without any ``Access-Control-*`` header and with a record in the security
    log. Everything else reaches the application, whatever its origin, unless `csrf_protection`.

    Args:
        app: the application.
        origins, allow_credentials, allow_methods, allow_headers, expose_headers, max_age: see
            :func:`swaig_wsgi.core.cors.cors_policy`. With None for the origins, preflights and
            headers are the application's own, and `csrf_protection` is all that is done.
        csrf_protection: refuse unsafe methods whose ``Origin`` is neither allowed nor the
            service's own, with 403. Own is what ``wsgi.url_scheme`` and ``Host`` say, and only
            where ``AllowedHostsMiddleware`` outside has found the host in its list; without, list
            the service's own origin. Behind a proxy set up ``TrustedProxyMiddleware``. With the
            origin ``*`` there is nothing to refuse.

    Raises:
        ValueError: an argument is malformed; the message names it.
    """

    def __init__(
        self,
        app: WSGIApplication,
        origins: Iterable[str] | None,
        *,
        allow_credentials: bool = True,
        allow_methods: Iterable[str] = ("GET", "POST"),
        allow_headers: Iterable[str] | None = None,
        expose_headers: Iterable[str] = (),
        max_age: int = 600,
        csrf_protection: bool = False,
    ) -> None:
        if not isinstance(csrf_protection, bool):
            raise ValueError(f"csrf_protection: expected True or False, not {csrf_protection!r}")
        if origins is None and not csrf_protection:
            raise ValueError("origins: None leaves nothing to do without csrf_protection=True")
        self.app = app
        self._answers = origins is not None
        self.policy = cors_policy(
            () if origins is None else origins,
            allow_credentials=allow_credentials,
            allow_methods=allow_methods,
            allow_headers=allow_headers,
            expose_headers=expose_headers,
            max_age=max_age,
        )
        self.csrf_protection = csrf_protection

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        policy = self.policy
        origin = environ.get("HTTP_ORIGIN")
        method = environ["REQUEST_METHOD"]
        scheme = environ["wsgi.url_scheme"]
        # Only a host that somebody wrote into an allowlist makes an origin the service's own.
        host = allowed_host(environ)
        mark = (policy, self._answers, self.csrf_protection, origin, method, scheme, host)
        if is_marked(environ, _MARKS, mark):
            return self.app(environ, start_response)
        if (
            self._answers
            and method == "OPTIONS"
            and origin is not None
            and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
        ):
            return self._preflight(environ, start_response)
        if self.csrf_protection and refuses_origin(policy, method, origin, scheme, host):
            return refuse(
                environ,
                start_response,
                403,
                _REFUSALS["origin_not_allowed"],
                event="origin_refused",
                reason="origin_not_allowed",
                headers=[("Vary", "Origin")],
            )
        ours = response_headers(policy, origin)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            return start_response(
                status, replace_cors_headers(headers, ours, policy.vary), exc_info
            )

        leave_mark(environ, _MARKS, mark)
        try:
            return self.app(environ, start if self._answers else start_response)
        finally:
            lift_mark(environ, _MARKS)

    def _preflight(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        decision = preflight(
            self.policy,
            environ["HTTP_ORIGIN"],
            environ["HTTP_ACCESS_CONTROL_REQUEST_METHOD"],
            environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS"),
        )
        if decision.refused:
            return refuse(
                environ,
                start_response,
                403,
                _REFUSALS[decision.refused],
                event="preflight_refused",
                reason=decision.refused,
                headers=[_PREFLIGHT_VARY],
            )
        return respond(environ, start_response, 204, b"", [_PREFLIGHT_VARY, *decision.headers])
