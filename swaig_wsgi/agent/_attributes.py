"""The public attributes of an agent, which a subclass may replace by accident.

``self.prompt = "..."`` would otherwise fail only in the first call, and an attribute of the class
would be hidden by the agent's own.
"""

from __future__ import annotations

import inspect
from typing import Any

from ..config import Settings
from ..core._validation import ArgumentTypeError
from ..sessions import SessionManager
from ..stores import Store
from ..swaig import ToolRegistry
from ..swml import AISettings, CallFlow, Prompt

__all__ = ["check_attribute", "check_class"]

#: What an agent makes itself, and what to use instead of replacing it.
_PARTS: dict[str, tuple[type, str]] = {
    "prompt": (Prompt, "use set_prompt_text() or PROMPT_SECTIONS, or "),
    "ai": (AISettings, "use methods such as set_params(), or "),
    "call_flow": (CallFlow, ""),
    "tools": (ToolRegistry, "use define_tool() or @AgentApp.tool, or "),
    "sessions": (SessionManager, ""),
    "store": (Store, "set SWML_STORAGE_URL, or "),
}
#: What the constructor gets.
_VALUES: dict[str, tuple[type, str]] = {
    **dict.fromkeys(("name", "route", "host"), (str, "")),
    "port": (int, ""),
    "settings": (Settings, "pass settings= to the constructor, or "),
}
_OWN = {**_PARTS, **_VALUES}


def check_attribute(owner: type, name: str, value: Any) -> None:
    """Check a new value of an agent's attribute.

    Raises:
        TypeError: every agent has the attribute, and `value` has another type.
    """
    if name in _OWN and not isinstance(value, _OWN[name][0]):
        raise _taken(owner, name, f" as {_OWN[name][0].__name__}, not {type(value).__name__}")


def check_class(owner: type) -> None:
    """Check the attributes of a class of agents.

    Raises:
        TypeError: an attribute of each agent would hide a method or another attribute.
    """
    for name in _OWN:
        found = inspect.getattr_static(owner, name, None)
        # The class may hold the constructor's arguments, and properties with a setter work.
        is_method = callable(found) or isinstance(found, (staticmethod, classmethod))
        hides = found is not None and (name in _PARTS or is_method)
        if hides and not hasattr(type(found), "__set__"):
            raise _taken(owner, name, ", which would hide this one")


def _taken(owner: type, name: str, problem: str) -> ArgumentTypeError:
    remedy = f"{_OWN[name][1]}give this attribute another name"
    return ArgumentTypeError(
        f"{owner.__name__}.{name}: every agent has an attribute {name!r}{problem}: {remedy}"
    )
