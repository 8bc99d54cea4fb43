"""The whole stack round an application."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Callable

from ..config import ConfigurationError, Settings
from ..processes import default_store
from ._plain_http import PlainHTTPAlarm
from .auth import AuthMiddleware
from .body_size import BodySizeMiddleware
from .cors import CORSMiddleware
from .headers import HSTSMiddleware, SecurityHeadersMiddleware
from .hosts import AllowedHostsMiddleware
from .proxies import TrustedProxyMiddleware
from .rate_limit import RateLimitMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from ..stores._base import Store
    from .auth import Authenticator


_RATE_HEADERS = ("RateLimit", "RateLimit-Policy", "Retry-After")


def harden(
    app: WSGIApplication,
    settings: Settings | None = None,
    *,
    auth: Authenticator | None = None,
    **overrides: Any,
) -> WSGIApplication:
    """Return `app` behind the layers that `settings` ask for.

    The seed's four security headers are always added. Trusted proxies, allowed hosts, CORS, rate
    and size limits are added only where they are set, HSTS only with TLS or its domain,
    authentication only with `auth`. No path is exempt from anything. CSRF protection without
    origins leaves the site's own CORS alone.

    Args:
        app: any WSGI application.
        settings: by default :meth:`Settings.from_env`, read now.
        auth: who may come in, such as an ``AuthHandler``.
        overrides: fields of :class:`Settings` that replace those of `settings`.

    Raises:
        ConfigurationError: a setting is wrong, or an override is no field of
            :class:`Settings`; the message names it.
    """
    settings = Settings.from_env() if settings is None else settings
    unknown = set(overrides) - {each.name for each in fields(Settings)}
    if unknown:
        raise ConfigurationError(f"{min(unknown)}: no such setting; expected a field of Settings")
    if overrides:
        settings = replace(settings, **overrides)
    return stack(app, settings, auth=auth)


def stack(
    app: WSGIApplication,
    settings: Settings,
    *,
    auth: Authenticator | None = None,
    headers: Mapping[str, str | None] | None = None,
    store: Store | None = None,
    open_to_all: Callable[[WSGIApplication], WSGIApplication] | None = None,
) -> WSGIApplication:
    """Return `app` behind the layers, innermost built first.

    Headers stand outside whatever may refuse, so that every answer carries them; CORS outside
    of rates, credentials and sizes, so that a browser can read those refusals; rates outside of
    credentials, so that guessing them is limited; and nothing that reads a body outside of
    credentials, so that a stranger cannot hold a worker with a body that never ends.

    Args:
        headers: as for :class:`SecurityHeadersMiddleware`.
        store: where rates are counted; by default what ``SWML_STORAGE_URL`` chooses.
        open_to_all: wraps what stands behind the headers with what anyone may ask.
    """
    if settings.max_request_size is not None:
        app = BodySizeMiddleware(app, settings.max_request_size)
    if auth is not None:
        app = AuthMiddleware(app, auth)
    if settings.rate_limit is not None:
        app = RateLimitMiddleware(
            app,
            settings.rate_limit,
            store=default_store(settings.storage_url) if store is None else store,
            allow_per_process=settings.allow_per_process_state,
        )
    if settings.cors_origins is not None or settings.csrf_protection:
        app = CORSMiddleware(
            app,
            settings.cors_origins,
            csrf_protection=settings.csrf_protection,
            # A page that is told to come back later has to be able to read when.
            expose_headers=() if settings.rate_limit is None else _RATE_HEADERS,
        )
    if settings.allowed_hosts is not None:
        app = AllowedHostsMiddleware(app, settings.allowed_hosts)
    if open_to_all is not None:
        app = open_to_all(app)
    if settings.ssl_enabled or settings.ssl_domain is not None:
        app = HSTSMiddleware(app, host=settings.ssl_domain)
    if settings.ssl_enabled and settings.trusted is None:
        app = PlainHTTPAlarm(app)
    app = SecurityHeadersMiddleware(app, headers)
    if settings.trusted is not None:
        app = TrustedProxyMiddleware(app, settings.trusted, family=settings.proxy_headers)
    return app
