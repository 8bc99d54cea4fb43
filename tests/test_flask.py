"""A Flask site inside the middleware: with its test client, and under gunicorn."""

from __future__ import annotations

import importlib
import io
import re
import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask, Response, request, url_for
from support.sites import call_across_a_rotation, call_with_nothing_else
from support.wsgi import environ, send
from werkzeug.debug import DebuggedApplication
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client

from swaig_wsgi import Settings, harden
from swaig_wsgi.core.headers import SITE_HEADERS

EXAMPLE = Path(__file__).parent.parent / "examples" / "flask_app"
PASSWORD = "p@ss:w/ö of the platform"
ENV = {
    "FLASK_SECRET_KEY": "a key for the sessions of a test",
    "SWML_BASIC_AUTH_USER": "platform",
    "SWML_BASIC_AUTH_PASSWORD": PASSWORD,
    "SIGNALWIRE_SWAIG_SECRET": "a secret of some length",
}
SITE = dict(SITE_HEADERS)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that imports a module of the example again."""
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(EXAMPLE))

    def unload() -> None:
        for name in ("app", "pages"):
            sys.modules.pop(name, None)

    def load(name: str) -> Any:
        unload()
        return importlib.import_module(name)

    yield load
    unload()


def multipart(size: int) -> tuple[bytes, dict[str, str]]:
    head = 'Content-Disposition: form-data; name="file"; filename="a.txt"'
    body = f"--edge\r\n{head}\r\n\r\n".encode() + b"x" * size + b"\r\n--edge--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=edge"}


# With the test client of Flask


def fetch_pages(client: Any) -> list[tuple[int, dict[str, str], bytes]]:
    responses = [
        client.get(path) for path in ("/", "/", "/stream", "/nowhere", "/teapot", "/broken")
    ]
    responses.append(client.head("/"))
    responses.append(client.options("/upload"))
    responses.append(client.post("/upload", data={"file": (io.BytesIO(b"hello"), "a.txt")}))
    responses.append(client.post("/upload", data={}))
    return [(response.status_code, dict(response.headers), response.data) for response in responses]


def test_harden_adds_only_the_request_id_and_the_security_headers(modules: Any) -> None:
    bare = fetch_pages(modules("pages").app.test_client())
    hardened = fetch_pages(modules("app").app.test_client())
    for (status, headers, body), (before, headers_before, body_before) in zip(hardened, bare):
        assert (status, body) == (before, body_before)
        assert headers.keys() - headers_before.keys() == {*SITE, "X-Request-Id"}
        cookie = "Set-Cookie"
        kept = {name: headers[name] for name in headers_before if name != cookie}
        assert kept == {name: headers_before[name] for name in headers_before if name != cookie}
        assert (cookie in headers) is (cookie in headers_before)
    assert [status for status, _, _ in bare] == [200, 200, 200, 404, 418, 500, 200, 200, 200, 400]
    assert b"Visit 2" in hardened[1][2]


def test_headers_of_the_site_are_kept_and_sent_once() -> None:
    app = Flask(__name__)

    @app.get("/")
    def home() -> Response:
        response = Response("home")
        response.headers.add("X-FRAME-OPTIONS", "SAMEORIGIN")
        response.headers.add("Vary", "Cookie")
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        return response

    app.wsgi_app = harden(
        app.wsgi_app, Settings.from_mapping({"cors_origins": ["https://a.example"]})
    )
    response = app.test_client().get("/", headers={"Origin": "https://a.example"})
    assert response.headers.getlist("X-Frame-Options") == ["SAMEORIGIN"]
    assert response.headers.getlist("Vary") == ["Cookie, Origin"]
    assert len(response.headers.getlist("Set-Cookie")) == 2
    names = [name for name, _ in response.headers if name != "Set-Cookie"]
    assert len(names) == len(set(names))


def failing_site() -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def fail() -> str:
        raise LookupError("no such page")

    app.wsgi_app = harden(app.wsgi_app, Settings())
    return app


def test_the_test_client_raises_what_a_view_raises_in_testing_mode() -> None:
    app = failing_site()
    assert app.test_client().get("/").status_code == 500
    app.testing = True
    with pytest.raises(LookupError, match="no such page"):
        app.test_client().get("/")


def test_a_stream_that_fails_at_once_is_a_500_with_an_id() -> None:
    app = Flask(__name__)

    @app.get("/")
    def stream() -> Response:
        return Response(1 // 0 for _ in range(1))

    app.wsgi_app = harden(app.wsgi_app, Settings())
    response = send(app.wsgi_app, environ("GET", "/"))
    assert (response.status, response.json) == (500, {"error": "Internal server error"})
    assert response.headers["X-Request-Id"]


def test_the_debugger_shows_what_a_view_raises() -> None:
    app = failing_site()
    app.debug = True
    response = Client(DebuggedApplication(app, evalex=True)).get("/")
    assert response.status_code == 500
    assert "LookupError: no such page" in response.text


@pytest.mark.parametrize("fixed", [False, True])
def test_trusted_forwarding_headers_apply_with_and_without_proxy_fix(fixed: bool) -> None:
    app = Flask(__name__)

    @app.get("/")
    def where() -> dict[str, Any]:
        return {"url": url_for("where", _external=True), "client": request.remote_addr}

    if fixed:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)
    app.wsgi_app = harden(app.wsgi_app, Settings.from_mapping({"trusted_proxies": ["10.0.0.1"]}))
    forwarded = {
        "X-Forwarded-For": "203.0.113.66, 192.0.2.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "www.example",
        "X-Forwarded-Prefix": "/shop",
    }

    def fetch(peer: str) -> Any:
        environ = {"REMOTE_ADDR": peer}
        return app.test_client().get("/", headers=forwarded, environ_overrides=environ).json

    assert fetch("10.0.0.1") == {"url": "https://www.example/shop/", "client": "192.0.2.7"}
    assert fetch("203.0.113.9") == {"url": "http://localhost/", "client": "203.0.113.9"}


# Under gunicorn


@pytest.fixture(params=["sync", "gthread"])
def serve(request: pytest.FixtureRequest, gunicorn: Any) -> Any:
    def start(*options: str, **env: str) -> Any:
        worker = f"--worker-class={request.param}"
        return gunicorn("app:app", worker, *options, cwd=str(EXAMPLE), **{**ENV, **env})

    return start


def test_pages_sessions_uploads_and_errors_work(serve: Any) -> None:
    server = serve(SWML_MAX_REQUEST_SIZE="3000000")
    first = server.request("GET", "/", auth=None)
    cookie = {"Cookie": first.headers["Set-Cookie"].partition(";")[0]}
    assert b"Visit 2" in server.request("GET", "/", headers=cookie, auth=None).body
    body, headers = multipart(2_000_000)
    uploaded = server.request("POST", "/upload", body, headers, auth=None)
    assert uploaded.json == {"name": "a.txt", "bytes": 2_000_000}
    pieces = [body[start : start + 65_536] for start in range(0, len(body), 65_536)]
    chunked = server.request("POST", "/upload", pieces, headers, auth=None, chunked=True)
    assert chunked.json == uploaded.json
    for path, status in (("/nowhere", 404), ("/teapot", 418), ("/broken", 500)):
        response = server.request("GET", path, auth=None)
        assert response.status == status
        assert f"Error {status}".encode() in response.body
        assert SITE.items() <= response.headers.items()
    declared = {**headers, "Content-Length": "3000001"}
    assert server.request("POST", "/upload", b"", declared, auth=None).status == 413
    server.wait_for_log("RuntimeError: this view is broken")


def test_streams_are_not_buffered(serve: Any, tmp_path: Path) -> None:
    server = serve()
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=60)) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := client.recv(65_536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    # Each row that the view yielded arrived in a separate chunk.
    assert re.findall(rb"\r\n(row \d+\n)\r\n", b"\r\n" + body) == [
        b"row %d\n" % number for number in range(1000)
    ]


def test_hosts_and_rates_are_limited_and_headers_added(serve: Any) -> None:
    server = serve(SWML_ALLOWED_HOSTS="localhost,127.0.0.1", SWML_RATE_LIMIT="3")
    refused = server.request("GET", "/", headers={"Host": "evil.example"}, auth=None)
    assert (refused.status, refused.json) == (403, {"error": "Forbidden: host not allowed"})
    assert SITE.items() <= refused.headers.items()
    responses = [server.request("GET", "/", auth=None) for _ in range(4)]
    assert [response.status for response in responses] == [200, 200, 200, 429]
    assert SITE.items() <= responses[3].headers.items()
    assert responses[3].json == {"error": "Rate limit exceeded"}


def tool_call(call_id: str, function: str = "opening_hours") -> dict[str, Any]:
    arguments = {"parsed": [{"day": "Monday"}], "raw": '{"day": "Monday"}'}
    return {"function": function, "argument": arguments, "call_id": call_id}


def test_the_platform_follows_the_tool_url_with_nothing_else(serve: Any) -> None:
    server = serve("--workers=2")
    result = call_with_nothing_else(server, PASSWORD)
    assert result == {"response": "We are open 9 to 5."}


def test_a_tool_url_keeps_working_while_password_and_secret_are_replaced(serve: Any) -> None:
    secret = "a secret of some length"
    result = call_across_a_rotation(serve, "/swml", PASSWORD, secret)
    assert result == {"response": "We are open never."}


def test_attack_the_tool_endpoint_requires_credentials_and_token(serve: Any) -> None:
    server = serve()

    def post(url: str, body: Any, auth: Any = ("platform", PASSWORD), **headers: str) -> Any:
        return server.request("POST", url, body, headers, auth=auth)

    document = post("/swml", {"call_id": "call-1"}).json
    (tool,) = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
    url = urlsplit(tool["web_hook_url"])._replace(scheme="", netloc="").geturl()
    assert post(url, tool_call("call-1")).status == 200
    for path in ("/swml", url, "/swaig", "/swaig/", "//swaig", "/x/../swaig"):
        for auth, headers in (
            (None, {}),
            (("platform", "wrong"), {}),
            (None, {"Authorization": f"Bearer {PASSWORD}".encode()}),
        ):
            refused = post(path, tool_call("call-1"), auth, **headers)
            assert (refused.status, refused.json) == (401, {"error": "Unauthorized"})
            assert SITE.items() <= refused.headers.items()
    for forged, body in (
        ("/swaig", tool_call("call-1")),
        (url[:-1] + ("A" if url[-1] != "A" else "Q"), tool_call("call-1")),
        (url, tool_call("call-2")),
        (url, tool_call("call-1", "transfer_funds")),
        (url, {}),
    ):
        refused = post(forged, body)
        assert refused.status == 403
        assert refused.json == {"error": "Forbidden: invalid tool token"}


def test_attack_without_configured_credentials_the_tool_is_closed(serve: Any) -> None:
    server = serve(SWML_BASIC_AUTH_USER="", SWML_BASIC_AUTH_PASSWORD="")
    for auth in (None, ("platform", PASSWORD), ("", "")):
        response = server.request("POST", "/swml", {"call_id": "call-1"}, auth=auth)
        assert (response.status, response.json) == (401, {"error": "Unauthorized"})
