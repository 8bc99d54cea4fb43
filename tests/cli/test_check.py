"""``swaig-wsgi check``."""

from __future__ import annotations

from pathlib import Path

import pytest

from swaig_wsgi.cli._main import main

CERTS = Path(__file__).resolve().parents[1] / "certs"
GOOD = {
    "SWML_BASIC_AUTH_USER": "ann",
    "SWML_BASIC_AUTH_PASSWORD": "password-of-ann",
    "SWML_PROXY_URL_BASE": "https://agent.example.com",
    "SWML_CORS_ORIGINS": "https://app.example.com",
    "SWML_RATE_LIMIT": "120",
    "SWML_TRUSTED_PROXIES": "10.0.0.1",
    "SWML_ALLOWED_HOSTS": "agent.example.com",
    "SIGNALWIRE_LOG_LEVEL": "warn",
    "SIGNALWIRE_SWAIG_SECRET": "0123456789abcdef-secret",
}
TLS = {
    "SWML_SSL_ENABLED": "true",
    "SWML_SSL_CERT_PATH": str(CERTS / "cert.pem"),
    "SWML_SSL_KEY_PATH": str(CERTS / "key.pem"),
}


def test_the_checklist_warns_and_passes(capsys):
    assert main(["check"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert lines[0].startswith("warn  credentials: ")
    assert "SWML_BASIC_AUTH_USER" in lines[0]
    assert main(["check", "--strict"]) == 1


def test_a_good_environment_passes_strictly_and_shows_no_secret(capsys, monkeypatch):
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    assert main(["check", "--strict"]) == 0
    out = capsys.readouterr().out
    assert "warn" not in out.replace("WARNING", "")
    assert "password-of-ann" not in out
    assert "0123456789abcdef" not in out


def test_a_misspelt_variable_is_a_warning(capsys, monkeypatch):
    for name, value in {**GOOD, "SWML_RATELIMIT": "s3cret"}.items():
        monkeypatch.setenv(name, value)
    assert main(["check"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    expected = "SWML_RATELIMIT: unknown and ignored; did you mean SWML_RATE_LIMIT?"
    assert line == f"warn  variable: {expected}"
    assert main(["check", "--strict"]) == 1


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SWML_RATE_LIMIT": "abc"}, "SWML_RATE_LIMIT"),
        ({"SWML_BASIC_AUTH_USER": "ann"}, "SWML_BASIC_AUTH_PASSWORD"),
        ({"SIGNALWIRE_SWAIG_SECRET": "hunter2"}, "SIGNALWIRE_SWAIG_SECRET"),
        ({**TLS, "SWML_SSL_KEY_PATH": "/missing.pem"}, "SWML_SSL_KEY_PATH"),
        ({**TLS, "SWML_SSL_KEY_PATH": str(CERTS / "other-key.pem")}, "SWML_SSL_KEY_PATH"),
    ],
)
def test_an_invalid_setting_fails_and_is_named(capsys, monkeypatch, variables, named):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["check"]) == 1
    captured = capsys.readouterr()
    assert named in captured.err
    assert captured.out == ""
    assert "hunter2" not in captured.err


def test_usable_files_for_tls_pass(capsys, monkeypatch):
    for name, value in TLS.items():
        monkeypatch.setenv(name, value)
    assert main(["check"]) == 0
    assert "ok    TLS: " in capsys.readouterr().out
