"""The ``swaig-wsgi`` command."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, by default the process's, and return its exit status."""
    # Not at the top: copies of the parts that can be vendored are made without the other parts.
    from ._main import main as run

    return run(argv)
