import pytest

from swaig_wsgi.swml import CallFlow

AI = {"prompt": {"text": "Hello."}}


def test_a_call_is_answered_before_the_ai():
    assert CallFlow().render(AI) == [{"answer": {}}, {"ai": AI}]


def test_without_auto_answer_the_call_is_not_answered():
    assert CallFlow(auto_answer=False).render(AI) == [{"ai": AI}]


def test_the_five_phases_in_order():
    flow = CallFlow(record_call=True)
    flow.add_post_ai("hangup", {})
    flow.add_post_answer("play", {"url": "say:One moment"})
    flow.add_pre_answer("play", {"url": "ring:us"})
    flow.add_pre_answer("sleep", 500)
    assert flow.render(AI) == [
        {"play": {"url": "ring:us"}},
        {"sleep": 500},
        {"answer": {}},
        {"record_call": {"format": "mp4", "stereo": True}},
        {"play": {"url": "say:One moment"}},
        {"ai": AI},
        {"hangup": {}},
    ]


def test_verbs_can_be_removed():
    flow = CallFlow()
    flow.add_pre_answer("play", {})
    flow.add_post_answer("play", {})
    flow.add_post_ai("hangup", {})
    flow.clear_pre_answer()
    assert [next(iter(verb)) for verb in flow.render(AI)] == ["answer", "play", "ai", "hangup"]
    flow.clear_post_answer()
    assert [next(iter(verb)) for verb in flow.render(AI)] == ["answer", "ai", "hangup"]
    flow.clear_post_ai()
    assert [next(iter(verb)) for verb in flow.render(AI)] == ["answer", "ai"]


def test_the_answer_takes_parameters():
    flow = CallFlow()
    flow.set_answer({"max_duration": 600})
    assert flow.render(AI)[0] == {"answer": {"max_duration": 600}}
    flow.set_answer()
    assert flow.render(AI)[0] == {"answer": {}}


def test_parameters_alone_do_not_answer_a_call():
    flow = CallFlow(auto_answer=False)
    flow.set_answer({"max_duration": 600})
    assert flow.render(AI) == [{"ai": AI}]


@pytest.mark.parametrize("config", [5, 0, "", [], ["ab"], {"a": object()}])
def test_parameters_of_the_answer_are_a_dictionary(config):
    flow = CallFlow(auto_answer=False)
    with pytest.raises(ValueError, match="^the parameters of the answer "):
        flow.set_answer(config)
    assert flow.render(AI) == [{"ai": AI}]


@pytest.mark.parametrize("record_format", ["mp3", "mp4", "wav"])
def test_recording(record_format):
    flow = CallFlow(record_call=True, record_format=record_format, record_stereo=False)
    assert flow.render(AI)[1] == {"record_call": {"format": record_format, "stereo": False}}


@pytest.mark.parametrize("record_format", ["MP4", "ogg", "", None])
def test_the_format_is_validated_even_without_recording(record_format):
    with pytest.raises(ValueError, match="record_format must be one of mp4, mp3, wav"):
        CallFlow(record_format=record_format)


@pytest.mark.parametrize("method", ["add_pre_answer", "add_post_answer", "add_post_ai"])
def test_verbs_are_copied_and_validated(method):
    flow = CallFlow(auto_answer=False)
    config = {"urls": ["a"]}
    getattr(flow, method)("play", config)
    config["urls"].append("b")
    assert {"play": {"urls": ["a"]}} in flow.render(AI)
    with pytest.raises(ValueError, match="the name of a verb"):
        getattr(flow, method)("", {})
    with pytest.raises(ValueError, match=r"^verb 'play' must be JSON-serializable"):
        getattr(flow, method)("play", {"url": object()})
    assert len(flow.render(AI)) == 2


def test_changing_a_rendered_section_does_not_change_the_flow():
    flow = CallFlow()
    flow.render(AI).append({"hangup": {}})
    assert flow.render(AI) == [{"answer": {}}, {"ai": AI}]


@pytest.mark.parametrize("value", ["false", "no", "true", "", 0, 1, None])
@pytest.mark.parametrize("name", ["auto_answer", "record_call", "record_stereo"])
def test_flags_must_be_bools(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be True or False, not "):
        CallFlow(**{name: value})
