"""The pages for users of the SDKs name only what exists, and agree with the AttributeErrors."""

from __future__ import annotations

import builtins
import enum
import inspect
import operator
import re
import typing

import pytest
from support.sdk_pages import PAGES, SDK, SWAIG, TYPESCRIPT, Row, rows

import swaig_wsgi
from swaig_wsgi import (
    AgentApp,
    AgentServer,
    AuthHandler,
    FunctionResult,
    SessionManager,
    Settings,
    SslConfig,
    middleware,
)
from swaig_wsgi._missing import _AGENT, _MODULE, _SERVER, CONSTRUCTOR, OPTIONS
from swaig_wsgi.config import known_variables
from swaig_wsgi.swaig import ToolOptions

AGENT = AgentApp("bank", basic_auth=("a", "b"))
#: What the names in the first column of a table belong to, and the errors for those not here.
TABLES = {
    "AgentBase": (AGENT, _AGENT),
    "AgentServer": (AgentServer(), _SERVER),
    "signalwire": (swaig_wsgi, _MODULE),
    "signalwire_swaig": (swaig_wsgi, _MODULE),
}
METHODS = [value for _, value in inspect.getmembers(AgentApp, inspect.isfunction)]
OWNERS = (
    *(AGENT, AgentServer, FunctionResult, SessionManager, SslConfig, swaig_wsgi, middleware),
    *(builtins, typing, enum),
)
ALL = [row for page in PAGES for row in rows(page)]


def plain(text: str) -> str:
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("`", "")


def of_methods(owner: str) -> list[Row]:
    pages = [*rows(SDK), *rows(SWAIG)]
    found = [row for row in pages if row.owner == owner and "constructor" not in row.section]
    assert found
    return found


def resolves(path: str) -> bool:
    """Return whether `path` is an attribute of something public."""
    if path.startswith("swaig_wsgi."):
        return path in ("swaig_wsgi.testing.AgentClient", "swaig_wsgi.middleware")
    for value in OWNERS:
        try:
            operator.attrgetter(path)(value)
        except AttributeError:
            continue
        return True
    return False


@pytest.mark.parametrize("owner", TABLES)
def test_names_that_are_the_same_exist_and_the_others_raise_what_the_page_says(owner: str) -> None:
    target, errors = TABLES[owner]
    listed = {name: plain(row.here) for row in of_methods(owner) for name in row.names}
    for name, here in listed.items():
        if name in errors:
            assert errors[name] == here, name
            with pytest.raises(AttributeError, match=re.escape(here)):
                getattr(target, name)
        else:
            # Static, because PROMPT_SECTIONS is None.
            assert inspect.getattr_static(target, name, target) is not target, name


def test_every_name_that_is_not_here_is_in_a_table() -> None:
    for owner in ("AgentBase", "AgentServer"):
        listed = {name for row in of_methods(owner) for name in row.names}
        assert TABLES[owner][1].keys() - listed == set()


@pytest.mark.parametrize(
    ("section", "remedies"),
    [("Parameters of the constructor", CONSTRUCTOR), ("Options of tools", OPTIONS)],
)
def test_errors_for_arguments_say_what_the_page_says(
    section: str, remedies: dict[str, str]
) -> None:
    listed = {
        name: plain(row.here) for row in rows(SDK) if row.section == section for name in row.names
    }
    assert {name: listed.get(name) for name in remedies} == remedies
    ours = inspect.signature(AgentApp).parameters.keys() | ToolOptions.__annotations__.keys()
    missing = listed.keys() - ours - {"name", "description", "handler"}
    assert missing == remedies.keys()


def test_what_the_pages_tell_to_use_exists() -> None:
    parameters = {
        name
        for each in (AgentApp, Settings, AgentServer, AuthHandler, SslConfig, *METHODS)
        for name in inspect.signature(each).parameters
    }
    checked = 0
    for row in ALL:
        for code in re.findall(r"`([^`]+)`", row.here):
            call = re.fullmatch(r"@?([\w.]+)(?:\(.*\))?", code)
            keyword = re.fullmatch(r"(\w+)=(?:True|\d+)?", code)
            if re.fullmatch(r"(SWML|SIGNALWIRE)_\w+", code):
                assert code in known_variables(), row
            elif keyword is not None:
                assert keyword[1] in parameters, (keyword[1], row)
            elif call is not None and code not in row.cells[0]:
                assert resolves(call[1]) or call[1] in KNOWN_WORDS | parameters, (code, row)
            else:
                continue
            checked += 1
    assert checked > 100


#: Code in the tables that is no name of ours: parameters, members, names of Python.
KNOWN_WORDS = {
    *("raw_data", "request_data", "ai", "verb_name", "callback_fn", "callback", "async", "X"),
    *("startup_hook", "hangup_hook", "Host", "HEAD", "list", "app.tool", "swaig_wsgi"),
    *("call_id", "function_name", "expiry", "nonce", "signature", "expired"),
    *("DispatcherMiddleware", "conversation_id", "action", "logging.getLogger"),
}


def test_methods_of_the_typescript_sdk_that_are_the_same_exist() -> None:
    checked = 0
    for row in rows(TYPESCRIPT):
        if row.owner == "methods of `AgentBase" and row.here.startswith("the same"):
            for name in row.names:
                spelled = name if name.isupper() else re.sub("[A-Z]", r"_\g<0>", name).lower()
                assert inspect.getattr_static(AgentApp, spelled, None) or spelled.isupper(), name
                checked += 1
    assert checked > 30
