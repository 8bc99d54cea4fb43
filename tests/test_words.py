"""Names and prose use the terms of the RFCs and of the standard library's documentation."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    path
    for directory in ("swaig_wsgi", "tests", "examples")
    for path in (ROOT / directory).rglob("*.py")
    if path != Path(__file__).resolve()
)
TEXTS = sorted(
    path
    for pattern in (
        "*.md",
        "docs/*.md",
        "examples/*/*",
        "*.cfg",
        "*.ini",
        "*.toml",
        "tests/*/*.txt",
    )
    for path in ROOT.glob(pattern)
    if path.is_file() and path.suffix not in (".py", ".pyc")
)

#: Words that are not part of a name, and what to write instead.
NAMES = {
    "answer": "response, result",
    "answered": "responded",
    "answers": "responses, results",
    "beat": "heartbeat",
    "beats": "heartbeats",
    "insist": "require",
    "insists": "require",
    "lonely": "alone",
    "marks": "what the marks are",
    "nobody": "the actor",
    "proved": "verified",
    "proven": "verified",
    "rooms": "packages, parts",
    "said": "message, record",
    "seed": "guide",
    "settled": "what was decided",
    "somebody": "the actor",
    "stranger": "client",
    "strangers": "clients",
    "told": "message, expected",
    "understood": "parsed, supported",
    "whoever": "the actor",
}
#: Words that are not a whole name.
WHOLE_NAMES = {"there": "what is there"}

#: Phrases that are not part of prose, and what to write instead. A space in them stands for any
#: white space, and for the start of another line of a comment.
PHRASES = {
    r"answer(s|ed|ing)?\b": "respond, response, result, return",
    r"as understood by|is understood|not understood": "parsed, supported",
    r"becomes of": "what happens to",
    r"cannot be said in": "is not serializable",
    r"front door": "secure front end",
    r"hand(s|ed|ing)?( it| them)? (on|over)\b": "pass on, record",
    r"house\b": "package",
    r"(is|are|was|were) (?-i:none)\b(?! of)": "is invalid, is not a ..., is missing",
    r"insist(s|ed|ing)?\b": "require",
    r"let off|lets? (it |them )?in\b|lets? go\b": "exempt, admit, release",
    r"licence|behaviours?|colou?r(?<=our)s?|favour|honour|neighbour": "American spelling",
    r"lonely": "alone",
    r"nobody|somebody|whoever|who proves": "the actor: client, caller, worker, administrator",
    r"prove[dn] (call )?ids?\b": "verified call id",
    r"rooms\b": "packages, parts",
    r"round (the|a|an|any|one|another|it|this|every)\b": "around",
    r"settled": "decided",
    r"signs? of life": "heartbeat",
    r"stairs": "layers",
    r"strangers?\b": "unauthenticated client",
    r"tells? whether": "Return whether",
    r"the seed('s)?\b": "the SDK's security guide",
    r"[a-z]*(author|capital|initial|minim|normal|optim|organ|recogn|serial|special|summar|synchron)"
    r"is(e|ed|es|er|ers|ing|ation)\b": "American spelling",
    r"centre|defence|offence|labelled|cancelled|whilst|judgement|artefact|analyse[sd]?\b": (
        "American spelling"
    ),
}

#: Phrases with one of these words in another meaning; reviewed.
ALLOWED_PHRASES = (
    r"there (is|are|was|were) none",
    r"colour of it",
    # SWML has a verb ``answer``, and questions to a caller.
    r"\Aanswer\Z|`+answer`+|(before|at and after|between|parameters of) the answer",
    r"\"answer\": \{\}",
    r"answers? the call|(is|been) answered",
    r"the caller's answers?|questions and answers|the answer back|You answer for a shop",
)
#: Names with one of these words in another meaning; reviewed.
ALLOWED_NAMES = re.compile(
    # SWML has a verb ``answer``.
    r"_?((add|clear|set)_)?((auto|pre|post)_)?answer(_first|_verbs?)?"
    r"|test_\w+(_answer_a_call|_call_is_(not_)?answered)\w*|test_(\w+_)?the_answer_\w+"
    r"|ANSWER_TYPES"  # of the caller's answers to questions
    r"|answer_headers"  # public
    r"|seed"  # of hypothesis and random
    r"|marks"  # of pytest.param
    r"|as_nobody"  # the user of Unix
)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a file, each with its first line.

    In a module, these are its blocks of comments and its docstrings, and outside of the tests all
    other strings: they are messages.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield 1, text
        return
    is_test = path.is_relative_to(ROOT / "tests")
    for node in ast.walk(ast.parse(text)):
        if is_test and isinstance(node, ast.Expr):
            node = node.value
        elif is_test:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    first, block = 0, ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if block and line != first + block.count("\n") + 1:
            yield first, block
            block = ""
        first, block = (first, f"{block}\n{token.string}") if block else (line, token.string)
    if block:
        yield first, block


def _pattern(phrase: str) -> re.Pattern[str]:
    return re.compile(phrase.replace(" ", r"(?:\s|#:?)+"), re.IGNORECASE)


def phrases_in(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the phrase, and what to write instead, of each phrase to avoid."""
    allowed = _pattern("|".join(ALLOWED_PHRASES))
    for first, text in prose(path):
        text = allowed.sub(lambda match: re.sub(r"\S", "-", match[0]), text)
        for phrase, instead in PHRASES.items():
            for match in _pattern(rf"\b(?:{phrase})").finditer(text):
                yield first + text.count("\n", 0, match.start()), match[0].lower(), instead


