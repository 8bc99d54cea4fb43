"""The application inside a layer, called in the fastest way."""

from __future__ import annotations

from typing import Any

from ..wsgi._types import WSGIApplication

__all__ = ["InnerApp"]

_PACKAGE = __name__.rpartition(".middleware.")[0] + "."


class InnerApp:
    """The attribute ``app`` of a layer, which the layer calls as ``_next``.

    If it is a layer of this package, ``_next`` is its bound method: calling the object would take
    four times as long. Both change together.
    """

    def __get__(self, layer: Any, owner: type) -> Any:
        return self if layer is None else layer._app

    def __set__(self, layer: Any, app: WSGIApplication) -> None:
        layer._app = layer._next = app
        if type(app).__module__.startswith(_PACKAGE):
            layer._next = app.__call__  # type: ignore[operator]
