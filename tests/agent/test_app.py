"""AgentApp: construction, credentials, layers, rendering and tools."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import pytest

from swaig_wsgi import AgentApp, AuthHandler, ConfigurationError, Settings

# -- construction


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": " "},
        {"name": 5},
        {"route": "bank"},
        {"route": ""},
        {"route": "/a//b"},
        {"route": "/../x"},
        {"route": "/<name>"},
        {"basic_auth": ("", "x")},
        {"basic_auth": ("x", "")},
        {"basic_auth": ("a:b", "x")},
        {"secret_key": "short"},
        {"secret_key": ""},
        {"secret_key": b""},
        {"token_expiry_secs": 0},
        {"record_format": "flac"},
    ],
)
def test_invalid_arguments_are_rejected(options: dict[str, Any]) -> None:
    name = options.pop("name", "bank")
    with pytest.raises(ValueError):  # noqa: PT011 - the message depends on the argument
        AgentApp(name, **options)


def test_an_invalid_environment_variable_raises_at_construction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SWML_RATE_LIMIT", "abc")
    with pytest.raises(ConfigurationError, match="^SWML_RATE_LIMIT: "):
        AgentApp("bank")


def test_the_port_comes_from_the_argument_then_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert AgentApp("bank").port == 3000
    monkeypatch.setenv("PORT", "8080")
    assert AgentApp("bank").port == 8080
    assert AgentApp("bank", port=9000).port == 9000


@pytest.mark.parametrize("level", ["error", "critical"])
def test_the_log_level_does_not_silence_the_security_log(
    level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loggers = [logging.getLogger(name) for name in ("swaig_wsgi", "swaig_wsgi.security")]
    before = [logger.level for logger in loggers]
    loggers[1].setLevel(logging.NOTSET)
    monkeypatch.setenv("SIGNALWIRE_LOG_LEVEL", level)
    try:
        AgentApp("bank")
        assert not loggers[0].isEnabledFor(logging.WARNING)
        assert loggers[0].isEnabledFor(logging.CRITICAL)
        assert loggers[1].isEnabledFor(logging.WARNING)
        # An explicit level takes precedence.
        loggers[1].setLevel(logging.ERROR)
        AgentApp("bank")
        assert loggers[1].level == logging.ERROR
    finally:
        for logger, previous in zip(loggers, before, strict=True):
            logger.setLevel(previous)


# -- credentials


def test_credentials_are_provided_generated_or_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provided = AgentApp("bank", basic_auth=("admin", "hunter2"))
    assert provided.get_basic_auth_credentials() == ("admin", "hunter2")
    assert provided.get_basic_auth_credentials(True) == ("admin", "hunter2", "provided")
    user, password, source = AgentApp("bank").get_basic_auth_credentials(include_source=True)
    assert (user, source) == ("bank", "generated")
    assert re.fullmatch("[0-9a-f]{32}", password)
    assert AgentApp("bank").get_basic_auth_credentials()[1] != password
    monkeypatch.setenv("SWML_BASIC_AUTH_USER", "env")
    with pytest.raises(ConfigurationError, match="^SWML_BASIC_AUTH_PASSWORD"):
        AgentApp("bank")
    monkeypatch.setenv("SWML_BASIC_AUTH_PASSWORD", "pw")
    assert AgentApp("bank").get_basic_auth_credentials(True) == ("env", "pw", "environment")


def test_generated_credentials_are_logged_without_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = AgentApp("bank")
    assert "'bank', password ****" in caplog.text
    assert "SWML_BASIC_AUTH_USER" in caplog.text
    assert "SWML_BASIC_AUTH_PASSWORD" in caplog.text
    assert agent.get_basic_auth_credentials()[1] not in caplog.text
    caplog.clear()
    AgentApp("bank", basic_auth=("a", "b"))
    assert caplog.text == ""


def test_the_default_body_limit_is_one_mebibyte(client: Any) -> None:
    body = b'{"call_id": "call-1"}'
    for size, status in ((1_048_576, 200), (1_048_577, 413)):
        response = client.post("/", body=body.ljust(size), CONTENT_TYPE="application/json")
        assert response.status == status


def test_validate_basic_auth_can_only_refuse(make_agent: Any, client_of: Any) -> None:
    seen: list[tuple[str, str]] = []

    def client_with(verdict: Any) -> Any:
        class Validating(AgentApp):
            def validate_basic_auth(self, username: str, password: str) -> Any:
                seen.append((username, password))
                return verdict() if callable(verdict) else verdict

        return client_of(make_agent(cls=Validating))

    async def later() -> bool:
        return True

    def fails() -> bool:
        raise RuntimeError("no")

    assert client_with(True).get("/").status == 200
    assert client_with(later).get("/").status == 200
    for verdict in (False, None, 1, "yes", fails):
        assert client_with(verdict).get("/").status == 401
    assert set(seen) == {("admin", "p@ss:w/ö")}
    plain = make_agent(auth=AuthHandler(basic_auth=("other", "pw")))
    assert plain.validate_basic_auth("admin", "p@ss:w/ö") is True
    assert plain.validate_basic_auth("other", "pw") is True
    assert plain.validate_basic_auth("unknown", "wrong") is False
    patched = make_agent()
    client = client_of(patched)
    assert client.get("/").status == 200
    patched.validate_basic_auth = lambda username, password: False
    assert client.get("/").status == 401
    seen.clear()
    assert client_with(True).get("/", auth=("admin", "wrong")).status == 401
    assert seen == []


def test_other_methods_are_accepted_in_addition_to_basic(make_agent: Any, client_of: Any) -> None:
    client = client_of(make_agent(auth=AuthHandler(bearer_token="tok", api_key="key")))
    assert client.get("/").status == 200
    for headers in ({"Authorization": "Bearer tok"}, {"X-Api-Key": "key"}):
        assert client.get("/", auth=None, headers=headers).status == 200
    for headers in ({}, {"Authorization": "Bearer no"}, {"X-Api-Key": "no"}):
        assert client.get("/", auth=None, headers=headers).status == 401
    challenges = client.get("/", auth=None).headers.get_all("WWW-Authenticate")
    assert [challenge.split()[0] for challenge in challenges].count("Basic") == 1
    assert any(challenge.startswith("Bearer") for challenge in challenges)


def test_an_open_auth_handler_does_not_open_the_agent(make_agent: Any, client_of: Any) -> None:
    client = client_of(make_agent(auth=AuthHandler()))
    assert client.get("/", auth=None).status == 401
    assert client.get("/").status == 200


# -- the stack


def test_every_response_carries_the_security_headers(client: Any) -> None:
    responses = [
        client.get("/"),
        client.get("/", auth=None),
        client.get("/nowhere"),
        client.get("/health", auth=None),
        client.post("/swaig", body=b"{", CONTENT_TYPE="application/json"),
        client.get("/", headers={"Host": "a b"}),
    ]
    assert [response.status for response in responses] == [200, 401, 404, 200, 400, 400]
    for response in responses:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["X-XSS-Protection"] == "1; mode=block"
        assert response.headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
        policy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        assert response.headers["Content-Security-Policy"] == policy
        assert response.headers["Cache-Control"] == "no-store"
        assert "Permissions-Policy" in response.headers
        assert "Strict-Transport-Security" not in response.headers
        names = [name for name, _ in response.fields]
        assert len(names) == len(set(names))


def test_by_default_any_origin_is_allowed_without_credentials(client: Any) -> None:
    response = client.get("/", headers={"Origin": "https://app.example.com"})
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_csrf_protection_without_origins_allows_no_other_origin(
    make_agent: Any, client_of: Any
) -> None:
    client = client_of(make_agent(settings=Settings(csrf_protection=True)))
    assert client.post("/", body={}).status == 200
    for origin in ("https://evil.example", "null"):
        response = client.post("/", body={}, headers={"Origin": origin})
        assert response.json == {"error": "Forbidden: origin not allowed"}
        # A preflight of that origin is treated as any request without credentials.
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        response = client.options("/swaig", headers=headers, auth=None)
        assert response.status == 401
        assert not [name for name, _ in response.fields if name.startswith("Access-Control-")]


def test_hsts_is_sent_only_over_https_for_the_configured_host(
    make_agent: Any, client_of: Any
) -> None:
    client = client_of(make_agent(settings=Settings(ssl_domain="agent.example.com")))
    value = "max-age=31536000; includeSubDomains"
    name = "Strict-Transport-Security"
    assert client.get("/", base_url="https://agent.example.com").headers[name] == value
    assert name not in client.get("/", base_url="http://agent.example.com").headers
    assert name not in client.get("/", base_url="https://other.example.com").headers


def test_preflights_need_no_credentials(make_agent: Any, client_of: Any) -> None:
    settings = Settings(cors_origins="https://app.example.com", rate_limit=1)
    client = client_of(make_agent(settings=settings))
    headers = {
        "Origin": "https://app.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    for _ in range(3):
        response = client.options("/swaig", headers=headers, auth=None)
        assert response.status == 204
        assert response.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert client.get("/", auth=None, headers=headers).status == 401
    limited = client.get("/", auth=None, headers=headers)
    assert limited.status == 429
    assert limited.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert "Retry-After" in limited.headers["Access-Control-Expose-Headers"]


def test_a_body_is_not_read_before_authentication(make_agent: Any) -> None:
    class Trap:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"the body was touched: {name}")

    agent = make_agent(settings=Settings(signing_key="PSK", rate_limit=100))
    responses = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/swaig",
        "HTTP_HOST": "agent.example.com",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "wsgi.input": Trap(),
        "wsgi.input_terminated": True,
        "wsgi.url_scheme": "http",
        "REMOTE_ADDR": "203.0.113.9",
        "SERVER_NAME": "x",
        "SERVER_PORT": "80",
    }
    list(agent(environ, lambda status, headers, exc_info=None: responses.append(status)))
    assert responses == ["401 Unauthorized"]


def test_with_a_signing_key_posts_must_be_signed(make_agent: Any, client_of: Any) -> None:
    import hashlib
    import hmac

    settings = Settings(signing_key="PSK", proxy_url_base="https://agent.example.com")
    client = client_of(make_agent(settings=settings))
    body = json.dumps({"call_id": "call-1"}).encode()
    message = b"https://agent.example.com/" + body
    signature = hmac.new(b"PSK", message, hashlib.sha256).hexdigest()
    headers = {"X-SignalWire-Sha256-Signature": signature}
    options = {"body": body, "CONTENT_TYPE": "application/json"}
    assert client.post("/", headers=headers, **options).status == 200
    response = client.post("/", **options)
    assert (response.status, response.json) == (403, {"error": "Forbidden: invalid signature"})
    assert client.post("/", headers=headers, body={"call_id": "call-2"}).status == 403
    assert client.get("/").status == 200


def test_only_the_exact_health_path_is_exempt(make_agent: Any, client_of: Any) -> None:
    settings = Settings(rate_limit=1, allowed_hosts="agent.example.com")
    client = client_of(make_agent(settings=settings))
    for _ in range(3):
        assert client.get("/health", auth=None, base_url="http://10.0.0.5").status == 200
    for path in ("//health", "/health/../", "/health/x", "/HEALTH", "/x/health"):
        assert client.get("/", auth=None, PATH_INFO=path).status == 403


def test_a_request_does_not_change_the_agent(client: Any, agent: AgentApp) -> None:
    client.document()
    before = {name: repr(value) for name, value in vars(agent).items()}
    client.document(call_id="call-2", base_url="https://other.example")
    client.get("/", auth=("x", "y"))
    assert {name: repr(value) for name, value in vars(agent).items()} == before


# -- the document without a request


def test_urls_rendered_without_a_request_use_the_configured_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def base_of(document: dict[str, Any]) -> str:
        ai = document["sections"]["main"][1]["ai"]
        url: str = ai["SWAIG"]["defaults"]["web_hook_url"]
        return url

    def agent(**options: Any) -> AgentApp:
        app = AgentApp("bank", basic_auth=("a", "b"), **options)
        app.define_tool("look", "x", {}, lambda args, raw: "x")
        return app

    assert base_of(agent().render_swml()) == "http://a:b@localhost:3000/swaig"
    tls_agent = agent(host="::1", port=5000, route="/bank", settings=Settings(ssl_enabled=True))
    assert base_of(tls_agent.render_swml("call-1")) == "https://a:b@[::1]:5000/bank/swaig"
    provided = agent(route="/bank").render_swml("x", base_url="https://agent.example.com/voice")
    assert base_of(provided) == "https://a:b@agent.example.com/voice/bank/swaig"
    monkeypatch.setenv("SWML_PROXY_URL_BASE", "https://proxy.example.com/")
    assert base_of(agent().render_swml()) == "https://a:b@proxy.example.com/swaig"
    secured = agent().define_tool("pay", "x", {}, lambda args, raw: "x", secure=True)
    with pytest.raises(ValueError, match="call id"):
        secured.render_swml("\ud800")


def test_the_document_contains_the_settings_of_all_parts() -> None:
    agent = (
        AgentApp("bank", basic_auth=("a", "b"), record_call=True, record_format="mp3")
        .prompt_add_section("Role", "Teller", bullets=["polite"])
        .prompt_add_to_section("Role", bullet="brief")
        .prompt_add_subsection("Role", "Tone", "Calm")
        .set_prompt_llm_params(temperature=0.3)
        .set_post_prompt("Summarise.")
        .set_post_prompt_llm_params(temperature=0.1)
        .set_param("end_of_speech_timeout", 500)
        .set_params({"ai_model": "x"})
        .add_hint("IBAN")
        .add_hints(["BIC"])
        .add_pattern_hint("iban", "i ban", "IBAN", ignore_case=True)
        .add_language("English", "en-US", "rime.spore:mist")
        .add_pronunciation("IBAN", "eye ban")
        .set_global_data({"a": 1})
        .update_global_data({"b": 2})
        .set_native_functions(["check_time"])
        .add_function_include("https://other.example/swaig", ["f"], {"m": 1})
        .set_internal_fillers({"next_step": {"en-US": ["hm"]}})
        .enable_debug_events(2)
        .add_pre_answer_verb("sleep", 500)
        .add_answer_verb({"max_duration": 60})
        .add_post_answer_verb("play", {"url": "say:Hello"})
        .add_post_ai_verb("hangup", {})
    )
    assert agent.prompt_has_section("Role")
    assert not agent.prompt_has_section("Other")
    main = agent.render_swml("call-1", base_url="https://x.example")["sections"]["main"]
    ai = main[4].pop("ai")
    assert main == [
        {"sleep": 500},
        {"answer": {"max_duration": 60}},
        {"record_call": {"format": "mp3", "stereo": True}},
        {"play": {"url": "say:Hello"}},
        {},
        {"hangup": {}},
    ]
    assert ai.pop("post_prompt_url").startswith("https://a:b@x.example/post_prompt?__token=")
    assert ai == {
        "prompt": {
            "pom": [
                {
                    "title": "Role",
                    "body": "Teller",
                    "bullets": ["polite", "brief"],
                    "subsections": [{"title": "Tone", "body": "Calm"}],
                }
            ],
            "temperature": 0.3,
        },
        "post_prompt": {"text": "Summarise.", "temperature": 0.1},
        "params": {
            "end_of_speech_timeout": 500,
            "ai_model": "x",
            "debug_webhook_url": "https://a:b@x.example/debug_events",
            "debug_webhook_level": 2,
        },
        "hints": [
            "IBAN",
            "BIC",
            {"hint": "iban", "pattern": "i ban", "replace": "IBAN", "ignore_case": True},
        ],
        "languages": [
            {
                "name": "English",
                "code": "en-US",
                "voice": "spore",
                "engine": "rime",
                "model": "mist",
            }
        ],
        "pronounce": [{"replace": "IBAN", "with": "eye ban"}],
        "global_data": {"a": 1, "b": 2},
        "SWAIG": {
            "native_functions": ["check_time"],
            "includes": [
                {"url": "https://other.example/swaig", "functions": ["f"], "meta_data": {"m": 1}}
            ],
            "internal_fillers": {"next_step": {"en-US": ["hm"]}},
        },
    }
    cleared = agent.clear_pre_answer_verbs().clear_post_answer_verbs().clear_post_ai_verbs()
    assert [next(iter(verb)) for verb in cleared.render_swml()["sections"]["main"]] == [
        "answer",
        "record_call",
        "ai",
    ]
    assert (
        "answer"
        not in AgentApp("quiet", basic_auth=("a", "b"), auto_answer=False).render_swml()[
            "sections"
        ]["main"][0]
    )
    assert AgentApp("t", basic_auth=("a", "b")).set_prompt_text("Hi.").render_swml()["sections"][
        "main"
    ][1]["ai"]["prompt"] == {"text": "Hi."}


# -- tools


def test_the_tool_decorator_defines_a_tool_and_returns_the_function(client_of: Any) -> None:
    agent = AgentApp("bank", basic_auth=("a", "b"))

    @agent.tool(secure=True, fillers={"en-US": ["One moment."]}, wait_file="https://x/y.mp3")
    def transfer(amount: float, to_account: str, note: str = "") -> str:
        """Transfer money.

        Args:
            amount: How much
            to_account: To whom
        """
        return f"{amount} to {to_account}{note}"

    @agent.tool("hello", "Greet", parameters={"name": {"type": "string"}})
    def greet(args: dict[str, Any], raw_data: dict[str, Any]) -> str:
        return f"Hello {args['name']}"

    assert transfer(1.0, "A") == "1.0 to A"
    tools = client_of(agent).tools()
    assert tools["transfer"]["description"] == "Transfer money."
    assert tools["transfer"]["fillers"] == {"en-US": ["One moment."]}
    assert tools["transfer"]["wait_file"] == "https://x/y.mp3"
    assert "__token" in tools["transfer"]["web_hook_url"]
    schema = tools["transfer"]["parameters"]
    assert schema["required"] == ["amount", "to_account"]
    assert schema["properties"]["to_account"] == {"type": "string", "description": "To whom"}
    body = {"function": "hello", "argument": {"parsed": [{"name": "Bob"}]}}
    assert client_of(agent).post("/swaig", body=body).json == {"response": "Hello Bob"}


def test_the_tool_decorator_works_without_parentheses(client_of: Any) -> None:
    agent = AgentApp("bank", basic_auth=("a", "b"))

    @agent.tool
    def hello() -> str:
        """Greet."""
        return "Hello."

    assert hello() == "Hello."
    assert client_of(agent).tools()["hello"]["description"] == "Greet."


def test_extra_members_cannot_replace_members_of_the_definition() -> None:
    agent = AgentApp("bank", basic_auth=("a", "b"))
    for member in ("function", "web_hook_url"):
        with pytest.raises(ValueError, match=member):
            agent.define_tool("good", "x", {}, lambda args, raw: "x", extra={member: "evil"})
    assert len(agent.tools) == 0


def test_tools_may_be_secure_by_default(client_of: Any) -> None:
    agent = AgentApp("bank", basic_auth=("a", "b"), secure_by_default=True)
    agent.define_tool("pay", "x", {}, lambda args, raw: "x")
    agent.define_tool("look", "x", {}, lambda args, raw: "x", secure=False)
    agent.register_swaig_function({"function": "map", "data_map": {"expressions": []}})
    tools = client_of(agent).tools()
    assert "__token" in tools["pay"]["web_hook_url"]
    assert "web_hook_url" not in tools["look"]
    assert tools["map"] == {"function": "map", "data_map": {"expressions": []}}


def test_on_function_call_raises_for_an_unknown_tool(agent: AgentApp) -> None:
    with pytest.raises(LookupError, match="no tool 'unknown'"):
        agent.on_function_call("unknown", {}, {})
