"""The client's request before trusted proxies, as :mod:`..core.proxies` decides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from urllib.parse import unquote_to_bytes

from ..core.kept_fields import CLIENT_FIELDS, is_single_value, kept_fields
from ..core.proxies import (
    Client,
    Hops,
    host_with_port,
    parse_forwarded,
    parse_x_forwarded,
    resolve_client,
    split_host,
    trusted_proxies,
)
from ..core.refusals import service_misconfigured
from ..wsgi import USER_FIELDS, log, raw_target, refuse
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._inner_app import InnerApp
from .request_id import RequestIDMiddleware

__all__ = ["TrustedProxyMiddleware"]

#: In ``environ``: the policy of the TrustedProxyMiddleware that has run.
PROXY_POLICY = "swaig_wsgi.proxies.policy"
_ORIGINAL = "swaig_wsgi.proxies.original"
_FORWARDED = "swaig_wsgi.forwarded"
_PREFIX = "swaig_wsgi.forwarded_prefix"

_OWN_KEYS = frozenset({_ORIGINAL, _FORWARDED, _PREFIX})

#: Fields of more characters, names included, are not remembered.
_MAX_KNOWN = 512

_REWRITTEN = (
    "REMOTE_ADDR",
    "wsgi.url_scheme",
    "HTTP_HOST",
    "SERVER_NAME",
    "SERVER_PORT",
    "SCRIPT_NAME",
)


class TrustedProxyMiddleware:
    """Restore the request that the client sent to the outermost trusted proxy.

    Sets ``REMOTE_ADDR``, ``wsgi.url_scheme``, ``HTTP_HOST``, ``SERVER_NAME``, ``SERVER_PORT``
    and ``SCRIPT_NAME``, in place of Werkzeug's ``ProxyFix``. Inside a mount (Werkzeug's
    ``DispatcherMiddleware``) the prefix precedes the mount's path instead of replacing it, if the
    server passes the path of the request line.

    **Every trusted proxy must overwrite or append to each field of the family**, even if it has
    no value for the field. If a proxy passes a field unchanged, any client controls its value: an
    address that evades rate limits and appears in logs, ``https`` for a request in cleartext, or
    a host and prefix that direct URLs with credentials to an attacker's server. Trust only the
    addresses of proxies, never a network that contains clients. Trust a number of proxies only if
    no client can bypass them.

    A server that reads such fields itself does so before this middleware. gunicorn does, for
    local peers: disable it with ``secure_scheme_headers = {}`` and ``forwarder_headers = ""``.

    The application sees only verified forwarding fields. These are removed from `environ`:

    - the fields of both families, if the peer is not trusted;
    - the fields of the family that is not used, which nginx passes on from the client;
    - all other ``X-Forwarded-*`` fields;
    - synonyms such as ``X-Real-IP``.

    The fields of the family that is used are rewritten to one verified value each. Django's
    ``SECURE_PROXY_SSL_HEADER``, which reads the *left-most* value, and an inner ``ProxyFix``
    therefore see the same values.

    With `keep`, fields in which a trusted proxy passes the user it has authenticated, such as
    ``X-Forwarded-User``, reach the application from trusted peers alone. **Each trusted proxy must
    overwrite or remove them in every request**, also if it needs no login. A value with a comma,
    which a client may have added to, is removed, and the first one is logged. With a number of
    proxies, the fields are removed from requests that have not passed all of them.

    `environ` keys:
        ``swaig_wsgi.proxies.original``: a dict of the six original values.
        ``swaig_wsgi.forwarded``: True if a trusted proxy passed the host.
        ``swaig_wsgi.forwarded_prefix``: the prefix, if a trusted proxy passed one.

    The fields are read once in a request: a second layer with an equal policy, or one that keeps
    less, does nothing. A second layer with another policy is a configuration error; it responds
    with 503, and logs this once.

    Args:
        app: the wrapped application.
        trusted: addresses and networks of the proxies, and ``"unix"`` for a socket without a peer
            address; or the number of proxies. See
            :func:`swaig_wsgi.core.proxies.trusted_proxies`.
        family: ``"x-forwarded"`` for ``X-Forwarded-For``, ``-Proto``, ``-Host``, ``-Port`` and
            ``-Prefix``, or ``"forwarded"`` for ``Forwarded`` (RFC 7239). Never both.
        keep: names of fields that trusted proxies set; see
            :func:`swaig_wsgi.core.kept_fields.kept_fields`.

    Raises:
        TypeError, ValueError: the policy, the family or a name to keep is invalid.
    """

    app = InnerApp()
    _next: WSGIApplication

    def __init__(
        self,
        app: WSGIApplication,
        trusted: Iterable[str] | int,
        *,
        family: str = "x-forwarded",
        keep: Iterable[str] = (),
    ) -> None:
        if family not in ("x-forwarded", "forwarded"):
            expected = "'x-forwarded' or 'forwarded'"
            raise ValueError(f"family of proxy headers: expected {expected}, not {family!r}")
        self.app = app
        self._trusted = trusted_proxies(trusted)
        self._keep = kept_fields(keep)
        self._others = CLIENT_FIELDS.union(self._keep, _OWN_KEYS)
        self._policy = (family, self._trusted, frozenset(self._keep))
        self._conflict_logged = self._joined_logged = False
        # A client sends the same fields with each request. New ones replace them: no more memory,
        # and no more time than without.
        self._resolve_known = lru_cache(maxsize=256)(self._resolve)
        self._parse, self._rewrite = (
            (_parse_x_forwarded, _rewrite_x_forwarded)
            if family == "x-forwarded"
            else (_parse_forwarded, _rewrite_forwarded)
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        policy = environ.get(PROXY_POLICY)
        if policy is None:
            environ[PROXY_POLICY] = self._policy
            if self._keep:
                environ[USER_FIELDS] = self._policy[2]
            claims = _take_claims(environ, self._others)
            if claims:
                self._read(environ, claims)
        elif policy[:2] != self._policy[:2] or not policy[2] >= self._policy[2]:
            return self._refuse_conflict(environ, start_response)
        return self._next(environ, start_response)

    def _read(self, environ: WSGIEnvironment, claims: Mapping[str, str]) -> None:
        peer = environ.get("REMOTE_ADDR") or ""
        # The fields of an untrusted peer are not even parsed.
        if self._trusted.trusts_peer(peer):
            size = sum(map(len, claims)) + sum(map(len, claims.values()))
            resolve = self._resolve_known if size <= _MAX_KNOWN else self._resolve
            client = resolve(peer, tuple(claims.items()))
            if client is not _NO_CLAIMS:
                _apply(environ, client)
                self._rewrite(environ, client)
            if self._trusted.count == 0 or client.address is not None:
                self._restore(environ, claims)

    def _resolve(self, peer: str, claims: tuple[tuple[str, str], ...]) -> Client:
        client = resolve_client(peer, self._parse(dict(claims)), self._trusted)
        return _NO_CLAIMS if client == _NO_CLAIMS else client

    def _restore(self, environ: WSGIEnvironment, claims: Mapping[str, str]) -> None:
        for key in self._keep.keys() & claims.keys():
            if is_single_value(claims[key]):
                environ[key] = claims[key]
            elif claims[key] and not self._joined_logged:
                self._joined_logged = True
                log.error(
                    "%s of a trusted proxy has several values or is malformed, and is removed; "
                    "does the proxy overwrite the field in every request?",
                    self._keep[key],
                )

    def _refuse_conflict(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if not self._conflict_logged:
            self._conflict_logged = True
            log.error(
                "two TrustedProxyMiddleware with different policies; every request that passes "
                "both is refused with 503. Remove one of them, or give both the same arguments"
            )
        refusal = service_misconfigured("conflicting_proxy_policies")
        # The layer that sends the request's id may be inside this one.
        respond = RequestIDMiddleware(partial(refuse, refusal=refusal))
        return respond(environ, start_response)


#: What :meth:`TrustedProxyMiddleware._resolve` returns if no field was verified.
_NO_CLAIMS = Client()


#: Each contains the text that all of them begin with once.
_USUAL = tuple(f"HTTP_X_FORWARDED_{name}" for name in ("FOR", "PROTO", "HOST", "PORT", "PREFIX"))


def _take_claims(environ: WSGIEnvironment, others: frozenset[str]) -> dict[str, str]:
    claims = {}
    # Most requests have none of these, or only usual ones, which one search in all names detects.
    number = "\n".join(environ).count("HTTP_X_FORWARDED")
    if number:
        keys = [key for key in _USUAL if key in environ]
        if len(keys) != number:
            keys = [key for key in environ if key.startswith("HTTP_X_FORWARDED")]
        for key in keys:
            claims[key] = environ.pop(key)
    for key in others & environ.keys():
        value = environ.pop(key)
        if key not in _OWN_KEYS:
            claims[key] = value
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
    # Without a loop in Python: each request through a proxy passes here.
    environ[_ORIGINAL] = dict(zip(_REWRITTEN, map(environ.get, _REWRITTEN)))
    if client.address is not None and client.address != environ.get("REMOTE_ADDR"):
        environ["REMOTE_ADDR"] = client.address
        # These describe the connection, which is the proxy's.
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
        host = host_with_port(
            environ.get("HTTP_HOST", ""), client.port, environ.get("wsgi.url_scheme", "")
        )
        if host is not None:
            environ["HTTP_HOST"] = host
    if client.prefix is not None:
        environ["SCRIPT_NAME"] = client.prefix + _mount(environ, client.prefix)
        environ[_PREFIX] = client.prefix


def _mount(environ: WSGIEnvironment, prefix: str) -> str:
    """Return ``SCRIPT_NAME`` if it is part of the path that the proxy passed, else ""."""
    mount: str = environ.get("SCRIPT_NAME", "").rstrip("/")
    target = raw_target(environ)
    if target is None or mount in ("", prefix):
        return ""
    path = unquote_to_bytes(target.partition("?")[0]).decode("latin-1")
    return mount if path.startswith(mount + "/") or path == mount else ""


def _rewrite_x_forwarded(environ: WSGIEnvironment, client: Client) -> None:
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


def _rewrite_forwarded(environ: WSGIEnvironment, client: Client) -> None:
    pairs = []
    if client.address is not None:
        node = f'"[{client.address}]"' if ":" in client.address else client.address
        pairs.append(f"for={node}")
    if client.scheme is not None:
        pairs.append(f"proto={client.scheme}")
    if client.host is not None:
        pairs.append(f'host="{client.host}"')
    environ["HTTP_FORWARDED"] = ";".join(pairs)
