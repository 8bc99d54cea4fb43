"""Write the diagrams of the documentation: ``python docs/diagrams/draw.py``.

Each module beside this one that is named here describes a diagram; the SVG has the same name.
"""

from __future__ import annotations

from pathlib import Path

import request_path
import rotation
import state
import token_life

DIAGRAMS = {
    "request-path.svg": request_path.draw,
    "rotation.svg": rotation.draw,
    "state.svg": state.draw,
    "token-life.svg": token_life.draw,
}


def main() -> None:
    for name, draw in DIAGRAMS.items():
        (Path(__file__).parent / name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
