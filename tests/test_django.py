"""A Django project inside the middleware: with its test client, and under gunicorn.

A process has one set of Django settings, so each test starts a process.
"""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.sites import call_across_a_rotation, call_with_nothing_else
from support.waiting import PATIENCE

from swaig_wsgi.core.headers import SITE_HEADERS
from swaig_wsgi.django import csp_nonce

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "django_project"
PASSWORD = "p@ss:w/ö of the platform"
ENV = {
    "DJANGO_SECRET_KEY": "a key for the sessions of a test",
    "SWML_BASIC_AUTH_USER": "platform",
    "SWML_BASIC_AUTH_PASSWORD": PASSWORD,
    "SIGNALWIRE_SWAIG_SECRET": "a secret of some length",
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(EXAMPLE)]),
}
SITE = dict(SITE_HEADERS)
#: The headers of a response of Django, which sets Referrer-Policy itself.
DJANGO = {**SITE, "Referrer-Policy": "same-origin"}


class Browser:
    """An HTTP client with cookies that keeps repeated header fields."""

    def __init__(self, port: int, **headers: str) -> None:
        self.port = port
        self.headers = headers
        self.cookies: dict[str, str] = {}

    def request(self, method: str, path: str, body: Any = None, **more: str) -> Any:
        headers = {**self.headers, **more}
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            self.fields = response.getheaders()
            self.body = response.read()
        finally:
            connection.close()
        for value in response.headers.get_all("Set-Cookie", []):
            name, _, rest = value.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        self.status = response.status
        return self

    def get(self, path: str, **headers: str) -> Any:
        return self.request("GET", path, **headers)

    def post_form(self, path: str, **headers: str) -> Any:
        page = self.get(path, **headers).body.decode()
        found = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page)
        assert found is not None
        body = f"name=you&csrfmiddlewaretoken={found[1]}"
        kind = {"Content_Type": "application/x-www-form-urlencoded"}
        return self.request("POST", path, body, **{**kind, **headers})

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]


@pytest.fixture
def serve(gunicorn: Any, tmp_path: Path) -> Any:
    """Return a function that serves the example with more settings, by swaig_wsgi.gunicorn."""

    def start(settings: str = "", app: str = "project.wsgi", workers: int = 1, **env: str) -> Any:
        (tmp_path / "more_settings.py").write_text(
            f"from project.settings import *\nfrom project.settings import SWAIG_WSGI\n{settings}\n"
        )
        env = {**ENV, "DJANGO_SETTINGS_MODULE": "more_settings", **env}
        env["PYTHONPATH"] += os.pathsep + str(tmp_path)
        config = ["-c", "python:swaig_wsgi.gunicorn", f"--workers={workers}"]
        return gunicorn(app, *config, cwd=str(tmp_path), **env)

    return start


