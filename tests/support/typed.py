"""What type checkers must find in ``tests/typed/agent.py`` and in calls of forwarded methods."""

from __future__ import annotations

import inspect
from pathlib import Path

from swaig_wsgi import AgentApp

SNIPPET = Path(__file__).parent.parent / "typed" / "agent.py"
#: The numbers of the lines marked as wrong.
WRONG = [
    number
    for number, line in enumerate(SNIPPET.read_text().splitlines(), 1)
    if line.endswith("# wrong")
]


def reveal_forwarded(path: Path) -> list[str]:
    """Write a module that reveals the type of each forwarded method, one a line.

    Returns:
        For each line of the module, the end of the type. A method that chains returns the subclass.
    """
    lines = ["from swaig_wsgi import AgentApp", "class Bank(AgentApp): ..."]
    expected = ["", ""]
    for name, method in inspect.getmembers(AgentApp, inspect.isfunction):
        if method.__code__.co_name == "forwarding":
            returned = inspect.signature(method).return_annotation
            lines.append(f'reveal_type(Bank("bank").{name})')
            expected.append(returned if isinstance(returned, str) else "Bank")
    path.write_text("\n".join(lines))
    return expected
