"""The options of a layer as a mapping, and hints for unknown names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from inspect import signature
from typing import Any, Callable

from ..core._validation import ArgumentTypeError, shorten


def layer_options(
    name: str, given: Mapping[str, Any] | None, layer: Callable[..., Any]
) -> dict[str, Any]:
    """Return the keyword arguments in `given`, which may be None, for the middleware class `layer`.

    Raises:
        TypeError: `given` is not a mapping, or contains what is not an argument of `layer`; the
            message names the nearest argument, or all of them.
    """
    if given is None:
        return {}
    known = list(signature(layer).parameters)[1:]
    expected = f"a mapping of arguments of {layer.__name__}"
    if not isinstance(given, Mapping):
        raise ArgumentTypeError(f"{name} must be {expected}, not {shorten(given)}")
    for key in given:
        if key not in known:
            hint = nearest(str(key), known)
            raise ArgumentTypeError(f"{name}: {shorten(key)} is not in {expected}: {hint}")
    return dict(given)


def nearest(name: str, known: Collection[str]) -> str:
    """Return a hint for an unknown name: the nearest of `known`, or all of them."""
    from difflib import get_close_matches  # takes 1 ms, and only errors need it

    lower = {each.lower(): each for each in known}
    found = get_close_matches(name[:60].lower(), lower, 1)
    return f"did you mean {lower[found[0]]!r}?" if found else f"expected {', '.join(known)}"
