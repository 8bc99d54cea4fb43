"""Parsing of the platform's requests; malformed ones raise JSONBodyError."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ..core.calls import call_id_in, check_call_id
from ..core.strict_json import JSONBodyError, loads_object, loads_value


@dataclass(frozen=True)
class FunctionCall:
    """A tool call as received; untrusted until its token is verified."""

    name: str
    #: None if they cannot be read: the handler must not run, not even with an empty object.
    arguments: dict[str, Any] | None
    #: Why they cannot be read, in a few words.
    problem: str = ""


def call_id_of(body: Mapping[str, Any], query: str | None = None) -> str | None:
    """Return ``call_id``, else ``call.call_id``, else the query's call id, else None."""
    call_id = call_id_in(body)
    return check_call_id(query) if call_id is None and query else call_id


def parse_function_call(body: Mapping[str, Any]) -> FunctionCall:
    """Return the name and the arguments of a tool call.

    The arguments are the first of these that is not empty, in ``argument`` or else in `body`:

    1. ``parsed``, an object, or the first item of a list;
    2. ``arguments``, an object; in ``argument`` only if it is the only member;
    3. ``raw``, parsed; or ``arguments`` or ``parsed``, if that is text;
    4. ``argument`` itself, if it has neither ``parsed`` nor ``raw``.

    Raises:
        JSONBodyError: the name is missing, or ``argument`` is not an object.
    """
    name = body.get("function")
    if not isinstance(name, str) or not name:
        raise JSONBodyError("function must be a non-empty string")
    argument = body.get("argument")
    if argument is None:
        argument = {each: body[each] for each in _WRAPPERS if each in body}
    elif not isinstance(argument, dict):
        raise JSONBodyError("argument must be an object")
    if not ("parsed" in argument or "raw" in argument or list(argument) == ["arguments"]):
        return FunctionCall(name, argument)
    try:
        return FunctionCall(name, _unwrapped(*map(argument.get, _WRAPPERS)))
    except JSONBodyError as error:
        return FunctionCall(name, None, error.what)


#: What arguments arrive in: as the platform parsed them, as the model's API has them, as written.
_WRAPPERS = ("parsed", "arguments", "raw")


def _unwrapped(parsed: Any, arguments: Any, raw: Any) -> dict[str, Any]:
    if isinstance(parsed, list) and parsed and (parsed[0] or len(parsed) == 1):
        parsed = parsed[0]
    for each in (parsed, arguments):
        if each and isinstance(each, dict):
            return each
    for each in (raw, arguments, parsed):
        if isinstance(each, str) and each.strip():
            return loads_object(each.encode("utf-8"))
    # An empty object stands for no arguments only if there is nothing else.
    if any(
        each not in (None, [], {}) for each in (parsed, arguments, raw) if not isinstance(each, str)
    ):
        raise JSONBodyError("of an unknown form")
    return {}


def requested_functions(body: Mapping[str, Any]) -> list[str] | None:
    """Return the names in a request for signatures; None or an empty list means all."""
    names = body.get("functions")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise JSONBodyError("functions must be a list of strings")
    return names


def summary_of(body: Mapping[str, Any]) -> Any:
    """Return the summary of a call, whichever service of the platform sent it, or None.

    It is the first of these that is not empty:

    1. ``post_prompt_data.parsed``, an object, or the first item of a list;
    2. ``post_prompt_data.raw``, parsed if it is JSON, with or without a code fence, else its text;
    3. ``post_prompt_data.substituted``;
    4. the other members of ``post_prompt_data``;
    5. ``post_prompt_data`` itself, if it is not an object;
    6. ``summary``.
    """
    data = body.get("post_prompt_data")
    if isinstance(data, dict):
        parsed = data.get("parsed")
        candidates = [parsed[0] if isinstance(parsed, list) and parsed else parsed]
        candidates += [_parsed_text(data.get("raw")), data.get("substituted")]
        known = ("parsed", "raw", "substituted")
        candidates.append({name: data[name] for name in data if name not in known})
    else:
        candidates = [data]
    candidates.append(body.get("summary"))
    return next((each for each in candidates if each not in (None, "", [], {})), None)


def _parsed_text(raw: Any) -> Any:
    if not isinstance(raw, str):
        return raw
    text = raw.strip()
    if len(text) > 6 and text.startswith("```") and text.endswith("```"):
        text = text[3:-3].lstrip(string.ascii_letters)
    try:
        return loads_value(text.encode("utf-8"))
    except JSONBodyError:
        return raw if raw.strip() else None


def sip_username(body: Mapping[str, Any]) -> str | None:
    """Return the user name or number of the called party, from ``call.to``, or None without one.

    For a SIP or SIPS URI that is the user part, without password and parameters (RFC 3261 section
    19.1); for a tel URI the number without parameters (RFC 3966); else the whole of ``call.to``.
    """
    call = body.get("call")
    to = call.get("to") if isinstance(call, dict) else None
    if not isinstance(to, str):
        return None
    scheme, colon, rest = to.partition(":")
    if not colon or scheme.lower() not in ("sip", "sips", "tel"):
        return to or None
    if scheme.lower() != "tel":
        user, at, _ = rest.partition("@")
        rest = user.partition(":")[0] if at else ""
    return unquote(rest.partition(";")[0]) or None
