import pytest

from swaig_wsgi.swml import AISettings

URL = "https://agent.example/debug"


def test_unset_settings_are_omitted():
    settings = AISettings()
    assert settings.render(URL) == {}
    assert settings.render_swaig() == {}


def test_parameters():
    settings = AISettings()
    settings.set_param("end_of_speech_timeout", 500)
    settings.set_params({"ai_volume": 3, "nested": {"a": [1]}})
    settings.set_param("ai_volume", 4)
    assert settings.render(URL) == {
        "params": {"end_of_speech_timeout": 500, "ai_volume": 4, "nested": {"a": [1]}}
    }


def test_hints():
    settings = AISettings()
    settings.add_hint("SignalWire")
    settings.add_hints(["SWML"])
    settings.add_pattern_hint("swaig", "sw[ae]g", "SWAIG", ignore_case=True)
    settings.add_hints(hint for hint in ["last"])
    assert settings.render(URL)["hints"] == [
        "SignalWire",
        "SWML",
        {"hint": "swaig", "pattern": "sw[ae]g", "replace": "SWAIG", "ignore_case": True},
        "last",
    ]


def test_an_invalid_hint_adds_no_other_hint():
    settings = AISettings()
    with pytest.raises(ValueError, match="each of hints must"):
        settings.add_hints(["good", ""])
    assert settings.render(URL) == {}


@pytest.mark.parametrize(
    ("voice", "expected"),
    [
        ("en-US-Neural2-F", {"voice": "en-US-Neural2-F"}),
        ("rime.spore", {"voice": "rime.spore"}),
        ("spore:mist", {"voice": "spore:mist"}),
        ("spore:mist.v2", {"voice": "spore:mist.v2"}),
        ("spore:mist.v2:x", {"voice": "spore:mist.v2:x"}),
        (
            "elevenlabs.josh:eleven_v2.5",
            {"voice": "josh", "engine": "elevenlabs", "model": "eleven_v2.5"},
        ),
    ],
)
def test_a_voice_may_name_engine_and_model(voice, expected):
    settings = AISettings()
    settings.add_language("English", "en-US", voice)
    language = {"name": "English", "code": "en-US", **expected}
    assert settings.render(URL) == {"languages": [language]}


def test_an_explicit_engine_leaves_the_voice_unchanged():
    settings = AISettings()
    settings.add_language("English", "en-US", "a.b:c", engine="rime", model=None)
    settings.add_language("German", "de-DE", "a.b:c", engine=None, model=None, fillers=["äh"])
    assert settings.render(URL)["languages"] == [
        {"name": "English", "code": "en-US", "voice": "a.b:c", "engine": "rime"},
        {
            "name": "German",
            "code": "de-DE",
            "voice": "b",
            "engine": "a",
            "model": "c",
            "fillers": ["äh"],
        },
    ]


def test_fillers_of_a_language():
    settings = AISettings()
    settings.add_language("A", "a", "v", ["uh"], ["one moment"], "rime", "mist", {"speed": 1})
    settings.add_language("B", "b", "v", speech_fillers=["uh"])
    settings.add_language("C", "c", "v", [], ("one moment",), params={})
    assert settings.render(URL)["languages"] == [
        {
            "name": "A",
            "code": "a",
            "voice": "v",
            "speech_fillers": ["uh"],
            "function_fillers": ["one moment"],
            "engine": "rime",
            "model": "mist",
            "params": {"speed": 1},
        },
        {"name": "B", "code": "b", "voice": "v", "fillers": ["uh"]},
        {"name": "C", "code": "c", "voice": "v", "fillers": ["one moment"]},
    ]


def test_pronunciations():
    settings = AISettings()
    settings.add_pronunciation("SWML", "swimmel")
    settings.add_pronunciation("API", "A P I", ignore_case=True)
    assert settings.render(URL)["pronounce"] == [
        {"replace": "SWML", "with": "swimmel"},
        {"replace": "API", "with": "A P I", "ignore_case": True},
    ]


