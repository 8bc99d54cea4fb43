"""The work of one request must not grow unnoticed: instructions are counted, not times."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from benchmarks import counts

FOUND = {name: {"core/auth": 100, "core/hosts": 100} for name in counts.COUNTED}


@pytest.mark.skipif(
    sys.version_info[:2] != counts.PYTHON or sys.implementation.name != "cpython",
    reason="instructions are counted for CPython {}.{}".format(*counts.PYTHON),
)
def test_requests_execute_the_allowed_number_of_instructions() -> None:
    # In a process of its own, whose caches and records no other test has filled.
    command = [sys.executable, counts.__file__, "--json"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    complaints = counts.complaints(json.loads(ran.stdout), json.loads(counts.ALLOWED.read_text()))
    advice = f"if this is right: python {counts.__file__} --write"
    assert not complaints, "\n".join([*complaints, advice])


@pytest.mark.parametrize("change", [7, -7])
def test_a_change_over_three_percent_names_its_layer(change: int) -> None:
    found = {**FOUND, "401": {"core/auth": 100, "core/hosts": 100 + change}}
    line = f"401: {200 + change} instructions instead of 200; core/hosts {change:+}"
    assert counts.complaints(found, FOUND) == [line]


def test_a_new_layer_is_named() -> None:
    found = {**FOUND, "429": {**FOUND["429"], "core/new": 50}}
    assert counts.complaints(found, FOUND) == ["429: 250 instructions instead of 200; core/new +50"]


def test_a_change_within_the_tolerance_is_accepted() -> None:
    found = {**FOUND, "429": {"core/auth": 100, "core/hosts": 106}}
    assert counts.complaints(found, FOUND) == []


def test_instructions_are_counted_by_layer() -> None:
    from swaig_wsgi.core.auth import parse_authorization

    parse_authorization("Basic abc")  # the first call compiles patterns
    found = counts.count(lambda: parse_authorization("Basic abc"))
    assert found["core/auth"] > 20
    assert found == counts.count(lambda: parse_authorization("Basic abc"))


def test_the_layers_of_a_tool_call_are_summed_by_what_they_are_for() -> None:
    allowed = json.loads(counts.ALLOWED.read_text())["tool call"]
    found = counts.by_purpose(allowed)
    assert found["all"] == sum(allowed.values()) == sum(found.values()) / 2
    assert counts.by_purpose({"core/auth": 2, "agent/auth": 1, "core/new": 4}) == {
        "core/new": 4,
        "authentication": 3,
        "all": 7,
    }
