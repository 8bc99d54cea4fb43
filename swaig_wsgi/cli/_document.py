"""The tools in a document, as the commands show and call them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..core.tokens import TokenError, token_from_query
from ..swml import ai_of


@dataclass(frozen=True)
class Tool:
    """A tool in a document."""

    name: str
    definition: dict[str, Any]
    #: Where it runs; None if the platform itself runs it.
    url: str | None

    @property
    def has_token(self) -> bool:
        """Whether the tool is secure, that is, its URL has a token."""
        try:
            return self.url is not None and token_from_query(urlsplit(self.url).query) is not None
        except (TokenError, ValueError):
            return True


def tools_in(document: dict[str, Any]) -> list[Tool]:
    """Return the tools in a document.

    Raises:
        ValueError: the document has no ``ai`` verb, or is malformed.
    """
    try:
        swaig = ai_of(document).get("SWAIG", {})
        default = swaig.get("defaults", {}).get("web_hook_url")
        found = []
        for each in swaig.get("functions", []):
            url = None if "data_map" in each else each.get("web_hook_url") or default
            found.append(Tool(str(each["function"]), dict(each), url and str(url)))
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError("the document is malformed") from None
    except LookupError:
        raise ValueError("the document has no agent: no ai verb") from None
    return found
