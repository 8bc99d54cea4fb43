"""Request bodies: reading, replaying, and never reading beyond their end."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bodies import LIMIT, Input, ServerError, Unreadable, request

from swaig_wsgi.middleware.body_size import (
    BodyError,
    BodySizeMiddleware,
    read_body,
    replay_body,
)

# A server that does not terminate the input


PIPELINED = b"first\nlast" + b"POST /smuggled HTTP/1.1\r\n"

READERS = [
    lambda s: s.read(),
    lambda s: s.read(-1),
    lambda s: s.read(None),
    lambda s: s.read(10_000),
    lambda s: b"".join(s.readlines()),
    lambda s: b"".join(s.readlines(10_000)),
    lambda s: b"".join(s),
    lambda s: s.readline() + s.readline() + s.readline(),
    lambda s: s.readline(None) + s.readline(-1) + s.readline(10_000),
    lambda s: s.readline(3) + s.read(4) + b"".join(s.readlines(1)) + s.readline(),
]


@pytest.mark.parametrize("reader", READERS)
def test_the_application_cannot_read_beyond_the_declared_length(reader):
    stream = io.BytesIO(PIPELINED)
    environ = request(stream, length="10", terminated=False)
    seen = []

    def application(environ, start_response):
        assert environ["wsgi.input_terminated"] is True
        seen.append(reader(environ["wsgi.input"]))
        seen.append(environ["wsgi.input"].read())
        return []

    BodySizeMiddleware(application)(environ, None)
    assert seen == [b"first\nlast", b""]
    assert stream.tell() == 10


@pytest.mark.parametrize("length", [None, "", "0"])
def test_without_a_body_the_input_of_the_server_is_not_read(length):
    environ = request(Unreadable(), length=length, terminated=False)
    seen = []
    BodySizeMiddleware(lambda environ, _: seen.append(environ["wsgi.input"].read()) or [])(
        environ, None
    )
    assert seen == [b""]


def test_a_body_in_a_temporary_file_supports_all_methods_of_pep_3333():
    body = b"".join(b"line %d\n" % n for n in range(10_000))
    environ = request(Input(body), coding="chunked")
    seen = {}

    def application(environ, start_response):
        stream = environ["wsgi.input"]
        seen["read"] = stream.read(7)
        seen["readline"] = stream.readline()
        seen["short"] = stream.readline(3)
        seen["lines"] = stream.readlines(20)
        seen["rest"] = list(stream)
        seen["end"] = stream.read(1)
        return []

    BodySizeMiddleware(application, 1_000_000)(environ, None)
    assert seen["read"] == b"line 0\n"
    assert seen["readline"] == b"line 1\n"
    assert seen["short"] == b"lin"
    assert seen["lines"][0] == b"e 2\n"
    assert b"".join([b"line 0\n", b"line 1\n", b"lin", *seen["lines"], *seen["rest"]]) == body
    assert seen["end"] == b""


def test_readlines_accepts_a_size_hint():
    environ = request(io.BytesIO(b"a\nb\nc\n"), length="6", terminated=False)
    seen = []
    BodySizeMiddleware(lambda environ, _: seen.append(environ["wsgi.input"].readlines(3)) or [])(
        environ, None
    )
    assert seen == [[b"a\n", b"b\n"]]


# read_body and replay_body


@pytest.mark.parametrize("pieces", [None, 1, 7])
@pytest.mark.parametrize("body", [b"", b"x", b"hello world" * 50])
def test_read_body_returns_the_complete_body_of_either_framing(body, pieces):
    declared = request(Input(body, pieces=pieces), length=str(len(body)))
    chunked = request(Input(body, pieces=pieces), coding="chunked")
    assert read_body(declared, LIMIT) == read_body(chunked, LIMIT) == body


def test_read_body_never_reads_beyond_the_declared_length():
    stream = io.BytesIO(PIPELINED)
    assert read_body(request(stream, length="10", terminated=False), LIMIT) == b"first\nlast"
    assert stream.tell() == 10


def test_read_body_returns_an_empty_body_without_reading():
    assert read_body(request(Unreadable(), terminated=False), LIMIT) == b""
    assert read_body(request(Unreadable(), length="0"), LIMIT) == b""
    assert read_body(request(Input()), LIMIT) == b""


@pytest.mark.parametrize(
    ("environ", "status", "error", "reason"),
    [
        (request(Unreadable(), length="1001"), 413, "Request too large", "too_large"),
        (
            request(Input(b"x" * 5000), coding="chunked"),
            413,
            "Request too large",
            "too_large_chunked",
        ),
        (
            request(Unreadable(), length="x"),
            400,
            "Bad request: malformed Content-Length",
            "malformed_length",
        ),
        (
            request(Input(b"hell"), length="5"),
            400,
            "Bad request: incomplete body",
            "incomplete_body",
        ),
        (request(Input(), length="5"), 400, "Bad request: incomplete body", "incomplete_body"),
        (
            request(Input(b"hell", pieces=2, fails=ServerError()), length="5"),
            400,
            "Bad request: unreadable body",
            "unreadable_body",
        ),
        (
            request(Input(b"hell", fails=OSError()), coding="chunked"),
            400,
            "Bad request: unreadable body",
            "unreadable_body",
        ),
        (
            request(Unreadable(), coding="chunked", terminated=False),
            411,
            "Length required",
            "length_required",
        ),
    ],
)
def test_read_body_raises_for_bad_framing_and_unreadable_bodies(environ, status, error, reason):
    with pytest.raises(BodyError) as caught:
        read_body(environ, LIMIT)
    assert (caught.value.status, caught.value.error, caught.value.reason) == (status, error, reason)


@given(st.binary(max_size=300), st.sampled_from([None, "chunked"]), st.booleans())
def test_a_replayed_body_can_be_read_again(body, coding, as_file):
    environ = request(Input(body), coding=coding, length=None if coding else str(len(body)))
    read = read_body(environ, LIMIT)
    replay_body(environ, io.BytesIO(read) if as_file else read)
    assert environ["CONTENT_LENGTH"] == str(len(body))
    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert environ["wsgi.input_terminated"] is True
    assert read_body(environ, LIMIT) == body


def test_a_file_is_replayed_from_its_start():
    file = io.BytesIO(b"hello")
    file.read(3)
    environ = request(Unreadable())
    replay_body(environ, file)
    assert environ["CONTENT_LENGTH"] == "5"
    assert environ["wsgi.input"].read() == b"hello"
