"""Preconditions and ranges as values; over HTTP they are in test_static.py."""

from __future__ import annotations

from typing import Any

import pytest

from swaig_wsgi.agent.conditional import precondition, settled

LONG_AGO, TO_COME = "Mon, 01 Jan 2001 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"HTTP_IF_MATCH": '"a", "b"'}, None),
        ({"HTTP_IF_MATCH": '"b"'}, 412),
        ({"HTTP_IF_UNMODIFIED_SINCE": LONG_AGO}, 412),
        ({"HTTP_IF_UNMODIFIED_SINCE": "junk"}, None),
        ({"HTTP_IF_NONE_MATCH": 'W/"a"'}, 304),
        ({"HTTP_IF_MODIFIED_SINCE": TO_COME}, 304),
        ({"HTTP_IF_MODIFIED_SINCE": LONG_AGO}, None),
    ],
)
def test_preconditions(fields: dict[str, Any], expected: int | None) -> None:
    assert precondition(fields, "a", 1_600_000_000.9) == expected


@pytest.mark.parametrize(
    ("method", "asked", "expected"),
    [
        ("GET", "bytes=0-3", "bytes=0-3"),
        ("GET", "bytes=-99", "bytes=0-"),
        ("GET", "bytes=-3", "bytes=-3"),
        ("GET", "bytes=0-1,3-4", None),
        ("GET", "lines=0-3", None),
        ("GET", "junk", None),
        ("HEAD", "bytes=0-3", None),
    ],
)
def test_ranges(method: str, asked: str, expected: str | None) -> None:
    environ = {"REQUEST_METHOD": method, "HTTP_RANGE": asked, "HTTP_IF_MATCH": "x", "x": 1}
    own = settled(environ, 10)
    assert own.get("HTTP_RANGE") == expected
    assert own["x"] == 1
    assert "HTTP_IF_MATCH" not in own
    assert environ["HTTP_RANGE"] == asked
