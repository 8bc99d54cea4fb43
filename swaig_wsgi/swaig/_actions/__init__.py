"""Functions that return the actions of :class:`~swaig_wsgi.FunctionResult`, by family.

They validate and copy what they are passed, and raise a ValueError that names the argument. For a
wrong type the exception is a TypeError as well.
"""

from __future__ import annotations

from typing import Any

from .._validation import drop_empty

Action = dict[str, Any]


def swml(*verbs: dict[str, Any]) -> Action:
    """Return the action that runs SWML verbs."""
    return {"SWML": {"version": "1.0.0", "sections": {"main": list(verbs)}}}


def verb(name: str, /, **members: Any) -> dict[str, Any]:
    """Return an SWML verb without its empty members."""
    return {name: drop_empty(**members)}
