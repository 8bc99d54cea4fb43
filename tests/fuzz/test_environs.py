"""Whole requests: none makes an exception or a 5xx, and none passes a check that it should not.

The environs are not limited to what a server makes of a request: the layers must not depend on a
server's checks.
"""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from fuzz.strategies import (
    AUTHORIZATIONS,
    HOSTS,
    IPV4,
    OCTETS,
    PATHS,
    QUERIES,
    SCALARS,
    VALUES,
    listed,
    spoiled,
)
from hypothesis import given
from hypothesis import strategies as st
from support.wsgi import Response, basic, environ, send

from swaig_wsgi import AgentApp, AuthHandler, Settings, harden
from swaig_wsgi.core.tokens import token_from_query

USER, PASSWORD = "demo", "p@ss-w0rd:of-the-fuzzed"
RIGHT = basic(USER, PASSWORD)
HOST = "agent.example"
LIMIT = 2000
#: Every layer, with limits on rates that no run reaches.
SETTINGS = Settings(
    basic_auth_user=USER,
    basic_auth_password=PASSWORD,
    allowed_hosts=[HOST, ".b.example"],
    allowed_clients=["192.0.2.0/24", "10.0.0.0/8"],
    trusted_proxies=["10.0.0.0/8"],
    cors_origins=["https://app.example", "https://*.app.example"],
    csrf_protection=True,
    rate_limit=10**9,
    auth_failure_limit=10**9,
    max_request_size=LIMIT,
    swaig_secret="a shared secret of the fuzzed operators",
)

METHODS = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "get"]) | (
    st.text(OCTETS, max_size=5)
)
LENGTHS = spoiled(st.integers(0, 3000).map(str) | st.sampled_from(["-1", "1e3", "0x5", "9" * 30]))
TYPES = spoiled(
    st.sampled_from(
        ["application/json", "application/json; charset=utf-8", "text/plain", "multipart/form-data"]
    )
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "HTTP_HOST": st.sampled_from([HOST, "x.b.example:443"]) | spoiled(HOSTS),
        "HTTP_AUTHORIZATION": st.just(RIGHT) | spoiled(st.just(RIGHT)) | AUTHORIZATIONS,
        "HTTP_ORIGIN": spoiled(
            st.sampled_from(["https://app.example", "null", "http://evil.example"])
        ),
        "HTTP_ACCESS_CONTROL_REQUEST_METHOD": METHODS,
        "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": spoiled(st.just("content-type, authorization")),
        "HTTP_SEC_FETCH_SITE": st.sampled_from(["cross-site", "same-origin", "none", "x"]),
        "HTTP_X_FORWARDED_FOR": spoiled(listed(IPV4)),
        "HTTP_X_FORWARDED_PROTO": spoiled(st.sampled_from(["http", "https"])),
        "HTTP_X_FORWARDED_HOST": spoiled(HOSTS),
        "HTTP_X_FORWARDED_PORT": spoiled(st.sampled_from(["443", "80"])),
        "HTTP_X_FORWARDED_PREFIX": spoiled(st.sampled_from(["/a", "/a/b"])),
        "HTTP_FORWARDED": spoiled(st.just("for=192.0.2.1;host=a.example;proto=https")),
        "HTTP_TRANSFER_ENCODING": spoiled(st.sampled_from(["chunked", "gzip", "identity"])),
        "HTTP_X_REQUEST_ID": spoiled(st.just("0af7651916cd43dd8448eb211c80319c")),
        "HTTP_TRACEPARENT": spoiled(
            st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        ),
        "HTTP_ACCEPT": spoiled(st.just("application/json, text/html;q=0.5")),
        "HTTP_IF_NONE_MATCH": spoiled(st.just('"x", W/"y"')),
        "HTTP_RANGE": spoiled(st.just("bytes=0-5")),
        "HTTP_UPGRADE": st.just("websocket"),
        "CONTENT_LENGTH": LENGTHS,
        "CONTENT_TYPE": TYPES,
        "REMOTE_ADDR": spoiled(st.sampled_from(["192.0.2.7", "10.0.0.1", "::1"])),
        "RAW_URI": spoiled(st.sampled_from(["/", "http://evil.example/", "*", "//x"])),
        "SCRIPT_NAME": PATHS,
        "QUERY_STRING": QUERIES,
        "SERVER_NAME": spoiled(HOSTS),
        "SERVER_PORT": st.sampled_from(["80", "0", "", "x"]),
        "wsgi.url_scheme": st.sampled_from(["http", "https"]),
        "wsgi.input_terminated": st.booleans(),
    },
)
ENVIRONS = st.builds(
    lambda method, path, fields, body: {
        **environ(method, path, REMOTE_ADDR="192.0.2.7", HTTP_HOST=HOST),
        **fields,
        "wsgi.input": io.BytesIO(body),
    },
    *(
        METHODS,
        PATHS,
        FIELDS,
        st.binary(max_size=40) | st.binary(max_size=40).map(lambda b: b * 60),
    ),
)


