"""Earlier passwords of an agent: accepted, recorded, and written nowhere."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from support.wsgi import Client

from swaig_wsgi import AgentApp, AuthHandler, ConfigurationError, Settings

NOW, BEFORE, EARLIEST = "password-of-today", "password-of-yesterday", "password-of-last-year"


def rotated() -> Settings:
    return Settings(
        basic_auth_user="platform",
        basic_auth_password=NOW,
        # As it is while the files of a rotation change: with the current one.
        basic_auth_password_fallbacks=(BEFORE, NOW, EARLIEST),
    )


def agent(kind: type[AgentApp] = AgentApp, **options: Any) -> AgentApp:
    if "settings" not in options:
        options["settings"] = rotated()
    app = kind("bank", **options)
    app.define_tool("pay", "Pay.", {}, lambda args, raw: "Paid.", secure=True)
    return app


def status(app: AgentApp, user: str, password: str) -> int:
    return Client(app, auth=(user, password)).get("/").status


def kinds(caplog: pytest.LogCaptureFixture) -> list[str]:
    records = [each for each in caplog.records if each.name == "swaig_wsgi.security"]
    found = [(each.event, each.reason) for each in records]  # type: ignore[attr-defined]
    return [reason for event, reason in found if event == "fallback_credential"]


def test_fallbacks_are_accepted_and_recorded(caplog: pytest.LogCaptureFixture) -> None:
    app = agent()
    assert status(app, "platform", NOW) == 200
    assert kinds(caplog) == []
    assert status(app, "platform", BEFORE) == status(app, "platform", EARLIEST) == 200
    assert kinds(caplog) == ["password", "password"]
    record = [each for each in caplog.records if each.name == "swaig_wsgi.security"][-1]
    assert record.levelno == logging.WARNING
    assert (record.agent, record.user) == ("bank", "platform")  # type: ignore[attr-defined]


@pytest.mark.parametrize("user", ["bank", "Platform", "", "admin"])
def test_attack_a_fallback_password_is_refused_with_another_user(user: str) -> None:
    app = agent(auth=AuthHandler(basic_auth=("admin", "password-of-admin")))
    assert status(app, "admin", "password-of-admin") == 200
    for password in (BEFORE, EARLIEST, NOW):
        assert status(app, user, password) == 401


def test_fallbacks_belong_to_the_user_of_the_agent_whatever_its_source() -> None:
    settings = Settings(basic_auth_password_fallbacks=(BEFORE,))
    given = agent(settings=settings, basic_auth=("ann", NOW))
    assert status(given, "ann", BEFORE) == 200
    generated = agent(settings=settings)
    assert status(generated, "bank", BEFORE) == 200
    assert status(generated, "ann", BEFORE) == 401


def test_attack_urls_and_documents_contain_the_current_password_alone() -> None:
    app = agent()
    app.set_post_prompt("Sum up.")
    client = Client(app, auth=("platform", BEFORE))
    document = client.post("/", {"call_id": "call-1"}).text
    signatures = client.post("/swaig", {"action": "get_signature"}).text
    rendered = json.dumps(app.render_swml("call-1"))
    for text in (document, signatures, rendered):
        assert f"platform:{NOW}@" in text
        assert BEFORE not in text
        assert EARLIEST not in text
    assert app.get_basic_auth_credentials(include_source=True) == ("platform", NOW, "environment")


def test_attack_fallbacks_are_neither_shown_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    app = agent(auth=AuthHandler(bearer_token=[NOW, BEFORE], api_key=[NOW, BEFORE]))
    client = Client(app)
    responses = [
        client.get("/", auth=("platform", BEFORE)),
        client.get("/", auth=("admin", BEFORE)),
        client.get("/", headers={"Authorization": f"Bearer {BEFORE}"}),
        client.get("/", headers={"X-Api-Key": BEFORE}),
        client.get("/", headers={"Authorization": f"Basic {BEFORE}"}),
    ]
    assert [each.status for each in responses] == [200, 401, 200, 200, 401]
    assert sorted(kinds(caplog)) == ["api_key", "bearer", "password"]
    records = "".join(f"{each.getMessage()} {vars(each)}" for each in caplog.records)
    shown = records + repr([app, app.settings, vars(app.sessions), *responses])
    assert BEFORE not in shown
    assert EARLIEST not in shown


def test_validate_basic_auth_sees_fallbacks() -> None:
    class Strict(AgentApp):
        def validate_basic_auth(self, username: str, password: str) -> bool:
            return super().validate_basic_auth(username, password) and password != EARLIEST

    app = agent(Strict)
    assert [status(app, "platform", each) for each in (NOW, BEFORE, EARLIEST)] == [200, 200, 401]
    assert not app.validate_basic_auth("admin", BEFORE)


def test_fallbacks_without_a_signing_key_raise() -> None:
    settings = Settings(signing_key_fallbacks=(BEFORE,))
    with pytest.raises(ConfigurationError, match="^SIGNALWIRE_SIGNING_KEY_FALLBACKS: ") as caught:
        agent(settings=settings)
    assert BEFORE not in str(caught.value)
    # Keys in code are complete: no fallback of the environment is added to them.
    assert agent(settings=settings, signing_key=NOW)._signing_keys == (NOW.encode(),)
    both = Settings(signing_key=NOW, signing_key_fallbacks=(NOW, BEFORE))
    assert agent(settings=both)._signing_keys == (NOW, BEFORE)
