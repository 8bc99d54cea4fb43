"""Sites with security extensions, and the same sites inside harden: every difference is listed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import django
from support.differences import Call, as_table, differences, observed
from support.sites import DOCS, command_of, serve, write
from support.waiting import PATIENCE
from support.wsgi import basic

SHOP = {"Authorization": basic("shop", "p@ss:w/ö")}
WRONG = {"Authorization": basic("shop", "wrong")}
APP = {"Origin": "https://app.example.com"}
UNKNOWN_HOST = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
EVIL = {"Origin": "https://evil.example"}


def preflight(method: str) -> dict[str, str]:
    return {"Access-Control-Request-Method": method}


OTHER_HEADER = {**APP, **preflight("POST"), "Access-Control-Request-Headers": "x-other"}


FLASK = [
    Call("page"),
    Call("page over plain HTTP", headers={"X-Forwarded-Proto": "http"}),
    Call("HEAD", method="HEAD"),
    Call("OPTIONS", method="OPTIONS"),
    Call("page for another origin", headers=APP),
    Call("file", "/static/shop.css"),
    Call(
        "unchanged file",
        "/static/shop.css",
        headers={"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"},
    ),
    Call("unknown page", "/nowhere"),
    Call("failing page", "/broken"),
    Call("wrong method", method="DELETE"),
    Call("unknown host", headers=UNKNOWN_HOST),
    Call("forged client address", headers={"X-Forwarded-For": "10.0.0.9, 192.0.2.1"}),
    Call("orders", "/api/orders", headers=SHOP),
    Call("orders without credentials", "/api/orders"),
    Call("orders with a wrong password", "/api/orders", headers=WRONG),
    Call("6 wrong passwords", "/api/orders", headers=WRONG, times=6),
    Call("orders for the app", "/api/orders", headers={**SHOP, **APP}),
    Call("orders for another origin", "/api/orders", headers={**SHOP, **EVIL}),
    Call("preflight", "/api/orders", "OPTIONS", {**APP, **preflight("POST")}),
    Call("preflight for DELETE", "/api/orders", "OPTIONS", {**APP, **preflight("DELETE")}),
    Call("preflight of another origin", "/api/orders", "OPTIONS", {**EVIL, **preflight("POST")}),
    Call("new order", "/api/orders", "POST", SHOP, {"item": 1}),
    Call("6 orders", "/api/orders", "POST", SHOP, {"item": 1}, times=6),
    Call("6 orders of the app", "/api/orders", "POST", {**SHOP, **APP}, {"item": 1}, times=6),
    Call("large order", "/api/orders", "POST", SHOP, b"x" * 100_001),
    Call("large order without credentials", "/api/orders", "POST", {}, b"x" * 100_001),
    Call("large form for a page", "/", "POST", {}, b"x" * 100_001),
    Call("unknown path of the API", "/api/none", headers=SHOP),
    Call("unknown path of the API without credentials", "/api/none"),
    Call("OPTIONS of the API", "/api/orders", "OPTIONS", SHOP),
    Call("OPTIONS of the API without credentials", "/api/orders", "OPTIONS"),
    Call("HEAD of the API", "/api/orders", "HEAD", SHOP),
    Call("DELETE of the API", "/api/orders", "DELETE", SHOP),
    Call("double slash", "//api/orders", headers=SHOP),
    Call("double slash for the app", "//api/orders", headers={**SHOP, **APP}),
    Call("double slash without credentials", "//api/orders"),
    Call("preflight of a page", "/", "OPTIONS", {**APP, **preflight("POST")}),
    Call("preflight with another header", "/api/orders", "OPTIONS", OTHER_HEADER),
    Call("preflight for an unknown path", "/api/none", "OPTIONS", {**APP, **preflight("POST")}),
]


LOGIN = "/admin/login/"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def login(user: str, password: str) -> bytes:
    """Return the form of a page without cookies, whose token is a cookie, too."""
    return f"csrfmiddlewaretoken={TOKEN}&username={user}&password={password}".encode()


TOKEN = "a" * 32
BROWSER = {**FORM, "Cookie": f"csrftoken={TOKEN}", "Referer": f"https://www.example.com{LOGIN}"}

DJANGO = [
    Call("page"),
    Call("page over plain HTTP", headers={"X-Forwarded-Proto": "http"}),
    Call("HEAD", method="HEAD"),
    Call("page for another origin", headers=APP),
    Call("unknown page", "/nowhere"),
    Call("failing page", "/broken"),
    Call("unknown host", headers=UNKNOWN_HOST),
    Call("forged client address", headers={"X-Forwarded-For": "10.0.0.9, 192.0.2.1"}),
    Call("orders", "/api/orders"),
    Call("orders for the app", "/api/orders", headers=APP),
    Call("orders for another origin", "/api/orders", headers=EVIL),
    Call("preflight", "/api/orders", "OPTIONS", {**APP, **preflight("POST")}),
    Call("preflight for DELETE", "/api/orders", "OPTIONS", {**APP, **preflight("DELETE")}),
    Call("preflight of another origin", "/api/orders", "OPTIONS", {**EVIL, **preflight("POST")}),
    Call("new order", "/api/orders", "POST", {}, {"item": 1}),
    Call("6 orders", "/api/orders", "POST", {}, {"item": 1}, times=6),
    Call("6 orders of the app", "/api/orders", "POST", APP, {"item": 1}, times=6),
    Call("large order", "/api/orders", "POST", {}, b"x" * 100_001),
    Call("large form for a page", "/", "POST", {}, b"x" * 100_001),
    Call("unknown path of the API", "/api/none"),
    Call("OPTIONS", method="OPTIONS"),
    Call("OPTIONS of the API", "/api/orders", "OPTIONS"),
    Call("HEAD of the API", "/api/orders", "HEAD"),
    Call("DELETE of the API", "/api/orders", "DELETE"),
    Call("double slash", "//api/orders"),
    Call("double slash for the app", "//api/orders", headers=APP),
    Call("preflight of a page", "/", "OPTIONS", {**APP, **preflight("POST")}),
    Call("preflight with another header", "/api/orders", "OPTIONS", OTHER_HEADER),
    Call("preflight for an unknown path", "/api/none", "OPTIONS", {**APP, **preflight("POST")}),
    Call("login page", LOGIN),
    Call("login", LOGIN, "POST", BROWSER, login("admin", "pass-of-admin")),
    Call("login without CSRF token", LOGIN, "POST", FORM, login("admin", "pass-of-admin")),
    Call("wrong password", LOGIN, "POST", BROWSER, login("admin", "wrong")),
    Call("6 wrong passwords", LOGIN, "POST", BROWSER, login("admin", "wrong"), times=6),
    Call("6 logins", LOGIN, "POST", BROWSER, login("admin", "pass-of-admin"), times=6),
]


def ask(server: Any, calls: list[Call]) -> dict[str, dict[str, str]]:
    """Return what a site behind a proxy responds to each call, each from an own address."""
    found = {}
    for number, call in enumerate(calls):
        headers = {
            "Host": "www.example.com",
            "X-Forwarded-Host": "www.example.com",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": f"192.0.2.{number + 10}",
            **call.headers,
        }
        found[call.name] = observed(
            [
                server.request(call.method, call.path, call.body, headers, auth=None)
                for _ in range(call.times)
            ]
        )
    return found


def table(section: str) -> str:
    """Return the rows of a section's table of differences, without the last column."""
    text = (DOCS / "migration.md").read_text().partition(f"\n## {section}\n")[2]
    lines = text.partition("\n| what ")[2].partition("\n\n")[0].splitlines()[2:]
    return "\n".join(f"{line.rpartition(' | ')[0]} |" for line in lines)


