from __future__ import annotations

import gc
import io
import logging
import tempfile
import tracemalloc
from wsgiref.validate import validator

import pytest
from support.bodies import LIMIT, Input, ServerError, Unreadable, request
from support.wsgi import Recorder, pass_through, send

from swaig_wsgi.middleware.body_size import BodySizeMiddleware


def run(app, environ):
    """Return the status, and the body as JSON or bytes."""
    response = send(app, environ)
    if response.headers["Content-Type"] == "application/json":
        length = response.headers["Content-Length"]
        assert length == str(len(response.body)) or not response.body
        return response.status, response.json if response.body else None
    return response.status, response.body


def guarded(application, max_bytes=LIMIT):
    return BodySizeMiddleware(validator(application), max_bytes)


@pytest.fixture
def application():
    return Recorder()


# Refusals


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("terminated", [True, False])
def test_a_declared_length_over_the_limit_is_413_and_nothing_is_read(
    application, caplog, method, terminated
):
    environ = request(Unreadable(), length="1001", terminated=terminated, method=method)
    assert run(guarded(application), environ) == (413, {"error": "Request too large"})
    assert application.environs == []
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("swaig_wsgi.security", logging.WARNING)
    assert (record.event, record.reason, record.client) == (
        "body_refused",
        "too_large",
        "192.0.2.7",
    )


def test_a_refusal_of_head_has_no_body(application):
    environ = request(Unreadable(), length="1001", method="HEAD")
    assert run(guarded(application), environ) == (413, None)


@pytest.mark.parametrize(
    ("framing", "status", "error", "reason"),
    [
        ({"length": "+5"}, 400, "Bad request: malformed Content-Length", "malformed_length"),
        ({"length": "-5"}, 400, "Bad request: malformed Content-Length", "malformed_length"),
        ({"length": "5, 5"}, 400, "Bad request: malformed Content-Length", "malformed_length"),
        ({"length": "1_0"}, 400, "Bad request: malformed Content-Length", "malformed_length"),
        ({"length": "\xb2"}, 400, "Bad request: malformed Content-Length", "malformed_length"),
        ({"length": "1" + "0" * 30}, 413, "Request too large", "too_large"),
        (
            {"length": "5", "coding": "chunked"},
            400,
            "Bad request: Content-Length together with Transfer-Encoding",
            "conflicting_framing",
        ),
        (
            {"coding": "gzip, chunked"},
            400,
            "Bad request: unsupported Transfer-Encoding",
            "unsupported_coding",
        ),
        ({"coding": "chunked", "terminated": False}, 411, "Length required", "length_required"),
    ],
)
def test_bad_framing_is_refused_unread(application, caplog, framing, status, error, reason):
    # Outside the validator, which stops some of these itself.
    app = BodySizeMiddleware(application, LIMIT)
    response = send(app, request(Unreadable(), **framing), validate=False)
    assert (response.status, response.json) == (status, {"error": error})
    assert application.environs == []
    assert [record.reason for record in caplog.records] == [reason]


@pytest.mark.parametrize("coding", ["chunked", None])
def test_a_chunked_body_over_the_limit_is_413_before_the_application_sees_a_byte(
    application, caplog, coding
):
    stream = Input(b"x" * 500_000, pieces=300)
    assert run(guarded(application), request(stream, coding=coding)) == (
        413,
        {"error": "Request too large"},
    )
    assert application.environs == []
    assert stream.taken == LIMIT + 1
    assert [record.reason for record in caplog.records] == ["too_large_chunked"]


def test_a_chunked_body_without_end_is_refused_at_the_limit(application):
    class Endless(Input):
        def read(self, size):
            self.asked.append(size)
            assert sum(self.asked) <= 300_001
            return b"x" * size

    stream = Endless()
    assert run(guarded(application, 300_000), request(stream, coding="chunked"))[0] == 413
    assert max(stream.asked) <= 65_536


@pytest.mark.parametrize(
    "error",
    [
        OSError("request data read error"),
        ConnectionResetError(),
        TimeoutError(),
        EOFError(),
        ValueError("invalid chunk header"),
        ServerError("bad chunk"),
    ],
)
@pytest.mark.parametrize("already", [0, 500])
def test_what_the_server_raises_while_a_body_is_read_is_400(application, caplog, error, already):
    environ = request(Input(b"x" * already, fails=error), coding="chunked")
    assert run(guarded(application), environ) == (400, {"error": "Bad request: unreadable body"})
    assert application.environs == []
    assert [record.reason for record in caplog.records] == ["unreadable_body"]


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, SystemExit])
def test_what_no_client_caused_is_not_turned_into_a_response(application, error):
    with pytest.raises(error):
        BodySizeMiddleware(application)(request(Input(fails=error()), coding="chunked"), None)


def test_a_full_disk_is_503_and_says_so_in_the_log(application, caplog, monkeypatch):
    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    environ = request(Input(b"x" * 70_000), coding="chunked")
    assert run(guarded(application, 100_000), environ) == (503, {"error": "Service unavailable"})
    assert application.environs == []
    (record,) = caplog.records
    assert "No space left" in record.getMessage()
    assert (record.event, record.reason) == ("body_refused", "spool_failed")
    assert (record.client, record.levelno) == ("192.0.2.7", logging.ERROR)


# What is let through


