"""The pages for users of the SDKs have every public name of the installed releases."""

from __future__ import annotations

import dataclasses
import inspect

import pytest
import signalwire
import signalwire_swaig
from signalwire import AgentBase, AgentServer, FunctionResult
from signalwire.core.security.session_manager import SessionManager
from support.sdk_pages import SDK, SWAIG, rows

import swaig_wsgi
from swaig_wsgi import AgentApp

CONSTRUCTOR = "Parameters of the constructor"


def public(target):
    return {name for name in dir(target) if not name.startswith("_")}


def fields(*classes):
    return {each.name for owner in classes for each in dataclasses.fields(owner)}


def parameters(function):
    """Return names and defaults, without self, which a bound decorator does not have."""
    found = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in found if each.name != "self"}


def listed(owner, constructor=False):
    return [
        (name, row.here)
        for row in [*rows(SDK), *rows(SWAIG)]
        if row.owner == owner and (row.section == CONSTRUCTOR) == constructor
        for name in row.names
    ]


#: Attributes of instances that are in the tables, too.
ATTRIBUTES = {"AgentBase": {"log", "pom", "skill_manager"}, "AgentServer": {"app", "agents"}}


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        ("AgentBase", public(AgentBase)),
        ("AgentServer", public(AgentServer)),
        ("SessionManager", public(SessionManager)),
        ("signalwire", set(signalwire.__all__)),
        ("signalwire_swaig", set(signalwire_swaig.__all__)),
        ("SWAIG", public(signalwire_swaig.SWAIG) | {"app", "auth"}),
        (
            "SWAIGArgument",
            fields(signalwire_swaig.SWAIGArgument, signalwire_swaig.SWAIGArgumentItems),
        ),
        ("SWAIGFunctionProperties", fields(signalwire_swaig.SWAIGFunctionProperties)),
        ("SWAIGResponse", public(signalwire_swaig.SWAIGResponse())),
        ("define_tool", parameters(AgentBase.define_tool).keys()),
    ],
)
def test_every_public_name_is_in_one_row(owner, names):
    found = [name for name, _ in listed(owner)]
    assert sorted(found) == sorted(names | ATTRIBUTES.get(owner, set()))


def test_every_parameter_of_the_constructor_is_in_one_row():
    found = listed("AgentBase", constructor=True)
    theirs, ours = parameters(AgentBase), parameters(AgentApp)
    assert sorted(name for name, _ in found) == sorted(theirs)
    for name, here in found:
        if here == "the same":
            assert ours[name] == theirs[name], name
        assert (name in ours) == (here in ("the same", "one key or several")), name


def test_what_is_the_same_has_the_same_parameters_and_defaults():
    checked = 0
    for owner, theirs, ours in [
        ("AgentBase", AgentBase, AgentApp),
        ("AgentServer", AgentServer, swaig_wsgi.AgentServer),
        ("SessionManager", SessionManager, swaig_wsgi.SessionManager),
    ]:
        for name, here in listed(owner):
            if here.startswith("the same") and callable(getattr(theirs, name)):
                expected = parameters(getattr(theirs, name))
                assert parameters(getattr(ours, name)) == expected, name
                assert list(parameters(getattr(ours, name))) == list(expected), name
                checked += 1
    assert checked > 40


def test_results_have_the_same_methods():
    assert public(FunctionResult) == public(swaig_wsgi.FunctionResult)
