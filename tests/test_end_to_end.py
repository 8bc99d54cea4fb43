"""Requests from end to end: over a socket, through each supported server."""

from __future__ import annotations

import socket
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from support.waiting import PATIENCE
from support.wsgi import request

from swaig_wsgi.testing import AgentClient

APP = "swaig_wsgi.examples.basic:app"
SECRET = "an end-to-end secret of some length"


@pytest.fixture
def server(serve: Any) -> Any:
    return serve(APP, SIGNALWIRE_SWAIG_SECRET=SECRET)


def fetch_document(server: Any, call_id: str = "call-1", **options: Any) -> dict[str, Any]:
    response = server.request("POST", "/", {"call_id": call_id}, **options)
    assert response.status == 200
    return response.json


def tool_url(document: dict[str, Any], name: str = "transfer_funds") -> str:
    functions = document["sections"]["main"][1]["ai"]["SWAIG"]["functions"]
    url: str = next(tool["web_hook_url"] for tool in functions if tool["function"] == name)
    return url


def tool_call(call_id: str = "call-1", name: str = "transfer_funds") -> dict[str, Any]:
    return {
        "function": name,
        "argument": {"parsed": [{"amount": 5, "toAccount": "A-1"}], "raw": '{"amount": 5}'},
        "call_id": call_id,
        "caller_id_num": "+15551234567",
        "global_data": {},
        "meta_data": {},
    }


def call(server: Any, url: str, body: Any, **options: Any) -> Any:
    """Call a URL from the document with the credentials in it."""
    parts = urlsplit(url)
    assert parts.hostname == "127.0.0.1"
    assert parts.port == server.port
    credentials = (unquote(parts.username or ""), unquote(parts.password or ""))
    options.setdefault("auth", credentials)
    return server.request("POST", f"{parts.path}?{parts.query}", body, **options)


def succeeded(response: Any) -> bool:
    return response.status == 200 and response.json == {"response": "Transfer completed."}


def was_refused(response: Any) -> bool:
    return (
        response.status == 200
        and list(response.json) == ["response"]
        and "completed" not in response.json["response"]
    )


def test_tools_can_be_called_by_the_urls_of_the_document(server: Any) -> None:
    client = AgentClient(f"http://127.0.0.1:{server.port}/", auth=("demo", "p@ss:w/ö"))
    document = client.fetch_swml()
    assert document["version"] == "1.0.0"
    assert list(document["sections"]["main"][0]) == ["answer"]
    result = client.call_tool("transfer_funds", {"amount": 5, "toAccount": "A-1"})
    assert result == {"response": "Transfer completed."}
    assert server.request("GET", "/health", auth=None).json == {"status": "ok"}
    assert server.request("GET", "/ready", auth=None).json == {"status": "ready"}


def flip(content: bytes) -> bytes:
    """Return the content of a token with the first digit of its signature changed."""
    head, _, signature = content.rpartition(b".")
    return head + b"." + (b"0" if signature[:1] != b"0" else b"1") + signature[1:]


def test_wrong_or_missing_credentials_are_refused(server: Any) -> None:
    for auth in (None, ("demo", "wrong"), ("wrong", "p@ss:w/ö"), ("", "")):
        for method, path in (("GET", "/"), ("POST", "/swaig"), ("POST", "/nowhere")):
            response = server.request(method, path, auth=auth)
            assert response.status == 401
            assert response.json == {"error": "Unauthorized"}
            assert response.headers["WWW-Authenticate"].startswith("Basic realm=")
            assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_invalid_tokens_are_refused(server: Any) -> None:
    url = tool_url(fetch_document(server))
    head, _, token = url.partition("__token=")
    flipped = urlsafe_b64encode(flip(urlsafe_b64decode(token + "=="))).decode().rstrip("=")
    assert was_refused(call(server, head.rstrip("?"), tool_call()))
    assert was_refused(call(server, f"{head}__token=", tool_call()))
    assert was_refused(call(server, f"{head}__token={flipped}", tool_call()))
    assert was_refused(call(server, url, tool_call("call-2")))
    other = tool_url(fetch_document(server, "call-2"))
    assert was_refused(call(server, other, tool_call("call-1")))
    assert was_refused(call(server, url, {**tool_call(), "call_id": None}))
    assert succeeded(call(server, url, tool_call()))
    server.wait_for_log("reason=bad_signature")
    server.wait_for_log("reason=wrong_call")
    server.wait_for_log("reason=missing")


