"""Raw bytes to gunicorn with our configuration: one response per request, and nothing smuggled.

The bytes are read a second time by h11. Every response of an application must be that to the
request which h11 reads at this place: a server that reads more or other requests than a proxy in
front of it serves what the proxy has not checked.
"""

from __future__ import annotations

import hashlib
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.waiting import PATIENCE
from support.wsgi import basic

ROOT = Path(__file__).parents[2]
CONFIG = ("--config=python:swaig_wsgi.gunicorn", "--workers=1")
USER, PASSWORD = "demo", "p@ss-w0rd:of-the-fuzzed"
AUTH = f"Authorization: {basic(USER, PASSWORD)}".encode()
ALIVE = b"GET /alive HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
LIMIT = 5000

METHODS = st.sampled_from(
    [b"GET", b"POST", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"get", b"X-Y", b""]
)
TARGETS = st.sampled_from(
    [
        *(b"/", b"/a?b=c", b"/unread", b"/agent/", b"/agent/swaig", b"/agent/health", b"*", b""),
        *(
            b"http://a.example/",
            b"//",
            b"/%00",
            b"/%0d%0aX:y",
            b"/#f",
            b"/\xc3\xa9",
            b"a.example:80",
        ),
    ]
)
VERSIONS = st.sampled_from(
    [b"HTTP/1.1"] * 5 + [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"http/1.1", b""]
)
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b"\r\n ", b" \r\n", b"\0\r\n"])
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"
CONTENTS = st.sampled_from([b"", b"{}", b"x", SMUGGLED, b"0\r\n\r\n" + SMUGGLED, b"y" * 6000]) | (
    st.binary(max_size=20)
)
FIELDS = st.sampled_from(
    [
        *(b"Host: b.example", b"Host:", b"host:a.example", b"Host : a.example", b"Host: a, b"),
        *(b"Connection: close", b"Connection: keep-alive", b"Connection: Upgrade", b"Upgrade: h2c"),
        *(b"Expect: 100-continue", b"Expect: x", b"X: y\r\n z", b" X: y", b": y", b"X", b"X:\x01"),
        *(
            b"Content-Type: application/json",
            AUTH,
            b"X-Forwarded-For: 1.2.3.4",
            b"Content_Length: 3",
        ),
        *(b"Transfer_Encoding: chunked", b"Trailer: X", b"TE: trailers", b"X: \xff", b"X" * 9000),
    ]
)
LENGTHS = st.sampled_from(
    [b"%d"] * 8
    + [b"+%d", b"0%d", b"%d, %d", b" %d ", b"-%d", b"%d_0", b"0x%d", b"%d\x0b", b"", b"9" * 30]
)
CODINGS = st.sampled_from(
    [b"chunked"] * 8
    + [
        *(b"Chunked", b"chunked, chunked", b"identity", b"gzip, chunked", b"chunked, identity"),
        *(b"xchunked", b"chunked;q=1", b"\x0bchunked", b"chunked,", b",chunked", b'"chunked"', b""),
    ]
)
CHUNK_SIZES = st.sampled_from(
    [b"%x"] * 10
    + [b"0%x", b"%X;a=b", b"%x;", b"+%x", b"0x%x", b" %x", b"%x ", b"-%x", b"%x\n", b"f" * 17]
)


@st.composite
def chunked(draw: Any, content: bytes) -> bytes:
    """Return a chunked body, well formed or nearly."""
    coded = b""
    for part in (content[:3], content[3:]):
        if part:
            size = draw(CHUNK_SIZES)
            size = size % len(part) if b"%" in size else size
            coded += size + draw(ENDS) + part + draw(ENDS)
    last = draw(st.sampled_from([b"0"] * 8 + [b"00", b"0;x", b"", b"-0", b"0 "]))
    trailers = draw(st.sampled_from([b""] * 6 + [b"X: y\r\n", b"Content-Length: 5\r\n", b"X\r\n"]))
    return coded + last + draw(ENDS) + trailers + draw(ENDS)


@st.composite
def requests(draw: Any) -> bytes:
    """Return one request: most are valid, and invalid ones are so in few places."""
    head = [b" ".join([draw(METHODS), draw(TARGETS), draw(VERSIONS)])]
    head += draw(st.sampled_from([[b"Host: a.example"]] * 9 + [[]]))
    head += draw(st.lists(FIELDS, max_size=2))
    content = draw(CONTENTS)
    framing = draw(
        st.sampled_from(["length"] * 5 + ["chunked"] * 5 + ["both", "twice", "none", "none"])
    )
    if framing in ("length", "both", "twice"):
        size = draw(LENGTHS)
        value = size % ((len(content),) * size.count(b"%d"))
        head += [b"Content-Length: " + value] * (2 if framing == "twice" else 1)
    if framing in ("chunked", "both"):
        head.append(b"Transfer-Encoding: " + draw(CODINGS))
        content = draw(chunked(content))
    if framing == "none":
        content = draw(st.sampled_from([b"", b"", b"", content]))
    return b"".join(line + draw(ENDS) for line in head) + draw(ENDS) + content


@st.composite
def streams(draw: Any) -> bytes:
    """Return what a client sends on one connection."""
    sent = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(sent)))
        junk = draw(
            st.sampled_from([b"\r", b"\n", b"\0", b" ", b":", b"\r\n"]) | st.binary(max_size=2)
        )
        sent = sent[:at] + junk + sent[at + draw(st.integers(0, 3)) :]
    return sent


# -- what h11 reads


@dataclass
class Read:
    """A request as h11 reads it."""

    method: bytes
    target: bytes
    #: None if it is incomplete or malformed.
    body: bytes | None = None