def names_in(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the name, and what to write instead, of each name to avoid."""
    text = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.NAME or ALLOWED_NAMES.fullmatch(token.string):
            continue
        if token.string in WHOLE_NAMES:
            yield token.start[0], token.string, WHOLE_NAMES[token.string]
        spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", token.string)
        for part in spaced.lower().split("_"):
            if part in NAMES:
                yield token.start[0], token.string, NAMES[part]


@pytest.mark.parametrize("directory", ["swaig_wsgi", "tests", "examples", "docs", "."])
def test_prose_uses_the_words_of_the_field(directory: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {phrase!r}; write {instead}"
        for path in (*MODULES, *TEXTS)
        if _top(path) == directory
        for line, phrase, instead in phrases_in(path)
    ]
    assert found == []


@pytest.mark.parametrize("directory", ["swaig_wsgi", "tests", "examples"])
def test_names_use_the_words_of_the_field(directory: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}; write {instead}"
        for path in MODULES
        if _top(path) == directory
        for line, name, instead in names_in(path)
    ]
    assert found == []


def _top(path: Path) -> str:
    return path.relative_to(ROOT).parts[0] if path.parent != ROOT else "."


# The search itself


def module(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "module.py"
    path.write_text(text)
    return path


def test_phrases_are_found_in_comments_docstrings_and_messages(tmp_path: Path) -> None:
    text = (
        '"""Tell whether this\nis a room."""\n\n# What a client\n# hands\n# on.\n'
        'raise ValueError(f"{0} is none")  # nobody\n'
    )
    found = [
        (line, re.sub(r"[\s#]+", " ", phrase))
        for line, phrase, _ in phrases_in(module(tmp_path, text))
    ]
    assert sorted(found) == [(1, "tell whether"), (5, "hands on"), (7, "is none"), (7, "nobody")]


def test_allowed_phrases_are_not_found(tmp_path: Path) -> None:
    text = '"""Return None if there\nis none, or the ``answer`` verb. The default is None."""\n'
    assert list(phrases_in(module(tmp_path, text))) == []


def test_names_are_found_by_their_parts(tmp_path: Path) -> None:
    text = "the_answer = OldAnswers = there = 1\nthere_is = add_pre_answer_verb = seed = 2\n"
    found = [(line, name) for line, name, _ in names_in(module(tmp_path, text))]
    assert found == [(1, "the_answer"), (1, "OldAnswers"), (1, "there")]
