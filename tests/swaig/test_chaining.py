import inspect

import pytest

from swaig_wsgi.swaig._chaining import adds


def make(name: str, often: int = 1) -> dict[str, object]:
    """Say it often."""
    if often < 1:
        raise ValueError("often must be from 1")
    return {name: often}


class Collector:
    make = adds(make)

    def __init__(self):
        self.action = []


def test_the_action_is_added_and_the_object_returned():
    collector = Collector()
    assert collector.make("a") is collector
    assert collector.make("b", often=2).make(name="c").action == [{"a": 1}, {"b": 2}, {"c": 1}]


def test_nothing_is_added_on_an_error():
    collector = Collector()
    with pytest.raises(ValueError, match="often must be from 1"):
        collector.make("a", 0)
    assert collector.action == []


def test_the_method_has_the_function_s_parameters():
    assert Collector.make.__name__ == "make"
    assert inspect.getdoc(Collector.make) == "Say it often."
    assert list(inspect.signature(Collector.make).parameters) == ["self", "name", "often"]
    assert list(inspect.signature(Collector().make).parameters) == ["name", "often"]
