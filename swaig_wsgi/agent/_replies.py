"""What the endpoints of an agent return, or raise."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..core.strict_json import JSONBodyError


@dataclass(frozen=True)
class Reply:
    """An answer in JSON."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class Refusal(Exception):
    """A request that gets no answer of its own, but one of the table of refusals."""

    def __init__(
        self,
        status: int,
        error: str,
        reason: str,
        headers: Iterable[tuple[str, str]] = (),
        detail: str = "",
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.reason = reason
        self.headers = headers
        self.detail = detail


def bad_request(what: str, reason: str = "bad_request") -> Refusal:
    """Return the refusal of a request that does not say what it should."""
    return Refusal(400, f"Bad request: {what}", reason)


def understood(parse: Callable[..., Any], *args: Any) -> Any:
    """Return ``parse(*args)``.

    Raises:
        Refusal: it raised JSONBodyError.
    """
    try:
        return parse(*args)
    except JSONBodyError as error:
        raise bad_request(error.what) from None
