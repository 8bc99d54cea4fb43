"""Who can connect, from where, and over what: TLS, proxies, hosts, origins, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network

from ..config import Settings
from ..core.hosts import parse_host
from ..core.urls import DEFAULT_PORTS, split_url
from ._findings import Finding, finding

#: Requests a minute: more limits nothing, fewer reach the platform. One call has about six, and
#: the platform makes all calls from few addresses.
_NO_LIMIT, _FOR_PLATFORM = 10_000, 1000
_MANY_GUESSES = 100

_MAX_SIZE = 16 * 2**20
#: By version of IP, the shortest prefix of a network of proxies; in IPv6 that of one network.
_SHORTEST = {4: 16, 6: 64}
#: Of a network of clients; the largest blocks that registries assign are an IPv4 /8, an IPv6 /16.
_NO_ALLOWLIST = {4: 8, 6: 16}

_ANY_ORIGIN = "pages of any origin may read responses that need no credentials."
#: Domains below which anyone can register names: the most common of all public suffixes.
_SHARED = re.compile(
    r"(ac|co|com|edu|gob|gov|ne|net|nom|or|org)\.[a-z]{2}"
    r"|(blogspot|firebaseapp|herokuapp|myshopify|ngrok|onrender|webflow|weebly|wordpress)\.(com|io)"
    r"|(bitbucket|github|gitlab|readthedocs)\.io|(netlify|ngrok(-free)?|replit|vercel|web)\.app"
    r"|(deno|fly|pages|workers)\.dev|(azurewebsites|azurestaticapps|cloudfront)\.net"
    r"|(.+\.)?(amazonaws|appspot)\.com|(.+\.)?(cloudapp\.azure\.com|run\.app)|trycloudflare\.com"
)


def own_domain(settings: Settings) -> str | None:
    """Return the host of the service, if a setting names it."""
    if settings.ssl_domain is not None:
        return settings.ssl_domain
    if settings.proxy_url_base is not None:
        return parse_host(split_url(settings.proxy_url_base, DEFAULT_PORTS)[1]).name
    names = [each for each in settings.allowed_hosts or () if each[0] not in "*."]
    return names[0] if names else None


def tls_findings(settings: Settings) -> Iterator[Finding]:
    base = settings.proxy_url_base
    if base is not None and base.startswith("http://"):
        text = "SWML_PROXY_URL_BASE is plain HTTP, so webhook URLs send the password in clear."
        yield finding("E008", text)
    elif base is None and not settings.ssl_enabled and settings.ssl_domain is None:
        text = "No setting names TLS, neither here (SWML_SSL_ENABLED) nor at a proxy "
        text += "(SWML_SSL_DOMAIN, SWML_PROXY_URL_BASE): credentials travel in clear."
        yield finding("W007", text)
    if base is None and settings.trusted is None and not settings.ssl_enabled:
        text = "No setting names the public URL: behind a proxy, webhook URLs have the wrong host."
        yield finding("W019", text)
    elif base is not None and parse_host(split_url(base, DEFAULT_PORTS)[1]).is_local:
        text = "SWML_PROXY_URL_BASE names this machine: the platform cannot reach webhook URLs."
        yield finding("W019", text)
    if settings.requires_https and not settings.ssl_enabled and settings.trusted is None:
        text = "SWML_ENFORCE_HTTPS is set, but neither SWML_SSL_ENABLED nor SWML_TRUSTED_PROXIES: "
        text += "unless the server has a certificate of its own, every request is refused."
        yield finding("W027", text)
    if settings.ssl_enabled and not settings.requires_https:
        yield finding("W028", "SWML_ENFORCE_HTTPS=false admits passwords over plain HTTP.")
    if settings.hsts_max_age is not None and not settings.sends_hsts:
        yield finding("W029", "SWML_HSTS_MAX_AGE is set, but no HSTS is sent.")
    if settings.hsts_max_age == 0 and settings.sends_hsts:
        text = "SWML_HSTS_MAX_AGE=0 makes browsers forget HSTS."
        yield finding("W029", text, "unset SWML_HSTS_MAX_AGE")


def proxy_findings(settings: Settings) -> Iterator[Finding]:
    proxies = settings.trusted
    if isinstance(proxies, int):
        named = "SWML_TRUST_PROXY_HEADERS=true trusts"
        if settings.trusted_proxies is not None:
            named = "SWML_TRUSTED_PROXIES is a number, which trusts"
        text = f"{named} every peer as a proxy: clients that can connect to the service directly "
        text += "choose the address by which they are limited and allowed."
        yield finding("W025", text)
    elif proxies is not None:
        networks = [ip_network(each) for each in proxies if each != "unix"]
        wide = [str(each) for each in networks if each.prefixlen < _SHORTEST[each.version]]
        if wide:
            text = f"SWML_TRUSTED_PROXIES has wide networks ({', '.join(wide)}): each of their "
            text += "addresses may forge that of a client."
            yield finding("W024", text)
    elif settings.proxy_url_base is not None:
        behind = "There is a proxy (SWML_PROXY_URL_BASE), but no SWML_TRUSTED_PROXIES"
        if settings.counts_requests:
            text = f"{behind}: all clients share one limit, and one of them locks out the platform."
            yield finding("W016", text)
        if settings.allowed_clients is not None:
            text = f"{behind}: all clients have its address, and are refused unless it is allowed."
            yield finding("W026", text)


def default_origin_findings(settings: Settings) -> Iterator[Finding]:
    """Yield a finding if an agent allows any origin, as it does by default; no site does."""
    if settings.cors_origins is None and not settings.csrf_protection:
        yield finding("W010", f"SWML_CORS_ORIGINS is not set: {_ANY_ORIGIN}")


def origin_findings(settings: Settings) -> Iterator[Finding]:
    origins = settings.cors_origins
    if origins == ("*",):
        yield finding("W010", f"SWML_CORS_ORIGINS is '*': {_ANY_ORIGIN}")
    shared = [each for each in origins or () if _is_shared(each)]
    if shared:
        text = f"SWML_CORS_ORIGINS has {', '.join(shared)}: anyone can get such an origin, whose "
        yield finding("W010", text + "pages may read responses to a browser's own credentials.")
    plain = [each for each in origins or () if each.startswith("http://")]
    if plain:
        text = f"SWML_CORS_ORIGINS has {len(plain)} of {len(origins or ())} origins on plain HTTP: "
        yield finding("W011", text + "anyone on the network of such a page can replace it.")


def _is_shared(origin: str) -> bool:
    _, found, domain = origin.partition("://*.")
    return bool(found) and _SHARED.fullmatch(domain.partition(":")[0].rstrip(".")) is not None


def host_findings(settings: Settings) -> Iterator[Finding]:
    hosts = settings.allowed_hosts
    if hosts is None or "*" in hosts:
        what = "SWML_ALLOWED_HOSTS contains '*'" if hosts else "SWML_ALLOWED_HOSTS is not set"
        yield finding("W017", f"{what}: any Host is accepted, also in webhook URLs.")
        return
    # Not the names that a registry delegates: the list of its suffixes would be needed.
    wide = [each for each in hosts if each[0] in "*." and "." not in each.lstrip("*.")]
    if wide:
        text = f"SWML_ALLOWED_HOSTS contains {', '.join(wide)}: any Host of a top-level domain is "
        yield finding("W017", text + "accepted, also in webhook URLs.")


def client_findings(settings: Settings) -> Iterator[Finding]:
    networks = [ip_network(each) for each in settings.allowed_clients or ()]
    wide = [str(each) for each in networks if each.prefixlen < _NO_ALLOWLIST[each.version]]
    if wide:
        text = "SWML_ALLOWED_CLIENTS has networks of a large part of all addresses: "
        yield finding("W032", f"{text}{', '.join(wide)}.")


def limit_findings(settings: Settings) -> Iterator[Finding]:
    rate, failures = settings.rate_limit, settings.auth_failure_limit
    if failures is None:
        text = "SWML_AUTH_FAILURE_LIMIT is not set: passwords can be guessed"
        limit = "without limit" if rate is None else f"{rate:,} times a minute"
        yield finding("W012", f"{text} {limit}.")
    elif failures > _MANY_GUESSES:
        text = f"SWML_AUTH_FAILURE_LIMIT admits {failures:,} wrong passwords a minute and client."
        yield finding("W013", text)
    if rate is None:
        if failures is not None:
            text = "SWML_RATE_LIMIT is not set: only failed authentications are limited."
            yield finding("I006", text)
    elif rate > _NO_LIMIT:
        text = f"SWML_RATE_LIMIT admits {rate:,} requests a minute and client, so it limits "
        yield finding("W014", text + "nothing.")
    elif rate < _FOR_PLATFORM:
        text = "SWML_RATE_LIMIT also counts the platform's calls, which come from few addresses: "
        text += f"request {rate + 1:,} of a minute, of all callers together, is 429."
        yield finding("W015", text)
    size = settings.max_request_size
    if size is not None and size > _MAX_SIZE:
        text = f"SWML_MAX_REQUEST_SIZE admits bodies of {size:,} bytes, over 16 MiB."
        yield finding("W018", text)
