"""What becomes of a request body that nobody has read when the answer is out."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Set in ``environ`` by whoever has read the body to its end.
BODY_READ = "swaig_wsgi.body_read"

#: Seconds for which an answered client that still sends its body finds the connection open.
LINGER = 0.1
#: Bytes of a body that are taken at most. One of fewer that has arrived whole keeps the connection.
MAX_DRAIN = 65_536
_PIECE = 4096
_DIGITS = len(str(MAX_DRAIN))


def leaves_body(environ: WSGIEnvironment) -> bool:
    """Tell whether the server would wait for a body that has not been read.

    gunicorn reads what is left of a body before it uses or closes the connection, and waits for
    it: for seconds in a thread, and again in the one that accepts connections. A handful of
    strangers, each refused and each sending no more, would stop a worker. Other servers either
    buffer bodies first or have no thread to lose, and do not hand out their socket.
    """
    if environ.get(BODY_READ) or "gunicorn.socket" not in environ:
        return False
    if not environ.get("SERVER_PROTOCOL", "").startswith("HTTP/1"):
        return False  # in HTTP/2 the socket is shared with other requests
    return environ.get("CONTENT_LENGTH", "") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ


class UnreadBodyResponse:
    """An answer that, once sent, lets go of a client whose body is still to come.

    Whoever has sent the whole body already keeps the connection. Whoever is still sending has
    :data:`LINGER` seconds to find the answer, and the connection ends (RFC 9112 section 9.6); of
    what is sent no more than :data:`MAX_DRAIN` bytes are taken. ``close()`` has to come after the
    answer was sent, as it does from every server; a layer outside that calls it before loses the
    answer.
    """

    def __init__(self, environ: WSGIEnvironment, body: list[bytes]) -> None:
        self._body = body
        self._input: Any = environ["wsgi.input"]
        self._length = environ.get("CONTENT_LENGTH") or "0"
        self._socket: socket.socket = environ["gunicorn.socket"]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        timeout = self._socket.gettimeout()
        try:
            left = self._left_to_take()
            if left is not None:
                self._let_go(left)
            self._socket.settimeout(timeout)
        except OSError:
            pass  # the client is gone, and with it the matter

    def _left_to_take(self) -> int | None:
        """Read what has arrived of the body, without waiting.

        Returns None when that was all of it, else how many bytes more may be taken.
        """
        left = MAX_DRAIN
        if len(self._length) > _DIGITS:
            return left  # never whole; and the server, to read a little, would take in a lot
        self._socket.settimeout(0)
        try:
            while left > 0:
                size = len(self._input.read(_PIECE))
                if size < _PIECE:
                    return None
                left -= size
        except Exception:
            # "Would block", or whatever the server raises for a malformed body. A piece that it had
            # read in part is lost.
            return left - _PIECE
        return 0

    def _let_go(self, left: int) -> None:
        """End the connection so that the server finds nothing more to take for a request.

        The server does not know of what is read here and may believe that the body goes on, or
        has ended: whatever reached it now would be parsed from the wrong place, and who wrote the
        body could have written a request there (request smuggling).
        """
        # gunicorn would else go on to a request that it has read ahead, behind the body's end: that
        # would run, and its answer reach nobody.
        with contextlib.suppress(AttributeError):
            self._input.failed = True
        # The answer is out. A client that sees the end with it puts no other request here.
        self._socket.shutdown(socket.SHUT_WR)
        end = time.monotonic() + LINGER
        with contextlib.suppress(OSError):
            while (seconds := end - time.monotonic()) > 0:
                if left <= 0:
                    time.sleep(seconds)
                    break
                self._socket.settimeout(seconds)
                size = len(self._socket.recv(min(left, _PIECE)))
                if not size:
                    break
                left -= size
        # With both directions shut down nothing is queued any more, but what is queued can be
        # read, also when the client has closed meanwhile: it is bounded by the receive buffer.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)
        self._socket.settimeout(0)
        while self._socket.recv(_PIECE):
            pass
