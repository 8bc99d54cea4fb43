"""How a command fails: every command raises CommandError for what its user can change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class CommandError(Exception):
    """A command failed; the message is for its user.

    `status` is the exit status: 2, as argparse has it, for usage and configuration errors.
    """

    def __init__(self, message: object, status: int = 2) -> None:
        super().__init__(str(message))
        self.status = status


@contextmanager
def needing(*packages: str, message: str) -> Iterator[None]:
    """Raise CommandError with `message` if one of `packages` is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in packages:
            raise
        raise CommandError(message) from None