class Site:
    """An application that records what reaches it."""

    def __init__(self) -> None:
        self.reached: list[tuple[dict[str, Any], bytes]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        length = environ.get("CONTENT_LENGTH")
        body = environ["wsgi.input"].read(int(length)) if length else b""
        self.reached.append((dict(environ), body))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]


@pytest.fixture(scope="module")
def site() -> Site:
    return Site()


@pytest.fixture(scope="module")
def hardened(site: Site) -> Any:
    return harden(site, SETTINGS, auth=AuthHandler(basic_auth=(USER, PASSWORD)))


def check_response(response: Response, method: str) -> None:
    """Check what every response has, whatever the request was."""
    assert 200 <= response.status < 500
    for name, value in response.fields:
        assert re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value)
        value.encode("latin-1")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    if response.status >= 400:
        assert response.headers["Content-Type"] == "application/json"
        length = response.headers["Content-Length"]
        assert response.body == b"" if method == "HEAD" else len(response.body) == int(length)
        assert method == "HEAD" or set(response.json) == {"error"}


@given(ENVIRONS)
def test_what_reaches_a_site_has_passed_every_check(
    site: Site, hardened: Any, request_environ: dict[str, Any]
) -> None:
    site.reached.clear()
    before = dict(request_environ)
    response = send(hardened, request_environ, validate=False)
    check_response(response, before["REQUEST_METHOD"])
    if not site.reached:
        return
    ((seen, body),) = site.reached
    scheme, _, credentials = before["HTTP_AUTHORIZATION"].partition(" ")
    assert scheme.lower() == "basic"
    assert credentials.lstrip(" ") == RIGHT.removeprefix("Basic ")
    assert re.fullmatch(r"(?i:agent\.example|(\w[-\w]*\.)*b\.example)\.?(:\d*)?", seen["HTTP_HOST"])
    assert re.match(r"192\.0\.2\.|10\.", seen["REMOTE_ADDR"])
    assert len(body) <= LIMIT
    if before["REMOTE_ADDR"] != "10.0.0.1":
        # Of a client that is no proxy, no forwarding field is left.
        assert not [name for name in seen if re.match("HTTP_(X_FORWARDED|FORWARDED|X_REAL)", name)]
        assert seen["HTTP_HOST"] == before["HTTP_HOST"]


def _transfer(args: dict[str, Any], raw_data: dict[str, Any]) -> dict[str, str]:
    RUN.append(raw_data)
    return {"response": "Transferred."}


def _look(text: str, count: int = 1) -> str:
    return f"{text!r:.20} {count}"


#: The requests for which the secure tool has run.
RUN: list[dict[str, Any]] = []
CALL_ID = "call-1"
CALL = {
    "function": "transfer",
    "call_id": CALL_ID,
    "argument": {"parsed": [{"amount": 5}], "raw": '{"amount": 5}'},
}


@pytest.fixture(scope="module")
def agent() -> AgentApp:
    app = AgentApp("fuzzed", settings=SETTINGS)
    app.define_tool("transfer", "Transfer", {"amount": {"type": "number"}}, _transfer, secure=True)
    app.define_tool("look", "Look", None, _look)
    return app


@pytest.fixture(scope="module")
def token(agent: AgentApp) -> str:
    (tool,) = (each for each in _tools(agent) if each["function"] == "transfer")
    found = token_from_query(tool["web_hook_url"].partition("?")[2])
    assert found is not None
    return found


