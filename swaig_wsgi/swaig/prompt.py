"""What the AI is told about its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .values import json_copy, text

Section = dict[str, Any]


class Prompt:
    """The prompt, either one text or titled sections, and the prompt for the summary.

    No method changes a section, list or dictionary in place: each makes a new one, so that a
    shallow copy stands alone and a document that was rendered never changes.

    Args:
        default: the text while neither a text nor a section was set.
    """

    def __init__(self, default: str) -> None:
        self._default = default
        self._text: str | None = None
        self._sections: list[Section] = []
        self._llm_params: dict[str, Any] = {}
        self._post_prompt: str | None = None
        self._post_prompt_llm_params: dict[str, Any] = {}

    def set_text(self, value: str) -> None:
        """Use one text as the prompt.

        Raises:
            ValueError: there are sections already, which the text would silently hide.
        """
        if self._sections:
            raise ValueError("the prompt has sections already; it is either text or sections")
        self._text = text(value, "the prompt")

    def add_section(
        self,
        title: str,
        body: str | None = None,
        bullets: Sequence[str] | None = None,
        numbered: bool = False,
        subsections: Sequence[Section] | None = None,
    ) -> None:
        """Append a section; `numbered` numbers it among its siblings.

        Raises:
            ValueError: the prompt is a text already, a title is missing, or a part is of a
                wrong type.
        """
        if self._text is not None:
            raise ValueError("the prompt is a text already; it is either text or sections")
        section = _section(title, body, bullets)
        if subsections:
            section["subsections"] = [_subsection(sub, title) for sub in subsections]
        if numbered:
            section["numbered"] = True
        self._sections = [*self._sections, section]

    def add_to_section(
        self,
        title: str,
        body: str | None = None,
        bullet: str | None = None,
        bullets: Sequence[str] | None = None,
    ) -> None:
        """Append to the section `title`, which is made when it is not there yet."""
        addition = _section(title, body, bullets)
        if bullet:
            first = text(bullet, f"a bullet of section {title!r}")
            addition["bullets"] = [first, *addition.get("bullets", [])]
        section = self._find(title)
        if section is None:
            self.add_section(title, body, addition.get("bullets"))
            return
        changed = dict(section)
        if body:
            changed["body"] = f"{section['body']}\n\n{body}" if section.get("body") else body
        if "bullets" in addition:
            changed["bullets"] = [*section.get("bullets", []), *addition["bullets"]]
        self._exchange(section, changed)

    def add_subsection(
        self,
        parent_title: str,
        title: str,
        body: str | None = None,
        bullets: Sequence[str] | None = None,
    ) -> None:
        """Append a subsection to the section `parent_title`, made when it is not there yet."""
        subsection = _section(title, body, bullets)
        parent = self._find(parent_title)
        if parent is None:
            self.add_section(parent_title)
            parent = self._sections[-1]
        siblings = parent.get("subsections", [])
        self._exchange(parent, {**parent, "subsections": [*siblings, subsection]})

    def has_section(self, title: str) -> bool:
        """Tell whether there is a section of this title."""
        return self._find(title) is not None

    def set_llm_params(self, /, **params: Any) -> None:
        """Set parameters of the language model, such as ``temperature``."""
        self._llm_params = {**self._llm_params, **json_copy(params, "prompt parameters")}

    def set_post_prompt(self, value: str) -> None:
        """Ask for a summary after the call, in these words."""
        self._post_prompt = text(value, "the post-prompt")

    def set_post_prompt_llm_params(self, /, **params: Any) -> None:
        """Set parameters of the language model for the summary."""
        given = json_copy(params, "post-prompt parameters")
        self._post_prompt_llm_params = {**self._post_prompt_llm_params, **given}

    def render(self) -> dict[str, Any]:
        """Return the value of ``ai.prompt``."""
        if self._sections:
            return {"pom": self._sections, **self._llm_params}
        return {"text": self._text or self._default, **self._llm_params}

    def render_post_prompt(self) -> dict[str, Any] | None:
        """Return the value of ``ai.post_prompt``, or None when no summary was asked for."""
        if self._post_prompt is None:
            return None
        return {"text": self._post_prompt, **self._post_prompt_llm_params}

    def _find(self, title: str) -> Section | None:
        return next((each for each in self._sections if each["title"] == title), None)

    def _exchange(self, old: Section, new: Section) -> None:
        self._sections = [new if each is old else each for each in self._sections]


def _subsection(value: Any, parent: str) -> Section:
    if not isinstance(value, Mapping):
        raise ValueError(f"a subsection of section {parent!r} must be a dictionary")
    return _section(value.get("title"), value.get("body"), value.get("bullets"))


def _section(title: Any, body: Any, bullets: Any) -> Section:
    section: Section = {"title": text(title, "the title of a prompt section")}
    if body:
        section["body"] = text(body, f"the body of section {title!r}")
    if bullets:
        if isinstance(bullets, str):
            raise ValueError(f"the bullets of section {title!r} must be a list of strings")
        section["bullets"] = [text(each, f"a bullet of section {title!r}") for each in bullets]
    return section
