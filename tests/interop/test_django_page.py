"""The project of the page for Django works as pasted, with two workers."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from urllib.parse import urlencode, urlsplit

import django
import pytest
from support.sites import DOCS, call_across_a_rotation, command_of, serve, write
from support.waiting import PATIENCE
from support.wsgi import Recorder, basic

from swaig_wsgi import Settings, harden
from swaig_wsgi.core.urls import with_credentials
from swaig_wsgi.middleware._response_fields import ResponseFields
from swaig_wsgi.testing import AgentClient

PAGE = "django.md"
#: The layers, and middleware of Django, that the page names otherwise.
LAYERS = {
    "proxies": "TrustedProxyMiddleware",
    "headers": "SecurityHeadersMiddleware",
    "request id": "RequestIDMiddleware",
    "https": "HTTPSMiddleware",
    "hosts": "AllowedHostsMiddleware",
    "clients": "AllowedClientsMiddleware",
    "CORS": "CORSMiddleware",
    "rate limit": "RateLimitMiddleware",
    "failed authentications": "AuthFailureLimitMiddleware",
    "size": "BodySizeMiddleware",
}
DJANGOS = {
    "XFrameOptions": "XFrameOptionsMiddleware",
    "WhiteNoise": "WhiteNoiseMiddleware",
    "sessions": "SessionMiddleware",
    "CSRF": "CsrfViewMiddleware",
    "messages": "MessageMiddleware",
}
PLATFORM = ("platform", "p@ss:w/ö")
ANN = {"Authorization": basic("ann", "the password of ann")}
ENV = {
    "SWML_BASIC_AUTH_USER": PLATFORM[0],
    "SWML_BASIC_AUTH_PASSWORD": PLATFORM[1],
    "SIGNALWIRE_SWAIG_SECRET": "a secret of some length",
    "ANNS_PASSWORD": "the password of ann",
}
APP = {"Origin": "https://app.example.com"}
EVIL = {"Origin": "https://evil.example"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    directory = tmp_path_factory.mktemp("shop")
    write(PAGE, "shop", directory, django=True)
    (directory / "assets").mkdir()
    (directory / "assets" / "shop.css").write_text("body { margin: 0 }\n" * 100)
    return directory


def manage(project, *arguments):
    """Run a command of the project, and return its output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *arguments],
        cwd=project,
        env={**os.environ, **ENV},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


USERS = """
from django.contrib.auth import get_user_model
users = get_user_model().objects
users.create_superuser("admin", "", "the password of admin")
users.create_user("ann")
"""


@pytest.fixture(scope="module")
def server(project, serve_command_for_module):
    server = serve(serve_command_for_module, project, command_of(PAGE, "shop"), **ENV)
    manage(project, "shell", "-c", USERS)
    return server


def request(server, method, path, body=None, address="192.0.2.7", **more):
    """Send a request as the proxy in front does."""
    headers = {
        "Host": "internal.example",
        "X-Forwarded-Host": "www.example.com",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-For": address,
        **more.pop("headers", {}),
    }
    if isinstance(body, dict):
        body, headers = urlencode(body).encode(), {**FORM, **headers}
    return server.request(method, path, body, headers, auth=None, **more)


def get(server, path, **more):
    return request(server, "GET", path, **more)


def test_the_platform_follows_the_tool_url_with_nothing_else(server):
    url = f"http://127.0.0.1:{server.port}/voice/swml"
    client = AgentClient(with_credentials(url, *PLATFORM))
    client.fetch_swml("call-1")
    assert client.call_tool("opening_hours") == {"response": "We are open in call-1."}


def test_a_tool_url_keeps_working_while_password_and_secret_are_replaced(project, serve_command):
    def start(**env):
        return serve(serve_command, project, command_of(PAGE, "shop"), **{**ENV, **env})

    secret = ENV["SIGNALWIRE_SWAIG_SECRET"]
    result = call_across_a_rotation(start, "/voice/swml", PLATFORM[1], secret)
    assert result == {"response": "We are open in call-1."}


def test_a_tool_url_has_the_public_host_and_scheme(server):
    headers = {"Authorization": basic(*PLATFORM), "Content-Type": "application/json"}
    body = b'{"call_id": "call-1"}'
    document = request(server, "POST", "/voice/swml", body, headers=headers).json
    (tool,) = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
    url = urlsplit(tool["web_hook_url"])
    assert (url.scheme, url.hostname, url.port) == ("https", "www.example.com", None)
    assert request(server, "POST", "/voice/swml", body).status == 401
    refused = request(server, "POST", "/voice/swaig", body, headers=headers)
    assert refused.json == {"error": "Forbidden: invalid tool token"}


