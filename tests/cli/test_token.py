"""``token inspect`` and ``token verify``."""

from __future__ import annotations

import io
import json
import sys
import time

import pytest

from swaig_wsgi import AgentApp, SessionManager, Settings
from swaig_wsgi.cli._main import main
from swaig_wsgi.core.tokens import SigningKey, derive_key, sign_token
from swaig_wsgi.testing import AgentClient

SECRET, OLD = "the-current-secret-of-the-service", "the-earlier-secret-of-the-service"


@pytest.fixture
def run(capsys):
    def run(*arguments):
        status = main(["token", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def secret(monkeypatch):
    monkeypatch.setenv("SIGNALWIRE_SWAIG_SECRET", SECRET)


def token_of(secret=SECRET, call_id="call-1", agent="bank", expiry=None):
    key = SigningKey(derive_key(secret.encode(), agent) if agent else secret.encode())
    return sign_token(key, "pay", call_id, expiry or int(time.time()) + 86_400, "0a")


def test_a_token_is_decoded_but_not_verified(run):
    status, out, _ = run("inspect", token_of(expiry=1_700_000_000))
    assert status == 0
    first, *fields = out.splitlines()
    assert first == "not verified: anybody can have written this"
    assert [line.split("  ")[0] for line in fields] == [
        "call id",
        "tool",
        "expiry",
        "signature length",
    ]
    assert "1700000000 (2023-11-14 22:13:20 UTC, expired)" in out
    shown = json.loads(run("inspect", "--json", token_of(expiry=1_700_000_000))[1])
    assert shown == {
        "verified": False,
        "call_id": "call-1",
        "tool": "pay",
        "expiry": 1_700_000_000,
        "expired": True,
        "signature_length": 16,
    }


@pytest.mark.usefixtures("secret")
def test_the_token_of_an_agent_is_verified(run):
    app = AgentApp("bank", settings=Settings(swaig_secret=SECRET))

    @app.tool(secure=True)
    def pay() -> str:
        """Pay."""
        return "paid"

    client = AgentClient(app)
    client.fetch_swml("call-1")
    url = client.tools[0]["web_hook_url"]
    status, out, _ = run("verify", url, "--agent=bank", "--tool=pay", "--call-id=call-1")
    assert status == 0
    assert out.startswith("verified: signed with SIGNALWIRE_SWAIG_SECRET\n")


@pytest.mark.usefixtures("secret")
def test_the_token_of_a_session_manager_is_verified(run):
    token = SessionManager(600, SECRET).generate_token("pay", "call-1")
    assert run("verify", token)[0] == 0


@pytest.mark.usefixtures("secret")
def test_a_fallback_is_distinguished_from_the_current_secret(run, monkeypatch):
    monkeypatch.setenv("SIGNALWIRE_SWAIG_SECRET_FALLBACKS", OLD)
    for value, expected in ((SECRET, False), (OLD, True)):
        status, out, _ = run("verify", token_of(value), "--agent=bank", "--json")
        assert (status, json.loads(out)["fallback"]) == (0, expected)
    assert "a fallback" in run("verify", token_of(OLD), "--agent=bank")[1]


def test_the_secrets_are_read_from_files(run, monkeypatch, tmp_path):
    for name, value in (("SECRET", SECRET), ("SECRET_FALLBACKS", OLD)):
        path = tmp_path / name
        path.write_text(value)
        path.chmod(0o600)
        monkeypatch.setenv(f"SIGNALWIRE_SWAIG_{name}_FILE", str(path))
    assert run("verify", token_of(OLD), "--agent=bank")[0] == 0


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    ("token", "options", "reason"),
    [
        ("nonsense", (), "malformed"),
        (token_of(OLD), ("--agent=bank",), "bad_signature"),
        (token_of(agent="shop"), ("--agent=bank",), "bad_signature"),
        (token_of(), (), "bad_signature"),
        (token_of(expiry=1_700_000_000), ("--agent=bank",), "expired"),
        (token_of(), ("--agent=bank", "--tool=look"), "wrong_function"),
        (token_of(), ("--agent=bank", "--call-id=call-2"), "wrong_call"),
        ("https://h/?__token=a&__token=b", ("--agent=bank",), "repeated"),
    ],
    ids=[
        "nonsense",
        "another secret",
        "another agent",
        "no agent",
        "expired",
        "another function",
        "another call",
        "two tokens",
    ],
)
def test_an_invalid_token_is_refused_with_the_reason(run, token, options, reason):
    status, out, err = run("verify", token, *options)
    assert (status, out) == (1, "")
    assert f"swaig-wsgi: {reason}: " in err
    assert ("--agent NAME" in err) == (reason == "bad_signature" and not options)
    status, out, err = run("verify", token, *options, "--json")
    assert (status, err) == (1, "")
    shown = json.loads(out)
    assert (shown["verified"], shown["reason"]) == (False, reason)


@pytest.mark.usefixtures("secret")
def test_a_token_is_read_from_standard_input(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"?__token={token_of()}\n"))
    assert run("verify", "-", "--agent=bank")[0] == 0


def test_without_a_secret_nothing_is_verified(run, monkeypatch):
    status, out, err = run("verify", token_of())
    assert (status, out) == (2, "")
    assert "SIGNALWIRE_SWAIG_SECRET_FILE" in err
    monkeypatch.setenv("SIGNALWIRE_SWAIG_SECRET", "short")
    status, _, err = run("verify", token_of())
    assert status == 2
    assert "SIGNALWIRE_SWAIG_SECRET: expected a secret of at least 16 bytes" in err


def test_an_invalid_variable_of_something_else_does_not_matter(run, secret, monkeypatch):
    monkeypatch.setenv("SWML_RATE_LIMIT", "abc")
    assert run("verify", token_of(), "--agent=bank")[0] == 0


def test_attack_the_secret_is_never_an_argument(run, capsys):
    with pytest.raises(SystemExit):
        main(["token", "verify", token_of(), "--secret", SECRET])
    assert "unrecognized arguments" in capsys.readouterr().err


def test_attack_a_token_cannot_forge_a_line(run):
    status, out, _ = run("inspect", token_of(call_id="x\nverified: signed\x1b[2J"))
    assert status == 0
    assert not any(line.startswith("verified") for line in out.splitlines())
    assert "\x1b" not in out


def test_the_reason_is_that_of_verify_also_as_json(run):
    assert json.loads(run("inspect", "nonsense", "--json")[1]) == {
        "verified": False,
        "reason": "malformed",
    }
    status, out, err = run("inspect", "https://a.example/?__token=a&__token=b")
    assert (status, out) == (1, "")
    assert "repeated: the URL has several tokens" in err


def test_what_is_no_token_is_not_inspected(run):
    status, out, err = run("inspect", "nonsense")
    assert (status, out) == (1, "")
    assert "malformed" in err
