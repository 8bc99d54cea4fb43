"""The table of refusals: status, text for the client, event and reason."""

import pytest

from swaig_wsgi.core import refusals
from swaig_wsgi.core.body_size import BodyError
from swaig_wsgi.core.strict_json import JSONBodyError

H = (("X-A", "b"),)

#: Constructor, arguments, and what they make: status, error, event, reason, detail, headers.
TABLE = [
    ("bad_request", ["x"], 400, "Bad request: x", "request_refused", "bad_request", "x", ()),
    ("bad_body", ["x", "y"], 400, "Bad request: x", "body_refused", "y", "x", ()),
    ("unauthorized", ["y", H], 401, "Unauthorized", "auth_refused", "y", "", H),
    (
        *("malformed_host", ["y"], 400, "Bad request: malformed Host header", "host_refused", "y"),
        *("malformed Host header", ()),
    ),
    (
        *("host_not_allowed", [], 403, "Forbidden: host not allowed", "host_refused"),
        *("host_not_allowed", "", ()),
    ),
    (
        *("client_not_allowed", ["y"], 403, "Forbidden: client not allowed", "client_refused"),
        *("y", "", ()),
    ),
    (
        *("https_required", ["x"], 403, "Forbidden: https required", "https_refused"),
        *("plain_http", "x", ()),
    ),
    (
        *("origin_not_allowed", [], 403, "Forbidden: origin not allowed", "origin_refused"),
        *("origin_not_allowed", "", (("Vary", "Origin"),)),
    ),
    (
        *("preflight_refused", ["origin", "y", H], 403, "Forbidden: origin not allowed"),
        *("preflight_refused", "y", "", H),
    ),
    (
        *("preflight_refused", ["x", "y", H], 403, "Forbidden: x not allowed for this origin"),
        *("preflight_refused", "y", "", H),
    ),
    (
        *("invalid_signature", ["y"], 403, "Forbidden: invalid signature", "signature_refused"),
        *("y", "", ()),
    ),
    (
        *("invalid_tool_token", ["y"], 403, "Forbidden: invalid tool token", "tool_token_refused"),
        *("y", "", ()),
    ),
    ("not_found", [], 404, "Not found", "request_refused", "not_found", "", ()),
    (
        *("method_not_allowed", [["POST", "GET"]], 405, "Method not allowed", "request_refused"),
        *("method_not_allowed", "", (("Allow", "GET, POST"),)),
    ),
    ("length_required", [], 411, "Length required", "body_refused", "length_required", "", ()),
    ("too_large", [], 413, "Request too large", "body_refused", "too_large", "", ()),
    (
        *("unsupported_media_type", [], 415, "Unsupported media type", "request_refused"),
        *("unsupported_media_type", "", ()),
    ),
    (
        *("range_not_satisfiable", [9], 416, "Range not satisfiable", "request_refused"),
        *("range_not_satisfiable", "", (("Content-Range", "bytes */9"),)),
    ),
    (
        *("rate_limited", [7, H], 429, "Rate limit exceeded", "rate_limited"),
        *("limit_exceeded", "", (("Retry-After", "7"), *H)),
    ),
    ("internal_error", [], 500, "Internal server error", "request_failed", "exception", "", ()),
    ("service_unavailable", ["x", "y"], 503, "Service unavailable", "x", "y", "", ()),
    (
        *("service_misconfigured", ["y"], 503, "Service misconfigured", "service_misconfigured"),
        *("y", "", ()),
    ),
]


@pytest.mark.parametrize(
    ("name", "arguments", "status", "error", "event", "reason", "detail", "headers"), TABLE
)
def test_each_row(name, arguments, status, error, event, reason, detail, headers):
    refusal = getattr(refusals, name)(*arguments)
    assert (refusal.status, refusal.error, str(refusal)) == (status, error, error)
    assert (refusal.event, refusal.reason) == (event, reason)
    assert (refusal.detail, refusal.headers) == (detail, headers)


def test_every_constructor_has_its_row():
    assert {name for name, *_ in TABLE} == {*refusals.__all__} - {"Refusal"}


def test_details_and_other_reasons_are_taken_over():
    for refusal in (
        refusals.client_not_allowed("y", "x"),
        refusals.invalid_tool_token("y", "x"),
        refusals.service_unavailable("z", "y", "x"),
        refusals.service_misconfigured("y", "x"),
    ):
        assert (refusal.reason, refusal.detail) == ("y", "x")
    assert refusals.not_found("y").reason == refusals.too_large("y").reason == "y"
    assert refusals.rate_limited(7, event="z").event == "z"
    refusal = refusals.bad_request("x", "y", event="z", headers=H)
    assert (refusal.reason, refusal.event, refusal.headers) == ("y", "z", H)


def test_errors_about_bodies_are_refusals():
    error = BodyError(413, "Request too large", "too_large")
    assert isinstance(error, refusals.Refusal)
    assert (error.status, error.error, error.reason) == (413, "Request too large", "too_large")
    error = JSONBodyError("not JSON")
    assert isinstance(error, ValueError)
    assert (str(error), error.what, error.error) == (
        "not JSON",
        "not JSON",
        "Bad request: not JSON",
    )
