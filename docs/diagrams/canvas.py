"""A small SVG writer for the diagrams: boxes, texts and arrows in two color schemes.

A diagram may be shown in an ``<img>`` on a page of either scheme, and the scheme of the page need
not be that of the system. So each one has its own background, and a style sheet with
``prefers-color-scheme``. It uses the fonts of the reader's system; texts are measured with the
widths of DejaVu Sans, the widest of the usual ones, and one that does not fit is an error.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

#: Width of every diagram, in pixels.
WIDTH = 700

#: For each color, the value in the light and in the dark scheme.
COLORS = {
    "page": ("#ffffff", "#0d1117"),
    "panel": ("#f6f8fa", "#161b22"),
    "line": ("#c4ccd4", "#444c56"),
    "ink": ("#1f2328", "#f0f6fc"),
    "muted": ("#59636e", "#9da7b3"),
    "red": ("#b3202c", "#ff7b72"),
    "blue": ("#0757b8", "#79b8ff"),
    "redfill": ("#ffebe9", "#3a1518"),
    "bluefill": ("#dff0ff", "#11294a"),
}

_STYLE = """\
text{font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif}
.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.bold{font-weight:600}"""

#: Widths of the characters of DejaVu Sans, in hundredths of the font size.
_WIDTHS = {
    each: width
    for width, characters in {
        29: "'ijlIJ",
        35: " ,./:;\\|f",
        40: "-()[]t!",
        50: 'r"*_`szc',
        60: "?LFkvxyPTao",
        64: "eESbdghnpqu$0123456789{}",
        70: "KAVBRXZC",
        78: "UHNDG&OQ",
        86: "wM#+<=>^~→×✓≥",
        100: "%mW@…",
    }.items()
    for each in characters
}


def text_width(text: str, size: float, style: str = "") -> float:
    """Return the width of `text` in pixels, in the widest of the usual fonts."""
    if "mono" in style.split():
        return len(text) * size * 0.605
    width = sum(_WIDTHS[each] for each in text) * size / 100
    return width * 1.12 if "bold" in style.split() else width


class Canvas:
    """A diagram.

    Args:
        title: its title, for screen readers and as a heading.
        description: what it shows, for readers who cannot see it.
    """

    def __init__(self, title: str, description: str) -> None:
        self.title = title
        self._description = description
        self._parts: list[str] = []
        self.text(24, 30, title, "bold ink", size=16)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        style: str = "ink",
        *,
        size: float = 13,
        anchor: str = "start",
        room: float = WIDTH,
    ) -> float:
        """Write `text`, vertically centered at `y`, and return its right edge.

        Args:
            style: names of colors and of the classes ``bold`` and ``mono``.
            anchor: what `x` is: ``start``, ``middle`` or ``end``.
            room: the maximum width.

        Raises:
            ValueError: the text is too wide.
        """
        width = text_width(text, size, style)
        left = x - width * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        if width > room or left < 8 or left + width > WIDTH - 8:
            raise ValueError(f"{text!r} needs {width:.0f} pixels, from {left:.0f}; has {room}")
        self._parts.append(
            f'<text x="{x:g}" y="{y + size * 0.36:.1f}" class="{style}" font-size="{size:g}"'
            f' text-anchor="{anchor}">{escape(text)}</text>'
        )
        return left + width

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = "panel",
        stroke: str = "line",
        dashed: bool = False,
        radius: float = 6,
    ) -> None:
        """Draw a rectangle with rounded corners."""
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"'
            f' class="fill-{fill} stroke-{stroke}"{dashes}/>'
        )

    def line(self, *points: tuple[float, float], color: str = "line", dashed: bool = False) -> None:
        """Draw a line through `points`."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        self._parts.append(
            f'<polyline points="{path}" fill="none" class="stroke-{color}" stroke-width="1.5"'
            f"{dashes}/>"
        )

    def arrow(self, *points: tuple[float, float], color: str = "muted") -> None:
        """Draw a line through `points` with a head at the last one."""
        (x0, y0), (x, y) = points[-2:]
        dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)  # Lines are horizontal or vertical.
        base_x, base_y = x - 7 * dx, y - 7 * dy
        self.line(*points[:-1], (base_x, base_y), color=color)
        corners = (x, y), (base_x - 4 * dy, base_y - 4 * dx), (base_x + 4 * dy, base_y + 4 * dx)
        path = " ".join(f"{each_x:g},{each_y:g}" for each_x, each_y in corners)
        self._parts.append(f'<polygon points="{path}" class="fill-{color}"/>')

    def svg(self, height: float) -> str:
        """Return the file of the diagram, `height` pixels high."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}"'
                f' width="{WIDTH}" height="{height:g}" role="img" aria-labelledby="title desc">',
                f'<title id="title">{escape(self.title)}</title>',
                f'<desc id="desc">{escape(self._description)}</desc>',
                f"<style>\n{_STYLE}\n{_rules(0)}",
                f"@media (prefers-color-scheme:dark){{\n{_rules(1)}\n}}</style>",
                f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:g}" rx="8"'
                ' class="fill-page stroke-line"/>',
                *self._parts,
                "</svg>\n",
            ]
        )


def _rules(scheme: int) -> str:
    return "\n".join(
        f".{name},.fill-{name}{{fill:{values[scheme]}}}.stroke-{name}{{stroke:{values[scheme]}}}"
        for name, values in COLORS.items()
    )
