"""How a command fails: every command raises CommandError for what its user can change."""

from __future__ import annotations


class CommandError(Exception):
    """A command failed; the message is for its user.

    `status` is the exit status: 2, as argparse has it, for usage and configuration errors.
    """

    def __init__(self, message: object, status: int = 2) -> None:
        super().__init__(str(message))
        self.status = status
