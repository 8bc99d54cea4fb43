"""The instructions for the AI."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..core._validation import ArgumentTypeError, check_bool, check_str
from ..swaig._validation import json_copy, json_object
from ._contexts import ContextBuilder
from ._sections import Section, declared_sections, make_section, make_subsection


class Prompt:
    """The prompt (one text or titled sections), the contexts, and the prompt for the summary.

    No method changes a section, list or dictionary in place, so that a shallow copy is independent
    and a rendered document never changes.

    Args:
        default: the prompt until a text or a section is set.

    Raises:
        ValueError: an argument is invalid (for a wrong type it is a TypeError as well), or the
            prompt would be both a text and sections, which the text would silently hide.
    """

    def __init__(self, default: str) -> None:
        self._default = default
        self._text: str | None = None
        self._sections: list[Section] = []
        self._llm_params: dict[str, Any] = {}
        self._post_prompt: str | None = None
        self._post_prompt_llm_params: dict[str, Any] = {}
        self._contexts = ContextBuilder()

    def __copy__(self) -> Prompt:
        copied = type(self).__new__(type(self))
        # Applications keep references to the builder, so each copy needs its own.
        copied.__dict__.update(self.__dict__, _contexts=copy.copy(self._contexts))
        return copied

    def set_text(self, text: str) -> None:
        """Use one text as the prompt."""
        if self._sections:
            raise ValueError("the prompt already has sections; use either text or sections")
        self._text = check_str("the prompt", text)

    def add_section(
        self,
        title: str,
        body: str | None = None,
        bullets: Sequence[str] | None = None,
        numbered: bool = False,
        subsections: Sequence[Section] | None = None,
        *,
        numbered_bullets: bool = False,
    ) -> None:
        """Append a section; `numbered` numbers it among its siblings."""
        if self._text is not None:
            raise ValueError("the prompt already is a text; use either text or sections")
        section = make_section(title, body, bullets)
        if subsections:
            if isinstance(subsections, (str, Mapping)) or not isinstance(subsections, Iterable):
                expected = "a list; numbered_bullets= is given by keyword"
                raise ArgumentTypeError(f"the subsections of section {title!r} must be {expected}")
            section["subsections"] = [make_subsection(sub, title) for sub in subsections]
        if check_bool("numbered", numbered):
            section["numbered"] = True
        if check_bool("numbered_bullets", numbered_bullets):
            section["numberedBullets"] = True
        self._sections = [*self._sections, section]

    def add_declared(self, declared: Any, what: str = "PROMPT_SECTIONS") -> None:
        """Append the sections that the class attribute ``PROMPT_SECTIONS`` declares."""
        try:
            for arguments in declared_sections(declared):
                self.add_section(**arguments)
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from None

    def set_pom(self, pom: Sequence[Section]) -> None:
        """Replace all sections.

        Args:
            pom: dictionaries, each with a ``title`` and ``body``, ``bullets``, ``numbered``,
                ``numberedBullets`` or ``subsections``.
        """
        if not isinstance(pom, (list, tuple)):
            raise ArgumentTypeError(f"pom must be a list of sections, not {type(pom).__name__}")
        replaced, self._sections = self._sections, []
        try:
            self.add_declared(pom, "pom")
        except ValueError:
            self._sections = replaced
            raise

    def add_to_section(
        self,
        title: str,
        body: str | None = None,
        bullet: str | None = None,
        bullets: Sequence[str] | None = None,
    ) -> None:
        """Append to the section `title`; add it if it does not exist."""
        addition = make_section(title, body, bullets)
        if bullet:
            first = check_str(f"a bullet of section {title!r}", bullet)
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
        self._replace(section, changed)

    def add_subsection(
        self,
        parent_title: str,
        title: str,
        body: str | None = None,
        bullets: Sequence[str] | None = None,
    ) -> None:
        """Append a subsection to the section `parent_title`; add that if it does not exist."""
        subsection = make_section(title, body, bullets)
        parent = self._find(parent_title)
        if parent is None:
            self.add_section(parent_title)
            parent = self._sections[-1]
        siblings = parent.get("subsections", [])
        self._replace(parent, {**parent, "subsections": [*siblings, subsection]})

    def has_section(self, title: str) -> bool:
        """Return whether there is a section of this title."""
        return self._find(title) is not None

    def set_llm_params(self, /, **params: Any) -> None:
        """Set parameters of the language model, such as ``temperature``.

        The names ``text``, ``pom`` and ``contexts`` are invalid: they are parts of the prompt.
        """
        given = _llm_params(params, "prompt parameters", {"text", "pom", "contexts"})
        self._llm_params = {**self._llm_params, **given}

    def set_post_prompt(self, text: str) -> None:
        """Ask for a summary after the call, in these words."""
        self._post_prompt = check_str("the post-prompt", text)

    def set_post_prompt_llm_params(self, /, **params: Any) -> None:
        """Set parameters of the language model for the summary.

        The names ``text`` and ``pom`` are invalid: they are parts of the prompt.
        """
        given = _llm_params(params, "post-prompt parameters", {"text", "pom"})
        self._post_prompt_llm_params = {**self._post_prompt_llm_params, **given}

    def define_contexts(self) -> ContextBuilder:
        """Return the builder of contexts; all of them share the rest of the prompt."""
        return self._contexts

    def reset_contexts(self) -> None:
        """Remove all contexts."""
        self._contexts.reset()

    def render(self, functions: Iterable[str] | None = None) -> dict[str, Any]:
        """Return a copy of the value of ``ai.prompt``.

        Args:
            functions: the functions that the AI may call; None to not check the names in steps.

        Raises:
            ValueError: the contexts are incomplete, or refer to unknown names.
        """
        text = {"text": self._text or self._default}
        prompt = {"pom": self._sections} if self._sections else text
        rendered = json_object("the prompt", {**prompt, **self._llm_params})
        if self._contexts:
            rendered["contexts"] = self._contexts.render(functions)
        return rendered

    def render_post_prompt(self) -> dict[str, Any] | None:
        """Return a copy of ``ai.post_prompt``, or None without a prompt for a summary."""
        if self._post_prompt is None:
            return None
        rendered = {"text": self._post_prompt, **self._post_prompt_llm_params}
        return json_object("the post-prompt", rendered)

    def _find(self, title: str) -> Section | None:
        return next((each for each in self._sections if each["title"] == title), None)

    def _replace(self, old: Section, new: Section) -> None:
        self._sections = [new if each is old else each for each in self._sections]


def _llm_params(params: dict[str, Any], what: str, parts: set[str]) -> dict[str, Any]:
    taken = sorted(parts & params.keys())
    if taken:
        raise ValueError(f"{what} cannot have the name {taken[0]!r}, which is a part of the prompt")
    return json_copy(what, params)  # type: ignore[no-any-return]
