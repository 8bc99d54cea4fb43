from __future__ import annotations

import hashlib
import logging
from typing import Any
from urllib.parse import urlencode
from wsgiref.validate import validator

import pytest
from support.bodies import Unreadable
from support.wsgi import CLIENT, Recorder, check_delegates, environ, send

from swaig_wsgi.core.redaction import redact_text
from swaig_wsgi.core.signatures import sign_body, sign_form
from swaig_wsgi.core.urls import BaseUrl
from swaig_wsgi.middleware.proxies import TrustedProxyMiddleware
from swaig_wsgi.middleware.signatures import WebhookSignatureMiddleware

KEY = "PSKtest1234567890abcdef"
URL = "https://agent.example.com/swaig?a=1"
BODY = b'{"function": "transfer_funds"}'
SHA256 = "HTTP_X_SIGNALWIRE_SHA256_SIGNATURE"
SHA1 = "HTTP_X_SIGNALWIRE_SIGNATURE"
ALIAS = "HTTP_X_TWILIO_SIGNATURE"
FORM = "application/x-www-form-urlencoded"


def signed(body: bytes = BODY, method: str = "POST", **changes: Any) -> dict[str, Any]:
    """Return the environ of the signed request, with `changes`."""
    values = {
        "wsgi_url_scheme": "https",
        "HTTP_HOST": "agent.example.com",
        "CONTENT_TYPE": "application/json",
        **changes,
    }
    return environ(method, "/swaig", query="a=1", body=body, **values)


def guarded(key: Any = KEY, **options: Any) -> tuple[Any, Recorder]:
    echo = Recorder(body=None)
    return WebhookSignatureMiddleware(validator(echo), key, **options), echo


def reasons(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.event, record.reason)  # type: ignore[attr-defined]
        for record in caplog.records
        if record.event != "signature_url_unverified"  # type: ignore[attr-defined]
    ]


def test_signed_requests_reach_the_application_with_their_body(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, digest in ((SHA256, "sha256"), (SHA1, "sha1"), (ALIAS, "sha1")):
        app, echo = guarded()
        response = send(app, signed(**{name: sign_body(KEY, URL, BODY, digest=digest)}))
        assert (response.status, response.body, echo.bodies) == (200, BODY, [BODY])
    assert reasons(caplog) == []


def test_a_signed_form_is_admitted() -> None:
    app, echo = guarded()
    body = urlencode([("b", "2"), ("a", "1 ä")]).encode()
    signature = sign_form(KEY, URL, [("b", "2"), ("a", "1 ä")])
    response = send(app, signed(body, CONTENT_TYPE=FORM, **{SHA1: signature}))
    assert (response.status, echo.bodies) == (200, [body])


def test_a_body_without_a_content_type_is_signed_as_it_is() -> None:
    app, echo = guarded()
    signature = sign_body(KEY, URL, BODY, digest="sha1")
    assert send(app, signed(CONTENT_TYPE=None, **{SHA1: signature})).status == 200
    assert echo.bodies == [BODY]


def test_json_with_its_hash_in_the_query_is_admitted() -> None:
    app, echo = guarded()
    query = f"bodySHA256={hashlib.sha256(BODY).hexdigest()}"
    signature = sign_form(KEY, f"https://agent.example.com/swaig?{query}", ())
    request = signed(QUERY_STRING=query, **{SHA1: signature})
    assert send(app, request).status == 200
    tampered = signed(BODY + b" ", QUERY_STRING=query, **{SHA1: signature})
    assert send(app, tampered).status == 403
    assert echo.bodies == [BODY]


def good(digest: str = "sha256", **changes: Any) -> dict[str, Any]:
    return {
        SHA256 if digest == "sha256" else SHA1: sign_body(KEY, URL, BODY, digest=digest),
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "missing_signature"),
        ({SHA256: ""}, "malformed_signature"),
        ({SHA256: "0" * 64}, "bad_sha256"),
        (good(QUERY_STRING="a=2"), "bad_sha256"),
        (good(QUERY_STRING="a=1&a=1"), "bad_sha256"),
        (good(PATH_INFO="/other"), "bad_sha256"),
        (good(HTTP_HOST="evil.example"), "bad_sha256"),
        (good(wsgi_url_scheme="http"), "bad_sha256"),
        (good("sha1", **{SHA256: "0" * 64}), "bad_sha256"),
        (good("sha1", **{SHA256: ""}), "malformed_signature"),
        ({SHA1: "1" * 40, ALIAS: "0" * 40}, "bad_sha1"),
        ({SHA1: "", ALIAS: "junk"}, "malformed_signature"),
        ({SHA1: "0" * 40}, "bad_sha1"),
        ({ALIAS: "0" * 40}, "bad_sha1"),
        ({SHA256: f"{sign_body(KEY, URL, BODY)},{'0' * 64}"}, "malformed_signature"),
        ({SHA256: sign_body("other", URL, BODY)}, "bad_sha256"),
        ({SHA256: sign_body(KEY, URL, BODY + b" ")}, "bad_sha256"),
        ({SHA1: sign_form(KEY, URL, ())}, "url_only"),
        ({SHA1: sign_form(KEY, URL, ()), "CONTENT_TYPE": FORM}, "url_only"),
        (good(HTTP_HOST="user@agent.example.com"), "bad_url"),
        (good(RAW_URI="/swaig?a={"), "bad_url"),
    ],
)
def test_invalid_signatures_are_403_and_logged(
    changes: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, echo = guarded(base_url=None)
    response = send(app, signed(**changes))
    assert (response.status, response.body) == (403, b'{"error": "Forbidden: invalid signature"}')
    assert response.headers == {
        "Content-Type": "application/json",
        "Content-Length": str(len(response.body)),
    }
    assert echo.bodies == []
    assert reasons(caplog) == [("signature_refused", reason)]
    assert KEY not in caplog.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "post", "TRACE", "PROPFIND"])
