"""Descriptions of parameters in docstrings in the style of Google, NumPy or Sphinx."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..core._patterns import lazy_pattern

_PARAMETERS = lazy_pattern(
    "args|arguments|attributes|keyword args|keyword arguments|other parameters|parameters|params"
)
_OTHERS = lazy_pattern("examples?|notes?|raises|references|returns?|see also|warnings?|yields?")
_FIELD = lazy_pattern(r":(?:param|parameter|arg|argument|key|keyword)\s[^:]*?\*{0,2}(\w+)\s*:(.*)")
_ANY_FIELD = lazy_pattern(r":\w[^:]*:")
_UNDERLINE = lazy_pattern(r"-{3,}")
_GOOGLE_ENTRY = lazy_pattern(r"\*{0,2}(\w+)\s*(?:\([^()]*(?:\([^()]*\)[^()]*)*\))?\s*:(?:\s(.*)|$)")
_NUMPY_ENTRY = lazy_pattern(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*)\s*(?::.*)?")


def first_paragraph(doc: str) -> str:
    """Return the first paragraph of a cleaned docstring as one line."""
    taken: list[str] = []
    lines = doc.splitlines()
    for index, line in enumerate(lines):
        if not line.strip() or _ANY_FIELD.match(line) or _section_at(lines, index):
            break
        taken.append(line)
    return _joined(taken)


def parameter_descriptions(doc: str) -> dict[str, str]:
    """Return the descriptions of parameters in a cleaned docstring, by name."""
    found: dict[str, list[str]] = {}
    lines = doc.splitlines()
    for index, line in enumerate(lines):
        style = _section_at(lines, index)
        if style and _PARAMETERS.fullmatch(_title(line)):
            if style == "google":
                _read(_indented(lines, index + 1, _indent(line)), _GOOGLE_ENTRY, found)
            else:
                _read(_until_section(lines, index + 2), _NUMPY_ENTRY, found)
        field = _FIELD.match(line.strip())
        if field:
            rest = _indented(lines, index + 1, _indent(line), blank_ends=True)
            found.setdefault(field[1], [field[2], *rest])
    described = {name: _joined(text) for name, text in found.items()}
    return {name: text for name, text in described.items() if text}


def _section_at(lines: list[str], index: int) -> str:
    """Return the style of the section that starts here; "" if there is none."""
    line = lines[index].strip()
    title = _title(line)
    if line.endswith(":") and (_PARAMETERS.fullmatch(title) or _OTHERS.fullmatch(title)):
        return "google"
    following = lines[index + 1].strip() if index + 1 < len(lines) else ""
    return "numpy" if line and _UNDERLINE.fullmatch(following) else ""


def _indented(
    lines: list[str], start: int, indent: int, *, blank_ends: bool = False
) -> Iterator[str]:
    for line in lines[start:]:
        if line.strip():
            if _indent(line) <= indent:
                return
            yield line
        elif blank_ends:
            return


def _until_section(lines: list[str], start: int) -> Iterator[str]:
    for index in range(start, len(lines)):
        if _section_at(lines, index):
            return
        if lines[index].strip():
            yield lines[index]


def _read(body: Iterator[str], entry: re.Pattern[str], found: dict[str, list[str]]) -> None:
    """Read entries at the indentation of the first; deeper lines continue an entry."""
    base: int | None = None
    current: list[str] = []
    for line in body:
        base = _indent(line) if base is None else base
        match = entry.fullmatch(line.strip()) if _indent(line) <= base else None
        if match is None:
            current.append(line)
            continue
        current = [match[2] or ""] if entry is _GOOGLE_ENTRY else []
        for name in match[1].split(", "):
            found.setdefault(name.lstrip("*"), current)


def _title(line: str) -> str:
    return line.strip().rstrip(":").lower()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
