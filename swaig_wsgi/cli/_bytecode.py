"""Whether bytecode in ``__pycache__`` was compiled from its source.

Python runs such a file in place of the source if its header fits the size and time of the source,
or says not to compare them; both are easily forged. So the source is compiled, and the code
compared. The same code can be serialized in several ways: what is shared within it depends on the
process. So both are parsed, here and not by :mod:`marshal`, which is not safe on forged data.
"""

from __future__ import annotations

import marshal
import re
import sys
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any

_TAG = re.escape(sys.implementation.cache_tag or "")
_NAME = re.compile(rf"\w+\.{_TAG}(?:\.opt-([12]))?\.pyc")
#: Whether `_Reader` knows the format of this Python.
_IS_KNOWN = sys.implementation.name == "cpython" and sys.version_info < (3, 14)
#: Magic number, flags, and the time and size or the hash of the source.
_HEADER_LENGTH = 16
_MAX_DEPTH = 100
#: Fields of a code object: an integer, an object, or the file name, which import replaces.
_CODE = "iiiiiooooofooioo" if sys.version_info >= (3, 11) else "iiiiiioooooofoio"


def bytecode_problems(root: Path, trusted: set[str]) -> list[str]:
    """Return the files in ``__pycache__`` below `root` whose source does not compile to them.

    Each entry is ``bytecode: PATH ...``. The bytecode of sources that are not `trusted`, given
    as paths with slashes, is not checked. That of another Python cannot be, and is reported, too.
    """
    problems = []
    for path in sorted(root.rglob("__pycache__/*.pyc")):
        name = path.relative_to(root).as_posix()
        match = _NAME.fullmatch(path.name) if _IS_KNOWN else None
        source = path.parents[1] / f"{path.name.partition('.')[0]}.py"
        if source.is_file() and source.relative_to(root).as_posix() not in trusted:
            continue
        if match is None and source.is_file():
            problems.append(f"bytecode: {name} cannot be checked by this Python")
        elif match is None or not _is_compiled_from(path, source, int(match[1] or 0)):
            problems.append(f"bytecode: {name} is not compiled from {source.name}")
    return problems


def _is_compiled_from(path: Path, source: Path, optimize: int) -> bool:
    if path.is_symlink() or not path.is_file() or not source.is_file():
        return False
    found = path.read_bytes()
    try:
        code = compile(source.read_bytes(), source, "exec", dont_inherit=True, optimize=optimize)
        expected = _Reader(marshal.dumps(code)).read()
        return found[:4] == MAGIC_NUMBER and _Reader(found[_HEADER_LENGTH:]).read() == expected
    except (SyntaxError, ValueError):
        return False


class _Reader:
    """Parses serialized code into nested tuples, each with its type first.

    It accepts what the compiler of CPython writes, and raises ValueError for everything else.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        #: The objects that may be referred to; None while one is incomplete.
        self.shared: list[tuple[Any, ...] | None] = []

    def read(self) -> tuple[Any, ...]:
        value = self._object(0)
        if self.position != len(self.data):
            raise ValueError("data after the code")
        return value

    def _take(self, length: int) -> bytes:
        start, self.position = self.position, self.position + length
        if length < 0 or self.position > len(self.data):
            raise ValueError("a wrong length")
        return self.data[start : self.position]

    def _integer(self) -> int:
        return int.from_bytes(self._take(4), "little", signed=True)

    def _object(self, depth: int) -> tuple[Any, ...]:
        if depth > _MAX_DEPTH:
            raise ValueError("objects are nested too deeply")
        byte = self._take(1)[0]
        kind, is_shared = chr(byte & 0x7F), byte >= 0x80
        if kind in "NTF.r":
            if is_shared:
                raise ValueError("a constant or a reference cannot be shared")
            return self._reference(self._integer()) if kind == "r" else (kind,)
        index = len(self.shared)
        if is_shared:
            self.shared.append(None)
        value = self._value(kind, depth + 1)
        if is_shared:
            self.shared[index] = value
        return value

    def _reference(self, index: int) -> tuple[Any, ...]:
        value = self.shared[index] if 0 <= index < len(self.shared) else None
        if value is None:
            raise ValueError("a reference to no object")
        return value

    def _value(self, kind: str, depth: int) -> tuple[Any, ...]:
        if kind == "i":
            return kind, self._integer()
        if kind == "l":
            count = self._integer()
            return kind, count, self._take(2 * abs(count))
        if kind in "gy":
            return kind, self._take(8 if kind == "g" else 16)
        if kind == "c":
            return kind, *self._code(depth)
        if kind not in "sutaAzZ()>":
            raise ValueError("an unknown type")
        size = self._take(1)[0] if kind in "zZ)" else self._integer()
        if size < 0:
            raise ValueError("a negative size")
        if kind in "()>":
            items = [self._object(depth) for _ in range(size)]
            if kind == ">" and not any(item[0] in ("tuple", "set", "c") for item in items):
                # Before Python 3.11, the order of a set depends on the process.
                items.sort(key=repr)
            return "set" if kind == ">" else "tuple", *items
        content = self._take(size)
        if kind == "s":
            return kind, content
        encoding = "utf-8" if kind in "ut" else "latin-1"
        return "text", content.decode(encoding, "surrogatepass")

    def _code(self, depth: int) -> list[Any]:
        fields: list[Any] = []
        for kind in _CODE:
            if kind == "i":
                fields.append(self._integer())
                continue
            value = self._object(depth)
            if kind == "o":
                fields.append(value)
            elif value[0] != "text":
                raise ValueError("the file name is not text")
        return fields
