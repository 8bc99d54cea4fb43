"""Unusual requests to each server, none of which may bypass the stack.

`support/servers.py` and docs/servers.md list the differences of the servers.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.exchanges import connect, exchange, receive
from support.waiting import PATIENCE

from swaig_wsgi.core.signatures import sign_body

KEY = "a signing key of some length"

SITE = f"""
import json

from swaig_wsgi import AuthHandler, harden
from swaig_wsgi.middleware import WebhookSignatureMiddleware


def echo(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length) if length else b""
    original = environ.get("swaig_wsgi.proxies.original", {{}})
    result = {{
        "client": environ.get("REMOTE_ADDR"),
        "peer": original.get("REMOTE_ADDR"),
        "host": environ.get("HTTP_HOST"),
        "path": environ.get("PATH_INFO"),
        "body": body.decode("latin-1"),
    }}
    content = json.dumps(result).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    start_response("200 OK", headers)
    return [content]


def site(app, *trusted):
    return harden(
        app,
        auth=AuthHandler(bearer_token="let-me-in"),
        allowed_hosts=("a.example",),
        cors_origins=("https://app.example",),
        max_request_size=1000,
        trusted_proxies=trusted,
    )


behind_tcp = site(echo, "127.0.0.1")
behind_unix = site(echo, "unix")
signed = site(WebhookSignatureMiddleware(echo, {KEY!r}), "127.0.0.1")
mounted = {{"/unix": behind_unix, "/signed": signed}}


def app(environ, start_response):
    mount = "/" + environ["PATH_INFO"].split("/")[1]
    return mounted.get(mount, behind_tcp)(environ, start_response)
