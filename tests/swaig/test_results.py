import pytest

from swaig_wsgi.swaig import FunctionResult, to_response


def test_a_text_is_the_response():
    assert FunctionResult("Done.").to_dict() == {"response": "Done."}


def test_a_dictionary_is_passed_on_as_a_copy():
    response = {"text": ["a"]}
    result = FunctionResult(response)
    response["text"].append("b")
    assert result.to_dict() == {"response": {"text": ["a"]}}


@pytest.mark.parametrize("response", [None, "", {}])
def test_a_result_always_has_a_response_or_an_action(response):
    assert FunctionResult(response).to_dict() == {"response": "Action completed."}


def test_actions_keep_their_order_and_may_repeat():
    result = FunctionResult().add_action("say", "one").add_action("stop", True)
    assert result.add_action("say", "two").to_dict() == {
        "action": [{"say": "one"}, {"stop": True}, {"say": "two"}]
    }


def test_an_action_may_be_null():
    assert FunctionResult().add_action("hangup", None).to_dict() == {"action": [{"hangup": None}]}


def test_actions_are_copies():
    value = {"to": ["+1"]}
    result = FunctionResult("Yes.").add_action("connect", value)
    value["to"].append("+2")
    assert result.to_dict()["action"] == [{"connect": {"to": ["+1"]}}]
    result.to_dict()["action"].clear()
    assert result.to_dict()["action"] == [{"connect": {"to": ["+1"]}}]


def test_post_process_is_sent_only_with_actions():
    result = FunctionResult("Wait.", post_process=True)
    assert result.to_dict() == {"response": "Wait."}
    result.add_action("hangup", True)
    assert result.to_dict()["post_process"] is True
    assert "post_process" not in result.set_post_process(False).to_dict()
    assert result.set_post_process(True).to_dict() == {
        "response": "Wait.",
        "action": [{"hangup": True}],
        "post_process": True,
    }


def test_methods_chain():
    result = FunctionResult("a")
    assert result.set_response("b") is result
    assert result.add_action("stop", True) is result
    assert result.set_post_process(True) is result


@pytest.mark.parametrize("response", [5, ["text"], b"text", {"when": object()}])
def test_a_response_must_be_text_or_a_json_object(response):
    with pytest.raises(ValueError, match=r"^a response that is not a string"):
        FunctionResult(response)


def test_an_action_needs_a_name_and_a_json_value():
    with pytest.raises(ValueError, match="the name of an action"):
        FunctionResult().add_action("", 1)
    with pytest.raises(ValueError, match=r"^action 'say' must be JSON-serializable"):
        FunctionResult().add_action("say", {1, 2})


def test_values_returned_by_handlers():
    assert to_response(FunctionResult("a").add_action("stop", True)) == {
        "response": "a",
        "action": [{"stop": True}],
    }
    assert to_response("text") == {"response": "text"}
    assert to_response("") == {"response": "Action completed."}
    assert to_response({"response": "a", "more": 1}) == {"response": "a", "more": 1}
    assert to_response({"action": []}) == {"action": []}


@pytest.mark.parametrize("result", [None, True, 5, {}, {"respons": "a"}, ["text"], b"text"])
def test_invalid_return_values_are_never_a_success(result):
    with pytest.raises(TypeError, match="a tool handler must return"):
        to_response(result)


def test_facts_apart_from_instructions():
    apart = {"tool_result": "shipped", "tool_prompt": "Say so."}
    assert FunctionResult(**apart).to_dict() == {"response": apart}
    assert FunctionResult("a").set_tool_response("shipped").to_dict() == {
        "response": {"tool_result": "shipped"}
    }
    assert FunctionResult("a", tool_prompt="Say so.").to_dict() == {
        "response": {"tool_prompt": "Say so."}
    }
    with pytest.raises(ValueError, match="^tool_result must be a string"):
        FunctionResult(tool_result=5)


def test_several_actions_at_once_are_all_or_none():
    result = FunctionResult().add_actions([{"stop": True}, {"say": "a"}])
    assert result.action == [{"stop": True}, {"say": "a"}]
    with pytest.raises(ValueError, match="^each of actions must be a dictionary"):
        result.add_actions([{"hangup": True}, "stop"])
    assert result.action == [{"stop": True}, {"say": "a"}]


def test_hold_can_speak_first():
    assert FunctionResult("a").hold(60).to_dict() == {"response": "a", "action": [{"hold": 60}]}
    assert FunctionResult("a").hold("Say why.", 60, "back").to_dict() == {
        "response": {"tool_result": "status: on hold", "tool_prompt": "Say why."},
        "action": [{"hold": {"timeout": 60, "step": "back"}}],
        "post_process": True,
    }


@pytest.mark.parametrize("args", [(True,), ("Say why.", "soon"), ([],), ("Say why.", 60, "")])
def test_an_invalid_hold_changes_nothing(args):
    result = FunctionResult("a")
    with pytest.raises(ValueError, match="must be"):
        result.hold(*args)
    assert result.to_dict() == {"response": "a"}
    assert result.hangup().to_dict() == {"response": "a", "action": [{"hangup": True}]}


@pytest.mark.parametrize("value", ["no", "false", "true", "", 0, 1, None])
def test_flags_must_be_bools(value):
    with pytest.raises(ValueError, match="^post_process must be True or False, not "):
        FunctionResult("Done.", value)
    result = FunctionResult("Done.").hangup()
    with pytest.raises(ValueError, match="^post_process must be True or False, not "):
        result.set_post_process(value)
    assert "post_process" not in result.to_dict()


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("send_sms", ("sip:evil@evil.example ${a}", "+15551234567", "hi")),
        ("send_sms", ("+15551234567", "+1555;evil ${a}", "hi")),
        ("send_sms", ("+15551234567", "+15551234567", None, ["${a}file:///etc/passwd"])),
        ("tap", ("${a}javascript:alert(1) x",)),
        ("rpc_dial", ("+1900;evil %{x}", "+15551234567", "https://a.example/")),
        ("rpc_dial", ("+15551234567", "+15551234567", "%{x}file:///etc/passwd")),
        ("sip_refer", ("sip:a b ${x}",)),
        ("record_call", (None, "${a} and sip:evil }")),
    ],
)
def test_a_variable_does_not_hide_an_invalid_value(method, arguments):
    result = FunctionResult()
    with pytest.raises(ValueError, match="must"):
        getattr(result, method)(*arguments)
    assert result.action == []
