"""The guarantees of WSGI hold through the full stack, over a socket to a real gunicorn."""

from __future__ import annotations

import io
import socket
import struct
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper

import pytest
from support.waiting import PATIENCE
from support.wsgi import environ

from swaig_wsgi import AuthHandler, Settings, harden

SITE = '''
import sys
import time
from pathlib import Path

from swaig_wsgi import AuthHandler, harden

HERE = Path(__file__).parent
COOKIES = [("Set-Cookie", "a=1; HttpOnly"), ("Set-Cookie", "b=2; Secure")]
TEXT = [("Content-Type", "text/plain")]


def note(text):
    with open(HERE / "notes", "a") as file:
        file.write(text + "\\n")


def wait_for(name):
    end = time.monotonic() + 60
    while not (HERE / name).exists():
        if time.monotonic() > end:
            raise RuntimeError(f"{name} was not created")
        time.sleep(0.01)


class Closing:
    """An iterable that records each call of its close()."""

    def __init__(self, iterable):
        self.iterable = iterable

    def __iter__(self):
        return iter(self.iterable)

    def close(self):
        note("closed")


def stream(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"first,"
    wait_for("first-arrived")
    yield b"last"


def endless(environ, start_response):
    start_response("200 OK", TEXT)

    def pieces():
        yield b"first,"
        wait_for("client-gone")
        for _ in range(10_000):
            yield b"x" * 65_536

    return Closing(pieces())


def fails(environ, start_response):
    start_response("200 OK", TEXT)

    def pieces():
        yield b"first,"
        raise RuntimeError("failed in the middle")

    return Closing(pieces())


def fails_at_once(environ, start_response):
    start_response("200 OK", TEXT)

    def pieces():
        raise RuntimeError("failed at once")
        yield

    return Closing(pieces())


def replaced(environ, start_response):
    start_response("200 OK", [*TEXT, ("X-First", "1")])
    try:
        raise ValueError("before anything was sent")
    except ValueError:
        start_response("418 I'm a Teapot", [*TEXT, ("X-Second", "2")], sys.exc_info())
    return Closing([b"replaced"])


def replaced_too_late(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"first,"
    try:
        raise ValueError("after something was sent")
    except ValueError:
        try:
            start_response("500 Too Late", TEXT, sys.exc_info())
        except ValueError:
            note("raised")
            raise


def written(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"first,")
    wait_for("first-arrived")
    write(b"second,")
    return Closing([b"last"])


def file(environ, start_response):
    wrapper = environ["wsgi.file_wrapper"]
    note(f"{wrapper.__module__}.{wrapper.__name__}")
    path = HERE / "large"
    start_response("200 OK", [*TEXT, ("Content-Length", str(path.stat().st_size))])
    return wrapper(path.open("rb"), 65_536)


def upload(environ, start_response):
    body = environ["wsgi.input"]
    start_response("200 OK", TEXT)
    total = len(body.read(4096))
    yield f"{total},".encode()
    while True:
        piece = body.read(65_536)
        if not piece:
            break
        total += len(piece)
    yield str(total).encode()


def cookies(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "4"), *COOKIES])
    return Closing([] if environ["REQUEST_METHOD"] == "HEAD" else [b"body"])


def empty(status):
    def response(environ, start_response):
        start_response(status, [("ETag", '"x"'), *COOKIES])
        return Closing([])

    return response


PAGES = {
    "/stream": stream,
    "/endless": endless,
    "/fails": fails,
    "/fails-at-once": fails_at_once,
    "/replaced": replaced,
    "/replaced-too-late": replaced_too_late,
    "/written": written,
    "/file": file,
    "/upload": upload,
    "/cookies": cookies,
    "/204": empty("204 No Content"),
    "/304": empty("304 Not Modified"),
}


def site(environ, start_response):
    return PAGES[environ["PATH_INFO"]](environ, start_response)


app = harden(site, auth=AuthHandler(bearer_token="a-token"))
'''

EVERYTHING = {
    "SWML_TRUSTED_PROXIES": "10.0.0.1",
    "SWML_ALLOWED_HOSTS": "site.example",
    "SWML_CORS_ORIGINS": "https://app.example",
    "SWML_CSRF_PROTECTION": "true",
    "SWML_RATE_LIMIT": "1000",
    "SWML_MAX_REQUEST_SIZE": "100000000",
    "SWML_SSL_DOMAIN": "site.example",
}
HEADER = (
    "Host: site.example\r\nAuthorization: Bearer a-token\r\nOrigin: https://app.example\r\n"
    "Connection: close\r\n"
)


class Site:
    def __init__(self, server: Any, directory: Path) -> None:
        self.server = server
        self.directory = directory

    def connect(self, path: str, method: str = "GET", header: str = "") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE)
        request = f"{method} {path} HTTP/1.1\r\n{HEADER}{header}\r\n"
        connection.sendall(request.encode())
        return connection

    def get(self, path: str, method: str = "GET") -> tuple[list[str], bytes]:
        """Return the lines of the head and the raw body of a response."""
        with closing(self.connect(path, method)) as connection:
            head, _, body = read_until(connection, b"").partition(b"\r\n\r\n")
        return head.decode().split("\r\n"), body

    def notes(self, expected: int) -> list[str]:
        """Wait for `expected` notes, send one more request, and return all notes."""
        path = self.directory / "notes"
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            notes = path.read_text().split() if path.exists() else []
            if len(notes) >= expected:
                break
            time.sleep(0.02)
        # The only worker responds after it has finished the previous request.
        self.get("/cookies", "HEAD")
        return path.read_text().split()


