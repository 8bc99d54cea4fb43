"""The findings on an application: on what it configures in code, and on its agents."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from ..config import Settings
from ._agents import (
    Parts,
    agent_findings,
    code_findings,
    document_findings,
    effective_settings,
    found_findings,
    uses_store,
)
from ._findings import Finding, finding
from ._in_code import (
    AGENT,
    HARDEN,
    SERVER,
    with_line_for_cors,
    with_lines_for_basic_auth,
    with_lines_for_code,
)
from ._network import default_origin_findings
from ._operation import store_findings, worker_findings
from ._settings import judge, judge_environ, judge_layers, sort_findings


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
    environ = os.environ if environ is None else environ
    return check_parts(Parts.of(application, module), *judge_environ(environ), environ)


def check_parts(
    parts: Parts, settings: Settings, found: list[Finding], environ: Mapping[str, str]
) -> list[Finding]:
    """Return the findings on a service: on its settings, and on what its application has in code.

    Args:
        parts: what was found in the application.
        settings: those that the application has unless it has others in code.
        found: the findings on them.
    """
    replaced = _replaced(parts, settings)
    kept = [each for each in found if each.id not in replaced]
    if not parts.agents:
        kept = list(map(with_line_for_cors, kept))
    layers = list(_judge_hardened(parts, settings))
    added = chain(
        layers,
        _judge_sizes(parts),
        code_findings(parts),
        _judge_agents(parts.agents, settings, layers),
        _judge_stores(parts.agents, settings),
        _judge_workers(kept, parts.agents, settings, environ),
        found_findings(parts.agents),
        agent_findings(parts.agents),
        document_findings(parts.agents, environ),
    )
    own = parts.agents[0].settings if parts.agents else settings
    return sort_findings(dict.fromkeys([*kept, *added]), own)


def _replaced(parts: Parts, settings: Settings) -> set[str]:
    """Return the ids of findings on `settings` that say nothing about the application.

    It has its own settings for the same, which are judged instead, or credentials in code.
    """
    found: list[Finding] = []
    if parts.agents:
        found += judge(settings)
    else:
        found += default_origin_findings(settings)
        if parts.hardened:
            found += judge_layers(settings)
    ids = {each.id for each in found}
    if parts.authenticated:
        ids.add("swaig.W001")
    if parts.signed:
        ids.add("swaig.W023")
    return ids


def _judge_hardened(parts: Parts, settings: Settings) -> Iterator[Finding]:
    for each in parts.hardened:
        found = judge_layers(each)
        if not parts.limits_platform(each.rate_limit):
            found = (one for one in found if one.id != "swaig.W015")
        yield from with_lines_for_code(found, each, settings, HARDEN)
    for each in parts.servers:
        # The platform calls the agents, whose requests their own layers count.
        found = (one for one in judge_layers(each) if one.id != "swaig.W015")
        yield from with_lines_for_code(found, each, settings, SERVER)


def _judge_sizes(parts: Parts) -> Iterator[Finding]:
    """Yield a finding if no layer limits bodies; an agent always does."""
    if parts.hardened and not (parts.sizes or parts.agents):
        text = "No layer limits the size of request bodies: only the site itself may do so."
        yield finding("I008", text)


def _judge_agents(
    agents: list[Any], settings: Settings, layers: list[Finding]
) -> Iterator[Finding]:
    """Yield the findings on the settings of agents, each once, with the agents' names.

    Args:
        layers: findings on the layers around them, which are not repeated.
    """
    names: dict[Finding, list[str]] = {}
    for agent in agents:
        own, excluded = effective_settings(agent)
        found = judge(own)
        if own != agent.settings:
            found = map(with_lines_for_basic_auth, found)
        for each in with_lines_for_code(found, own, settings, AGENT):
            if each.id not in excluded and each not in layers:
                names.setdefault(each, []).append(repr(agent.name))
    for each, having in names.items():
        if len(having) == len(agents):
            yield each
        else:
            yield replace(each, message=f"Agent {', '.join(having)}: {each.message}")


def _judge_stores(agents: list[Any], settings: Settings) -> Iterator[Finding]:
    """Yield the findings on the stores of agents other than that of `settings`."""
    others = {agent.settings.storage_url: agent.settings for agent in agents}
    others.pop(settings.storage_url, None)
    for each in others.values():
        yield from with_lines_for_code(store_findings(each), each, settings, AGENT)


def _judge_workers(
    found: list[Finding], agents: list[Any], settings: Settings, environ: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield the finding on several workers, unless it is in `found`."""
    if agents and not any(each.id == "swaig.W031" for each in found):
        own = agents[0].settings
        unshared = worker_findings(own, environ, uses_store=uses_store(agents))
        yield from with_lines_for_code(unshared, own, settings, AGENT)
