"""Request bodies that are still unread when the response has been sent.

gunicorn reads the rest of a body before it reuses or closes the connection, and blocks meanwhile.
A few clients that are refused and stop sending would occupy every thread. So the response reads
what has already arrived, without blocking, and decides:

* The whole body has arrived: the connection stays open.
* Otherwise the connection ends (RFC 9112, section 9.6). The client has `LINGER` seconds to read the
  response, and at most `MAX_DRAIN` bytes are read from it meanwhile. Then everything queued is
  discarded, so that no part of the body is parsed as a request.

The worker of :mod:`swaig_wsgi.gunicorn` does all this itself, and without a thread.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable, Iterator
from typing import Any

from ._types import WSGIEnvironment

#: Set in ``environ`` once the body has been read to its end.
BODY_READ = "swaig_wsgi.body_read"

#: Set in ``environ`` by a server that does not block on unread bodies.
SERVER_LINGERS = "swaig_wsgi.server_lingers"

#: Seconds during which a client that still sends its body can read the response.
LINGER = 0.1
#: Maximum number of bytes read from an unread body.
MAX_DRAIN = 65_536
_CHUNK = 4096
_DIGITS = len(str(MAX_DRAIN))


def leaves_body(environ: WSGIEnvironment) -> bool:
    """Return whether the server would block on the unread body of this request.

    Only gunicorn passes its socket to the application. Other servers buffer bodies first, or have
    no thread to lose.
    """
    if environ.get(BODY_READ) or "gunicorn.socket" not in environ or SERVER_LINGERS in environ:
        return False
    if not environ.get("SERVER_PROTOCOL", "").startswith("HTTP/1"):
        return False  # In HTTP/2 the socket is shared with other requests.
    return environ.get("CONTENT_LENGTH", "") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ


def end_unread_body(environ: WSGIEnvironment, body: Iterable[bytes]) -> Iterable[bytes]:
    """Return the response `body` so that its ``close()`` deals with an unread request body."""
    return UnreadBodyResponse(environ, body) if leaves_body(environ) else body


class UnreadBodyResponse:
    """A response body whose ``close()`` deals with the unread request body; see the module.

    Servers call ``close()`` after they have sent the response. A layer outside that calls it
    earlier loses the response.
    """

    def __init__(self, environ: WSGIEnvironment, body: Iterable[bytes]) -> None:
        self._body = body
        self._input: Any = environ["wsgi.input"]
        self._length = environ.get("CONTENT_LENGTH") or "0"
        self._socket: socket.socket = environ["gunicorn.socket"]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._end_body()

    def _end_body(self) -> None:
        timeout = self._socket.gettimeout()
        try:
            left = self._drain()
            if left is not None:
                self._end_connection(left)
            self._socket.settimeout(timeout)
        except OSError:
            pass  # The client has disconnected.

    def _drain(self) -> int | None:
        """Read without blocking what has arrived of the body.

        Return None if that was all of it, else how many bytes may still be read.
        """
        left = MAX_DRAIN
        if len(self._length) > _DIGITS:
            return left  # Too long to be complete; the server would read far ahead.
        self._socket.settimeout(0)
        try:
            while left > 0:
                size = len(self._input.read(_CHUNK))
                if size < _CHUNK:
                    return None
                left -= size
        except Exception:
            # It would block, or the body is malformed. A chunk read in part is lost.
            return left - _CHUNK
        return 0

    def _end_connection(self, left: int) -> None:
        """End the connection so that the server finds no further request on it.

        The server does not see what is read here and would parse the next bytes from a wrong
        offset, where the sender of the body could have placed a request (request smuggling).
        """
        # Keeps gunicorn from serving a request that it has read ahead, behind the end of the body:
        # its response could not be sent.
        with contextlib.suppress(AttributeError):
            self._input.failed = True
        # The response has been sent. A client that sees the end sends no further request.
        self._socket.shutdown(socket.SHUT_WR)
        end = time.monotonic() + LINGER
        with contextlib.suppress(OSError):
            while (seconds := end - time.monotonic()) > 0:
                if left <= 0:
                    time.sleep(seconds)
                    break
                self._socket.settimeout(seconds)
                size = len(self._socket.recv(min(left, _CHUNK)))
                if not size:
                    break
                left -= size
        # With both directions shut down nothing more is queued. What is queued can still be read,
        # even if the client has closed meanwhile, and is bounded by the receive buffer.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)
        self._socket.settimeout(0)
        while self._socket.recv(_CHUNK):
            pass
