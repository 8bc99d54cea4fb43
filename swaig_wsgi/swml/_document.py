"""The SWML document of an agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from ..core.urls import tool_url
from ..swaig import Tool
from ._ai import AISettings
from ._call_flow import CallFlow
from ._prompt import Prompt


@dataclass(frozen=True, repr=False)
class Endpoints:
    """The URLs that the platform calls: absolute, with the agent's credentials."""

    swaig: str
    post_prompt: str
    debug_events: str
    #: URLs of other services that replace the first two, without a token.
    swaig_elsewhere: str | None = None
    post_prompt_elsewhere: str | None = None

    @property
    def default(self) -> str:
        """The URL of tools that are not secure."""
        return self.swaig_elsewhere or self.swaig


def render_document(
    prompt: Prompt,
    ai: AISettings,
    call_flow: CallFlow,
    tools: Iterable[Tool],
    endpoints: Endpoints,
    token_for: Callable[[str], str],
) -> dict[str, Any]:
    """Return the document of one call, which shares nothing with the agent.

    Args:
        token_for: returns a token for a function name, bound to this call.

    Raises:
        ValueError: the contexts are incomplete, or refer to unknown names.
    """
    url_before_token = _before_token(endpoints.swaig)
    functions = [_function(tool, url_before_token, token_for) for tool in tools]
    callable_names = chain((each["function"] for each in functions), ai.function_names())
    verb: dict[str, Any] = {"prompt": prompt.render(callable_names)}
    post_prompt = prompt.render_post_prompt()
    if post_prompt is not None:
        verb["post_prompt"] = post_prompt
        verb["post_prompt_url"] = endpoints.post_prompt_elsewhere or tool_url(
            endpoints.post_prompt, token_for("post_prompt")
        )
    swaig = ai.render_swaig()
    if functions:
        swaig["defaults"] = {"web_hook_url": endpoints.default}
        swaig["functions"] = functions
    if swaig:
        verb["SWAIG"] = swaig
    # Documents of signalwire-sdk always have this member.
    verb["params"] = {}
    verb.update(ai.render(endpoints.debug_events))
    return {"version": "1.0.0", "sections": {"main": call_flow.render(verb)}}


def ai_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return the members of the ``ai`` verb of a document.

    Raises:
        LookupError: it has none.
    """
    for section in document.get("sections", {}).values():
        for verb in section:
            if isinstance(verb, dict) and isinstance(verb.get("ai"), dict):
                ai: dict[str, Any] = verb["ai"]
                return ai
    raise LookupError("the document has no ai verb")


def merge_changes(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of `document` with `changes` in its ``ai`` verb.

    An object is merged with an existing object, member by member; any other value replaces the
    existing one. `document` is not modified.
    """
    main = []
    for verb in document["sections"]["main"]:
        if "ai" in verb:
            ai = dict(verb["ai"])
            for name, value in changes.items():
                existing = ai.get(name)
                if isinstance(existing, dict) and isinstance(value, dict):
                    value = {**existing, **value}
                ai[name] = value
            verb = {"ai": ai}
        main.append(verb)
    return {**document, "sections": {**document["sections"], "main": main}}


def check_functions(
    document: dict[str, Any], endpoints: Endpoints, runs_here: Callable[[str], bool]
) -> None:
    """Check that each function for which `document` has the agent call itself can be called.

    Args:
        runs_here: returns whether the agent has a handler for this name.

    Raises:
        ValueError: the agent has no such tool, so the platform would get a 404 for it.
    """
    own = endpoints.swaig.partition("?")[0]
    for verb in document["sections"]["main"]:
        swaig = verb["ai"].get("SWAIG") if isinstance(verb.get("ai"), dict) else None
        if not isinstance(swaig, dict):
            continue
        default = (swaig.get("defaults") or {}).get("web_hook_url") or own
        default_is_here = str(default).partition("?")[0] == own
        for function in swaig.get("functions") or ():
            name = function.get("function")
            # First what is true of nearly all, and takes the least time.
            if (isinstance(name, str) and runs_here(name)) or function.get("data_map") is not None:
                continue
            # An empty member names nothing else that the platform could call.
            url = function.get("web_hook_url")
            called_here = str(url).partition("?")[0] == own if url else default_is_here
            if called_here:
                problem = f"the document has the tool {name!r}"
                remedy = "define it on the agent itself, or give it a webhook_url or a data_map"
                raise ValueError(f"{problem}, but the agent has no handler for it: {remedy}")


def signature(tool: Tool, endpoints: Endpoints) -> dict[str, Any]:
    """Return a tool's entry in a response to a request for signatures; it has no token."""
    return {"web_hook_url": endpoints.default, **tool.signature}


def _before_token(url: str) -> str:
    """Return the URL of an agent's own endpoint up to its token, as of :func:`.tool_url`."""
    return f"{url}{'&' if '?' in url else '?'}__token="


def _function(tool: Tool, url_before_token: str, token_for: Callable[[str], str]) -> dict[str, Any]:
    if not tool.secure:
        return tool.definition
    return {**tool.definition, "web_hook_url": url_before_token + token_for(tool.name)}
