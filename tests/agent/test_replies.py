"""Replies and refusals."""

from __future__ import annotations

import pytest

from swaig_wsgi.agent._replies import Refusal, Reply, bad_request, understood
from swaig_wsgi.core.strict_json import JSONBodyError


def test_a_reply_is_a_success_without_headers() -> None:
    assert Reply(b"{}") == Reply(b"{}", 200, ())


def test_a_bad_request_says_what_is_bad() -> None:
    refusal = bad_request("call_id must be a string", "odd")
    assert (refusal.status, refusal.error) == (400, "Bad request: call_id must be a string")
    assert refusal.reason == "odd"
    assert bad_request("x").reason == "bad_request"


def test_what_is_not_understood_is_a_bad_request() -> None:
    def parse(value: str) -> str:
        if not value:
            raise JSONBodyError("empty")
        return value.upper()

    assert understood(parse, "a") == "A"
    with pytest.raises(Refusal, match="Bad request: empty"):
        understood(parse, "")
