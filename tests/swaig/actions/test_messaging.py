import pytest

from swaig_wsgi.swaig._actions import messaging

TO, FROM = "+15551234567", "+15559876543"


def sms(*args, **kwargs):
    (verb,) = messaging.send_sms(*args, **kwargs)["SWML"]["sections"]["main"]
    return verb["send_sms"]


def test_a_message_has_text_or_media():
    assert sms(TO, FROM, "Hi\nthere") == {"to_number": TO, "from_number": FROM, "body": "Hi\nthere"}
    assert sms(TO, FROM, media=["https://a.example/a.png"]) == {
        "to_number": TO,
        "from_number": FROM,
        "media": ["https://a.example/a.png"],
    }
    assert sms(TO, FROM, "Hi", [], ["a"], "us") == {
        "to_number": TO,
        "from_number": FROM,
        "body": "Hi",
        "tags": ["a"],
        "region": "us",
    }
    for body, media in [(None, None), ("", []), (None, [])]:
        with pytest.raises(ValueError, match="^a message needs body, media, or both$"):
            messaging.send_sms(TO, FROM, body, media)


@pytest.mark.parametrize(
    "arguments",
    [
        {"to_number": "+1555\r\nX-Evil: 1"},
        {"to_number": "911;ext=1"},
        {"from_number": "BANK"},
        {"from_number": None},
        {"body": 5},
        {"media": ["file:///etc/passwd"]},
        {"media": "https://a.example"},
        {"tags": "a"},
        {"tags": [5]},
        {"region": "a\n"},
    ],
)
def test_invalid_messages(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        messaging.send_sms(**{"to_number": TO, "from_number": FROM, "body": "Hi", **arguments})


def test_events_are_copied_json():
    event = {"type": "dealt", "hand": ["A"]}
    action = messaging.swml_user_event(event)
    event["hand"].append("B")
    assert action["SWML"] == {
        "version": "1.0.0",
        "sections": {"main": [{"user_event": {"event": {"type": "dealt", "hand": ["A"]}}}]},
    }
    for value in (None, "a", ["a"], {"a": object()}):
        with pytest.raises(ValueError, match="^event_data "):
            messaging.swml_user_event(value)


def test_simulated_input():
    assert messaging.simulate_user_input("Yes.") == {"user_input": "Yes."}
    with pytest.raises(ValueError, match="^text must be a string"):
        messaging.simulate_user_input(None)
