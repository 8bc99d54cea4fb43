"""Verification of webhook signatures, as :mod:`..core.signatures` decides."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from ..core.body_size import check_max_bytes
from ..core.paths import request_scope
from ..core.redaction import hide_values
from ..core.refusals import Refusal, invalid_signature
from ..core.signatures import check_headers, signing_keys, verify_request
from ..core.urls import as_configured, parse_base_url
from ..wsgi import allowed_host, log_security, public_request_url, read_body, refuse, replay_body
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._inner_app import InnerApp
from ._scope import in_scope

__all__ = ["WebhookSignatureMiddleware"]

_UNSIGNED_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class WebhookSignatureMiddleware:
    """Respond with 403 to requests without a valid webhook signature.

    By default, GET, HEAD and OPTIONS need no signature; every other method does. See
    :func:`~swaig_wsgi.core.signatures.verify_request` for the schemes. A request without a
    well-formed signature is refused before its body is read. The body is read into memory and
    replayed for the application. A client that sends its body slowly occupies a worker, so place
    this inside authentication.

    The URL is part of the signed data. The client chooses its host, unless `base_url`, a trusted
    proxy or a host allowlist determines it. Without them, a request that was signed for another
    server with the same key passes; a warning is logged once.

    Args:
        app: the wrapped application.
        signing_key: the platform's signing key, or several during a key rotation, such as
            ``Settings.signing_keys``. The first one is current; requests signed with another one
            are recorded in the security log, with the event ``fallback_credential``.
        base_url: the public URL of the server's root; by default derived from each request.
            Scheme and host may have been signed in lower case, or in the case given here.
        protect: paths whose requests must be signed, with everything below them.
        exempt: paths that skip verification, matched exactly unless they end in ``/*``.
        methods: the methods that must be signed, in any case; None for all but GET, HEAD and
            OPTIONS.
        max_bytes: the maximum size of the body, in bytes.

    Raises:
        TypeError, ValueError: an argument is invalid; the message never contains a key.
    """

    app = InnerApp()
    _next: WSGIApplication

    def __init__(
        self,
        app: WSGIApplication,
        signing_key: str | bytes | Iterable[str | bytes],
        *,
        base_url: str | None = None,
        protect: Iterable[str] = ("/*",),
        exempt: Iterable[str] = (),
        methods: Iterable[str] | None = None,
        max_bytes: int = 1_048_576,
    ) -> None:
        self.app = app
        self.base_url = None if base_url is None else parse_base_url(base_url)
        # The platform signs the URL in the spelling that its user typed.
        self._spelled_base = None if base_url is None else as_configured(base_url)
        self.max_bytes = check_max_bytes(max_bytes)
        self._signing_keys = signing_keys(signing_key)
        hide_values(self._signing_keys)
        self._scope = request_scope(protect, exempt, methods)
        self._unsigned_methods = _UNSIGNED_METHODS if methods is None else frozenset()
        self._warned = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        unsigned = environ.get("REQUEST_METHOD") in self._unsigned_methods
        if unsigned or not in_scope(self._scope, environ):
            return self._next(environ, start_response)
        if not self._warned:
            self._warn_about_host(environ)
        try:
            self._verify(environ)
        except Refusal as refusal:
            return refuse(environ, start_response, refusal)
        return self._next(environ, start_response)

    def _verify(self, environ: WSGIEnvironment) -> None:
        """Raise a Refusal if the signature is missing or invalid, or the body cannot be read."""
        sha256 = environ.get("HTTP_X_SIGNALWIRE_SHA256_SIGNATURE")
        sha1 = environ.get("HTTP_X_SIGNALWIRE_SIGNATURE")
        sha1_alias = environ.get("HTTP_X_TWILIO_SIGNATURE")
        reason = check_headers(sha256, sha1, sha1_alias)
        if reason:
            raise invalid_signature(reason)
        try:
            url = public_request_url(environ, self.base_url)
        except ValueError:
            raise invalid_signature("bad_url") from None
        body = read_body(environ, self.max_bytes)
        replay_body(environ, body)
        verify = functools.partial(
            verify_request,
            url=url,
            body=body,
            sha256_signature=sha256,
            sha1_signature=sha1,
            sha1_alias_signature=sha1_alias,
            content_type=environ.get("CONTENT_TYPE", ""),
            spelled_url=self._spelled(url),
        )
        reason = verify(self._signing_keys).reason
        if reason:
            raise invalid_signature(reason)
        if len(self._signing_keys) > 1 and not verify(self._signing_keys[0]):
            log_security(environ, "fallback_credential", "signing_key")

    def _spelled(self, url: str) -> str | None:
        if self.base_url is None or self._spelled_base is None:
            return None
        return self._spelled_base + url[len(self.base_url) :]

    def _warn_about_host(self, environ: WSGIEnvironment) -> None:
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
            "webhook signatures are verified against a URL whose host the client chooses: "
            "set a base URL, trusted proxies or allowed hosts",
        )
