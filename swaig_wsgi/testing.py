"""A client for tests of agents, which calls an agent as the platform does.

It fetches the document, then follows the URLs in it, with their tokens and credentials. An agent
that is given as a WSGI application runs in process, in Werkzeug's test client; one that is given by
its URL is called with :mod:`http.client`.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

from .core.signatures import sign_body
from .swaig import json_default
from .wsgi._types import WSGIApplication

__all__ = ["AgentClient", "ResponseError"]

#: Sends (method, URL without credentials, headers, body); returns (status, headers, body).
_Send = Callable[[str, str, "dict[str, str]", bytes], "tuple[int, dict[str, str], bytes]"]

#: What a path may contain, and the percent sign of what is quoted already.
_SAFE = "/%:@!$&'()*+,;=~"

_CALL = {
    "call_state": "created",
    "direction": "inbound",
    "type": "phone",
    "from": "+15555550100",
    "to": "+15555550199",
}


class ResponseError(Exception):
    """A response that is not JSON, or whose status is not 2xx.

    Attributes:
        status: the status, an int.
        headers: a dictionary, with the names in lower case.
        text: the body.
    """

    def __init__(self, status: int, headers: dict[str, str], text: str) -> None:
        super().__init__(f"{status}: {text[:500]}")
        self.status = status
        self.headers = headers
        self.text = text


class AgentClient:
    """A client that calls one agent as the platform does.

    In every method, further keyword arguments are members of the request body, except `headers` and
    `query`: mappings of further header fields and query parameters.

    Args:
        app_or_url: an AgentApp, an AgentServer, any other WSGI application that serves an agent, or
            the URL of an agent's document, with or without credentials.
        auth: user name and password with which the document is fetched; by default those in the
            URL, else those of the AgentApp. The other URLs come with credentials of their own.
        url: for an application, the URL or only the path of the document. By default it is made of
            ``SWML_PROXY_URL_BASE``, else ``http://localhost``, and of the agent's route.
        signing_key: signs each request as the platform does; by default the key of the AgentApp.
        ssl_context: for an https URL; by default one that verifies the certificate.
        timeout: seconds to wait for a response from a URL.

    Raises:
        TypeError, ValueError: an argument is invalid, or `url` is needed to choose an agent.
    """

    def __init__(
        self,
        app_or_url: WSGIApplication | str,
        *,
        auth: tuple[str, str] | None = None,
        url: str | None = None,
        signing_key: str | bytes | None = None,
        ssl_context: ssl.SSLContext | None = None,
        timeout: float = 60,
    ) -> None:
        if isinstance(app_or_url, str):
            if url is not None:
                raise ValueError("url= is for an application; this agent has a URL already")
            target = _Target(app_or_url, auth, signing_key)
            self._send = _over_http(ssl_context, timeout)
        elif callable(app_or_url):
            target, base = _in_process_target(app_or_url, url)
            self._send = _in_process(app_or_url, base)
        else:
            # Not the value, which may be credentials.
            raise TypeError("app_or_url must be an application or a URL")
        parts = _split(target.url)
        self._url = target.url
        self._auth = auth or _credentials(parts) or target.auth
        self._signing_key = signing_key or target.signing_key
        self._documents: dict[str, dict[str, Any]] = {}
        #: The id of the call whose document was fetched last, or None.
        self.call_id: str | None = None

    def fetch_swml(self, call_id: str | None = None, **request: Any) -> dict[str, Any]:
        """Fetch and return the document of a call.

        Args:
            call_id: the id of the call; by default a new one.
            request: members of the body, such as ``call={"from": "+15555550123"}``.

        Raises:
            ResponseError: the agent refused the request.
        """
        call_id = str(uuid.uuid4()) if call_id is None else call_id
        call = {"call_id": call_id, **_CALL, **request.pop("call", {})}
        body = {"call_id": call_id, "call": call, "vars": {}, **request}
        document = self._post(self._url, body, self._auth)
        self._documents[call_id] = document
        self.call_id = call_id
        return document

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The tools in the last document; fetch one first if none has been fetched."""
        return _functions(_ai_of(self._document(None)[1]))

    def call_tool(
        self,
        name: str,
        args: Mapping[str, Any] | None = None,
        *,
        call_id: str | None = None,
        **request: Any,
    ) -> dict[str, Any]:
        """Call a tool as the AI would, and return its result.

        Args:
            name: the name of a tool in the document of the call.
            args: its arguments.
            call_id: the call; by default the one whose document was fetched last. Its document is
                fetched if it was not.
            request: members of the body, such as ``caller_id_num="+15555550123"``.

        Raises:
            LookupError: the document has no such tool, or the platform itself runs it.
            ResponseError: the agent refused the request.
        """
        call_id, document = self._document(call_id)
        ai = _ai_of(document)
        functions = {each["function"]: each for each in _functions(ai)}
        if name not in functions:
            listed = ", ".join(map(repr, functions)) or "no tools"
            raise LookupError(f"the document has no tool {name!r}; it has {listed}")
        function = functions[name]
        url = function.get("web_hook_url") or ai["SWAIG"].get("defaults", {}).get("web_hook_url")
        if "data_map" in function or url is None:
            raise LookupError(f"the tool {name!r} has no URL: the platform itself runs it")
        args = dict(args or {})
        body = {
            "function": name,
            "argument": {
                "parsed": [args],
                "raw": json.dumps(args, default=json_default),
                "substituted": "",
            },
            "argument_desc": function.get("parameters", {}),
            "description": function.get("description", ""),
            "call_id": call_id,
            "caller_id_num": _CALL["from"],
            "content_type": "text/swaig",
            "content_disposition": "SWAIG Function",
            "global_data": ai.get("global_data", {}),
            "meta_data": function.get("meta_data", {}),
            "version": "2.0",
            **request,
        }
        return self._post(url, body)

    def post_prompt(
        self, summary: Any, *, call_id: str | None = None, **request: Any
    ) -> dict[str, Any]:
        """Post the summary of a call, as after its end, and return the response.

        Args:
            summary: text, or any value that the AI would have written as JSON.
            call_id: as for :meth:`call_tool`.
            request: members of the body.

        Raises:
            LookupError: the document asks for no summary; see :meth:`AgentApp.set_post_prompt`.
            ResponseError: the agent refused the request.
        """
        call_id, document = self._document(call_id)
        url = _ai_of(document).get("post_prompt_url")
        if url is None:
            raise LookupError("the document asks for no summary; call set_post_prompt()")
        text = summary if isinstance(summary, str) else json.dumps(summary, default=json_default)
        data: dict[str, Any] = {"raw": text, "substituted": text}
        if not isinstance(summary, str):
            data["parsed"] = [summary]
        body = {
            "action": "post_conversation",
            "call_id": call_id,
            "content_type": "text/swaig",
            "content_disposition": "post_prompt",
            "post_prompt_data": data,
            "version": "2.0",
            **request,
        }
        return self._post(url, body)

    def _document(self, call_id: str | None) -> tuple[str, dict[str, Any]]:
        call_id = call_id or self.call_id or str(uuid.uuid4())
        if call_id not in self._documents:
            self.fetch_swml(call_id)
        return call_id, self._documents[call_id]

    def _post(
        self, url: str, body: dict[str, Any], auth: tuple[str, str] | None = None
    ) -> dict[str, Any]:
        further, query = body.pop("headers", {}), urlencode(body.pop("query", {}))
        parts = _split(url)
        auth = auth or _credentials(parts)
        parts = parts._replace(
            netloc=parts.netloc.rpartition("@")[2],
            path=quote(parts.path, safe=_SAFE) or "/",
            query="&".join(filter(None, (parts.query, query))),
        )
        data = json.dumps(body, default=json_default).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if auth is not None:
            pair = base64.b64encode(":".join(auth).encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        if self._signing_key is not None:
            signature = sign_body(self._signing_key, parts.geturl(), data)
            headers["X-SignalWire-Sha256-Signature"] = signature
        status, received, content = self._send("POST", parts.geturl(), {**headers, **further}, data)
        error = ResponseError(status, received, content.decode("utf-8", "replace"))
        if not 200 <= status < 300:
            raise error
        try:
            value: dict[str, Any] = json.loads(content)
        except ValueError:
            raise error from None
        return value


class _Target(NamedTuple):
    """Where to fetch the document, and what an agent in process knows of its own accord."""

    url: str
    auth: tuple[str, str] | None = None
    signing_key: str | bytes | None = None


def _in_process_target(app: WSGIApplication, url: str | None) -> tuple[_Target, str]:
    """Return where to find the agent in `app`, and the URL of the root of `app`."""
    from .agent.app import AgentApp
    from .agent.server import AgentServer

    agent = app if isinstance(app, AgentApp) else None
    if isinstance(app, AgentServer):
        agents = app.get_agents()
        if url is None and len(agents) != 1:
            raise ValueError(f"url= must choose one of the agents: {', '.join(agents) or 'none'}")
        path = next(iter(agents)) if url is None else urlsplit(url).path
        agent = agents.get(path.rstrip("/") or "/")
    settings = None if agent is None else agent.settings
    base = "http://localhost"
    if settings is not None and settings.proxy_url_base is not None:
        base = settings.proxy_url_base.rstrip("/")
    elif settings is not None and settings.requires_https:
        base = "https://localhost"
    if url is None:
        url = "/" if agent is None else agent.route or "/"
    if url.startswith("/"):
        url = base + url
    elif not _is_below(url, base):
        base = _split(url)._replace(path="", query="", fragment="").geturl()
    base = _split(base)._replace(netloc=_split(base).netloc.rpartition("@")[2]).geturl()
    if agent is None:
        return _Target(url), base
    key = agent._signing_keys[0] if agent._signing_keys else None
    return _Target(url, agent.get_basic_auth_credentials(), key), base


def _in_process(app: WSGIApplication, base: str) -> _Send:
    from werkzeug.test import Client

    client = Client(app, use_cookies=False)
    # A path in the base is one that a proxy strips.
    origin = _split(base)._replace(path="").geturl()

    def send(
        method: str, url: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        if not _is_below(url, base):
            raise LookupError(f"{url.partition('?')[0]} is not below {base}: it runs elsewhere")
        response = client.open(
            url[len(base) :] or "/",
            base_url=origin,
            method=method,
            headers=headers,
            data=body,
            environ_base={"REMOTE_ADDR": "127.0.0.1"},
        )
        try:
            fields = {name.lower(): value for name, value in response.headers.items()}
            return response.status_code, fields, response.get_data()
        finally:
            response.close()

    return send


def _over_http(ssl_context: ssl.SSLContext | None, timeout: float) -> _Send:
    def send(
        method: str, url: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        parts = _split(url)
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl_context or ssl.create_default_context()
            connection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=timeout, context=context
            )
        else:
            connection = http.client.HTTPConnection(
                parts.hostname or "", parts.port, timeout=timeout
            )
        target = parts._replace(scheme="", netloc="", fragment="").geturl()
        # The host as in the URL, because signatures cover it; http.client leaves out default ports.
        try:
            connection.request(method, target, body, {"Host": parts.netloc, **headers})
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return response.status, fields, response.read()
        finally:
            connection.close()

    return send


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = parts._replace(query="").geturl().rpartition("@")[2]
        raise ValueError(f"an agent's URL must be absolute, with http or https: {shown!r}")
    return parts


def _credentials(parts: SplitResult) -> tuple[str, str] | None:
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def _is_below(url: str, base: str) -> bool:
    rest = url[len(base) :]
    return url.startswith(base) and rest[:1] in ("", "/", "?")


def _ai_of(document: dict[str, Any]) -> dict[str, Any]:
    for section in document.get("sections", {}).values():
        for verb in section:
            if isinstance(verb, dict) and isinstance(verb.get("ai"), dict):
                ai: dict[str, Any] = verb["ai"]
                return ai
    raise LookupError("the document has no ai verb")


def _functions(ai: dict[str, Any]) -> list[dict[str, Any]]:
    functions: list[dict[str, Any]] = ai.get("SWAIG", {}).get("functions", [])
    return functions
