"""``swaig-wsgi check``: what it prints, and how it exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.good_settings import GOOD, SECRET

from swaig_wsgi import AgentApp
from swaig_wsgi.checks import CATALOG
from swaig_wsgi.cli import _check
from swaig_wsgi.cli._main import main

CERTS = Path(__file__).resolve().parents[1] / "certs"


@pytest.fixture
def variables(monkeypatch):
    """Return a function that sets variables."""

    def set_all(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.fixture
def application(monkeypatch):
    """Return the ``MODULE:APP`` of an application."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def name(app):
        monkeypatch.setitem(sys.modules, "checked_module", SimpleNamespace(app=app))
        return "checked_module:app"

    return name


def test_warnings_fail_only_a_strict_check(capsys):
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    assert "warning  swaig.W001  No credentials are set" in out
    assert 'SWML_BASIC_AUTH_USER=platform SWML_BASIC_AUTH_PASSWORD="$(swaig-wsgi secret)"' in out
    assert " 1. Set explicit basic-auth credentials: swaig.W001\n" in out
    assert " 6. Review request size limits: no finding\n" in out
    assert out.endswith("0 errors, 9 warnings\n")
    assert main(["check", "--strict"]) == 1


def test_a_good_environment_passes_strictly(capsys, variables):
    variables(GOOD)
    assert main(["check", "--strict"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("info     swaig.I004")
    assert out.endswith("0 errors, 0 warnings\n")


def test_ignored_findings_do_not_count(capsys, variables):
    variables({**GOOD, "SIGNALWIRE_LOG_LEVEL": "info", "SWML_ALLOWED_HOSTS": "*"})
    assert main(["check", "--strict", "--ignore", "W020", "--ignore=swaig.w017"]) == 0
    out = capsys.readouterr().out
    assert "W020" not in out
    assert "W017" not in out
    assert out.endswith("0 errors, 0 warnings, 2 ignored\n")
    assert main(["check", "--strict", "--ignore", "W020", "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [each["id"] for each in findings if each["severity"] == "warning"] == ["swaig.W017"]


def test_an_unknown_finding_cannot_be_ignored(capsys):
    assert main(["check", "--ignore", "W999"]) == 2
    assert "--ignore: expected the id of a finding, such as W023" in capsys.readouterr().err


def test_errors_fail_every_check(capsys, variables):
    variables({**GOOD, "SWML_RATE_LIMIT": "abc", "PORT": "0", "SWML_RATELIMIT": "1"})
    assert main(["check"]) == 1
    out = capsys.readouterr().out
    assert "SWML_RATE_LIMIT: expected a whole number" in out
    assert "PORT: expected a whole number" in out
    assert "SWML_RATELIMIT: unknown and ignored; did you mean SWML_RATE_LIMIT?" in out
    assert out.endswith("2 errors, 1 warning\n")


def test_json_has_the_documented_members(capsys, variables):
    variables({**GOOD, "SWML_ALLOWED_HOSTS": "*", "SWML_BASIC_AUTH_PASSWORD": "hunter2"})
    assert main(["check", "--json", "--strict"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["version", "status", "findings", "checklist", "agents"]
    assert (document["version"], document["status"]) == (1, 1)
    assert [each["id"] for each in document["findings"]] == [
        "swaig.E002",
        "swaig.W017",
        "swaig.I004",
        "swaig.I005",
    ]
    for each in document["findings"]:
        assert list(each) == ["id", "severity", "message", "line", "link", "point"]
        kind = CATALOG[each["id"]]
        assert (each["severity"], each["point"]) == (kind.severity, kind.point)
    assert document["checklist"][0] == {
        "point": 1,
        "title": "Set explicit basic-auth credentials",
        "findings": ["swaig.E002"],
    }
    assert [each["point"] for each in document["checklist"]] == list(range(1, 12))


def test_an_application_is_judged(capsys, application):
    app = AgentApp("shop", basic_auth=("platform", "hunter2"))
    app.define_tool("hours", "Say when the shop is open", {}, lambda args, raw: "9 to 5")
    assert main(["check", application(app)]) == 1
    out = capsys.readouterr().out
    assert "swaig.E002" in out
    assert "swaig.I002  The agent 'shop' has tools that are not secure: hours." in out
    assert "swaig.I004" not in out
    assert "swaig.I007  Agents found: 1: 'shop' at /." in out
    main(["check", application(app), "--json"])
    assert json.loads(capsys.readouterr().out)["agents"] == [{"name": "shop", "route": "/"}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no_such_module:app"], "there is no module"),
        (["sys:no_such_name"], "has no 'no_such_name'"),
        (["not a module"], "MODULE:APP"),
        (["--url", "https://127.0.0.1:1/"], "127.0.0.1: Connection refused"),
        (["--url", "u:s3cret@localhost"], "--url: expected a URL such as"),
    ],
)
def test_what_cannot_be_checked_exits_with_2(capsys, application, arguments, words):
    assert main(["check", *arguments]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert "s3cret" not in captured.err
    assert captured.out == ""


def test_a_probe_from_elsewhere_does_not_judge_its_own_environment(capsys, monkeypatch, variables):
    monkeypatch.setattr(_check, "check_url", lambda url, **options: [])
    variables({"SWML_BASIC_AUTH_USER": "platform", "SWML_BASIC_AUTH_PASSWORD": "weak", "PORT": "1"})
    assert main(["check", "--strict", "--url", "https://bot.example.org"]) == 0
    variables({"SWML_ALLOWED_HOSTS": "*"})
    assert main(["check", "--strict", "--url", "https://bot.example.org"]) == 1
    assert "swaig.W017" in capsys.readouterr().out


def run(*arguments, cwd, **env):
    return subprocess.run(
        [sys.executable, "-m", "swaig_wsgi.cli", "check", *arguments],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_attack_an_application_that_fails_prints_no_secret(tmp_path):
    (tmp_path / "broken.py").write_text(
        "import os\nraise RuntimeError('at ' + os.environ['SIGNALWIRE_SWAIG_SECRET'])\n"
    )
    result = run("broken:app", cwd=tmp_path, SIGNALWIRE_SWAIG_SECRET=SECRET)
    assert result.returncode == 2
    assert "broken:app cannot be imported: RuntimeError: at ****" in result.stderr
    assert SECRET not in result.stdout + result.stderr


@pytest.mark.parametrize(
    "message",
    [
        "could not connect postgres://u:hunter2SECRETpw@h/db",
        "login with {DB_PASSWORD} failed",
        "login({DB_PASSWORD!r}) failed",
        "connect(auth=('demo', {MYSQL_PWD!r}))",
        "no such key: {STRIPE_KEY}",
        "https://api.example/?password=hunter2SECRETpw",
        "Authorization: Bearer hunter2SECRETpw",
        "mysql%3A%2F%2Fu%3A{QUOTED}%40h",
    ],
)
@pytest.mark.parametrize("kind", ["RuntimeError", "ConfigurationError", "SystemExit"])
def test_attack_the_reason_of_a_failure_has_no_secret(
    capsys, monkeypatch, tmp_path, variables, kind, message
):
    from urllib.parse import quote

    secret = "hunter2SECRETpw/'\\+"
    values = {"DB_PASSWORD": secret, "MYSQL_PWD": secret, "STRIPE_KEY": secret}
    variables(values)
    text = message.format(**values, QUOTED=quote(secret, safe=""))
    name = f"failing_{abs(hash((kind, message)))}"
    (tmp_path / f"{name}.py").write_text(
        f"from swaig_wsgi import ConfigurationError\nraise {kind}({text!r})\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["check", f"{name}:make_app(password='hunter2SECRETpw')"]) == 2
    captured = capsys.readouterr()
    assert "cannot be imported: " in captured.err
    assert kind in captured.err
    assert "hunter2SECRETpw" not in captured.out + captured.err


@pytest.mark.parametrize("ending", ["raise SystemExit(0)", "1 / 0"])
def test_an_application_that_ends_cannot_be_checked(tmp_path, ending):
    (tmp_path / "ending.py").write_text(f"print('hello')\n{ending}\n")
    result = run("ending:app", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "ending:app cannot be imported: " in result.stderr


def test_what_an_application_prints_is_not_part_of_the_json(tmp_path):
    (tmp_path / "printing.py").write_text("print('hello')\ndef app(environ, start): pass\n")
    result = run("printing:app", "--json", cwd=tmp_path)
    assert json.loads(result.stdout)["status"] == 0
    assert "hello" in result.stderr


def test_an_application_that_rejects_the_environment_leaves_its_findings(tmp_path):
    (tmp_path / "site_of_test.py").write_text(
        "from swaig_wsgi import AgentApp\napp = AgentApp('a')\n"
    )
    result = run("site_of_test:app", cwd=tmp_path, SWML_RATE_LIMIT="many")
    assert result.returncode == 1
    assert "swaig.E001  SWML_RATE_LIMIT" in result.stdout


def test_attack_nothing_printed_is_a_secret(capsys, variables):
    variables({**GOOD, "SWML_BASIC_AUTH_PASSWORD": "hunter2hunter2", "SWML_MISTYPED": "s3cret-no"})
    for options in ([], ["--json"], ["--strict"]):
        main(["check", *options])
        captured = capsys.readouterr()
        for secret in ("hunter2", SECRET, GOOD["SIGNALWIRE_SIGNING_KEY"], "s3cret-no"):
            assert secret not in captured.out + captured.err
