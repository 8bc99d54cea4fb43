"""The agent that a command names: ``MODULE:APP`` or a URL."""

from __future__ import annotations

import http.client
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any
from urllib.parse import unquote, urlsplit

from .._in_process import layers_and_agent, local_base, signing_key_of
from ..checks import find_agents
from ..checks._connection import reason
from ..checks._sources import environ_credentials, read_settings, scrub
from ..config import ConfigurationError
from ..core.redaction import escape_control, redact_url
from ..core.urls import parse_authority, parse_base_url
from ..testing import AgentClient, ResponseError
from ._document import Tool, tools_in
from ._errors import CommandError, needing
from ._loading import import_application
from ._refusals import explanation

#: Scheme, userinfo, authority, path and query. A bare "@", "/" or "?" in a password would make
#: part of it a host name, which is looked up and printed: it has to be percent-encoded.
_URL = re.compile(r"(https?)://(?:([!-~]*)@)?([^/?#@]+)(/[!-~]*?)?(?:\?([!-~]*))?", re.IGNORECASE)

#: A module, a name in it, and literal arguments. Anything else may be a URL without its scheme, but
#: with a password, and is not printed.
_MODULE_APP = re.compile(r"[\w.]+(?::\w*(?:\(.*\))?)?", re.DOTALL)

_EXPECTED = (
    "TARGET: expected MODULE:APP or a URL such as https://agent.example.com/route, in whose user "
    "and password / ? # @ : and everything that is not ASCII are percent-encoded"
)

_SIGNING_KEY = "SIGNALWIRE_SIGNING_KEY"


