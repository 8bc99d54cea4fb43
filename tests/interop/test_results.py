"""Results of tools, compared with those of ``signalwire-sdk`` method by method."""

import inspect
import json

import pytest
from signalwire.core.function_result import FunctionResult as TheirResult

from swaig_wsgi import FunctionResult

METHODS = [
    "connect",
    "swml_transfer",
    "hangup",
    "hold",
    "stop",
    "say",
    "wait_for_user",
    "play_background_file",
    "stop_background_file",
    "set_end_of_speech_timeout",
    "set_speech_event_timeout",
    "add_dynamic_hints",
    "clear_dynamic_hints",
    "update_global_data",
    "remove_global_data",
    "set_metadata",
    "remove_metadata",
    "toggle_functions",
    "enable_functions_on_timeout",
    "enable_extensive_data",
    "replace_in_history",
    "update_settings",
    "switch_context",
    "swml_change_step",
    "swml_change_context",
    "swml_user_event",
    "simulate_user_input",
    "change_voice",
    "send_sms",
    "pay",
    "record_call",
    "stop_record_call",
    "join_room",
    "join_conference",
    "sip_refer",
    "tap",
    "stop_tap",
    "execute_swml",
    "execute_rpc",
    "set_post_process",
]

URL = "https://pay.example/connect"
DOCUMENT = {"version": "1.0.0", "sections": {"main": [{"hangup": {}}]}}


class Swml:
    def to_dict(self):
        return DOCUMENT


PROMPT = {
    "for": "payment-card-number",
    "actions": [
        {"type": "Say", "phrase": "Card number, please."},
        {"type": "Play", "phrase": "https://a.example/card.wav"},
    ],
    "card_type": "visa amex",
    "error_type": "timeout",
}

