"""Requests of the probe to a running service, and its TLS.

Every request has a connection of its own and an empty body, no redirect is followed, and nothing is
sent to another host. Credentials are sent over verified TLS only, or to this machine. Each
connection ends after a time and a number of bytes, whatever the service sends, and all of them
together end after a time.
"""

from __future__ import annotations

import http.client
import io
import math
import socket
import ssl
import time
import warnings
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import quote, unquote

from ..core.hosts import Host
from ..core.urls import DEFAULT_PORTS, PATH_SAFE, format_authority, parse_authority, parse_base_url
from ._certificates import expiry_findings
from ._findings import Finding, finding

_MAX_BODY = 2**20
#: Of a response with its header, its interim responses and the framing of its chunks.
_MAX_RESPONSE = 2 * _MAX_BODY

#: Versions of TLS without authenticated encryption (RFC 8996).
_OLD = {"TLS 1.0": "TLSv1", "TLS 1.1": "TLSv1_1"}


class ProbeError(Exception):
    """A service cannot be probed; the message contains no part of the URL but its host."""


class OutOfTime(Exception):
    """The probe has taken all its time; what was not seen by now must not become a finding."""


@dataclass(frozen=True)
class Reply:
    """A response, or its absence: status 0, if the server closed the connection or timed out."""

    status: int = 0
    headers: http.client.HTTPMessage = field(default_factory=http.client.HTTPMessage)
    body: bytes = b""
    timed_out: bool = False
    #: Whether the whole body was received, or as much of it as the probe reads.
    complete: bool = True


@dataclass(frozen=True)
class Target:
    """A service to probe."""

    scheme: str
    host: Host
    #: Of the URL, without a slash at its end.
    path: str
    #: User and password, or None.
    credentials: tuple[str, str] | None = field(repr=False)
    #: In seconds, of each connection, from its start to the end of the response.
    timeout: float
    #: When the probe ends, as ``time.monotonic()``.
    end: float = math.inf
    #: None over plain HTTP.
    context: ssl.SSLContext | None = None

    @property
    def port(self) -> int:
        return self.host.port or DEFAULT_PORTS[self.scheme]

    @property
    def authority(self) -> str:
        return format_authority(self.scheme, self.host)

    @property
    def may_send_credentials(self) -> bool:
        """Whether only the service can read what is sent to it."""
        if self.context is not None:
            return self.context.verify_mode is ssl.CERT_REQUIRED
        return self.host.is_local

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        credentials: tuple[str, str] | None = None,
    ) -> Reply:
        """Return the response to a request without a body, whatever `headers` declare.

        Raises:
            OSError, http.client.HTTPException: no response was received.
            OutOfTime: the probe ends, before or in this request.
        """
        try:
            reply = self._request(method, path, headers, credentials)
        except TimeoutError:
            self._check_time()
            raise
        if reply.timed_out:
            self._check_time()
        return reply

    def _check_time(self) -> None:
        if time.monotonic() >= self.end:
            raise OutOfTime

    @property
    def deadline(self) -> float:
        """When a connection that starts now ends."""
        return min(time.monotonic() + self.timeout, self.end)

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        credentials: tuple[str, str] | None,
    ) -> Reply:
        fields = {"Host": self.authority, "User-Agent": "swaig-wsgi check", "Connection": "close"}
        if method == "POST":
            fields["Content-Length"] = "0"
        if credentials is not None:
            # Arguments of a command that are not UTF-8 have surrogates.
            pair = b64encode(":".join(credentials).encode(errors="surrogateescape")).decode()
            fields["Authorization"] = f"Basic {pair}"
        deadline = self.deadline
        connection = HTTPConnection(self.host.name, self.port)
        connection.sock = _connect(self, self.context, deadline)
        try:
            connection.putrequest(
                method, encode_path(path), skip_host=True, skip_accept_encoding=True
            )
            for each, value in {**fields, **(headers or {})}.items():
                connection.putheader(each, value)
            connection.endheaders()
            received: Any = _Received(connection.sock, deadline)
            response = HTTPResponse(received, method=method)
            response.begin()
            try:
                body = response.read(_MAX_BODY)
            except (OSError, http.client.HTTPException) as error:
                # The status alone shows whether the request was served, as with a stream of events.
                late = isinstance(error, TimeoutError)
                return Reply(response.status, response.headers, timed_out=late, complete=False)
            return Reply(response.status, response.headers, body)
        finally:
            connection.close()

    def try_request(self, method: str, path: str, **options: Any) -> Reply:
        """As :meth:`request`, but return a reply without a status if there is no response."""
        try:
            return self.request(method, path, **options)
        except TimeoutError:
            return Reply(timed_out=True)
        except (OSError, http.client.HTTPException):
            return Reply()


