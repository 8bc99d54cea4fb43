"""Responses to requests of the platform, and to other requests."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import urlsplit

import pytest

from swaig_wsgi import AgentApp
from swaig_wsgi.agent.tool_calls import FAILED, REFUSED


def call_of(name: str = "pay", call_id: Any = "call-1", **members: Any) -> dict[str, Any]:
    body = {"function": name, "argument": {"parsed": [{"amount": 5}]}, "call_id": call_id}
    return {**body, **members}


def path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


# -- the document


@pytest.mark.parametrize(
    ("body", "query", "expected"),
    [
        ({"call_id": "a"}, "", "a"),
        ({"call": {"call_id": "b"}}, "", "b"),
        ({"call_id": "a", "call": {"call_id": "b"}}, "?call_id=c", "a"),
        ({}, "?call_id=c", "c"),
        ({"call_id": None, "call": None}, "?call_id=d%2Ed%20%C3%B6", "d.d ö"),
    ],
)
def test_the_call_id_comes_from_the_body_or_the_query(
    client: Any, agent: AgentApp, body: dict[str, Any], query: str, expected: str
) -> None:
    url = tools_of(client.post(f"/{query}", body=body).json)["pay"]["web_hook_url"]
    token = url.partition("__token=")[2]
    assert agent.sessions.validate_token(expected, "pay", token)


def tools_of(document: dict[str, Any]) -> dict[str, Any]:
    functions = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
    return {function["function"]: function for function in functions}


def test_a_missing_call_id_is_generated_and_logged_once(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = set()
    for response in (client.get("/"), client.post("/"), client.post("/", body={})):
        url = tools_of(response.json)["pay"]["web_hook_url"]
        tokens.add(url.partition("__token=")[2])
        assert client.post(path_of(url), body=call_of()).json == {"response": REFUSED}
    assert len(tokens) == 3
    assert caplog.text.count("fetched without a call id") == 1


def test_a_missing_call_id_is_not_logged_without_secure_tools(
    client_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(AgentApp("plain", basic_auth=("a", "b")))
    assert client.get("/").status == 200
    assert "call id" not in caplog.text


def test_the_document_is_complete(client: Any) -> None:
    document = client.document()
    base = "http://admin:p%40ss%3Aw%2F%C3%B6@127.0.0.1"
    functions = tools_of(document)
    token_url = functions["pay"].pop("web_hook_url")
    assert token_url.startswith(f"{base}/swaig?__token=")
    assert document == {
        "version": "1.0.0",
        "sections": {
            "main": [
                {"answer": {}},
                {
                    "ai": {
                        "prompt": {"text": "You are bank, a helpful AI assistant."},
                        "SWAIG": {
                            "defaults": {"web_hook_url": f"{base}/swaig"},
                            "functions": [
                                {
                                    "function": "look",
                                    "description": "Look something up",
                                    "parameters": {"type": "object", "properties": {}},
                                },
                                {
                                    "function": "pay",
                                    "description": "Pay",
                                    "parameters": {
                                        "type": "object",
                                        "properties": {
                                            "amount": {
                                                "type": "number",
                                                "description": "How much",
                                            }
                                        },
                                    },
                                },
                            ],
                        },
                        "params": {},
                    }
                },
            ]
        },
    }


@pytest.mark.parametrize("route", ["/", "/bank", "/bank/", "/eu/bank"])
@pytest.mark.parametrize("mount", ["", "/voice", "/eu voice/ö"])
def test_urls_contain_mount_and_route_and_trailing_slashes_are_optional(
    make_agent: Any, client_of: Any, route: str, mount: str
) -> None:
    client = client_of(make_agent(route=route))
    prefix = route.rstrip("/")
    base_url = f"http://agent.example:8080{mount}"
    for path in {f"{prefix}/", prefix or "/"}:
        url = client.tools(path, base_url=base_url)["pay"]["web_hook_url"]
        parts = urlsplit(url)
        assert parts.hostname == "agent.example"
        assert parts.port == 8080
        quoted = {"": "", "/voice": "/voice", "/eu voice/ö": "/eu%20voice/%C3%B6"}[mount]
        assert parts.path == f"{quoted}{prefix}/swaig"
    for slash in ("", "/"):
        options = {"base_url": base_url, "query": parts.query}
        path = f"{prefix}/swaig{slash}"
        assert client.post(path, body=call_of(), **options).json["response"] == "Paid."
        for name, text in (("health", "ok"), ("ready", "ready")):
            response = client.get(f"{prefix}/{name}{slash}", base_url=base_url, auth=None)
            assert response.json == {"status": text}
        response = client.post(f"{prefix}/debug_events{slash}", body={}, base_url=base_url)
        assert response.json == {"status": "ok"}
        assert client.post(f"{prefix}/post_prompt{slash}", body={}).status == 403


def test_a_configured_base_url_overrides_the_request(
    make_agent: Any, client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWML_PROXY_URL_BASE", "https://voice.example.com/agents/")
    client = client_of(make_agent(route="/bank"))
    url = client.tools("/bank", base_url="http://internal:8000")["pay"]["web_hook_url"]
    host = "https://admin:p%40ss%3Aw%2F%C3%B6@voice.example.com"
    assert url.startswith(f"{host}/agents/bank/swaig?__token=")


def test_scheme_and_host_are_forwarded_only_by_a_trusted_proxy(
    make_agent: Any, client_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwarded = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "voice.example.com",
    }
    client = client_of(make_agent())
    spoofed = client.document(headers=forwarded)
    assert "voice.example.com" not in json.dumps(spoofed)
    monkeypatch.setenv("SWML_TRUSTED_PROXIES", "127.0.0.0/8")
    client = client_of(make_agent())
    options = {"headers": forwarded, "REMOTE_ADDR": "127.0.0.1"}
    trusted = tools_of(client.document(**options))["pay"]["web_hook_url"]
    assert urlsplit(trusted).scheme == "https"
    assert urlsplit(trusted).hostname == "voice.example.com"
    assert "voice.example.com" not in json.dumps(client.document())


# -- tool calls


def test_an_open_tool_runs_without_a_token(client: Any, calls: list[Any]) -> None:
    body = call_of("look", caller_id_num="+15551234567", global_body={"a": 1})
    assert client.post("/swaig", body=body).json == {"response": "Seen."}
    assert calls == [("look", {"amount": 5}, body)]


def test_a_secure_tool_gets_the_verified_call_id(client: Any, calls: list[Any]) -> None:
    url = path_of(client.tools()["pay"]["web_hook_url"])
    body = call_of(verified_call_id="forged")
    response = client.post(url, body=body)
    assert response.json == {"response": "Paid.", "action": [{"hangup": True}]}
    assert calls == [("pay", {"amount": 5}, {**body, "verified_call_id": "call-1"})]


@pytest.mark.parametrize(
    ("ids", "seen"),
    [
        (
            {"call_id": "victim", "call": {"call_id": "victim-2", "to": "x"}},
            {
                "call_id": "call-1",
                "unverified_call_id": "victim",
                "call": {"call_id": "call-1", "unverified_call_id": "victim-2", "to": "x"},
            },
        ),
        (
            {"call_id": None, "call": {"call_id": "victim", "unverified_call_id": "call-1"}},
            {
                "call_id": "call-1",
                "unverified_call_id": "victim",
                "call": {"call_id": "call-1", "unverified_call_id": "victim"},
            },
        ),
        (
            {"call_id": "call-1", "call": {"call_id": ["victim"]}},
            {
                "call_id": "call-1",
                "unverified_call_id": ["victim"],
                "call": {"call_id": "call-1", "unverified_call_id": ["victim"]},
            },
        ),
        (
            {"call_id": "", "unverified_call_id": "x", "call": {"to": "x"}},
            {"call_id": "call-1", "call": {"to": "x"}},
        ),
        ({"call_id": "call-1", "call": None}, {"call_id": "call-1", "call": None}),
    ],
)
def test_attack_no_secure_tool_reads_another_calls_id(
    client: Any, calls: list[Any], ids: dict[str, Any], seen: dict[str, Any]
) -> None:
    url = path_of(client.tools(call_id="call-1")["pay"]["web_hook_url"])
    body = call_of(conversation_id="call-1", **ids)
    assert client.post(url, body=body).json["response"] == "Paid."
    (_, _, raw_data) = calls[0]
    for name in ("function", "argument"):
        raw_data.pop(name, None)
    expected = {"conversation_id": "call-1", "verified_call_id": "call-1", **seen}
    assert raw_data == expected


def test_an_open_tool_gets_no_verified_call_id(client: Any, calls: list[Any]) -> None:
    client.post("/swaig", body=call_of("look", verified_call_id="forged", unverified_call_id="x"))
    assert not {"verified_call_id", "unverified_call_id"} & set(calls[0][2])


def test_a_token_may_verify_the_conversation(client: Any, calls: list[Any]) -> None:
    url = path_of(client.tools(call_id="conversation-1")["pay"]["web_hook_url"])
    body = call_of(call_id="another", conversation_id="conversation-1")
    assert client.post(url, body=body).json["response"] == "Paid."
    assert calls[0][2]["verified_call_id"] == "conversation-1"
    assert client.post(url, body=call_of(conversation_id="x")).json == {"response": REFUSED}


@pytest.mark.parametrize("call_id", ["root.2", "a:b:c", "...", "ö 🎉", "x" * 1024])
def test_call_ids_may_contain_any_characters(client: Any, calls: list[Any], call_id: str) -> None:
    url = path_of(client.tools(call_id=call_id)["pay"]["web_hook_url"])
    assert client.post(url, body=call_of(call_id=call_id)).json["response"] == "Paid."


@pytest.mark.parametrize(
    "body",
    [
        call_of(call_id=None),
        call_of(call_id=""),
        {"function": "pay", "argument": {"amount": 5}},
        call_of(call_id="call-2"),
        call_of(call_id="CALL-1"),
        call_of(call_id="call-1 "),
    ],
)
def test_a_token_of_another_call_is_refused(
    client: Any, calls: list[Any], body: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    url = path_of(client.tools()["pay"]["web_hook_url"])
    response = client.post(url, body=body)
    assert (response.status, response.json) == (200, {"response": REFUSED})
    assert calls == []
    assert "tool_token_refused reason=wrong_call" in caplog.text


def test_repeated_tokens_are_a_bad_request(client: Any, calls: list[Any]) -> None:
    url = path_of(client.tools()["pay"]["web_hook_url"])
    token = url.partition("__token=")[2]
    for extra in ("&__token=x", f"&__token={token}", "&%5F_token=x", "&__token"):
        for name in ("pay", "look"):
            response = client.post(url + extra, body=call_of(name))
            assert response.status == 400
            assert response.json == {"error": "Bad request: several __token parameters"}
    assert calls == []


def test_tokens_of_another_agent_or_key_are_refused(
    make_agent: Any, client_of: Any, calls: list[Any]
) -> None:
    secret = "a secret that two agents share"
    shared = make_agent(secret_key=secret)
    other = AgentApp("shop", basic_auth=("admin", "x"), secret_key=secret)
    for token in (
        other.sessions.generate_token("pay", "call-1"),
        make_agent(secret_key="another secret of some length").sessions.generate_token(
            "pay", "call-1"
        ),
        make_agent().sessions.generate_token("pay", "call-1"),
    ):
        response = client_of(shared).post(f"/swaig?__token={token}", body=call_of())
        assert response.json == {"response": REFUSED}
    assert calls == []
    valid = make_agent(secret_key=secret).sessions.generate_token("pay", "call-1")
    response = client_of(shared).post(f"/swaig?__token={valid}", body=call_of())
    assert response.json["response"] == "Paid."


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ({"parsed": [{"a": 1}], "raw": '{"a": 2}'}, {"a": 1}),
        ({"parsed": [], "raw": '{"a": 2}'}, {"a": 2}),
        ({"parsed": [], "raw": ""}, {}),
        ({"raw": '{"a": 2}'}, {"a": 2}),
        ({"a": 3}, {"a": 3}),
        (None, {}),
    ],
)
def test_arguments_are_read_from_parsed_then_raw(
    client: Any, calls: list[Any], argument: Any, expected: dict[str, Any]
) -> None:
    assert client.post("/swaig", body=call_of("look", argument=argument)).status == 200
    assert calls[0][1] == expected


def test_an_async_handler_may_return_a_dict(agent: AgentApp, client: Any) -> None:
    async def in_time(args: dict[str, Any], raw_data: dict[str, Any]) -> dict[str, Any]:
        return {"response": "Later.", "action": []}

    agent.define_tool("in_time", "x", {}, in_time)
    response = client.post("/swaig", body=call_of("in_time"))
    assert response.json == {"response": "Later.", "action": []}


@pytest.mark.parametrize(
    "result",
    [None, 5, ["x"], {}, {"x": 1}, {"response": float("nan")}, {"response": object()}],
)
def test_an_invalid_result_is_logged_and_returned_as_a_failure(
    agent: AgentApp, client: Any, result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    agent.define_tool("odd", "x", {}, lambda args, raw: result)
    response = client.post("/swaig", body=call_of("odd"))
    assert (response.status, response.json) == (200, {"response": FAILED})
    assert "tool 'odd' of agent 'bank' failed" in caplog.text


def test_an_exception_in_a_handler_is_logged_and_not_revealed(
    agent: AgentApp, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
        raise RuntimeError("s3cret detail")

    agent.define_tool("fails", "x", {}, fails)
    response = client.post("/swaig", body=call_of("fails"))
    assert (response.status, response.json) == (200, {"response": FAILED})
    assert "s3cret detail" in caplog.text
    assert "Traceback" in caplog.text


def test_on_function_call_may_replace_the_result_of_a_handler(
    make_agent: Any, client_of: Any, calls: list[Any]
) -> None:
    class Overriding(AgentApp):
        def on_function_call(self, name: str, args: Any, raw_data: Any) -> Any:
            if name == "look":
                return "Not today."
            return super().on_function_call(name, args, raw_data)

    client = client_of(make_agent(cls=Overriding))
    assert client.post("/swaig", body=call_of("look")).json == {"response": "Not today."}
    url = path_of(client.tools()["pay"]["web_hook_url"])
    assert client.post(url, body=call_of()).json["response"] == "Paid."
    assert [call[0] for call in calls] == ["pay"]


def test_a_tool_with_a_webhook_url_cannot_be_called_here(agent: AgentApp, client: Any) -> None:
    agent.define_tool("away", "x", {}, None, webhook_url="https://other.example/swaig")
    assert client.tools()["away"]["web_hook_url"] == "https://other.example/swaig"
    assert client.post("/swaig", body=call_of("away")).status == 404


def test_arguments_are_validated_before_the_handler_runs(client: Any, calls: list[Any]) -> None:
    url = path_of(client.tools()["pay"]["web_hook_url"])
    response = client.post(url, body=call_of(argument={"parsed": [{"amount": "all of it"}]}))
    assert response.status == 200
    assert "'amount'" in response.json["response"]
    assert "number" in response.json["response"]
    assert "all of it" not in response.json["response"]
    assert calls == []


# -- signatures


def test_get_signature_returns_the_requested_functions(client: Any) -> None:
    def signatures(**members: Any) -> Any:
        return client.post("/swaig", body={"action": "get_signature", **members}).json

    expected = signatures()
    assert [signature["function"] for signature in expected] == ["look", "pay"]
    assert signatures(functions=[]) == expected
    assert signatures(functions=["pay", "unknown"]) == [expected[1]]
    assert all(signature["parameters"]["required"] == [] for signature in expected)
    assert "__token" not in json.dumps(expected)
    assert expected[1]["web_hook_url"].endswith("@127.0.0.1/swaig")
    response = client.post("/swaig", body={"action": "get_signature", "functions": "pay"})
    assert response.json == {"error": "Bad request: functions must be a list of strings"}


# -- reports


class Reporter(AgentApp):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen: list[Any] = []

    async def on_summary(self, summary: Any, raw_data: dict[str, Any]) -> None:
        self.seen.append((summary, raw_data["verified_call_id"]))

    def on_debug_event(self, event: dict[str, Any]) -> None:
        self.seen.append(event)


def test_a_summary_needs_the_token_of_post_prompt(make_agent: Any, client_of: Any) -> None:
    agent = make_agent(cls=Reporter).set_post_prompt("Summarise the call.")
    client = client_of(agent)
    ai = client.document()["sections"]["main"][1]["ai"]
    assert ai["post_prompt"] == {"text": "Summarise the call."}
    body = {"call_id": "call-1", "post_prompt_data": {"parsed": [{"x": 1}], "raw": "{}"}}
    url = path_of(ai["post_prompt_url"])
    assert client.post(url, body=body).json == {"status": "ok"}
    assert agent.seen == [({"x": 1}, "call-1")]
    tool_token = path_of(client.tools()["pay"]["web_hook_url"]).partition("?")[2]
    for bad in ("/post_prompt", "/post_prompt?__token=x", f"/post_prompt?{tool_token}"):
        response = client.post(bad, body=body)
        assert response.status == 403
        assert response.json == {"error": "Forbidden: invalid tool token"}
    assert client.post(url, body={**body, "call_id": "call-2"}).status == 403
    assert len(agent.seen) == 1
    by_conversation = {**body, "call_id": "another", "conversation_id": "call-1"}
    assert client.post(url, body=by_conversation).status == 200


def test_the_token_of_post_prompt_runs_no_tool(make_agent: Any, client_of: Any) -> None:
    client = client_of(make_agent().set_post_prompt("Summarise."))
    url = client.document()["sections"]["main"][1]["ai"]["post_prompt_url"]
    query = path_of(url).partition("?")[2]
    for name in ("pay", "post_prompt"):
        response = client.post(f"/swaig?{query}", body=call_of(name))
        assert response.json in ({"response": REFUSED}, {"error": "Not found"})


def test_debug_events_reach_the_hook(make_agent: Any, client_of: Any) -> None:
    agent = make_agent(cls=Reporter).enable_debug_events()
    client = client_of(agent)
    params = client.document()["sections"]["main"][1]["ai"]["params"]
    assert params["debug_webhook_level"] == 1
    path = urlsplit(params["debug_webhook_url"]).path
    assert client.post(path, body={"event": "barge"}).json == {"status": "ok"}
    assert agent.seen == [{"event": "barge"}]


# -- everything else


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/nowhere", 404, "Not found"),
        ("POST", "/swaig/x", 404, "Not found"),
        ("GET", "//swaig", 404, "Not found"),
        ("GET", "//health", 404, "Not found"),
        ("GET", "/health/../swaig", 404, "Not found"),
        ("GET", "/swaig", 405, "Method not allowed"),
        ("PUT", "/", 405, "Method not allowed"),
        ("DELETE", "/post_prompt", 405, "Method not allowed"),
        ("POST", "/health", 405, "Method not allowed"),
    ],
)
def test_unknown_paths_are_404_and_other_methods_405(
    client: Any, method: str, path: str, status: int, error: str
) -> None:
    response = client.open(method, "/", PATH_INFO=path)
    assert (response.status, response.json) == (status, {"error": error})
    assert ("Allow" in response.headers) == (status == 405)


def test_head_has_no_body(client: Any) -> None:
    response = client.head("/")
    assert (response.status, response.body) == (200, b"")
    assert int(response.headers["Content-Length"]) > 100


def test_an_incomplete_body_is_a_bad_request(client: Any, calls: list[Any]) -> None:
    body = json.dumps(call_of("look")).encode()
    response = client.post(
        "/swaig",
        body=body,
        CONTENT_TYPE="application/json",
        CONTENT_LENGTH="9999",
    )
    assert response.status == 400
    assert calls == []


def test_an_invalid_call_id_is_a_bad_request(client: Any) -> None:
    for value in ("x" * 1025, 5, ["x"], {"x": 1}, True):
        assert client.post("/", body={"call_id": value}).status == 400
        assert client.post("/", body={"call": {"call_id": value}}).status == 400
    assert client.post("/", body={"call": "x"}).status == 400
    assert client.get("/", query="call_id=" + "x" * 1025).status == 400
    assert client.post("/swaig", body=call_of("look", call_id=5)).status == 400


@pytest.mark.parametrize("mount", ["/a/..", "/../x", "/./x", "/x/."])
def test_a_script_name_with_dot_segments_is_a_bad_request(client: Any, mount: str) -> None:
    environ = {"SCRIPT_NAME": mount}
    for path, body in (("/", {"call_id": "c"}), ("/swaig", {"action": "get_signature"})):
        response = client.post(path, body=body, **environ)
        assert response.status == 400
        assert response.json == {"error": "Bad request: malformed SCRIPT_NAME"}


def test_a_query_with_non_ascii_octets_is_a_bad_request(client: Any) -> None:
    for method in ("GET", "POST"):
        response = client.open(method, "/", QUERY_STRING="x=\x80")
        assert response.json == {"error": "Bad request: malformed query string"}


def test_every_refusal_logs_one_record(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "swaig_wsgi.security")
    for path, reason in (("/nowhere", "not_found"), ("/swaig", "method_not_allowed")):
        caplog.clear()
        client.get(path, REMOTE_ADDR="203.0.113.9")
        (record,) = caplog.records
        assert record.name == "swaig_wsgi.security"
        assert (record.event, record.reason) == ("request_refused", reason)  # type: ignore[attr-defined]
        assert record.client == "203.0.113.9"  # type: ignore[attr-defined]