@pytest.mark.parametrize("length", [0, 1, LIMIT])
def test_a_declared_body_is_streamed_not_buffered(application, length):
    stream = Input(b"x" * length)
    environ = request(stream, length=str(length))

    def before(environ, start_response):
        assert stream.taken == 0
        return application(environ, start_response)

    assert run(guarded(before), environ) == (200, b"ok")
    assert application.bodies[-1] == b"x" * length


def test_the_input_of_a_server_that_ends_it_is_left_alone():
    stream = Input(b"hello")
    environ = request(stream, length="5")
    seen = []
    BodySizeMiddleware(lambda environ, _: seen.append(dict(environ)) or [])(environ, None)
    assert seen == [environ]
    assert seen[0]["wsgi.input"] is stream


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("terminated", [True, False])
def test_a_request_without_a_body_passes_as_it_is(application, method, terminated):
    environ = request(Input(), terminated=terminated, method=method)
    assert run(guarded(application), environ)[0] == 200
    assert "CONTENT_LENGTH" not in application.environs[0]
    assert application.bodies[-1] == b""


@pytest.mark.parametrize(("kind", "size"), [(io.BytesIO, 0), (io.BytesIO, 7), (io.BytesIO, 65_536)])
@pytest.mark.parametrize("coding", ["chunked", "Chunked"])
def test_a_chunked_body_arrives_whole_and_with_a_length(kind, size, coding):
    seen = []

    def application(environ, start_response):
        seen.append((environ["wsgi.input"], environ["wsgi.input"].read()))
        assert environ["wsgi.input_terminated"] is True
        assert environ["CONTENT_LENGTH"] == str(size)
        assert "HTTP_TRANSFER_ENCODING" not in environ
        return []

    environ = request(Input(b"x" * size, pieces=5000), coding=coding)
    BodySizeMiddleware(application, 65_536)(environ, None)
    ((stream, body),) = seen
    assert type(stream) is kind
    assert body == b"x" * size


def test_a_body_that_only_its_end_announces_is_limited_and_passed_on(application):
    # As HTTP/2 has them: neither Content-Length nor Transfer-Encoding.
    environ = request(Input(b"hello"))
    assert run(guarded(application), environ)[0] == 200
    assert application.bodies[-1] == b"hello"


def disk_request(lines=10_000):
    body = b"".join(b"line %d\n" % n for n in range(lines))
    return body, request(Input(body), coding="chunked")


def test_a_long_chunked_body_waits_on_disk(application, monkeypatch):
    made = []
    temporary_file = tempfile.TemporaryFile

    def recorded(*args):
        made.append(temporary_file(*args))
        return made[0]

    monkeypatch.setattr(tempfile, "TemporaryFile", recorded)
    body, environ = disk_request()
    assert run(guarded(application, 1_000_000), environ)[0] == 200
    assert application.bodies[-1] == body
    assert len(made) == 1


class Endless:
    """An input of zeros that holds none of them."""

    def __init__(self, size):
        self.left = size

    def read(self, size):
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


@pytest.mark.parametrize(("size", "status"), [(30_000_000, 200), (80_000_000, 413)])
def test_a_long_chunked_body_is_never_in_memory(size, status):
    def application(environ, start_response):
        while environ["wsgi.input"].read(65_536):
            pass
        start_response("200 OK", [])
        return []

    environ = request(Endless(size), coding="chunked")
    tracemalloc.start()
    try:
        app = BodySizeMiddleware(application, 60_000_000)
        response = send(app, environ, validate=False)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert response.status == status
    assert peak < 1_000_000


@pytest.mark.parametrize("cyclic", [False, True])
def test_the_file_on_disk_is_closed_with_the_request(monkeypatch, cyclic):
    made = []

    def recorded(file=tempfile.TemporaryFile):
        made.append(file())
        return made[0]

    monkeypatch.setattr(tempfile, "TemporaryFile", recorded)
    _, environ = disk_request()
    if cyclic:  # as Werkzeug's Request makes it
        environ["werkzeug.request"] = [environ]
    BodySizeMiddleware(lambda environ, start_response: [], 1_000_000)(environ, None)
    assert not made[0].closed
    del environ
    gc.collect()
    assert made[0].closed


def test_the_file_on_disk_leaves_no_resource_warning(recwarn):
    _, environ = disk_request()
    environ["cycle"] = environ
    BodySizeMiddleware(lambda environ, start_response: [], 1_000_000)(environ, None)
    del environ
    gc.collect()
    assert not recwarn.list


# Passing on


def test_iterable_exc_info_and_write_are_passed_on_untouched():
    headers = [("X-A", "1")]
    assert pass_through(BodySizeMiddleware, request(Input()), headers) == [headers] * 2


@pytest.mark.parametrize("limit", [-1, True, 1.5, "1024", None])
def test_a_bad_limit_is_refused_at_construction(application, limit):
    with pytest.raises(ValueError, match="max_bytes"):
        BodySizeMiddleware(application, limit)


def test_the_default_is_a_mebibyte(application):
    assert run(BodySizeMiddleware(application), request(Unreadable(), length="1048577"))[0] == 413
    assert run(BodySizeMiddleware(application), request(Input(), length="1048576"))[0] == 200


def test_a_limit_of_zero_allows_no_body(application):
    assert run(guarded(application, 0), request(Input(b"x"), coding="chunked"))[0] == 413
    assert run(guarded(application, 0), request(Input(), coding="chunked"))[0] == 200
    assert run(guarded(application, 0), request(Unreadable(), length="1"))[0] == 413
