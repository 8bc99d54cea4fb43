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
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")]
MODULES = [
    path
    for directory in ("swaig_wsgi", "tests", "examples")
    for path in (ROOT / directory).rglob("*.py")
    if path != Path(__file__).resolve()
]
CONFIGURATION = [ROOT / name for name in ("pyproject.toml", "setup.cfg", "tox.ini")]

#: Words that are not part of a name, and what to write instead. Parts are separated by
#: underscores or capital letters.
NAMES = {
    "answer": "response, result",
    "answers": "responses, results",
    "answered": "responded",
    "beat": "heartbeat",
    "beats": "heartbeats",
    "insist": "a plain verb",
    "insists": "a plain verb",
    "lonely": "a plain adjective",
    "marks": "what they mark",
    "nobody": "the actor",
    "proved": "verified",
    "proven": "verified",
    "room": "package, part",
    "rooms": "packages, parts",
    "said": "what it holds",
    "seed": "the SDK's security guide",
    "settled": "a plain verb",
    "somebody": "the actor",
    "stranger": "client",
    "strangers": "clients",
    "there": "what is there",
    "understood": "a plain verb",
    "whoever": "the actor",
}

#: Names that are someone else's.
ALLOWED_NAMES = {
    # The verb of SWML, and the parameters and phases named after it.
    "answer",
    "answer_first",
    "auto_answer",
    "post_answer",
    "pre_answer",
    "join_room",  # a RELAY room
    "seed",  # of hypothesis and random
}
ALLOWED_PARTS = re.compile(r"(pre_|post_|auto_)?answer_(verbs?|first)|join_room")

#: Phrases that are not part of a docstring, a comment or a page, and what to write instead.
#: A space stands for any white space, and for the start of a comment.
PHRASES = {
    r"answer(s|ed|ing)?\b": "response, respond; result, return",
    r"at the word of|by the word of|whose word": "trusted, claimed",
    r"becomes? of (the|a|an|what|it)\b": "a plain verb",
    r"cannot be said in": "is not serializable",
    r"costs?\b(?! nine)": "takes, needs",
    r"front door": "secure front end",
    r"hand(s|ed|ing)?( it| them)? on\b": "pass on, record",
    r"house\b": "package",
    r"(is|are|was|were|that be) none\b": "is invalid, is not a ..., is missing",
    r"insist(s|ed|ing)?\b": "require",
    r"let off|lets? (it |them )?in\b|let go\b": "exempt, admit, release",
    r"lonely": "alone",
    r"nobody|somebody|whoever|who proves": "the actor: client, caller, worker, administrator",
    r"prove[dn] (call )?id": "verified call id",
    r"rooms?\b": "package, part",
    r"round (the|a|an|any|one|another|it|this|every)\b": "around",
    r"settled": "a plain verb",
    r"signs? of life": "heartbeat",
    r"stairs": "layers",
    r"strangers?\b": "unauthenticated client",
    r"tells? whether": "Return whether",
    r"the seed('s)?\b": "the SDK's security guide",
    r"understood\b": "supported, parsed",
    r"[a-z]*(behaviour|colour|favour|honour|neighbour)[a-z]*": "American spelling",
    r"[a-z]*(authoris|capitalis|initialis|minimis|normalis|optimis|organis|recognis|serialis"
    r"|specialis|summaris|synchronis)(e|ed|es|er|ing|ation)\b": "American spelling",
    r"licence|centre|defence|offence|labelled|whilst|judgement|artefact|analyse[sd]?\b|grey\b": (
        "American spelling"
    ),
}

#: Uses in another sense, as (end of the path, text around the phrase).
ALLOWED_PHRASES: set[tuple[str, str]] = set()


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the first line and the text of each page, docstring, string and block of comments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield 1, text
        return
    is_test = path.is_relative_to(ROOT / "tests")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if not is_test:
            yield node.lineno, node.value
    if is_test:
        for node in ast.walk(ast.parse(text)):
            if isinstance(
                node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
            ) and (docstring := ast.get_docstring(node, clean=False)):
                yield node.body[0].lineno, docstring
    comments: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if comments and comments[-1][0] + 1 != token.start[0]:
                yield comments[0][0], "\n".join(comment for _, comment in comments)
                comments = []
            comments.append((token.start[0], token.string))
    if comments:
        yield comments[0][0], "\n".join(comment for _, comment in comments)


def names(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each name in a module, with its line."""
    text = path.read_text(encoding="utf-8")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string


def parts(name: str) -> list[str]:
    """Return the words of a name, in lower case."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return spaced.lower().split("_")


def phrase_pattern() -> re.Pattern[str]:
    joined = "|".join(f"(?:{phrase})" for phrase in PHRASES)
    return re.compile(rf"\b(?:{joined})".replace(" ", r"(?:\s|\#:?)+"), re.IGNORECASE)
