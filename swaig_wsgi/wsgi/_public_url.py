"""The public URL of a request, and its verified host."""

from __future__ import annotations

from urllib.parse import quote

from ..core.hosts import parse_host, target_authority
from ..core.urls import DEFAULT_PORTS, PATH_SAFE, format_authority
from ._types import WSGIEnvironment

#: Set in ``environ`` by ``AllowedHostsMiddleware``.
HOST_ALLOWED = "swaig_wsgi.host_allowed"


def allowed_host(environ: WSGIEnvironment) -> str | None:
    """Return the ``Host`` of the request if an allowlist outside contains it, else None."""
    host: str | None = environ.get("HTTP_HOST")
    # A proxy layer in between may have replaced the host with an unverified one.
    return host if host is not None and environ.get(HOST_ALLOWED) == host else None


def public_base_url(environ: WSGIEnvironment, base_url: str | None = None) -> str:
    """Return the part of the request's public URL that precedes ``PATH_INFO``.

    Without `base_url`, scheme, host and prefix come from `environ`, as corrected by a trusted-proxy
    middleware. A client that bypasses proxy and host allowlist can choose the host, and thereby
    the recipient of credentials in the URL.

    Args:
        base_url: the public URL of the server's root, as
            :func:`~swaig_wsgi.core.urls.parse_base_url` returns it.

    Raises:
        ValueError: `base_url` is None, and scheme, Host or port are malformed.
    """
    if base_url is not None:
        return base_url + _quote(_mount(environ))
    scheme = _scheme(environ)
    mount = _quote(environ.get("SCRIPT_NAME", "")).rstrip("/")
    return f"{scheme}://{_normal_authority(environ, scheme)}{mount}"


def public_request_url(environ: WSGIEnvironment, base_url: str | None = None) -> str:
    """Return the public URL of this request, byte for byte, query included.

    Path and query come from the request line (``RAW_URI`` or ``REQUEST_URI``) if the server
    provides it. Otherwise they are encoded again, which changes an unusual encoding of the client.
    Bytes that are not UTF-8 become surrogate escapes.

    `base_url` and errors are as for :func:`public_base_url`.
    """
    if base_url is not None:
        origin = base_url
    else:
        scheme = _scheme(environ)
        prefix = environ.get("swaig_wsgi.forwarded_prefix", "")
        origin = f"{scheme}://{_given_authority(environ, scheme)}{_quote(prefix).rstrip('/')}"
    target = raw_target(environ)
    if target is None:
        target = _quote(_mount(environ) + environ.get("PATH_INFO", ""))
        if environ.get("QUERY_STRING"):
            target += "?" + environ["QUERY_STRING"]
    return origin + target.encode("latin-1").decode("utf-8", "surrogateescape")


def _mount(environ: WSGIEnvironment) -> str:
    """Return ``SCRIPT_NAME`` without the prefix that a proxy announced.

    The proxy removes this prefix from the path it forwards, so a configured base URL includes it
    and the request line does not.
    """
    script_name: str = environ.get("SCRIPT_NAME", "").rstrip("/")
    prefix = environ.get("swaig_wsgi.forwarded_prefix", "").rstrip("/")
    if (script_name + "/").startswith(prefix + "/"):
        return script_name[len(prefix) :]
    return script_name


def raw_target(environ: WSGIEnvironment) -> str | None:
    """Return path and query of the request line as received, or None if not provided."""
    for key in ("RAW_URI", "REQUEST_URI"):
        target = environ.get(key)
        if not isinstance(target, str):
            continue
        authority = target_authority(target)
        if authority is not None:
            rest = target.partition("://")[2][len(authority) :]
            return rest if rest.startswith("/") else "/" + rest
        if target.startswith("/"):
            return target
    return None


def _quote(path: str) -> str:
    return path and quote(path.encode("latin-1"), safe=PATH_SAFE)


def _scheme(environ: WSGIEnvironment) -> str:
    scheme = str(environ.get("wsgi.url_scheme", "")).lower()
    if scheme not in DEFAULT_PORTS:
        raise ValueError("wsgi.url_scheme is neither http nor https")
    return scheme


def _given_authority(environ: WSGIEnvironment, scheme: str) -> str:
    """Return the Host in the client's spelling, which is the signed one."""
    given = environ.get("HTTP_HOST")
    if given is None:
        return _normal_authority(environ, scheme)
    parse_host(given)
    return str(given)


def _normal_authority(environ: WSGIEnvironment, scheme: str) -> str:
    given = environ.get("HTTP_HOST")
    if given is None:
        name = environ["SERVER_NAME"]
        name = f"[{name}]" if ":" in name and not name.startswith("[") else name
        given = f"{name}:{environ['SERVER_PORT']}"
    return format_authority(scheme, parse_host(given))
