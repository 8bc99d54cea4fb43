"""Routes of agents."""

from __future__ import annotations

from typing import Any

import pytest

from swaig_wsgi.agent.routes import normal_route


@pytest.mark.parametrize(
    ("route", "expected"), [("/", ""), ("/a", "/a"), ("/a/", "/a"), ("/a/b", "/a/b"), ("/ö", "/ö")]
)
def test_a_trailing_slash_is_removed(route: str, expected: str) -> None:
    assert normal_route(route) == expected


@pytest.mark.parametrize(
    "route",
    [
        "",
        "a",
        "//",
        "/a//b",
        "/.",
        "/a/..",
        "/<x>",
        "/a?b",
        "/a#b",
        "/a%41",
        "/a\\b",
        "/a\n",
        None,
        5,
    ],
)
def test_invalid_routes_are_rejected(route: Any) -> None:
    with pytest.raises(ValueError, match="route"):
        normal_route(route)