"""

HOST = b"Host: a.example\r\n"
AUTH = b"Authorization: Bearer let-me-in\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + AUTH + b"\r\n"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site")
    (path / "some_site.py").write_text(SITE)
    return path


@pytest.fixture(scope="module")
def port(serve_for_module: Any, server_kind: Any, directory: Path) -> int:
    server = serve_for_module("some_site:app", *server_kind.forwarding, cwd=str(directory))
    return int(server.port)


def request(line: str, *fields: str, body: bytes = b"", host: bool = True) -> bytes:
    head = [line + " HTTP/1.1", "Connection: close", "Authorization: Bearer let-me-in", *fields]
    if host:
        head.append("Host: a.example")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def test_a_body_of_known_length_is_read(port: int) -> None:
    response = exchange(port, request("POST /", "Content-Length: 4", body=b"abcd"))
    assert (response.status, response.json["body"]) == (200, "abcd")


def test_a_chunked_body_is_read_or_refused(port: int, server_kind: Any) -> None:
    body = b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
    response = exchange(port, request("POST /", "Transfer-Encoding: chunked", body=body))
    if server_kind.chunked == "refused":
        assert (response.status, response.json) == (411, {"error": "Length required"})
    else:
        assert (response.status, response.json["body"]) == (200, "abcd")


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabcdef\r\n0\r\n\r\n",
    ],
)
def test_malformed_chunks_are_refused(port: int, server_kind: Any, body: bytes) -> None:
    response = exchange(port, request("POST /", "Transfer-Encoding: chunked", body=body))
    assert response.status == (411 if server_kind.chunked == "refused" else 400)


@pytest.mark.parametrize("coding", ["gzip, chunked", "xchunked", "identity"])
def test_other_transfer_codings_are_refused(port: int, coding: str) -> None:
    body = b"3\r\nabc\r\n0\r\n\r\n"
    response = exchange(port, request("POST /", f"Transfer-Encoding: {coding}", body=body))
    assert response.status in (400, 501)


@pytest.mark.parametrize("length", ["4x", "+4", "-4", "4, 4", "0x4", "1_0"])
def test_malformed_lengths_are_refused(port: int, length: str) -> None:
    response = exchange(port, request("POST /", f"Content-Length: {length}", body=b"abcd"))
    assert response.status == 400


def test_different_lengths_are_refused_or_the_last_applies(port: int, server_kind: Any) -> None:
    fields = ("Content-Length: 4", "Content-Length: 2")
    response = exchange(port, request("POST /", *fields, body=b"abcd"))
    if server_kind.lengths == "refused":
        assert response.status == 400
    else:
        assert (response.status, response.json["body"]) == (200, "ab")


def test_bodies_over_the_limit_are_refused(port: int, server_kind: Any) -> None:
    large = b"a" * 2000
    declared = exchange(port, request("POST /", "Content-Length: 2000", body=large))
    assert (declared.status, declared.json) == (413, {"error": "Request too large"})
    chunks = b"7d0\r\n" + large + b"\r\n0\r\n\r\n"
    chunked = exchange(port, request("POST /", "Transfer-Encoding: chunked", body=chunks))
    assert chunked.status == (411 if server_kind.chunked == "refused" else 413)
    for size in ("fffffffff", "fffffffffffffffffff"):
        body = f"{size}\r\n".encode() + large
        with connect(port) as connection:
            connection.sendall(request("POST /", "Transfer-Encoding: chunked", body=body))
            connection.shutdown(socket.SHUT_WR)
            assert receive(connection).status != 200


def test_length_with_transfer_encoding_is_refused_or_ignored(port: int, server_kind: Any) -> None:
    fields = ("Content-Length: 4", "Transfer-Encoding: chunked")
    response = exchange(port, request("POST /", *fields, body=b"3\r\nabc\r\n0\r\n\r\n"))
    if server_kind.contradiction == "refused":
        assert response.status == 400
    else:
        assert (response.status, response.json["body"]) == (200, "abc")


def exchange_and_more(port: int, framed: bytes, credentials: bytes) -> bytes:
    """Send a request whose body has an ambiguous end, and another request after it."""
    last = b"GET /last HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    sent = b"POST / HTTP/1.1\r\n" + HOST + credentials + framed + last
    return exchange(port, sent, 3).raw


@pytest.mark.parametrize("credentials", [b"", AUTH], ids=["anonymous", "client"])
def test_no_part_of_a_body_is_parsed_as_a_request(port: int, credentials: bytes) -> None:
    chunk = f"{len(SMUGGLED):x}\r\n".encode() + SMUGGLED + b"\r\n0\r\n\r\n"
    for framed in (
        f"Content-Length: {len(SMUGGLED)}\r\n\r\n".encode() + SMUGGLED,
        b"Transfer-Encoding: chunked\r\n\r\n" + chunk,
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + chunk,
        b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk,
    ):
        raw = exchange_and_more(port, framed, credentials)
        assert raw.startswith(b"HTTP/1.")
        assert b'"path": "/smuggled"' not in raw, framed


def test_bytes_after_contradictory_framing_are_parsed_only_on_a_kept_connection(
    port: int, server_kind: Any
) -> None:
    length = len(SMUGGLED) + 5
    both = f"Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode()
    raw = exchange_and_more(port, both + SMUGGLED, AUTH)
    # On a connection that is kept, a proxy that uses the length passes this on.
    assert (b'"path": "/smuggled"' in raw) == (server_kind.contradiction == "kept")


def test_disallowed_and_ambiguous_hosts_are_refused(port: int) -> None:
    for line, hosts in (
        ("GET /", ["Host: evil.example"]),
        ("GET /", ["Host: a.example", "Host: evil.example"]),
        ("GET /", ["Host: evil.example", "Host: a.example"]),
        ("GET /", ["Host: a.example, evil.example"]),
        ("GET /", ["Host: evil.example", "X-Forwarded-Server: a.example"]),
        ("GET /", []),
        ("GET http://evil.example/", ["Host: a.example"]),
        ("GET http://a.example@evil.example/", ["Host: a.example"]),
    ):
        response = exchange(port, request(line, *hosts, host=False))
        assert response.status in (400, 403), (line, hosts, response.raw)
    # By RFC 9112 section 3.2.2 the host of the target applies; some servers use the field.
    response = exchange(port, request("GET http://a.example/", "Host: evil.example", host=False))
    assert response.status in (400, 403) or response.json["host"] == "a.example"


def test_repeated_credentials_are_refused(port: int) -> None:
    for second in ("Bearer let-me-in", "Bearer no", "Basic QTpC"):
        response = exchange(port, request("GET /", f"Authorization: {second}"))
        assert response.status in (400, 401)


def test_underscored_forwarding_headers_apply_only_where_joined(
    port: int, server_kind: Any
) -> None:
    trusted = exchange(port, request("GET /", "X-Forwarded-For: 198.51.100.1"))
    assert trusted.json["client"] == "198.51.100.1"
    # A proxy overwrites X-Forwarded-For, but may pass on another spelling of it.
    underscored = "X_Forwarded_For: 203.0.113.7"
    alone = exchange(port, request("GET /", underscored))
    after = exchange(port, request("GET /", "X-Forwarded-For: 198.51.100.1", underscored))
    before = exchange(port, request("GET /", underscored, "X-Forwarded-For: 198.51.100.1"))
    clients = [response.json["client"] for response in (alone, after, before)]
    if server_kind.underscores == "joined":
        assert clients == ["203.0.113.7", "203.0.113.7", "198.51.100.1"]
    else:
        assert clients == ["127.0.0.1", "198.51.100.1", "198.51.100.1"]


HSTS = "Strict-Transport-Security"
AGENT = {"SWML_SSL_DOMAIN": "agent.example.com"}


def test_hsts_is_sent_over_http_only_for_scheme_headers_that_the_server_trusts(
    serve: Any, server_kind: Any
) -> None:
    server = serve("swaig_wsgi.examples.basic:app", *server_kind.forwarding, **AGENT)
    for name, value in (
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Ssl", "on"),
        ("X-Forwarded-Scheme", "https"),
        ("X-Forwarded-Protocol", "ssl"),
        ("Forwarded", "for=192.0.2.7;proto=https"),
    ):
        headers = {"Host": "agent.example.com", name: value}
        response = server.request("POST", "/", {"call_id": "call-1"}, headers)
        assert response.status == 200
        trusted = name in server_kind.scheme_fields
        assert (HSTS in response.headers, b"https://" in response.body) == (trusted, trusted), name


def test_hsts_is_sent_if_a_trusted_proxy_reports_https(serve: Any, server_kind: Any) -> None:
    trust = {"SWML_TRUSTED_PROXIES": "127.0.0.1"}
    server = serve("swaig_wsgi.examples.basic:app", *server_kind.forwarding, **AGENT, **trust)

    def hsts_for(**forwarded: str) -> str | None:
        headers = {"Host": "agent.example.com", "X-Forwarded-For": "192.0.2.7"}
        headers.update({f"X-Forwarded-{name}": value for name, value in forwarded.items()})
        response = server.request("GET", "/", headers=headers)
        assert response.status == 200
        value: str | None = response.headers.get(HSTS)
        return value

    assert hsts_for(Proto="https") == "max-age=31536000; includeSubDomains"
    assert hsts_for(Proto="http") is None
    assert hsts_for() is None
    assert hsts_for(Proto="https", Host="other.example") is None


def test_underscored_framing_headers_apply_only_where_joined(port: int, server_kind: Any) -> None:
    length = exchange(port, request("POST /", "Content_Length: 4", body=b"abcd"))
    coding = exchange(
        port, request("POST /", "Content-Length: 4", "Transfer_Encoding: chunked", body=b"abcd")
    )
    two = exchange(port, request("POST /", "Content-Length: 4", "Content_Length: 2", body=b"abcd"))
    if server_kind.underscores == "joined":
        assert (length.json["body"], coding.status, two.status) == ("abcd", 400, 400)
    else:
        assert [response.json["body"] for response in (length, coding, two)] == ["", "abcd", "abcd"]


def test_head_and_preflight_responses_have_no_body(port: int) -> None:
    refused = exchange(port, request("HEAD /").replace(AUTH, b""))
    assert (refused.status, refused.body) == (401, b"")
    assert b"\r\ncontent-length: 25" in refused.head
    preflight = exchange(
        port,
        request(
            "OPTIONS /",
            "Origin: https://app.example",
            "Access-Control-Request-Method: POST",
        ),
    )
    assert (preflight.status, preflight.body) == (204, b"")
    assert b"\r\ncontent-length:" not in preflight.head
    assert b"\r\ntransfer-encoding:" not in preflight.head
    assert b"\r\ncontent-type:" not in preflight.head


def test_a_refusal_is_sent_before_the_body_arrives(port: int, server_kind: Any) -> None:
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 500\r\n\r\n"
    with connect(port) as connection:
        connection.sendall(head + b"a")
        if not server_kind.early:
            assert receive(connection, first=0.4).raw == b""
            connection.sendall(b"a" * 499)
        connection.settimeout(PATIENCE)
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("path", ["/signed/caf%c3%a9/%41%20b?x=%41&y=a+b", "/signed/a%2Fb"])
def test_a_signature_covers_the_raw_target(port: int, server_kind: Any, path: str) -> None:
    signature = sign_body(KEY, f"http://a.example{path}", b"{}")
    fields = ("Content-Length: 2", f"X-SignalWire-SHA256-Signature: {signature}")
    response = exchange(port, request(f"POST {path}", *fields, body=b"{}"))
    if "%2F" in path and not server_kind.encoded_slash:
        assert response.status == 404
    else:
        assert (response.status, response.json["body"]) == (200, "{}")
    other = path.replace("%41", "A").replace("%2F", "/")
    assert exchange(port, request(f"POST {other}", *fields, body=b"{}")).status == 403


def test_a_proxy_on_a_unix_socket_can_be_trusted(
    serve_for_module: Any, unix_kind: Any, directory: Path, tmp_path: Path
) -> None:
    path = str(tmp_path / "socket")
    serve_for_module("some_site:app", *unix_kind.forwarding, cwd=str(directory), address=path)
    forwarded = "X-Forwarded-For: 198.51.100.1"
    trusted = exchange(path, request("GET /unix", forwarded)).json
    assert (trusted["client"], trusted["peer"]) == ("198.51.100.1", unix_kind.unix_peer)
    untrusted = exchange(path, request("GET /", forwarded)).json
    assert (untrusted["client"], untrusted["peer"]) == (unix_kind.unix_peer, None)


def start_two(serve: Any, forking_kind: Any, directory: Path, **env: str) -> Any:
    """Start a server of two processes with a limit of 30, and wait until both respond."""
    (directory / "which.py").write_text(
        "import os, time\n"
        "from swaig_wsgi import harden\n"
        "def show(environ, start_response):\n"
        "    time.sleep(0.02)\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [str(os.getpid()).encode()]\n"
        "limited = harden(show)\n"
        "def app(environ, start_response):\n"
        "    wanted = show if environ['PATH_INFO'] == '/who' else limited\n"
        "    return wanted(environ, start_response)\n"
    )
    server = serve(
        "which:app", forking_kind.two_processes, cwd=str(directory), SWML_RATE_LIMIT="30", **env
    )
    seen: set[bytes] = set()
    end = time.monotonic() + PATIENCE
    while len(seen) < 2 and time.monotonic() < end:
        with ThreadPoolExecutor(8) as threads:
            seen |= {
                response.body
                for response in threads.map(lambda _: server.request("GET", "/who"), range(8))
            }
    assert len(seen) == 2
    return server


@pytest.mark.threads
def test_two_processes_with_a_shared_store_count_together(
    serve: Any, forking_kind: Any, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'counts.db'}"
    server = start_two(serve, forking_kind, tmp_path, SWML_STORAGE_URL=url)
    with ThreadPoolExecutor(4) as threads:
        responses = list(threads.map(lambda _: server.request("GET", "/"), range(40)))
    assert Counter(response.status for response in responses) == {200: 30, 429: 10}


def test_two_processes_without_a_shared_store_refuse_requests(
    serve: Any, forking_kind: Any, tmp_path: Path
) -> None:
    server = start_two(serve, forking_kind, tmp_path)
    response = server.request("GET", "/")
    assert (response.status, response.json) == (503, {"error": "Service misconfigured"})
    server.wait_for_log("SWML_STORAGE_URL")