def test_unsafe_methods_must_be_signed(method: str) -> None:
    app, echo = guarded()
    statuses: list[str] = []
    app(signed(method=method), lambda status, headers: statuses.append(status))
    assert statuses == ["403 Forbidden"]
    assert echo.bodies == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_safe_methods_need_no_signature(method: str) -> None:
    app, echo = guarded()
    assert send(app, signed(b"", method)).status == 200
    assert echo.bodies == [b""]


@pytest.mark.parametrize("changes", [{}, {SHA256: "junk"}, {SHA1: ""}, {SHA1: "a", ALIAS: "b"}])
def test_a_body_without_a_well_formed_signature_is_not_read(changes: dict[str, Any]) -> None:
    app, _ = guarded()
    assert send(app, signed(wsgi_input=Unreadable(), **changes)).status == 403


def test_only_protected_paths_need_a_signature() -> None:
    app, echo = guarded(protect=("/swaig",), exempt=("/swaig/open",))
    for path in ("/", "/other", "/swaig/open"):
        assert send(app, signed(PATH_INFO=path)).status == 200
    for path in ("/swaig", "/swaig/", "//swaig", "/x/../swaig", "/swaig/open/", "/swaig/./open"):
        assert send(app, signed(PATH_INFO=path)).status == 403
    assert len(echo.bodies) == 3


def test_a_body_over_the_limit_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    app, echo = guarded(max_bytes=len(BODY) - 1)
    response = send(app, signed(**good()))
    assert (response.status, response.body) == (413, b'{"error": "Request too large"}')
    assert echo.bodies == []
    assert [event for event, _ in reasons(caplog)] == ["body_refused"]


def test_the_default_limit_is_one_mebibyte() -> None:
    for size, status in ((1_048_576, 200), (1_048_577, 413)):
        body = b"x" * size
        app, _ = guarded()
        assert send(app, signed(body, **{SHA256: sign_body(KEY, URL, body)})).status == status


def test_a_chunked_body_is_verified_and_passed_on_with_its_length() -> None:
    app, echo = guarded()
    request = signed(
        **good(wsgi_input_terminated=True, HTTP_TRANSFER_ENCODING="chunked", CONTENT_LENGTH=None)
    )
    assert send(app, request).status == 200
    assert echo.bodies == [BODY]


def test_the_raw_request_target_is_verified() -> None:
    raw = "/%73waig?a=%2f"
    signature = sign_body(KEY, "https://agent.example.com" + raw, BODY)
    for key in ("RAW_URI", "REQUEST_URI"):
        app, _ = guarded()
        request = signed(QUERY_STRING="a=%2f", **{key: raw, SHA256: signature})
        assert send(app, request).status == 200


def test_base_url_overrides_scheme_and_host() -> None:
    app, _ = guarded(base_url="https://agent.example.com/")
    request = signed(**good(HTTP_HOST="10.0.0.1:8000", wsgi_url_scheme="http"))
    assert send(app, request).status == 200
    app, _ = guarded(base_url="https://other.example")
    assert send(app, signed(**good())).status == 403


def test_the_base_url_may_have_been_signed_in_its_configured_spelling() -> None:
    for base_url in ("https://Agent.Example.com/", BaseUrl("https://Agent.Example.com")):
        app, _ = guarded(base_url=base_url)
        for host in ("Agent.Example.com", "agent.example.com", "Agent.Example.com:443"):
            signature = sign_body(KEY, f"https://{host}/swaig?a=1", BODY)
            request = signed(**{SHA256: signature, "HTTP_HOST": "10.0.0.1"})
            assert send(app, request).status == 200
        for url in ("https://AGENT.example.com/swaig?a=1", "https://Agent.Example.com/Swaig?a=1"):
            request = signed(**{SHA256: sign_body(KEY, url, BODY)})
            assert send(app, request).status == 403
    # Without a base URL the client chooses the spelling.
    app, _ = guarded()
    assert send(app, signed(**good(HTTP_HOST="Agent.Example.com"))).status == 403


