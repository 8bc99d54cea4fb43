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

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"
CONTENTS = st.sampled_from([b"", b"{}", b"x", SMUGGLED, b"0\r\n\r\n" + SMUGGLED, b"y" * 6000]) | (
    st.binary(max_size=20)
)
#: For each place in a request, what is valid there, and what is not or means something else.
PLACES: dict[str, tuple[list[bytes], list[bytes]]] = {
    "method": (
        [b"GET", b"POST", b"POST", b"HEAD", b"OPTIONS", b"PUT", b"X-Y"],
        [b"get", b"", b"CONNECT"],
    ),
    "target": (
        [b"/", b"/a?b=c", b"/unread", b"/agent/", b"/agent/swaig", b"/agent/health", b"/%0d%0aX:y"],
        [
            b"*",
            b"",
            b"http://a.example/",
            b"//",
            b"/#f",
            b"/\xc3\xa9",
            b"a.example:80",
            b"/ x",
            b"/\t",
        ],
    ),
    "version": (
        [b"HTTP/1.1"] * 9 + [b"HTTP/1.0"],
        [b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b""],
    ),
    "host": (
        [b"Host: a.example"],
        [b"X: y", b"Host:", b"Host : a.example", b"Host: a, b", b"host:b"],
    ),
    "field": (
        [
            *(
                b"Connection: keep-alive",
                b"Content-Type: application/json",
                AUTH,
                b"X: \xff",
                b"X:",
            ),
            *(
                b"X-Forwarded-For: 1.2.3.4",
                b"TE: trailers",
                b"Upgrade: h2c",
                b"X-Long: " + b"y" * 999,
            ),
        ],
        [
            *(b"Connection: close", b"Expect: 100-continue", b"Expect: x", b"X: y\r\n z", b" X: y"),
            *(b": y", b"X", b"X:\x01", b"Host: b.example", b"Content_Length: 3", b"X" * 9000),
            *(
                b"Transfer_Encoding: chunked",
                b"Trailer: X",
                b"X\xe9: y",
                b"Connection: Content-Length",
            ),
        ],
    ),
    "length": (
        [b"%d"],
        [b"+%d", b"0%d", b"%d, %d", b" %d ", b"-%d", b"%d_0", b"0x%d", b"%d\x0b", b"", b"9" * 30],
    ),
    "coding": (
        [b"chunked", b"Chunked"],
        [
            *(
                b"chunked, chunked",
                b"identity",
                b"gzip, chunked",
                b"chunked, identity",
                b"xchunked",
            ),
            *(b"chunked;q=1", b"\x0bchunked", b"chunked,", b",chunked", b'"chunked"', b""),
        ],
    ),
    "size": (
        [b"%x", b"%X", b"0%x", b"%x;a=b"],
        [b"%x;", b"+%x", b"0x%x", b" %x", b"%x ", b"-%x", b"%x\n", b"f" * 17],
    ),
    "last": ([b"0", b"00"], [b"0;x", b"", b"-0", b"0 ", b"1"]),
    "trailer": ([b"", b"X: y\r\n"], [b"Content-Length: 5\r\n", b"X\r\n", b" X: y\r\n"]),
    "end": ([b"\r\n"], [b"\n", b"\r", b"\r\r\n", b"\r\n ", b" \r\n", b"\0\r\n", b"", b"\r\n\r\n"]),
}


