"""The life of a tool token: signed, sent, checked, expired."""

from __future__ import annotations

from canvas import Canvas

__all__ = ["CHECKS", "FIELDS", "draw"]

#: The fields of a token and an example of each, in their order.
FIELDS = (
    ("call_id", "call-1"),
    ("function", "transfer_funds"),
    ("expiry", "1798761600"),
    ("nonce", "9f86d081"),
    ("signature", "e3b0c44298fc1c14"),
)
#: What is checked, and the reason in the log if that fails, in their order.
CHECKS = (
    ("its form", "malformed"),
    ("signature", "bad_signature"),
    ("time", "expired"),
    ("tool", "wrong_function"),
    ("call", "wrong_call"),
)

_PLATFORM, _AGENT = 104, 410  # the lines of both
_LEFT, _RIGHT = 24, 676
_NOTES = _AGENT + 16


def draw() -> str:
    """Return the diagram."""
    canvas = Canvas(
        "The life of a token",
        "A token consists of call id, function, expiry, nonce and signature. The platform fetches"
        " the document of a call; the agent signs a token for each secure tool and puts it into"
        " the tool's URL. The platform calls that URL. Any worker with the secret checks, in this"
        f" order: {', '.join(f'{what} ({reason})' for what, reason in CHECKS)}. If a check fails,"
        " the AI gets an apology, and the log has the reason; otherwise the tool runs. The token"
        " is valid until it expires, or until its secret is forgotten. Nothing is stored.",
    )
    _token(canvas, 56)

    for x, who in ((_PLATFORM, "the platform"), (_AGENT, "the agent")):
        canvas.box(x - 80, 172, 160, 32)
        canvas.text(x, 188, who, "bold ink", anchor="middle")
        canvas.line((x, 204), (x, 556), dashed=True)
    canvas.text(_AGENT + 90, 188, "any worker, any machine", "muted", size=12)
    _message(canvas, 242, "fetches the document of a call")
    canvas.text(_NOTES, 242, "signs one for each secure tool", size=12)
    _message(canvas, 286, "the tool's URL, with the token", back=True)
    _message(canvas, 340, "calls that URL, in the same call")
    _checks(canvas, 322)
    _message(canvas, 506, "if one fails: an apology", back=True, color="blue")
    canvas.text(_NOTES, 506, "the log has the reason", size=12)
    _message(canvas, 546, "otherwise: the tool's result", back=True)
    canvas.text(_NOTES, 546, "the tool has run", size=12)

    _lifetime(canvas, 588)
    return canvas.svg(664)


def _token(canvas: Canvas, y: float) -> None:
    widths = (96, 142, 124, 104, 154)
    x = _LEFT
    for (name, example), width in zip(FIELDS, widths):
        is_signature = name == "signature"
        color = "blue" if is_signature else "line"
        canvas.box(x, y, width, 48, fill="bluefill" if is_signature else "panel", stroke=color)
        middle = x + width / 2
        style = "bold blue" if is_signature else "bold ink"
        canvas.text(middle, y + 16, name, style, anchor="middle", room=width - 8)
        canvas.text(middle, y + 34, example, "mono muted", size=12, anchor="middle", room=width - 8)
        x += width
        if not is_signature:
            canvas.text(x + 4, y + 38, ".", "bold muted", anchor="middle")
            x += 8
    signed = _LEFT + sum(widths[:4]) + 24
    signature = _RIGHT - widths[4] / 2
    canvas.arrow((_LEFT, y + 56), (_LEFT, y + 66), (signature, y + 66), (signature, y + 50))
    canvas.line((signed, y + 56), (signed, y + 66), color="muted")
    canvas.text(
        _LEFT,
        y + 84,
        "signed with HMAC-SHA256; the key comes from the secret and the agent's name",
        "muted",
        size=12,
    )


def _message(
    canvas: Canvas, y: float, text: str, *, back: bool = False, color: str = "muted"
) -> None:
    platform, agent = (_PLATFORM, y), (_AGENT, y)
    canvas.arrow(*((agent, platform) if back else (platform, agent)), color=color)
    style = "ink" if color == "muted" else color
    middle = (_PLATFORM + _AGENT) / 2
    canvas.text(middle, y - 12, text, style, size=12.5, anchor="middle", room=290)


def _checks(canvas: Canvas, y: float) -> None:
    canvas.box(_AGENT, y, _RIGHT - _AGENT, 38 + 22 * len(CHECKS))
    canvas.text(_NOTES, y + 18, "checks, in this order", "bold ink")
    for number, (what, reason) in enumerate(CHECKS, 1):
        line = y + 20 + 22 * number
        canvas.text(_NOTES, line, str(number), "muted", size=12)
        canvas.text(_NOTES + 18, line, what)
        canvas.text(_RIGHT - 14, line, reason, "mono red", size=12, anchor="end")


def _lifetime(canvas: Canvas, y: float) -> None:
    end = 540
    canvas.box(_LEFT, y, end - _LEFT, 28, fill="bluefill", stroke="blue")
    canvas.text(
        (_LEFT + end) / 2,
        y + 14,
        "valid in every process that has the secret; nothing is stored",
        "blue",
        anchor="middle",
        room=end - _LEFT - 16,
    )
    canvas.box(end, y, _RIGHT - end, 28, dashed=True, fill="page")
    canvas.text((end + _RIGHT) / 2, y + 14, "expired", "muted", anchor="middle")
    canvas.text(_LEFT, y + 44, "signed", "muted", size=12)
    canvas.text(
        end,
        y + 44,
        "after token_expiry_secs (3,600 s)",
        "muted",
        size=12,
        anchor="middle",
        room=270,
    )
