"""The mutants of a module: its syntax tree with one small change each.

Changed are operators and comparisons, conditions, constants, functions that have a counterpart
(``fullmatch`` and ``match``), flags and bounds of regular expressions, each word of each string,
and statements that can be left out. Documentation, annotations, and messages stay as they are.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_NEGATED_BY_ITS_OPERATOR = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
_FUNCTIONS = {
    **{"any": "all", "all": "any", "min": "max", "max": "min", "ceil": "floor", "floor": "ceil"},
    **{"startswith": "endswith", "endswith": "startswith", "lower": "upper", "upper": "lower"},
    **{"partition": "rpartition", "rpartition": "partition", "find": "rfind", "rfind": "find"},
    **{"strip": "lstrip", "lstrip": "strip", "rstrip": "strip"},
}
#: Only of regular expressions: other objects have methods of these names, too.
_MATCHING = {"fullmatch": "match", "match": "search", "search": "match"}
#: Functions whose strings are messages or types.
_TELLING = re.compile(r"check_\w+|cast|TypeVar|shorten|\w*Error")
_WORD = re.compile(r"\[[^\]]*\]|([A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*)")
_BOUNDS = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_NAMED_TYPE = re.compile(r"\w+\[.*\]")


@dataclass
class Mutant:
    """One change of one module.

    Attributes:
        module: the path of the module below the package.
        line: where the change is.
        scope: the qualified name of the function or class, or the variable of the module.
        change: what it is, with a number if the scope has several that look alike.
        functions: names and first lines of the functions that contain it, the outermost first.
    """

    module: str
    line: int
    scope: str
    change: str
    functions: tuple[tuple[str, int], ...]
    _tree: ast.Module = field(repr=False)
    _place: tuple[ast.AST, str, int | None] = field(repr=False)
    _node: ast.AST = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.module} {self.scope}: {self.change}"

    def tree(self) -> ast.Module:
        """Return the tree with the change. It stays changed: call this in a process of its own."""
        _put(*self._place, self._node)
        return ast.fix_missing_locations(self._tree)


def find_mutants(module: str, source: str) -> list[Mutant]:
    """Return the mutants of a module, in the order of its lines."""
    tree = ast.parse(source)
    found = list(_Finder(module, tree).visit(tree, ()))
    number: Counter[str] = Counter()
    for mutant in found:
        number[mutant.name] += 1
        if number[mutant.name] > 1:
            mutant.change += f" (number {number[mutant.name]})"
    return found


def mutants_of(package: Path, modules: list[str]) -> list[Mutant]:
    return [
        mutant
        for module in modules
        for mutant in find_mutants(module, (package / module).read_text())
    ]


def explanations(text: str) -> dict[str, str]:
    """Return the explanations by the names of the mutants. An explanation is indented."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if line[0] == " ":
            if not name:
                raise ValueError(f"an explanation without a mutant: {line.strip()}")
            found[name] = f"{found[name]} {line.strip()}".strip()
        else:
            name = line.strip()
            if name in found:
                raise ValueError(f"explained twice: {name}")
            found[name] = ""
    unexplained = [name for name, reason in found.items() if not reason]
    if unexplained:
        raise ValueError(f"no explanation of {unexplained[0]}")
    return found


