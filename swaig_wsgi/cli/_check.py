"""``swaig-wsgi check``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from ..checks import (
    CATALOG,
    POINTS,
    Finding,
    ProbeError,
    check_environ,
    check_url,
)
from ..checks._agents import Parts
from ..checks._application import check_parts
from ..checks._findings import SEVERITIES, finding
from ..checks._settings import judge_environ
from ..checks._sources import environ_credentials
from ..config import ConfigurationError, known_variables
from ._errors import CommandError
from ._loading import import_application, import_failure
from ._output import paint

#: Of the objects that ``--json`` prints.
SCHEMA_VERSION = 1

_STYLES = {"error": "red", "warning": "yellow", "info": "dim"}


def check(
    application: str | None = None,
    url: str | None = None,
    as_json: bool = False,
    strict: bool = False,
    ignore: Sequence[str] = (),
) -> int:
    """Print the findings on the environment, on ``MODULE:APP`` and on the service at a URL.

    Return 1 if there is an error, or if `strict` a warning, else 0. Findings whose id is in
    `ignore` do not count and are not printed.
    """
    for each in ignore:
        if each not in CATALOG:
            raise CommandError(f"--ignore: expected the id of a finding, such as W023, not {each}")
    found: list[Finding] = []
    agents: list[Any] = []
    app = None if application is None else _load(application)
    if app is not None:
        module = str(application).partition(":")[0]
        parts = Parts.of(app, module)
        found, agents = check_parts(parts, *judge_environ(os.environ), os.environ), parts.agents
    elif application is not None or url is None or _is_deployment():
        found = check_environ()
    if application is None:
        text = "Tools were not checked: name the application to see which are secure."
        found.append(finding("I004", text))
    if url is None:
        found.append(finding("I005", "Health was not checked: name the URL of the service."))
    else:
        try:
            found += check_url(url, credentials=environ_credentials(os.environ), agents=agents)
        except ProbeError as error:
            raise CommandError(error) from None
    kept = [each for each in found if each.id not in ignore]
    ignored, found = len(found) - len(kept), kept
    found.sort(key=lambda each: SEVERITIES.index(each.severity))
    weighty = ("error", "warning") if strict else ("error",)
    status = int(any(each.severity in weighty for each in found))
    print(_as_json(found, status, agents) if as_json else _as_text(found, ignored))
    return status


def _is_deployment() -> bool:
    """Return whether the environment is that of a service, and not only of a probe."""
    names = known_variables() - {"PORT"}
    return any(name in names and not name.startswith("SWML_BASIC_AUTH_") for name in os.environ)


def _load(application: str) -> Any:
    """Return the application, or None if it does not start because settings are invalid."""
    try:
        return import_application(application)
    except ConfigurationError as error:
        if any(each.id == "swaig.E001" for each in check_environ()):
            return None
        raise import_failure(application, error) from None


def _points(found: list[Finding]) -> list[list[str]]:
    """Return the ids of the findings for each item of the guide's checklist."""
    return [
        sorted({each.id for each in found if each.point == number})
        for number in range(1, len(POINTS) + 1)
    ]


def _as_text(found: list[Finding], ignored: int) -> str:
    lines = []
    for each in found:
        severity = paint(f"{each.severity:<7}", _STYLES[each.severity], sys.stdout)
        lines += [f"{severity}  {each.id}  {each.message}"]
        lines += [f"         {each.line}", f"         {each.link}", ""]
    for number, (title, ids) in enumerate(zip(POINTS, _points(found)), 1):
        lines.append(f"{number:>2}. {title}: {', '.join(ids) or 'no finding'}")
    counts = []
    for severity in SEVERITIES[:2]:
        count = sum(each.severity == severity for each in found)
        counts.append(f"{count} {severity}{'' if count == 1 else 's'}")
    if ignored:
        counts.append(f"{ignored} ignored")
    return "\n".join([*lines, "", ", ".join(counts)])


def _as_json(found: list[Finding], status: int, agents: list[Any]) -> str:
    points = [
        {"point": number, "title": title, "findings": ids}
        for number, (title, ids) in enumerate(zip(POINTS, _points(found)), 1)
    ]
    document = {
        "version": SCHEMA_VERSION,
        "status": status,
        "findings": [each.to_dict() for each in found],
        "checklist": points,
        "agents": [{"name": agent.name, "route": agent.route or "/"} for agent in agents],
    }
    return json.dumps(document, indent=2)
