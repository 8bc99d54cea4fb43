"""A threaded worker whose threads never wait for a client that has not sent a request.

gunicorn's own threaded worker reads TLS handshakes and request heads in its threads. A client that
sends them a byte at a time occupies a thread, and a few dozen of them stop the service. This worker
reads them in the poller, on the main thread, without blocking:

* A new connection *waits* for its handshake and its first head; a connection that is kept alive
  waits again from the first byte of its next request. It may wait for `HEAD_TIMEOUT` seconds
  altogether, however its bytes are spread over time.
* A head that seems complete is handed to a thread. There gunicorn's parser reads from what has
  arrived. If it needs more, it is interrupted, and the connection waits again until its deadline.
* A thread serves the request. It may wait for the body for `BODY_TIMEOUT` seconds altogether, and
  longer only while the client sends at least `BODY_RATE` bytes a second.
* A connection that ends *lingers* in the poller, so that its client can read the response
  (RFC 9112, section 9.6). gunicorn blocks its main thread meanwhile.

Connections that wait are bounded for each client address, for the worker and in memory. The oldest
(or the one with the largest head) is closed first: an honest client's request is complete within a
fraction of a second, and is not affected.

HTTP/2 and the uwsgi protocol, which are off by default, are read as gunicorn reads them, HTTP/2
after the handshake.
"""

from __future__ import annotations

import contextlib
import errno
import io
import select
import selectors
import socket
import ssl
import time
from functools import partial
from typing import Any

from gunicorn import http, sock, util  # type: ignore[import-untyped, unused-ignore]
from gunicorn.http.errors import (  # type: ignore[import-untyped, unused-ignore]
    LimitRequestHeaders,
    NoMoreData,
    ParseException,
)
from gunicorn.http.parser import RequestParser  # type: ignore[import-untyped, unused-ignore]
from gunicorn.http.unreader import SocketUnreader  # type: ignore[import-untyped, unused-ignore]
from gunicorn.http2 import negotiation  # type: ignore[import-untyped, unused-ignore]
from gunicorn.workers import gthread  # type: ignore[import-untyped, unused-ignore]

from ..config import Settings
from ..core.proxies import TrustedProxies, trusted_proxies
from ..core.rate_limit import client_key
from ..processes import is_draining
from ..wsgi import SERVER_LINGERS
from . import _drain

__all__ = ["Worker"]

#: Seconds for a TLS handshake and a request head together.
HEAD_TIMEOUT = 10.0
#: Seconds that a thread waits for a body, and bytes that extend them by a second.
BODY_TIMEOUT = 30.0
BODY_RATE = 65_536
#: Seconds that a thread waits for the rest of a body that the application has not read, and bytes
#: of it that are read.
DRAIN_TIMEOUT = 0.01
MAX_DRAINED = 65_536
#: Seconds for which an ended connection lingers, and bytes that are read from it meanwhile.
LINGER = 2.0
MAX_LINGER_BYTES = 65_536
#: Seconds for which a stopping worker waits for heads, also on connections that are kept alive:
#: their clients may be sending the next request. Its response ends the connection.
STOP_TIMEOUT = 2.0
#: Seconds after which a waiting connection may be closed to make room for a new one.
MIN_WAIT = 1.0
#: Bytes of incomplete heads in a worker.
MAX_BUFFERED = 16 * 1024 * 1024
#: gunicorn 27.0.0 closes connections that are kept alive as soon as a worker stops; 27.0.1 waits.
_CLOSES_KEPT = not hasattr(gthread.ThreadWorker, "_cap_keepalive")

_CHUNK = 16_384
# A head of this size is parsed although it seems incomplete, and again whenever it has doubled:
# the parser checks the limits.
_FIRST_ATTEMPT = 4096
_INCOMPLETE = object()


class _IncompleteHead(BaseException):
    """The parser needs more of the head than has arrived."""