def test_the_agent_beside_django_takes_calls_and_django_keeps_its_paths(server):
    url = f"http://127.0.0.1:{server.port}/agent"
    client = AgentClient(with_credentials(url, *PLATFORM))
    client.fetch_swml("call-1")
    assert client.call_tool("count_staff") == {"response": "2 people work here."}
    assert get(server, "/agent").status == 401
    refused = get(server, "/agent", headers={"X-Forwarded-Host": "evil.example"})
    assert refused.json == {"error": "Forbidden: host not allowed"}
    assert get(server, "/agents").status == 404
    headers = {"Authorization": basic(*PLATFORM)}
    document = get(server, "/agent", headers=headers)
    assert "Set-Cookie" not in document.headers
    (tool,) = document.json["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
    assert tool["web_hook_url"].partition("@")[2].startswith("www.example.com/agent/swaig?")


def test_uploads_are_limited_with_their_files(server):
    edge = 'Content-Disposition: form-data; name="file"; filename="a.txt"'
    body = f"--edge\r\n{edge}\r\n\r\n".encode() + b"x" * 4_000_000 + b"\r\n--edge--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=edge"}
    assert request(server, "POST", "/upload", body, headers=headers).json == {"bytes": 4_000_000}
    large = request(server, "POST", "/upload", body + b" " * 1_000_000, headers=headers)
    assert (large.status, large.json) == (413, {"error": "Request too large"})
    form = request(server, "POST", "/upload", b"a=" + b"x" * 2_700_000, headers=FORM)
    assert (form.status, form.headers["Content-Type"]) == (400, "text/html; charset=utf-8")


def test_verified_users_are_users_of_django(server):
    assert get(server, "/staff/whoami", headers=ANN).json == {"user": "ann"}
    wrong = {"Authorization": basic("ann", "wrong")}
    for headers in ({}, wrong, {"Remote-User": "ann"}, {"REMOTE_USER": "ann"}):
        assert get(server, "/staff/whoami", headers=headers).status == 401


def test_attack_no_account_is_created_for_the_platform(server, project):
    count = "from django.contrib.auth.models import User; print('users:', User.objects.count())"
    before = manage(project, "shell", "-c", count)
    headers = {"Authorization": basic(*PLATFORM), "Content-Type": "application/json"}
    body = b'{"call_id": "call-1"}'
    assert request(server, "POST", "/voice/swml", body, headers=headers).status == 200
    assert manage(project, "shell", "-c", count) == before
    assert "users: 2" in before


TOKEN = "a" * 32
BROWSER = {"Cookie": f"csrftoken={TOKEN}", "Referer": "https://www.example.com/admin/login/"}


def login(password):
    return {"csrfmiddlewaretoken": TOKEN, "username": "admin", "password": password}


def test_the_admin_is_for_listed_clients_and_limits_logins(server):
    refused = get(server, "/admin/login/", address="203.0.113.9")
    assert refused.json == {"error": "Forbidden: client not allowed"}
    assert get(server, "/admin/login/").status == 200
    path = "/admin/login/?next=/admin/"
    form = login("the password of admin")
    welcome = request(server, "POST", path, form, headers=BROWSER)
    assert (welcome.status, welcome.headers["Location"]) == (302, "/admin/")
    cookies = [value for name, value in welcome.fields if name == "Set-Cookie"]
    session = next(value.partition(";")[0] for value in cookies if "sessionid" in value)
    assert all("Secure" in value for value in cookies)
    assert get(server, "/admin/", headers={"Cookie": session}).status == 200
    statuses = [
        request(server, "POST", spelling, login("wrong"), "192.0.2.9", headers=BROWSER).status
        for spelling in (path, "/admin/login/", "/admin//login/", "/admin/x/../login/", path, path)
    ]
    assert statuses[:2] == [200, 200]
    assert statuses[-1] == 429


