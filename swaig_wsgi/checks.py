"""The findings of ``swaig-wsgi check``.

They follow the "Production Checklist" section of the SDK's guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .config import Settings
from .middleware._variables import unknown_variables

__all__ = ["Finding", "check_settings", "check_variables"]


_DEFAULT_SIZE = "1 MiB, an agent's default; SWML_MAX_REQUEST_SIZE sets another"


class Finding(NamedTuple):
    """The finding for one item of the checklist."""

    #: ``ok``; ``warn``, if a variable should be set; ``note``, if no setting decides it.
    status: str
    title: str
    #: The state, or what to do; never a secret.
    text: str


def check_settings(settings: Settings) -> list[Finding]:
    """Return the findings for the eleven items of the checklist, in its order.

    Findings on settings that work only together follow.
    """
    origins, hosts, size = settings.cors_origins, settings.allowed_hosts, settings.max_request_size
    return [
        _judge(
            settings.basic_auth is not None,
            "credentials",
            "user and password are set",
            "generated at each start; set SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD",
        ),
        _tls(settings),
        _judge(
            (origins is not None and origins != ("*",)) or settings.csrf_protection,
            "CORS origins",
            f"{len(origins or ())} allowed",
            "any page may read responses that need no credentials; set SWML_CORS_ORIGINS",
        ),
        _limits(settings),
        _judge(
            hosts is not None and "*" not in hosts,
            "allowed hosts",
            f"{len(hosts or ())} allowed",
            "any Host is accepted, also in webhook URLs; set SWML_ALLOWED_HOSTS",
        ),
        Finding("ok", "request size", _DEFAULT_SIZE if size is None else f"{size} bytes"),
        Finding("note", "secure tools", "give secure=True to tools that move money, calls or data"),
        _public_url(settings),
        _log_level(settings.log_level),
        _signing_secret(settings),
        Finding("note", "health", "point load balancers at /health and /ready; both are public"),
        *_network(settings),
    ]


def check_variables(environ: Mapping[str, str]) -> list[Finding]:
    """Return a warning for each variable in `environ` that looks like a setting, but is not."""
    return [Finding("warn", "variable", text) for text in unknown_variables(environ).values()]


def _network(settings: Settings) -> list[Finding]:
    clients = settings.allowed_clients
    unknown_proxy = settings.proxy_url_base is not None and settings.trusted is None
    found = []
    if clients is not None:
        advice = "all clients have the proxy's address and are refused; set SWML_TRUSTED_PROXIES"
        text = f"{len(clients)} allowed"
        found.append(_judge(not unknown_proxy, "allowed clients", text, advice))
    if settings.counts_requests and unknown_proxy:
        text = (
            "all clients have the proxy's address and share one limit, so that one of them locks "
            "out the platform; set SWML_TRUSTED_PROXIES"
        )
        found.append(Finding("warn", "trusted proxies", text))
    if settings.requires_https and not settings.ssl_enabled and settings.trusted is None:
        text = (
            "SWML_ENFORCE_HTTPS is set, but neither SWML_SSL_ENABLED nor SWML_TRUSTED_PROXIES: "
            "unless the server was given its certificate otherwise, every request is refused"
        )
        found.append(Finding("warn", "HTTPS only", text))
    elif settings.ssl_enabled and not settings.requires_https:
        text = "SWML_ENFORCE_HTTPS=false admits passwords over plain HTTP; unset it"
        found.append(Finding("warn", "HTTPS only", text))
    if settings.hsts_max_age is not None and not settings.sends_hsts:
        text = "SWML_HSTS_MAX_AGE is set, but no HSTS is sent; set SWML_USE_HSTS or SWML_SSL_DOMAIN"
        found.append(Finding("warn", "HSTS", text))
    return found


def _judge(good: bool, title: str, ok: str, advice: str) -> Finding:
    return Finding("ok", title, ok) if good else Finding("warn", title, advice)


def _tls(settings: Settings) -> Finding:
    if settings.ssl_enabled:
        return _judge(
            settings.ssl_cert_path is not None and settings.ssl_key_path is not None,
            "TLS",
            "served with the certificate of SWML_SSL_CERT_PATH",
            "enabled without files; set SWML_SSL_CERT_PATH and SWML_SSL_KEY_PATH",
        )
    return _judge(
        _is_https(settings.proxy_url_base) or settings.ssl_domain is not None,
        "TLS",
        "ends at the proxy in front, according to SWML_PROXY_URL_BASE or SWML_SSL_DOMAIN",
        "credentials travel in clear; set SWML_SSL_ENABLED, SWML_SSL_CERT_PATH and "
        "SWML_SSL_KEY_PATH, or let it end at a proxy and set SWML_PROXY_URL_BASE",
    )


def _limits(settings: Settings) -> Finding:
    requests, failures = settings.rate_limit, settings.auth_failure_limit
    limits = []
    if failures is not None:
        limits.append(f"{failures} failed authentications a minute and client")
    if requests is not None:
        # The platform calls from few addresses.
        limits.append(
            f"{requests} requests a minute and client, beyond which the platform gets 429"
        )
        if failures is None:
            limits.append("SWML_AUTH_FAILURE_LIMIT limits guessing alone")
    advice = (
        "passwords can be guessed without limit; set SWML_AUTH_FAILURE_LIMIT, to 10 for instance "
        "(SWML_RATE_LIMIT counts the platform's calls, too)"
    )
    return _judge(bool(limits), "rate limit", "; ".join(limits), advice)


def _public_url(settings: Settings) -> Finding:
    title = "public URL"
    if settings.proxy_url_base is not None:
        return _judge(
            _is_https(settings.proxy_url_base),
            title,
            "webhook URLs start with SWML_PROXY_URL_BASE",
            "webhook URLs hold the password and are not https; set an https SWML_PROXY_URL_BASE",
        )
    if settings.trusted is not None:
        return Finding("ok", title, "taken from the headers of trusted proxies")
    return _judge(
        settings.ssl_enabled,
        title,
        "taken from the request: this service speaks TLS itself",
        "behind a proxy, webhook URLs have the wrong host; set SWML_PROXY_URL_BASE",
    )


def _log_level(level: str | None) -> Finding:
    title = "log level"
    if level in ("ERROR", "CRITICAL"):
        text = f"{level} hides warnings except those of the security log; warn shows them"
        return Finding("note", title, text)
    advice = f"{level or 'left to the server'}; set SIGNALWIRE_LOG_LEVEL to warn"
    return _judge(level == "WARNING", title, "WARNING", advice)


def _signing_secret(settings: Settings) -> Finding:
    old = len(settings.swaig_secret_fallbacks)
    return _judge(
        settings.swaig_secret is not None and not settings.allow_per_process_state,
        "signing secret",
        f"set, and {old} older verify, too" if old else "set",
        "tokens die with the process; set SIGNALWIRE_SWAIG_SECRET, generated by swaig-wsgi secret"
        if settings.swaig_secret is None
        else "shared, but other state may differ between processes; unset "
        "SWML_ALLOW_PER_PROCESS_STATE if there are several",
    )


def _is_https(url: str | None) -> bool:
    return url is not None and url.startswith("https://")