class _Unreader(SocketUnreader):  # type: ignore[misc, unused-ignore]
    """What a parser reads from: a head without blocking, a body until its time is over."""

    in_head = False
    in_drain = False
    seconds = BODY_TIMEOUT

    def chunk(self, size_hint: int | None = None) -> bytes:
        if self.in_head:
            raise _IncompleteHead
        if self.in_drain:
            return self._drained(size_hint)
        timeout = self.sock.gettimeout()
        if timeout == 0:
            return super().chunk(size_hint)  # type: ignore[no-any-return, unused-ignore]
        if self.seconds <= 0:
            raise NoMoreData(b"")
        self.sock.settimeout(self.seconds if timeout is None else min(timeout, self.seconds))
        started = time.monotonic()
        try:
            data: bytes = super().chunk(size_hint)
        except TimeoutError:
            if timeout is None:
                raise NoMoreData(b"") from None
            raise
        finally:
            self.seconds -= time.monotonic() - started
            with contextlib.suppress(OSError):
                self.sock.settimeout(timeout)
        self.seconds += len(data) / BODY_RATE
        return data

    def _drained(self, size_hint: int | None) -> bytes:
        # What has arrived is read even when the time is over: the thread may have had to wait for
        # a processor. A timeout of 0 does not block.
        started = time.monotonic()
        self.sock.settimeout(max(self.seconds, 0.0))
        try:
            return super().chunk(size_hint)  # type: ignore[no-any-return, unused-ignore]
        except (BlockingIOError, ssl.SSLWantReadError):
            raise TimeoutError from None
        finally:
            self.seconds -= time.monotonic() - started


class _Parser(RequestParser):  # type: ignore[misc, unused-ignore]
    def __init__(self, cfg: Any, source: Any, client: Any) -> None:
        super().__init__(cfg, source, client)
        self.unreader = _Unreader(source)

    def __next__(self) -> Any:
        unreader, head = self.unreader, self.unreader.buf.getvalue()
        unreader.in_head = True
        try:
            request = super().__next__()
        except _IncompleteHead:
            self.req_count -= 1
            unreader.buf = io.BytesIO(head)
            if len(head) > _max_head(self.cfg):
                raise LimitRequestHeaders("max buffer headers") from None
            raise
        finally:
            unreader.in_head = False
        unreader.seconds = BODY_TIMEOUT
        return request

    next = __next__


def _max_head(cfg: Any) -> int:
    """Return the limit of gunicorn's parser, which checks it only after a read that blocks."""
    fields = cfg.limit_request_fields if 0 < cfg.limit_request_fields <= 32_768 else 32_768
    size = cfg.limit_request_field_size if cfg.limit_request_field_size > 0 else 8190
    return fields * (size + 2) + 4 + (cfg.limit_request_line or 1_048_576)


class _Connection(gthread.TConn):  # type: ignore[misc, unused-ignore]
    """A connection with what has arrived of its next head, which is in ``parser.unreader``."""

    parser: Any
    initialized: bool

    def __init__(self, worker: Worker, client_sock: Any, client: Any, server: Any) -> None:
        super().__init__(worker.cfg, client_sock, client, server)
        self.worker = worker
        self.key = worker.key_of(client)
        self.events = 0  # that the poller watches for
        self.deadline: float | None = None  # of the handshake and the head
        self.served = False
        self.to_linger = MAX_LINGER_BYTES
        self.start_head()

    def start_head(self) -> None:
        """Begin a head with what has been read already."""
        head = self.parser.unreader.buf.getvalue() if self.parser is not None else b""
        self.size = len(head)
        self.tail = head[-3:]
        self.in_line = b"\r\n" not in head
        self.next_attempt = max(_FIRST_ATTEMPT, 2 * self.size)

    def add(self, data: bytes) -> bool:
        """Add to the head, and return whether to parse it: it seems complete, or invalid."""
        buffer = self.parser.unreader.buf
        buffer.seek(0, io.SEEK_END)
        buffer.write(data)
        window = self.tail + data
        line = (self.tail[-1:] or b" ") + data
        self.size += len(data)
        self.tail = window[-3:]
        has_line = self.in_line and b"\r\n" in window
        if has_line:
            self.in_line = False
        bare_newlines = line.count(b"\n") - line.count(b"\r\n") - line.startswith(b"\n")
        grown = self.size >= self.next_attempt
        return has_line or b"\r\n\r\n" in window or bare_newlines > 0 or grown

    def init(self) -> None:
        """Create the parser of a protocol that is not read in the poller. Called in a thread."""
        if self.initialized or not self.cfg.is_ssl:
            super().init()
            return
        self.initialized = True
        self.sock.setblocking(True)
        self.is_http2 = True
        self.parser = http.get_parser(self.cfg, self.sock, self.client, http2_connection=True)
        self.parser.initiate_connection()

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self.worker.linger(self)
        else:
            util.close(self.sock)


