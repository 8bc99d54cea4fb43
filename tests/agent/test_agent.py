"""What an agent is built of."""

from __future__ import annotations

import os
from typing import Any

import pytest

from swaig_wsgi import AgentApp, Settings
from swaig_wsgi.agent.routes import normal_route
from swaig_wsgi.agent.stack import unshared_state
from swaig_wsgi.stores import SQLiteStore

SECRET, OLDER = "the secret of today", "the secret of yesterday"


def manager(name: str = "bank", secret: Any = None, **settings: Any) -> Any:
    options = {"basic_auth": ("a", "b"), "secret_key": secret, "token_expiry_secs": 60}
    return AgentApp(name, settings=Settings(**settings), **options).sessions


def test_keys_are_of_the_secret_and_the_agent() -> None:
    token = manager(swaig_secret=SECRET).generate_token("pay", "c")
    assert manager(secret=SECRET).validate_token("c", "pay", token)
    assert manager(secret=SECRET.encode()).validate_token("c", "pay", token)
    assert manager(swaig_secret=OLDER, secret=SECRET).validate_token("c", "pay", token)
    assert not manager("shop", swaig_secret=SECRET).validate_token("c", "pay", token)
    assert not manager(swaig_secret=OLDER).validate_token("c", "pay", token)
    assert not manager().validate_token("c", "pay", token)


def test_fallbacks_verify_with_any_key_and_never_sign() -> None:
    token = manager(swaig_secret=OLDER).generate_token("pay", "c")
    rotated = manager(swaig_secret=SECRET, swaig_secret_fallbacks=OLDER)
    generated = manager(swaig_secret_fallbacks=OLDER)
    for each in (rotated, generated):
        assert each.validate_token("c", "pay", token)
        assert not manager(swaig_secret=OLDER).validate_token(
            "c", "pay", each.generate_token("pay", "c")
        )
    assert generated.generated
    assert not rotated.generated


@pytest.mark.parametrize("secret", ["", "short", b"", b"fifteen bytes.."])
def test_short_secrets_are_refused(secret: Any) -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        manager(secret=secret)


def test_what_is_not_shared(tmp_path: Any) -> None:
    generated = AgentApp("bank")
    assert set(unshared_state(generated)) == {"SIGNALWIRE_SWAIG_SECRET", "SWML_BASIC_AUTH_PASSWORD"}
    given = AgentApp("bank", basic_auth=("a", "b"), secret_key=SECRET)
    assert set(unshared_state(given)) == set()
    limited = Settings(rate_limit=5)
    given = AgentApp("bank", basic_auth=("a", "b"), secret_key=SECRET, settings=limited)
    assert set(unshared_state(given)) == {"SWML_STORAGE_URL"}
    limited = Settings(rate_limit=5, storage_url=f"sqlite:///{tmp_path}/store.db")
    given = AgentApp("bank", basic_auth=("a", "b"), secret_key=SECRET, settings=limited)
    assert set(unshared_state(given)) == set()
    assert isinstance(given.store, SQLiteStore)
    assert generated.password_made_by == os.getpid()


@pytest.mark.parametrize(
    ("route", "expected"), [("/", ""), ("/a", "/a"), ("/a/", "/a"), ("/a/b", "/a/b"), ("/ö", "/ö")]
)
def test_routes(route: str, expected: str) -> None:
    assert normal_route(route) == expected


@pytest.mark.parametrize(
    "route",
    [
        "",
        "a",
        "//",
        "/a//b",
        "/.",
        "/a/..",
        "/<x>",
        "/a?b",
        "/a#b",
        "/a%41",
        "/a\\b",
        "/a\n",
        None,
        5,
    ],
)
def test_invalid_routes_are_rejected(route: Any) -> None:
    with pytest.raises(ValueError, match="route"):
        normal_route(route)


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [("0.0.0.0", None, 3000), ("::1", 0, 0), ("agent.example.com", 65535, 65535), ("", 80, 80)],
)
def test_where_it_listens(host: str, port: Any, expected: int) -> None:
    for settings, given, port_ in ((Settings(), port, expected), (Settings(port=8080), None, 8080)):
        agent = AgentApp("a", basic_auth=("a", "b"), settings=settings, host=host, port=given)
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
def test_where_nothing_can_listen(host: Any, port: Any) -> None:
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
def test_arguments_of_another_type(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        AgentApp("bank", basic_auth=("a", "b"), **options)


def test_the_document_holds_the_credentials_that_open_the_agent() -> None:
    class Own(AgentApp):
        def get_basic_auth_credentials(self, include_source: bool = False) -> Any:
            return ("own", "pair", "provided") if include_source else ("own", "pair")

    agent = Own("bank", basic_auth=("a", "b"))
    agent.define_tool("look", "x", {}, lambda args, raw: "x")
    document = agent.render_swml("c", base_url="https://x.example")
    swaig = document["sections"]["main"][1]["ai"]["SWAIG"]
    assert swaig["defaults"]["web_hook_url"] == "https://own:pair@x.example/swaig"
    assert "pair" not in repr(agent.endpoints("https://x.example"))


def test_a_copy_has_parts_of_its_own() -> None:
    agent = AgentApp("bank", basic_auth=("a", "b"))
    agent.set_dynamic_config_callback(lambda *args: None)
    own = agent.configured_for({}, {}, {})
    own.set_param("a", 1).set_prompt_text("x").add_pre_answer_verb("sleep", 1)
    own.define_tool("look", "x", {}, lambda args, raw: "x")
    document = agent.render_swml("c", base_url="https://x.example")
    assert len(document["sections"]["main"]) == 2
    assert "SWAIG" not in document["sections"]["main"][1]["ai"]
    assert own.sessions is agent.sessions
    assert own.store is agent.store
