"""Case-insensitive mappings of request headers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..core._memo import remembered
from ._types import WSGIEnvironment

# CGI has no prefix for these two. With the prefix, the client spelled them with an underscore.
_WITHOUT_PREFIX = ("CONTENT_TYPE", "CONTENT_LENGTH")


class EnvironHeaders(Mapping[str, str]):
    """A case-insensitive, read-only view of the request headers in a WSGI environ.

    Names with an underscore are never found: WSGI cannot distinguish them from names with a hyphen.
    """

    __slots__ = ("_environ",)

    def __init__(self, environ: WSGIEnvironment) -> None:
        self._environ = environ

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field, or `default`. As in :class:`Mapping`, in fewer calls."""
        if name == "Authorization" and type(name) is str:
            return self._environ.get("HTTP_AUTHORIZATION", default)  # of each request
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        if type(name) is not str:
            # The methods of a subclass could mislead, and any other type is not a name.
            name = str.__str__(name) if isinstance(name, str) else ""
        value: str = self._environ[_key(name)]
        return value

    def __iter__(self) -> Iterator[str]:
        for key in self._environ:
            name = key[5:] if key.startswith("HTTP_") else ""
            if key in _WITHOUT_PREFIX:
                yield key.replace("_", "-").title()
            elif name and name not in _WITHOUT_PREFIX and _is_cgi_name(name):
                yield name.replace("_", "-").title()

    def __len__(self) -> int:
        return sum(1 for _ in self)


# An application asks for the same few names in each request.
@remembered(maxsize=256, max_length=64)
def _key(name: str) -> str:
    if not name or not name.isascii() or "_" in name:
        raise KeyError(name)
    key = name.upper().replace("-", "_")
    return key if key in _WITHOUT_PREFIX else "HTTP_" + key


def _is_cgi_name(name: str) -> bool:
    return name.isascii() and name == name.upper() and "-" not in name


class FoldedHeaders(Mapping[str, str]):
    """A case-insensitive copy of another mapping of headers.

    Bytes are decoded as Latin-1, other values converted with ``str()``, and None is ignored. The
    values of a repeated header are joined, as by a WSGI server.

    Raises:
        ValueError: a header occurs in two spellings; the application may use either.
    """

    __slots__ = ("_values",)

    def __init__(self, headers: Mapping[Any, Any]) -> None:
        self._values: dict[str, str] = {}
        spellings: dict[str, str] = {}
        for name, value in headers.items():
            name = _text(name)
            if value is None or not name.isascii():
                continue
            folded, value = name.lower(), _text(value)
            if spellings.setdefault(folded, name) != name:
                raise ValueError("a header in two spellings")
            if folded in self._values:
                value = f"{self._values[folded]}, {value}"
            self._values[folded] = value

    def __getitem__(self, name: str) -> str:
        if not isinstance(name, str) or not name.isascii():
            raise KeyError(name)
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