def test_static_files_pass_untouched(server, project):
    (path,) = project.glob("staticfiles/shop.*.css")
    url = f"/static/{path.name}"
    plain = get(server, url)
    assert plain.body == path.read_bytes()
    assert plain.headers["Cache-Control"] == "max-age=315360000, public, immutable"
    assert plain.headers["Access-Control-Allow-Origin"] == "*"
    assert plain.headers["X-Content-Type-Options"] == "nosniff"
    assert plain.headers["X-Frame-Options"] == "DENY"
    assert not {"X-Request-Id", "RateLimit"} & set(plain.headers)
    compressed = get(server, url, headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(compressed.body) == plain.body
    since = {"If-Modified-Since": plain.headers["Last-Modified"]}
    assert get(server, url, headers=since).status == 304
    part = get(server, url, headers={"Range": "bytes=0-3"})
    assert (part.status, part.body) == (206, b"body")


def test_each_path_has_one_policy_for_other_origins(server):
    allowed = get(server, "/api/orders", headers=APP).headers
    assert allowed["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert allowed["Access-Control-Allow-Credentials"] == "true"
    assert "Access-Control-Allow-Origin" not in get(server, "/api/orders", headers=EVIL).headers
    assert get(server, "/public/orders", headers=EVIL).headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Origin" not in get(server, "/", headers=APP).headers
    preflight = {"Access-Control-Request-Method": "GET"}
    for path, origin, status in (
        ("/api/orders", APP, 204),
        ("/api/orders", EVIL, 403),
        ("/public/orders", EVIL, 200),
    ):
        headers = {**origin, **preflight}
        assert request(server, "OPTIONS", path, headers=headers).status == status


def test_sessions_work_and_forms_of_other_sites_are_refused(server):
    first = get(server, "/")
    cookie = {"Cookie": first.headers["Set-Cookie"].partition(";")[0]}
    assert "Secure" in first.headers["Set-Cookie"]
    assert "<title>Visit 2</title>" in get(server, "/", headers=cookie).text
    form = login("the password of admin")
    own = {**BROWSER, "Origin": "https://www.example.com", "Sec-Fetch-Site": "same-origin"}
    address = "192.0.2.30"
    assert request(server, "POST", "/admin/login/", form, address, headers=own).status == 302
    refused = request(server, "POST", "/admin/login/", form, address, headers={**BROWSER, **EVIL})
    assert refused.json == {"error": "Forbidden: origin not allowed"}
    without = request(server, "POST", "/admin/login/", {"username": "admin"}, address)
    assert (without.status, "CSRF" in without.text) == (403, True)


def test_attack_a_form_of_another_site_reaches_no_exempt_view(server):
    headers = {"Authorization": basic(*PLATFORM), "Sec-Fetch-Site": "cross-site"}
    refused = request(server, "POST", "/voice/swml", b"{}", headers=headers)
    assert refused.json == {"error": "Forbidden: origin not allowed"}


def test_each_page_has_its_nonce_and_only_the_widget_may_be_framed(server):
    nonces = set()
    for _ in range(4):
        home = get(server, "/")
        (nonce,) = re.findall(r'nonce="([\w-]+)"', home.text)
        assert f"'nonce-{nonce}'" in home.headers["Content-Security-Policy"]
        nonces.add(nonce)
    assert len(nonces) == 4
    assert home.headers["X-Frame-Options"] == "DENY"
    assert "X-Frame-Options" not in get(server, "/widget").headers


def test_async_views_run_with_the_id_of_their_request(server):
    response = get(server, "/later")
    assert response.json == {"anonymous": True, "id": response.headers["X-Request-Id"]}


def test_refusals_reach_no_django(server):
    refused = get(server, "/", headers={"X-Forwarded-Host": "evil.example"})
    assert refused.json == {"error": "Forbidden: host not allowed"}
    assert "Cross-Origin-Opener-Policy" in get(server, "/").headers
    assert "Cross-Origin-Opener-Policy" not in refused.headers
    assert refused.headers["X-Frame-Options"] == "DENY"


def test_the_order_is_that_of_the_page(project):
    (order,) = re.findall(
        r"```\nthe server → harden: (.*?)```", (DOCS / PAGE).read_text(), re.DOTALL
    )
    layers, *inner = (" ".join(each.split()) for each in order.split("→"))
    everything = {
        "trusted_proxies": ["192.0.2.1"],
        "enforce_https": True,
        "allowed_hosts": ["www.example.com"],
        "allowed_clients": ["192.0.2.0/24"],
        "cors_origins": ["https://app.example.com"],
        "rate_limit": 5000,
        "auth_failure_limit": 10,
        "max_request_size": 1,
    }
    names, layer = [], harden(Recorder(), Settings.from_mapping(everything))
    while not isinstance(layer, Recorder):
        # It decides nothing: it adds the fields of the layers inside in one step.
        if not isinstance(layer, ResponseFields):
            names.append(type(layer).__name__)
        layer = layer.app
    assert [LAYERS[each] for each in layers.split(", ")] == names
    code = "from django.conf import settings; print('order:', *settings.MIDDLEWARE)"
    middleware = manage(project, "shell", "-c", code).partition("order: ")[2].split()
    found = [each.rpartition(".")[2] for each in middleware]
    assert [DJANGOS.get(each, each) for each in inner[1:-1]] == found


def test_the_tests_and_the_checks_of_the_project_pass(server, project):
    assert "Ran 3 tests" in manage(project, "test")
    assert "no issues" in manage(project, "check")
    found = manage(project, "check", "--deploy", "--tag=security")
    assert "(swaig.I007) Agents found: 1: 'desk' at /" in found
    assert not re.findall(r"swaig\.(?:E\d{3}|W010|W012|W017|I002|I004)", found)


if django.VERSION >= (6, 0):

    def test_the_policy_of_django_itself_takes_precedence(serve_command, tmp_path):
        write(PAGE, "shop", tmp_path, django=True)
        (tmp_path / "assets").mkdir()
        with (tmp_path / "mysite" / "settings.py").open("a") as file:
            file.write(
                "\nMIDDLEWARE.append('django.middleware.csp.ContentSecurityPolicyMiddleware')\n"
                "SECURE_CSP = {'default-src': [\"'self'\"]}\n"
            )
        server = serve(serve_command, tmp_path, command_of(PAGE, "shop"), **ENV)
        assert get(server, "/widget").headers["Content-Security-Policy"] == "default-src 'self'"
        refused = get(server, "/", headers={"X-Forwarded-Host": "evil.example"})
        assert "nonce-" in refused.headers["Content-Security-Policy"]
