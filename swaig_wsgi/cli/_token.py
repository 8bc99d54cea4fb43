"""``swaig-wsgi token``: what a tool token says, and whether it is genuine."""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from ..config import ConfigurationError, Settings
from ..core.redaction import escape_control
from ..core.tokens import TokenError, ToolToken, decode_token, derive_key, token_from_query
from ..sessions import SessionManager
from ._errors import CommandError
from ._output import paint, printable

_SECRETS = ("SIGNALWIRE_SWAIG_SECRET", "SIGNALWIRE_SWAIG_SECRET_FALLBACKS")

#: What each reason of :exc:`TokenError` means.
_REASONS = {
    "malformed": "it is not a token",
    "bad_signature": "no secret signed it for this agent",
    "expired": "it has expired",
    "wrong_function": "it is for another tool",
    "wrong_call": "it is for another call",
    "repeated": "the URL has several tokens",
}


def inspect(token: str, as_json: bool = False) -> int:
    """Print the fields of a token, which nothing vouches for; return 1 if it is not a token."""
    try:
        fields = decode_token(_read(token))
    except TokenError as error:
        if as_json:
            _print(None, {"verified": False, "reason": error.reason}, True)
            return 1
        raise CommandError(f"{error.reason}: {_REASONS[error.reason]}", 1) from None
    _print(fields, {"verified": False}, as_json)
    return 0


def verify(
    token: str,
    agent: str | None = None,
    call_id: str | None = None,
    tool: str | None = None,
    as_json: bool = False,
) -> int:
    """Print whether a token is genuine, and return 1 if it is not.

    Args:
        token: the token, a URL with one, or ``-`` for standard input.
        agent: the name of the agent that issued it; None for a :class:`SessionManager`, which
            signs with the secret itself.
        call_id: the call for which it must be.
        tool: the tool for which it must be.
        as_json: whether to print JSON.
    """
    sessions = _sessions(agent)
    reason, fields = None, None
    try:
        fields = sessions.open_token(_read(token))
        if tool is not None and fields.function_name != tool:
            raise TokenError("wrong_function", fields)
        if call_id is not None and fields.call_id != call_id:
            raise TokenError("wrong_call", fields)
    except TokenError as error:
        reason, fields = error.reason, error.token
    if reason is None and fields is not None:
        _print(fields, {"verified": True, "fallback": sessions.is_fallback(fields)}, as_json)
        return 0
    if as_json:
        _print(fields, {"verified": False, "reason": reason}, True)
        return 1
    hint = "; for a token of an AgentApp, pass its name: --agent NAME" if agent is None else ""
    text = _REASONS[str(reason)] + (hint if reason == "bad_signature" else "")
    raise CommandError(f"{reason}: {text}", 1)


def _read(argument: str) -> str:
    """Return the token in an argument, so that a URL from a document can be pasted."""
    # A token on the command line is visible to other users of the machine, one from stdin is not.
    if argument == "-" and sys.stdin is None:
        raise CommandError("standard input is closed")
    text = (sys.stdin.readline(65_536) if argument == "-" else argument).strip()
    if "__token=" not in text:
        return text
    try:
        query = urlsplit(text).query or text.lstrip("?")
    except ValueError:
        raise TokenError("malformed") from None
    return token_from_query(query) or ""


def _sessions(agent: str | None) -> SessionManager:
    names = [name for each in _SECRETS for name in (each, f"{each}_FILE")]
    try:
        # Only these: another variable that is invalid does not matter here.
        settings = Settings.from_env({name: os.environ.get(name, "") for name in names})
    except ConfigurationError as error:
        raise CommandError(error) from None
    if settings.swaig_secret is None:
        raise CommandError(
            "verify needs SIGNALWIRE_SWAIG_SECRET, or a file with it, named by "
            "SIGNALWIRE_SWAIG_SECRET_FILE"
        )
    keys = [
        secret.encode("utf-8", "surrogatepass")
        for secret in (settings.swaig_secret, *settings.swaig_secret_fallbacks)
    ]
    if agent is not None:
        keys = [derive_key(key, agent) for key in keys]
    return SessionManager(secret_key=keys[0], fallback_keys=keys[1:])


def _print(fields: ToolToken | None, decision: dict[str, Any], as_json: bool) -> None:
    values: dict[str, Any] = {}
    if fields is not None:
        values = {
            "call_id": fields.call_id,
            "tool": fields.function_name,
            "expiry": fields.expiry,
            "expired": fields.expiry <= time.time(),
            "signature_length": len(fields.signature),
        }
    if as_json:
        print(json.dumps({**decision, **values}, indent=2))
        return
    if decision["verified"]:
        key = "a fallback" if decision["fallback"] else "SIGNALWIRE_SWAIG_SECRET"
        print(paint(f"verified: signed with {key}", "green", sys.stdout))
    else:
        print(paint("not verified: anybody can have written this", "yellow", sys.stdout))
    state = "expired" if values["expired"] else "not expired"
    values["expiry"] = f"{values['expiry']} ({_date(values['expiry'])}, {state})"
    values["signature_length"] = f"{values['signature_length']} hex characters"
    del values["expired"]
    for name, value in values.items():
        print(f"{name.replace('_', ' '):<16}  {printable(escape_control(str(value)), sys.stdout)}")


def _date(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OSError, OverflowError, ValueError):
        return "a date out of range"
