"""Validation of an application, and the layers in it."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any

from ..core._validation import ArgumentTypeError, shorten
from ._hardened import is_hardened

#: A bound, because an object may make up attributes without end.
_MAX_LAYERS = 50


def check_application(app: Any, name: str = "app") -> None:
    """Raise TypeError if `app` is no WSGI application, or is hardened already."""
    expected = f"{name} must be a WSGI application"
    called = app
    while isinstance(called, partial):
        called = called.func
    if isinstance(called, type):
        raise ArgumentTypeError(f"{expected}, not the class {called.__name__}: pass an instance")
    if not callable(app):
        raise ArgumentTypeError(f"{expected}, a callable, not {shorten(app)}")
    if any(map(is_asynchronous, (called, type(called).__call__))):
        raise ArgumentTypeError(
            f"{expected}, but {type(called).__name__} {shorten(called)} is asynchronous: "
            "is it an ASGI application?"
        )
    if any(map(is_hardened, layers_of(app))):
        raise ArgumentTypeError(
            f"{name} is hardened already: call harden once, as the outermost layer"
        )


def layers_of(app: Any) -> list[Any]:
    """Return `app` and the applications inside, as far as they are attributes of common names.

    Those of a dispatcher by path are not among them: each may have layers of its own.
    """
    found = [app]
    for layer in found:
        for inner in _inside(layer):
            known = any(is_same(inner, each) for each in found)
            if callable(inner) and not known and len(found) < _MAX_LAYERS:
                found.append(inner)
    return found


def _inside(layer: Any) -> Iterator[Any]:
    if isinstance(layer, partial):
        yield layer.func
    elif inspect.ismethod(layer) and layer.__name__ == "__call__":
        yield layer.__self__
    # A Flask application keeps its layers in wsgi_app.
    for name in ("app", "application", "wsgi_app"):
        with contextlib.suppress(Exception):  # a proxy may fail outside of a request
            yield getattr(layer, name, None)


def is_same(one: Any, other: Any) -> bool:
    """Return whether two applications are one; every access to a method makes another object."""
    return one is other or (inspect.ismethod(one) and inspect.ismethod(other) and one == other)


def is_asynchronous(function: Any) -> bool:
    """Return whether a call of `function` makes a coroutine or an asynchronous generator."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
