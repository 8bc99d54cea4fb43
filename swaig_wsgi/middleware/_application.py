"""Validation of the application that :func:`harden` wraps."""

from __future__ import annotations

import inspect
from typing import Any
from weakref import WeakSet

from ..core._validation import ArgumentTypeError, shorten

#: A bound, because an object may make up attributes without end.
_MAX_LAYERS = 50
#: What :func:`harden` has returned.
hardened: WeakSet[Any] = WeakSet()


def check_application(app: Any, name: str = "app") -> None:
    """Raise TypeError if `app` is no WSGI application, or is hardened already."""
    expected = f"{name} must be a WSGI application"
    if isinstance(app, type):
        raise ArgumentTypeError(f"{expected}, not the class {app.__name__}: pass an instance")
    if not callable(app):
        raise ArgumentTypeError(f"{expected}, a callable, not {shorten(app)}")
    if any(map(is_asynchronous, (app, type(app).__call__))):
        raise ArgumentTypeError(
            f"{expected}, but {type(app).__name__} {shorten(app)} is asynchronous: "
            "is it an ASGI application?"
        )
    # A Flask application keeps its layers in wsgi_app. Compare by identity: an application may
    # have no hash.
    layers = (app, getattr(app, "wsgi_app", None))
    if any(layer is each for each in tuple(hardened) for layer in layers):
        raise ArgumentTypeError(
            f"{name} is hardened already: call harden once, as the outermost layer"
        )


def check_refusal_app(refusal_app: Any, app: Any) -> None:
    """Raise TypeError if `refusal_app` is no WSGI application, or would run the views of `app`.

    Refused requests would run them. Every handler of Django runs the views of its site.
    """
    check_application(refusal_app, "refusal_app")
    own, others = _layers(app), _layers(refusal_app)
    same = any(_is_same(layer, each) for layer in others for each in own)
    if same or any(type(each).__module__ == "django.core.handlers.wsgi" for each in others):
        raise ArgumentTypeError(
            "refusal_app runs the views of the application for requests that were refused; pass a "
            "function of environ and start_response that renders a page"
        )


def _layers(app: Any) -> list[Any]:
    """Return `app` and the applications inside it that are attributes with common names."""
    found = [app]
    for layer in found:
        for name in ("app", "application", "wsgi_app"):
            inner = getattr(layer, name, None)
            known = any(_is_same(inner, each) for each in found)
            if callable(inner) and not known and len(found) < _MAX_LAYERS:
                found.append(inner)
    return found


def _is_same(one: Any, other: Any) -> bool:
    # Every access to a method makes another object.
    return one is other or (inspect.ismethod(one) and inspect.ismethod(other) and one == other)


def is_asynchronous(function: Any) -> bool:
    """Return whether a call of `function` makes a coroutine or an asynchronous generator."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
