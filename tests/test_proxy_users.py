"""The proxy of docs/network.md that logs users in: a real nginx and two workers of gunicorn."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.nginx import NGINX, serving
from support.waiting import PATIENCE
from test_readme import ROOT, snippets, write

PAGE = ROOT / "docs" / "network.md"
FLASK, DJANGO = (each for each in snippets.programs(PAGE) if "proxy_keep" in each.text)
#: In place of oauth2-proxy: a cookie that it would have signed.
LOGIN = """
def app(environ, start_response):
    user = environ.get("HTTP_COOKIE", "").removeprefix("session=of-")
    if environ["PATH_INFO"] != "/oauth2/auth" or user != "ann":
        start_response("401 Unauthorized", [("Content-Length", "0")])
    else:
        fields = [("X-Auth-Request-User", user), ("X-Auth-Request-Email", f"{user}@a.example")]
        start_response("202 Accepted", [("Content-Length", "0"), *fields])
    return []
"""
#: A page of the Django project that shows the user.
URLS = """
from django.http import HttpResponse
from django.urls import re_path

def index(request):
    return HttpResponse(f"You are {request.user.get_username() or 'not logged in'}.")

urlpatterns = [re_path("", index)]
"""


def locations(application: int, login: int) -> str:
    """Return the directives of the page, with these ports."""
    text = PAGE.read_text().partition("### Users of an authenticating proxy")[2]
    block = re.search(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return block[1].replace(":8000", f":{application}").replace(":4180", f":{login}")


def fetch(
    port: int, path: str, fields: list[tuple[str, str]], source: str = "127.0.0.1"
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=PATIENCE, source_address=(source, 0)
    )
    connection.putrequest("GET", path, skip_host=True)
    for name, value in [("Host", "localhost"), *fields]:
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    try:
        return response.status, response.read().decode()
    finally:
        connection.close()


USER, EMAIL = "X-Forwarded-User", "X-Forwarded-Email"
FORGED = [
    [],
    [(USER, "admin")],
    [(USER, "admin"), (USER, "admin")],
    [("x-forwarded-user", "admin"), (EMAIL, "admin@a.example")],
    [("X_Forwarded_User", "admin"), ("X_FORWARDED-USER", "admin")],
    [("X-Forwarded_User", "admin"), (USER, "")],
    [(USER, "admin,ann"), ("X-Forwarded-For", "127.0.0.1")],
    [("X-Auth-Request-User", "admin"), ("Remote-User", "admin")],
    [("Connection", "close, X-Forwarded-User"), (USER, "admin")],
]


if NGINX is not None:

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["flask", "django"])
    def test_attack_no_client_chooses_its_user_behind_nginx(
        gunicorn: Any, tmp_path: Path, kind: str
    ) -> None:
        write(FLASK if kind == "flask" else DJANGO, tmp_path)
        if kind == "django":
            (tmp_path / "mysite" / "urls.py").write_text(URLS)
            command = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
            subprocess.run(command, cwd=tmp_path, check=True, timeout=PATIENCE)
        (tmp_path / "login.py").write_text(LOGIN)
        options = ("-c", "python:swaig_wsgi.gunicorn", "--workers=2")
        paths = {"cwd": str(tmp_path), "PYTHONPATH": f"{ROOT}:{tmp_path}"}
        app = "app:app" if kind == "flask" else "mysite.wsgi"
        server = gunicorn(app, *options, **paths)
        login = gunicorn("login:app", **paths)
        cookie = ("Cookie", "session=of-ann")
        with serving(tmp_path, locations(server.port, login.port)) as port:
            for forged in FORGED:
                assert fetch(port, "/", [cookie, *forged]) == (200, "You are ann.")
                assert fetch(port, "/", forged)[0] == 401
                assert fetch(port, "/public/", forged) == (200, "You are not logged in.")
                # Past the proxy, from an address that is not trusted.
                assert fetch(server.port, "/", forged, "127.0.0.2") == (
                    200,
                    "You are not logged in.",
                )
        assert "Traceback" not in server.log