class Target:
    """An agent, reached as the platform reaches it.

    Args:
        text: ``MODULE:APP`` or a URL.
        route: for ``MODULE:APP``, the path of the document; by default the agent's route.

    Raises:
        CommandError: there is no such application, or the URL is malformed.
    """

    def __init__(self, text: str, route: str | None = None) -> None:
        #: For messages: without credentials.
        self.shown = redact_url(text)
        self._host = ""
        if "://" in text:
            if route is not None:
                raise CommandError("--route is for MODULE:APP: write the path into the URL")
            self._client, self._password = self._at_url(text)
        elif not _MODULE_APP.fullmatch(text) or re.search(r":\d", text.partition("(")[0]):
            raise CommandError(_EXPECTED)
        else:
            self._client, self._password = _in_process(text, route)

    def fetch(self, call_id: str | None, caller: str | None = None) -> dict[str, Any]:
        """Return the document of a call, by default a new one, from the number `caller`.

        Raises:
            CommandError: the agent cannot be reached (2), or does not return a document (1).
        """
        if call_id == "":
            raise CommandError("--call-id: expected the id of a call, not an empty text")
        request = {} if caller is None else {"call": {"from": caller}}
        with self._reporting():
            document: Any = self._client.fetch_swml(call_id, **request)
        if not isinstance(document, dict):
            raise CommandError(f"{self.shown}: the response is not a JSON object", 1)
        return document

    def tools(self, document: dict[str, Any]) -> list[Tool]:
        """Return the tools in a document.

        Raises:
            CommandError: the document has no ``ai`` verb, or is malformed.
        """
        try:
            return tools_in(document)
        except ValueError as error:
            raise CommandError(f"{self.shown}: {error}", 1) from None

    def call(self, tool: Tool, args: dict[str, Any]) -> dict[str, Any]:
        """Call a tool in the call whose document was fetched last, and return its result.

        Raises:
            CommandError: it cannot be reached (2), or refuses the call or fails (1).
        """
        if tool.url is None:
            raise CommandError(f"the platform itself runs {tool.name}: it has no URL to call")
        host = urlsplit(tool.url).netloc.rpartition("@")[2]
        if self._host and host.lower() != self._host.lower():
            where = f"{escape_control(tool.name)} runs on another host: {redact_url(tool.url)}"
            print(where, file=sys.stderr)
        with self._reporting(redact_url(tool.url)):
            result: Any = self._client.call_tool(tool.name, args)
        if not isinstance(result, dict):
            raise CommandError(f"{tool.name}: the response is not a JSON object", 1)
        return result

    def _at_url(self, url: str) -> tuple[AgentClient, str]:
        match = _URL.fullmatch(url)
        try:
            if match is None or set("/?#@") & set(match[2] or "") or "@" in f"{match[4]}{match[5]}":
                raise ValueError
            parse_base_url(f"{match[1]}://{match[3]}{match[4] or ''}")
        except ValueError:
            raise CommandError(_EXPECTED) from None
        scheme, userinfo, self._host = match[1].lower(), match[2], match[3]
        auth: tuple[str, str] | None
        if userinfo is not None:
            user, _, password = userinfo.partition(":")
            auth = unquote(user), unquote(password)
        else:
            auth = environ_credentials(os.environ)
            if auth is not None and scheme == "http" and not parse_authority(self._host).is_local:
                raise CommandError(
                    f"the password in the environment is not sent to {self._host} over plain HTTP:"
                    " use https"
                )
        key = {name: os.environ.get(name, "") for name in (_SIGNING_KEY, f"{_SIGNING_KEY}_FILE")}
        settings, invalid = read_settings({name: value for name, value in key.items() if value})
        if invalid:
            raise CommandError(invalid[0].message)
        query = "" if match[5] is None else f"?{match[5]}"
        address = f"{scheme}://{self._host}{match[4] or '/'}{query}"
        client = AgentClient(address, auth=auth, signing_key=settings.signing_key)
        return client, "" if auth is None else auth[1]

    @contextmanager
    def _reporting(self, url: str | None = None) -> Iterator[None]:
        try:
            # What a handler prints is not part of the result.
            with redirect_stdout(sys.stderr):
                yield
        except ResponseError as error:
            text = scrub(explanation(error), {self._password} - {""})
            if error.status == 404 and not self._host:
                text += "; name its path with --route"
            raise CommandError(f"{self.shown}: {text}", 1) from None
        except RecursionError:
            raise CommandError(f"{self.shown}: the response is nested too deeply", 1) from None
        except (OSError, http.client.HTTPException) as error:
            if not self._host:  # an error of the application in this process
                raise
            text = f"{url or self.shown}: no response: {reason(error)}"
            if url is not None:
                text += "; the document has this URL: see SWML_PROXY_URL_BASE of the service"
            raise CommandError(text) from None
        except LookupError as error:
            if type(error) is not LookupError:
                raise
            raise CommandError(f"{self.shown}: {error}", 1) from None
        except UnicodeError:
            raise CommandError(f"{self.shown}: the host is malformed") from None


def _in_process(text: str, route: str | None) -> tuple[AgentClient, str]:
    if route is not None and not route.startswith("/"):
        raise CommandError(f"--route: expected a path such as /bank, not {route!r}")
    try:
        app = import_application(text)
    except ConfigurationError as error:
        raise CommandError(error) from None
    agents = find_agents(app)
    serves = f"{text} serves"
    if not agents:
        agents, serves = find_agents(app, text.partition(":")[0]), f"the module of {text} has"
    if route is None and len(agents) > 1:
        routes = ", ".join(agent.route or "/" for agent in agents)
        raise CommandError(f"{serves} several agents: choose one by --route, of {routes}")
    if route is None and agents:
        route = agents[0].route or "/"
    chosen = [each for each in agents if len(agents) == 1 or (each.route or "/") == route]
    key = None
    if chosen:
        auth = chosen[0].get_basic_auth_credentials()
        layers = layers_and_agent(app, chosen[0])
        route, key = f"{local_base(layers)}{route}", signing_key_of(layers)
    else:
        auth = environ_credentials(os.environ)
    with needing("werkzeug", message="MODULE:APP needs Werkzeug: pip install 'swaig-wsgi[app]'"):
        client = AgentClient(app, url=route, auth=auth, signing_key=key)
    return client, "" if auth is None else auth[1]
