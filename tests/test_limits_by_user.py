"""The limits of docs/limits.md, as pasted, under gunicorn with two workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask.sessions import SecureCookieSessionInterface
from test_readme import ROOT, snippets, write

ADDRESS = "127.0.0.1"


def program(word: str) -> Any:
    """Return the program of the page that contains a word."""
    (found,) = [
        each for each in snippets.programs(ROOT / "docs" / "limits.md") if word in each.text
    ]
    return found


def serve(gunicorn: Any, directory: Path, app: str) -> Any:
    return gunicorn(
        app,
        "-c",
        "python:swaig_wsgi.gunicorn",
        "--workers=2",
        cwd=str(directory),
        PYTHONPATH=str(ROOT),
    )


def left(server: Any, *cookies: str) -> str:
    """Return what remains of the limit after a request with these cookies."""
    headers = {"Cookie": "; ".join(cookies)} if cookies else {}
    response = server.request("GET", "/", headers=headers, auth=None)
    assert response.status in (200, 404)
    return str(response.headers["RateLimit"].partition(";t=")[0])


def test_five_attempts_to_log_in_and_600_requests(gunicorn: Any, tmp_path: Path) -> None:
    write(program('name="login"'), tmp_path)
    server = serve(gunicorn, tmp_path, "app:app")
    attempts = [server.request("POST", "/login", auth=None) for _ in range(6)]
    assert [each.status for each in attempts] == [401] * 5 + [429]
    assert attempts[5].headers["RateLimit-Policy"] == '"login";q=5;w=60'
    assert server.request("GET", "/login", auth=None).status == 405
    assert left(server) == '"default";r=592'
    assert "RateLimit" not in server.request("GET", "/static/a.css", auth=None).headers


def flask_cookie(key: str, **session: Any) -> str:
    class App:
        secret_key = key
        config = {"SECRET_KEY_FALLBACKS": []}

    serializer = SecureCookieSessionInterface().get_signing_serializer(App())
    assert serializer is not None
    return f"session={serializer.dumps(session)}"


def test_attack_no_cookie_of_flask_evades_the_limit_by_user(gunicorn: Any, tmp_path: Path) -> None:
    write(program("open_session"), tmp_path)
    server = serve(gunicorn, tmp_path, "app:app")
    login = server.request("POST", "/login", auth=None)
    cookie = login.headers["Set-Cookie"].partition(";")[0]
    assert [left(server, cookie) for _ in range(3)] == [f'"user";r={n}' for n in (99, 98, 97)]
    # Everything else counts for the address, as the login did.
    payload, _, signature = cookie.partition(".")
    others = [
        flask_cookie("the secret key of another site", user_id=8),
        flask_cookie("the secret key of another site", user_id=7),
        f"{payload[:-1]}A.{signature}",
        f"{cookie}A",
        "session=",
    ]
    for number, other in enumerate(others):
        assert left(server, other) == f'"user";r={98 - number}'
    assert left(server) == '"user";r=93'
    assert left(server, cookie) == '"user";r=96'


_USERS = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
import django
django.setup()
from django.contrib.auth import SESSION_KEY, HASH_SESSION_KEY, BACKEND_SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
call_command("migrate", verbosity=0)
for name, stale, active in [("ann", 0, 1), ("stale", 1, 1), ("gone", 0, 0)]:
    user = User.objects.create_user(name, password="a password", is_active=active)
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = "0" * 64 if stale else user.get_session_auth_hash()
    store.create()
    print(store.session_key)
"""


@pytest.mark.slow
def test_attack_no_cookie_of_django_evades_the_limit_by_user(gunicorn: Any, tmp_path: Path) -> None:
    write(program("get_user"), tmp_path)
    made = subprocess.run(
        [sys.executable, "-c", _USERS], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    ann, *others = [f"sessionid={key}" for key in made.stdout.split()]
    server = serve(gunicorn, tmp_path, "mysite.wsgi")
    assert [left(server, ann) for _ in range(3)] == [f'"user";r={n}' for n in (99, 98, 97)]
    # After a change of the password, of an inactive user, invented, and empty.
    others += ["sessionid=" + "a" * 32, "sessionid="]
    for number, other in enumerate(others):
        assert left(server, other) == f'"user";r={99 - number}'
    assert left(server) == '"user";r=95'
    assert left(server, ann) == '"user";r=96'


_SUITE = """
import conftest
from app import app

def test_no_limit():
    client = app.test_client()
    assert {client.post("/login").status_code for _ in range(50)} == {401}
"""
_RUNNER = """
import urllib.error, urllib.request
from django.test import Client, LiveServerTestCase, RequestFactory
from mysite.wsgi import application

class Test(LiveServerTestCase):
    def test_no_limit(self):
        statuses = set()
        for _ in range(20):
            environ = RequestFactory(**{"wsgi.multiprocess": False}).get("/").environ
            application(environ, lambda status, *rest: statuses.add(int(status[:3])))
        assert statuses == {404}, statuses  # of the project, which has no pages

    def test_views_alone_have_no_limit(self):
        statuses = {Client().get("/").status_code for _ in range(20)}
        for _ in range(20):
            try:
                urllib.request.urlopen(self.live_server_url)
            except urllib.error.HTTPError as error:
                statuses.add(error.code)
        assert statuses == {404}
"""


def test_one_line_turns_limits_off_for_the_test_client_of_flask(tmp_path: Path) -> None:
    write(program('name="login"'), tmp_path)
    (tmp_path / "conftest.py").write_text(program("enabled = False").code)
    (tmp_path / "test_it.py").write_text(_SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("off", [True, False])
def test_one_line_turns_limits_off_for_the_runner_of_django(tmp_path: Path, off: bool) -> None:
    made = program("get_user")
    made.files["wsgi.py"] = made.files["wsgi.py"].replace('"limit": 100', '"limit": 10')
    write(made, tmp_path)
    line = program("enabled = False").code if off else ""
    (tmp_path / "mysite" / "settings_test.py").write_text(f"from .settings import *\n{line}")
    (tmp_path / "mysite" / "tests.py").write_text(_RUNNER)
    command = [sys.executable, "manage.py", "test", "--settings=mysite.settings_test"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is off, done.stderr
    failed = "" if off else "FAILED (failures=1)"
    assert failed in done.stderr
    assert ("AssertionError: {404, 429}" in done.stderr) is not off
