import pytest

from swaig_wsgi.swaig._actions import call


def document(*verbs):
    return {"version": "1.0.0", "sections": {"main": list(verbs)}}


def test_connect():
    assert call.connect("+15551234567") == {
        "SWML": document({"connect": {"to": "+15551234567"}}),
        "transfer": "true",
    }
    assert call.connect("sip:a@b.example", False, "+15559876543") == {
        "SWML": document({"connect": {"to": "sip:a@b.example", "from": "+15559876543"}}),
        "transfer": "false",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"destination": "+1555\r\nX-Evil: 1"},
        {"destination": ""},
        {"destination": None},
        {"destination": "+1", "from_addr": "+1\n"},
        {"destination": "+1", "from_addr": ""},
        {"destination": "+1", "final": "false"},
    ],
)
def test_invalid_connect(arguments):
    with pytest.raises(ValueError, match=rf"^{list(arguments)[-1]} must be"):
        call.connect(**arguments)


def test_swml_transfer():
    assert call.swml_transfer("https://a.example", "Welcome back.", final=False) == {
        "SWML": document(
            {"set": {"ai_response": "Welcome back."}}, {"transfer": {"dest": "https://a.example"}}
        ),
        "transfer": "false",
    }
    with pytest.raises(ValueError, match="^dest must be one line"):
        call.swml_transfer("https://a.example\n", "")
    with pytest.raises(ValueError, match="^ai_response must be a string"):
        call.swml_transfer("https://a.example", None)


def test_actions_without_arguments():
    assert call.hangup() == {"hangup": True}
    assert call.stop() == {"stop": True}


@pytest.mark.parametrize(
    ("timeout", "sent"),
    [(300, 300), (900, 900), (901, 900), (10**400, 900), (-5, 0), ("60", 60), ("${a}", "${a}")],
)
def test_hold_limits_its_seconds(timeout, sent):
    assert call.hold(timeout) == {"hold": sent}


def test_hold_may_name_steps():
    assert call.hold() == {"hold": 300}
    assert call.hold(60, "back") == {"hold": {"timeout": 60, "step": "back"}}
    assert call.hold(60, timeout_step="late") == {"hold": {"timeout": 60, "timeout_step": "late"}}
    for arguments in ({"timeout": "soon"}, {"step": ""}, {"timeout_step": "a\n"}):
        with pytest.raises(ValueError, match=rf"^{next(iter(arguments))} must be"):
            call.hold(**arguments)


def test_wait_for_user():
    assert call.wait_for_user() == {"wait_for_user": True}
    assert call.wait_for_user(False) == {"wait_for_user": False}
    assert call.wait_for_user(False, 10) == {"wait_for_user": 10}
    assert call.wait_for_user(False, 10, True) == {"wait_for_user": "answer_first"}
    for arguments in ({"enabled": "no"}, {"timeout": -1}, {"answer_first": None}):
        with pytest.raises(ValueError, match=rf"^{next(iter(arguments))} must be"):
            call.wait_for_user(**arguments)


def test_sip_refer():
    assert call.sip_refer("sip:a@b.example") == {
        "SWML": document({"sip_refer": {"to_uri": "sip:a@b.example"}})
    }
    for attack in ("sip:a@b.example\r\nTo: c", "sip:a@b.example c", ""):
        with pytest.raises(ValueError, match="^to_uri must"):
            call.sip_refer(attack)


def test_join_room():
    assert call.join_room("lobby") == {"SWML": document({"join_room": {"name": "lobby"}})}
    with pytest.raises(ValueError, match="^name must be"):
        call.join_room(" ")


def conference(*args, **kwargs):
    (verb,) = call.join_conference(*args, **kwargs)["SWML"]["sections"]["main"]
    return verb["join_conference"]


def test_a_conference_by_its_name_alone():
    assert conference("standup") == "standup"
    assert conference("standup", status_callback_method="POST", status_callback_event="") == (
        "standup"
    )


def test_a_conference_omits_defaults():
    url = "https://a.example/report"
    options = {
        "muted": True,
        "beep": "false",
        "start_on_enter": False,
        "end_on_exit": "${end}",
        "wait_url": "${music}",
        "max_participants": 2,
        "record": "record-from-start",
        "region": "us",
        "trim": "do-not-trim",
        "coach": "call-1",
        "status_callback_event": "start end join leave mute hold modify speaker announcement",
        "status_callback": url,
        "status_callback_method": "GET",
        "recording_status_callback": url,
        "recording_status_callback_method": "GET",
        "recording_status_callback_event": "in-progress completed absent",
        "result": {"variable": "return_value", "case": {}},
    }
    assert conference("standup", **options) == {"name": "standup", **options}
    for name, value in options.items():
        assert conference("standup", **{name: value}) == {"name": "standup", name: value}


def test_the_result_of_a_conference_is_a_copy():
    result = [{"when": "a", "then": []}]
    verb = conference("standup", result=result)
    result[0]["then"].append("b")
    assert verb["result"] == [{"when": "a", "then": []}]


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"name": None},
        {"name": "a\n"},
        {"muted": "maybe"},
        {"beep": True},
        {"start_on_enter": 1},
        {"end_on_exit": None},
        {"wait_url": "ftp://a.example"},
        {"max_participants": 1},
        {"record": "yes"},
        {"region": "a\r"},
        {"trim": "yes"},
        {"coach": "\n"},
        {"status_callback_event": "start stop"},
        {"status_callback": "a.example"},
        {"status_callback_method": "PUT"},
        {"recording_status_callback": "a.example"},
        {"recording_status_callback_method": "get"},
        {"recording_status_callback_event": ""},
        {"result": "a"},
        {"result": {"a": object()}},
    ],
)
def test_invalid_conference(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        call.join_conference(**{"name": "standup", **arguments})
