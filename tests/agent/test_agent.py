"""The parts and the arguments of an agent."""

from __future__ import annotations

import os
from typing import Any

import pytest
from support.wsgi import Client

from swaig_wsgi import AgentApp, Settings
from swaig_wsgi.agent.stack import unshared_state
from swaig_wsgi.core.signatures import sign_body
from swaig_wsgi.stores import SQLiteStore

SECRET, OLDER = "the secret of today", "the secret of yesterday"


def manager(name: str = "bank", secret: Any = None, **settings: Any) -> Any:
    options = {"basic_auth": ("a", "b"), "secret_key": secret, "token_expiry_secs": 60}
    return AgentApp(name, settings=Settings(**settings), **options).sessions


def test_keys_are_derived_from_the_secret_and_the_agent_name() -> None:
    token = manager(swaig_secret=SECRET).generate_token("pay", "c")
    assert manager(secret=SECRET).validate_token("c", "pay", token)
    assert manager(secret=SECRET.encode()).validate_token("c", "pay", token)
    assert manager(swaig_secret=OLDER, secret=SECRET).validate_token("c", "pay", token)
    assert not manager("shop", swaig_secret=SECRET).validate_token("c", "pay", token)
    assert not manager(swaig_secret=OLDER).validate_token("c", "pay", token)
    assert not manager().validate_token("c", "pay", token)


def test_fallback_secrets_verify_tokens_but_never_sign() -> None:
    token = manager(swaig_secret=OLDER).generate_token("pay", "c")
    rotated = manager(swaig_secret=SECRET, swaig_secret_fallbacks=OLDER)
    generated = manager(swaig_secret_fallbacks=OLDER)
    for sessions in (rotated, generated):
        assert sessions.validate_token("c", "pay", token)
        assert not manager(swaig_secret=OLDER).validate_token(
            "c", "pay", sessions.generate_token("pay", "c")
        )
    assert generated.generated
    assert not rotated.generated


def test_signatures_of_tokens_may_be_whole() -> None:
    whole, default = (
        AgentApp("bank", secret_key=SECRET, **options).sessions
        for options in ({"signature_length": 64}, {})
    )
    token = whole.generate_token("pay", "c")
    assert len(whole.debug_token(token)["signature"]) == 64
    assert whole.validate_token("c", "pay", token)
    assert not whole.validate_token("c", "pay", default.generate_token("pay", "c"))
    for invalid in (15, 65, "64"):
        with pytest.raises(ValueError, match="signature_length"):
            AgentApp("bank", signature_length=invalid)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["k3y", b"k3y", ["0lder", "k3y"]])
def test_a_signing_key_may_be_an_argument(key: Any) -> None:
    settings = Settings(signing_key="of the settings")
    agent = AgentApp("bank", settings=settings, basic_auth=("a", "b"), signing_key=key)
    client = Client(agent, auth=("a", "b"))
    url, body = "http://127.0.0.1/", b"{}"
    for signing_key, status in (("k3y", 200), ("of the settings", 403)):
        headers = {"X-SignalWire-Sha256-Signature": sign_body(signing_key, url, body)}
        response = client.post("/", body=body, headers=headers, CONTENT_TYPE="application/json")
        assert response.status == status
    assert client.post("/", {}).status == 403


@pytest.mark.parametrize("key", ["", b"", [], [""], 5, ["k3y", None]])
def test_an_invalid_signing_key_is_rejected_without_showing_it(key: Any) -> None:
    with pytest.raises(ValueError, match="signing key") as caught:
        AgentApp("bank", signing_key=key)
    assert "k3y" not in str(caught.value)


@pytest.mark.parametrize("secret", ["", "short", b"", b"fifteen bytes.."])
def test_short_secrets_are_rejected(secret: Any) -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        manager(secret=secret)