#: Calls of each method: positional arguments, then named ones.
CALLS = {
    "connect": [
        (("+15551234567",), {}),
        (("sip:alice@a.example", False), {}),
        (("/public/room",), {"final": True, "from_addr": "+15559876543"}),
        (("+15551234567", False, "sip:bob@a.example"), {}),
        (("${call.from}",), {}),
    ],
    "swml_transfer": [
        (("https://a.example/swml", "Goodbye!"), {}),
        (("https://u:p@a.example/swml", "How else can I help?", False), {}),
        (("section",), {"ai_response": "", "final": True}),
    ],
    "hangup": [((), {})],
    "hold": [
        ((), {}),
        ((120,), {}),
        ((), {"timeout": 5000}),
        ((), {"timeout": -3}),
        ((), {"timeout": 0}),
        (("Say that you look it up.",), {}),
        (("Say that you look it up.", 60), {}),
        ((60,), {"step": "back"}),
        ((None, 900, "back", "message"), {}),
        ((), {"prompt": "Wait.", "timeout": 901, "timeout_step": "message"}),
        (("",), {}),
    ],
    "stop": [((), {})],
    "say": [(("Hello, ${name}.\nÄ",), {}), (("",), {})],
    "wait_for_user": [
        ((), {}),
        ((False,), {}),
        ((True,), {}),
        ((), {"timeout": 10}),
        ((True, 0), {}),
        ((False, 5), {"answer_first": True}),
    ],
    "play_background_file": [
        (("https://a.example/music.mp3",), {}),
        (("music.mp3", True), {}),
        (("music.mp3",), {"wait": False}),
    ],
    "stop_background_file": [((), {})],
    "set_end_of_speech_timeout": [((250,), {}), ((10000,), {})],
    "set_speech_event_timeout": [((1,), {}), ((1400,), {})],
    "add_dynamic_hints": [
        ((["Cabby"],), {}),
        ((["Cabby", {"pattern": "cab bee", "replace": "Cabby", "ignore_case": True}],), {}),
        (([],), {}),
    ],
    "clear_dynamic_hints": [((), {})],
    "update_global_data": [(({"plan": {"tier": 2, "tags": [1, None]}},), {}), (({},), {})],
    "remove_global_data": [(("plan",), {}), ((["plan", "tier"],), {}), (([],), {})],
    "set_semantic_state": [(({"order": "confirmed"},), {}), (({},), {})],
    "set_metadata": [(({"attempt": 2},), {}), (({},), {})],
    "remove_metadata": [(("attempt",), {}), ((["attempt", "b"],), {})],
    "toggle_functions": [
        (([{"function": "pay", "active": False}],), {}),
        (([{"function": ["a", "b"], "active": True}, {"function": "c", "active": 2}],), {}),
        (([],), {}),
    ],
    "enable_functions_on_timeout": [((), {}), ((False,), {})],
    "enable_extensive_data": [((), {}), ((False,), {})],
    "replace_in_history": [((), {}), (("I looked it up.",), {}), ((True,), {})],
    "update_settings": [
        (({"temperature": 0.5, "top-p": 1, "max-tokens": 4096, "confidence": 0.0},), {}),
        (({"frequency-penalty": -2.0, "presence-penalty": 2, "barge-confidence": 0.1},), {}),
        (({"model": "some-model"},), {}),
        (({},), {}),
    ],
    "switch_context": [
        (("You are a bank.",), {}),
        ((), {}),
        (("You are a bank.", "Hello?"), {}),
        (("You are a bank.",), {"consolidate": True}),
        ((), {"user_prompt": "Hello?", "full_reset": True}),
        ((None, None, True, True), {}),
    ],
    "swml_change_step": [(("betting",), {}), (("next",), {})],
    "swml_change_context": [(("billing",), {})],
    "swml_user_event": [(({"type": "cards_dealt", "hand": ["A", 10]},), {}), (({},), {})],
    "simulate_user_input": [(("Yes, please.",), {})],
    "change_voice": [(("elevenlabs.rachel",), {}), (("rime.spore:mist",), {})],
    "send_sms": [
        (("+15551234567", "+15559876543", "Hi\nthere"), {}),
        (("+15551234567", "+15559876543"), {"media": ["https://a.example/a.png"]}),
        (
            ("+15551234567", "+15559876543", "Hi", ["http://a.example/a.png"], ["a", "b"], "us"),
            {},
        ),
        (("${to}", "%{from}"), {"body": "Hi", "media": [], "tags": [], "region": ""}),
    ],
    "pay": [
        ((URL,), {}),
        ((URL,), {"charge_amount": "29.99", "description": "Order 1", "status_url": URL}),
        (
            (URL, "dtmf", URL, "credit-card", 10, 3, False, "94103", 5, "one-time", "5", "eur"),
            {"language": "de-DE", "voice": "man", "valid_card_types": "visa"},
        ),
        ((URL,), {"timeout": "${t}", "max_attempts": "2", "min_postal_code_length": 4.0}),
        ((URL,), {"security_code": "FALSE", "postal_code": False}),
        ((URL,), {"security_code": "${ask}", "postal_code": "${code}"}),
        ((URL,), {"ai_response": None, "parameters": [], "prompts": []}),
        ((URL,), {"parameters": [{"name": "a", "value": "1"}], "prompts": [PROMPT]}),
    ],
    "record_call": [
        ((), {}),
        (("main", True, "mp3", "speak", "#*", True, 10.5, 1.5, 2, 60.0, URL), {}),
        ((), {"direction": "listen", "format": "mp4", "initial_timeout": 0, "max_length": 5}),
        (("", False), {"terminators": "", "status_url": ""}),
    ],
    "stop_record_call": [((), {}), (("main",), {}), ((), {"control_id": ""})],
    "join_room": [(("lobby",), {})],
    "join_conference": [
        (("standup",), {}),
        (("standup", True), {}),
        (("standup",), {"beep": "onEnter", "start_on_enter": False, "end_on_exit": True}),
        (("standup",), {"wait_url": URL, "max_participants": 2, "region": "us"}),
        (("standup",), {"max_participants": "${limit}", "record": "record-from-start"}),
        (("standup",), {"trim": "do-not-trim", "coach": "call-1", "result": {"variable": "a"}}),
        (
            ("standup",),
            {
                "status_callback": URL,
                "status_callback_event": "start end",
                "status_callback_method": "GET",
                "recording_status_callback": URL,
                "recording_status_callback_method": "GET",
                "recording_status_callback_event": "in-progress completed",
            },
        ),
        (("standup",), {"result": [{"when": "a", "then": []}]}),
        (("standup",), {"muted": True, "result": {}}),
    ],
    "sip_refer": [(("sip:alice@a.example",), {})],
    "tap": [
        (("rtp://192.0.2.1:4000",), {}),
        (("wss://a.example/tap", "tap-1", "speak", "PCMA", 40, URL), {}),
        (("ws://a.example/tap",), {"control_id": "", "direction": "listen", "rtp_ptime": 20}),
    ],
    "stop_tap": [((), {}), (("tap-1",), {})],
    "execute_swml": [
        ((DOCUMENT,), {}),
        ((json.dumps(DOCUMENT),), {"transfer": True}),
        (("version: 1.0.0\nsections: {main: [hangup]}",), {}),
        ((Swml(), True), {}),
        ((DOCUMENT,), {"transfer": False}),
    ],
    "execute_rpc": [
        (("dial",), {}),
        (("ai_message", {"role": "system", "message_text": "Hi"}, "call-1", "node-1"), {}),
        (("ai_unhold",), {"params": {}, "call_id": "", "node_id": ""}),
    ],
    "rpc_dial": [
        (("+15551234567", "+15559876543", "https://a.example/agent?caller=J"), {}),
        (("sip:a@a.example", "sip:b@a.example", URL, "sip"), {}),
    ],
    "rpc_ai_message": [
        (("call-1", "Hi"), {}),
        (("call-1", "Hi", "user", {"a": 1}), {}),
        (("call-1",), {"global_data": {}}),
    ],
    "rpc_ai_global_data": [(("call-1", {"a": 1}), {})],
    "rpc_ai_unhold": [(("call-1",), {})],
    "set_post_process": [((True,), {}), ((False,), {})],
    "set_response": [(("Done.",), {})],
    "set_tool_response": [
        (("shipped",), {}),
        ((), {"tool_prompt": "Say so."}),
        (("shipped", "Say so."), {}),
        ((), {}),
    ],
    "add_action": [(("transfer", {"dest": "a", "summarize": True}), {}), (("stop", True), {})],
    "add_actions": [(([{"stop": True}, {"say": "a"}],), {}), (([],), {})],
}

