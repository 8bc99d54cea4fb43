"""The findings on settings: those of the environment, a mapping or an object."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from ..config import Settings, known_variables
from ..middleware._variables import unknown_variables
from ._certificates import certificate_findings, file_findings
from ._credentials import credential_findings, secret_findings
from ._findings import SEVERITIES, Finding, finding
from ._network import (
    client_findings,
    default_origin_findings,
    host_findings,
    limit_findings,
    origin_findings,
    own_domain,
    proxy_findings,
    tls_findings,
)
from ._operation import log_findings, state_findings, store_findings, worker_findings
from ._sources import is_repeated, read_settings

_EXAMPLE = "agent.example.com"


def check_environ(environ: Mapping[str, str] | None = None) -> list[Finding]:
    """Return the findings on all settings in `environ`, by default ``os.environ``.

    Invalid settings are findings, too, and the others are judged without them. The store is tried
    with a write, the certificate with a handshake in memory. The worst findings come first.
    """
    settings, found = judge_environ(os.environ if environ is None else environ)
    return sort_findings(found, settings)


def check_mapping(
    mapping: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> list[Finding]:
    """Return the findings on settings as for :meth:`~swaig_wsgi.Settings.from_mapping`.

    Args:
        environ: if given, unknown variables and several workers in it are found, too.
    """
    settings, found = judge_mapping(mapping, environ)
    return sort_findings(found, settings)


def check_settings(settings: Settings) -> list[Finding]:
    """Return the findings on the values of `settings`; the certificate is read, if there is one."""
    return sort_findings(judge(settings), settings)


def check_variables(environ: Mapping[str, str]) -> list[Finding]:
    """Return a warning for each variable in `environ` that looks like a setting, but is not."""
    found = unknown_variables(environ).items()
    return [
        finding("W030", text if text.endswith("?") else f"{text}.", f"unset {name}")
        for name, text in found
    ]


def judge_environ(environ: Mapping[str, str]) -> tuple[Settings, list[Finding]]:
    """Return the valid settings in `environ`, and the findings on all of them."""
    return judge_mapping(
        {name: environ[name] for name in known_variables() if environ.get(name)}, environ
    )


def judge_mapping(
    mapping: Mapping[str, Any], environ: Mapping[str, str] | None
) -> tuple[Settings, list[Finding]]:
    """Return the valid settings in `mapping`, and the findings on all of them and on `environ`."""
    settings, invalid = read_settings(mapping)
    found = [*judge(settings), *store_findings(settings), *file_findings(mapping, settings)]
    found = [*invalid, *(each for each in found if not is_repeated(each, invalid))]
    if environ is not None:
        found += [*worker_findings(settings, environ), *check_variables(environ)]
    return settings, found


def judge(settings: Settings) -> Iterable[Finding]:
    """Return the findings on the values of `settings`, as those of an agent."""
    return chain(
        default_origin_findings(settings),
        credential_findings(settings),
        tls_findings(settings),
        certificate_findings(settings),
        judge_layers(settings),
        log_findings(settings),
        secret_findings(settings),
        state_findings(settings),
    )


def judge_layers(settings: Settings) -> Iterable[Finding]:
    """Return the findings on what ``harden`` configures."""
    return chain(
        origin_findings(settings),
        limit_findings(settings),
        host_findings(settings),
        client_findings(settings),
        proxy_findings(settings),
    )


def sort_findings(found: Iterable[Finding], settings: Settings) -> list[Finding]:
    """Return the worst findings first, with the service's own domain in their lines."""
    domain = own_domain(settings) or _EXAMPLE
    ready = [replace(each, line=each.line.replace(_EXAMPLE, domain)) for each in found]
    return sorted(ready, key=lambda each: SEVERITIES.index(each.severity))