def test_either_of_two_sha1_headers_may_be_right_but_never_beside_a_wrong_sha256() -> None:
    app, _ = guarded()
    sha1 = sign_body(KEY, URL, BODY, digest="sha1")
    for changes in ({SHA1: sha1, ALIAS: "0" * 40}, {SHA1: "junk", ALIAS: sha1}):
        assert send(app, signed(**changes)).status == 200
        for sha256 in ("0" * 64, "A" * 43 + "=", ""):
            assert send(app, signed(**changes, **{SHA256: sha256})).status == 403


def test_each_of_several_keys_verifies() -> None:
    app, _ = guarded(key=["new key", KEY])
    assert send(app, signed(**good())).status == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": ""}, "signing key"),
        ({"key": []}, "signing key"),
        ({"key": None}, "signing key"),
        ({"base_url": "agent.example.com"}, "absolute URL"),
        ({"base_url": ""}, "absolute URL"),
        ({"protect": "/swaig"}, "sequence"),
        ({"exempt": ["swaig"]}, "must start with"),
        ({"max_bytes": -1}, "max_bytes"),
    ],
)
def test_invalid_options_are_rejected(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        guarded(**options)


def test_a_signature_of_an_earlier_key_is_recorded(caplog: pytest.LogCaptureFixture) -> None:
    app, echo = guarded(["n3w", KEY, "0ld"], base_url="https://agent.example.com")
    for key, is_fallback in (("n3w", False), (KEY, True), ("0ld", True)):
        for name, digest in ((SHA256, "sha256"), (SHA1, "sha1")):
            caplog.clear()
            request = signed(**{name: sign_body(key, URL, BODY, digest=digest)})
            assert send(app, request).body == BODY
            fallback = ("fallback_credential", "signing_key")
            assert reasons(caplog) == ([fallback] if is_fallback else [])
            assert key not in caplog.text
    assert len(echo.bodies) == 6


def test_the_keys_are_in_no_repr_and_hidden_in_all_texts() -> None:
    app, _ = guarded([KEY, "an earlier key"])
    assert KEY not in repr(app)
    assert redact_text(f"with {KEY} and an earlier key") == "with **** and ****"


# -- the host in the signed URL


def warnings(caplog: pytest.LogCaptureFixture) -> int:
    return sum(
        getattr(record, "event", "") == "signature_url_unverified"
        and (record.reason, record.client) == ("host_not_verified", CLIENT)  # type: ignore[attr-defined]
        and record.levelno == logging.WARNING
        and record.name == "swaig_wsgi.security"
        for record in caplog.records
    )


def test_an_unverified_host_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    app, _ = guarded()
    send(app, signed(b"", "GET"))
    assert warnings(caplog) == 0
    for _ in range(3):
        send(app, signed(**good()))
    assert warnings(caplog) == 1


@pytest.mark.parametrize(
    ("key", "given", "unset"),
    [
        # The warning is about direct requests that bypass the proxy,
        ("swaig_wsgi.forwarded", True, False),
        # and about a host that was set after the allowlist was checked.
        ("swaig_wsgi.host_allowed", "agent.example.com", "other.example"),
    ],
)
def test_a_host_from_a_trusted_proxy_or_the_allowlist_is_not_logged(
    key: str, given: object, unset: object, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = guarded()
    send(app, signed(**good(**{key: given})))
    assert warnings(caplog) == 0
    send(app, signed(**good(**{key: unset})))
    assert warnings(caplog) == 1


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({"HTTP_X_FORWARDED_HOST": "agent.example.com"}, 0),
        # The host still comes from the client.
        ({"HTTP_X_FORWARDED_PROTO": "https"}, 1),
    ],
)
def test_a_proxy_that_does_not_forward_the_host_leaves_it_unverified(
    given: dict[str, str], count: int, caplog: pytest.LogCaptureFixture
) -> None:
    app = TrustedProxyMiddleware(guarded()[0], [CLIENT])
    assert send(app, signed(**good(**given))).status == 200
    assert warnings(caplog) == count


def test_a_host_from_the_base_url_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    app, _ = guarded(base_url="https://agent.example.com")
    send(app, signed(**good()))
    assert warnings(caplog) == 0


# -- passing through


@pytest.mark.parametrize("sent", [signed(b"", "GET"), signed(**good())], ids=["GET", "POST"])
def test_iterable_and_start_response_are_passed_through(sent: dict[str, Any]) -> None:
    check_delegates(lambda app: WebhookSignatureMiddleware(app, KEY), sent)
