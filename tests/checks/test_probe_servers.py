"""``swaig-wsgi check --url`` against gunicorn with TLS: an agent, and Flask and Django sites."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from swaig_wsgi.cli._main import main

ROOT = Path(__file__).resolve().parents[2]
CERTS = ROOT / "tests" / "certs"
USER, PASSWORD = "platform", "mR7-tulip-Quartz-52"
TLS = {
    "SWML_SSL_ENABLED": "true",
    "SWML_SSL_CERT_PATH": str(CERTS / "cert.pem"),
    "SWML_SSL_KEY_PATH": str(CERTS / "key.pem"),
}
LAYERS = {
    "SWML_ALLOWED_HOSTS": "localhost",
    "SWML_CORS_ORIGINS": "https://app.example.org",
    "SWML_RATE_LIMIT": "5000",
    "SWML_MAX_REQUEST_SIZE": "1048576",
}
CREDENTIALS = {"SWML_BASIC_AUTH_USER": USER, "SWML_BASIC_AUTH_PASSWORD": PASSWORD}
OURS = ("-c", "python:swaig_wsgi.gunicorn", "--workers=1")
SITE = {
    "FLASK_SECRET_KEY": "a key for the sessions of a test",
    "DJANGO_SECRET_KEY": "a key for the sessions of a test",
    "AGENT_BEARER_TOKEN": "a-bearer-token-of-the-platform",
    "SIGNALWIRE_SWAIG_SECRET": "a secret of some length",
}


@pytest.fixture
def probe(capsys, monkeypatch):
    """Return a function that returns the ids of the findings on a running service."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTS / "cert.pem"))

    def run(server, scheme="https", path=""):
        url = f"{scheme}://localhost:{server.port}{path}"
        status = main(["check", "--json", "--url", url])
        captured = capsys.readouterr()
        assert PASSWORD not in captured.out + captured.err
        found = [each["id"].removeprefix("swaig.") for each in json.loads(captured.out)["findings"]]
        probed = [number for number in found if number[1] == "1"]
        assert status == any(number[0] == "E" for number in found)
        return probed

    return run


@pytest.fixture
def credentials(monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def test_a_good_agent_has_no_findings(gunicorn, probe, credentials):
    server = gunicorn("swaig_wsgi.examples.basic:app", *OURS, **TLS, **LAYERS, **CREDENTIALS)
    assert probe(server) == []
    # Its refusals are in its log, and nothing was called.
    assert "auth_refused" in server.log
    assert "tool outcome" not in server.log


def test_a_bad_agent_has_findings(gunicorn, probe):
    server = gunicorn("swaig_wsgi.examples.basic:app", **CREDENTIALS)
    assert probe(server, "http") == ["E104", "W105", "W106", "I103", "I101"]


def test_a_good_flask_site_has_no_findings_but_its_health(gunicorn, probe):
    site = str(ROOT / "examples" / "flask_app")
    server = gunicorn("app:app", *OURS, cwd=site, **SITE, **TLS, **LAYERS)
    # Its tools need a bearer token, not user and password.
    assert probe(server) == ["I103", "I102"]


def test_a_bad_flask_site_has_findings(gunicorn, probe, tmp_path):
    (tmp_path / "site_of_test.py").write_text(
        "from flask import Flask, request\n"
        "app = Flask(__name__)\n"
        "@app.get('/')\n"
        "def home():\n"
        "    return 'home', 200, {'Access-Control-Allow-Origin': '*'}\n"
        "@app.post('/swaig')\n"
        "def swaig():\n"
        "    return request.get_json()\n"
    )
    server = gunicorn("site_of_test:app", cwd=str(tmp_path))
    found = ["E104", "E101", "W101", "W105", "W106", "W107", "I101", "I102"]
    assert sorted(probe(server, "http")) == sorted(found)


def test_a_site_behind_a_password_is_probed_with_it(gunicorn, probe, tmp_path, credentials):
    (tmp_path / "guarded_site.py").write_text(
        "from flask import Flask\n"
        "from swaig_wsgi import AuthHandler, Settings, harden\n"
        "app = Flask(__name__)\n"
        "for path in ('/', '/health', '/ready'):\n"
        "    app.add_url_rule(path, path, lambda: 'up')\n"
        "settings = Settings.from_env()\n"
        "auth = AuthHandler(basic_auth=settings.basic_auth)\n"
        "paths = ('/health', '/ready')\n"
        "from swaig_wsgi.middleware import AuthMiddleware\n"
        "app.wsgi_app = AuthMiddleware(app.wsgi_app, auth, exempt=paths)\n"
        "app.wsgi_app = harden(app.wsgi_app, settings)\n"
    )
    site = str(tmp_path)
    server = gunicorn("guarded_site:app", *OURS, cwd=site, **TLS, **LAYERS, **CREDENTIALS)
    # The size limit stands outside authentication here.
    assert probe(server) == []
    layers = {**LAYERS, "SWML_MAX_REQUEST_SIZE": ""}
    server = gunicorn("guarded_site:app", *OURS, cwd=site, **TLS, **layers, **CREDENTIALS)
    assert probe(server) == ["W107"]


def django(gunicorn, tmp_path, settings, *options, **env):
    site = ROOT / "examples" / "django_project"
    (tmp_path / "more_settings.py").write_text(f"from project.settings import *\n{settings}\n")
    path = os.pathsep.join([str(ROOT), str(site), str(tmp_path)])
    env = {**SITE, "DJANGO_SETTINGS_MODULE": "more_settings", "PYTHONPATH": path, **env}
    return gunicorn("project.wsgi", *options, cwd=str(tmp_path), **env)


GOOD_DJANGO = """
SWAIG_WSGI = {
    "allowed_hosts": ["localhost"],
    "cors_origins": ["https://app.example.org"],
    "rate_limit": 5000,
    "max_request_size": 1048576,
    "use_hsts": True,
}
ALLOWED_HOSTS = ["localhost"]
"""


def test_a_good_django_site_has_no_findings_but_its_health(gunicorn, probe, tmp_path):
    server = django(gunicorn, tmp_path, GOOD_DJANGO, *OURS, **TLS)
    assert probe(server) == ["I103", "I102"]


def test_a_bad_django_site_has_findings(gunicorn, probe, tmp_path):
    settings = "SWAIG_WSGI = {'cors_origins': ['*']}\nALLOWED_HOSTS = ['*']"
    server = django(gunicorn, tmp_path, settings)
    found = ["E104", "W105", "W106", "W107", "I101", "I102", "I103"]
    assert sorted(probe(server, "http")) == sorted(found)
