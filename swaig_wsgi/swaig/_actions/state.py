"""Actions on what the AI knows, may do, and is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._values import flag, json_object, text, texts
from .checks import Action, is_variable, line, members, number, objects, string, whole

#: Settings of the model with a range: the least and the greatest value.
_RANGES = {
    "frequency-penalty": (-2.0, 2.0),
    "presence-penalty": (-2.0, 2.0),
    "top-p": (0.0, 1.0),
    "confidence": (0.0, 1.0),
    "barge-confidence": (0.0, 1.0),
    "temperature": (0.0, 2.0),
}
_MAX_TOKENS = 4096


def update_global_data(data: Mapping[str, Any]) -> Action:
    """Add to the data that prompts and functions of this call share.

    Raises:
        ValueError: `data` is no dictionary, or cannot be said in JSON.
    """
    return {"set_global_data": json_object(data, "data")}


def remove_global_data(keys: str | Sequence[str]) -> Action:
    """Remove one key or several from the shared data.

    Raises:
        ValueError: `keys` is neither a non-empty string nor a list of them.
    """
    return {"unset_global_data": _keys(keys)}


def set_semantic_state(state: Mapping[str, Any]) -> Action:
    """Replace the state that semantic gates judge; it is part of the shared data.

    Raises:
        ValueError: `state` is no dictionary, or cannot be said in JSON.
    """
    return update_global_data({"semantic_state": json_object(state, "state")})


def set_metadata(data: Mapping[str, Any]) -> Action:
    """Add to the data of those functions that have this one's ``meta_data_token``.

    Raises:
        ValueError: `data` is no dictionary, or cannot be said in JSON.
    """
    return {"set_meta_data": json_object(data, "data")}


def remove_metadata(keys: str | Sequence[str]) -> Action:
    """Remove one key or several from the functions' data.

    Raises:
        ValueError: `keys` is neither a non-empty string nor a list of them.
    """
    return {"unset_meta_data": _keys(keys)}


def toggle_functions(function_toggles: Sequence[Mapping[str, Any]]) -> Action:
    """Choose which functions the AI may call.

    Args:
        function_toggles: dictionaries with ``function``, a name or a list of names, and
            ``active``: true, false, or how often it may still be called.

    Raises:
        ValueError: a member is missing or of a wrong type.
    """
    return {"toggle_functions": [_toggle(each) for each in objects(function_toggles, _TOGGLES)]}


def enable_functions_on_timeout(enabled: bool = True) -> Action:
    """Choose whether the AI may call functions when the caller says nothing in time.

    Raises:
        ValueError: `enabled` is no bool.
    """
    return {"functions_on_speaker_timeout": flag(enabled, "enabled")}


def enable_extensive_data(enabled: bool = True) -> Action:
    """Choose whether the model gets this answer whole once, and a shorter one afterwards.

    Raises:
        ValueError: `enabled` is no bool.
    """
    return {"extensive_data": flag(enabled, "enabled")}


def replace_in_history(text: str | bool = True) -> Action:
    """Let the model forget this function call after it has used its answer.

    Args:
        text: what the AI is taken to have said instead; true removes the call without a trace.

    Raises:
        ValueError: it is neither a string nor a bool.
    """
    replacement = text if isinstance(text, str) else flag(text, "text, unless it is a string,")
    return {"replace_in_history": replacement}


def update_settings(settings: Mapping[str, Any]) -> Action:
    """Change the settings of the model.

    Args:
        settings: by name: ``frequency-penalty`` and ``presence-penalty`` (-2 to 2),
            ``max-tokens`` (a whole number up to 4096), ``top-p``, ``confidence`` and
            ``barge-confidence`` (0 to 1), ``temperature`` (0 to 2). Others pass as they are.

    Raises:
        ValueError: a value is out of range, or cannot be said in JSON.
    """
    checked = json_object(settings, "settings")
    for name in checked.keys() & _RANGES.keys():
        checked[name] = number(checked[name], name, *_RANGES[name])
    if "max-tokens" in checked:
        checked["max-tokens"] = whole(checked["max-tokens"], "max-tokens", 0, _MAX_TOKENS)
    return {"settings": checked}


def switch_context(
    system_prompt: str | None = None,
    user_prompt: str | None = None,
    consolidate: bool = False,
    full_reset: bool = False,
) -> Action:
    """Begin a new conversation within the call.

    Args:
        system_prompt: what the AI is told about its task from now on.
        user_prompt: what the caller is taken to have said first.
        consolidate: whether the AI gets a summary of what was said so far.
        full_reset: whether what was said so far is forgotten.

    Raises:
        ValueError: a type is wrong.
    """
    switch: dict[str, Any] = {}
    if system_prompt:
        switch["system_prompt"] = string(system_prompt, "system_prompt")
    if user_prompt:
        switch["user_prompt"] = string(user_prompt, "user_prompt")
    if flag(consolidate, "consolidate"):
        switch["consolidate"] = True
    if flag(full_reset, "full_reset"):
        switch["full_reset"] = True
    only_prompt = switch.keys() == {"system_prompt"}
    return {"context_switch": switch["system_prompt"] if only_prompt else switch}


def swml_change_step(step_name: str) -> Action:
    """Go to a step of the current context, whatever steps are valid after this one.

    Raises:
        ValueError: `step_name` is blank or has control characters.
    """
    return {"change_step": line(step_name, "step_name")}


def swml_change_context(context_name: str) -> Action:
    """Go to the first step of a context, whatever contexts are valid after this one.

    Raises:
        ValueError: `context_name` is blank or has control characters.
    """
    return {"change_context": line(context_name, "context_name")}


_TOGGLES = "function_toggles"


def _keys(keys: str | Sequence[str]) -> str | list[str]:
    return text(keys, "keys") if isinstance(keys, str) else texts(keys, "keys")


def _toggle(toggle: dict[str, Any]) -> dict[str, Any]:
    members(toggle, f"each of {_TOGGLES}", ("function", "active"))
    functions, active = toggle["function"], toggle["active"]
    if isinstance(functions, str):
        line(functions, "function")
    else:
        texts(functions, "function")
    if not isinstance(active, bool) and not is_variable(active):
        whole(active, "active", minimum=-1)
    return toggle