REJECTED = [
    ("change_voice", (" ",), {}),
    ("change_voice", (None,), {}),
    ("send_sms", ("+15551234567", "+15559876543"), {}),
    ("send_sms", ("+15551234567", "+15559876543", "", []), {}),
    ("pay", (URL,), {"timeout": "soon"}),
    ("pay", (URL,), {"timeout": True}),
    ("pay", (URL,), {"max_attempts": 1.5}),
    ("pay", (URL,), {"min_postal_code_length": None}),
    ("pay", (URL,), {"security_code": 1}),
    ("pay", (URL,), {"security_code": "yes"}),
    ("record_call", (), {"format": "ogg"}),
    ("record_call", (), {"direction": "in"}),
    ("join_conference", (" ",), {}),
    ("join_conference", ("a",), {"beep": "sometimes"}),
    ("join_conference", ("a",), {"max_participants": 1}),
    ("join_conference", ("a",), {"max_participants": "many"}),
    ("join_conference", ("a",), {"record": "yes"}),
    ("join_conference", ("a",), {"trim": "yes"}),
    ("join_conference", ("a",), {"status_callback_method": "PUT"}),
    ("join_conference", ("a",), {"recording_status_callback_method": "get"}),
    ("tap", ("rtp://192.0.2.1:4000",), {"direction": "in"}),
    ("tap", ("rtp://192.0.2.1:4000",), {"codec": "OPUS"}),
    ("tap", ("rtp://192.0.2.1:4000",), {"rtp_ptime": 0}),
    ("rpc_ai_message", ("call-1",), {}),
]


