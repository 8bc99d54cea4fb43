"""Applications named on a command line, as ``MODULE:APP``."""

from __future__ import annotations

import ast
import sys
from pkgutil import resolve_name
from typing import Any

__all__ = ["LoadingError", "load_application"]


class LoadingError(Exception):
    """The text does not name an application; the message gives the reason."""


def load_application(text: str) -> Any:
    """Import the WSGI application that `text` names, in the forms that gunicorn takes.

    ``package.module:name``; ``package.module`` alone for the name ``application``; or
    ``package.module:make_app("argument", debug=True)`` with literal arguments, for the return
    value of a function.

    Raises:
        LoadingError: the text is malformed, there is no such module or name, or the application
            is not callable. Exceptions raised while the module is imported propagate.
    """
    module, _, expression = text.partition(":")
    name, args, options = _parse(expression or "application")
    if not all(part.isidentifier() for part in module.split(".")):
        raise LoadingError(f"{text!r} is not of the form MODULE:APP")
    try:
        application = resolve_name(f"{module}:{name}")
    except ModuleNotFoundError as error:
        # A module missing further down is an error in the application.
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise LoadingError(f"there is no module {error.name!r}") from None
    except AttributeError:
        # A module that fails while it is imported is removed again.
        if module not in sys.modules:
            raise
        raise LoadingError(f"the module {module!r} has no {name!r}") from None
    if args is not None:
        application = application(*args, **options)
    if not callable(application):
        raise LoadingError(f"{text!r} is not a WSGI application: it is not callable")
    return application


def _parse(expression: str) -> tuple[str, list[Any] | None, dict[str, Any]]:
    """Return a name, and if it is called the arguments."""
    args, options = None, {}
    try:
        node = ast.parse(expression, mode="eval").body
        if isinstance(node, ast.Call):
            args = [ast.literal_eval(value) for value in node.args]
            # The keyword of "**mapping" is None.
            options = {word.arg or "": ast.literal_eval(word.value) for word in node.keywords}
            node = node.func
        if isinstance(node, ast.Name) and "" not in options:
            return node.id, args, options
    except (SyntaxError, ValueError):
        pass
    raise LoadingError(f"{expression!r} is neither a name nor a call of one with literals")