def test_unshared_state_names_the_missing_settings(tmp_path: Any) -> None:
    generated = AgentApp("bank")
    assert set(unshared_state(generated)) == {"SIGNALWIRE_SWAIG_SECRET", "SWML_BASIC_AUTH_PASSWORD"}
    configured = AgentApp("bank", basic_auth=("a", "b"), secret_key=SECRET)
    assert set(unshared_state(configured)) == set()
    limited = Settings(rate_limit=5)
    configured = AgentApp("bank", basic_auth=("a", "b"), secret_key=SECRET, settings=limited)
    assert set(unshared_state(configured)) == {"SWML_STORAGE_URL"}
    limited = Settings(rate_limit=5, storage_url=f"sqlite:///{tmp_path}/store.db")
    configured = AgentApp("bank", basic_auth=("a", "b"), secret_key=SECRET, settings=limited)
    assert set(unshared_state(configured)) == set()
    assert isinstance(configured.store, SQLiteStore)
    assert generated._password_made_by == os.getpid()


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [("0.0.0.0", None, 3000), ("::1", 0, 0), ("agent.example.com", 65535, 65535), ("", 80, 80)],  # noqa: S104 - only compared or bound by this test
)
def test_valid_hosts_and_ports_are_accepted(host: str, port: Any, expected: int) -> None:
    for settings, configured, port_ in (
        (Settings(), port, expected),
        (Settings(port=8080), None, 8080),
    ):
        agent = AgentApp("a", basic_auth=("a", "b"), settings=settings, host=host, port=configured)
        assert (agent.host, agent.port) == (host, port_)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("a b", 80),
        (None, 80),
        ("a/b", 80),
        ("a@b", 80),
        ("a", -1),
        ("a", 65536),
        ("a", "80"),
        ("a", True),
        ("a", 80.0),
    ],
)
def test_invalid_hosts_and_ports_are_rejected(host: Any, port: Any) -> None:
    with pytest.raises(ValueError, match="host must|port must"):
        AgentApp("bank", basic_auth=("a", "b"), host=host, port=port)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x.example",
        "ftp://x.example",
        "https://",
        "https://x?q",
        "https://x#f",
        "https://x y",
        "https://x\r\nX: y",
        "https://good.example\\.evil.example",
        "https://u:p@x.example",
        "http://[bad",
        "http://h:99999",
        "https://h/a/../b",
        5,
    ],
)
def test_invalid_base_urls_are_rejected(url: Any) -> None:
    agent = AgentApp("bank", basic_auth=("a", "b"))
    with pytest.raises(ValueError, match="expected"):
        agent.render_swml("c", base_url=url)


@pytest.mark.parametrize("options", [{"settings": {}}, {"auth": object()}, {"secret_key": 5}])
def test_arguments_of_the_wrong_type_are_rejected(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        AgentApp("bank", basic_auth=("a", "b"), **options)


def test_the_document_contains_overridden_credentials() -> None:
    class WithCredentials(AgentApp):
        def get_basic_auth_credentials(self, include_source: bool = False) -> Any:
            return ("user", "pair", "provided") if include_source else ("user", "pair")

    agent = WithCredentials("bank", basic_auth=("a", "b"))
    agent.define_tool("look", "x", {}, lambda args, raw: "x")
    document = agent.render_swml("c", base_url="https://x.example")
    swaig = document["sections"]["main"][1]["ai"]["SWAIG"]
    assert swaig["defaults"]["web_hook_url"] == "https://user:pair@x.example/swaig"
    assert "pair" not in repr(agent._endpoints("https://x.example"))


def test_changes_to_a_copy_do_not_affect_the_agent() -> None:
    agent = AgentApp("bank", basic_auth=("a", "b"))
    agent.set_dynamic_config_callback(lambda *args: None)
    copy = agent._configured_for({}, {}, {})
    copy.set_param("a", 1).set_prompt_text("x").add_pre_answer_verb("sleep", 1)
    copy.define_tool("look", "x", {}, lambda args, raw: "x")
    document = agent.render_swml("c", base_url="https://x.example")
    assert len(document["sections"]["main"]) == 2
    assert "SWAIG" not in document["sections"]["main"][1]["ai"]
    assert copy.sessions is agent.sessions
    assert copy.store is agent.store


def test_attack_memory_of_urls_is_bounded() -> None:
    agent = AgentApp("a", basic_auth=("user", "pass-word"))
    for number in range(200):
        agent.render_swml("c", base_url=f"https://h{number}.example")
    before = agent._known_endpoints.cache_info()
    assert before.currsize == before.maxsize == 64
    agent.render_swml("c", base_url="https://a.example" + "/x" * 5000)
    assert agent._known_endpoints.cache_info() == before


def test_urls_follow_the_route_and_the_credentials_of_the_agent() -> None:
    class Rotating(AgentApp):
        current = "first"

        def get_basic_auth_credentials(self, include_source: bool = False) -> Any:
            return ("user", self.current)

    agent = Rotating("a", basic_auth=("user", "first"))
    agent.define_tool("look", "Look", {}, lambda args, raw_data: "Seen.", secure=True)
    for password, route in (("first", ""), ("second", "/moved"), ("first", "/moved")):
        agent.current, agent.route = password, route
        document = agent.render_swml("c", base_url="https://x.example")
        (function,) = document["sections"]["main"][-1]["ai"]["SWAIG"]["functions"]
        start = f"https://user:{password}@x.example{route}/swaig?__token="
        assert function["web_hook_url"].startswith(start)
