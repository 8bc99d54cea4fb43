import pytest

from swaig_wsgi.swaig._actions import media


def the_verb(action):
    assert action.keys() == {"SWML"}
    assert action["SWML"]["version"] == "1.0.0"
    (verb,) = action["SWML"]["sections"]["main"]
    return verb


def test_say():
    assert media.say("Hello,\nworld") == {"say": "Hello,\nworld"}
    with pytest.raises(ValueError, match="^text must be a string"):
        media.say(None)


def test_background_files():
    assert media.play_background_file("a.mp3") == {"playback_bg": "a.mp3"}
    assert media.play_background_file("a.mp3", wait=True) == {
        "playback_bg": {"file": "a.mp3", "wait": True}
    }
    assert media.stop_background_file() == {"stop_playback_bg": True}
    with pytest.raises(ValueError, match="^filename must be"):
        media.play_background_file("a.mp3\n")
    with pytest.raises(ValueError, match="^wait must be"):
        media.play_background_file("a.mp3", "false")


@pytest.mark.parametrize("name", ["end_of_speech_timeout", "speech_event_timeout"])
def test_speech_timeouts(name):
    make = getattr(media, f"set_{name}")
    for milliseconds in (1, 700, 10_000, "${ms}"):
        assert make(milliseconds) == {name: milliseconds}
    for milliseconds in (0, 10_001, 0.5, True, None, "soon"):
        with pytest.raises(ValueError, match="^milliseconds must be"):
            make(milliseconds)


def test_hints():
    pattern = {"pattern": "cab bee", "replace": "Cabby", "ignore_case": True}
    assert media.add_dynamic_hints(["Cabby", pattern]) == {"add_dynamic_hints": ["Cabby", pattern]}
    action = media.add_dynamic_hints((pattern,))
    pattern["replace"] = "changed"
    assert action["add_dynamic_hints"][0]["replace"] == "Cabby"
    assert media.clear_dynamic_hints() == {"clear_dynamic_hints": {}}


@pytest.mark.parametrize(
    "hints", ["Cabby", None, {"hint": "a"}, [""], [5], [{"pattern": "a"}], [{"replace": "a"}]]
)
def test_invalid_hints(hints):
    with pytest.raises(ValueError, match="hints"):
        media.add_dynamic_hints(hints)


def test_change_voice():
    assert media.change_voice("rime.spore:mist") == {"change_voice": "rime.spore:mist"}
    for voice in ("", " ", "a\r\n", None):
        with pytest.raises(ValueError, match="^voice must be"):
            media.change_voice(voice)


def test_record_call():
    assert the_verb(media.record_call()) == {
        "record_call": {
            "stereo": False,
            "format": "wav",
            "direction": "both",
            "beep": False,
            "input_sensitivity": 44.0,
        }
    }
    options = {
        "control_id": "main",
        "stereo": True,
        "format": "mp3",
        "direction": "speak",
        "terminators": "#*",
        "beep": True,
        "input_sensitivity": 0,
        "initial_timeout": 0,
        "end_silence_timeout": 2.5,
        "max_length": "${seconds}",
        "status_url": "https://a.example/status",
    }
    assert the_verb(media.record_call(**options)) == {"record_call": options}


@pytest.mark.parametrize(
    "arguments",
    [
        {"control_id": "a\n"},
        {"stereo": 2},
        {"format": "ogg"},
        {"direction": "in"},
        {"terminators": "x"},
        {"beep": None},
        {"input_sensitivity": 101},
        {"initial_timeout": -1},
        {"end_silence_timeout": "soon"},
        {"max_length": True},
        {"status_url": "file:///etc/passwd"},
    ],
)
def test_invalid_record_call(arguments):
    with pytest.raises(ValueError, match=rf"^{next(iter(arguments))} must be"):
        media.record_call(**arguments)


def test_tap():
    assert the_verb(media.tap("rtp://192.0.2.1:4000")) == {
        "tap": {"uri": "rtp://192.0.2.1:4000", "direction": "both"}
    }
    options = {
        "uri": "wss://a.example/tap",
        "control_id": "tap-1",
        "direction": "listen",
        "codec": "PCMA",
        "rtp_ptime": 40,
        "status_url": "http://a.example/status",
    }
    assert the_verb(media.tap(**options)) == {"tap": options}


@pytest.mark.parametrize(
    "arguments",
    [
        {"uri": "https://a.example"},
        {"uri": "rtp://"},
        {"uri": "wss://a.example/\r\n"},
        {"control_id": "\n"},
        {"direction": ""},
        {"codec": "pcmu"},
        {"rtp_ptime": 0},
        {"status_url": "ws://a.example"},
    ],
)
def test_invalid_tap(arguments):
    with pytest.raises(ValueError, match=rf"^{next(iter(arguments))} must be"):
        media.tap(**{"uri": "rtp://192.0.2.1:4000", **arguments})


@pytest.mark.parametrize("name", ["stop_tap", "stop_record_call"])
def test_recordings_and_streams_can_be_stopped(name):
    make = getattr(media, name)
    assert the_verb(make()) == {name: {}}
    assert the_verb(make("")) == {name: {}}
    assert the_verb(make("main")) == {name: {"control_id": "main"}}
    with pytest.raises(ValueError, match="^control_id must be"):
        make("a\n")
