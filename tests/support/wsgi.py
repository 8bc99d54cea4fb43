"""The WSGI client of the tests: an environ, a request, and the response.

Needs only the standard library, for the tests of the parts that can be copied::

    response = request(app, "POST", "/swaig", body={"function": "look"}, HTTP_HOST="a.example")
    assert (response.status, response.json) == (200, {"response": "Seen."})
    assert response.headers["content-type"] == "application/json"
"""

from __future__ import annotations

import io
import json
import sys
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Callable
from urllib.parse import quote, unquote, urlsplit
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

CLIENT = "192.0.2.7"

#: Header fields that a response may carry more than once.
_REPEATABLE = frozenset({"set-cookie", "vary", "www-authenticate"})

#: What stays as it is in a target, which may be quoted already.
_SAFE = "%/:=&?~#+!$,;'@()*[]"

App = Callable[..., Iterable[bytes]]

#: Called with each response; see `support.secrets`.
response_observers: list[Callable[[Response], None]] = []


def basic(user: str, password: str) -> str:
    """Return the value of an ``Authorization`` header with Basic credentials."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def environ(
    method: str = "GET",
    path: str = "/",
    *,
    query: str = "",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: Any = None,
    auth: tuple[str, str] | None = None,
    base_url: str = "",
    **extra: Any,
) -> dict[str, Any]:
    """Return the environ of a request from ``192.0.2.7`` to ``127.0.0.1``.

    `path` is ``PATH_INFO`` as it stands. `headers` are by their HTTP names. `base_url` gives the
    scheme, the ``Host`` header and ``SCRIPT_NAME``. A `body` of bytes
    comes with its ``CONTENT_LENGTH``; an object with a ``read`` method becomes ``wsgi.input``
    and comes without; anything else but None is sent as JSON. `extra` are further keys, with
    ``wsgi_`` for ``wsgi.``, and win over everything else; None removes a key.
    """
    made: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REMOTE_ADDR": CLIENT,
        "wsgi.input": io.BytesIO(),
    }
    if hasattr(body, "read"):
        made["wsgi.input"] = body
    elif body is not None:
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            made["CONTENT_TYPE"] = "application/json"
        made["CONTENT_LENGTH"] = str(len(body))
        made["wsgi.input"] = io.BytesIO(body)
    if base_url:
        base = urlsplit(base_url)
        made["wsgi.url_scheme"], made["HTTP_HOST"] = base.scheme, base.netloc
        made["SCRIPT_NAME"] = _unquote(base.path.rstrip("/"))
    if auth is not None:
        made["HTTP_AUTHORIZATION"] = basic(*auth)
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        key = name.upper().replace("-", "_")
        made[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    for key, value in extra.items():
        made[f"wsgi.{key[5:]}" if key.startswith("wsgi_") else key] = value
    # Before None removes a key, so that no default takes its place.
    setup_testing_defaults(made)
    return {key: value for key, value in made.items() if value is not None}


def _unquote(path: str) -> str:
    """Return a path, quoted or not, in the form of ``PATH_INFO``."""
    return unquote(quote(path, safe=_SAFE), "latin-1")


class Headers(Mapping[str, str]):
    """Header fields in the spelling in which they came, found in any.

    Fields with the same name are joined with ``", "``; see `get_all`.
    """

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        self._fields: dict[str, tuple[str, list[str]]] = {}
        for name, value in fields:
            self._fields.setdefault(name.lower(), (name, []))[1].append(value)

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._fields[name.lower()][1])

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._fields.values())

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return repr(dict(self))

    def get_all(self, name: str) -> list[str]:
        """Return the values of all fields with this name."""
        return list(self._fields.get(name.lower(), ("", []))[1])


@dataclass
class Response:
    """A response as a client receives it."""

    status: int
    reason: str
    #: The header fields in the order in which they came.
    fields: list[tuple[str, str]]
    body: bytes
    #: The ``exc_info`` of the last call of ``start_response``.
    exc_info: Any = None
    headers: Headers = field(init=False)

    def __post_init__(self) -> None:
        self.headers = Headers(self.fields)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def send(app: App, request: dict[str, Any], *, validate: bool = True) -> Response:
    """Call `app` with an environ as a server does, and return its response.

    With `validate`, the standard library's validator of PEP 3333 stands between the two, and no
    header field may be sent twice that is not made for it.
    """
    started: list[tuple[str, list[tuple[str, str]], Any]] = []
    body: list[bytes] = []

    def start_response(
        status: str, fields: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], Any]:
        assert not started or exc_info, "start_response was called twice without exc_info"
        started.append((status, fields, exc_info))
        return body.append

    result = (validator(app) if validate else app)(request, start_response)
    try:
        body.extend(result)
    finally:
        if hasattr(result, "close"):
            result.close()
    status, fields, exc_info = started[-1]
    if validate:
        names = [name.lower() for name, _ in fields if name.lower() not in _REPEATABLE]
        assert len(names) == len(set(names)), f"a field was sent twice: {fields}"
    code, _, reason = status.partition(" ")
    response = Response(int(code), reason, list(fields), b"".join(body), exc_info)
    for observe in response_observers:
        observe(response)
    return response


def request(app: App, *args: Any, validate: bool = True, **options: Any) -> Response:
    """Send `app` the request that `environ` makes of the other arguments."""
    return send(app, environ(*args, **options), validate=validate)


class Client:
    """A client of one application, which sends `defaults` along with each request."""

    def __init__(self, app: App, **defaults: Any) -> None:
        self.app = app
        self.defaults = defaults

    def open(self, method: str, target: str, **options: Any) -> Response:
        """Request a target: a path, quoted or not, and perhaps a query."""
        path, _, query = quote(target, safe=_SAFE).partition("?")
        options = {"RAW_URI": f"{path}?{query}" if query else path, **self.defaults, **options}
        options.setdefault("query", query)
        return request(self.app, method, _unquote(path), **options)

    def get(self, target: str, **options: Any) -> Response:
        return self.open("GET", target, **options)

    def head(self, target: str, **options: Any) -> Response:
        return self.open("HEAD", target, **options)

    def options(self, target: str, **options: Any) -> Response:
        return self.open("OPTIONS", target, **options)

    def post(self, target: str, body: Any = None, **options: Any) -> Response:
        return self.open("POST", target, body=body, **options)


class Recorder:
    """An application that records its requests, and reads the bodies that declare a length."""

    def __init__(
        self,
        body: bytes | None = b"ok",
        headers: Iterable[tuple[str, str]] = (("Content-Type", "text/plain"),),
        status: str = "200 OK",
    ) -> None:
        #: What it responds with; None for the body of the request.
        self.body = body
        self.headers = list(headers)
        self.status = status
        #: A copy of each environ, and each body.
        self.environs: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.environs.append(dict(environ))
        length = int(environ.get("CONTENT_LENGTH") or 0)
        self.bodies.append(environ["wsgi.input"].read(length) if length else b"")
        start_response(self.status, list(self.headers))
        if environ["REQUEST_METHOD"] == "HEAD":
            return []
        return [self.bodies[-1] if self.body is None else self.body]


class ClosingBody:
    """A response body that records whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"late"])

    def close(self) -> None:
        self.closed = True


