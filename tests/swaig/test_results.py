import pytest

from swaig_wsgi.swaig.results import FunctionResult, to_answer


def test_a_text_is_the_response():
    assert FunctionResult("Done.").to_dict() == {"response": "Done."}


def test_a_dictionary_is_passed_on_as_a_copy():
    response = {"text": ["a"]}
    result = FunctionResult(response)
    response["text"].append("b")
    assert result.to_dict() == {"response": {"text": ["a"]}}


@pytest.mark.parametrize("response", [None, "", {}])
def test_there_is_always_a_response_or_an_action(response):
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


def test_post_process_stands_only_beside_actions():
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
def test_a_response_that_is_no_json_object_is_refused(response):
    with pytest.raises(ValueError, match=r"^a response that is not text"):
        FunctionResult(response)


def test_an_action_needs_a_name_and_a_json_value():
    with pytest.raises(ValueError, match="the name of an action"):
        FunctionResult().add_action("", 1)
    with pytest.raises(ValueError, match=r"^action 'say' cannot be sent as JSON"):
        FunctionResult().add_action("say", {1, 2})


def test_answers_of_handlers():
    assert to_answer(FunctionResult("a").add_action("stop", True)) == {
        "response": "a",
        "action": [{"stop": True}],
    }
    assert to_answer("text") == {"response": "text"}
    assert to_answer("") == {"response": "Action completed."}
    assert to_answer({"response": "a", "more": 1}) == {"response": "a", "more": 1}
    assert to_answer({"action": []}) == {"action": []}


@pytest.mark.parametrize("result", [None, True, 5, {}, {"respons": "a"}, ["text"], b"text"])
def test_a_handler_that_did_not_answer_is_never_taken_for_success(result):
    with pytest.raises(TypeError, match="a tool handler must return"):
        to_answer(result)