class _Received(io.RawIOBase):
    """What a connection receives, until a deadline and at most so many bytes.

    The timeout of a socket is that of one operation, so each byte would start it anew.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._left = _MAX_RESPONSE

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a file, as `HTTPResponse` wants of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(_remaining(self._deadline))
        count = self._connection.recv_into(buffer)
        self._left -= count
        if self._left < 0:
            raise http.client.HTTPException("the response is too long")
        return count


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _connect(target: Target, context: ssl.SSLContext | None, deadline: float) -> socket.socket:
    """Return a connection, with TLS if there is a `context`."""
    name = target.host.name
    connection = socket.create_connection((name, target.port), _remaining(deadline))
    try:
        connection.settimeout(_remaining(deadline))
        # The handshake as a whole has this timeout.
        return context.wrap_socket(connection, server_hostname=name) if context else connection
    except BaseException:
        connection.close()
        raise


def encode_path(path: str) -> str:
    """Percent-encode what a path must not contain, as browsers do (URL Standard, "path state")."""
    return quote(path, safe=f"{PATH_SAFE}%[]|", errors="replace")


def parse_target(
    url: str,
    credentials: tuple[str, str] | None,
    timeout: float,
    total_timeout: float = math.inf,
) -> Target:
    """Return the service at `url`, whose user and password take precedence over `credentials`.

    Raises:
        ProbeError: it is not an http or https URL.
    """
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    userinfo, at, authority = authority.rpartition("@")
    if at:
        user, _, password = userinfo.partition(":")
        credentials = (unquote(user), unquote(password))
    try:
        if any(each in path for each in "@?#"):
            raise ValueError("no path, but a query, a fragment, or the rest of a password")
        base = parse_base_url(f"{scheme}{separator}{authority}{slash}{encode_path(path)}")
        scheme, _, rest = base.partition("://")
        authority, slash, path = rest.partition("/")
        host = parse_authority(authority)
    except ValueError:
        # The message of the parser may quote what is a password without percent-encoding.
        raise ProbeError("--url: expected a URL such as https://agent.example.com/route") from None
    end = time.monotonic() + total_timeout
    return Target(scheme, host, f"{slash}{path}".rstrip("/"), credentials, timeout, end)


def secured(target: Target) -> tuple[Target, list[Finding]]:
    """Return `target` with a TLS context, and the findings on the service's TLS.

    If clients reject the certificate, the context does not verify it, and no credentials are sent.

    Raises:
        ProbeError: there is no connection.
    """
    if target.scheme == "http":
        text = "The service is reached over plain HTTP: behind a proxy, give the proxy's URL."
        return target, [finding("E104", text)]
    context = ssl.create_default_context()
    found: list[Finding] = []
    try:
        found += expiry_findings(_handshake(target, context), "W104", "The service's certificate")
    except ssl.SSLCertVerificationError as error:
        found.append(finding("E105", f"Clients reject the certificate: {error.verify_message}."))
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    except OSError as error:
        raise ProbeError(f"{target.host.name}: {reason(error)}") from None
    old = [name for name, version in _OLD.items() if _speaks(target, version)]
    if old:
        found.append(finding("W103", f"The server speaks {' and '.join(old)} (RFC 8996)."))
    return Target(**{**vars(target), "context": context}), found


def _handshake(target: Target, context: ssl.SSLContext) -> dict[str, Any]:
    with _connect(target, context, target.deadline) as connection:
        return connection.getpeercert() or {}  # type: ignore[attr-defined]


def _speaks(target: Target, version: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            # OpenSSL itself refuses the signatures of these versions at its default level.
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
            _handshake(target, context)
        except (OSError, ValueError):
            return False  # refused by the server, or not supported by this OpenSSL
    return True


def reason(error: Exception) -> str:
    """Return why there is no connection or response, without text that a server chose."""
    known = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return str(known or type(error).__name__)
