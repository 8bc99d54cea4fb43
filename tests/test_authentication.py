"""Authentication over a socket: forged identities, and spellings of the request target."""

from __future__ import annotations

from typing import Any

import pytest
from support.exchanges import Received, exchange

SITE = """
import json

from swaig_wsgi import AuthHandler


def echo(environ, start_response):
    auth = environ.get("swaig_wsgi.auth")
    result = {
        "user": environ.get("REMOTE_USER"),
        "type": environ.get("AUTH_TYPE"),
        "method": getattr(auth, "method", auth),
        "name": getattr(auth, "username", auth),
        "path": environ["PATH_INFO"],
    }
    content = json.dumps(result).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    start_response("200 OK", headers)
    return [content]


handler = AuthHandler(bearer_token="let-me-in", basic_auth=("admin", "a-long-password"))
all_guarded = handler.middleware(echo)
mounted = {
    "/exempt": handler.middleware(echo, exempt=("/exempt",)),
    "/optional": handler.middleware(echo, optional=True),
    "/outside": handler.middleware(echo, protect=("/api",)),
}
protect = handler.middleware(echo, protect=("/api",))
exempt = handler.middleware(echo, exempt=("/health",))
below = handler.middleware(echo, exempt=("/static/*",))


def app(environ, start_response):
    return mounted.get(environ["PATH_INFO"], all_guarded)(environ, start_response)


def careless(environ, start_response):
    # As behind a gateway that passes header fields on under their bare names.
    for key in [key for key in environ if key.startswith("HTTP_")]:
        bare = key.removeprefix("HTTP_")
        environ["swaig_wsgi.auth" if bare == "SWAIG_WSGI.AUTH" else bare] = environ[key]
    return app(environ, start_response)
"""


@pytest.fixture
def start(serve: Any, tmp_path: Any) -> Any:
    """Start the server under test with one of the applications above."""
    (tmp_path / "guarded_site.py").write_text(SITE)
    return lambda app: serve(f"guarded_site:{app}", cwd=str(tmp_path))


@pytest.mark.parametrize("app", ["app", "careless"])
def test_request_headers_cannot_forge_an_identity(start: Any, app: str) -> None:
    server = start(app)
    forged = {
        "Remote-User": "root",
        "REMOTE_USER": "root",
        "Remote_User": "root",
        "Auth-Type": "Basic",
        "AUTH_TYPE": "Basic",
        "swaig_wsgi.auth": "root",
        "swaig-wsgi.auth": "root",  # the same key in WSGI, and no server drops it
    }
    anonymous = {"user": None, "type": None, "method": None, "name": None}
    admin = {"user": "admin", "type": "Basic", "method": "basic", "name": "admin"}
    bearer = {"Authorization": "Bearer let-me-in"}
    for headers in (forged, *({name: value} for name, value in forged.items())):
        for path in ("/exempt", "/optional", "/outside"):
            response = server.request("GET", path, headers=headers, auth=None)
            assert (response.status, response.json) == (200, {**anonymous, "path": path}), headers
        assert server.request("GET", "/", headers=headers, auth=None).status == 401
        response = server.request("GET", "/", headers={**headers, **bearer}, auth=None)
        assert response.json == {**anonymous, "method": "bearer", "path": "/"}, headers
        response = server.request("GET", "/", headers=headers, auth=("admin", "a-long-password"))
        assert response.json == {**admin, "path": "/"}, headers


PROTECTED = (
    "/api",
    "/api/",
    "/api/x",
    "//api",
    "//api/x",
    "//api/..",
    "///api",
    "/./api",
    "/x/../api",
    "/x//../api",
    "/;/../api",
    "/api/../api/x",
    "/%61pi/x",
    "/%2fapi/x",
    "/api%2fx",
    "/%2561pi/x",
    "/x/%252e%252e/api",
    "/api%3bv=1/x",
    "/api%3fx",
    "/api%23x",
    "/api%09/x",
    "/%0bapi/x",
    "/%2e/api",
    "/x/%2e%2e/api",
    "http://a.example//api/x",
    "http://evil//api",
)
NOT_EXEMPT = (
    "/swaig",
    "//health",
    "/health/",
    "/health/x",
    "/health;x",
    "/Health",
    "/./health",
    "/health/../swaig",
    "/swaig/../health",
    "/swaig?/health",
    "/swaig#/health",
    "/health%00",
    "/health%2f",
    "/%2fhealth",
    "/health/%2e%2e/swaig",
    "http://a.example/swaig",
)
NOT_BELOW = (
    "/swaig",
    "/statics",
    "/static/../swaig",
    "/static/%2e%2e/swaig",
    "/static/..%2fswaig",
    "/static/%252e%252e/swaig",
    "/static/..%252fswaig",
    "/static/..;/swaig",
    "/static/..%3bx/swaig",
    "/static/..%09/swaig",
    "/static/x%3f/../../swaig",
    "/swaig/..%2fstatic/x",
    "http://a.example/swaig",
)
CLAIMS = (
    "SCRIPT_NAME: /health",
    "SCRIPT_NAME: /x",
    "SCRIPT_NAME: /swaig",
    "Script-Name: /health",
    "Script-Name: /api",
    "PATH_INFO: /health",
    "PATH_INFO: /x",
    "Path-Info: /health",
)


def get(server: Any, target: str, claim: str | None) -> Received:
    head = [f"GET {target} HTTP/1.1", "Host: a.example", "Connection: close"]
    if claim is not None:
        head.append(claim)
    return exchange(server.port, "\r\n".join(head).encode() + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("app", "targets"),
    [("protect", PROTECTED), ("exempt", NOT_EXEMPT), ("below", NOT_BELOW)],
    ids=["protect", "exempt", "below"],
)
def test_no_spelling_of_the_target_bypasses_protect_or_exempt(
    start: Any, server_kind: Any, app: str, targets: tuple[str, ...]
) -> None:
    server = start(app)
    rewrites = dict(server_kind.rewrites)
    for target in targets:
        for claim in (None, *CLAIMS):
            response = get(server, target, claim)
            if response.status == 200:
                # The server rewrote the path, to one that needs no credentials.
                assert rewrites.get(target) == response.json["path"], (target, claim)
            elif server_kind.script_name == "accepted" and (claim or "").startswith("SCRIPT_NAME"):
                assert response.status in (400, 401, 500), (target, claim)
            else:
                unseen = (404,) if not server_kind.encoded_slash else ()
                assert response.status in (400, 401, *unseen), (target, claim)


def test_a_script_name_header_applies_only_on_servers_that_accept_it(
    start: Any, server_kind: Any
) -> None:
    server = start("protect")
    mounted = get(server, "/api/x", "SCRIPT_NAME: /api")
    other = get(server, "/api/x", "SCRIPT_NAME: /health")
    if server_kind.script_name == "accepted":
        # The request is for /x below a mount at /api: see docs/workers.md.
        assert (mounted.status, mounted.json["path"], other.status) == (200, "/x", 500)
    else:
        assert (mounted.status, other.status) == (401, 401)
