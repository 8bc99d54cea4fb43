"""The documents of an agent as JSON text, of which each call changes only the tokens."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable, Iterable
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from ._document import Endpoints

#: Where any host is allowed, clients choose the URLs in documents.
_MAX_TEMPLATES = 8

TokenFor = Callable[[str], str]


class _Template(NamedTuple):
    #: The text before, between and after the tokens.
    texts: tuple[str, ...]
    #: The function of each token.
    functions: tuple[str, ...]


class Templates:
    """The last documents of one agent, by their URLs.

    No part of an agent changes what it contains: it replaces it. So the documents stay the same as
    long as all attributes of all parts are the same objects.
    """

    def __init__(self) -> None:
        #: The attributes of the parts, and the templates made from them. Replaced as a whole, since
        #: other threads read it.
        self._known: tuple[list[Any], dict[Endpoints, _Template]] = ([], {})

    def fill(
        self,
        parts: Iterable[object],
        endpoints: Endpoints,
        render: Callable[[TokenFor], str],
        token_for: TokenFor,
    ) -> str:
        """Return the document of one call, as JSON.

        Args:
            parts: what the document is made of, besides `endpoints`.
            endpoints: the URLs in it.
            render: returns the document with the tokens of its argument.
            token_for: returns a token for a function name.
        """
        attributes = list(chain.from_iterable(vars(part).values() for part in parts))
        known, templates = self._known
        # Not by equality: 1 equals True.
        if len(known) != len(attributes) or not all(map(operator.is_, known, attributes)):
            templates = {}
            self._known = attributes, templates
        template = templates.get(endpoints)
        if template is None:
            template = _make(render)
            if len(templates) >= _MAX_TEMPLATES:
                templates.clear()
            templates[endpoints] = template
        # Tokens are base64url, which JSON does not escape.
        tokens = map(token_for, template.functions)
        return "".join(chain.from_iterable(zip_longest(template.texts, tokens, fillvalue="")))


def _make(render: Callable[[TokenFor], str]) -> _Template:
    # Random, so that no other text of the document can look like one.
    marker = os.urandom(16).hex()
    functions: list[str] = []

    def placeholder(function: str) -> str:
        functions.append(function)
        return f"{marker}-{len(functions) - 1}-"

    pieces = re.split(f"{marker}-([0-9]+)-", render(placeholder))
    return _Template(tuple(pieces[::2]), tuple(functions[int(each)] for each in pieces[1::2]))