def test_a_token_for_another_function_is_refused(serve: Any, tmp_path: Any) -> None:
    (tmp_path / "two_tools.py").write_text(
        "from swaig_wsgi import AgentApp\n"
        "app = AgentApp('two')\n"
        "for name in ('first', 'second'):\n"
        "    def handler(args, raw_data):\n"
        "        return 'Transfer completed.'\n"
        "    app.define_tool(name, name, {}, handler, secure=True)\n"
    )
    server = serve("two_tools:app", cwd=str(tmp_path))
    document = fetch_document(server)
    url = tool_url(document, "first")
    assert succeeded(call(server, url, tool_call(name="first")))
    assert was_refused(call(server, url, tool_call(name="second")))
    server.wait_for_log("reason=wrong_function")


def test_an_expired_token_is_refused(serve: Any, tmp_path: Any) -> None:
    (tmp_path / "short.py").write_text(
        "from swaig_wsgi import AgentApp\n"
        "app = AgentApp('short', token_expiry_secs=1)\n"
        "@app.tool(secure=True)\n"
        "def transfer_funds():\n"
        '    """Transfer money."""\n'
        "    return 'Transfer completed.'\n"
    )
    server = serve("short:app", cwd=str(tmp_path))
    url = tool_url(fetch_document(server))
    time.sleep(1.1)
    assert was_refused(call(server, url, tool_call()))
    server.wait_for_log("reason=expired")


def test_only_allowed_hosts_are_served(serve: Any) -> None:
    server = serve(APP, SWML_ALLOWED_HOSTS="agent.example.com,127.0.0.1,::1")
    for host, status in (
        ("agent.example.com", 200),
        ("AGENT.example.com.:3000", 200),
        ("[::1]:3000", 200),
        ("evil.example", 403),
        ("agent.example.com.evil.example", 403),
        ("agent.example.com@evil.example", 400),
    ):
        response = server.request("GET", "/", headers={"Host": host})
        assert (host, response.status) == (host, status)
        if status == 403:
            assert response.json == {"error": "Forbidden: host not allowed"}
    assert server.request("GET", "/health", headers={"Host": "evil.example"}).status == 200


def test_a_body_over_the_limit_is_refused(serve: Any, server_kind: Any) -> None:
    server = serve(APP, SWML_MAX_REQUEST_SIZE="102400")
    large = b'{"x": "' + b"a" * 200_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    declared = server.request("POST", "/", large, headers)
    assert (declared.status, declared.json) == (413, {"error": "Request too large"})
    small = [b'{"call_id":', b' "call-1"}']
    accepted = server.request("POST", "/", small, headers, chunked=True)
    if server_kind.chunked == "refused":
        # Any size is refused. A large body is not sent, as the connection would break meanwhile.
        assert (accepted.status, accepted.json) == (411, {"error": "Length required"})
        return
    assert accepted.status == 200
    pieces = [large[start : start + 8192] for start in range(0, len(large), 8192)]
    chunked = server.request("POST", "/", pieces, headers, chunked=True)
    assert (chunked.status, chunked.json) == (413, {"error": "Request too large"})


def test_requests_over_the_rate_limit_are_refused(serve: Any) -> None:
    server = serve(APP, SWML_RATE_LIMIT="30")
    statuses = []
    for number in range(40):
        forged = {"X-Forwarded-For": f"203.0.113.{number}", "X-Real-IP": f"203.0.113.{number}"}
        response = server.request("GET", "/", headers=forged)
        statuses.append(response.status)
    assert statuses == [200] * 30 + [429] * 10
    assert response.json == {"error": "Rate limit exceeded"}
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert server.request("GET", "/health").status == 200