def requests_of_h11(sent: bytes) -> tuple[list[Read], bool]:
    """Return the requests up to one that is malformed or ends the connection, and a flag.

    The flag says that the next one lacks only a Host. RFC 9112 section 3.2 has a server refuse it;
    h11 refuses to read further, too, while our layer refuses the one request, whose end is clear.
    """
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
    reader.receive_data(sent)
    reader.receive_data(b"")
    requests: list[Read] = []
    try:
        while isinstance(event := reader.next_event(), h11.Request):
            requests.append(Read(event.method, event.target))
            body = b""
            while isinstance(event := reader.next_event(), h11.Data):
                body += event.data
            if not isinstance(event, h11.EndOfMessage):
                break
            requests[-1].body = body
            # Not 200, after which CONNECT would begin a tunnel.
            reader.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
            reader.send(h11.EndOfMessage())
            if reader.our_state is h11.MUST_CLOSE:
                break
            reader.start_next_cycle()
    except h11.RemoteProtocolError as error:
        return requests, "Missing mandatory Host" in str(error)
    return requests, False


# -- what the server sends


@dataclass
class Sent:
    """A response."""

    status: int
    headers: dict[bytes, bytes]


def responses_in(received: bytes, whole: bool) -> list[Sent]:
    """Return the responses, each read by h11, with nothing between or after them."""
    reader = h11.Connection(h11.CLIENT)
    reader.receive_data(received)
    if whole:
        reader.receive_data(b"")
    responses: list[Sent] = []
    while rest := reader.trailing_data[0]:
        head = re.match(rb"(?s)(?:HTTP/1.1 100 .*?\r\n\r\n)*(.*?)\r\n\r\n", rest)
        is_head = head is not None and b"\r\nX-Seen: HEAD%20" in head[1]
        method = "HEAD" if is_head else "GET"
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "a.example")]))
        reader.send(h11.EndOfMessage())
        while isinstance(event := reader.next_event(), h11.InformationalResponse):
            assert event.status_code == 100
        if event is h11.NEED_DATA and not whole:
            break
        assert isinstance(event, h11.Response), received
        responses.append(Sent(event.status_code, dict(event.headers)))
        while isinstance(event := reader.next_event(), h11.Data):
            pass
        if event is h11.NEED_DATA and not whole:
            break
        assert isinstance(event, h11.EndOfMessage), received
        if reader.their_state is not h11.DONE:
            assert not reader.trailing_data[0], "something follows the last response"
            break
        reader.start_next_cycle()
    return responses


def exchange(port: int, pieces: list[bytes]) -> tuple[bytes, bool]:
    """Return what the server sends until it closes the connection, and whether that is all.

    It is not if the server resets the connection, because it closed it while more was sent.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        try:
            while data := connection.recv(65_536):
                received += data
        except ConnectionResetError:
            return received, False
    return received, True


@pytest.fixture(scope="module")
def port(serve_command_for_module: Any) -> int:
    import sys

    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--bind=127.0.0.1:0",
        *CONFIG,
        "tests.fuzz.echo:app",
    ]
    env = {
        "SWML_BASIC_AUTH_USER": USER,
        "SWML_BASIC_AUTH_PASSWORD": PASSWORD,
        "SWML_MAX_REQUEST_SIZE": str(LIMIT),
        "SWML_ALLOWED_HOSTS": "a.example",
    }
    server = serve_command_for_module(command, env, cwd=str(ROOT))
    return int(server.port)


@settings(max_examples=200)
@given(streams(), st.lists(st.integers(0, 2000), max_size=2))
def test_each_request_has_one_response_and_none_is_smuggled(
    port: int, sent: bytes, cuts: list[int]
) -> None:
    ends = [*sorted(cuts), len(sent)]
    pieces = [sent[start:end] for start, end in zip([0, *ends], ends)]
    received, whole = exchange(port, pieces)
    check_responses(responses_in(received, whole), *requests_of_h11(sent))
    # Whatever was sent, the next client is served.
    (alive,) = responses_in(*exchange(port, [ALIVE]))
    assert (alive.status, alive.headers[b"x-seen"]) == (200, b"GET%20%2Falive")


def check_responses(responses: list[Sent], expected: list[Read], lacks_host: bool) -> None:
    for index, response in enumerate(responses):
        # RFC 9112 section 6.1 has a server that does not know a transfer coding respond with 501.
        assert response.status < 500 or response.status == 501
        seen = response.headers.get(b"x-seen")
        if seen is None:
            # A refusal of gunicorn, which cannot know where the next request begins.
            assert response.status >= 400
            assert response is responses[-1]
        elif index < len(expected):
            request = expected[index]
            assert unquote_to_bytes(seen) == request.method + b" " + request.target
            digest = response.headers.get(b"x-body")
            if request.body is None:
                assert digest is None, "a body that h11 does not read"
                assert response is responses[-1]
            elif digest is not None:
                assert digest.decode() == hashlib.sha256(request.body).hexdigest()
        elif lacks_host:
            assert index > len(expected) or response.status == 400
        else:
            # Refused by both; a length of over 20 digits is malformed to h11, and too large to us.
            assert response.status >= 400, f"a request that h11 does not read: {seen!r}"
            assert response is responses[-1]
    complete = [each for each in expected if each.body is not None]
    if len(responses) < len(complete):
        assert responses, "a request without a response"
        final = responses[-1]
        closes = b"close" in final.headers.get(b"connection", b"").lower()
        # A refusal, or a body that was not read, may end the connection.
        assert closes or b"x-body" not in final.headers