def test_global_data():
    settings = AISettings()
    settings.set_global_data({"a": 1, "b": 2})
    settings.update_global_data({"b": 3, "c": [4]})
    assert settings.render(URL) == {"global_data": {"a": 1, "b": 3, "c": [4]}}
    settings.set_global_data({"a": 5})
    assert settings.render(URL) == {"global_data": {"a": 5, "b": 3, "c": [4]}}


def test_native_and_included_functions():
    settings = AISettings()
    settings.set_native_functions(["check_time"])
    settings.set_native_functions(("wait_seconds", "check_time"))
    settings.add_function_include("https://a.example/swaig", ["one"], {"key": "value"})
    settings.add_function_include("https://b.example/swaig", iter(["two", "three"]))
    settings.set_internal_fillers({"check_time": {"en-US": ["Let me look."]}})
    settings.set_internal_fillers({"hangup": {"en-US": ["Bye."]}})
    assert settings.render(URL) == {}
    assert settings.render_swaig() == {
        "native_functions": ["wait_seconds", "check_time"],
        "includes": [
            {"url": "https://a.example/swaig", "functions": ["one"], "meta_data": {"key": "value"}},
            {"url": "https://b.example/swaig", "functions": ["two", "three"]},
        ],
        "internal_fillers": {
            "check_time": {"en-US": ["Let me look."]},
            "hangup": {"en-US": ["Bye."]},
        },
    }


def test_names_of_native_and_included_functions():
    settings = AISettings()
    assert list(settings.function_names()) == []
    settings.set_native_functions(["check_time"])
    settings.add_function_include("https://a.example/swaig", ["one", "two"])
    settings.add_function_include("https://b.example/swaig", ["three"])
    assert list(settings.function_names()) == ["check_time", "one", "two", "three"]


def test_debug_events_do_not_change_the_parameters():
    settings = AISettings()
    settings.set_param("ai_volume", 3)
    settings.enable_debug_events()
    assert settings.render(URL)["params"] == {
        "ai_volume": 3,
        "debug_webhook_url": URL,
        "debug_webhook_level": 1,
    }
    settings.enable_debug_events(2)
    other = settings.render("https://other.example/debug")["params"]
    assert other["debug_webhook_url"] == "https://other.example/debug"
    assert other["debug_webhook_level"] == 2


@pytest.mark.parametrize("level", [0, -1, True, 1.0, "1", None])
def test_the_debug_level_is_a_positive_integer(level):
    with pytest.raises(ValueError, match="the debug level must be an integer 1 or more"):
        AISettings().enable_debug_events(level)


def test_settings_are_copies():
    settings = AISettings()
    value = {"list": [1]}
    settings.set_param("a", value)
    settings.set_params({"b": value})
    settings.set_global_data({"c": value})
    settings.update_global_data({"d": value})
    settings.set_internal_fillers({"e": value})
    settings.add_function_include("https://a.example", ["f"], {"g": value})
    settings.add_language("English", "en", "v", params=value)
    value["list"].append(2)
    assert "2" not in repr(settings.render(URL)) + repr(settings.render_swaig())


