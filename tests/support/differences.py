"""What differs between the responses of two sites to the same requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from support.sites import DOCS
from support.wsgi import Response

#: Fields of the connection and the moment, and those that follow from the body.
IGNORED = {
    "connection",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "server",
    "transfer-encoding",
}
#: Fields whose value is a list without an order.
UNORDERED = {"access-control-allow-methods", "access-control-expose-headers", "allow", "vary"}

#: What differs from one request to the next, and what to compare in its place.
VOLATILE = (
    (re.compile(r"nonce-[\w-]+"), "nonce-NONCE"),
    (re.compile(r'nonce="[\w-]+"'), 'nonce="NONCE"'),
    (re.compile(r"^[0-9a-f]{32}$"), "ID"),
    (re.compile(r"((?:session|sessionid|csrftoken)=)[^;]+"), r"\1VALUE"),
    (re.compile(r"expires=[^;]+"), "expires=TIME"),
    (re.compile(r"\bt=\d+"), "t=SECONDS"),
)
#: Numbers that depend on the second.
TIMES = {"expires": "TIME", "retry-after": "SECONDS", "x-ratelimit-reset": "TIME"}


@dataclass(frozen=True)
class Call:
    """A request to both sites, sent `times` times; the last response is compared."""

    name: str
    path: str = "/"
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    times: int = 1
    #: The address from which it comes; by default, one of its own.
    peer: str = ""


def rows_of(page: str, sections: Iterable[str]) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield the rows of tables of options, as (section, compared, before, after, difference)."""
    section = ""
    for line in (DOCS / page).read_text().splitlines():
        if line.startswith("#"):
            section = line.strip("# ")
        if section in sections and line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            compared, before, after = (cell.strip("`") for cell in cells[:3])
            yield section, compared, before, after, cells[3]


def ask(send: Callable[..., Any], calls: Iterable[Call]) -> dict[str, dict[str, str]]:
    """Return what a site responds to each call, by the ``open`` of a test client of Werkzeug."""
    found = {}
    for number, call in enumerate(calls):
        scheme = "http" if call.peer else call.headers.get("X-Forwarded-Proto", "https")
        responses = [
            send(
                call.path,
                method=call.method,
                base_url=f"{scheme}://www.example.com",
                headers=call.headers,
                environ_overrides={"REMOTE_ADDR": call.peer or f"192.0.2.{number + 1}"},
            )
            for _ in range(call.times)
        ]
        plain = [
            Response(each.status_code, "", list(each.headers), each.get_data())
            for each in responses
        ]
        status = " ".join(str(each.status) for each in plain)
        found[call.name] = {**observed(plain), "status": status}
    return found


def only(compared: str, found: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return only one of the things that are compared."""
    return {name: {compared: each.get(compared, "")} for name, each in found.items()}


def in_words(
    calls: Iterable[Call], before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]
) -> str:
    """Return the column "difference" of a table of options."""
    return "; ".join(
        f"`{one or '-'}` → `{other or '-'}` ({names})"
        for _, one, other, names in differences(calls, before, after)
    )


def observed(responses: list[Any]) -> dict[str, str]:
    """Return what is compared of the responses to one call, by name."""
    last = responses[-1]
    found = {"response": " ".join(str(each.status) for each in responses)}
    fields: dict[str, list[str]] = {}
    for name, value in last.fields:
        if name.lower() not in IGNORED:
            fields.setdefault(name.lower(), []).append(steady(name, value))
    for name, values in fields.items():
        found[name] = ", ".join(sorted(values))
    if last.body:
        kind = last.headers.get("Content-Type", "").partition(";")[0]
        found["response"] += f" {kind} {summary(last.body.decode('utf-8', 'replace'))}"
    return found


def steady(name: str, value: str) -> str:
    if name.lower() in TIMES:
        return TIMES[name.lower()]
    if name.lower() == "vary":
        value = value.lower()
    if name.lower() in UNORDERED:
        value = ", ".join(sorted(re.split(r",\s*", value)))
    for pattern, replacement in VOLATILE:
        value = pattern.sub(replacement, value)
    return value


def summary(body: str) -> str:
    """Return a short body, or the title of a page."""
    title = re.search(r"<title>(.*?)</title>", body, re.DOTALL)
    if title is not None:
        return title[1].strip()
    return " ".join(body.split())[:80]


def differences(
    calls: Iterable[Call], before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]
) -> list[tuple[str, str, str, str]]:
    """Return rows of (what, before, after, calls): equal differences are one row."""
    names = [call.name for call in calls]
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name in names:
        one, other = before[name], after[name]
        for what in sorted(one.keys() | other.keys(), key=lambda key: (key != "response", key)):
            pair = one.get(what, ""), other.get(what, "")
            if pair[0] != pair[1]:
                rows.setdefault((what, *pair), []).append(name)
    return [(what, old, new, listed(found, names)) for (what, old, new), found in rows.items()]


def listed(found: list[str], names: list[str]) -> str:
    """Return which of `names` were found, the shorter way."""
    missing = [name for name in names if name not in found]
    if not missing:
        return "every response"
    if len(missing) < len(found):
        return f"all but: {', '.join(missing)}"
    return ", ".join(found)


def as_table(rows: Iterable[tuple[str, ...]]) -> str:
    """Return rows as lines of Markdown."""
    return "\n".join(f"| {' | '.join(cells(row))} |" for row in rows)


def cells(row: tuple[str, ...]) -> list[str]:
    what, old, new, calls = row
    shown = [f"`{text}`".replace("|", "\\|") if text else "" for text in (what, old, new)]
    return [*shown, calls]
