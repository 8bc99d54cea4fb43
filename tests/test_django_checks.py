"""``manage.py check --deploy`` of Django, and ``flask check``, have the findings of our own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.good_settings import GOOD, PASSWORD, SECRET

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "django_project"


def run(command: list[str], cwd: Path, **env: str) -> tuple[int, str]:
    """Run a Python module, and return its exit status and output, which has no secret."""
    completed = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )
    output = completed.stdout + completed.stderr
    assert PASSWORD not in output
    assert SECRET not in output
    return completed.returncode, output


def ids(output: str) -> set[str]:
    return set(re.findall(r"swaig\.[EWI]\d{3}", output))


@pytest.fixture
def check(tmp_path: Path) -> Any:
    """Return a function that checks the example with more settings, and without its code.

    That would not start with invalid settings.
    """
    (tmp_path / "no_urls.py").write_text("urlpatterns = []\n")

    def start(settings: str = "", *options: str, **env: str) -> tuple[int, str]:
        (tmp_path / "more_settings.py").write_text(
            "from project.settings import *\n"
            f"ROOT_URLCONF = 'no_urls'\nWSGI_APPLICATION = None\n{settings}\n"
        )
        more = {
            "DJANGO_SECRET_KEY": "a key for the sessions of a test",
            "DJANGO_SETTINGS_MODULE": "more_settings",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(EXAMPLE), str(tmp_path)]),
        }
        status, output = run(["django", "check", *options], tmp_path, **more, **env)
        assert "ystem check identified" in output
        return status, output

    return start


def test_a_deployment_check_shows_findings_on_the_setting(check: Any) -> None:
    settings = "SWAIG_WSGI = {'allowed_hosts': ['*'], 'rate_limit': 120, 'swaig_secret': %r}"
    status, output = check(settings % "changeme-changeme", "--deploy")
    assert status == 0
    assert "(swaig.W017) SWML_ALLOWED_HOSTS contains '*'" in output
    line = "SWAIG_WSGI['allowed_hosts'] = 'agent.example.com'"
    assert f"HINT: {line}  See docs/hosts.md." in output
    assert "SWAIG_WSGI['swaig_secret'] = os.environ['SIGNALWIRE_SWAIG_SECRET']" in output
    pasted = f"{settings % 'changeme-changeme'}\n{line}\nSWAIG_WSGI['rate_limit'] = '5000'"
    assert not {"swaig.E001", "swaig.W015", "swaig.W017"} & ids(check(pasted, "--deploy")[1])
    assert {"swaig.W004", "swaig.W012", "swaig.W015", "swaig.W017"} <= ids(output)
    assert check(settings % "changeme-changeme", "--deploy", "--fail-level=WARNING")[0] == 1


def test_attack_no_line_to_paste_opens_all_paths_of_a_site(check: Any) -> None:
    limited = "'auth_failure_limit': 10"
    output = check(f"SWAIG_WSGI = {{{limited}}}", "--deploy")[1]
    assert "swaig.W010" not in ids(output)
    output = check(f"SWAIG_WSGI = {{{limited}, 'cors_origins': '*'}}", "--deploy")[1]
    line = 'harden(app, cors={"origins": ["https://app.example.com"], "paths": ["/api/*"]})'
    assert f"HINT: {line}" in output
    assert "SWAIG_WSGI['cors_origins']" not in output


def test_workers_and_unknown_variables_are_found_beside_the_setting(check: Any) -> None:
    env = {"WEB_CONCURRENCY": "4", "SWML_RATELIMIT": "5"}
    settings = "SWAIG_WSGI = {'rate_limit': 5000}"
    assert {"swaig.W030", "swaig.W031"} <= ids(check(settings, "--deploy", **env)[1])
    assert not {"swaig.W030", "swaig.W031"} & ids(check(settings, "--deploy")[1])


def test_errors_fail_a_deployment_check(check: Any) -> None:
    status, output = check("SWAIG_WSGI = {'rate_limit': 'many', 'no_such': 1}", "--deploy")
    assert status == 1
    assert output.count("(swaig.E001)") == 2


def test_only_a_deployment_check_shows_findings(check: Any) -> None:
    status, output = check("SWAIG_WSGI = {'rate_limit': 'many'}")
    assert status == 0
    assert not ids(output)


def test_findings_can_be_silenced(check: Any) -> None:
    _, output = check(
        "SWAIG_WSGI = {'allowed_hosts': ['*']}\nSILENCED_SYSTEM_CHECKS = ['swaig.W017']", "--deploy"
    )
    assert "swaig.W017" not in ids(output)
    assert "swaig.W012" in ids(output)


def test_without_the_setting_the_environment_is_judged(check: Any) -> None:
    assert ids(check("del SWAIG_WSGI", "--deploy", **GOOD)[1]) == {"swaig.I007"}
    changed = {**GOOD, "SWML_ALLOWED_HOSTS": "*"}
    assert ids(check("del SWAIG_WSGI", "--deploy", **changed)[1]) == {"swaig.W017", "swaig.I007"}


AGENT_IN_WSGI = """
from django.core.wsgi import get_wsgi_application
from swaig_wsgi import AgentApp, harden
from werkzeug.middleware.dispatcher import DispatcherMiddleware

