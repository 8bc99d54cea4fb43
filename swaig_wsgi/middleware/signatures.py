"""Only requests that the platform signed reach the application."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.body_size import BodyError, check_max_bytes
from ..core.paths import path_scope
from ..core.signatures import check_headers, signing_keys, verify_request
from ..core.urls import parse_base_url
from ..wsgi import allowed_host, log_security, public_request_url, read_body, refuse, replay_body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_UNSIGNED_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class WebhookSignatureMiddleware:
    """Refuse requests without a valid webhook signature with 403.

    GET, HEAD and OPTIONS pass unsigned; every other method, POST above all, must be signed.
    See :func:`~swaig_wsgi.core.signatures.verify_request` for the schemes. The body is read into
    memory to be verified and handed on as if unread; a request without a well-formed signature is
    refused before that. Whoever can stall a body stalls the worker, so put this behind
    authentication.

    The URL is part of what is signed. Without `base_url`, a trusted proxy that tells the host, or
    a host allowlist, its host is what the client wrote into ``Host``: a request that was signed
    for another server with the same key then passes here. That is logged as a warning, once.

    Args:
        app: the WSGI application.
        signing_key: the platform's signing key, or several while one replaces another.
        base_url: the public URL of the server's root, where that cannot be told from a request.
        protect: paths whose requests must be signed, with everything below them.
        exempt: paths that are let off, each exactly.
        max_bytes: the longest body to read.

    Raises:
        ValueError: one of the arguments is unusable; the message never holds a key.
    """

    def __init__(
        self,
        app: WSGIApplication,
        signing_key: str | bytes | Iterable[str | bytes],
        *,
        base_url: str | None = None,
        protect: Iterable[str] = ("/*",),
        exempt: Iterable[str] = (),
        max_bytes: int = 1_048_576,
    ) -> None:
        self.app = app
        self.base_url = None if base_url is None else parse_base_url(base_url)
        self.max_bytes = check_max_bytes(max_bytes)
        self._keys = signing_keys(signing_key)
        self._scope = path_scope(protect, exempt)
        self._warned = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in _UNSIGNED_METHODS or not self._scope.covers(
            environ.get("PATH_INFO", "")
        ):
            return self.app(environ, start_response)
        if not self._warned:
            self._warn_of_host(environ)
        try:
            reason = self._fault(environ)
        except BodyError as error:
            return refuse(
                environ,
                start_response,
                error.status,
                error.error,
                event="body_refused",
                reason=error.reason,
            )
        if reason:
            return refuse(
                environ,
                start_response,
                403,
                "Forbidden: invalid signature",
                event="signature_refused",
                reason=reason,
            )
        return self.app(environ, start_response)

    def _fault(self, environ: WSGIEnvironment) -> str:
        """Return why the request is refused; ``""`` when its signature is valid."""
        sha256 = environ.get("HTTP_X_SIGNALWIRE_SHA256_SIGNATURE")
        sha1 = environ.get("HTTP_X_SIGNALWIRE_SIGNATURE")
        sha1_alias = environ.get("HTTP_X_TWILIO_SIGNATURE")
        reason = check_headers(sha256, sha1, sha1_alias)
        if reason:
            return reason
        try:
            url = public_request_url(environ, self.base_url)
        except ValueError:
            return "bad_url"
        body = read_body(environ, self.max_bytes)
        replay_body(environ, body)
        return verify_request(
            self._keys,
            url,
            body,
            sha256_signature=sha256,
            sha1_signature=sha1,
            sha1_alias_signature=sha1_alias,
            content_type=environ.get("CONTENT_TYPE", ""),
        ).reason

    def _warn_of_host(self, environ: WSGIEnvironment) -> None:
        if (
            self.base_url is not None
            or environ.get("swaig_wsgi.forwarded") is True
            or allowed_host(environ) is not None
        ):
            return
        self._warned = True
        log_security(
            environ,
            "signature_url_unverified",
            "host_not_verified",
            "webhook signatures are checked against a URL whose host the client chooses: "
            "set a base URL, trusted proxies or allowed hosts",
        )