@st.composite
def requests(draw: Any) -> bytes:
    """Return one request: most are valid, and the others wrong in one place or two."""
    wrong = draw(
        st.sampled_from([set()] * 3) | st.sets(st.sampled_from(sorted(PLACES)), max_size=2)
    )

    def pick(place: str) -> bytes:
        right, others = PLACES[place]
        chosen: bytes = draw(st.sampled_from(others if place in wrong else right))
        # A place that there is several times is wrong only once.
        wrong.discard(place)
        return chosen

    head = [b" ".join([pick("method"), pick("target"), pick("version")]), pick("host")]
    head += [pick("field") for _ in range(draw(st.integers(0, 2)) or "field" in wrong)]
    content = draw(CONTENTS)
    kinds = ["length"] * 5 + ["chunked"] * 5 + ["none"] * 3 + ["both", "twice", "undeclared"]
    framing = draw(st.sampled_from(kinds))
    if framing in ("length", "both", "twice"):
        size = pick("length")
        value = size % ((len(content),) * size.count(b"%d"))
        head += [b"Content-Length: " + value] * (2 if framing == "twice" else 1)
    if framing in ("chunked", "both"):
        head.append(b"Transfer-Encoding: " + pick("coding"))
        parts = [part for part in (content[:3], content[3:]) if part]
        sizes = [(pick("size"), part) for part in parts]
        lines = [(size % len(part) if b"%" in size else size, part) for size, part in sizes]
        coded = [size + pick("end") + part + pick("end") for size, part in lines]
        content = b"".join([*coded, pick("last"), pick("end"), pick("trailer"), pick("end")])
    if framing == "none":
        content = b""
    # The first line or another one may end wrongly.
    order = sorted(range(len(head) + 1), key=lambda _: draw(st.booleans()))
    ends = dict.fromkeys(order, b"\r\n")
    ends[order[0]] = pick("end")
    return b"".join(line + ends[index] for index, line in enumerate([*head, b""])) + content


@st.composite
def streams(draw: Any) -> bytes:
    """Return what a client sends on one connection."""
    sent = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 0, 1, 2]))):
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
    #: What there is of a body that ends before its Content-Length. gunicorn passes it on (PEP 3333
    #: has no word for its end), agents refuse it, and Werkzeug and Flask do.
    cut_off: bytes | None = None


def requests_of_h11(sent: bytes) -> tuple[list[Read], str]:
    """Return the requests up to one that is malformed or ends the connection.

    Also return why a server may read on where h11 stops, "" if it may not:

    - "no Host": our layer refuses the next one (RFC 9112 section 3.2), whose end is clear.
    - "HTTP/1.0": the client keeps the connection (RFC 9112 section 9.3); h11 does not.
    """
    requests: list[Read] = []
    while sent:
        # RFC 9112 section 2.2: a server ignores one empty line before a request. h11 does not.
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
        reader.receive_data(sent.removeprefix(b"\r\n"))
        reader.receive_data(b"")
        body = b""
        try:
            head = reader.next_event()
            if not isinstance(head, h11.Request):
                break
            requests.append(Read(head.method, head.target))
            while isinstance(event := reader.next_event(), h11.Data):
                body += event.data
            if not isinstance(event, h11.EndOfMessage):
                break
        except h11.RemoteProtocolError as error:
            if "(received" in str(error):
                requests[-1].cut_off = body
            return requests, "no Host" if "Missing mandatory Host" in str(error) else ""
        requests[-1].body = body
        sent = reader.trailing_data[0]
        # Not 200, after which CONNECT would begin a tunnel.
        reader.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
        reader.send(h11.EndOfMessage())
        if reader.our_state is h11.MUST_CLOSE:
            kept = (b"connection", b"keep-alive") in list(head.headers)
            return requests, "HTTP/1.0" if kept and head.http_version == b"1.0" else ""
    return requests, ""


# -- what the server sends


@dataclass
class Sent:
    """A response."""

    status: int
    headers: dict[bytes, bytes]


def responses_in(received: bytes, whole: bool) -> list[Sent]:
    """Return the responses, each read by h11, with nothing between or after them."""
    responses: list[Sent] = []
    while received:
        head = re.match(rb"(?s)(?:HTTP/1.1 100 .*?\r\n\r\n)*(.*?)\r\n\r\n", received)
        is_head = head is not None and b"\r\nX-Seen: HEAD%20" in head[1]
        # A new one for each response: it does not know the connections of HTTP/1.0 that are kept.
        reader = h11.Connection(h11.CLIENT)
        method = "HEAD" if is_head else "GET"
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "a.example")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(received)
        if whole:
            reader.receive_data(b"")
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
        received = reader.trailing_data[0]
        if b"close" in responses[-1].headers.get(b"connection", b"").lower():
            assert not received, "something follows the last response"
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


def check_responses(responses: list[Sent], expected: list[Read], reads_on: str) -> None:
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
            body = request.cut_off if request.body is None else request.body
            assert digest is None or body is not None, "a body that h11 does not read"
            assert digest is None or digest.decode() == hashlib.sha256(body).hexdigest()
            assert request.body is not None or response is responses[-1]
        elif reads_on:
            is_next = index == len(expected)
            assert reads_on == "HTTP/1.0" or not is_next or response.status == 400
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
