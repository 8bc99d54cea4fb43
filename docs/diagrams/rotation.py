"""Rotation of the tool secret: what each secret does, and what the files contain."""

from __future__ import annotations

from typing import NamedTuple

from canvas import Canvas

__all__ = ["PHASES", "Phase", "draw"]


class Phase(NamedTuple):
    """The time after a step of the rotation."""

    left: float
    step: str
    #: The contents of the two files.
    secret: str
    fallbacks: tuple[str, ...]


PHASES = (
    Phase(156, "before", "old", ()),
    Phase(252, "1  accept", "old", ("old", "new")),
    Phase(366, "2  sign with the new", "new", ("old", "new")),
    Phase(576, "4  forget", "new", ()),
)
_LEFT, _RIGHT = 24, 676
_ENDS = (*(phase.left for phase in PHASES[1:]), _RIGHT)


def draw() -> str:
    """Return the diagram."""
    canvas = Canvas(
        "Rotating the tool secret without refusing a call",
        "Before: the old secret signs and verifies. Step 1: all machines also accept the new"
        " secret. Step 2: all machines sign with the new one; the old one only verifies. Step 3:"
        " wait for token_expiry_secs, until the last old token has expired. Step 4: forget the old"
        " secret. The file secret contains old, old, new, new; secret-fallbacks is empty, then"
        " contains both, and is empty again.",
    )
    top, bottom = 62, 330
    for phase in PHASES[1:]:
        canvas.line((phase.left, top), (phase.left, bottom), dashed=True)
    for phase, end in zip(PHASES, _ENDS):
        style = "muted" if phase.step == "before" else "bold ink"
        canvas.text(phase.left + 4, 72, phase.step, style, room=end - phase.left)
    wait = PHASES[2].left
    canvas.text(wait + 4, 98, "3  wait token_expiry_secs", "bold ink", room=206)

    canvas.text(_LEFT, 133, "old secret", "bold ink")
    _bar(canvas, 118, 0, 1, signs=True)
    _bar(canvas, 118, 2, 2, signs=False)
    canvas.text(_LEFT, 173, "new secret", "bold ink")
    _bar(canvas, 158, 1, 1, signs=False)
    _bar(canvas, 158, 2, 3, signs=True)
    canvas.text(_LEFT, 211, "the last old token", size=12)
    canvas.arrow((wait, 211), (PHASES[3].left, 211), color="blue")
    canvas.text(PHASES[3].left + 6, 211, "has expired", "blue", size=12)

    canvas.line((_LEFT, 236), (_RIGHT, 236))
    canvas.text(_LEFT, 262, "secret", "mono ink", size=12)
    canvas.text(_LEFT, 290, "secret-fallbacks", "mono ink", size=12)
    canvas.text(_LEFT, 318, "in the log", size=12)
    for phase, end in zip(PHASES, _ENDS):
        middle = (phase.left + end) / 2
        for y, names in ((262, (phase.secret,)), (290, phase.fallbacks)):
            text = ", ".join(names) or "empty"
            style = "ink" if names else "muted"
            canvas.text(middle, y, text, style, anchor="middle", room=end - phase.left)
    middle = (wait + PHASES[3].left) / 2
    canvas.text(middle, 318, "fallback_credential", "mono ink", size=12, anchor="middle")

    canvas.box(_LEFT, 346, _RIGHT - _LEFT, 54)
    why = "Step 1 comes first: when one machine signs with the new secret, all others accept it."
    likewise = "A password rotates the same way; the platform gets the new one after step 2."
    canvas.text(_LEFT + 12, 364, why, size=12)
    canvas.text(_LEFT + 12, 382, likewise, size=12)
    return canvas.svg(420)


def _bar(canvas: Canvas, y: float, first: int, last: int, *, signs: bool) -> None:
    left, right = PHASES[first].left, _ENDS[last]
    width = right - left
    fill, style = ("blue", "bold page") if signs else ("bluefill", "blue")
    canvas.box(left + 2, y, width - 4, 30, fill=fill, stroke="blue", radius=4)
    text = "signs and verifies" if signs else "verifies"
    canvas.text((left + right) / 2, y + 15, text, style, anchor="middle", room=width - 8)
