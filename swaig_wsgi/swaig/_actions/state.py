"""Actions on the data, functions, settings and prompts of the AI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...core._validation import check_bool, check_str
from .._validation import (
    check_line,
    check_members,
    check_strings,
    check_text,
    drop_empty,
    int_or_variable,
    is_variable,
    json_object,
    json_objects,
    number_or_variable,
)
from . import Action

#: The least and the greatest value of each setting of the model that has a range.
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
    """Add to the data that prompts and functions of this call share."""
    return {"set_global_data": json_object("data", data)}


def remove_global_data(keys: str | Sequence[str]) -> Action:
    """Remove one key or several from the shared data."""
    return {"unset_global_data": _keys(keys)}


def set_semantic_state(state: Mapping[str, Any]) -> Action:
    """Replace the state that semantic gates judge; it is part of the shared data."""
    return update_global_data({"semantic_state": json_object("state", state)})


def set_metadata(data: Mapping[str, Any]) -> Action:
    """Add to the data of the functions that have the same ``meta_data_token`` as this one."""
    return {"set_meta_data": json_object("data", data)}


def remove_metadata(keys: str | Sequence[str]) -> Action:
    """Remove one key or several from the functions' data."""
    return {"unset_meta_data": _keys(keys)}


def toggle_functions(function_toggles: Sequence[Mapping[str, Any]]) -> Action:
    """Choose which functions the AI may call.

    Args:
        function_toggles: dictionaries with ``function``, a name or a list of names, and
            ``active``: true, false, or how many more times it may be called.
    """
    toggles = json_objects("function_toggles", function_toggles)
    for toggle in toggles:
        check_members("each of function_toggles", toggle, ("function", "active"))
        functions, active = toggle["function"], toggle["active"]
        if isinstance(functions, str):
            check_line("function", functions)
        else:
            check_strings("function", functions)
        if not isinstance(active, bool) and not is_variable(active):
            int_or_variable("active", active, -1)
    return {"toggle_functions": toggles}


def enable_functions_on_timeout(enabled: bool = True) -> Action:
    """Choose whether the AI may call functions when the caller stays silent too long."""
    return {"functions_on_speaker_timeout": check_bool("enabled", enabled)}


def enable_extensive_data(enabled: bool = True) -> Action:
    """Choose whether the model gets this result in full once, and a shorter one afterwards."""
    return {"extensive_data": check_bool("enabled", enabled)}


def replace_in_history(text: str | bool = True) -> Action:
    """Remove this function call from the model's history once its result has been used.

    Args:
        text: what the AI appears to have said instead; True removes the call without a trace.
    """
    replacement = text if isinstance(text, str) else check_bool("text, unless a string,", text)
    return {"replace_in_history": replacement}


def update_settings(settings: Mapping[str, Any]) -> Action:
    """Change the settings of the model.

    Args:
        settings: by name: ``frequency-penalty`` and ``presence-penalty`` (-2 to 2),
            ``max-tokens`` (an integer up to 4096), ``top-p``, ``confidence`` and
            ``barge-confidence`` (0 to 1), ``temperature`` (0 to 2). Others pass as they are.
    """
    checked = json_object("settings", settings)
    for name in checked.keys() & _RANGES.keys():
        checked[name] = number_or_variable(name, checked[name], *_RANGES[name])
    if "max-tokens" in checked:
        checked["max-tokens"] = int_or_variable("max-tokens", checked["max-tokens"], 0, _MAX_TOKENS)
    return {"settings": checked}


def switch_context(
    system_prompt: str | None = None,
    user_prompt: str | None = None,
    consolidate: bool = False,
    full_reset: bool = False,
) -> Action:
    """Begin a new conversation within the call.

    Args:
        system_prompt: the new instructions for the AI.
        user_prompt: what the caller appears to have said first.
        consolidate: whether the AI gets a summary of the conversation so far.
        full_reset: whether the conversation so far is forgotten.
    """
    switch = drop_empty(
        system_prompt=check_text("system_prompt", system_prompt) if system_prompt else None,
        user_prompt=check_text("user_prompt", user_prompt) if user_prompt else None,
        consolidate=check_bool("consolidate", consolidate) or None,
        full_reset=check_bool("full_reset", full_reset) or None,
    )
    only_prompt = switch.keys() == {"system_prompt"}
    return {"context_switch": switch["system_prompt"] if only_prompt else switch}


def swml_change_step(step_name: str) -> Action:
    """Go to a step of the current context, whichever steps are valid after this one."""
    return {"change_step": check_line("step_name", step_name)}


def swml_change_context(context_name: str) -> Action:
    """Go to the first step of a context, whichever contexts are valid after this one."""
    return {"change_context": check_line("context_name", context_name)}


def _keys(keys: str | Sequence[str]) -> str | list[str]:
    return check_str("keys", keys) if isinstance(keys, str) else check_strings("keys", keys)
