"""Applications named on a command line, as ``MODULE:APP``."""

from __future__ import annotations

import ast
from importlib import import_module
from typing import Any


class LoadingError(Exception):
    """The text names no application; the message says why."""


def load_application(text: str) -> Any:
    """Import the WSGI application that `text` names, in the forms that gunicorn takes.

    ``package.module:name``; ``package.module`` alone for the name ``application``; or
    ``package.module:make_app("argument", debug=True)`` with literal arguments, for what a function
    returns.

    Raises:
        LoadingError: the text is malformed, there is no such module or name, or what it names is
            not callable. What the module raises while it is imported is passed on as it is.
    """
    module_name, _, expression = text.partition(":")
    name, args, options = _parse(expression or "application")
    if not module_name or not all(part.isidentifier() for part in module_name.split(".")):
        raise LoadingError(f"{text!r} is not of the form MODULE:APP")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that is missing further down is the application's own trouble.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise LoadingError(f"there is no module {error.name!r}") from None
    try:
        application = getattr(module, name)
    except AttributeError:
        raise LoadingError(f"the module {module_name!r} has no {name!r}") from None
    if args is not None:
        application = application(*args, **options)
    if not callable(application):
        raise LoadingError(f"{text!r} is not callable, so no WSGI application")
    return application


def _parse(expression: str) -> tuple[str, list[Any] | None, dict[str, Any]]:
    """Return a name, and the arguments of its call if it is called."""
    try:
        node = ast.parse(expression, mode="eval").body
        if isinstance(node, ast.Name):
            return node.id, None, {}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            args = [ast.literal_eval(value) for value in node.args]
            options = {
                keyword.arg: ast.literal_eval(keyword.value)
                for keyword in node.keywords
                if keyword.arg is not None
            }
            if len(options) == len(node.keywords):
                return node.func.id, args, options
    except (SyntaxError, ValueError):
        pass
    raise LoadingError(f"{expression!r} is neither a name nor a call of one with literals")
