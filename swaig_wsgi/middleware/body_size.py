"""A limit on request bodies that holds however they are framed."""

from __future__ import annotations

import io
import logging
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..core.body_size import BodyError, bad_body, body_length, check_max_bytes, too_large
from .answers import refuse
from .marks import is_marked, leave_mark
from .unread import BODY_READ

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["BodyError", "BodySizeMiddleware", "read_body", "replay_body"]

_MARKS = "swaig_wsgi.ran.body_size"
#: Pieces of this size are read, and no larger part of a body of unknown length stays in memory.
_PIECE = 65_536

_Input = Any  # what a server puts into wsgi.input
_Seekable = Any  # a binary file that can be read, written and seeked


class BodySizeMiddleware:
    """Refuse request bodies of more than `max_bytes` bytes (seed: Request Size Limits).

    A declared length is judged before anything is read, and the application reads such a body as
    it arrives, but never past its end. A chunked body is read first, to disk where it is long, and
    the application sees it only when it is whole and within the limit; it then has a
    ``Content-Length``. Reading it waits for the client, so put this behind authentication.

    A refusal reads nothing more: what the client still sends is the server's to drain or drop.

    Args:
        app: the application to guard.
        max_bytes: of the longest body that is let in.

    Raises:
        ValueError: `max_bytes` is not an integer of 0 or more.
    """

    def __init__(self, app: WSGIApplication, max_bytes: int = 1_048_576) -> None:
        self.app = app
        self.max_bytes = check_max_bytes(max_bytes)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # Whoever unpacks a body puts another one there.
        if is_marked(environ, _MARKS, self._mark(environ)):
            return self.app(environ, start_response)
        try:
            length = _length(environ, self.max_bytes)
            if length is None:
                spool = _spool(environ, self.max_bytes)
                if spool is not None:
                    replay_body(environ, spool)
            elif not environ.get("wsgi.input_terminated"):
                environ["wsgi.input"] = _Limited(environ["wsgi.input"], length)
                environ["wsgi.input_terminated"] = True
        except BodyError as refusal:
            return refuse(
                environ,
                start_response,
                refusal.status,
                refusal.error,
                event="body_refused",
                reason=refusal.reason,
            )
        except OSError as failure:
            # Only the temporary file raises these here: this machine's fault, not the client's.
            return refuse(
                environ,
                start_response,
                503,
                "Service unavailable",
                event="body_refused",
                reason="spool_failed",
                detail=f"cannot keep a request body on disk: {failure}",
                level=logging.ERROR,
            )
        leave_mark(environ, _MARKS, self._mark(environ))
        return self.app(environ, start_response)

    def _mark(self, environ: WSGIEnvironment) -> tuple[Any, ...]:
        framing = (environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING"))
        return (self.max_bytes, environ["wsgi.input"], *framing)


def read_body(environ: WSGIEnvironment, max_bytes: int) -> bytes:
    """Read the whole body of a request, which must not have been read before.

    Raises:
        BodyError: the body is longer than `max_bytes`, ends early, or cannot be read.
    """
    stream = environ["wsgi.input"]
    length = _length(environ, max_bytes)
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


def _length(environ: WSGIEnvironment, max_bytes: int) -> int | None:
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


def _spool(environ: WSGIEnvironment, max_bytes: int) -> _Seekable | None:
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


class _Limited:
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
