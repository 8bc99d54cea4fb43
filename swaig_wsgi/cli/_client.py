"""``swaig-wsgi swml``, ``tools`` and ``call``: an agent as the platform sees it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from ..core.redaction import MASK, escape_control, filter_sensitive_headers, redact_url
from ._arguments import parse_arguments
from ._document import Tool
from ._errors import CommandError
from ._output import paint, pretty_json, printable
from ._target import Target

_A_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


def swml(
    target: str,
    call_id: str | None = None,
    caller: str | None = None,
    route: str | None = None,
    show_secrets: bool = False,
    as_json: bool = False,
) -> int:
    """Print the document of a call, with credentials and tokens masked unless `show_secrets`."""
    document = Target(target, route).fetch(call_id, caller)
    _print(document if show_secrets else _masked(document), as_json)
    return 0


def tools(
    target: str,
    call_id: str | None = None,
    caller: str | None = None,
    route: str | None = None,
    as_json: bool = False,
) -> int:
    """Print the tools in the document of a call."""
    agent = Target(target, route)
    found = agent.tools(agent.fetch(call_id, caller))
    if as_json:
        _print([_masked({**each.definition, "secure": each.has_token}) for each in found], True)
        return 0
    for each in found:
        kind, style = ("secure", "green") if each.has_token else ("open", "yellow")
        if each.url is None:
            kind, style = "run by the platform", "dim"
        usage = printable(f"{each.name}({_parameters(each)})", sys.stdout)
        print(f"{paint(usage, 'bold', sys.stdout)}  {paint(kind, style, sys.stdout)}")
        description = str(each.definition.get("description", ""))
        for line in printable(description, sys.stdout).splitlines():
            print(f"    {line}")
    if not found:
        print("the document has no tools", file=sys.stderr)
    return 0


def call(
    target: str,
    tool: str,
    arg: Sequence[str] = (),
    call_id: str | None = None,
    caller: str | None = None,
    route: str | None = None,
    as_json: bool = False,
) -> int:
    """Call a tool as the AI would: fetch the document, and follow the tool's URL in it."""
    agent = Target(target, route)
    found = {each.name: each for each in agent.tools(agent.fetch(call_id, caller))}
    if tool not in found:
        names = escape_control(", ".join(found)) or "no tools"
        raise CommandError(f"the document has no tool {tool!r}; it has {names}")
    args = parse_arguments(arg, found[tool].definition.get("parameters"))
    result = agent.call(found[tool], args)
    if as_json or not isinstance(result.get("response"), str):
        _print(result, as_json)
        return 0
    print(printable(result["response"], sys.stdout))
    actions = result.get("action") or []
    for action in actions if isinstance(actions, list) else [actions]:
        text = printable(json.dumps(action, ensure_ascii=False), sys.stdout)
        print(f"{paint('action', 'cyan', sys.stdout)} {text}")
    return 0


def _print(value: Any, for_programs: bool) -> None:
    # ASCII has no character that controls a terminal, and fits into every encoding.
    print(json.dumps(value, indent=2) if for_programs else pretty_json(value, sys.stdout))


def _masked(value: Any) -> Any:
    """Return a JSON value with the secrets in its URLs and header fields masked."""
    if isinstance(value, dict):
        return {
            name: _masked_fields(each) if name == "headers" else _masked(each)
            for name, each in value.items()
        }
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return (
        _A_URL.sub(lambda match: redact_url(match[0]), value) if isinstance(value, str) else value
    )


def _masked_fields(fields: Any) -> Any:
    if not isinstance(fields, dict):
        return _masked(fields)
    shown = filter_sensitive_headers(fields)
    return {name: _masked(shown[name]) if name in shown else MASK for name in fields}


def _parameters(tool: Tool) -> str:
    """Return the parameters of a tool, those that may be left out in brackets."""
    schema = tool.definition.get("parameters")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    required = schema.get("required") if isinstance(schema, dict) else None
    shown = []
    for name, each in (properties if isinstance(properties, dict) else {}).items():
        kind = each.get("type") if isinstance(each, dict) else None
        text = f"{name}: {kind}" if isinstance(kind, str) else name
        shown.append(text if name in (required or ()) else f"[{text}]")
    return ", ".join(shown)