@pytest.mark.parametrize(
    ("method", "arguments", "complaint"),
    [
        ("set_param", ("", 1), "the name of a parameter"),
        ("set_param", ("a", {1}), "param 'a' must be JSON-serializable"),
        ("set_params", (["ab"],), "params must be a dictionary"),
        ("set_params", ({"a": b""},), "params must be JSON-serializable"),
        ("set_global_data", (["ab"],), "global data must be a dictionary"),
        ("update_global_data", ("ab",), "global data must be a dictionary"),
        ("set_internal_fillers", (["ab"],), "internal fillers must be a dictionary"),
        ("add_hint", ("",), "a hint must"),
        ("add_hints", ("hint",), "hints must be a list"),
        ("add_hints", ([5],), "each of hints must"),
        ("add_hints", (None,), "hints must be a list"),
        ("add_hints", (5,), "hints must be a list"),
        ("add_hints", ({"a": 1},), "hints must be a list"),
        ("add_pattern_hint", ("", "p", "r"), "a hint must"),
        ("add_pattern_hint", ("h", "", "r"), "the pattern of a hint"),
        ("add_pattern_hint", ("h", "p", None), "the replacement of a hint"),
        ("add_language", ("", "en", "v"), "the name of a language"),
        ("add_language", ("English", "", "v"), "the code of a language"),
        ("add_language", ("English", "en", ""), "the voice of a language"),
        ("add_language", ("English", "en", "v", [""]), "each of speech_fillers"),
        ("add_language", ("English", "en", "v", "uh"), "speech_fillers must be a list"),
        ("add_language", ("English", "en", "v", 5), "speech_fillers must be a list"),
        ("add_language", ("English", "en", "v", None, 5), "function_fillers must be a list"),
        ("add_pronunciation", ("", "x"), "the text to pronounce"),
        ("add_pronunciation", ("x", ""), "a pronunciation"),
        ("set_native_functions", ("check_time",), "native functions must be a list"),
        ("set_native_functions", (None,), "native functions must be a list"),
        ("set_native_functions", ([None],), "each of native functions"),
        ("add_function_include", ("", ["f"]), "the URL of an include"),
        ("add_function_include", ("javascript:x", ["f"]), "the URL of an include must be an abs"),
        ("add_function_include", ("/swaig", ["f"]), "the URL of an include must be an absolute"),
        ("add_function_include", ("https://a/\r\nb", ["f"]), "the URL of an include must be one"),
        ("add_function_include", ("https://a", "f"), "included functions must be a list"),
        ("add_function_include", ("https://a", None), "included functions must be a list"),
        ("add_function_include", ("https://a", [""]), "each of included functions"),
        ("add_function_include", ("https://a", ["f"], ["ab"]), "the meta data of an include"),
    ],
)
def test_invalid_arguments_change_nothing(method, arguments, complaint):
    settings = AISettings()
    with pytest.raises(ValueError, match=complaint):
        getattr(settings, method)(*arguments)
    assert settings.render(URL) == {}
    assert settings.render_swaig() == {}


def test_a_language_s_options_must_be_json():
    with pytest.raises(ValueError, match="language 'English' must be JSON-serializable"):
        AISettings().add_language("English", "en", "v", emotion=object())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"params": 0}, "the params of language 'English' must be a dictionary"),
        ({"params": 5}, "the params of language 'English' must be a dictionary"),
        ({"params": ["ab"]}, "the params of language 'English' must be a dictionary"),
        ({"params": {"a": b""}}, "the params of language 'English' must be JSON-serializable"),
        ({"engine": 0}, "the engine of language 'English' must be"),
        ({"engine": 5}, "the engine of language 'English' must be"),
        ({"model": ["a"]}, "the model of language 'English' must be"),
    ],
)
def test_parts_of_a_language_s_voice_are_validated(options, complaint):
    settings = AISettings()
    with pytest.raises(ValueError, match=complaint):
        settings.add_language("English", "en", "v", **options)
    assert settings.render(URL) == {}


def test_empty_options_of_a_language_are_omitted():
    settings = AISettings()
    settings.add_language("English", "en", "v", engine="", model=None, params={})
    assert settings.render(URL) == {"languages": [{"name": "English", "code": "en", "voice": "v"}]}


@pytest.mark.parametrize("value", ["false", "no", "", 0, 1, None])
def test_flags_must_be_bools(value):
    settings = AISettings()
    for add in (
        lambda: settings.add_pattern_hint("h", "p", "r", value),
        lambda: settings.add_pronunciation("a", "b", value),
    ):
        with pytest.raises(ValueError, match="^ignore_case must be True or False, not "):
            add()
    assert settings.render(URL) == {}