def run(*command: str) -> str:
    """Run Python in the project, and return its output."""
    completed = subprocess.run(
        [sys.executable, *command],
        cwd=EXAMPLE,
        env={**os.environ, **ENV},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout + completed.stderr


def test_the_tests_and_the_deployment_check_of_the_project_pass() -> None:
    assert "Ran 4 tests" in run("manage.py", "test")
    assert "no issues" in run("manage.py", "check")


BESIDE = """
import io
import django
from django.core.wsgi import get_wsgi_application
from django.test.utils import setup_test_environment
from werkzeug.test import Client
from swaig_wsgi import Settings, harden

django.setup()
bare = get_wsgi_application()
added = {"X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "X-Request-Id"}
pages = ("/", "/stream", "/form", "/nowhere", "/broken")

def look(app):
    responses = [Client(app).open(path, method=method, headers={"Host": "localhost"})
               for path in pages for method in ("GET", "HEAD", "OPTIONS", "POST")]
    return [(each.status, dict(each.headers), each.data) for each in responses]

for (status, headers, body), (before, headers_before, body_before) in zip(
    look(harden(bare, Settings.from_mapping({}))), look(bare)
):
    assert status == before, (status, before)
    assert len(body) == len(body_before)
    assert headers.keys() - headers_before.keys() <= added
    assert added <= headers.keys()
    for name in headers_before.keys() - {"Set-Cookie"}:
        assert headers[name] == headers_before[name]
print("untouched")
"""


def test_harden_adds_only_the_request_id_and_the_security_headers() -> None:
    code = "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'project.settings'\n" + BESIDE
    assert "untouched" in run("-c", code)


def test_the_development_server_serves_the_hardened_application() -> None:
    code = (
        "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'project.settings'\n"
        "from django.core.servers.basehttp import get_internal_wsgi_application\n"
        "from project.wsgi import application\n"
        "assert get_internal_wsgi_application() is application\n"
        "from swaig_wsgi.middleware._hardened import is_hardened\n"
        "print('hardened:', is_hardened(application))\n"
    )
    assert "hardened: True" in run("-c", code)


def test_sessions_forms_uploads_streams_and_errors_work(serve: Any) -> None:
    server = serve()
    browser = Browser(server.port)
    browser.get("/")
    assert b"Visit 2" in browser.get("/").body
    assert browser.post_form("/form").status == 200
    assert browser.body == b"<p>Hello you</p>"
    assert len(browser.get("/stream").body.splitlines()) == 1000
    assert browser.values("Transfer-Encoding") == ["chunked"]
    for path, status in (("/nowhere", 404), ("/broken", 500)):
        assert browser.get(path).status == status
        assert {name: browser.values(name) for name in DJANGO} == {
            name: [value] for name, value in DJANGO.items()
        }
    server.wait_for_log("RuntimeError: this view is broken")
    edge = 'Content-Disposition: form-data; name="file"; filename="a.txt"'
    body = f"--edge\r\n{edge}\r\n\r\n".encode() + b"x" * 4_000_000 + b"\r\n--edge--\r\n"
    kind = {"Content_Type": "multipart/form-data; boundary=edge"}
    assert browser.request("POST", "/upload", body, **kind).status == 200
    assert browser.body == b'{"name": "a.txt", "bytes": 4000000}'
    assert browser.request("POST", "/upload", b"", Content_Length="5000001").status == 413
    assert browser.body == b'{"error": "Request too large"}'


def test_django_refuses_a_form_without_its_csrf_token(serve: Any) -> None:
    browser = Browser(serve().port)
    kind = {"Content_Type": "application/x-www-form-urlencoded"}
    assert browser.request("POST", "/form", "name=you", **kind).status == 403
    assert b"CSRF" in browser.body


def test_hosts_and_rates_are_limited(serve: Any) -> None:
    browser = Browser(serve(SWML_RATE_LIMIT="3").port)
    assert browser.get("/", Host="evil.example").status == 403
    assert browser.body == b'{"error": "Forbidden: host not allowed"}'
    assert [browser.get("/").status for _ in range(4)] == [200, 200, 200, 429]
    assert {name: browser.values(name) for name in SITE} == {
        name: [value] for name, value in SITE.items()
    }


def test_allowed_hosts_of_django_still_apply(serve: Any) -> None:
    browser = Browser(serve("SWAIG_WSGI = {**SWAIG_WSGI, 'allowed_hosts': ['*']}").port)
    assert browser.get("/", Host="localhost").status == 200
    assert browser.get("/", Host="evil.example").status == 400
    assert b"Forbidden: host" not in browser.body


HTTPS = {
    "X_Forwarded_Proto": "https",
    "X_Forwarded_Host": "www.example",
    "X_Forwarded_For": "192.0.2.7",
}
BEHIND = (
    "ALLOWED_HOSTS = ['localhost', 'www.example']\n"
    "SWAIG_WSGI = {**SWAIG_WSGI, 'allowed_hosts': ALLOWED_HOSTS}\n"
    "USE_X_FORWARDED_HOST = True\n"
    "SECURE_HSTS_SECONDS = 60\n"
)


def test_behind_a_trusted_proxy_django_recognizes_https(serve: Any) -> None:
    server = serve(BEHIND, DJANGO_SSL_REDIRECT="true", SWML_TRUSTED_PROXIES="127.0.0.1")
    browser = Browser(server.port, Host="localhost")
    assert browser.get("/form", X_Forwarded_Host="www.example").status == 301
    assert browser.values("Location") == ["https://www.example/form"]
    assert browser.get("/form", **HTTPS).status == 200
    assert browser.values("Strict-Transport-Security") == ["max-age=60"]
    # CSRF protection compares the page's origin with the host that the proxy reported.
    assert browser.post_form("/form", **HTTPS, Origin="https://www.example").status == 200
    evil = browser.post_form("/form", **HTTPS, Origin="https://evil.example")
    assert (evil.status, b"CSRF" in evil.body) == (403, True)
    assert browser.get("/", **{**HTTPS, "X_Forwarded_Host": "evil.example"}).status == 403
    # Django reads the left-most value, which a client may have sent; only one is passed on.
    spoof = {**HTTPS, "X_Forwarded_Proto": "https, http"}
    assert browser.get("/form", **spoof).status == 301


def test_an_untrusted_client_cannot_forge_https(serve: Any) -> None:
    server = serve(BEHIND, DJANGO_SSL_REDIRECT="true", SWML_TRUSTED_PROXIES="10.0.0.1")
    browser = Browser(server.port, Host="localhost")
    assert browser.get("/form", **HTTPS).status == 301
    assert browser.values("Location") == ["https://localhost/form"]
    assert browser.get("/form", X_Forwarded_Ssl="on", Forwarded="proto=https").status == 301


def test_hsts_is_sent_once_if_django_sends_it_too(serve: Any) -> None:
    more = BEHIND + "SWAIG_WSGI = {**SWAIG_WSGI, 'ssl_domain': 'www.example'}\n"
    browser = Browser(serve(more, SWML_TRUSTED_PROXIES="127.0.0.1").port, Host="localhost")
    assert browser.get("/", **HTTPS).values("Strict-Transport-Security") == ["max-age=60"]
    # A refusal does not come from Django, and carries the header of the middleware.
    refused = browser.get("/swaig", **HTTPS)
    assert refused.status == 401
    assert refused.values("Strict-Transport-Security") == ["max-age=31536000; includeSubDomains"]


def test_proxy_fix_inside_changes_nothing(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "fixed.py").write_text(
        "from django.conf import settings\n"
        "from django.core.wsgi import get_wsgi_application\n"
        "from django.http import JsonResponse\n"
        "from django.urls import path\n"
        "from werkzeug.middleware.proxy_fix import ProxyFix\n"
        "from swaig_wsgi import Settings, harden\n"
        "def where(request):\n"
        "    client = request.META['REMOTE_ADDR']\n"
        "    return JsonResponse({'url': request.build_absolute_uri(), 'client': client})\n"
        "urlpatterns = [path('where', where)]\n"
        "fixed = ProxyFix(get_wsgi_application(), x_for=1, x_proto=1, x_host=1, x_prefix=1)\n"
        "app = harden(fixed, Settings.from_mapping(settings.SWAIG_WSGI))\n"
    )
    settings = f"{BEHIND}ROOT_URLCONF = 'fixed'\n"
    server = serve(settings, "fixed:app", SWML_TRUSTED_PROXIES="127.0.0.1")
    forwarded = {name.replace("_", "-"): value for name, value in HTTPS.items()}
    forwarded.update({"X-Forwarded-Prefix": "/shop", "Host": "localhost"})
    response = server.request("GET", "/where", headers=forwarded, auth=None)
    assert response.json == {"url": "https://www.example/shop/where", "client": "192.0.2.7"}


STREAMS = """
import asyncio
import time
from pathlib import Path

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import StreamingHttpResponse
from django.urls import path
from swaig_wsgi import Settings, harden

HERE = Path(__file__).parent


def ordinary(number):
    yield "first\\n"
    while not (HERE / f"read-{number}").exists():
        time.sleep(0.01)
    yield "second\\n"


async def asynchronous():
    yield "first\\n"
    await asyncio.sleep(0)
    (HERE / "collected").touch()
    yield "second\\n"


async def streamed(request):
    return StreamingHttpResponse(ordinary(1))


async def collected(request):
    return StreamingHttpResponse(asynchronous())


urlpatterns = [
    path("0", lambda request: StreamingHttpResponse(ordinary(0))),
    path("1", streamed),
    path("collected", collected),
]
app = harden(get_wsgi_application(), Settings.from_mapping(settings.SWAIG_WSGI))
"""


def test_ordinary_generators_are_streamed_and_asynchronous_ones_collected(
    serve: Any, tmp_path: Path
) -> None:
    (tmp_path / "streams.py").write_text(STREAMS)
    server = serve("ROOT_URLCONF = 'streams'\n", "streams:app", workers=2)
    for number in range(2):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        connection.request("GET", f"/{number}")
        response = connection.getresponse()
        # The generator goes on only after its first line has arrived.
        assert response.readline() == b"first\n"
        (tmp_path / f"read-{number}").touch()
        assert response.read() == b"second\n"
        connection.close()
    assert "StreamingHttpResponse must consume" not in server.log
    connection.request("GET", "/collected")
    response = connection.getresponse()
    # Before the head of the response is sent.
    assert (tmp_path / "collected").exists()
    assert response.read() == b"first\nsecond\n"
    connection.close()
    server.wait_for_log("StreamingHttpResponse must consume asynchronous iterators")


def test_the_platform_follows_the_tool_url_with_nothing_else(serve: Any) -> None:
    server = serve(workers=2)
    result = call_with_nothing_else(server, PASSWORD)
    assert result == {"response": "We are open 9 to 5."}


def test_a_tool_url_keeps_working_while_password_and_secret_are_replaced(serve: Any) -> None:
    secret = "a secret of some length"
    result = call_across_a_rotation(serve, "/swml", PASSWORD, secret)
    assert result == {"response": "We are open never."}


def test_attack_the_tool_endpoint_requires_credentials_and_token(serve: Any) -> None:
    server = serve()

    def post(url: str, body: Any, auth: Any = ("platform", PASSWORD)) -> Any:
        return server.request("POST", url, body, auth=auth)

    call = {
        "function": "opening_hours",
        "argument": {"parsed": [{"day": "Monday"}], "raw": '{"day": "Monday"}'},
        "call_id": "call-1",
    }
    document = post("/swml", {"call_id": "call-1"}).json
    (tool,) = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
    url = urlsplit(tool["web_hook_url"])._replace(scheme="", netloc="").geturl()
    assert post(url, call).status == 200
    for path in ("/swml", url, "/swaig", "//swaig", "/x/../swaig"):
        for auth in (None, ("platform", "wrong")):
            refused = post(path, call, auth)
            assert (refused.status, refused.json) == (401, {"error": "Unauthorized"})
    for forged, body in (
        ("/swaig", call),
        (url[:-1] + ("A" if url[-1] != "A" else "Q"), call),
        (url, {**call, "call_id": "call-2"}),
        (url, {**call, "function": "transfer_funds"}),
    ):
        refused = post(forged, body)
        assert (refused.status, refused.json) == (403, {"error": "Forbidden: invalid tool token"})


def test_templates_get_the_nonce_of_the_request() -> None:
    request = SimpleNamespace(META={"swaig_wsgi.csp_nonce": "abc"})
    assert csp_nonce(request) == {"csp_nonce": "abc"}
    assert csp_nonce(SimpleNamespace(META={})) == {"csp_nonce": ""}