bank = AgentApp("bank", route="/bank", basic_auth=("admin", "admin"))
bank.define_tool("pay", "Pay.", {}, lambda args, raw: "paid")
bank.define_tool("refund", "Refund.", {}, lambda args, raw: "done", secure=True)
site = harden(get_wsgi_application(), rate_limit=20_000)
application = DispatcherMiddleware(site, {"/bank": bank})
"""


@pytest.mark.parametrize("settings", ["", "SWAIG_WSGI = {'rate_limit': 5000}\n"])
def test_agents_and_layers_of_the_application_are_judged(
    check: Any, tmp_path: Path, settings: str
) -> None:
    (tmp_path / "site_with_agent.py").write_text(AGENT_IN_WSGI)
    settings += "WSGI_APPLICATION = 'site_with_agent.application'"
    status, output = check(settings, "--deploy")
    assert status == 1
    assert {"swaig.E003", "swaig.I002", "swaig.I003", "swaig.W014"} <= ids(output)
    assert "swaig.W001" not in ids(output)
    assert "Agents found: 1: 'bank' at /bank." in output
    assert 'HINT: AgentApp(..., basic_auth=("platform", os.environ["SWML_BASIC_AUTH_' in output
    assert "HINT: harden(app, rate_limit=5000)" in output


def test_the_layers_of_the_example_have_the_values_of_its_setting(check: Any) -> None:
    settings = "WSGI_APPLICATION = 'project.wsgi.application'\nSWAIG_WSGI['rate_limit'] = 20"
    env = {"SWML_BASIC_AUTH_USER": "platform", "SWML_BASIC_AUTH_PASSWORD": PASSWORD}
    output = check(settings, "--deploy", **env)[1]
    assert "HINT: SWAIG_WSGI['rate_limit'] = '5000'" in output
    assert not {"swaig.W001", "swaig.W017", "swaig.W033"} & ids(output)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import os\napplication = os.environ['NO_SUCH']", "KeyError: 'NO_SUCH'"),
        (f"raise SystemExit('with {PASSWORD}')", "SystemExit: with ****"),
        ("import no_such", "No module named 'no_such'"),
        ("", "ImportError: Module"),
    ],
)
def test_an_application_that_cannot_be_imported_is_a_finding(
    check: Any, tmp_path: Path, code: str, found: str
) -> None:
    (tmp_path / "broken_site.py").write_text(code)
    settings = "WSGI_APPLICATION = 'broken_site.application'"
    output = check(settings, "--deploy", DB_PASSWORD=PASSWORD)[1]
    assert "swaig.W033" in ids(output)
    assert found in output
    assert 'HINT: python -c "import broken_site"  See docs/django.md#checks.' in output
    # The cause is a finding already.
    (tmp_path / "broken_site.py").write_text("from swaig_wsgi import Settings\nSettings.from_env()")
    output = check(f"del SWAIG_WSGI\n{settings}", "--deploy", SWML_RATE_LIMIT="many")[1]
    assert "swaig.E001" in ids(output)
    assert "swaig.W033" not in ids(output)


def test_attack_weak_credentials_of_the_environment_are_found_beside_the_setting(
    check: Any,
) -> None:
    weak = {
        "SWML_BASIC_AUTH_USER": "admin",
        "SWML_BASIC_AUTH_PASSWORD": "admin",
        "SIGNALWIRE_SWAIG_SECRET": "changeme-changeme",
    }
    setting = "SWAIG_WSGI = {'rate_limit': 5000%s}"
    output = check(setting % "", "--deploy", **weak)[1]
    assert {"swaig.E003", "swaig.W004"} <= ids(output)
    assert not {"swaig.W001", "swaig.W021"} & ids(output)
    # Not a key of the setting, which would have to have the user, too.
    assert 'HINT: SWML_BASIC_AUTH_PASSWORD="$(swaig-wsgi secret)"' in output
    strong = f", 'basic_auth_user': 'platform', 'basic_auth_password': {PASSWORD!r}"
    output = check(setting % strong, "--deploy", **weak)[1]
    assert "swaig.E003" not in ids(output)
    assert "swaig.W004" in ids(output)


def test_importing_the_package_imports_no_django() -> None:
    code = "import sys, swaig_wsgi.checks, swaig_wsgi.cli; assert 'django' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Flask


def test_the_documented_lines_give_flask_a_command(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "flask.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    application = next(each for each in blocks if "harden(" in each)
    command = next(each for each in blocks if "app.cli.command" in each)
    definition = command.partition("\n\n")[2].strip()
    assert len(definition.splitlines()) == 3
    (tmp_path / "app.py").write_text(application + command)
    status, output = run(["flask", "check"], tmp_path, **GOOD)
    assert status == 0, output
    assert ids(output) == {"swaig.I005", "swaig.I007", "swaig.I008"}
    status, output = run(["flask", "check"], tmp_path, **{**GOOD, "SWML_ALLOWED_HOSTS": "*"})
    assert status == 1
    assert ids(output) == {"swaig.W017", "swaig.I005", "swaig.I007", "swaig.I008"}