def test_every_difference_of_the_flask_site_is_listed(serve_command, tmp_path, valkey_url):
    write("migration.md", "flask", tmp_path)
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "shop.css").write_text("body { margin: 0 }\n")
    env = {"FLASK_SECRET_KEY": "a key of the sessions", "API_PASSWORD": "p@ss:w/ö"}
    before = serve(
        serve_command, tmp_path, "gunicorn before:app", RATELIMIT_STORAGE_URI=valkey_url, **env
    )
    after = serve(serve_command, tmp_path, command_of("migration.md", "flask"), **env)
    found = as_table(differences(FLASK, ask(before, FLASK), ask(after, FLASK)))
    assert found == table("Flask"), f"the table should be:\n{found}"


#: Django 4.2 sends it with the page of a 400, too; the page says so.
ONLY_IN_42 = ("vary", "cookie, origin", "origin", "large order")


def create_admin(directory: Path) -> None:
    code = (
        "from django.contrib.auth import get_user_model\n"
        "get_user_model().objects.create_superuser('admin', '', 'pass-of-admin')"
    )
    for command in (["migrate", "--verbosity=0"], ["shell", "-c", code]):
        env = {**os.environ, "CACHE_URL": "redis://127.0.0.1:1"}
        command = [sys.executable, "manage.py", *command]
        subprocess.run(command, cwd=directory, check=True, timeout=PATIENCE, env=env)


def test_every_difference_of_the_django_site_is_listed(serve_command, tmp_path, valkey_url):
    servers = []
    for site, command, env in (
        ("django-before", "gunicorn mysite.wsgi", {"CACHE_URL": valkey_url}),
        ("django-after", command_of("migration.md", "django-after"), {}),
    ):
        directory = tmp_path / site
        directory.mkdir()
        write("migration.md", "django", directory, django=True)
        write("migration.md", site, directory)
        create_admin(directory)
        servers.append(serve(serve_command, directory, command, **env))
    before, after = (ask(server, DJANGO) for server in servers)
    rows = differences(DJANGO, before, after)
    if django.VERSION < (5, 0):
        rows.remove(ONLY_IN_42)
    found = as_table(rows)
    assert found == table("Django"), f"the table should be:\n{found}"
