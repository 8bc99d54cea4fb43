"""Marks that a layer leaves in a request, so that an equal one further in does not run again.

A mark is a policy, together with whatever of the request it judged that a layer in between could
have rewritten; so an inner layer is skipped only if it would decide the same. Marks stand in
``environ`` under ``swaig_wsgi.ran.*``: no client can write there, since what comes from one is
under ``HTTP_*`` or a name of CGI's. Authentication, tokens and signatures leave none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def is_marked(environ: WSGIEnvironment, layer: str, mark: Any) -> bool:
    """Tell whether an equal `mark` was left under the key `layer`."""
    return mark in environ.get(layer, ())


def leave_mark(environ: WSGIEnvironment, layer: str, mark: Any) -> None:
    """Leave `mark` under the key `layer`, beside those that are there."""
    environ[layer] = (*environ.get(layer, ()), mark)


def lift_mark(environ: WSGIEnvironment, layer: str) -> None:
    """Take back the last mark.

    A layer that changes answers does so when the application's call returns: whoever calls
    another application with the same `environ` after that has left this layer. An application
    may do with `environ` what it likes (PEP 3333), so the mark may be gone.
    """
    environ[layer] = environ.get(layer, ())[:-1]