def _put(owner: ast.AST, name: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(owner, name, node)
    else:
        getattr(owner, name)[index] = node


class _Finder:
    def __init__(self, module: str, tree: ast.Module) -> None:
        self._module, self._tree = module, tree

    def visit(self, node: ast.AST, above: tuple[ast.AST, ...]) -> Iterator[Mutant]:
        """Find the mutants below `node`; `above` are the nodes that contain it."""
        above = (*above, node)
        for name, value in ast.iter_fields(node):
            each: list[tuple[int | None, ast.AST]] = (
                list(enumerate(value)) if isinstance(value, list) else [(None, value)]
            )
            for index, child in each:
                if not isinstance(child, ast.AST) or _stays(child, name, above):
                    continue
                for new in _replacements(child, name, above):
                    yield self._mutant(child, new, (node, name, index), above)
                if not _is_message(child):
                    yield from self.visit(child, above)

    def _mutant(
        self,
        old: ast.AST,
        new: ast.AST,
        place: tuple[ast.AST, str, int | None],
        above: tuple[ast.AST, ...],
    ) -> Mutant:
        chain = (*above, old)
        line = next(each.lineno for each in reversed(chain) if hasattr(each, "lineno"))
        # Show the largest expression around the change that fits on a line.
        shown: ast.AST = old
        for each in reversed(above):
            if isinstance(each, (ast.expr, ast.keyword)) and len(ast.unparse(each)) <= 70:
                shown = each
            elif not isinstance(shown, (ast.cmpop, ast.operator, ast.boolop)):
                break
            else:
                shown = each
        before = ast.unparse(shown)
        if shown is old:
            after = ast.unparse(new)
        else:
            _put(*place, new)
            after = ast.unparse(shown)
            _put(*place, old)
        change = f"{_short(before, after)} -> {_short(after, before)}"
        scope, functions = _scope(above, place)
        return Mutant(self._module, line, scope, change, functions, self._tree, place, new)


def _short(text: str, other: str) -> str:
    """Return the part of a long text that differs from another one, with what is around it."""
    text, other = " ".join(text.split()), " ".join(other.split())
    if len(text) <= 90:
        return text
    same = next(
        (i for i, (a, b) in enumerate(zip(text, other)) if a != b), min(len(text), len(other))
    )
    start = max(0, same - 40)
    return (
        f"{'...' if start else ''}{text[start : same + 40]}{'...' if same + 40 < len(text) else ''}"
    )


def _scope(
    above: tuple[ast.AST, ...], place: tuple[ast.AST, str, int | None]
) -> tuple[str, tuple[tuple[str, int], ...]]:
    names: list[str] = []
    functions: list[tuple[str, int]] = []
    for node, below in zip(above, (*above[1:], None)):
        # Defaults and decorators are evaluated outside of the function.
        body = getattr(node, "body", None)
        parts = body if isinstance(body, list) else [body]
        inside = place[1] == "body" if below is None else below in parts
        if isinstance(node, ast.Lambda) and inside:
            functions.append(("<lambda>", node.lineno))
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.append(node.name)
            if isinstance(node, ast.FunctionDef) and inside:
                functions.append(
                    (node.name, min(each.lineno for each in [node, *node.decorator_list]))
                )
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and not names:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            names.append(ast.unparse(target))
    return ".".join(names) or "module", tuple(functions)


def _stays(node: ast.AST, name: str, above: tuple[ast.AST, ...]) -> bool:
    """Return whether nothing in a part is changed, since nothing could be observed."""
    if name in ("annotation", "returns", "format_spec", "conversion"):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True  # documentation
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == "__all__"
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return False


def _is_message(node: ast.AST) -> bool:
    """Return whether an f-string is a sentence, which counts as one piece of text."""
    return isinstance(node, ast.JoinedStr) and _is_prose(
        "".join(str(each.value) for each in node.values if isinstance(each, ast.Constant))
    )


def _is_prose(text: str) -> bool:
    return len(re.findall(r"[a-z]+(?= )", text)) > 1 and not re.search(r"[|=;\\]", text)


def _in_message(above: tuple[ast.AST, ...]) -> bool:
    """Return whether a string is part of a message or the name of a type."""
    return any(
        isinstance(node, ast.Raise)
        or (
            isinstance(node, ast.Call) and _TELLING.fullmatch(ast.unparse(node.func).split(".")[-1])
        )
        for node in above
    )


def _replacements(node: ast.AST, name: str, above: tuple[ast.AST, ...]) -> Iterator[ast.AST]:
    if type(node) in _OPERATORS:
        yield _OPERATORS[type(node)]()
    elif isinstance(node, ast.stmt):
        yield from _statements(node)
    elif isinstance(node, ast.Constant):
        yield from _constants(node.value, above)
    elif isinstance(node, ast.JoinedStr) and _is_message(node):
        if not _in_message(above):
            yield ast.Constant("XX")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Attribute):
        of_a_pattern = isinstance(node.value, ast.Name) and node.value.id in ("re", "pattern")
        of_a_pattern |= isinstance(node.value, ast.Name) and node.value.id.isupper()
        if of_a_pattern and node.attr in _MATCHING:
            yield ast.Attribute(node.value, _MATCHING[node.attr], ast.Load())
        elif of_a_pattern and node.attr.isupper():
            yield ast.Constant(0)  # a flag
        elif node.attr in _FUNCTIONS:
            yield ast.Attribute(node.value, _FUNCTIONS[node.attr], ast.Load())
    elif isinstance(node, ast.Name) and node.id in _FUNCTIONS and name == "func":
        yield ast.Name(_FUNCTIONS[node.id], ast.Load())
    if name in ("test", "ifs") and isinstance(node, ast.expr):
        negation = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        compared = isinstance(node, ast.Compare) and len(node.ops) == 1
        if not negation and not (compared and isinstance(node.ops[0], _NEGATED_BY_ITS_OPERATOR)):
            yield ast.UnaryOp(ast.Not(), node)


def _statements(node: ast.stmt) -> Iterator[ast.stmt]:
    if isinstance(node, (ast.Expr, ast.AugAssign, ast.Raise, ast.Delete)):
        yield ast.Pass()
    elif isinstance(node, ast.Return) and ast.unparse(node) not in ("return", "return None"):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Break):
        yield ast.Continue()
    elif isinstance(node, ast.Continue):
        yield ast.Break()


def _constants(value: object, above: tuple[ast.AST, ...]) -> Iterator[ast.Constant]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, (int, float)):
        yield ast.Constant(value + 1)
    elif isinstance(value, (str, bytes)) and not _in_message(above):
        for changed in _texts(value if isinstance(value, str) else value.decode("latin-1")):
            yield ast.Constant(changed if isinstance(value, str) else changed.encode("latin-1"))


def _texts(text: str) -> Iterator[str]:
    """Yield texts with one word or bound changed: all entries of a table in a string have words."""
    if _NAMED_TYPE.fullmatch(text):
        return
    # Not in the character classes of regular expressions, which may have the letter X.
    found = [] if _is_prose(text) else _WORD.finditer(text)
    words = [match for match in found if len(match[1] or "") > 2]
    for word in words:
        yield f"{text[: word.end()]}XX{text[word.end() :]}"
    bounds = list(_BOUNDS.finditer(text))
    for match in bounds:
        for group in (1, 2):
            if match[group]:
                start, end = match.span(group)
                yield f"{text[:start]}{int(match[group]) + 1}{text[end:]}"
    if not words and not bounds:
        yield f"{text}XX"
