"""Reading request bodies within a limit, and replaying them for the application."""

from __future__ import annotations

import io
import weakref
from collections.abc import Iterator
from typing import Any

from ..core.body_size import body_length
from ..core.refusals import bad_body, too_large
from ._types import WSGIEnvironment
from ._unread import BODY_READ

#: Bodies of unknown length are read in chunks of this size, and kept on disk if they are larger.
_CHUNK = 65_536

_Input = Any  # what a server puts into wsgi.input
_Seekable = Any  # a binary file that can be read, written and seeked


def read_body(environ: WSGIEnvironment, max_bytes: int) -> bytes:
    """Return the whole body of a request that has not been read yet.

    Raises:
        Refusal: the body is longer than `max_bytes`, incomplete, or cannot be read.
    """
    stream = environ["wsgi.input"]
    length = declared_length(environ, max_bytes)
    if length is None:
        buffer = io.BytesIO()
        buffer.writelines(_chunks(stream, max_bytes))
        body = buffer.getvalue()
    else:
        body = _read_exactly(stream, length) if length else b""
    environ[BODY_READ] = True
    return body


def replay_body(environ: WSGIEnvironment, body: bytes | _Seekable) -> None:
    """Put a body that was read back into `environ`, with a Content-Length.

    Args:
        environ: the request; the keys of its framing are replaced.
        body: the bytes, or a seekable file with nothing but the body, replayed from its start.
    """
    if isinstance(body, bytes):
        length = len(body)
        body = io.BytesIO(body)
    else:
        body.seek(0, io.SEEK_END)
        length = body.tell()
        body.seek(0)
    environ["wsgi.input"] = body
    environ["wsgi.input_terminated"] = True
    environ["CONTENT_LENGTH"] = str(length)
    environ.pop("HTTP_TRANSFER_ENCODING", None)


def declared_length(environ: WSGIEnvironment, max_bytes: int) -> int | None:
    return body_length(
        environ.get("CONTENT_LENGTH"),
        environ.get("HTTP_TRANSFER_ENCODING"),
        bool(environ.get("wsgi.input_terminated")),
        max_bytes,
    )


def _read(stream: _Input, size: int) -> bytes:
    try:
        chunk: bytes = stream.read(size)
    except MemoryError:
        raise
    except Exception as error:
        # Servers raise their own exceptions for malformed chunks and lost clients (gunicorn's are
        # plain subclasses of Exception), and this call runs nothing but the server.
        raise bad_body("unreadable body", "unreadable_body") from error
    return chunk


def _read_exactly(stream: _Input, length: int) -> bytes:
    chunk = _read(stream, length)
    if len(chunk) == length:
        return chunk  # Most servers have read the whole body, or wait for it.
    buffer = io.BytesIO()
    while chunk:
        buffer.write(chunk)
        if buffer.tell() >= length:
            return buffer.getvalue()
        chunk = _read(stream, length - buffer.tell())
    raise bad_body("incomplete body", "incomplete_body")


def _chunks(stream: _Input, max_bytes: int) -> Iterator[bytes]:
    """Yield the chunks of `stream` to its end, reading at most one byte over the limit."""
    left = max_bytes
    while True:
        chunk = _read(stream, min(_CHUNK, left + 1))
        if not chunk:
            return
        left -= len(chunk)
        if left < 0:
            raise too_large("too_large_chunked")
        yield chunk


def spool_body(environ: WSGIEnvironment, max_bytes: int) -> _Seekable | None:
    """Read a body of unknown length into a file; return None if there is no body."""
    spool: _Seekable = io.BytesIO()
    for chunk in _chunks(environ["wsgi.input"], max_bytes):
        if isinstance(spool, io.BytesIO) and spool.tell() + len(chunk) > _CHUNK:
            spool = _TemporaryFile(spool.getvalue())
        spool.write(chunk)
    environ[BODY_READ] = True
    if not spool.tell() and "HTTP_TRANSFER_ENCODING" not in environ:
        return None
    return spool


class _TemporaryFile:
    """A file on disk that is closed when `environ`, its last reference, is released.

    Closing it with the response would need a wrapper around the application's iterable. A
    finalizer also works if `environ` is part of a reference cycle, as in Werkzeug.
    """

    def __init__(self, content: bytes) -> None:
        import tempfile  # takes longer to import than all of this module, and is rarely needed

        self._file = file = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, file.close)
        self.read, self.readline, self.readlines = file.read, file.readline, file.readlines
        self.seek, self.tell, self.write = file.seek, file.tell, file.write
        self.write(content)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)


class LimitedInput:
    """A body of known length on an input that may continue after it (PEP 3333 allows both)."""

    def __init__(self, stream: _Input, length: int) -> None:
        self._stream = stream
        self._left = length

    def read(self, size: int | None = -1) -> bytes:
        return self._take(self._stream.read, size)

    def readline(self, size: int | None = -1) -> bytes:
        return self._take(self._stream.readline, size)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        lines: list[bytes] = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _take(self, method: Any, size: int | None) -> bytes:
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        if wanted == 0:
            return b""
        data: bytes = method(wanted)
        self._left -= len(data)
        return data
