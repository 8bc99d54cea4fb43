"""Actions as methods of a result, which can be chained."""

import inspect

from swaig_wsgi.swaig import FunctionResult
from swaig_wsgi.swaig._actions import call, media, messaging, payment, rpc, state

FAMILIES = [call, media, messaging, payment, rpc, state]


def test_every_action_is_a_method_with_the_same_parameters():
    made = {}
    for family in FAMILIES:
        for name, function in inspect.getmembers(family, inspect.isfunction):
            if function.__module__ == family.__name__ and not name.startswith("_"):
                made[name] = function
    own = {"set_response", "set_tool_response", "set_post_process", "add_action", "add_actions"}
    methods = {name for name in dir(FunctionResult) if not name.startswith("_")}
    assert made.keys() == methods - own - {"to_dict"}
    for name, function in made.items():
        method = getattr(FunctionResult(), name)
        if name != "hold":
            assert method.__name__ == name
            assert inspect.getdoc(method) == inspect.getdoc(function)
            assert inspect.signature(method).parameters == inspect.signature(function).parameters


def test_actions_chain_in_order():
    result = FunctionResult("One moment.", post_process=True)
    result.update_global_data({"a": 1}).say("Bye.").hangup()
    assert result.to_dict() == {
        "response": "One moment.",
        "action": [{"set_global_data": {"a": 1}}, {"say": "Bye."}, {"hangup": True}],
        "post_process": True,
    }
