"""Validation of the application that :func:`harden` wraps."""

from __future__ import annotations

import inspect
from typing import Any
from weakref import WeakSet

from ..core._validation import ArgumentTypeError, shorten

#: What :func:`harden` has returned.
hardened: WeakSet[Any] = WeakSet()


def check_application(app: Any) -> None:
    """Raise TypeError if `app` is no WSGI application, or is hardened already."""
    expected = "app must be a WSGI application"
    if isinstance(app, type):
        raise ArgumentTypeError(f"{expected}, not the class {app.__name__}: pass an instance")
    if not callable(app):
        raise ArgumentTypeError(f"{expected}, a callable, not {shorten(app)}")
    if any(map(_is_asynchronous, (app, type(app).__call__))):
        raise ArgumentTypeError(
            f"{expected}, but {type(app).__name__} {shorten(app)} is asynchronous: "
            "is it an ASGI application?"
        )
    # A Flask application keeps its layers in wsgi_app. Compare by identity: an application may
    # have no hash.
    layers = (app, getattr(app, "wsgi_app", None))
    if any(layer is each for each in tuple(hardened) for layer in layers):
        raise ArgumentTypeError("app is hardened already: call harden once, as the outermost layer")


def _is_asynchronous(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