def _tools(agent: AgentApp) -> list[dict[str, Any]]:
    made = environ("POST", "/", body={"call_id": CALL_ID}, HTTP_HOST=HOST, HTTP_AUTHORIZATION=RIGHT)
    document = send(agent, made).json
    (ai,) = (verb["ai"] for verb in document["sections"]["main"] if "ai" in verb)
    return list(ai["SWAIG"]["functions"])


@given(ENVIRONS)
def test_an_agent_serves_nothing_without_credentials(
    agent: AgentApp, request_environ: dict[str, Any]
) -> None:
    before = dict(request_environ)
    if before.get("HTTP_AUTHORIZATION", "").partition(" ")[2].strip(" ") == RIGHT[6:]:
        request_environ["HTTP_AUTHORIZATION"] = before["HTTP_AUTHORIZATION"] = RIGHT[:-3]
    response = send(agent, request_environ, validate=False)
    check_response(response, before["REQUEST_METHOD"])
    public = before["PATH_INFO"] in ("/health", "/ready")
    preflight = before["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ORIGIN" in before
    assert response.status >= 400 or public or (preflight and response.status == 204)
    assert RUN == []


BODIES = (
    st.dictionaries(st.sampled_from([*CALL, "meta_data", "call", "vars", "params", "x"]), VALUES)
    .map(lambda changes: json.dumps({**CALL, **changes}))
    .flatmap(lambda text: spoiled(st.just(text)))
    .map(lambda text: text.encode("utf-8", "surrogatepass"))
) | st.binary(max_size=30)
ENDPOINTS = st.sampled_from(
    ["/swaig", "/", "/post_prompt", "/debug_events", "/swaig/", "/sip", "/x"]
)


@given(
    st.sampled_from(["POST", "POST", "GET", "HEAD", "PUT"]),
    ENDPOINTS,
    QUERIES,
    BODIES,
    st.sampled_from(["application/json", "text/plain", ""]),
)
def test_an_agent_responds_to_every_authenticated_request(
    agent: AgentApp, method: str, path: str, query: str, body: bytes, kind: str
) -> None:
    made = environ(method, path, query=query, body=body, HTTP_HOST=HOST, HTTP_AUTHORIZATION=RIGHT)
    RUN.clear()
    response = send(agent, {**made, "CONTENT_TYPE": kind}, validate=False)
    check_response(response, method)
    if response.status == 200 and method != "HEAD":
        assert isinstance(response.json, dict)
    # No query here has the token of the call.
    assert RUN == []


@given(
    st.data(),
    st.sampled_from(["transfer", "look", "Transfer", "", "transfer "]),
    st.sampled_from([CALL_ID, "call-2", "", "CALL-1", None, 1]),
    st.dictionaries(st.sampled_from(["function", "call_id", "argument", "x"]), SCALARS, max_size=1),
)
def test_a_secure_tool_runs_only_with_its_token_in_its_call(
    agent: AgentApp, token: str, data: Any, function: str, call_id: Any, changes: dict[str, Any]
) -> None:
    text = data.draw(spoiled(st.just(token)))
    body = json.dumps({**CALL, "function": function, "call_id": call_id, **changes}).encode()
    made = environ(
        *("POST", "/swaig"),
        query=f"__token={text}",
        body=body,
        HTTP_HOST=HOST,
        HTTP_AUTHORIZATION=RIGHT,
        CONTENT_TYPE="application/json",
    )
    RUN.clear()
    response = send(agent, made, validate=False)
    check_response(response, "POST")
    request = json.loads(body)
    right = (request["function"], request["call_id"]) == ("transfer", CALL_ID)
    # A query is decoded before the token is: an escape is another way to write a character.
    same = token_or_none(f"__token={text}") in (token, token + "=" * (-len(token) % 4))
    if RUN:
        assert right
        assert same
    elif right and same and not changes:
        assert response.status == 200
        raise AssertionError("a valid call was refused")


def token_or_none(query: str) -> str | None:
    try:
        return token_from_query(query)
    except ValueError:
        return None
