"""Reading request bodies within a limit, and replaying them for the application."""

from __future__ import annotations

import io
import tempfile
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..core.body_size import body_length
from ..core.refusals import bad_body, too_large
from ._unread import BODY_READ

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Pieces of this size are read, and no larger part of a body of unknown length stays in memory.
_PIECE = 65_536

_Input = Any  # what a server puts into wsgi.input
_Seekable = Any  # a binary file that can be read, written and seeked


def read_body(environ: WSGIEnvironment, max_bytes: int) -> bytes:
    """Read the whole body of a request, which must not have been read before.

    Raises:
        BodyError: the body is longer than `max_bytes`, ends early, or cannot be read.
    """
    stream = environ["wsgi.input"]
    length = declared_length(environ, max_bytes)
    if length is None:
        buffer = io.BytesIO()
        for piece in _pieces(stream, max_bytes):
            buffer.write(piece)
        environ[BODY_READ] = True
        return buffer.getvalue()
    body = _read(stream, length) if length else b""
    if len(body) < length:
        buffer = io.BytesIO(body)
        buffer.seek(0, io.SEEK_END)
        while buffer.tell() < length:
            piece = _read(stream, length - buffer.tell())
            if not piece:
                raise bad_body("incomplete body", "incomplete_body")
            buffer.write(piece)
        body = buffer.getvalue()
    environ[BODY_READ] = True
    return body


def replay_body(environ: WSGIEnvironment, body: bytes | _Seekable) -> None:
    """Put a body that was read back into `environ`, as if it had come with a Content-Length.

    Args:
        environ: the request; keys of its framing are replaced.
        body: the bytes, or a seekable file that holds nothing else; it is read from its start.
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
        piece: bytes = stream.read(size)
    except MemoryError:
        raise
    except Exception as error:
        # Servers have exceptions of their own for bad chunks and lost clients (those of gunicorn
        # are plain subclasses of Exception), and nothing but the server runs in this call.
        raise bad_body("unreadable body", "unreadable_body") from error
    return piece


def _pieces(stream: _Input, max_bytes: int) -> Iterator[bytes]:
    """Yield what `stream` holds, up to its end, and never ask for more than one byte too many."""
    left = max_bytes
    while True:
        piece = _read(stream, min(_PIECE, left + 1))
        if not piece:
            return
        left -= len(piece)
        if left < 0:
            raise too_large("too_large_chunked")
        yield piece


def spool_body(environ: WSGIEnvironment, max_bytes: int) -> _Seekable | None:
    """Read a body of unknown length; None when there turns out to be none."""
    spool: _Seekable = io.BytesIO()
    for piece in _pieces(environ["wsgi.input"], max_bytes):
        if isinstance(spool, io.BytesIO) and spool.tell() + len(piece) > _PIECE:
            spool = _TemporaryFile(spool.getvalue())
        spool.write(piece)
    environ[BODY_READ] = True
    if not spool.tell() and "HTTP_TRANSFER_ENCODING" not in environ:
        return None
    return spool


class _TemporaryFile:
    """A file on disk that is closed when its last reference goes, which is that of `environ`.

    Closing it with the response would take a wrapper round the application's iterable. A finalizer
    also works where `environ` ends up in a reference cycle, as it does in Werkzeug.
    """

    def __init__(self, content: bytes) -> None:
        self._file = file = tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, file.close)
        self.read, self.readline, self.readlines = file.read, file.readline, file.readlines
        self.seek, self.tell, self.write = file.seek, file.tell, file.write
        self.write(content)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)


class LimitedInput:
    """A body of known length on an input that does not end with it (PEP 3333 allows both)."""

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
