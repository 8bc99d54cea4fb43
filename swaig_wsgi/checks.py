"""What the seed's "Production Checklist" says of some settings."""

from __future__ import annotations

from typing import NamedTuple

from .config import Settings


class Item(NamedTuple):
    """One item of the checklist."""

    #: ``ok``; ``warn``, where a variable should be set; ``note``, where no setting can tell.
    status: str
    title: str
    #: What is so, or what to do; never a secret.
    text: str


def production_checklist(settings: Settings) -> list[Item]:
    """Return the eleven items of the seed's checklist, in its order, judged by `settings`."""
    return [
        _credentials(settings),
        _tls(settings),
        _cors(settings),
        _rate_limit(settings),
        _hosts(settings),
        _request_size(settings),
        Item("note", "secure tools", "give secure=True to tools that move money, calls or data"),
        _public_url(settings),
        _log_level(settings),
        _signing_secret(settings),
        Item("note", "health", "point load balancers at /health and /ready, which ask no password"),
    ]


def _judge(good: bool, title: str, ok: str, advice: str) -> Item:
    return Item("ok", title, ok) if good else Item("warn", title, advice)


def _credentials(settings: Settings) -> Item:
    return _judge(
        settings.basic_auth is not None,
        "credentials",
        "user and password are set",
        "generated at each start; set SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD",
    )


def _tls(settings: Settings) -> Item:
    if settings.ssl_enabled:
        named = settings.ssl_cert_path is not None and settings.ssl_key_path is not None
        return _judge(
            named,
            "TLS",
            "served with the certificate of SWML_SSL_CERT_PATH",
            "enabled without files; set SWML_SSL_CERT_PATH and SWML_SSL_KEY_PATH",
        )
    return _judge(
        _is_https(settings.proxy_url_base) or settings.ssl_domain is not None,
        "TLS",
        "ends at the proxy in front, as SWML_PROXY_URL_BASE or SWML_SSL_DOMAIN says",
        "credentials travel in clear; set SWML_SSL_ENABLED, SWML_SSL_CERT_PATH and "
        "SWML_SSL_KEY_PATH, or let it end at a proxy and set SWML_PROXY_URL_BASE",
    )


def _cors(settings: Settings) -> Item:
    origins = settings.cors_origins
    return _judge(
        (origins is not None and origins != ("*",)) or settings.csrf_protection,
        "CORS origins",
        f"{len(origins or ())} allowed",
        "any page may read answers without credentials; set SWML_CORS_ORIGINS",
    )


def _rate_limit(settings: Settings) -> Item:
    return _judge(
        settings.rate_limit is not None,
        "rate limit",
        f"{settings.rate_limit} requests a minute and client",
        "passwords can be guessed without limit; set SWML_RATE_LIMIT, to 120 for instance",
    )


def _hosts(settings: Settings) -> Item:
    hosts = settings.allowed_hosts
    return _judge(
        hosts is not None and "*" not in hosts,
        "allowed hosts",
        f"{len(hosts or ())} allowed",
        "any Host is believed, also in webhook URLs; set SWML_ALLOWED_HOSTS",
    )


def _request_size(settings: Settings) -> Item:
    size = settings.max_request_size
    default = "1 MiB, an agent's default; SWML_MAX_REQUEST_SIZE sets another"
    return Item("ok", "request size", default if size is None else f"{size} bytes")


def _public_url(settings: Settings) -> Item:
    title = "public URL"
    if settings.proxy_url_base is not None:
        return _judge(
            _is_https(settings.proxy_url_base),
            title,
            "webhook URLs start with SWML_PROXY_URL_BASE",
            "webhook URLs hold the password and are not https; set SWML_PROXY_URL_BASE to one",
        )
    if settings.trusted is not None:
        return Item("ok", title, "taken from the headers of trusted proxies")
    return _judge(
        settings.ssl_enabled,
        title,
        "taken from the request: this service speaks TLS itself",
        "behind a proxy, webhook URLs name the wrong place; set SWML_PROXY_URL_BASE",
    )


def _log_level(settings: Settings) -> Item:
    level = settings.log_level
    title = "log level"
    if level in ("ERROR", "CRITICAL"):
        text = f"{level} hides warnings, but for the security log's; warn shows them"
        return Item("note", title, text)
    return _judge(
        level == "WARNING",
        title,
        "WARNING",
        f"{level or 'left to the server'}; set SIGNALWIRE_LOG_LEVEL to warn",
    )


def _signing_secret(settings: Settings) -> Item:
    title = "signing secret"
    if settings.swaig_secret is None:
        return Item(
            "warn",
            title,
            "tokens die with the process; set SIGNALWIRE_SWAIG_SECRET, made by swaig-wsgi secret",
        )
    if settings.allow_per_process_state:
        return Item(
            "warn",
            title,
            "shared, but other state may differ between processes; unset "
            "SWML_ALLOW_PER_PROCESS_STATE where several serve",
        )
    old = len(settings.swaig_secret_fallbacks)
    return Item("ok", title, f"set, and {old} older verify, too" if old else "set")


def _is_https(url: str | None) -> bool:
    return url is not None and url.startswith("https://")
