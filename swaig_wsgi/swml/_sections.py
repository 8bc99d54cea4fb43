"""Titled sections of a prompt: made, read from a class, and written as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..swaig._values import text, texts

Section = dict[str, Any]

_SECTION_MEMBERS = {"title", "body", "bullets", "numbered", "numberedBullets", "subsections"}
_SUBSECTION_MEMBERS = {"title", "body", "bullets"}


def make_section(title: Any, body: Any = None, bullets: Any = None) -> Section:
    """Return a section, independent of what it is made from.

    Raises:
        ValueError: the title is missing, or a part is of a wrong type.
    """
    made: Section = {"title": text(title, "the title of a prompt section")}
    if body:
        made["body"] = text(body, f"the body of section {title!r}")
    if bullets:
        listed = texts(bullets, f"the bullets of section {title!r}")
        if listed:
            made["bullets"] = listed
    return made


def make_subsection(value: Any, parent: str) -> Section:
    """Like :func:`make_section`, from a dictionary inside the section `parent`."""
    if not isinstance(value, Mapping):
        raise ValueError(f"a subsection of section {parent!r} must be a dictionary")
    return make_section(value.get("title"), value.get("body"), value.get("bullets"))


def markdown(sections: Iterable[Section]) -> str:
    """Return sections of a title with a body or bullets as one text."""
    return "\n\n".join(_as_markdown(each) for each in sections).strip()


def _as_markdown(each: Section) -> str:
    lines = [f"- {bullet}" for bullet in each["bullets"]] if "bullets" in each else [each["body"]]
    return "\n".join([f"## {each['title']}", *lines])


def declared_sections(declared: Any) -> list[dict[str, Any]]:
    """Read the class attribute ``PROMPT_SECTIONS``.

    Args:
        declared: a dictionary of titles with a body, a list of bullets, or a dictionary of
            ``body``, ``bullets``, ``numbered``, ``numberedBullets`` and ``subsections``; or a
            list of such dictionaries, each with its ``title``; or None.

    Returns:
        The arguments of each section for :meth:`Prompt.add_section`. An empty list or dictionary
        makes no section.

    Raises:
        ValueError: it is something else, or has a member that is not known.
    """
    if declared is None:
        return []
    if isinstance(declared, Mapping):
        pairs = list(declared.items())
    elif isinstance(declared, (list, tuple)):
        pairs = [(_title(each), each) for each in declared]
    else:
        raise ValueError(f"it must be a dictionary or a list, not {declared!r}")
    read = (_declared(title, content) for title, content in pairs)
    return [arguments for arguments in read if arguments is not None]


def _title(content: Any) -> Any:
    if not isinstance(content, Mapping) or "title" not in content:
        raise ValueError(
            f"each section of a list must be a dictionary with a title, which {content!r} is not"
        )
    return content["title"]


def _declared(title: Any, content: Any) -> dict[str, Any] | None:
    if isinstance(content, str):
        return {"title": title, "body": content}
    if isinstance(content, (list, tuple)):
        return {"title": title, "bullets": content} if content else None
    if not isinstance(content, Mapping):
        raise ValueError(
            f"section {title!r} must be a string, a list or a dictionary, not {content!r}"
        )
    _refuse_others(content, _SECTION_MEMBERS, title)
    subsections = content.get("subsections") or []
    if not isinstance(subsections, (list, tuple)):
        raise ValueError(f"the subsections of {title!r} must be a list")
    for each in subsections:
        if isinstance(each, Mapping):
            _refuse_others(each, _SUBSECTION_MEMBERS, title)
    filled = [
        each
        for each in subsections
        if not isinstance(each, Mapping) or each.get("body") or each.get("bullets")
    ]
    if not (content.get("body") or content.get("bullets") or "subsections" in content):
        return None
    return {
        "title": title,
        "body": content.get("body"),
        "bullets": content.get("bullets"),
        "numbered": content.get("numbered", False),
        "numbered_bullets": content.get("numberedBullets", False),
        "subsections": filled,
    }


def _refuse_others(content: Mapping[Any, Any], known: set[str], title: Any) -> None:
    # A misspelt member would lose an instruction without a word.
    for member in content:
        if member not in known:
            raise ValueError(
                f"section {title!r} has an unknown member {member!r}; "
                f"known are {', '.join(sorted(known))}"
            )