def public_methods(cls):
    return {name for name, _ in inspect.getmembers(cls, callable) if not name.startswith("_")}


def parameters(function):
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.default) for each in found if each.name != "self"]


def test_no_method_is_left_out():
    assert len(METHODS) == 40
    assert set(METHODS) <= CALLS.keys()
    assert public_methods(TheirResult) <= public_methods(FunctionResult)
    helpers = {name for name in public_methods(TheirResult) if name.startswith("create_payment")}
    assert public_methods(TheirResult) - helpers == CALLS.keys() | {"to_dict"}


@pytest.mark.parametrize("method", sorted(public_methods(TheirResult)))
def test_parameters_have_the_same_names_order_and_defaults(method):
    assert parameters(getattr(FunctionResult, method)) == parameters(getattr(TheirResult, method))


def test_the_constructor_takes_the_same_arguments():
    assert parameters(FunctionResult) == parameters(TheirResult)
    for args in [(), ("Hi",), ("Hi", True), (None, False, "done"), (None, True, "a", "b")]:
        ours, theirs = FunctionResult(*args), TheirResult(*args)
        assert ours.to_dict() == theirs.to_dict()
        assert ours.hangup().to_dict() == theirs.hangup().to_dict()


@pytest.mark.parametrize(
    ("method", "args", "kwargs"),
    [(method, *call) for method, calls in CALLS.items() for call in calls],
)
@pytest.mark.parametrize("response", [None, "Done."])
def test_the_wire_format_is_the_same(response, method, args, kwargs):
    ours, theirs = FunctionResult(response), TheirResult(response)
    assert getattr(ours, method)(*args, **kwargs) is ours
    getattr(theirs, method)(*args, **kwargs)
    assert json.dumps(ours.to_dict(), sort_keys=True) == json.dumps(
        theirs.to_dict(), sort_keys=True
    )
    # post_process is visible only with an action.
    assert ours.hangup().to_dict() == theirs.hangup().to_dict()


@pytest.mark.parametrize(("method", "args", "kwargs"), REJECTED)
def test_what_the_sdk_rejects_is_rejected(method, args, kwargs):
    with pytest.raises(ValueError):  # noqa: PT011 - the words are each package's own
        getattr(TheirResult(), method)(*args, **kwargs)
    result = FunctionResult()
    with pytest.raises(ValueError):  # noqa: PT011
        getattr(result, method)(*args, **kwargs)
    assert result.action == []


def test_payment_helpers_return_the_same():
    for method, args in [
        ("create_payment_action", ("Say", "Card, please.")),
        ("create_payment_action", ("Play", "https://a.example/card.wav")),
        ("create_payment_parameter", ("a", "1")),
        ("create_payment_prompt", ("payment-card-number", PROMPT["actions"])),
        ("create_payment_prompt", ("payment-card-number", PROMPT["actions"], "visa", "timeout")),
        ("create_payment_prompt", ("payment-card-number", [], "", None)),
    ]:
        assert getattr(FunctionResult, method)(*args) == getattr(TheirResult, method)(*args)


def test_a_chain_of_every_method_is_the_same():
    ours, theirs = FunctionResult("Done."), TheirResult("Done.")
    for method, calls in CALLS.items():
        for args, kwargs in calls:
            ours = getattr(ours, method)(*args, **kwargs)
            theirs = getattr(theirs, method)(*args, **kwargs)
    assert ours.to_dict() == theirs.to_dict()
