"""CORS: pages may read what Starlette's layer lets them read, but for the rules below."""

from __future__ import annotations

import re
from typing import Any

from fuzz.strategies import LABELS, OCTETS, PORTS, listed, spoiled
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.middleware.cors import SAFELISTED_HEADERS
from starlette.middleware.cors import CORSMiddleware as StarletteCORS
from support.wsgi import Headers as Fields
from support.wsgi import Recorder, environ, send

from swaig_wsgi.core.cors import parse_origin_pattern
from swaig_wsgi.middleware import CORSMiddleware

DOMAINS = st.sampled_from(["a.example", "b.a.example", "evil.example", "localhost", "[::1]"]) | (
    st.lists(LABELS, min_size=2, max_size=3).map(".".join)
)
ORIGINS = st.builds("{}://{}{}".format, st.sampled_from(["https", "http", "HTTPS"]), DOMAINS, PORTS)
PATTERNS = ORIGINS | st.sampled_from(["https://*.a.example", "http://*.example.com:8080"])
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "get", "*"])
NAMES = st.sampled_from(["X-One", "x-two", "Content-Type", "accept", "Authorization", "*", ""])
REQUESTS = st.fixed_dictionaries(
    {"Origin": spoiled(ORIGINS) | st.sampled_from(["null", "*", "", "https://x.a.example"])},
    optional={
        "Access-Control-Request-Method": spoiled(METHODS),
        "Access-Control-Request-Headers": spoiled(listed(NAMES)),
    },
)


@st.composite
def policies(draw: Any) -> dict[str, Any]:
    """Return options for our layer."""
    origins = draw(st.just(["*"]) | st.lists(PATTERNS, max_size=3))
    methods = draw(st.lists(st.sampled_from(["GET", "POST", "PUT", "DELETE"]), max_size=3))
    some = st.sampled_from(["X-One", "X-Two", "Authorization", "content-type"])
    return {
        "origins": origins,
        "allow_methods": methods,
        "allow_headers": draw(st.none() | st.lists(some, max_size=3)),
        "allow_credentials": draw(st.booleans()),
        "expose_headers": draw(st.lists(st.sampled_from(["X-Total", "X-Page"]), max_size=1)),
    }


