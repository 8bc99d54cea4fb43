"""One `start_response` for all layers that add fields to responses.

Each of these layers, when it stands alone, wraps `start_response`, and each wrapper searches the
names of all fields. In a stack, a layer leaves its addition in a list that its `start_response`
carries, and :class:`ResponseFields`, around them, searches once. Few responses have a field that a
layer looks at; to any other one all fields are simply added. Those few pass through the changes of
the layers one by one, the innermost first, as through the wrappers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, Callable, NamedTuple, Protocol

from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._inner_app import InnerApp

Fields = Sequence["tuple[str, str]"]
#: What to do with the fields of a response, given `environ`, these and those to add.
Change = Callable[[WSGIEnvironment, Fields, Fields], "list[tuple[str, str]]"]

#: The attribute of `start_response`, a list with the change and the fields of each layer that the
#: request has passed, the outermost first. Not in ``environ``, which the application also sees.
ADDITIONS = "additions"

#: The fields, in lower case, of which :func:`.may_be_shared` reads at least one.
SHARING_FIELDS = frozenset({"cache-control", "cdn-cache-control", "expires"})

#: CORS looks at all fields with this prefix.
CORS_PREFIX = "access-control-"

_NAME_OF, _FIELDS_OF = itemgetter(0), itemgetter(1)


class FieldNames(NamedTuple):
    """The names of fields, in lower case, that a layer looks at and may add."""

    read: frozenset[str]
    added: frozenset[str]


class AddingLayer(Protocol):
    """A layer that adds fields to responses."""

    #: Whether its `start_response` carries :data:`ADDITIONS`.
    merged: bool

    def field_names(self) -> FieldNames | None:
        """Return the names of its fields, or None if it must wrap `start_response` itself."""


def merge_fields(app: WSGIApplication, layers: Sequence[AddingLayer]) -> WSGIApplication:
    """Return `app` in one layer that adds the fields of its `layers`.

    They are the innermost first. If one must see what another one has added, `app` is returned as
    it is, and they add them one by one.
    """
    names = [layer.field_names() for layer in layers]
    read: set[str] = set()
    # From the outermost to the innermost, so that `read` is what the layers outside look at.
    for each in reversed(names):
        if each is None or not read.isdisjoint(each.added):
            return app
        read |= each.read
    for layer in layers:
        layer.merged = True
    return ResponseFields(app, read)


class ResponseFields:
    """Add the fields of all layers inside.

    Args:
        app: the outermost of these layers.
        read: the names that they look at, in lower case, besides those with :data:`CORS_PREFIX`.
    """

    app = InnerApp()
    _next: WSGIApplication

    def __init__(self, app: WSGIApplication, read: Iterable[str]) -> None:
        self.app = app
        self._read = frozenset(read)
        # An application sends the same few names again and again.
        self._are_unread = lru_cache(maxsize=256)(self._find_unread)

    def _find_unread(self, names: tuple[str, ...]) -> bool:
        """Return whether no layer looks at fields with these names."""
        lower = {name.lower() for name in names}
        return self._read.isdisjoint(lower) and CORS_PREFIX not in "\n".join(lower)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        additions: list[tuple[Change, Fields]] = []
        are_unread = self._are_unread

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if are_unread(tuple(map(_NAME_OF, headers))):
                added = map(_FIELDS_OF, reversed(additions))
                headers = [*headers, *chain.from_iterable(added)]
            else:
                for change, fields in reversed(additions):
                    headers = change(environ, headers, fields)
            return start_response(status, headers, exc_info)

        setattr(start, ADDITIONS, additions)
        return self._next(environ, start)
