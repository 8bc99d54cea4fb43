"""CORS, and protection from cross-site request forgery, as :mod:`..core.cors` decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..core._validation import check_bool
from ..core.cors import (
    PREFLIGHT_VARY,
    cors_policy,
    preflight,
    refuses_origin,
    replace_cors_headers,
    response_headers,
)
from ..core.paths import outside_scope
from ..core.refusals import origin_not_allowed, preflight_refused
from ..wsgi import allowed_host, refuse, respond
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._inner_app import InnerApp
from ._response_fields import ADDITIONS, FieldNames, Fields

__all__ = ["CORSMiddleware"]

#: Of the fields that the layer looks at or adds, those whose names do not begin with a prefix.
_VARY = frozenset({"vary"})
_ADDED = _VARY | {
    "access-control-allow-credentials",
    "access-control-allow-origin",
    "access-control-expose-headers",
}
_PREFLIGHT_VARY = ("Vary", ", ".join(PREFLIGHT_VARY))


class CORSMiddleware:
    """Let pages of other origins read responses, and respond to their preflights.

    Place it outside authentication: preflights carry no credentials, and pages must be able to
    read refusals. It replaces the ``Access-Control-*`` headers of the application. Outside of
    `paths`, responses are unchanged, and preflights reach the application.

    The response to a preflight (``OPTIONS`` with ``Origin`` and
    ``Access-Control-Request-Method``) is 204, or 403 without any ``Access-Control-*`` header and
    with a record in the security log. Every other request reaches the application, whatever its
    origin, unless `csrf_protection` refuses it.

    Args:
        app: the wrapped application.
        paths: where pages may read responses, matched exactly unless they end in ``/*``, as
            `exempt` in :func:`swaig_wsgi.core.paths.path_scope`.
        origins, allow_credentials, allow_methods, allow_headers, expose_headers, max_age: see
            :func:`swaig_wsgi.core.cors.cors_policy`. With None for the origins, preflights and
            headers are left to the application, and only `csrf_protection` applies.
        csrf_protection: refuse unsafe methods with 403 if their ``Origin`` is neither the service's
            own nor, within `paths`, listed in `origins`, or if ``Sec-Fetch-Site`` says that another
            site sent them. The service's own origin is ``wsgi.url_scheme`` and ``Host``, but only
            after an ``AllowedHostsMiddleware`` outside found the host in its list; without one, add
            the service's origin to `origins`, which admits it within `paths`. Behind a proxy, set
            up ``TrustedProxyMiddleware``. With the origin ``*`` nothing is refused within `paths`.
            An origin that only a pattern allows is refused.

    Raises:
        TypeError, ValueError: an argument is malformed; the message names it.
    """

    app = InnerApp()
    _next: WSGIApplication

    #: See :func:`.merge_fields`.
    merged = False

    def __init__(
        self,
        app: WSGIApplication,
        origins: Iterable[str] | None,
        *,
        paths: Iterable[str] = ("/*",),
        allow_credentials: bool = True,
        allow_methods: Iterable[str] = ("GET", "POST"),
        allow_headers: Iterable[str] | None = None,
        expose_headers: Iterable[str] = (),
        max_age: int = 600,
        csrf_protection: bool = False,
    ) -> None:
        self.app = app
        self.csrf_protection = check_bool("csrf_protection", csrf_protection)
        if origins is None and not csrf_protection:
            raise ValueError("origins must not be None unless csrf_protection is True")
        self._sets_headers = origins is not None
        self.outside = outside_scope(paths)
        self._limits_paths = "" not in self.outside.exempt_below
        self.policy = cors_policy(
            () if origins is None else origins,
            allow_credentials=allow_credentials,
            allow_methods=allow_methods,
            allow_headers=allow_headers,
            expose_headers=expose_headers,
            max_age=max_age,
        )
        # Outside of `paths` the list of origins grants nothing: only the service's own passes.
        vary = self.policy.vary
        self._vary: Fields = (("Vary", ", ".join(vary)),) if vary else ()
        #: The fields of every response, if they are the same for all origins.
        self._fields_for_all = self._fields_for(None) if self.policy.any_origin else None
        self._addition = (self._replace, self._fields_for_all or ())
        same = self._fields_for_all is not None and not (self._limits_paths or csrf_protection)
        #: Whether nothing depends on the request, unless it is a preflight.
        self._treats_all_alike = same
        self._policy_outside = replace(self.policy, any_origin=False, origins=frozenset())

    def field_names(self) -> FieldNames:
        """Return the names for :func:`.merge_fields`, of which those of CORS have a prefix."""
        return FieldNames(_VARY, _ADDED)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._treats_all_alike and self.merged and environ["REQUEST_METHOD"] != "OPTIONS":
            getattr(start_response, ADDITIONS).append(self._addition)
            return self._next(environ, start_response)
        outside = self._limits_paths and self.outside.covers(environ.get("PATH_INFO", ""))
        policy = self._policy_outside if outside else self.policy
        origin = environ.get("HTTP_ORIGIN")
        method = environ["REQUEST_METHOD"]
        start = start_response
        if self._sets_headers and not outside:
            asks = origin is not None and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
            if method == "OPTIONS" and asks:
                return self._preflight(environ, start_response)
            added = self._fields_for_all
            if added is None:
                added = self._fields_for(origin)
            if self.merged:
                getattr(start_response, ADDITIONS).append((self._replace, added))
            else:
                start = self._replacing_headers(environ, start_response, added)
        if self.csrf_protection:
            # Only a host from an allowlist makes an origin the service's own.
            scheme, host = environ["wsgi.url_scheme"], allowed_host(environ)
            fetch_site = environ.get("HTTP_SEC_FETCH_SITE")
            if refuses_origin(policy, method, origin, scheme, host, fetch_site):
                return refuse(environ, start, origin_not_allowed())
        return self._next(environ, start)

    def _fields_for(self, origin: str | None) -> Fields:
        return (*self._vary, *response_headers(self.policy, origin))

    def _replace(
        self, environ: WSGIEnvironment, headers: Fields, added: Fields
    ) -> list[tuple[str, str]]:
        # Without `Vary`, which is merged with that of the application.
        return replace_cors_headers(headers, added[len(self._vary) :], self.policy.vary)

    def _replacing_headers(
        self, environ: WSGIEnvironment, start_response: StartResponse, added: Fields
    ) -> StartResponse:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers = self._replace(environ, headers, added)
            return start_response(status, headers, exc_info)

        return start

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
            what = decision.refused.partition("_")[0]
            refusal = preflight_refused(what, decision.refused, [_PREFLIGHT_VARY])
            return refuse(environ, start_response, refusal)
        return respond(environ, start_response, 204, b"", [_PREFLIGHT_VARY, *decision.headers])
