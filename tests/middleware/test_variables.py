"""Variables that look like settings but are not."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from support.wsgi import Recorder

from swaig_wsgi import Settings, harden
from swaig_wsgi.middleware import _variables
from swaig_wsgi.middleware._variables import unknown_variables

VALUE = "s3cret-value"


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    monkeypatch.setattr(_variables, "_logged", set())


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("SWML_RATELIMIT", "SWML_RATE_LIMIT"),
        ("SWML_ALLOWED_HOST", "SWML_ALLOWED_HOSTS"),
        ("SWML_ALLOWED_CLIENT", "SWML_ALLOWED_CLIENTS"),
        ("SWML_AUTH_FAILURES_LIMIT", "SWML_AUTH_FAILURE_LIMIT"),
        ("SWML_BASICAUTH_PASSWORD", "SWML_BASIC_AUTH_PASSWORD"),
        ("SIGNALWIRE_SWAIG_SECRETS", "SIGNALWIRE_SWAIG_SECRET"),
        ("SWML_TRUSTED_PROXY", "SWML_TRUSTED_PROXIES"),
        ("SWML_HSTS_AGE", "SWML_HSTS_MAX_AGE"),
        # Only secrets can be read from files.
        ("SWML_RATE_LIMIT_FILE", "SWML_RATE_LIMIT"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_nearest_one(name, nearest):
    expected = f"{name}: unknown and ignored; did you mean {nearest}?"
    assert unknown_variables({name: VALUE}) == {name: expected}


@pytest.mark.parametrize(
    ("name", "equivalent"),
    [
        ("SWML_DOMAIN", "SWML_SSL_DOMAIN"),
        ("SWML_SSL_CERT", "SWML_SSL_CERT_PATH"),
        ("SWML_SSL_KEY", "SWML_SSL_KEY_PATH"),
        ("SWML_PORT", "PORT"),
        ("SWML_HOST", "host="),
        ("SIGNALWIRE_LOG_MODE", "SIGNALWIRE_LOG_LEVEL"),
        ("SWML_REQUEST_TIMEOUT", "--timeout"),
        ("SWML_DEV_PASSWORD", "SWML_BASIC_AUTH_PASSWORD"),
    ],
)
def test_a_variable_of_the_sdks_is_named_with_its_equivalent(name, equivalent):
    text = unknown_variables({name: VALUE})[name]
    assert text.startswith(f"{name}: a variable of the SDKs, ignored here; use ")
    assert equivalent in text


def test_a_variable_of_the_sdks_may_have_no_equivalent():
    expected = "SWML_PROXY_DEBUG: a variable of the SDKs, ignored here; it has no equivalent"
    assert list(unknown_variables({"SWML_PROXY_DEBUG": VALUE}).values()) == [expected]


def test_the_documentation_names_known_variables():
    root = Path(__file__).parents[2]
    texts = [*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("examples/*/*.*")]
    found = {
        name
        for path in texts
        for name in re.findall(r"\b(?:SWML|SIGNALWIRE)_[A-Z_]*[A-Z]\b", path.read_text())
    }
    assert len(found) > 30
    # What docs/configuration.md says of unknown variables.
    assert unknown_variables(dict.fromkeys(found, VALUE)).keys() == {
        "SWML_RATELIMIT",
        *_variables._EQUIVALENTS,
        *_variables._WITHOUT_EQUIVALENT,
    }


def test_the_documentation_lists_the_variables_of_the_sdks():
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    text = page.partition("### Variables of the SDKs")[2].partition("\n## ")[0]
    listed, _, table = text.partition("| variable")
    assert set(re.findall(r"`(SIGNALWIRE_\w+)`", listed)) == _variables._OF_CLIENTS
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.M))
    assert rows.keys() == _variables._EQUIVALENTS.keys() | _variables._WITHOUT_EQUIVALENT
    logged = unknown_variables(dict.fromkeys(rows, VALUE))
    for name, instead in rows.items():
        advice = "it has no equivalent"
        if instead != "no equivalent":
            advice = f"use {instead.replace('`', '')}"
        assert logged[name] == f"{name}: a variable of the SDKs, ignored here; {advice}"


def test_no_variable_of_an_sdk_is_one_of_ours():
    known = {each.metadata["variable"] for each in Settings.__dataclass_fields__.values()}
    elsewhere = _variables._OF_CLIENTS | _variables._WITHOUT_EQUIVALENT
    assert not known & (elsewhere | _variables._EQUIVALENTS.keys())


def test_known_variables_are_not_reported():
    known = {each.metadata["variable"]: VALUE for each in Settings.__dataclass_fields__.values()}
    secrets = [
        "SWML_BASIC_AUTH_PASSWORD_FILE",
        "SWML_BASIC_AUTH_PASSWORD_FALLBACKS_FILE",
        "SIGNALWIRE_SWAIG_SECRET_FILE",
        "SIGNALWIRE_SIGNING_KEY_FILE",
        "SWML_STORAGE_URL_FILE",
    ]
    clients = ["SIGNALWIRE_PROJECT_ID", "SIGNALWIRE_API_TOKEN", "SIGNALWIRE_SPACE"]
    environ = {**known, **dict.fromkeys([*secrets, *clients], VALUE)}
    others = {"PATH": "/bin", "SWML": "x", "MY_SWML_RATELIMIT": "1", "SWML_EMPTY": ""}
    assert unknown_variables({**environ, **others}) == {}


def test_a_variable_without_a_near_one_is_named_alone():
    assert unknown_variables({"SWML_ZZZZZZZZ": VALUE}) == {
        "SWML_ZZZZZZZZ": "SWML_ZZZZZZZZ: unknown and ignored"
    }


def test_control_characters_in_a_name_are_escaped():
    (text,) = unknown_variables({"SWML_A\nB": VALUE}).values()
    assert "\n" not in text


def hardened():
    return harden(Recorder())


def hardened_with_settings():
    return harden(Recorder(), Settings())


def agent():
    from swaig_wsgi import AgentApp

    return AgentApp("a", settings=Settings())


def server():
    from swaig_wsgi import AgentServer

    return AgentServer()


@pytest.mark.parametrize(
    "make",
    [
        hardened,
        hardened_with_settings,
        pytest.param(agent, marks=pytest.mark.installed),
        pytest.param(server, marks=pytest.mark.installed),
    ],
)
def test_construction_logs_one_warning_for_each_variable(make, caplog, monkeypatch):
    monkeypatch.setenv("SWML_RATELIMIT", VALUE)
    monkeypatch.setenv("SWML_DOMAIN", VALUE)
    for _ in range(3):
        make()
    records = [record for record in caplog.records if "ignored" in record.getMessage()]
    assert [record.getMessage().partition(":")[0] for record in records] == [
        "SWML_DOMAIN",
        "SWML_RATELIMIT",
    ]
    assert {(record.name, record.levelno) for record in records} == {
        ("swaig_wsgi", logging.WARNING)
    }
    assert VALUE not in caplog.text
    monkeypatch.setenv("SWML_RATELIMITS", "1")
    make()
    expected = "SWML_RATELIMITS: unknown and ignored; did you mean SWML_RATE_LIMIT?"
    assert caplog.records[-1].getMessage() == expected


@pytest.mark.installed
def test_the_server_module_names_them_once_for_all_workers(gunicorn):
    server = gunicorn(
        "swaig_wsgi.examples.basic:app",
        "--config=python:swaig_wsgi.gunicorn",
        "--workers=2",
        SWML_RATELIMIT=VALUE,
        SIGNALWIRE_API_TOKEN=VALUE,
    )
    server.wait_for_log("SWML_RATELIMIT: unknown and ignored; did you mean SWML_RATE_LIMIT?")
    for _ in range(20):
        assert server.request("GET", "/").status == 200
    assert server.log.count("SWML_RATELIMIT") == 1
    assert VALUE not in server.log
    assert "SIGNALWIRE_API_TOKEN" not in server.log