class Worker(gthread.ThreadWorker):  # type: ignore[misc, unused-ignore]
    """See the module."""

    wsgi: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Dictionaries, as sets in order of age.
        self._waiting: dict[_Connection, None] = {}
        self._by_client: dict[str, dict[_Connection, None]] = {}
        self._lingering: dict[_Connection, float] = {}
        self._buffered = 0
        self._max_per_client = max(16, self.worker_connections // 8)
        self._next_sweep = 0.0
        self._proxies = TrustedProxies()

    def init_process(self) -> None:
        named = Settings.from_env().trusted
        if named is not None:
            self._proxies = trusted_proxies(named)
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        app = self.wsgi

        def lingering(environ: Any, start_response: Any) -> Any:
            environ[SERVER_LINGERS] = True
            return app(environ, start_response)

        self.wsgi = lingering

    def key_of(self, client: Any) -> str:
        """Return the key under which to count a connection; empty for proxies and Unix sockets."""
        if not isinstance(client, tuple) or self._proxies.trusts_peer(client[0]):
            return ""
        return client_key(client[0])

    # -- accepting

    def accept(self, listener: Any) -> None:
        """Accept a connection. Called when `listener` is readable."""
        if self.cfg.protocol != "http":
            super().accept(listener)
            return
        try:
            client_sock, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self._drop_oldest()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        conn = _Connection(self, client_sock, client, listener.getsockname())
        if self.cfg.is_ssl:
            try:
                conn.sock = sock.ssl_context(self.cfg).wrap_socket(
                    client_sock,
                    server_side=True,
                    suppress_ragged_eofs=self.cfg.suppress_ragged_eofs,
                    do_handshake_on_connect=False,
                )
            except OSError:
                self._forget(conn)  # The client has disconnected.
                return
        elif negotiation.prior_knowledge_allowed(self.cfg, client):
            self.enqueue_req(conn)
            return
        else:
            self._start_http1(conn)
        self._wait(conn)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop accepting. A worker that ends closes its listening sockets at once.

        The kernel resets the connections in the queue when the last process closes the socket.
        If no other process is going to accept them, each worker accepts what is queued first.
        """
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        if _drain.empties_queue():
            for listener in self.sockets:
                for _ in range(self.worker_connections):
                    if not _has_events(listener, select.POLLIN):
                        break
                    self.accept(listener)
        for listener in self.sockets:
            listener.close()
        for conn in self._waiting:
            conn.deadline = min(conn.deadline or 0.0, time.monotonic() + STOP_TIMEOUT)
        if _CLOSES_KEPT:
            for conn in list(self.keepalived_conns):
                self.on_client_socket_readable(conn, conn.sock)

    def _start_http1(self, conn: _Connection) -> None:
        conn.initialized = conn.data_ready = True
        conn.parser = _Parser(self.cfg, conn.sock, conn.client)

    def on_client_socket_readable(self, conn: Any, client: Any) -> None:
        """Begin the next request. Called when a connection that was kept alive is readable."""
        if not isinstance(conn, _Connection):
            super().on_client_socket_readable(conn, client)
            return
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._wait(conn)

    # -- waiting for handshakes and heads

    def _wait(self, conn: _Connection) -> None:
        if self._add_waiting(conn):
            self._advance(conn)

    def _add_waiting(self, conn: _Connection) -> bool:
        """Add a connection to those that wait, unless its time is over."""
        now = time.monotonic()
        latest = now + (HEAD_TIMEOUT if self.alive else STOP_TIMEOUT)
        conn.deadline = latest if conn.deadline is None else min(conn.deadline, latest)
        if conn.deadline <= now:
            self._forget(conn)
            return False
        conn.sock.setblocking(False)
        if conn.key:
            if len(self._by_client.get(conn.key, ())) >= self._max_per_client:
                self._drop(next(iter(self._by_client[conn.key])))
            self._by_client.setdefault(conn.key, {})[conn] = None
        conn.start_head()
        self._waiting[conn] = None
        self._buffered += conn.size
        return True

    def _advance(self, conn: _Connection) -> None:
        """Read what has arrived. Called when the connection is ready for it."""
        try:
            if conn.parser is None:
                conn.sock.do_handshake()
                if sock.is_http2_negotiated(conn.sock):
                    conn.data_ready = True
                    self._dispatch(conn)
                    return
                self._start_http1(conn)
            while data := conn.sock.recv(_CHUNK):
                self._buffered += len(data)
                if conn.add(data):
                    self._dispatch(conn)
                    return
                if self._buffered > MAX_BUFFERED:
                    self._drop(max(self._waiting, key=lambda each: each.size))
                    if conn not in self._waiting:
                        return
        except (BlockingIOError, ssl.SSLWantReadError):
            self._watch(conn, selectors.EVENT_READ, self._advance)
            return
        except ssl.SSLWantWriteError:
            self._watch(conn, selectors.EVENT_WRITE, self._advance)
            return
        except ssl.SSLEOFError as error:
            self.log.debug("TLS connection closed: %s", error)
        except ssl.SSLError as error:
            address = conn.client[0] if isinstance(conn.client, tuple) else ""
            self.log.warning("Invalid request from ip=%s: %s", address, error)
            self._end_wait(conn)
            self.nr_conns -= 1
            self.linger(conn)  # so that the client can read the alert
            return
        except OSError as error:
            self.log.debug("Connection closed: %s", error)
        self._drop(conn)

    def _dispatch(self, conn: _Connection) -> None:
        """Hand a head to a thread, once the client has read enough of the last response.

        Otherwise a client that sends requests and reads nothing would block the thread.
        """
        # Writable: a small response can be sent without blocking.
        if conn.served and not _has_events(conn.sock, select.POLLOUT):
            self._watch(conn, selectors.EVENT_WRITE, self._dispatch)
            return
        self._end_wait(conn)
        self.enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """Parse and serve a request. Called in a thread."""
        try:
            return super().handle(conn)
        except _IncompleteHead:
            return _INCOMPLETE

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Serve a request. Called in a thread; while draining, it is the connection's last."""
        if is_draining():
            req.force_close()
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Return whether the connection can be kept. gunicorn waits 5 seconds for unread bodies.

        The response has announced that it is kept, and the client may be sending its next request.
        """
        if not keepalive:
            return False
        unreader = conn.parser.unreader
        unreader.in_drain, unreader.seconds = True, DRAIN_TIMEOUT
        try:
            return bool(conn.parser.finish_body(max_bytes=MAX_DRAINED))
        except ParseException:
            # A malformed chunk. gunicorn would send 400 after the response, which a proxy would
            # take for the response to its next request.
            return False
        finally:
            unreader.in_drain = False

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Decide what happens to a connection. Called on the main thread after `handle`."""
        if isinstance(conn, _Connection) and not fs.cancelled() and fs.exception() is None:
            if fs.result() is _INCOMPLETE:
                self._wait(conn)
                return
            conn.deadline = None
            conn.served = True
            if fs.result() is True and self._has_next(conn):
                return
            if fs.result() is True and not self.alive and _CLOSES_KEPT:
                # The response kept the connection before the worker was told to stop.
                self._wait(conn)
                return
        super().finish_request(conn, fs)

    def _has_next(self, conn: _Connection) -> bool:
        """Begin the next request if a part of it has been read with the last one."""
        if conn.parser.unreader.buf.getvalue():
            if self._add_waiting(conn):
                self._dispatch(conn)
            return True
        if self.cfg.is_ssl and conn.sock.pending():
            self._wait(conn)
            return True
        return False

    # -- ending connections

    def linger(self, conn: _Connection) -> None:
        """Close a connection once its client has, or after `LINGER` seconds."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            conn.close()
            return
        self.nr_conns += 1  # `finish_request` has just subtracted it.
        self._lingering[conn] = time.monotonic() + LINGER
        self._watch(conn, selectors.EVENT_READ, self._discard)

    def _discard(self, conn: _Connection) -> None:
        try:
            size = len(conn.sock.recv(_CHUNK))
        except BlockingIOError:
            return
        except OSError:
            size = 0
        conn.to_linger -= size
        if not size or conn.to_linger <= 0:
            self._drop(conn)

    def murder_pending(self) -> None:
        """Close connections whose time is over. Called after every event, at least each second."""
        super().murder_pending()
        self._make_room()
        now = time.monotonic()
        if self.alive and now < self._next_sweep:
            return
        self._next_sweep = now + 0.5
        for conn in list(self._waiting):
            if now >= (conn.deadline or 0.0):
                self.log.debug("Closing connection: no request within %s seconds", HEAD_TIMEOUT)
                self._drop(conn)
        for conn, deadline in list(self._lingering.items()):
            if now >= deadline:
                self._drop(conn)

    def _make_room(self) -> None:
        while self.alive and self.nr_conns >= self.worker_connections:
            if not self._drop_oldest(MIN_WAIT):
                return

    def _drop_oldest(self, min_wait: float = 0.0) -> bool:
        """Close the oldest connection that does not serve a request, and return whether any."""
        if self._lingering:
            self._drop(next(iter(self._lingering)))
            return True
        for conn in self._waiting:
            waited = time.monotonic() + HEAD_TIMEOUT - (conn.deadline or 0.0)
            if waited < min_wait:
                break
            self._drop(conn)
            return True
        return False

    # -- bookkeeping

    def _watch(self, conn: _Connection, events: int, callback: Any) -> None:
        data = partial(self._call, conn, callback)
        if conn.events:
            self.poller.modify(conn.sock, events, data)
        else:
            self.poller.register(conn.sock, events, data)
        conn.events = events

    def _call(self, conn: _Connection, callback: Any, _sock: Any) -> None:
        # An event before this one, of the same select(), may have closed the connection.
        if conn.events:
            callback(conn)

    def _end_wait(self, conn: _Connection) -> None:
        if conn.events:
            self.poller.unregister(conn.sock)
            conn.events = 0
        self._lingering.pop(conn, None)
        if conn in self._waiting:
            del self._waiting[conn]
            self._buffered -= conn.size
            if conn.key:
                same = self._by_client[conn.key]
                del same[conn]
                if not same:
                    del self._by_client[conn.key]

    def _drop(self, conn: _Connection) -> None:
        self._end_wait(conn)
        self._forget(conn)

    def _forget(self, conn: _Connection) -> None:
        self.nr_conns -= 1
        conn.close()


def _has_events(polled: Any, events: int) -> bool:
    """Return whether a socket is ready now for some of `events`."""
    poll = select.poll()
    poll.register(polled, events)
    return bool(poll.poll(0))