def test_failed_authentication_counts_against_the_rate_limit(serve: Any) -> None:
    server = serve(APP, SWML_RATE_LIMIT="5")
    statuses = [server.request("GET", "/", auth=("demo", str(n))).status for n in range(8)]
    assert statuses == [401] * 5 + [429] * 3


def test_stalled_clients_without_credentials_do_not_block_workers(
    serve: Any, server_kind: Any
) -> None:
    server = serve(APP)
    start = time.monotonic()
    assert fetch_document(server)
    duration = time.monotonic() - start
    stalled = []
    try:
        for _ in range(8):
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
            stalled.append(connection)
            connection.sendall(
                b"POST /swaig HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
                b"Content-Type: application/json\r\n\r\n5\r\nhe"
            )
        start = time.monotonic()
        assert fetch_document(server)
        # A busy machine is slow without stalled clients, too.
        assert time.monotonic() - start < server_kind.stalled + 20 * duration
    finally:
        for connection in stalled:
            connection.close()


def test_concurrent_calls_do_not_mix(serve: Any) -> None:
    server = serve(APP)
    failures: list[str] = []

    def one_call(number: int) -> None:
        call_id = f"call.{number}"
        url = tool_url(fetch_document(server, call_id))
        if not succeeded(call(server, url, tool_call(call_id))):
            failures.append(call_id)

    threads = [threading.Thread(target=one_call, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_log_contains_no_secret(server: Any) -> None:
    url = tool_url(fetch_document(server))
    token = url.partition("__token=")[2]
    assert succeeded(call(server, url, tool_call()))
    call(server, url, tool_call("call-2"))
    server.request("GET", "/", auth=("demo", "a-wrong-password"))
    server.wait_for_log("reason=wrong_call")
    server.wait_for_log("reason=bad_credentials")
    for secret in (token, "p@ss:w/ö", "p%40ss", SECRET, "a-wrong-password"):
        assert secret not in server.log


@pytest.mark.parametrize(
    ("body", "content_type", "status", "error"),
    [
        (b"{", "application/json", 400, "Bad request: "),
        (b"[1, 2]", "application/json", 400, "Bad request: "),
        (b'{"function": 1}', "application/json", 400, "Bad request: "),
        (b'{"function": {}}', "application/json", 400, "Bad request: "),
        (b'{"function": "get_time", "call_id": 7}', "application/json", 400, "Bad request: "),
        (b"[" * 100_000, "application/json", 400, "Bad request: "),
        (b'{"a":' * 50_000, "application/json", 400, "Bad request: "),
        (b'{"function": "get_time", "x": ' + b"9" * 5000 + b"}", None, 400, "Bad request: "),
        (b'{"function": "get_time", "x": NaN}', None, 400, "Bad request: "),
        (b'{"function": "get_time", "x": -Infinity}', None, 400, "Bad request: "),
        (b'{"function": "get_time", "x": "\\ud800"}', None, 400, "Bad request: "),
        ('{"function": "get_time"}'.encode("utf-16"), "application/json", 400, "Bad request: "),
        (b'{"function": "get_\xfftime"}', "application/json", 400, "Bad request: "),
        (b"", "application/json", 400, "Bad request: "),
        (b'{"function": "get_time"}', "text/plain", 415, "Unsupported media type"),
        (b"function=get_time", "application/x-www-form-urlencoded", 415, "Unsupported media"),
        (b'{"function": "unknown"}', "application/json", 404, "Not found"),
        (b'{"function": "get time"}', "application/json", 404, "Not found"),
    ],
)
def test_invalid_bodies_are_refused(
    body: bytes, content_type: str | None, status: int, error: str
) -> None:
    from swaig_wsgi.examples.basic import app

    auth = app.get_basic_auth_credentials()
    response = request(app, "POST", "/swaig", body=body, auth=auth, CONTENT_TYPE=content_type)
    assert response.status == status
    assert response.headers["Content-Type"] == "application/json"
    assert response.json["error"].startswith(error)
    assert "Traceback" not in response.text
