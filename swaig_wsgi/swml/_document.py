"""The SWML document of an agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ..swaig._registry import Tool
from ._ai import AISettings
from ._call_flow import CallFlow
from ._prompt import Prompt


@dataclass(frozen=True, repr=False)
class Endpoints:
    """Where the platform calls back; absolute URLs that carry the agent's credentials."""

    swaig: str
    post_prompt: str
    debug_events: str


def render_document(
    prompt: Prompt,
    ai: AISettings,
    call_flow: CallFlow,
    tools: Iterable[Tool],
    endpoints: Endpoints,
    token_for: Callable[[str], str],
) -> dict[str, Any]:
    """Render the document of one call.

    Args:
        token_for: gives a token for a function name, bound to this call.

    Raises:
        ValueError: the contexts do not hang together.

    The document shares parts with the agent: it is to be sent, not to be changed.
    """
    functions = [_function(tool, endpoints.swaig, token_for) for tool in tools]
    callable_names = chain((each["function"] for each in functions), ai.function_names())
    verb: dict[str, Any] = {"prompt": prompt.render(callable_names)}
    post_prompt = prompt.render_post_prompt()
    if post_prompt is not None:
        verb["post_prompt"] = post_prompt
        verb["post_prompt_url"] = with_token(endpoints.post_prompt, token_for("post_prompt"))
    swaig = ai.render_swaig()
    if functions:
        swaig["defaults"] = {"web_hook_url": endpoints.swaig}
        swaig["functions"] = functions
    if swaig:
        verb["SWAIG"] = swaig
    # Always there in documents of the signalwire-sdk package, too.
    verb["params"] = {}
    verb.update(ai.render(endpoints.debug_events))
    return {"version": "1.0.0", "sections": {"main": call_flow.render(verb)}}


def merge_changes(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `document` with `changes` in its ``ai`` verb.

    An object is merged with the object that is there, member by member; anything else replaces
    what is there. Nothing that the document shares with the agent is changed.
    """
    main = []
    for verb in document["sections"]["main"]:
        if "ai" in verb:
            ai = dict(verb["ai"])
            for name, value in changes.items():
                there = ai.get(name)
                if isinstance(there, dict) and isinstance(value, dict):
                    value = {**there, **value}
                ai[name] = value
            verb = {"ai": ai}
        main.append(verb)
    return {**document, "sections": {**document["sections"], "main": main}}


def signature(tool: Tool, endpoints: Endpoints) -> dict[str, Any]:
    """Return a function as a request for signatures is told of it: without any token."""
    return {"web_hook_url": endpoints.swaig, **tool.signature}


def with_token(url: str, token: str) -> str:
    """Return `url`, which has no query yet, with the token; base64url needs no escaping."""
    return f"{url}?__token={token}"


def _function(tool: Tool, swaig_url: str, token_for: Callable[[str], str]) -> dict[str, Any]:
    if not tool.secure:
        return tool.definition
    return {**tool.definition, "web_hook_url": with_token(swaig_url, token_for(tool.name))}
