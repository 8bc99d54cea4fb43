"""Every refusal that this library sends, one constructor each.

Code that refuses a request raises or returns a :class:`Refusal`; one function
(``swaig_wsgi.wsgi.refuse``) sends it and records it in the security log.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "Refusal",
    "bad_body",
    "bad_request",
    "client_not_allowed",
    "host_not_allowed",
    "https_required",
    "internal_error",
    "invalid_signature",
    "invalid_tool_token",
    "length_required",
    "malformed_host",
    "method_not_allowed",
    "not_found",
    "origin_not_allowed",
    "preflight_refused",
    "range_not_satisfiable",
    "rate_limited",
    "service_misconfigured",
    "service_unavailable",
    "too_large",
    "unauthorized",
    "unsupported_media_type",
]

_Headers = Iterable["tuple[str, str]"]


class Refusal(Exception):
    """The refusal of a request, an exception that also serves as a value.

    Attributes:
        status: the HTTP status of the response.
        error: the text that the client receives, as ``{"error": ...}``.
        reason: a code for the security log, such as ``malformed_length``.
        event: the event in the security log, such as ``body_refused``.
        detail: an explanation for the security log; never a secret.
        headers: fields of the response in addition to ``Content-Type`` and ``Content-Length``.
    """

    def __init__(
        self,
        status: int,
        error: str,
        reason: str,
        *,
        event: str = "request_refused",
        detail: str = "",
        headers: _Headers = (),
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.reason = reason
        self.event = event
        self.detail = detail
        self.headers = tuple(headers)


# 400


def bad_request(
    what: str,
    reason: str = "bad_request",
    *,
    event: str = "request_refused",
    headers: _Headers = (),
) -> Refusal:
    """Return the refusal of a malformed request; `what` names the malformed part."""
    error = f"Bad request: {what}"
    return Refusal(400, error, reason, event=event, detail=what, headers=headers)


def bad_body(what: str, reason: str) -> Refusal:
    """Return the refusal of a body whose framing or content is malformed."""
    return bad_request(what, reason, event="body_refused")


# 401, 403


def unauthorized(reason: str, headers: _Headers) -> Refusal:
    """Return the refusal of missing or wrong credentials; `headers` hold the challenges."""
    return Refusal(401, "Unauthorized", reason, event="auth_refused", headers=headers)


def host_not_allowed() -> Refusal:
    """Return the refusal of a host that is not in the allowlist."""
    error = "Forbidden: host not allowed"
    return Refusal(403, error, "host_not_allowed", event="host_refused")


def client_not_allowed(reason: str, detail: str = "") -> Refusal:
    """Return the refusal of a client that is not in the allowlist, or whose address is unknown."""
    error = "Forbidden: client not allowed"
    return Refusal(403, error, reason, event="client_refused", detail=detail)


def https_required(detail: str) -> Refusal:
    """Return the refusal of a request over plain HTTP; `detail` is the operator's remedy."""
    error = "Forbidden: https required"
    return Refusal(403, error, "plain_http", event="https_refused", detail=detail)


def malformed_host(reason: str) -> Refusal:
    """Return the refusal of a missing or malformed Host."""
    return bad_request("malformed Host header", reason, event="host_refused")


def origin_not_allowed() -> Refusal:
    """Return the refusal of an unsafe request from a page of another origin (CSRF)."""
    error = "Forbidden: origin not allowed"
    vary = [("Vary", "Origin")]
    return Refusal(403, error, "origin_not_allowed", event="origin_refused", headers=vary)


def preflight_refused(what: str, reason: str, headers: _Headers) -> Refusal:
    """Return the refusal of a CORS preflight; `what` is the origin, a method or a header."""
    error = f"Forbidden: {what} not allowed{'' if what == 'origin' else ' for this origin'}"
    return Refusal(403, error, reason, event="preflight_refused", headers=headers)


def invalid_signature(reason: str) -> Refusal:
    """Return the refusal of a webhook whose signature is missing or wrong."""
    return Refusal(403, "Forbidden: invalid signature", reason, event="signature_refused")


def invalid_tool_token(reason: str, detail: str = "") -> Refusal:
    """Return the refusal of a tool call whose token is missing or wrong."""
    error = "Forbidden: invalid tool token"
    return Refusal(403, error, reason, event="tool_token_refused", detail=detail)


# 404 to 429


def not_found(reason: str = "not_found") -> Refusal:
    """Return the refusal of a path, or a tool, that does not exist."""
    return Refusal(404, "Not found", reason)


def method_not_allowed(allow: Iterable[str]) -> Refusal:
    """Return the refusal of a method; `allow` are the methods of the resource."""
    headers = [("Allow", ", ".join(sorted(allow)))]
    return Refusal(405, "Method not allowed", "method_not_allowed", headers=headers)


def length_required() -> Refusal:
    """Return the refusal of a chunked body behind a server that cannot delimit it."""
    return Refusal(411, "Length required", "length_required", event="body_refused")


def too_large(reason: str = "too_large") -> Refusal:
    """Return the refusal of a body over the limit."""
    return Refusal(413, "Request too large", reason, event="body_refused")


def unsupported_media_type() -> Refusal:
    """Return the refusal of a body whose type is not JSON."""
    return Refusal(415, "Unsupported media type", "unsupported_media_type")


def range_not_satisfiable(length: int) -> Refusal:
    """Return the refusal of a range outside a file of `length` bytes."""
    headers = [("Content-Range", f"bytes */{length}")]
    return Refusal(416, "Range not satisfiable", "range_not_satisfiable", headers=headers)


def rate_limited(
    retry_after: int, headers: _Headers = (), *, event: str = "rate_limited"
) -> Refusal:
    """Return the refusal of a client over its limit, for `retry_after` seconds."""
    headers = [("Retry-After", str(retry_after)), *headers]
    error = "Rate limit exceeded"
    return Refusal(429, error, "limit_exceeded", event=event, headers=headers)


# 500, 503


def internal_error() -> Refusal:
    """Return the refusal of a request during which our own code failed."""
    return Refusal(500, "Internal server error", "exception", event="request_failed")


def service_unavailable(event: str, reason: str, detail: str = "") -> Refusal:
    """Return the refusal while something that this service needs fails."""
    return Refusal(503, "Service unavailable", reason, event=event, detail=detail)


def service_misconfigured(reason: str, detail: str = "") -> Refusal:
    """Return the refusal of a service whose state or layers contradict each other."""
    error = "Service misconfigured"
    return Refusal(503, error, reason, event="service_misconfigured", detail=detail)
