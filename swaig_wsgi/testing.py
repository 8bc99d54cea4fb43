"""A client for tests of agents, which calls an agent as the platform does.

It fetches the document, then follows the URLs in it, with their tokens and credentials. An agent
that is given as a WSGI application runs in process, in Werkzeug's test client; one that is given by
its URL is called with :mod:`http.client`.
"""

from __future__ import annotations

import base64
import json
import ssl
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from ._in_process import Target, local_target
from ._transports import credentials_in, in_process, over_http, split_url
from .core.signatures import sign_body
from .swaig import json_default
from .swml import ai_of
from .wsgi._types import WSGIApplication

__all__ = ["AgentClient", "ResponseError"]

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
            target = Target(app_or_url, auth, signing_key)
            self._send = over_http(ssl_context, timeout)
        elif callable(app_or_url):
            target, base = local_target(app_or_url, url)
            self._send = in_process(app_or_url, base)
        else:
            # Not the value, which may be credentials.
            raise TypeError("app_or_url must be an application or a URL")
        parts = split_url(target.url)
        self._url = target.url
        self._auth = auth or credentials_in(parts) or target.auth
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
        return _functions(ai_of(self._document(None)[1]))

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
        ai = ai_of(document)
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
        url = ai_of(document).get("post_prompt_url")
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
        parts = split_url(url)
        auth = auth or credentials_in(parts)
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


def _functions(ai: dict[str, Any]) -> list[dict[str, Any]]:
    functions: list[dict[str, Any]] = ai.get("SWAIG", {}).get("functions", [])
    return functions
