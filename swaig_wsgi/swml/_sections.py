"""Titled sections of a prompt: their construction, declaration in a class, and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..core._validation import ArgumentTypeError, check_str, shorten
from ..swaig._validation import check_strings

Section = dict[str, Any]

_SECTION_MEMBERS = {"title", "body", "bullets", "numbered", "numberedBullets", "subsections"}
_SUBSECTION_MEMBERS = {"title", "body", "bullets"}


def make_section(title: Any, body: Any = None, bullets: Any = None) -> Section:
    """Return a section, a copy of its parts; raise ValueError if one is invalid."""
    made: Section = {"title": check_str("the title of a prompt section", title)}
    if body:
        made["body"] = check_str(f"the body of section {title!r}", body)
    listed = check_strings(f"the bullets of section {title!r}", bullets or ())
    if listed:
        made["bullets"] = listed
    return made


def make_subsection(value: Any, parent: str) -> Section:
    """Like :func:`make_section`, from a dictionary in the section `parent`."""
    if not isinstance(value, Mapping):
        raise ArgumentTypeError(f"a subsection of section {parent!r} must be a dictionary")
    return make_section(value.get("title"), value.get("body"), value.get("bullets"))


def markdown(sections: Iterable[Section]) -> str:
    """Return sections, each with a body or bullets, as Markdown."""
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
        ValueError: it is anything else, or has an unknown member.
    """
    if declared is None:
        return []
    if isinstance(declared, Mapping):
        pairs = list(declared.items())
    elif isinstance(declared, (list, tuple)):
        pairs = [(_title(each), each) for each in declared]
    else:
        raise ArgumentTypeError(f"it must be a dictionary or a list, not {shorten(declared)}")
    read = (_declared(title, content) for title, content in pairs)
    return [arguments for arguments in read if arguments is not None]


def _title(content: Any) -> Any:
    if not isinstance(content, Mapping) or "title" not in content:
        expected = "a dictionary with a title"
        raise ValueError(f"each section of a list must be {expected}, not {shorten(content)}")
    return content["title"]


def _declared(title: Any, content: Any) -> dict[str, Any] | None:
    if isinstance(content, str):
        return {"title": title, "body": content}
    if isinstance(content, (list, tuple)):
        return {"title": title, "bullets": content} if content else None
    if not isinstance(content, Mapping):
        expected = "a string, a list or a dictionary"
        raise ArgumentTypeError(f"section {title!r} must be {expected}, not {shorten(content)}")
    _check_known(content, _SECTION_MEMBERS, title)
    subsections = content.get("subsections") or []
    if not isinstance(subsections, (list, tuple)):
        raise ArgumentTypeError(f"the subsections of {title!r} must be a list")
    filled = []
    for each in subsections:
        if isinstance(each, Mapping):
            _check_known(each, _SUBSECTION_MEMBERS, title)
            if not each.get("body") and not each.get("bullets"):
                continue
        filled.append(each)
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


def _check_known(content: Mapping[Any, Any], known: set[str], title: Any) -> None:
    # A misspelled member would silently lose an instruction.
    for member in content:
        if member not in known:
            problem = f"an unknown member {member!r}; known are {', '.join(sorted(known))}"
            raise ValueError(f"section {title!r} has {problem}")
