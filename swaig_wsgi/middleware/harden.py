"""All layers around an application."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Callable

from ..config import ConfigurationError, Settings
from ..core._validation import check_items
from ..core.headers import PRELOAD_MIN_AGE, SECURITY_HEADERS, SITE_HEADERS, Headers
from ..processes import default_store
from ..stores import Store
from ..wsgi._types import WSGIApplication
from ._agent_name import AgentNameMiddleware, NamedAgent, ServesAgents
from ._application import check_application
from ._hardened import hardened as _hardened
from ._hardened import settings_of_layers
from ._options import hint_for, layer_options
from ._response_fields import AddingLayer, merge_fields
from ._variables import warn_of_unknown_variables
from .allowed_clients import AllowedClientsMiddleware
from .auth import Authenticator, AuthMiddleware
from .auth_failure_limit import AuthFailureLimitMiddleware
from .body_size import BodySizeMiddleware
from .cors import CORSMiddleware
from .headers import HSTSMiddleware, SecurityHeadersMiddleware
from .hosts import AllowedHostsMiddleware
from .https import HTTPSMiddleware
from .metrics import metrics_module
from .proxies import TrustedProxyMiddleware
from .rate_limit import RateLimitMiddleware
from .refusals import RefusalMiddleware
from .request_id import RequestIDMiddleware

__all__ = ["harden"]

#: A page may show its user the id to report.
_EXPOSED = ("X-Request-Id",)
#: A page over the limit must be able to read how long to wait.
_RATE_HEADERS = ("RateLimit", "RateLimit-Policy", "Retry-After")
_EVERYWHERE = ("/*",)
#: The default of `rate_limit`, because None turns off the limit of the settings.
_OF_SETTINGS: Any = ...


def harden(
    app: WSGIApplication,
    settings: Settings | None = None,
    *,
    auth: Authenticator | None = None,
    headers: Mapping[str, str | None] | None = None,
    cors: Mapping[str, Any] | None = None,
    rate_limit: Mapping[str, Any] | int | None = _OF_SETTINGS,
    refusal_app: WSGIApplication | None = None,
    **overrides: Any,
) -> WSGIApplication:
    """Return `app` wrapped in the layers that `settings` configure.

    A request id and the security headers are always added: the four of the SDK's guide to an
    agent or an ``AgentServer``, :data:`~swaig_wsgi.core.headers.SITE_HEADERS` to any other
    application. Trusted proxies, allowed hosts, CORS, and limits on rates, failed authentications
    and sizes are added only if they are set, HSTS only with TLS or a TLS domain, authentication
    only with `auth`. No path is exempt. CSRF protection without origins leaves CORS to the
    application. With metrics, refusals are counted for Prometheus.

    Args:
        app: any WSGI application. Of those that a dispatcher chooses by path, each may be hardened
            with settings of its own; the layers outside then apply, too.
        settings: by default :meth:`Settings.from_env`, read now.
        auth: the authenticator, such as an ``AuthHandler``.
        headers: as for :class:`SecurityHeadersMiddleware`: a value replaces or adds, None drops.
            Refusals keep what it drops, because the application never sees them.
        cors: keyword arguments of ``CORSMiddleware``. `origins` and `csrf_protection` default to
            those of `settings`; `expose_headers` adds to the fields that these layers expose.
        rate_limit: keyword arguments of ``RateLimitMiddleware``, where `limit` defaults to that of
            `settings`; or requests per minute and client. With a `limit` for some paths or methods
            only (`protect`, `methods`), that of `settings` also holds, for all requests. None, or
            otherwise a limit of 0, turns the layer off. By default, as in `settings`.
        refusal_app: an application that renders refusals, as for ``RefusalMiddleware``; by default,
            they are JSON.
        overrides: fields of :class:`Settings` that replace those of `settings`.

    Raises:
        TypeError: `app` is not callable, is a class or asynchronous, or is hardened already, also
            inside of layers that keep it as ``app``, ``application`` or ``wsgi_app``; `headers` is
            not a mapping of strings, or an option of a layer is unknown.
        ValueError: a header or an option of a layer is invalid; the message names it.
        ConfigurationError: a setting is invalid, or an override is not a field of
            :class:`Settings`; the message names it.
    """
    check_application(app)
    settings = Settings.from_env() if settings is None else settings
    limiter: dict[str, Any] = {}
    if isinstance(rate_limit, Mapping):
        limiter = layer_options("rate_limit", rate_limit, RateLimitMiddleware)
        if settings.rate_limit is not None and _is_narrow(limiter):
            own = replace(settings, rate_limit=limiter["limit"]).rate_limit
            limiter = {} if own is None else {**limiter, "limit": own}
            rate_limit = _OF_SETTINGS
        else:
            rate_limit = limiter.pop("limit", settings.rate_limit)
        if rate_limit is None:
            raise ConfigurationError("SWML_RATE_LIMIT: not set, and rate_limit contains no 'limit'")
    if rate_limit is not _OF_SETTINGS:
        overrides["rate_limit"] = rate_limit
    known = [each.name for each in fields(Settings)]
    for name in overrides.keys() - known:
        # The layers themselves have shorter names: keep= is proxy_keep= here.
        longer = [each for each in known if each.endswith(f"_{name}")]
        hint = f"did you mean {longer[0]!r}?" if longer else hint_for(name, known)
        raise ConfigurationError(f"{name}: no such setting: {hint}")
    if overrides:
        settings = replace(settings, **overrides)
    defaults = SECURITY_HEADERS if isinstance(app, ServesAgents) else SITE_HEADERS
    hardened = stack(
        app,
        settings,
        auth=auth,
        headers=headers,
        default_headers=defaults,
        cors=cors,
        rate_limit=limiter,
        refusal_app=refusal_app,
    )
    if isinstance(app, NamedAgent):
        # An AgentApp names itself in records, but its own layers are inside of these.
        hardened = AgentNameMiddleware(hardened, app)
    _hardened.add(hardened)
    return hardened


def stack(
    app: WSGIApplication,
    settings: Settings,
    *,
    auth: Authenticator | None = None,
    headers: Mapping[str, str | None] | None = None,
    default_headers: Headers = SECURITY_HEADERS,
    cors: Mapping[str, Any] | None = None,
    rate_limit: Mapping[str, Any] | None = None,
    refusal_app: WSGIApplication | None = None,
    store: Store | None = None,
    failure_store: Store | None = None,
    public: Callable[[WSGIApplication], WSGIApplication] | None = None,
    allow_per_process: bool | None = None,
) -> WSGIApplication:
    """Return `app` wrapped in the layers, the innermost built first.

    The request id and the headers stand outside every layer that may refuse, so that every
    response carries them; CORS outside rate limit, authentication and size limit, so that browsers
    can read those refusals; the rate limit outside authentication, so that guessing is limited.
    Nothing reads a body before authentication, so that an unknown client cannot stall a worker.

    Args:
        headers, default_headers: as for :class:`SecurityHeadersMiddleware`.
        cors: as for :func:`harden`.
        rate_limit: further arguments of the limit in `settings`; or, with a `limit`, those of
            another inside of it.
        refusal_app: as for :func:`harden`.
        store: where requests are counted; by default the store of ``SWML_STORAGE_URL``.
        failure_store: where failed authentications are counted; by default `store`.
        public: wraps the layers inside the headers with endpoints that need no credentials.
        allow_per_process: as for :class:`RateLimitMiddleware`; by default as in the settings.
    """
    warn_of_unknown_variables()
    if settings.metrics:
        metrics_module().start_counting()
    if settings.max_request_size is not None:
        app = BodySizeMiddleware(app, settings.max_request_size)
    if auth is not None:
        app = AuthMiddleware(app, auth)
    if allow_per_process is None:
        allow_per_process = settings.allow_per_process_state
    if store is None and settings.counts_requests:
        store = default_store(settings.storage_url)
    if settings.auth_failure_limit is not None:
        # Also without `auth`: the application may authenticate with layers of its own.
        app = AuthFailureLimitMiddleware(
            app,
            settings.auth_failure_limit,
            store=store if failure_store is None else failure_store,
            exempt_clients=settings.allowed_clients or (),
            allow_per_process=allow_per_process,
        )
    adding: list[AddingLayer] = []
    counting = {"store": store, "allow_per_process": allow_per_process}
    given = {**counting, **(rate_limit or {})}
    if "limit" in given:
        app = limit = RateLimitMiddleware(app, **given)
        adding.append(limit)
        given = counting
    if settings.rate_limit is not None:
        app = limit = RateLimitMiddleware(app, settings.rate_limit, **given)
        adding.append(limit)
    given = layer_options("cors", cors, CORSMiddleware)
    if given or settings.cors_origins is not None or settings.csrf_protection:
        app = layer = CORSMiddleware(app, **_cors_options(given, settings))
        adding.append(layer)
        settings = _with_cors(settings, layer) if given else settings
    if settings.allowed_clients is not None:
        app = AllowedClientsMiddleware(app, settings.allowed_clients)
    if settings.allowed_hosts is not None:
        app = AllowedHostsMiddleware(app, settings.allowed_hosts)
    if settings.requires_https:
        app = HTTPSMiddleware(app)
    if public is not None:
        app = public(app)
    app = identified = RequestIDMiddleware(app)
    adding.append(identified)
    if refusal_app is not None:
        api_key = getattr(auth, "api_key_header", None)
        secret = () if api_key is None else (api_key,)
        app = RefusalMiddleware(app, refusal_app, secret_headers=secret)
    if settings.sends_hsts:
        age = PRELOAD_MIN_AGE if settings.hsts_max_age is None else settings.hsts_max_age
        app = hsts = HSTSMiddleware(app, age, host=settings.ssl_domain)
        adding.append(hsts)
    app = secured = SecurityHeadersMiddleware(
        app, headers, defaults=default_headers, keep_on_refusals=True
    )
    app = merge_fields(app, [*adding, secured])
    if settings.trusted is not None:
        app = TrustedProxyMiddleware(
            app, settings.trusted, family=settings.proxy_headers, keep=settings.proxy_keep
        )
    settings_of_layers[app] = settings  # for `swaig-wsgi check`
    return app


def _is_narrow(rate_limit: Mapping[str, Any]) -> bool:
    """Return whether a limit of its own is one for some paths or methods only."""
    protect = rate_limit.get("protect", _EVERYWHERE)
    some = protect not in (_EVERYWHERE, list(_EVERYWHERE)) or rate_limit.get("methods") is not None
    return "limit" in rate_limit and some


def _cors_options(given: dict[str, Any], settings: Settings) -> dict[str, Any]:
    defaults = {"origins": settings.cors_origins, "csrf_protection": settings.csrf_protection}
    options = {**defaults, **given}
    if options["origins"] is None and not given.keys() <= defaults.keys():
        raise ConfigurationError("SWML_CORS_ORIGINS: not set, and cors contains no 'origins'")
    exposed = check_items("expose_headers", options.get("expose_headers", ()), "('X-Total',)")
    added = _EXPOSED + (_RATE_HEADERS if settings.counts_requests else ())
    return {**options, "expose_headers": (*added, *exposed)}


def _with_cors(settings: Settings, layer: CORSMiddleware) -> Settings:
    """Return `settings` with what `layer` does, for ``swaig-wsgi check``.

    Raises:
        ConfigurationError: CSRF protection would protect nothing.
    """
    policy, everywhere = layer.policy, "" in layer.outside.exempt_below
    patterns = (f"{start}*{end}" for start, end in policy.patterns)
    origins = ("*",) if policy.any_origin else (*sorted(policy.origins), *patterns)
    protected = layer.csrf_protection and (everywhere or not policy.any_origin)
    return replace(settings, cors_origins=origins or None, csrf_protection=protected)
