"""The table of refusals: status, text for the client, event and reason."""

import pytest

from swaig_wsgi.core import refusals
from swaig_wsgi.core.body_size import BodyError
from swaig_wsgi.core.strict_json import JSONBodyError

TABLE = [
    (refusals.bad_request("x"), 400, "Bad request: x", "request_refused", "bad_request"),
    (refusals.bad_body("x", "y"), 400, "Bad request: x", "body_refused", "y"),
    (refusals.unauthorized("y", []), 401, "Unauthorized", "auth_refused", "y"),
    (
        refusals.malformed_host("y"),
        400,
        "Bad request: malformed Host header",
        "host_refused",
        "y",
    ),
    (
        refusals.host_not_allowed(),
        403,
        "Forbidden: host not allowed",
        "host_refused",
        "host_not_allowed",
    ),
    (
        refusals.client_not_allowed("y"),
        403,
        "Forbidden: client not allowed",
        "client_refused",
        "y",
    ),
    (
        refusals.https_required("remedy"),
        403,
        "Forbidden: https required",
        "https_refused",
        "plain_http",
    ),
    (
        refusals.origin_not_allowed(),
        403,
        "Forbidden: origin not allowed",
        "origin_refused",
        "origin_not_allowed",
    ),
    (
        refusals.preflight_refused("origin", "y", []),
        403,
        "Forbidden: origin not allowed",
        "preflight_refused",
        "y",
    ),
    (
        refusals.preflight_refused("method", "y", []),
        403,
        "Forbidden: method not allowed for this origin",
        "preflight_refused",
        "y",
    ),
    (
        refusals.invalid_signature("y"),
        403,
        "Forbidden: invalid signature",
        "signature_refused",
        "y",
    ),
    (
        refusals.invalid_tool_token("y"),
        403,
        "Forbidden: invalid tool token",
        "tool_token_refused",
        "y",
    ),
    (refusals.not_found(), 404, "Not found", "request_refused", "not_found"),
    (
        refusals.method_not_allowed(["GET"]),
        405,
        "Method not allowed",
        "request_refused",
        "method_not_allowed",
    ),
    (refusals.length_required(), 411, "Length required", "body_refused", "length_required"),
    (refusals.too_large(), 413, "Request too large", "body_refused", "too_large"),
    (
        refusals.unsupported_media_type(),
        415,
        "Unsupported media type",
        "request_refused",
        "unsupported_media_type",
    ),
    (
        refusals.range_not_satisfiable(9),
        416,
        "Range not satisfiable",
        "request_refused",
        "range_not_satisfiable",
    ),
    (refusals.rate_limited(7), 429, "Rate limit exceeded", "rate_limited", "limit_exceeded"),
    (refusals.internal_error(), 500, "Internal server error", "request_failed", "exception"),
    (refusals.service_unavailable("x", "y"), 503, "Service unavailable", "x", "y"),
    (
        refusals.service_misconfigured("y"),
        503,
        "Service misconfigured",
        "service_misconfigured",
        "y",
    ),
]


@pytest.mark.parametrize(("refusal", "status", "error", "event", "reason"), TABLE)
def test_each_row(refusal, status, error, event, reason):
    assert (refusal.status, refusal.error) == (status, error)
    assert (refusal.event, refusal.reason) == (event, reason)


def test_every_constructor_has_its_row():
    made = {refusal.error.partition(":")[0] for refusal, *_ in TABLE}
    assert len(TABLE) == len(refusals.__all__)  # Less Refusal, and one constructor twice.
    assert {"Unauthorized", "Forbidden", "Bad request"} <= made


def test_methods_are_listed_in_order():
    assert refusals.method_not_allowed(["POST", "GET"]).headers == (("Allow", "GET, POST"),)


def test_a_rate_limit_has_a_retry_after():
    headers = refusals.rate_limited(7, [("RateLimit", "x")]).headers
    assert headers == (("Retry-After", "7"), ("RateLimit", "x"))


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
