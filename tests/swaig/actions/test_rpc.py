import pytest

from swaig_wsgi.swaig._actions import rpc

DOCUMENT = {"version": "1.0.0", "sections": {"main": [{"hangup": {}}]}}


class Content:
    def __init__(self, content):
        self.content = content

    def to_dict(self):
        return self.content


def the_verb(action):
    (verb,) = action["SWML"]["sections"]["main"]
    return verb["execute_rpc"]


def test_forms_of_swml():
    for content in (DOCUMENT, '{"version": "1.0.0", "sections": {"main": [{"hangup": {}}]}}'):
        assert rpc.execute_swml(content) == {"SWML": DOCUMENT}
    assert rpc.execute_swml(Content(DOCUMENT), transfer=True) == {
        "SWML": DOCUMENT,
        "transfer": "true",
    }
    for text in ("version: 1.0.0", "", "[" * 100_000):
        assert rpc.execute_swml(text) == {"SWML": {"raw_swml": text}}


def test_swml_is_a_copy():
    document = {"sections": {"main": []}}
    action = rpc.execute_swml(document)
    document["sections"]["main"].append("a")
    assert action == {"SWML": {"sections": {"main": []}}}


@pytest.mark.parametrize("content", [None, 5, ["a"], "[1]", "5", "null", Content(5), {"a": {1}}])
def test_invalid_swml(content):
    with pytest.raises(ValueError, match="^swml_content "):
        rpc.execute_swml(content)


def test_swml_must_be_json_serializable():
    with pytest.raises(ValueError, match="^swml_content must be JSON-serializable"):
        rpc.execute_swml('{"a": NaN}')
    with pytest.raises(ValueError, match="^transfer must be"):
        rpc.execute_swml(DOCUMENT, "false")


def test_procedures():
    assert the_verb(rpc.execute_rpc("ai_unhold")) == {"method": "ai_unhold"}
    assert the_verb(rpc.execute_rpc("a", {"b": 1}, "call-1", "node-1")) == {
        "method": "a",
        "call_id": "call-1",
        "node_id": "node-1",
        "params": {"b": 1},
    }
    assert the_verb(rpc.execute_rpc("a", {}, "", "")) == {"method": "a"}


@pytest.mark.parametrize(
    "arguments",
    [{"method": ""}, {"params": ["a"]}, {"params": "a"}, {"call_id": "\n"}, {"node_id": 5}],
)
def test_invalid_procedures(arguments):
    with pytest.raises(ValueError, match=rf"^{next(iter(arguments))} must be"):
        rpc.execute_rpc(**{"method": "a", **arguments})


def test_dial():
    assert the_verb(rpc.rpc_dial("+15551234567", "+15559876543", "https://a.example/b")) == {
        "method": "dial",
        "params": {
            "devices": {
                "type": "phone",
                "params": {"to_number": "+15551234567", "from_number": "+15559876543"},
            },
            "dest_swml": "https://a.example/b",
        },
    }
    sip = rpc.rpc_dial("sip:a@b.example", "sip:c@b.example", "https://a.example/b", "sip")
    assert the_verb(sip)["params"]["devices"] == {
        "type": "sip",
        "params": {"to_number": "sip:a@b.example", "from_number": "sip:c@b.example"},
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"to_number": "sip:a@b.example"},
        {"to_number": "+1555\r\nX-Evil: 1"},
        {"from_number": ""},
        {"dest_swml": "file:///etc/passwd"},
        {"device_type": ""},
    ],
)
def test_invalid_dial(arguments):
    with pytest.raises(ValueError, match=rf"^{next(iter(arguments))} must be"):
        rpc.rpc_dial(
            **{
                "to_number": "+15551234567",
                "from_number": "+15559876543",
                "dest_swml": "https://a.example",
                **arguments,
            }
        )


def test_messages_to_another_call():
    assert the_verb(rpc.rpc_ai_message("call-1", "Hi", global_data={"a": 1})) == {
        "method": "ai_message",
        "call_id": "call-1",
        "params": {"role": "system", "message_text": "Hi", "global_data": {"a": 1}},
    }
    assert the_verb(rpc.rpc_ai_global_data("call-1", {"a": 1})) == {
        "method": "ai_message",
        "call_id": "call-1",
        "params": {"global_data": {"a": 1}},
    }
    assert the_verb(rpc.rpc_ai_unhold("call-1")) == {"method": "ai_unhold", "call_id": "call-1"}


def test_invalid_messages_to_another_call():
    with pytest.raises(ValueError, match="needs message_text, global_data, or both"):
        rpc.rpc_ai_message("call-1")
    for arguments in (
        {"call_id": ""},
        {"message_text": 5},
        {"role": ""},
        {"global_data": "a"},
    ):
        with pytest.raises(ValueError, match=rf"^{next(iter(arguments))} must be"):
            rpc.rpc_ai_message(**{"call_id": "call-1", "message_text": "Hi", **arguments})
    with pytest.raises(ValueError, match="^data must be"):
        rpc.rpc_ai_global_data("call-1", None)
    with pytest.raises(ValueError, match="^call_id must be"):
        rpc.rpc_ai_unhold("")
