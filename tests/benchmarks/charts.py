"""Charts of the benchmarks as SVG, readable in light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

#: Around the tables of docs/performance.md that the suite writes.
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"

_WIDTH = 720
_COLORS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#a6761d")
_STYLE = "font-family='sans-serif' font-size='13'"


def bars(title: str, values: Mapping[str, float]) -> str:
    """Return a bar chart, one bar for each of `values`."""
    most = max(values.values())
    parts = [_text(10, 20, title, "bold")]
    for number, (name, value) in enumerate(values.items()):
        y = 40 + 30 * number
        width = 360 * value / most
        parts.append(_text(10, y + 15, name))
        parts.append(f"<rect x='240' y='{y}' width='{width:.0f}' height='20' fill='{_COLORS[0]}'/>")
        parts.append(_text(248 + round(width), y + 15, f"{value:,.0f}"))
    return _svg(50 + 30 * len(values), title, parts)


def lines(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Return a chart with a line for each row, both axes logarithmic; x is the key of a value."""
    values = [value for row in rows.values() for value in row.values()]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    sizes = [int(each) for each in next(iter(rows.values()))]
    parts = [_text(10, 20, title, "bold")]

    def x(size: float) -> float:
        return 60 + 380 * math.log10(size) / math.log10(max(sizes))

    def y(value: float) -> float:
        return 300 - 250 * (math.log10(value) - low) / (high - low)

    for power in range(low, high + 1):
        level = y(10.0**power)
        parts.append(f"<path d='M60 {level:.0f}H440' stroke='#8888' fill='none'/>")
        parts.append(_text(10, round(level) + 4, f"{10**power:,}"))
    parts += [_text(round(x(size)) - 8, 320, f"{size:,}") for size in sizes]
    for number, (name, row) in enumerate(rows.items()):
        color = _COLORS[number % len(_COLORS)]
        points = " ".join(f"{x(int(size)):.0f},{y(value):.0f}" for size, value in row.items())
        parts.append(f"<polyline points='{points}' fill='none' stroke='{color}' stroke-width='2'/>")
        parts.append(f"<rect x='460' y='{48 + 24 * number}' width='14' height='4' fill='{color}'/>")
        parts.append(_text(482, 55 + 24 * number, name))
    return _svg(335, title, parts)


def _text(x: float, y: float, text: str, weight: str = "normal") -> str:
    shown = escape(text)
    return f"<text x='{x}' y='{y}' font-weight='{weight}' fill='#777'>{shown}</text>"


def _svg(height: int, title: str, parts: list[str]) -> str:
    size = f"viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' height='{height}'"
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' {_STYLE}>",
            f"<title>{escape(title)}</title>",
            *parts,
            "</svg>",
            "",
        ]
    )
