"""Where state lives: with the workers of one machine, and on many machines."""

from __future__ import annotations

from canvas import Canvas

__all__ = ["SECRETS", "STORE", "VARIABLES", "draw"]

#: What all processes need to have equal, and what they share in a store.
SECRETS = "tool secret, password"
STORE = "counts, metadata, claims"
#: The variables that configure the two.
VARIABLES = ("SIGNALWIRE_SWAIG_SECRET", "SWML_BASIC_AUTH_PASSWORD", "SWML_STORAGE_URL")

_PANEL = 318
_LEFT, _RIGHT = 24, 358


def draw() -> str:
    """Return the diagram."""
    canvas = Canvas(
        "Where state lives",
        "In the URLs that the platform keeps: credentials and tokens; no server stores tokens."
        " On one machine, the master generates the tool secret, the password and a private SQLite"
        " file before it forks; the workers inherit them, and count in that file. On many"
        f" machines, {', '.join(VARIABLES)} are the same everywhere, and the workers of all"
        " machines count in one Redis or Valkey. With several workers of a plain gunicorn, each"
        " would have its own state, so every request is refused with 503.",
    )
    _url(canvas, 56)
    for left, heading in ((_LEFT, "One machine"), (_RIGHT, "Many machines")):
        canvas.text(left, 142, heading, "bold ink", size=14)
    canvas.text(_LEFT, 162, "gunicorn -c python:swaig_wsgi.gunicorn", "mono muted", size=12)
    canvas.text(_RIGHT, 162, "the same command, and equal variables", "muted", size=12)
    _one_machine(canvas, 182)
    _many_machines(canvas, 182)
    _plain(canvas, 504)
    return canvas.svg(580)


def _url(canvas: Canvas, y: float) -> None:
    canvas.box(_LEFT, y, 652, 56, fill="bluefill", stroke="blue")
    canvas.text(_LEFT + 14, y + 19, "In the URLs that the platform keeps", "bold blue")
    canvas.text(_LEFT + 14, y + 38, "https://user:password@...?__token=...", "mono ink", size=12)
    canvas.text(662, y + 38, "tokens are stored nowhere else", "muted", size=12, anchor="end")


def _one_machine(canvas: Canvas, y: float) -> None:
    _panel(canvas, _LEFT, y, "master", "generates what is not configured:", SECRETS)
    centers = [_LEFT + 53 + 106 * number for number in range(3)]
    for x in centers:
        canvas.arrow((x, y + 78), (x, y + 124))
        canvas.arrow((x, y + 162), (x, y + 208))
    canvas.text(centers[1] + 10, y + 101, "inherited", "muted", size=12)
    canvas.text(centers[1] + 10, y + 185, "read, written", "muted", size=12)
    _workers(canvas, centers, y + 126, 94)
    _panel(canvas, _LEFT, y + 210, "private SQLite file", STORE, "removed when the master ends")


def _many_machines(canvas: Canvas, y: float) -> None:
    _panel(canvas, _RIGHT, y, "files or environment", *VARIABLES[:2])
    for name, left in (("machine A", _RIGHT), ("machine B", _RIGHT + 164)):
        center = left + 77
        canvas.arrow((center, y + 78), (center, y + 98))
        canvas.box(left, y + 100, 154, 86, fill="page", dashed=True)
        canvas.text(center, y + 114, name, "muted", size=12, anchor="middle")
        _workers(canvas, [left + 41, left + 113], y + 132, 62)
        canvas.arrow((center, y + 186), (center, y + 208))
    _panel(canvas, _RIGHT, y + 210, "Redis or Valkey", STORE, VARIABLES[2])


def _panel(canvas: Canvas, left: float, y: float, heading: str, *lines: str) -> None:
    middle = left + _PANEL / 2
    canvas.box(left, y, _PANEL, 78)
    canvas.text(middle, y + 18, heading, "bold ink", anchor="middle")
    for number, line in enumerate(lines, 1):
        style = "ink mono" if line in VARIABLES else "ink"
        canvas.text(
            middle, y + 20 + 20 * number, line, style, size=12, anchor="middle", room=_PANEL - 16
        )


def _workers(canvas: Canvas, centers: list[float], y: float, width: float) -> None:
    for x in centers:
        canvas.box(x - width / 2, y, width, 34)
        canvas.text(x, y + 17, "worker", anchor="middle", room=width - 6)


def _plain(canvas: Canvas, y: float) -> None:
    canvas.box(_LEFT, y, 652, 56, fill="redfill", stroke="red")
    canvas.text(_LEFT + 14, y + 19, "gunicorn -w 4", "mono red")
    canvas.text(
        _LEFT + 14, y + 38, "each worker would have its own secret, password and counts", size=12
    )
    canvas.text(662, y + 38, "503, and the log says what to set", "bold red", size=12, anchor="end")
