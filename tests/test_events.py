"""docs/events.md lists every event with its reasons and levels, and its lines are real."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.wsgi import Recorder, request

import swaig_wsgi
from swaig_wsgi import AgentApp, AuthHandler, Settings, harden
from swaig_wsgi.agent.static import StaticFiles
from swaig_wsgi.core.signatures import sign_body, sign_form
from swaig_wsgi.middleware import (
    AllowedClientsMiddleware,
    AllowedHostsMiddleware,
    AuthFailureLimitMiddleware,
    AuthMiddleware,
    BodySizeMiddleware,
    CORSMiddleware,
    HTTPSMiddleware,
    RateLimitMiddleware,
    ToolTokenMiddleware,
    TrustedProxyMiddleware,
    WebhookSignatureMiddleware,
)
from swaig_wsgi.sessions import SessionManager
from swaig_wsgi.stores import MemoryStore, StoreError
from swaig_wsgi.testing import AgentClient
from swaig_wsgi.wsgi import JSONFormatter, LineFormatter, _security_log
from swaig_wsgi.wsgi._repeats import WINDOW, Repeats

PACKAGE = Path(swaig_wsgi.__file__).parent
PAGE = (Path(__file__).parent.parent / "docs" / "events.md").read_text()
AUTH = ("platform", "a-long-password")
ALWAYS = {"event", "reason", "client", "request_id", "agent", "method", "path"}

Event = "tuple[str, str, str]"


def listed() -> set[tuple[str, str, str]]:
    """Return event, reason and level of each row in the page."""
    found = set()
    events: list[str] = []
    section = PAGE.partition("## Security events")[2].partition("\n## ")[0]
    for row in re.findall(r"^\| (?!event|---)(.*) \|$", section, re.M):
        first, reasons, _, advice = (
            row.split(" | ")[:4] if row[0] == "`" else ["", *row[2:].split(" | ")]
        )
        events = re.findall(r"`(\w+)`", first) or events
        assert advice.endswith("."), row
        for reason, error in re.findall(r"`(\w+)`( \(ERROR\))?", reasons):
            level = "ERROR" if error else "WARNING"
            found.update((event, reason, level) for event in events)
    return found


LISTED = listed()


# The code


def trees(package: str = "") -> Iterator[ast.AST]:
    for path in (PACKAGE / package).rglob("*.py"):
        yield ast.parse(path.read_text(), str(path))


def constants(node: ast.AST) -> set[str]:
    """Return the strings below a node, except those that are keys or further arguments."""
    if isinstance(node, (ast.Subscript, ast.Dict)):
        return set()
    if isinstance(node, ast.Constant):
        return {node.value} if isinstance(node.value, str) else set()
    return set().union(*map(constants, ast.iter_child_nodes(node)))


#: Functions and classes, and the positions of event and reason among their arguments.
EVENT_AT = {"log_security": 1, "service_unavailable": 0}
REASON_AT = {
    "log_security": 2,
    "service_unavailable": 1,
    "bad_request": 1,
    "bad_body": 1,
    "unauthorized": 0,
    "client_not_allowed": 0,
    "malformed_host": 0,
    "invalid_signature": 0,
    "invalid_tool_token": 0,
    "not_found": 0,
    "too_large": 0,
    "service_misconfigured": 0,
    "Refusal": 2,
    "TokenError": 0,
    "Decision": 1,
    "SignatureCheck": 1,
    "Preflight": 1,
    "_log_shared": 1,
    "_log": 2,
}
RETURN_REASONS = ("check_headers", "_sha1_fault", "refusal")
NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


def in_code() -> tuple[set[str], set[str]]:
    """Return the events and the reasons that the code names as literals."""
    events, reasons = set(), set()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                for places, found in ((EVENT_AT, events), (REASON_AT, reasons)):
                    if name in places and len(node.args) > places[name]:
                        found |= constants(node.args[places[name]])
                for keyword in node.keywords:
                    if keyword.arg == "event" and name in {*REASON_AT, "rate_limited"}:
                        events |= constants(keyword.value)
            elif isinstance(node, ast.FunctionDef):
                arguments = [*node.args.args, *node.args.kwonlyargs]
                defaults = [*node.args.defaults, *node.args.kw_defaults]
                for argument, default in zip(arguments[::-1], defaults[::-1]):
                    if argument.arg in ("event", "reason") and default is not None:
                        (events if argument.arg == "event" else reasons).update(constants(default))
    for tree in trees("core"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "reason":
                reasons |= constants(node.value)
            elif isinstance(node, ast.FunctionDef) and node.name in RETURN_REASONS:
                for each in ast.walk(node):
                    if isinstance(each, ast.Return) and each.value is not None:
                        reasons |= constants(each.value)
    # An f-string: f"{kind}_shared".
    parts = {event for event in events if event.startswith("_")}
    events -= parts
    events |= {kind + part for kind in ("rate_limit", "auth_failure_limit") for part in parts}
    return ({each for each in found if NAME.fullmatch(each)} for found in (events, reasons))


EVENTS, REASONS = in_code()


def test_every_event_and_reason_in_the_code_is_listed() -> None:
    assert (
        EVENTS - {event for event, _, _ in LISTED} - {"tool_call", "document", "summary"} == set()
    )
    assert REASONS - {reason for _, reason, _ in LISTED} == set()


def test_every_listed_event_and_reason_is_in_the_code() -> None:
    literals = {
        each.value
        for tree in trees()
        for each in ast.walk(tree)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }
    f_strings = {
        f"{kind}{part}" for kind in ("rate_limit", "auth_failure_limit") for part in literals
    }
    assert {event for event, _, _ in LISTED} <= literals | f_strings
    assert {reason for _, reason, _ in LISTED} <= literals


def test_every_outcome_is_listed() -> None:
    section = PAGE.partition("## Calls")[2].partition("\n## ")[0]
    outcomes = dict(re.findall(r"^\| `(\w+)` \| (INFO|WARNING) \|", section, re.M))
    found, given = set(), set()
    for tree in trees():
        for node in ast.walk(tree):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if name.endswith(("on_outcome", "record.set_outcome")):
                found |= constants(node.args[0])
                given |= set().union(*map(constants, node.args[1:]))
    assert found | {"ran", "repeated"} == set(outcomes)
    assert given - set(re.findall(r"`(\w+)`", PAGE)) == set()
    assert {"no_thread", "unreadable"} <= given
    assert [outcome for outcome, level in outcomes.items() if level == "WARNING"] == ["unknown"]


# One scenario for each


class Failing(MemoryStore):
    def hit(self, *args: Any) -> Any:
        raise StoreError("down")

    peek = hit


class Raising(io.BytesIO):
    def read(self, *args: Any) -> bytes:
        raise OSError("connection reset")

    readline = readlines = __iter__ = read  # type: ignore[assignment]


def site(**options: Any) -> Any:
    return Recorder(**options)


def agent(max_runs: int = 1, **options: Any) -> AgentApp:
    options.setdefault("settings", Settings())
    app = AgentApp("bank", route="/bank", basic_auth=AUTH, **options)
    limits = {"secure": True, "max_runs": max_runs, "once": 60}
    app.define_tool("pay", "Pay.", {}, lambda args, raw: "Paid.", **limits)
    return app


def call(
    app: AgentApp,
    token: str | None = None,
    function: Any = "pay",
    path: str = "/bank/swaig",
    **options: Any,
) -> None:
    query = "" if token is None else f"__token={token}"
    body = {"function": function, "call_id": "call-1"}
    request(app, "POST", path, query=query, **{"auth": AUTH, "body": body, **options})


def token_for(app: AgentApp, function: str = "pay", call_id: str = "call-1") -> str:
    return app.sessions.generate_token(function, call_id)


def authenticate(handler: Any, **options: Any) -> None:
    request(AuthMiddleware(site(), handler), **options)


def bearer(token: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def fail(*args: Any) -> Any:
    raise RuntimeError("broken")


def limit_failures(times: int, limits: Any = None, **options: Any) -> None:
    auth = AuthMiddleware(site(), AuthHandler(bearer_token="a-bearer-token-1"))
    app = AuthFailureLimitMiddleware(auth, 2, **(limits or {}))
    for _ in range(times):
        request(app, **{**bearer("wrong"), **options})


def limit_requests(
    times: int, *, store: Any = None, on_store_failure: str = "local", **options: Any
) -> None:
    app = RateLimitMiddleware(site(), 1, store=store, on_store_failure=on_store_failure)
    for _ in range(times):
        request(app, **options)


KEY, URL = "a-signing-key-1", "http://127.0.0.1/"


def webhook(body: bytes = b"{}", query: str = "", **options: Any) -> None:
    app = WebhookSignatureMiddleware(site(), KEY, base_url="http://127.0.0.1")
    request(app, "POST", body=body, query=query, RAW_URI=f"/?{query}" if query else "/", **options)


def webhook_by_url(body: bytes, *hashes: str, **options: Any) -> None:
    query = "&".join(f"bodySHA256={each}" for each in hashes)
    signature = sign_form(KEY, f"{URL}?{query}" if query else URL, ())
    webhook(body, query, HTTP_X_SIGNALWIRE_SIGNATURE=signature, **options)


def moved_hash() -> None:
    # The signature is that of "http://127.0.0.1/?bodySHA256=...".
    moved = f"?bodySHA256={hashlib.sha256(b'{}').hexdigest()}"
    signature = sign_form(KEY, URL + moved, ())
    webhook(moved.encode(), HTTP_X_SIGNALWIRE_SIGNATURE=signature)


FORM = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}


def preflight(origin: str = "https://a.example", method: str = "GET", headers: str = "") -> None:
    app = CORSMiddleware(
        site(), ["https://a.example"], allow_methods=["GET"], allow_headers=["X-A"]
    )
    fields = {"HTTP_ORIGIN": origin, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": method}
    request(app, "OPTIONS", HTTP_ACCESS_CONTROL_REQUEST_HEADERS=headers, **fields)


def sized(limit: int = 10, **options: Any) -> None:
    request(BodySizeMiddleware(site(), limit), "POST", validate=False, **options)


def chunked(data: Any, **options: Any) -> None:
    sized(wsgi_input=data, wsgi_input_terminated=True, HTTP_TRANSFER_ENCODING="chunked", **options)


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", fail)
    chunked(io.BytesIO(b"x" * 70_000), limit=100_000)


def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    app = agent()
    monkeypatch.setattr(app.store, "hit", Failing().hit)
    call(app, token_for(app))


def static(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    request(StaticFiles(site(), tmp_path, "/s"), path="/s/a.txt", HTTP_RANGE="bytes=9-")


def expired(monkeypatch: pytest.MonkeyPatch) -> None:
    app = agent(token_expiry_secs=1)
    token = token_for(app)
    monkeypatch.setattr("swaig_wsgi.sessions.time.time", lambda: 9e9)
    call(app, token)


def without_sha1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swaig_wsgi.core.signatures.hmac.digest", _fips_digest)
    webhook(HTTP_X_SIGNALWIRE_SIGNATURE="ab" * 20)


def _fips_digest(*args: Any) -> bytes:
    raise ValueError("disabled for FIPS")


SCENARIOS: dict[tuple[str, str], Callable[..., Any]] = {
    ("auth_refused", "missing_credentials"): lambda: request(agent(), path="/bank"),
    ("auth_refused", "bad_credentials"): lambda: request(
        agent(), path="/bank", auth=("platform", "wrong")
    ),
    ("auth_refused", "malformed_credentials"): lambda: request(
        agent(), path="/bank", HTTP_AUTHORIZATION="Basic ?"
    ),
    ("auth_refused", "refused_by_validate_basic_auth"): lambda: request(
        type("Strict", (AgentApp,), {"validate_basic_auth": lambda *args: False})(
            "bank", basic_auth=AUTH, settings=Settings()
        ),
        auth=AUTH,
    ),
    ("auth_refused", "nothing_configured"): lambda: authenticate(
        AuthHandler(allow_unauthenticated=False)
    ),
    ("auth_refused", "validator_error"): lambda: authenticate(AuthHandler(custom_validator=fail)),
    ("auth_refused", "bad_url"): lambda: authenticate(
        AuthHandler(custom_validator=bool), HTTP_HOST="a b"
    ),
    ("auth_failures", "limit_exceeded"): lambda: limit_failures(3),
    ("auth_failures", "exempt_client"): lambda: limit_failures(
        2, {"exempt_clients": ["192.0.2.7"]}
    ),
    ("auth_failure_limit_unavailable", "store_failed"): lambda: limit_failures(
        1, {"store": Failing(), "on_store_failure": "deny"}
    ),
    ("auth_failure_limit_store_failed", "store_failed"): lambda: limit_failures(
        1, {"store": Failing()}
    ),
    ("auth_failure_limit_shared", "empty_key"): lambda: limit_failures(1, REMOTE_ADDR=""),
    ("auth_failure_limit_shared", "untrusted_forwarding"): lambda: limit_failures(
        1, HTTP_X_FORWARDED_FOR="198.51.100.7"
    ),
    ("fallback_credential", "password"): lambda: request(
        agent(settings=Settings(basic_auth_password_fallbacks=["an-older-password"])),
        path="/bank",
        auth=("platform", "an-older-password"),
    ),
    ("fallback_credential", "bearer"): lambda: authenticate(
        AuthHandler(bearer_token=["a-bearer-token-2", "a-bearer-token-1"]),
        **bearer("a-bearer-token-1"),
    ),
    ("fallback_credential", "api_key"): lambda: authenticate(
        AuthHandler(api_key=["an-api-key-2", "an-api-key-1"]), HTTP_X_API_KEY="an-api-key-1"
    ),
    ("fallback_credential", "signing_key"): lambda: request(
        WebhookSignatureMiddleware(site(), ["a-signing-key-2", KEY], base_url=URL),
        "POST",
        body=b"{}",
        RAW_URI="/",
        HTTP_X_SIGNALWIRE_SHA256_SIGNATURE=sign_body(KEY, URL, b"{}"),
    ),
    ("fallback_credential", "tool_secret"): lambda: call(
        agent(settings=Settings(swaig_secret_fallbacks=["an-older-secret-1"])),
        token_for(agent(secret_key="an-older-secret-1")),
    ),
    ("client_refused", "client_not_allowed"): lambda: request(
        AllowedClientsMiddleware(site(), ["198.51.100.0/24"])
    ),
    ("client_refused", "unknown_client"): lambda: request(
        AllowedClientsMiddleware(site(), ["198.51.100.0/24"]), REMOTE_ADDR=""
    ),
    ("https_refused", "plain_http"): lambda: request(HTTPSMiddleware(site())),
    ("host_refused", "host_not_allowed"): lambda: request(
        AllowedHostsMiddleware(site(), ["a.example"])
    ),
    ("host_refused", "missing_host"): lambda: request(
        AllowedHostsMiddleware(site(), ["a.example"]), HTTP_HOST=None
    ),
    ("host_refused", "malformed_host"): lambda: request(
        AllowedHostsMiddleware(site(), ["a.example"]), HTTP_HOST="a b"
    ),
    ("origin_refused", "origin_not_allowed"): lambda: request(
        CORSMiddleware(site(), ["https://a.example"], csrf_protection=True),
        "POST",
        HTTP_ORIGIN="https://evil.example",
    ),
    ("preflight_refused", "origin_not_allowed"): lambda: preflight("https://evil.example"),
    ("preflight_refused", "method_not_allowed"): lambda: preflight(method="DELETE"),
    ("preflight_refused", "header_not_allowed"): lambda: preflight(headers="X-Other"),
    ("signature_refused", "missing_signature"): webhook,
    ("signature_refused", "bad_sha256"): lambda: webhook(
        HTTP_X_SIGNALWIRE_SHA256_SIGNATURE="ab" * 32
    ),
    ("signature_refused", "bad_sha1"): lambda: webhook(HTTP_X_SIGNALWIRE_SIGNATURE="ab" * 20),
    ("signature_refused", "malformed_signature"): lambda: webhook(
        HTTP_X_SIGNALWIRE_SIGNATURE="short"
    ),
    ("signature_refused", "repeated_body_hash"): lambda: webhook_by_url(b"{}", "aa", "bb"),
    ("signature_refused", "body_hash_mismatch"): lambda: webhook_by_url(b"{}", "ab" * 32),
    ("signature_refused", "body_hash_moved"): moved_hash,
    ("signature_refused", "malformed_form"): lambda: webhook(
        b"a=1;b=2", HTTP_X_SIGNALWIRE_SIGNATURE="ab" * 20, **FORM
    ),
    ("signature_refused", "url_only"): lambda: webhook_by_url(b"{}"),
    ("signature_refused", "bad_url"): lambda: request(
        WebhookSignatureMiddleware(site(), KEY),
        "POST",
        HTTP_HOST="a b",
        HTTP_X_SIGNALWIRE_SIGNATURE="ab" * 20,
    ),
    ("signature_refused", "sha1_unavailable"): without_sha1,
    ("signature_url_unverified", "host_not_verified"): lambda: request(
        WebhookSignatureMiddleware(site(), KEY), "POST"
    ),
    ("tool_token_refused", "missing"): lambda: call(agent()),
    ("tool_token_refused", "expired"): expired,
    ("tool_token_refused", "bad_signature"): lambda: call(
        agent(), token_for(agent(secret_key="x" * 16))
    ),
    ("tool_token_refused", "malformed"): lambda: call(agent(), "junk"),
    ("tool_token_refused", "wrong_function"): lambda: call(app := agent(), token_for(app, "other")),
    ("tool_token_refused", "wrong_call"): lambda: call(app := agent(), token_for(app, "pay", "c2")),
    ("tool_token_refused", "repeated"): lambda: request(
        ToolTokenMiddleware(site(), SessionManager()), "POST", "/swaig", query="__token=a&__token=b"
    ),
    ("tool_limited", "store_failed"): uncounted,
    ("tool_limited", "max_runs"): lambda: [
        call(app := agent(), token_for(app)),
        call(app, token_for(app)),
    ],
    ("request_refused", "bad_request"): lambda: call(agent(), body=b"{"),
    ("request_refused", "repeated_token"): lambda: call(agent(), "a&__token=b"),
    ("request_refused", "not_found"): lambda: call(agent(), path="/bank/nothing"),
    ("request_refused", "unknown_function"): lambda: call(agent(), function="other"),
    ("request_refused", "method_not_allowed"): lambda: request(
        agent(), "DELETE", "/bank", auth=AUTH
    ),
    ("request_refused", "unsupported_media_type"): lambda: call(agent(), CONTENT_TYPE="text/plain"),
    ("request_refused", "range_not_satisfiable"): static,
    ("body_refused", "too_large"): lambda: sized(body=b"x" * 11),
    ("body_refused", "too_large_chunked"): lambda: chunked(io.BytesIO(b"x" * 11)),
    ("body_refused", "length_required"): lambda: sized(HTTP_TRANSFER_ENCODING="chunked"),
    ("body_refused", "malformed_length"): lambda: sized(CONTENT_LENGTH="ten"),
    ("body_refused", "conflicting_framing"): lambda: chunked(io.BytesIO(), CONTENT_LENGTH="1"),
    ("body_refused", "unsupported_coding"): lambda: sized(HTTP_TRANSFER_ENCODING="gzip"),
    ("body_refused", "incomplete_body"): lambda: call(agent(), CONTENT_LENGTH="99"),
    ("body_refused", "unreadable_body"): lambda: call(
        agent(), body=Raising(), CONTENT_LENGTH="9", validate=False
    ),
    ("body_refused", "spool_failed"): full_disk,
    ("rate_limited", "limit_exceeded"): lambda: limit_requests(2),
    ("rate_limit_shared", "empty_key"): lambda: limit_requests(1, REMOTE_ADDR=""),
    ("rate_limit_shared", "untrusted_forwarding"): lambda: limit_requests(
        1, HTTP_X_FORWARDED_FOR="198.51.100.7"
    ),
    ("rate_limit_store_failed", "store_failed"): lambda: limit_requests(1, store=Failing()),
    ("rate_limit_unavailable", "store_failed"): lambda: limit_requests(
        1, store=Failing(), on_store_failure="deny"
    ),
    ("service_misconfigured", "per_process_state"): lambda: request(
        agent(), path="/bank", auth=AUTH, wsgi_multiprocess=True
    ),
    ("service_misconfigured", "conflicting_proxy_policies"): lambda: request(
        TrustedProxyMiddleware(TrustedProxyMiddleware(site(), 1), 2)
    ),
    ("request_failed", "exception"): lambda: request(
        agent().set_dynamic_config_callback(fail), path="/bank", auth=AUTH
    ),
}


@pytest.mark.parametrize("event", SCENARIOS, ids="-".join)
def test_each_event_is_logged_as_listed(
    event: tuple[str, str],
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    scenario = SCENARIOS[event]
    code = scenario.__code__
    names = code.co_varnames[: code.co_argcount] if scenario is not webhook else ()
    scenario(*(request.getfixturevalue(name) for name in names))
    records = [each for each in caplog.records if each.name == "swaig_wsgi.security"]
    found = {(each.event, each.reason): each for each in records}
    assert event in found
    assert (*event, found[event].levelname) in LISTED
    assert {(each.event, each.reason, each.levelname) for each in records} <= LISTED
    for each in records:
        assert vars(each).keys() >= ALWAYS


def test_every_listed_event_has_a_scenario() -> None:
    assert SCENARIOS.keys() == {(event, reason) for event, reason, _ in LISTED}


def test_what_every_layer_admits_leaves_no_security_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = Settings(
        basic_auth_user=AUTH[0],
        basic_auth_password=AUTH[1],
        basic_auth_password_fallbacks=["an-earlier-word-1"],
        swaig_secret="a-secret-of-some-length",
        swaig_secret_fallbacks=["an-earlier-secret-of-it"],
        signing_key=KEY,
        signing_key_fallbacks=["an-earlier-key-1"],
        allowed_hosts=["bot.example.org"],
        allowed_clients=["127.0.0.1", "192.0.2.0/24"],
        enforce_https=True,
        cors_origins=["https://app.example.org"],
        csrf_protection=True,
        rate_limit=100,
        auth_failure_limit=1,
        max_request_size=10_000,
        trusted_proxies=["192.0.2.7"],
        storage_url="memory://",
    )
    app = agent(settings=settings).set_post_prompt("Sum up.")
    url = "https://bot.example.org/bank"
    client = AgentClient(app, url=url, auth=AUTH, signing_key=KEY)
    client.fetch_swml("call-1")
    assert client.call_tool("pay", call_id="call-1") == {"response": "Paid."}
    assert client.post_prompt("Paid.", call_id="call-1") == {"status": "ok"}
    preflight = {
        "Origin": "https://app.example.org",
        "Access-Control-Request-Method": "POST",
        "X-Forwarded-For": "192.0.2.9",
    }
    path, base = "/bank/swaig", "https://bot.example.org"
    assert request(app, "OPTIONS", path, base_url=base, headers=preflight).status == 204
    assert [each for each in caplog.records if each.name == "swaig_wsgi.security"] == []


def test_the_layers_that_harden_adds_name_the_agent(caplog: pytest.LogCaptureFixture) -> None:
    app = harden(agent(), Settings(), allowed_hosts=["a.example"])
    request(app, path="/bank")
    (record,) = caplog.records
    assert (record.event, record.agent) == ("host_refused", "bank")  # type: ignore[attr-defined]


# The lines


def normal(line: str) -> str:
    """Return a line without what differs from run to run."""
    line = re.sub(r"^\S+Z \[\d+\]", "TIME [PID]", line.strip())
    return re.sub(r"milliseconds=\S+|at \S+Z;|once=\w+", "MS", line)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the lines of text and JSON that are logged."""
    found: list[str] = []
    handler = logging.Handler()
    formats = (LineFormatter(), JSONFormatter())
    handler.emit = lambda record: found.extend(  # type: ignore[method-assign]
        each.format(record) for each in formats
    )
    logger = logging.getLogger("swaig_wsgi")
    logger.addHandler(handler)
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()  # type: ignore[attr-defined]
    yield found
    logger.removeHandler(handler)
    logger.manager._clear_cache()  # type: ignore[attr-defined]


def test_the_lines_of_the_page_are_logged(
    lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(_security_log, "_repeats", Repeats(lambda: now[0]))
    app = agent()
    options = {"HTTP_X_REQUEST_ID": "f81d4fae7dec11d0"}
    request(app, path="/bank", **options)
    request(app, path="/bank", auth=AUTH, query="call_id=call-1", **options)
    token = token_for(app)
    for _ in range(2):
        call(app, token, **options)
    call(app, **options)
    for _ in range(422):
        request(app, path="/bank", auth=("platform", "wrong"), **options)
    now[0] += WINDOW
    call(app, token, **options)
    logged = {normal(line) for line in lines}
    shown = re.findall(r"^```text\n(.*?)^```", PAGE, re.M | re.S)
    shown = [line for block in shown for line in block.splitlines()]
    assert len(shown) == 8
    assert {normal(line) for line in shown} - logged == set()
    (example,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.M | re.S)
    members = json.loads(example)
    known = [json.loads(line) for line in lines if line.startswith("{")]
    varying = {name: members[name] for name in ("time", "host", "process")}
    assert members in [{**each, **varying} for each in known]
    assert list(members) == list(next(each for each in known if each["event"] == "auth_refused"))
