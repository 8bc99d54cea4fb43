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
def test_a_declared_length_over_the_limit_is_413_and_the_body_is_not_read(
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
def test_bad_framing_is_refused_without_reading_the_body(
    application, caplog, framing, status, error, reason
):
    # Without the validator, which rejects some of these itself.
    app = BodySizeMiddleware(application, LIMIT)
    response = send(app, request(Unreadable(), **framing), validate=False)
    assert (response.status, response.json) == (status, {"error": error})
    assert application.environs == []
    assert [record.reason for record in caplog.records] == [reason]


@pytest.mark.parametrize("coding", ["chunked", None])
def test_a_chunked_body_over_the_limit_is_413_and_never_reaches_the_application(
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


def test_an_endless_chunked_body_is_read_up_to_the_limit_only(application):
    class Endless(Input):
        def read(self, size):
            self.sizes.append(size)
            assert sum(self.sizes) <= 300_001
            return b"x" * size

    stream = Endless()
    assert run(guarded(application, 300_000), request(stream, coding="chunked"))[0] == 413
    assert max(stream.sizes) <= 65_536


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
@pytest.mark.parametrize("arrived", [0, 500])
def test_an_error_of_the_server_while_reading_a_body_is_400(application, caplog, error, arrived):
    environ = request(Input(b"x" * arrived, fails=error), coding="chunked")
    assert run(guarded(application), environ) == (400, {"error": "Bad request: unreadable body"})
    assert application.environs == []
    assert [record.reason for record in caplog.records] == ["unreadable_body"]


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, SystemExit])
def test_errors_not_caused_by_the_client_propagate(application, error):
    with pytest.raises(error):
        BodySizeMiddleware(application)(request(Input(fails=error()), coding="chunked"), None)


def test_a_full_disk_is_503_and_logged(application, caplog, monkeypatch):
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


# Accepted bodies


@pytest.mark.parametrize("length", [0, 1, LIMIT])
def test_a_body_with_a_declared_length_is_not_buffered(application, length):
    stream = Input(b"x" * length)
    environ = request(stream, length=str(length))

    def before(environ, start_response):
        assert stream.taken == 0
        return application(environ, start_response)

    assert run(guarded(before), environ) == (200, b"ok")
    assert application.bodies[-1] == b"x" * length


def test_an_input_terminated_by_the_server_is_passed_on_unchanged():
    stream = Input(b"hello")
    environ = request(stream, length="5")
    seen = []
    BodySizeMiddleware(lambda environ, _: seen.append(dict(environ)) or [])(environ, None)
    assert seen == [environ]
    assert seen[0]["wsgi.input"] is stream


def test_attack_an_application_cannot_read_past_the_end_of_a_body():
    stream = Input(b"hello" + b"GET / HTTP/1.1")
    seen = []

    def application(environ, start_response):
        assert stream.taken == 0
        assert environ["wsgi.input_terminated"] is True
        seen.extend([environ["wsgi.input"].read(), environ["wsgi.input"].read()])
        return []

    BodySizeMiddleware(application)(request(stream, length="5", terminated=False), None)
    assert seen == [b"hello", b""]
    assert stream.taken == 5


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("terminated", [True, False])
def test_a_request_without_a_body_is_passed_on_without_a_length(application, method, terminated):
    environ = request(Input(), terminated=terminated, method=method)
    assert run(guarded(application), environ)[0] == 200
    assert "CONTENT_LENGTH" not in application.environs[0]
    assert application.bodies[-1] == b""


@pytest.mark.parametrize(("kind", "size"), [(io.BytesIO, 0), (io.BytesIO, 7), (io.BytesIO, 65_536)])
@pytest.mark.parametrize("coding", ["chunked", "Chunked"])
def test_a_chunked_body_is_passed_on_complete_and_with_a_length(kind, size, coding):
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


def test_a_body_with_neither_length_nor_coding_is_passed_on(application):
    # HTTP/2 allows a body with neither Content-Length nor Transfer-Encoding.
    environ = request(Input(b"hello"))
    assert run(guarded(application), environ)[0] == 200
    assert application.bodies[-1] == b"hello"


def disk_request(lines=10_000):
    body = b"".join(b"line %d\n" % n for n in range(lines))
    return body, request(Input(body), coding="chunked")


def test_a_long_chunked_body_is_stored_in_one_temporary_file(application, monkeypatch):
    files = []
    temporary_file = tempfile.TemporaryFile

    def recorded(*args):
        files.append(temporary_file(*args))
        return files[0]

    monkeypatch.setattr(tempfile, "TemporaryFile", recorded)
    body, environ = disk_request()
    assert run(guarded(application, 1_000_000), environ)[0] == 200
    assert application.bodies[-1] == body
    assert len(files) == 1


class Endless:
    """An input of zeros that are generated on read."""

    def __init__(self, size):
        self.left = size

    def read(self, size):
        size = min(size, self.left)
        self.left -= size
        return bytes(size)


@pytest.mark.parametrize(("size", "status"), [(30_000_000, 200), (80_000_000, 413)])
def test_a_long_chunked_body_is_never_held_in_memory(size, status):
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
def test_the_temporary_file_is_closed_with_the_request(monkeypatch, cyclic):
    files = []

    def recorded(file=tempfile.TemporaryFile):
        files.append(file())
        return files[0]

    monkeypatch.setattr(tempfile, "TemporaryFile", recorded)
    _, environ = disk_request()
    if cyclic:  # as with Werkzeug's Request
        environ["werkzeug.request"] = [environ]
    BodySizeMiddleware(lambda environ, start_response: [], 1_000_000)(environ, None)
    assert not files[0].closed
    del environ
    gc.collect()
    assert files[0].closed


def test_the_temporary_file_causes_no_resource_warning(recwarn):
    _, environ = disk_request()
    environ["cycle"] = environ
    BodySizeMiddleware(lambda environ, start_response: [], 1_000_000)(environ, None)
    del environ
    gc.collect()
    assert not recwarn.list


# Passing through, and the limit


def test_iterable_exc_info_and_write_are_passed_through():
    headers = [("X-A", "1")]
    assert pass_through(BodySizeMiddleware, request(Input()), headers) == [headers] * 2


@pytest.mark.parametrize("limit", [-1, True, 1.5, "1024", None])
def test_an_invalid_limit_is_rejected(application, limit):
    with pytest.raises(ValueError, match="max_bytes"):
        BodySizeMiddleware(application, limit)


def test_the_default_limit_is_one_mebibyte(application):
    assert run(BodySizeMiddleware(application), request(Unreadable(), length="1048577"))[0] == 413
    assert run(BodySizeMiddleware(application), request(Input(), length="1048576"))[0] == 200


def test_a_limit_of_zero_allows_only_empty_bodies(application):
    assert run(guarded(application, 0), request(Input(b"x"), coding="chunked"))[0] == 413
    assert run(guarded(application, 0), request(Input(), coding="chunked"))[0] == 200
    assert run(guarded(application, 0), request(Unreadable(), length="1"))[0] == 413
