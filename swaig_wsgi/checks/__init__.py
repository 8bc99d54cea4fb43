"""The findings of ``swaig-wsgi check``, also for Django and for other programs.

They cover the "Production Checklist" section of the SDK's guide, and what else makes a service
unsafe, judged by the values of its settings. ``docs/checklist.md`` lists all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from ..config import Settings, known_variables
from ..middleware._variables import unknown_variables
from ._agents import (
    Parts,
    agent_findings,
    code_findings,
    document_findings,
    effective_settings,
    find_agents,
    found_findings,
    uses_store,
)
from ._certificates import certificate_findings, file_findings
from ._credentials import credential_findings, secret_findings
from ._findings import CATALOG, POINTS, SEVERITIES, Finding, Kind, finding
from ._in_code import AGENT, HARDEN, with_lines_for_basic_auth, with_lines_for_code
from ._network import (
    client_findings,
    host_findings,
    limit_findings,
    origin_findings,
    own_domain,
    proxy_findings,
    tls_findings,
)
from ._operation import log_findings, state_findings, store_findings, worker_findings
from ._probe import ProbeError, check_url
from ._sources import is_repeated, read_settings

__all__ = [
    "CATALOG",
    "POINTS",
    "Finding",
    "Kind",
    "ProbeError",
    "check_application",
    "check_environ",
    "check_mapping",
    "check_settings",
    "check_url",
    "check_variables",
    "find_agents",
]

_EXAMPLE = "agent.example.com"


def check_environ(environ: Mapping[str, str] | None = None) -> list[Finding]:
    """Return the findings on all settings in `environ`, by default ``os.environ``.

    Invalid settings are findings, too, and the others are judged without them. The store is tried
    with a write, the certificate with a handshake in memory. The worst findings come first.
    """
    environ = os.environ if environ is None else environ
    settings, found = _check(_known(environ))
    found += worker_findings(settings, environ)
    return _sorted([*found, *check_variables(environ)], settings)


def check_application(
    application: Any, environ: Mapping[str, str] | None = None, *, module: str = ""
) -> list[Finding]:
    """Return the findings on `environ` and on the agents in `application`.

    Agents and ``harden`` are judged by their own settings, and by the credentials, secrets and keys
    that they have in code.

    Args:
        application: a WSGI application, such as an agent, a server of agents, a Flask application,
            or middleware around one of them.
        environ: by default ``os.environ``.
        module: the name of a module whose global variables may be further agents.
    """
    return check_parts(Parts.of(application, module), environ)


def check_parts(parts: Parts, environ: Mapping[str, str] | None = None) -> list[Finding]:
    """Return the findings on `environ`, and on what was found in an application."""
    environ = os.environ if environ is None else environ
    agents = parts.agents
    found = check_environ(environ)
    settings = read_settings(_known(environ))[0]
    if parts.hardened:
        judged = {each.id for each in _judge_layers(settings)}
        found = [each for each in found if each.id not in judged]
        for each in parts.hardened:
            found += with_lines_for_code(_judge_layers(each), each, settings, HARDEN)
    if parts.authenticated:
        found = [each for each in found if each.id != "swaig.W001"]
    if parts.signed:
        found = [each for each in found if each.id != "swaig.W023"]
    found += code_findings(parts)
    if agents:
        judged = {each.id for each in _judge(settings)}
        found = [each for each in found if each.id not in judged]
        found += _judge_agents(agents, settings)
        others = {agent.settings.storage_url: agent.settings for agent in agents}
        others.pop(settings.storage_url, None)
        for each in others.values():
            found += with_lines_for_code(store_findings(each), each, settings, AGENT)
        own = agents[0].settings
        if not any(each.id == "swaig.W031" for each in found):
            unshared = worker_findings(own, environ, uses_store=uses_store(agents))
            found += with_lines_for_code(unshared, own, settings, AGENT)
        settings = own
    found += [*found_findings(agents), *agent_findings(agents)]
    found += document_findings(agents, environ)
    return _sorted(dict.fromkeys(found), settings)


def check_mapping(
    mapping: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> list[Finding]:
    """Return the findings on settings as for :meth:`~swaig_wsgi.Settings.from_mapping`.

    Args:
        environ: if given, unknown variables and several workers in it are found, too.
    """
    settings, found = _check(mapping)
    if environ is not None:
        found += [*worker_findings(settings, environ), *check_variables(environ)]
    return _sorted(found, settings)


def check_settings(settings: Settings) -> list[Finding]:
    """Return the findings on the values of `settings`; the certificate is read, if there is one."""
    return _sorted(_judge(settings), settings)


def check_variables(environ: Mapping[str, str]) -> list[Finding]:
    """Return a warning for each variable in `environ` that looks like a setting, but is not."""
    found = unknown_variables(environ).items()
    return [
        finding("W030", text if text.endswith("?") else f"{text}.", f"unset {name}")
        for name, text in found
    ]


def _check(source: Mapping[str, Any]) -> tuple[Settings, list[Finding]]:
    settings, invalid = read_settings(source)
    found = [*_judge(settings), *store_findings(settings), *file_findings(source, settings)]
    return settings, [*invalid, *(each for each in found if not is_repeated(each, invalid))]


def _known(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in known_variables() if environ.get(name)}


def _judge_agents(agents: list[Any], environ: Settings) -> Iterator[Finding]:
    """Yield the findings on the settings of agents, each once, with the agents' names."""
    names: dict[Finding, list[str]] = {}
    for agent in agents:
        settings, excluded = effective_settings(agent)
        found = _judge(settings)
        if settings != agent.settings:
            found = map(with_lines_for_basic_auth, found)
        for each in with_lines_for_code(found, settings, environ, AGENT):
            if each.id not in excluded:
                names.setdefault(each, []).append(repr(agent.name))
    for each, having in names.items():
        if len(having) == len(agents):
            yield each
        else:
            yield replace(each, message=f"Agent {', '.join(having)}: {each.message}")


def _judge_layers(settings: Settings) -> Iterable[Finding]:
    """Return the findings on what ``harden`` configures."""
    return chain(
        origin_findings(settings),
        limit_findings(settings),
        host_findings(settings),
        client_findings(settings),
        proxy_findings(settings),
    )


def _judge(settings: Settings) -> Iterable[Finding]:
    return chain(
        credential_findings(settings),
        tls_findings(settings),
        certificate_findings(settings),
        _judge_layers(settings),
        log_findings(settings),
        secret_findings(settings),
        state_findings(settings),
    )


def _sorted(found: Iterable[Finding], settings: Settings) -> list[Finding]:
    """Return the worst findings first, with the service's own domain in their lines."""
    domain = own_domain(settings) or _EXAMPLE
    ready = [replace(each, line=each.line.replace(_EXAMPLE, domain)) for each in found]
    return sorted(ready, key=lambda each: SEVERITIES.index(each.severity))