def read_until(connection: socket.socket, text: bytes) -> bytes:
    """Read until `text` has arrived; if it is empty, until the end."""
    data = b""
    while not text or text not in data:
        piece = connection.recv(65_536)
        if not piece:
            break
        data += piece
    return data


@pytest.fixture(params=["sync", "gthread"])
def site(request: pytest.FixtureRequest, gunicorn: Any, tmp_path: Path) -> Site:
    (tmp_path / "site_under_test.py").write_text(SITE)
    worker = f"--worker-class={request.param}"
    server = gunicorn("site_under_test:app", worker, cwd=str(tmp_path), **EVERYTHING)
    return Site(server, tmp_path)


@pytest.mark.parametrize("path", ["/stream", "/written"])
def test_responses_are_streamed(site: Site, path: str) -> None:
    with closing(site.connect(path)) as connection:
        assert b"first," in read_until(connection, b"first,")
        (site.directory / "first-arrived").touch()
        assert b"last" in read_until(connection, b"")


def test_close_is_called_once_after_errors_and_empty_responses(site: Site) -> None:
    notes = 0
    for path in ("/fails", "/fails-at-once", "/replaced", "/204", "/304"):
        site.get(path)
        notes += 1
        # notes() sends one more request.
        assert site.notes(notes) == ["closed"] * (notes + 1)
        notes += 1
    site.server.wait_for_log("RuntimeError: failed in the middle")
    site.server.wait_for_log("RuntimeError: failed at once")


def test_close_is_called_once_when_the_client_disconnects(site: Site) -> None:
    with closing(site.connect("/endless")) as connection:
        read_until(connection, b"first,")
        # Close with a reset, so that the server notices at once.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    (site.directory / "client-gone").touch()
    assert site.notes(1) == ["closed", "closed"]


def test_a_response_can_be_replaced_until_something_is_sent(site: Site) -> None:
    head, body = site.get("/replaced")
    assert head[0] == "HTTP/1.1 418 I'm a Teapot"
    assert "X-Second: 2" in head
    assert b"replaced" in body
    assert b"first," in site.get("/replaced-too-late")[1]
    assert site.notes(2)[:2] == ["closed", "raised"]


def test_files_are_sent_through_the_file_wrapper_of_the_server(site: Site) -> None:
    content = bytes(range(256)) * 8192
    (site.directory / "large").write_bytes(content)
    head, body = site.get("/file")
    assert body == content
    assert f"Content-Length: {len(content)}" in head
    assert "Transfer-Encoding: chunked" not in head
    assert site.notes(1)[0] == "gunicorn.http.wsgi.FileWrapper"


def test_responses_without_a_body_stay_empty_and_cookies_separate(site: Site) -> None:
    get, body = site.get("/cookies")
    assert body == b"body"
    head, nothing = site.get("/cookies", "HEAD")
    assert nothing == b""
    assert "Content-Length: 4" in get
    assert "Content-Length: 4" in head
    for status in ("204", "304"):
        lines, nothing = site.get(f"/{status}")
        assert lines[0].split()[1] == status
        assert nothing == b""
        assert not [line for line in lines if line.lower().startswith("content-length")]
        get += lines
    cookies = [line for line in get if line.startswith("Set-Cookie")]
    assert cookies == ["Set-Cookie: a=1; HttpOnly", "Set-Cookie: b=2; Secure"] * 3


def test_an_upload_with_a_declared_length_is_streamed(site: Site) -> None:
    length = 20_000_000
    header = f"Content-Type: text/plain\r\nContent-Length: {length}\r\n"
    with closing(site.connect("/upload", "POST", header)) as connection:
        connection.sendall(b"x" * 4096)
        assert b"4096," in read_until(connection, b"4096,")
        connection.sendall(b"x" * (length - 4096))
        assert str(length).encode() in read_until(connection, b"")


# Without a server


def call_hardened(app: Any, **more: Any) -> tuple[Any, list[Any]]:
    settings = Settings.from_mapping(EVERYTHING)
    hardened = harden(app, settings, auth=AuthHandler(bearer_token="a-token"))
    headers = {"Host": "site.example", "Authorization": "Bearer a-token"}
    calls: list[Any] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        calls.append((status, headers, exc_info))
        return calls.append

    return hardened(environ(headers=headers, **more), start_response), calls


def test_the_server_receives_the_iterable_of_the_application() -> None:
    file = io.BytesIO(b"content")
    response = FileWrapper(file)

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](file)

    result, _ = call_hardened(app, **{"wsgi.file_wrapper": lambda wrapped: response})
    assert result is response
    assert not file.closed


def test_a_replaced_response_carries_each_header_once() -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("X-First", "1")])
        start_response("500 Failed", [("X-Second", "2")], (ValueError, ValueError("why"), None))
        return []

    _, calls = call_hardened(app)
    for (_, headers, _), field in zip(calls, ("X-First", "X-Second")):
        names = [name for name, _ in headers]
        assert sorted(set(names)) == sorted(names)
        assert {field, "X-Frame-Options", "RateLimit"} <= set(names)


def test_write_and_exc_info_are_passed_through() -> None:
    exc_info = (ValueError, ValueError("why"), None)
    returned = []

    def app(environ: Any, start_response: Any) -> Any:
        returned.append(start_response("500 Failed", [], exc_info))
        return []

    _, calls = call_hardened(app)
    assert calls[0][2] is exc_info
    returned[0]("written")
    assert calls[1:] == ["written"]
