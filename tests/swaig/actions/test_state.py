import pytest

from swaig_wsgi.swaig._actions import state

NOT_OBJECTS = [None, "text", ["a"], {"a": object()}, {"a": float("nan")}, {1, 2}]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (state.update_global_data, "set_global_data"),
        (state.set_metadata, "set_meta_data"),
        (state.update_settings, "settings"),
    ],
)
def test_data_is_copied_json(make, name):
    data = {"a": [1]}
    action = make(data)
    data["a"].append(2)
    assert action == {name: {"a": [1]}}
    assert make({}) == {name: {}}
    for value in NOT_OBJECTS:
        with pytest.raises(ValueError, match=r"^(data|settings) "):
            make(value)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (state.remove_global_data, "unset_global_data"),
        (state.remove_metadata, "unset_meta_data"),
    ],
)
def test_keys_are_one_or_several(make, name):
    assert make("a") == {name: "a"}
    assert make(["a", "b"]) == {name: ["a", "b"]}
    assert make(("a",)) == {name: ["a"]}
    for value in (None, "", [""], [5], {"a": 1}):
        with pytest.raises(ValueError, match="keys must"):
            make(value)


def test_semantic_state():
    assert state.set_semantic_state({"a": 1}) == {"set_global_data": {"semantic_state": {"a": 1}}}
    with pytest.raises(ValueError, match="^state must be"):
        state.set_semantic_state("a")


def test_toggles():
    toggles = [
        {"function": "a", "active": True},
        {"function": ["b", "c"], "active": "${d}"},
        {"function": "e", "active": 3},
        {"function": "f", "active": -1},
    ]
    assert state.toggle_functions(toggles) == {"toggle_functions": toggles}


@pytest.mark.parametrize(
    "toggles",
    [
        None,
        {"function": "a", "active": True},
        ["a"],
        [{"function": "a"}],
        [{"active": True}],
        [{"function": "", "active": True}],
        [{"function": [5], "active": True}],
        [{"function": None, "active": True}],
        [{"function": "a", "active": "yes"}],
        [{"function": "a", "active": None}],
        [{"function": "a", "active": -2}],
    ],
)
def test_invalid_toggles(toggles):
    with pytest.raises(ValueError, match="function_toggles|function|active"):
        state.toggle_functions(toggles)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (state.enable_functions_on_timeout, "functions_on_speaker_timeout"),
        (state.enable_extensive_data, "extensive_data"),
    ],
)
def test_switches(make, name):
    assert make() == {name: True}
    assert make(False) == {name: False}
    with pytest.raises(ValueError, match="^enabled must be"):
        make("false")


def test_replace_in_history():
    assert state.replace_in_history() == {"replace_in_history": True}
    assert state.replace_in_history("I did it.") == {"replace_in_history": "I did it."}
    with pytest.raises(ValueError, match="^text, unless a string, must be"):
        state.replace_in_history(None)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("frequency-penalty", -2, 2),
        ("presence-penalty", -2, 2),
        ("top-p", 0, 1),
        ("confidence", 0, 1),
        ("barge-confidence", 0, 1),
        ("temperature", 0, 2),
        ("max-tokens", 0, 4096),
    ],
)
def test_settings_have_ranges(name, low, high):
    for value in (low, high, "${a}"):
        assert state.update_settings({name: value}) == {"settings": {name: value}}
    for value in (low - 1, high + 1, "hot", None, True):
        with pytest.raises(ValueError, match=rf"^{name} must be"):
            state.update_settings({name: value})


def test_max_tokens_is_an_integer():
    with pytest.raises(ValueError, match="^max-tokens must be an integer"):
        state.update_settings({"max-tokens": 1.5})


def test_switch_context():
    assert state.switch_context("You are a bank.") == {"context_switch": "You are a bank."}
    assert state.switch_context() == {"context_switch": {}}
    assert state.switch_context("", "") == {"context_switch": {}}
    assert state.switch_context("You are a bank.", "Hello?", True, True) == {
        "context_switch": {
            "system_prompt": "You are a bank.",
            "user_prompt": "Hello?",
            "consolidate": True,
            "full_reset": True,
        }
    }
    for arguments in (
        {"system_prompt": 5},
        {"user_prompt": ["a"]},
        {"consolidate": "no"},
        {"full_reset": None},
    ):
        with pytest.raises(ValueError, match=rf"^{next(iter(arguments))} must be"):
            state.switch_context(**arguments)


def test_steps_and_contexts():
    assert state.swml_change_step("pay") == {"change_step": "pay"}
    assert state.swml_change_context("billing") == {"change_context": "billing"}
    for value in ("", None, "a\n"):
        with pytest.raises(ValueError, match="^step_name must be"):
            state.swml_change_step(value)
        with pytest.raises(ValueError, match="^context_name must be"):
            state.swml_change_context(value)
