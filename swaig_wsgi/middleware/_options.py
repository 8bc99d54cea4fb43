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
            hint = hint_for(str(key), known)
            raise ArgumentTypeError(f"{name}: {shorten(key)} is not in {expected}: {hint}")
    return dict(given)


def nearest(name: str, known: Collection[str]) -> str | None:
    """Return the name in `known` that is most similar to `name`, or None."""
    from difflib import get_close_matches  # takes 1 ms to import, and only errors need it

    return next(iter(get_close_matches(name, known, 1)), None)


def hint_for(name: str, known: Collection[str]) -> str:
    """Return a hint for an unknown name: the nearest of `known`, or all of them."""
    lower = {each.lower(): each for each in known}
    near = nearest(name[:60].lower(), lower)
    return f"did you mean {lower[near]!r}?" if near else f"expected {', '.join(known)}"
