"""Parsing of the platform's requests; malformed ones raise JSONBodyError."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from ..core._named_tuples import constructor
from ..core.calls import call_id_in, check_call_id
from ..core.strict_json import JSONBodyError, loads_object, loads_value


class FunctionCall(NamedTuple):
    """A tool call as received; untrusted until its token is verified."""

    name: str
    #: None if they cannot be read: the handler must not run, not even with an empty object.
    arguments: dict[str, Any] | None
    #: Why they cannot be read, in a few words.
    problem: str = ""


_function_call = constructor(FunctionCall)


def call_id_of(body: Mapping[str, Any], query: str | None = None) -> str | None:
    """Return ``call_id``, else ``call.call_id``, else the query's call id, else None."""
    call_id = call_id_in(body)
    return check_call_id(query) if call_id is None and query else call_id


#: Members that contain arguments: parsed by the platform, in the form of the model's API, as the
#: model wrote them, and with the platform's variables substituted.
_WRAPPERS = ("parsed", "arguments", "raw", "substituted")

#: Other names for them, in lower case: not read, but not taken for a call without arguments.
WRAPPER_NAMES = frozenset({*_WRAPPERS, "argument", "args", "input", "parameters"})


def parse_function_call(body: Mapping[str, Any]) -> FunctionCall:
    """Return the name and the arguments of a tool call.

    ======================================================  =================================
    ``argument``                                            the arguments
    ======================================================  =================================
    has ``parsed`` or ``raw``, or has ``arguments`` and     what these hold; see below
    nothing else but ``substituted``
    any other object                                        the object itself
    text, or a list                                         as ``raw``, or ``parsed``
    missing or empty                                        what these hold in `body`
    ======================================================  =================================

    The first of ``parsed``, ``arguments`` and ``raw`` that is not empty counts. An object is used
    as it is, text is parsed, and the first item of a list in ``parsed`` is used.

    Raises:
        JSONBodyError: the name is missing.
    """
    name = body.get("function")
    if not isinstance(name, str) or not name:
        raise JSONBodyError("function must be a non-empty string")
    argument = body.get("argument")
    if argument is not None and not isinstance(argument, dict):
        argument = {"parsed" if isinstance(argument, list) else "raw": argument}
    parsed = argument.get("parsed") if argument else None
    if type(parsed) is list and len(parsed) == 1:
        [first] = parsed
        if type(first) is dict and first:
            return _function_call((name, first, ""))  # what the platform sends
    try:
        return FunctionCall(name, _arguments_in(argument or {}) or _beside_argument(body))
    except JSONBodyError as error:
        return FunctionCall(name, None, error.what)


def _arguments_in(argument: dict[str, Any]) -> dict[str, Any]:
    wraps = "parsed" in argument or "raw" in argument
    if wraps or ("arguments" in argument and argument.keys() <= set(_WRAPPERS)):
        return _unwrapped(argument)
    return argument


def _beside_argument(body: Mapping[str, Any]) -> dict[str, Any]:
    found = _unwrapped(body)
    others = (name for name in body if name.lower() in WRAPPER_NAMES and name != "argument")
    if not found and any(body[name] for name in others if name not in _WRAPPERS):
        raise JSONBodyError("not in argument")
    return found


def _unwrapped(holder: Mapping[str, Any]) -> dict[str, Any]:
    parsed, arguments, raw, substituted = map(holder.get, _WRAPPERS)
    if isinstance(parsed, list) and parsed and (parsed[0] or len(parsed) == 1):
        parsed = parsed[0]
    for each in (parsed, arguments):
        if each and isinstance(each, dict):
            return each
    for each in (raw, arguments, parsed):
        if isinstance(each, str) and each.strip():
            return loads_object(each.encode("utf-8"))
    # Only empty values stand for no arguments.
    for each in (parsed, arguments, raw, substituted):
        if each not in (None, [], {}) and not (isinstance(each, str) and not each.strip()):
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
