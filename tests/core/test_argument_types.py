"""An argument of the wrong type is a TypeError, and for the sake of callers also a ValueError."""

import pytest

from swaig_wsgi.core.auth import (
    basic_challenge,
    check_api_key,
    check_basic_pair,
    check_bearer_token,
    check_field_name,
)
from swaig_wsgi.core.body_size import check_max_bytes
from swaig_wsgi.core.cors import cors_policy, parse_origin
from swaig_wsgi.core.headers import hsts_value, security_headers
from swaig_wsgi.core.hosts import host_patterns
from swaig_wsgi.core.paths import path_scope
from swaig_wsgi.core.proxies import trusted_proxies
from swaig_wsgi.core.rate_limit import RateLimit
from swaig_wsgi.core.signatures import signing_keys
from swaig_wsgi.core.tokens import SigningKey, check_signature_length, sign_token

KEY = SigningKey(b"0123456789abcdef")


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (basic_challenge, [None]),
        (check_api_key, [7]),
        (check_basic_pair, ["ab", "x"]),
        (check_basic_pair, [("a", None), "x"]),
        (check_bearer_token, [None]),
        (check_field_name, [b"X-Key", "x"]),
        (check_max_bytes, ["5"]),
        (check_signature_length, [16.0]),
        (cors_policy, ["https://app.example.com"]),
        (cors_policy, [None]),
        (host_patterns, ["a.example"]),
        (host_patterns, [[5]]),
        (hsts_value, [True]),
        (parse_origin, [b"https://a.example"]),
        (path_scope, ["/api"]),
        (path_scope, [["/api"], "/health"]),
        (path_scope, [[b"/api"]]),
        (RateLimit, [1.0]),
        (RateLimit, [1, "60"]),
        (RateLimit, [1, 60, None]),
        (security_headers, [{5: "1"}]),
        (security_headers, [{"X-A": 1}]),
        (sign_token, [KEY, None, "call", 1, "a"]),
        (sign_token, [KEY, "f", b"call", 1, "a"]),
        (sign_token, [KEY, "f", "call", "1", "a"]),
        (sign_token, [KEY, "f", "call", 1, 1]),
        (signing_keys, [None]),
        (signing_keys, [[None]]),
        (trusted_proxies, [True]),
        (trusted_proxies, ["10.0.0.1"]),
        (trusted_proxies, [[2]]),
    ],
)
@pytest.mark.parametrize("error", [TypeError, ValueError])
def test_a_wrong_type_is_both_errors(function, arguments, error):
    with pytest.raises(error):
        function(*arguments)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (check_api_key, [""]),
        (check_basic_pair, [("a",), "x"]),
        (check_max_bytes, [-1]),
        (cors_policy, [["a"]]),
        (host_patterns, [[]]),
        (path_scope, [["api"]]),
        (RateLimit, [0]),
        (security_headers, [{"X A": "1"}]),
        (signing_keys, [[""]]),
        (trusted_proxies, [0]),
    ],
)
def test_a_wrong_value_is_a_value_error_only(function, arguments):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        function(*arguments)
    assert not isinstance(caught.value, TypeError)