def starlette(policy: dict[str, Any]) -> StarletteCORS:
    """Return Starlette's layer with the same policy."""
    parsed = [each if each == "*" else parse_origin_pattern(each) for each in policy["origins"]]
    patterns = [
        re.escape(each).replace(re.escape("*"), r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
        for each in parsed
        if "*." in each
    ]
    names = policy["allow_headers"]
    return StarletteCORS(
        respond,
        allow_origins=[each for each in parsed if "*." not in each],
        allow_origin_regex="|".join(patterns) or None,
        # HEAD is GET without the content (RFC 9110 section 9.3.2); Starlette wants both named.
        allow_methods=policy["allow_methods"] + ["HEAD"] * ("GET" in policy["allow_methods"]),
        allow_headers=["*"] if names is None else names,
        # Fetch, "CORS check": with credentials, the wildcard matches nothing. Starlette reflects
        # any origin then, so that every page may act as its visitor; we never allow both.
        allow_credentials=policy["allow_credentials"] and "*" not in parsed,
        expose_headers=policy["expose_headers"],
    )


async def respond(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def response_of_starlette(layer: StarletteCORS, method: str, request: dict[str, str]) -> Any:
    """Return status and headers. Nothing in the layer waits, so no event loop is needed."""
    sent: list[Any] = []

    async def collect(message: Any) -> None:
        sent.append(message)

    headers = [(name.lower().encode(), text.encode("latin-1")) for name, text in request.items()]
    call = layer({"type": "http", "method": method, "headers": headers}, None, collect)
    try:
        call.send(None)
    except StopIteration:
        return sent[0]["status"], Headers(raw=sent[0]["headers"])
    raise AssertionError("it waits")


def response_of_ours(layer: CORSMiddleware, method: str, request: dict[str, str]) -> Any:
    response = send(layer, environ(method, headers=request), validate=False)
    return response.status, response.headers


def granted(headers: Any, *names: str) -> dict[str, str | None]:
    return {name: headers.get(f"Access-Control-{name}") for name in names}


@given(policies(), REQUESTS, st.sampled_from(["GET", "POST", "DELETE", "HEAD"]))
def test_a_page_may_read_what_it_may_read_with_starlette(
    policy: dict[str, Any], request: dict[str, str], method: str
) -> None:
    layers = compiled(policy)
    if layers is None:
        return
    status, ours = response_of_ours(layers[0], method, request)
    _, theirs = response_of_starlette(layers[1], method, request)
    assert status == 200
    origin = theirs.get("Access-Control-Allow-Origin")
    assert ours.get("Access-Control-Allow-Origin") == origin
    # Starlette sends the other fields to every origin, where they grant nothing: a browser looks
    # at them only after the origin was allowed (Fetch, "CORS check").
    if origin is not None:
        names = ("Allow-Credentials", "Expose-Headers")
        assert granted(ours, *names) == granted(theirs, *names)
    # Fetch, "CORS protocol and HTTP caches": a response that differs by origin says so.
    assert policy["origins"] == ["*"] or "Origin" in Fields.get_all(ours, "Vary")


def compiled(policy: dict[str, Any]) -> tuple[CORSMiddleware, StarletteCORS] | None:
    try:
        ours = CORSMiddleware(Recorder(), **policy)
    except ValueError:
        return None
    return ours, starlette(policy)


def refused_by_rule(policy: dict[str, Any], request: dict[str, str]) -> bool:
    """Return whether we refuse a preflight that Starlette allows.

    - Starlette always allows the four safelisted names. Browsers ask for one of them only if its
      value is not safelisted, such as JSON (Fetch, "CORS-unsafe request-header names"); to allow
      it is for the policy to decide.
    - A name that is not a token (RFC 9110 section 5.6.2) is no name, though all are allowed.
    """
    names = requested_names(request)
    if policy["allow_headers"] is None:
        return not all(re.fullmatch(r"[!#$%&'*+.^_`|~0-9a-z-]+", name) for name in names)
    allowed = {name.lower() for name in policy["allow_headers"]}
    return bool(set(names) & {name.lower() for name in SAFELISTED_HEADERS} - allowed)


def requested_names(request: dict[str, str]) -> list[str]:
    asked = request.get("Access-Control-Request-Headers", "")
    return [name for name in (each.strip(" \t").lower() for each in asked.split(",")) if name]


@given(policies(), REQUESTS)
def test_a_preflight_is_allowed_as_by_starlette(
    policy: dict[str, Any], request: dict[str, str]
) -> None:
    layers = compiled(policy)
    if layers is None or "Access-Control-Request-Method" not in request:
        return
    status, ours = response_of_ours(layers[0], "OPTIONS", request)
    names = requested_names(request)
    # RFC 9110 section 5.6.1: empty members of a list are ignored, and the white space around a
    # member is spaces and tabs alone.
    plain = {key: value for key, value in request.items() if not key.endswith("-Headers")}
    if names:
        plain["Access-Control-Request-Headers"] = ",".join(names)
    code, theirs = response_of_starlette(layers[1], "OPTIONS", plain)
    expected = code == 200 and not refused_by_rule(policy, request)
    if any(name != name.strip() for name in names):
        expected = False
    assert (status == 204) is expected
    assert status in (204, 403)
    if not expected:
        assert not [name for name in ours if name.lower().startswith("access-control-")]
        return
    same = ("Allow-Origin", "Allow-Credentials")
    assert granted(ours, *same) == granted(theirs, *same)
    listed_names = (ours.get("Access-Control-Allow-Headers") or "").lower().split(", ")
    assert set(names) <= set(listed_names)


@given(spoiled(PATTERNS), st.text(OCTETS, max_size=3), spoiled(ORIGINS))
def test_an_allowed_origin_is_the_configured_one(pattern: str, junk: str, origin: str) -> None:
    try:
        canonical = parse_origin_pattern(pattern)
    except ValueError:
        return
    layer = CORSMiddleware(Recorder(), [pattern])
    for sent in (origin, canonical + junk, junk + canonical, canonical.replace("*", junk)):
        _, headers = response_of_ours(layer, "GET", {"Origin": sent})
        if "Access-Control-Allow-Origin" in headers:
            labels = r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*"
            assert re.fullmatch(re.escape(canonical).replace(re.escape("*"), labels), sent)
            assert headers["Access-Control-Allow-Origin"] == sent
