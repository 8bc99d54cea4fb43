"""The client's own request, from behind the proxies that passed it on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from ..core.proxies import (
    Client,
    Hops,
    TrustedProxies,
    host_with_port,
    parse_forwarded,
    parse_x_forwarded,
    resolve_client,
    split_host,
    trusted_proxies,
)
from ..wsgi import raw_target

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_RAN = "swaig_wsgi.ran.proxies"
_ORIGINAL = "swaig_wsgi.proxies.original"
_FORWARDED = "swaig_wsgi.forwarded"
_PREFIX = "swaig_wsgi.forwarded_prefix"

_REWRITTEN = (
    "REMOTE_ADDR",
    "wsgi.url_scheme",
    "HTTP_HOST",
    "SERVER_NAME",
    "SERVER_PORT",
    "SCRIPT_NAME",
)
# Other fields that applications take for the client's address, scheme, host or prefix.
_SYNONYMS = frozenset(
    {
        "HTTP_CF_CONNECTING_IP",
        "HTTP_CLIENT_IP",
        "HTTP_FASTLY_CLIENT_IP",
        "HTTP_FLY_CLIENT_IP",
        "HTTP_FORWARDED",
        "HTTP_FRONT_END_HTTPS",
        "HTTP_TRUE_CLIENT_IP",
        "HTTP_X_AZURE_CLIENTIP",
        "HTTP_X_CLIENT_IP",
        "HTTP_X_CLUSTER_CLIENT_IP",
        "HTTP_X_ENVOY_EXTERNAL_ADDRESS",
        "HTTP_X_HOST",
        "HTTP_X_ORIGINAL_FORWARDED_FOR",
        "HTTP_X_ORIGINAL_HOST",
        "HTTP_X_ORIGINAL_URL",
        "HTTP_X_REAL_IP",
        "HTTP_X_REWRITE_URL",
        "HTTP_X_SCHEME",
        "HTTP_X_SCRIPT_NAME",
        "HTTP_X_URL_SCHEME",
    }
)


_Layer = tuple[str, TrustedProxies]


# Without a repr: what was not believed must not get into anybody's dump of `environ` either.
@dataclass(frozen=True, repr=False)
class _Run:
    """What the layers of a request have read so far."""

    layers: tuple[_Layer, ...]
    #: All that the outermost was told, believed or not.
    claims: Mapping[str, str] = field(default_factory=dict)
    #: The connection's own values, where any was replaced.
    original: Mapping[str, str | None] | None = None
    script_name: str = ""


class TrustedProxyMiddleware:
    """Show the application the request that the client sent to the outermost trusted proxy.

    Sets ``REMOTE_ADDR``, ``wsgi.url_scheme``, ``HTTP_HOST``, ``SERVER_NAME``, ``SERVER_PORT``
    and ``SCRIPT_NAME`` as Werkzeug's ``ProxyFix`` does, and takes its place. It refuses nothing.
    Inside a mount (Werkzeug's ``DispatcherMiddleware``) the prefix goes before the mount's path
    instead of replacing it, where the server tells the path that it received.

    **Every proxy that is trusted must overwrite each field of the family, or append to it**,
    and that includes the fields that it has no value for. One that passes a field on lets any
    client write it: an address of its choice, round rate limits and into logs; ``https`` for a
    request in clear; a host and prefix that send the URLs built from them, credentials
    included, to an attacker's server. Trust the addresses of proxies only, never a network that
    clients are in, and a number only where nobody can connect but through the proxies.

    A server that reads such fields itself does so before anything here can. gunicorn does, for
    local peers: turn it off with ``secure_scheme_headers = {}`` and ``forwarder_headers = ""``.

    The application sees no forwarding field but what was believed. Those of untrusted peers, of
    the other family (``nginx`` passes a client's on), all other ``X-Forwarded-*`` and synonyms
    such as ``X-Real-IP`` are taken out of `environ`; the family's own are rewritten to the
    values that were believed, one each. So Django's ``SECURE_PROXY_SSL_HEADER``, which reads
    the *left-most* value, and a ``ProxyFix`` inside cannot be told anything else.

    `environ` keys:
        ``swaig_wsgi.proxies.original``: a dict of the six values above as they were before.
        ``swaig_wsgi.forwarded``: True where a trusted proxy told the host.
        ``swaig_wsgi.forwarded_prefix``: the prefix, where a trusted proxy told one.

    In one request the chain is read once. A second such layer further in does nothing when its
    policy is equal; otherwise it goes back to the connection and what the outermost was told, and
    believes only what each of the policies does.

    Args:
        app: the application behind.
        trusted: addresses and networks of the proxies, and ``"unix"`` for a socket without a peer
            address; or the number of proxies. See :func:`core.proxies.trusted_proxies`.
        family: ``"x-forwarded"`` for ``X-Forwarded-For``, ``-Proto``, ``-Host``, ``-Port`` and
            ``-Prefix``, or ``"forwarded"`` for ``Forwarded`` (RFC 7239). Never both.

    Raises:
        ValueError: the policy or the family is none of these.
    """

    def __init__(
        self, app: WSGIApplication, trusted: Iterable[str] | int, *, family: str = "x-forwarded"
    ) -> None:
        if family not in ("x-forwarded", "forwarded"):
            raise ValueError(
                f"family of proxy headers: expected 'x-forwarded' or 'forwarded', not {family!r}"
            )
        self.app = app
        self._trusted = trusted_proxies(trusted)
        self._layer = (family, self._trusted)
        self._idle = _Run((self._layer,))
        self._parse, self._tell = (
            (_parse_x_forwarded, _tell_x_forwarded)
            if family == "x-forwarded"
            else (_parse_forwarded, _tell_forwarded)
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        run = environ.get(_RAN)
        if run is None:
            self._read(environ, (self._layer,), _take_claims(environ))
        elif self._layer not in run.layers:
            _take_claims(environ)
            _restore(environ, run)
            # What proxies say in another family is not what this layer is to believe.
            claims = run.claims if run.layers[0][0] == self._layer[0] else {}
            self._read(environ, (*run.layers, self._layer), claims)
        return self.app(environ, start_response)

    def _read(
        self, environ: WSGIEnvironment, layers: tuple[_Layer, ...], claims: Mapping[str, str]
    ) -> None:
        for key in (_ORIGINAL, _FORWARDED, _PREFIX):
            environ.pop(key, None)
        if not claims:
            environ[_RAN] = self._idle if len(layers) == 1 else _Run(layers)
            return
        peer = environ.get("REMOTE_ADDR") or ""
        # Strangers do not even have their fields parsed.
        if self._trusted.trusts_peer(peer):
            client = resolve_client(peer, self._parse(claims), *(layer[1] for layer in layers))
            if client != _NOBODY:
                _apply(environ, client)
                self._tell(environ, client)
        environ[_RAN] = _Run(layers, claims, environ.get(_ORIGINAL), environ.get("SCRIPT_NAME", ""))


_NOBODY = Client()


def _take_claims(environ: WSGIEnvironment) -> dict[str, str]:
    claims = {}
    # Most requests have none of these, and one look at all names together is the cheapest.
    if "HTTP_X_FORWARDED" in "\n".join(environ):
        for key in [key for key in environ if key.startswith("HTTP_X_FORWARDED")]:
            claims[key] = environ.pop(key)
    for key in _SYNONYMS & environ.keys():
        claims[key] = environ.pop(key)
    return claims


def _parse_x_forwarded(claims: Mapping[str, str]) -> Hops:
    return parse_x_forwarded(
        addresses=claims.get("HTTP_X_FORWARDED_FOR"),
        scheme=claims.get("HTTP_X_FORWARDED_PROTO"),
        host=claims.get("HTTP_X_FORWARDED_HOST"),
        port=claims.get("HTTP_X_FORWARDED_PORT"),
        prefix=claims.get("HTTP_X_FORWARDED_PREFIX"),
    )


def _parse_forwarded(claims: Mapping[str, str]) -> Hops:
    return parse_forwarded(claims.get("HTTP_FORWARDED", ""))


def _apply(environ: WSGIEnvironment, client: Client) -> None:
    environ[_ORIGINAL] = {key: environ.get(key) for key in _REWRITTEN}
    if client.address is not None and client.address != environ.get("REMOTE_ADDR"):
        environ["REMOTE_ADDR"] = client.address
        # They tell of the connection, which is the proxy's.
        environ.pop("REMOTE_PORT", None)
        environ.pop("REMOTE_HOST", None)
    if client.scheme is not None:
        environ["wsgi.url_scheme"] = client.scheme
    if client.host is not None:
        environ["HTTP_HOST"] = client.host
        environ[_FORWARDED] = True
        environ["SERVER_NAME"], port = split_host(client.host)
        if port:
            environ["SERVER_PORT"] = port
    if client.port is not None:
        environ["SERVER_PORT"] = str(client.port)
        host = host_with_port(environ.get("HTTP_HOST", ""), client.port)
        if host is not None:
            environ["HTTP_HOST"] = host
    if client.prefix is not None:
        environ["SCRIPT_NAME"] = client.prefix + _mount(environ, client.prefix)
        environ[_PREFIX] = client.prefix


def _mount(environ: WSGIEnvironment, prefix: str) -> str:
    """Return ``SCRIPT_NAME`` where it is a part of the path that the proxy passed on, else ""."""
    mount: str = environ.get("SCRIPT_NAME", "").rstrip("/")
    target = raw_target(environ)
    if target is None or mount in ("", prefix):
        return ""
    path = unquote_to_bytes(target.partition("?")[0]).decode("latin-1")
    return mount if path.startswith(mount + "/") or path == mount else ""


def _restore(environ: WSGIEnvironment, run: _Run) -> None:
    """Put the connection's own values back, below whatever was mounted in between."""
    script_name: str = environ.get("SCRIPT_NAME", "")
    for key, value in (run.original or {}).items():
        if value is None:
            environ.pop(key, None)
        else:
            environ[key] = value
    if run.original and script_name.startswith(run.script_name):
        mounted = script_name[len(run.script_name) :]
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + mounted


def _tell_x_forwarded(environ: WSGIEnvironment, client: Client) -> None:
    if client.address is not None:
        environ["HTTP_X_FORWARDED_FOR"] = client.address
    if client.scheme is not None:
        environ["HTTP_X_FORWARDED_PROTO"] = client.scheme
    if client.host is not None:
        environ["HTTP_X_FORWARDED_HOST"] = environ["HTTP_HOST"]
    if client.port is not None:
        environ["HTTP_X_FORWARDED_PORT"] = str(client.port)
    if client.prefix is not None:
        environ["HTTP_X_FORWARDED_PREFIX"] = environ["SCRIPT_NAME"]


def _tell_forwarded(environ: WSGIEnvironment, client: Client) -> None:
    pairs = []
    if client.address is not None:
        node = f'"[{client.address}]"' if ":" in client.address else client.address
        pairs.append(f"for={node}")
    if client.scheme is not None:
        pairs.append(f"proto={client.scheme}")
    if client.host is not None:
        pairs.append(f'host="{client.host}"')
    environ["HTTP_FORWARDED"] = ";".join(pairs)