def pass_through(
    wrap: Callable[[App], App],
    environ: dict[str, Any],
    headers: Iterable[tuple[str, str]] = (),
) -> list[list[tuple[str, str]]]:
    """Assert that `wrap` passes on the iterable, ``close``, ``exc_info`` and ``write`` untouched.

    The application starts two responses with `headers`, the second one for an exception. Return
    the headers with which each reached the server.
    """
    body, own = ClosingBody(), list(headers)
    started: list[tuple[str, list[tuple[str, str]], Any]] = []
    written: list[bytes] = []
    raised: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", own)
        try:
            raise KeyError
        except KeyError:
            raised.append(sys.exc_info())
            write = start_response("500 Oops", own, raised[0])
        write(b"early")
        return body

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], Any]:
        started.append((status, list(headers), exc_info))
        return written.append

    assert wrap(app)(environ, start_response) is body
    assert not body.closed
    assert written == [b"early"]
    assert own == list(headers), "the application's list was changed"
    assert [(status, info) for status, _, info in started] == [
        ("200 OK", None),
        ("500 Oops", raised[0]),
    ]
    return [sent for _, sent, _ in started]


def check_delegates(wrap: Callable[[App], App], environ: dict[str, Any]) -> None:
    """Assert that `wrap` leaves the request to the application, with the very same objects."""
    body, seen = ClosingBody(), []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append((environ, start_response))
        return body

    def start_response(*args: Any) -> Any:
        raise AssertionError("the application has not called it")

    assert wrap(app)(environ, start_response) is body
    assert not body.closed
    ((inner_environ, inner_start_response),) = seen
    assert inner_environ is environ
    assert inner_start_response is start_response
