"""The sites of the page for Flask work as pasted, with two workers."""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import urlencode

import pytest
from support.sites import call_across_a_rotation, command_of, serve, write
from support.waiting import PATIENCE

from swaig_wsgi.core.headers import SITE_HEADERS
from swaig_wsgi.core.urls import with_credentials
from swaig_wsgi.testing import AgentClient

PAGE = "flask.md"
CREDENTIALS = {"SWML_BASIC_AUTH_USER": "platform", "SWML_BASIC_AUTH_PASSWORD": "p@ss:w/ö"}
WWW = {"Host": "www.example.com"}
BEHIND_PROXY = {**WWW, "X-Forwarded-Proto": "https"}


@pytest.fixture
def start(serve_command, tmp_path):
    def start(site, **env):
        write(PAGE, site, tmp_path)
        return serve(serve_command, tmp_path, command_of(PAGE, site), **env)

    return start


def test_the_factory_makes_a_hardened_site_with_a_tool(start):
    server = start("factory", SIGNALWIRE_SWAIG_SECRET="a secret of some length", **CREDENTIALS)
    home = server.request("GET", "/", auth=None)
    assert home.json == {"here": f"http://127.0.0.1:{server.port}/"}
    assert dict(SITE_HEADERS).items() <= home.headers.items()
    url = f"http://127.0.0.1:{server.port}/voice/swml"
    client = AgentClient(with_credentials(url, *CREDENTIALS.values()))
    client.fetch_swml("call-1")
    assert client.call_tool("opening_hours") == {"response": "We are open from 9 to 5."}
    server.wait_for_log("call call-1")


def test_a_tool_url_keeps_working_while_password_and_secret_are_replaced(serve_command, tmp_path):
    write(PAGE, "factory", tmp_path)

    def start(**env):
        return serve(serve_command, tmp_path, command_of(PAGE, "factory"), **env)

    result = call_across_a_rotation(start, "/voice/swml", "p@ss:w/ö", "a secret of some length")
    assert result == {"response": "We are open from 9 to 5."}


def test_the_blueprint_is_protected_with_all_that_is_below_it(start):
    server = start("factory", SIGNALWIRE_SWAIG_SECRET="a secret of some length", **CREDENTIALS)
    for path in ("/voice", "/voice/swml", "/voice/nowhere", "//voice/swaig", "/x/../voice/swml"):
        assert server.request("POST", path, {"call_id": "call-1"}, auth=None).status == 401, path
    auth = tuple(CREDENTIALS.values())
    assert server.request("POST", "/voice/nowhere", auth=auth).status == 404
    refused = server.request("POST", "/voice/swaig", {"call_id": "call-1"}, auth=auth)
    assert refused.json == {"error": "Forbidden: invalid tool token"}


def test_the_test_of_the_factory_passes(tmp_path):
    write(PAGE, "factory", tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_forwarded_fields_count_only_from_the_trusted_proxy(start):
    server = start("proxied")
    forwarded = {
        "X-Forwarded-For": "203.0.113.66, 192.0.2.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "www.example.com",
        "X-Forwarded-Prefix": "/shop",
    }
    response = server.request("GET", "/where", headers=forwarded, auth=None)
    assert response.json == {"url": "https://www.example.com/shop/where", "client": "192.0.2.7"}


def test_attack_a_client_that_bypasses_the_proxy_forges_nothing(serve_command, tmp_path):
    write(PAGE, "proxied", tmp_path)
    command = command_of(PAGE, "proxied").replace("127.0.0.1", "10.0.0.1", 1)
    server = serve(serve_command, tmp_path, command)
    forged = {
        **WWW,
        "X-Forwarded-For": "192.0.2.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Prefix": "/evil",
        "X-Real-IP": "192.0.2.7",
    }
    response = server.request("GET", "/where", headers=forged, auth=None)
    assert response.json == {"url": "http://www.example.com/where", "client": "127.0.0.1"}


class Visitor:
    """A browser behind the proxy, with cookies."""

    def __init__(self, server, address="192.0.2.7"):
        self.server = server
        self.cookies = {}
        self.headers = {**BEHIND_PROXY, "X-Forwarded-For": address, "User-Agent": "a browser"}

    def request(self, method, path, form=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {**self.headers, **headers}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={self.cookies[name]}" for name in self.cookies)
        body = None
        if form is not None:
            body = urlencode(form).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        response = self.server.request(method, path, body, headers, auth=None)
        for name, value in response.fields:
            if name.lower() == "set-cookie" and "Max-Age=0" not in value:
                assert "Secure" in value
                assert "SameSite=Lax" in value
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
        return response


ANN = {"name": "ann", "password": "the password of ann"}
LOGIN = {"FLASK_SECRET_KEY": "a key of the sessions", "ANNS_PASSWORD": ANN["password"]}


def test_flask_login_works_with_sessions_and_remember_me(start):
    server = start("login", **LOGIN)
    visitor = Visitor(server)
    assert visitor.request("GET", "/account").status == 401
    assert visitor.request("POST", "/login", {**ANN, "password": "wrong"}).status == 401
    assert visitor.request("POST", "/login", {**ANN, "remember": "1"}).body == b"Welcome."
    assert visitor.request("GET", "/account").json == {"user": "ann"}
    # session_protection="strong": the session of another address ends; "remember me" does, too,
    # because its cookie holds no address.
    del visitor.cookies["session"]
    assert visitor.request("GET", "/account").json == {"user": "ann"}
    stolen = Visitor(server, "203.0.113.9")
    stolen.cookies = {"session": visitor.cookies["session"]}
    assert stolen.request("GET", "/account").status == 401


def test_attack_logins_are_limited_over_both_workers_and_forms_of_other_sites_refused(start):
    server = start("login", **LOGIN)
    visitor = Visitor(server)
    wrong = {**ANN, "password": "wrong"}
    statuses = [visitor.request("POST", "/login", wrong).status for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    other = Visitor(server, "192.0.2.8")
    evil = {"Origin": "https://evil.example"}
    assert other.request("POST", "/login", ANN, **evil).status == 403
    assert other.request("POST", "/login", ANN, Sec_Fetch_Site="cross-site").status == 403
    own = {"Origin": "https://www.example.com", "Sec_Fetch_Site": "same-origin"}
    assert other.request("POST", "/login", ANN, **own).status == 200
