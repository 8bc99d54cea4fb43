"""What ``serve`` prints when it listens: for each agent a URL, and a command that calls a tool.

A generated password is shown on a terminal only: what is written into a pipe or a file is kept, and
read by others. Configured passwords are never shown.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any, NamedTuple, TextIO
from urllib.parse import quote

from ..config import Settings
from ..core.redaction import MASK
from ._output import paint, printable
from ._samples import sample_value

_LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # nosec B104 # what to show instead


class Facts(NamedTuple):
    """What the banner shows of one agent; as JSON, it goes from one process to another."""

    name: str
    route: str
    user: str
    #: Only if it was generated.
    password: str | None
    #: ``SWML_PROXY_URL_BASE``, or None.
    base: str | None
    #: A tool and sample arguments, as ``call`` takes them; empty without a tool.
    call: list[str]

    def __repr__(self) -> str:
        return f"Facts(name={self.name!r})"


def facts_of(application: Any) -> list[Facts]:
    """Return the facts about the agents that `application` serves, below layers around them.

    The URLs of agents that are mounted in another application are not known.
    """
    from ..agent.app import AgentApp
    from ..agent.server import AgentServer

    # Every middleware keeps the application inside as `app`.
    while not isinstance(application, (AgentApp, AgentServer)) and hasattr(application, "app"):
        application = application.app
    agents = {}
    if isinstance(application, AgentApp):
        agents = {application.route: application}
    elif isinstance(application, AgentServer):
        agents = application.get_agents()
    found = []
    for route, agent in agents.items():
        user, password = agent.get_basic_auth_credentials()
        is_generated = agent._password_made_by is not None
        base = agent.settings.proxy_url_base
        tool = next((each for each in agent.tools if each.call is not None), None)
        found.append(
            Facts(
                agent.name,
                route or "/",
                user,
                password if is_generated else None,
                None if base is None else str(base).rstrip("/"),
                [] if tool is None else [tool.name, *_sample(tool.signature["parameters"])],
            )
        )
    return found


def show_banner(
    agents: Iterable[Facts], settings: Settings, host: str, port: int, stream: TextIO
) -> None:
    """Print the banner of a server that listens on `host` and `port`.

    Nothing is printed into a log that is read as JSON.
    """
    if settings.log_format == "json" and not stream.isatty():
        return
    scheme = "https" if settings.ssl_enabled else "http"
    shown = _LOCAL.get(host, host)
    local = f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}"
    on_socket = host.startswith("unix:")  # only a proxy on this machine reaches it
    if on_socket:
        local = "http://localhost"
    lines = []
    for agent in agents:
        url = f"{agent.base or local}{agent.route}"
        visible = agent.password if stream.isatty() else None
        password = MASK if visible is None else quote(visible, safe="")
        origin, separator, rest = url.partition("://")
        full = f"{origin}{separator}{quote(agent.user, safe='')}:{password}@{rest}"
        lines += ["", paint(agent.name, "bold", stream)]
        lines.append(f"  URL for the platform  {paint(full, 'cyan', stream)}")
        if agent.base is None:
            lines.append(
                "                        (behind a tunnel or proxy, set SWML_PROXY_URL_BASE)"
            )
        if agent.password is not None:
            hint = "shown on a terminal only; " if visible is None else ""
            names = "SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD"
            lines.append(f"  password              generated; {hint}set {names} to choose it")
        if agent.call and not on_socket:
            command = f"swaig-wsgi call {local}{agent.route} {shlex.join(agent.call)}"
            if visible is not None:
                # In the environment, other users of the machine do not see it.
                user, secret = shlex.quote(agent.user), shlex.quote(visible)
                pair = f"SWML_BASIC_AUTH_USER={user} SWML_BASIC_AUTH_PASSWORD={secret}"
                command = f"{pair} {command}"
            lines.append(f"  call a tool           {command}")
    if lines:
        # Sent at once, so that the log of a worker does not come in between.
        stream.write("\n".join([_safe(line, stream) for line in lines] + ["", ""]))
        stream.flush()


def _safe(line: str, stream: TextIO) -> str:
    # The colors are our own; everything else may come from the application.
    return "\x1b".join(printable(each, stream) for each in line.split("\x1b"))


def _sample(schema: dict[str, Any]) -> list[str]:
    """Return ``--arg`` options for the required parameters."""
    options = []
    for name in schema["required"]:
        part = schema["properties"].get(name, {})
        value = sample_value(part)
        is_file = isinstance(value, str) and value.startswith("@")
        if isinstance(value, str) and not is_file:
            options += ["--arg", f"{name}={value}"]
        else:
            # Where the schema allows several types, ":=" tells which one this is.
            equals = "=" if isinstance(part.get("type"), str) and not is_file else ":="
            options += ["--arg", f"{name}{equals}{json.dumps(value)}"]
    return options
