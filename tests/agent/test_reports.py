"""Summaries, requests for an earlier conversation, and debug events."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from swaig_wsgi import AgentApp
from swaig_wsgi.config import Settings
from swaig_wsgi.stores import SQLiteStore, StoreError

SUMMARY = {"call_id": "call-1", "post_prompt_data": {"parsed": [{"paid": 5}]}}


class Reporter(AgentApp):
    """An agent that records its reports, and returns or raises `reply`."""

    reply: Any = None

    def _complete(self) -> None:
        super()._complete()
        self.seen: list[Any] = []

    async def on_summary(self, summary: Any, raw_data: dict[str, Any]) -> Any:
        self.seen.append((summary, raw_data))
        return self._replied()

    def on_debug_event(self, event: dict[str, Any]) -> Any:
        self.seen.append(event)
        return self._replied()

    def _replied(self) -> Any:
        if isinstance(self.reply, BaseException):
            raise self.reply
        return self.reply


@pytest.fixture
def reporter(make_agent: Any) -> Reporter:
    agent = make_agent(cls=Reporter)
    assert isinstance(agent, Reporter)
    return agent


@pytest.fixture
def sharing(make_agent: Any, tmp_path: Path) -> Reporter:
    """Return an agent with a store that other processes share."""
    settings = Settings.from_env({"SWML_STORAGE_URL": f"sqlite:///{tmp_path}/state.db"})
    agent = make_agent(cls=Reporter, settings=settings)
    assert isinstance(agent, Reporter)
    return agent


@pytest.fixture
def report(client_of: Any) -> Any:
    """Return a function that posts a report with a token, by default for ``call-1``."""

    def post(agent: AgentApp, body: Any, *, token: str | None = "", **options: Any) -> Any:
        if token == "":
            token = agent.sessions.generate_token("post_prompt", "call-1")
        path = "/post_prompt" if token is None else f"/post_prompt?__token={token}"
        return client_of(agent).post(path, body=body, **options)

    return post


# -- the response


@pytest.mark.parametrize("reply", [{"conversation_summary": "He called before."}, {}, {"é": [1]}])
@pytest.mark.parametrize("action", ["fetch_conversation", "post_conversation", None])
def test_a_mapping_that_on_summary_returns_is_the_response(
    reporter: Reporter, report: Any, reply: Any, action: Any
) -> None:
    reporter.reply = reply
    response = report(reporter, {**SUMMARY, "action": action})
    assert (response.status, response.json) == (200, reply)
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("reply", [None, "text", ["list"], 5, object()])
def test_anything_else_that_on_summary_returns_is_ignored(
    reporter: Reporter, report: Any, reply: Any
) -> None:
    reporter.reply = reply
    assert report(reporter, SUMMARY).json == {"status": "ok"}


def test_a_request_for_a_conversation_reaches_on_summary(reporter: Reporter, report: Any) -> None:
    body = {"action": "fetch_conversation", "call_id": "call-1", "conversation_id": "customer-7"}
    report(reporter, body)
    ((summary, raw_data),) = reporter.seen
    assert summary is None
    assert raw_data == {**body, "verified_call_id": "call-1"}


# -- the token


@pytest.mark.parametrize("more", [{}, {"conversation_id": "customer-7"}, {"call": {}}])
def test_a_request_for_a_conversation_need_not_name_a_call(
    reporter: Reporter, report: Any, more: Any
) -> None:
    reporter.reply = {"conversation_summary": "He called before."}
    body = {"action": "fetch_conversation", **more}
    assert report(reporter, body).json == reporter.reply
    ((_, raw_data),) = reporter.seen
    assert raw_data["call_id"] == raw_data["verified_call_id"] == "call-1"


def test_attack_a_request_for_a_conversation_needs_the_token_of_its_call(
    reporter: Reporter, report: Any, caplog: pytest.LogCaptureFixture
) -> None:
    reporter.reply = {"conversation_summary": "secret"}
    generate = reporter.sessions.generate_token
    fetch = {"action": "fetch_conversation", "conversation_id": "customer-7"}
    good = generate("post_prompt", "call-1")
    other = AgentApp("other", secret_key="another secret of some length")
    of_another = other.sessions.generate_token("post_prompt", "call-1")
    for token, body, reason in (
        (None, fetch, "missing"),
        ("junk", fetch, "malformed"),
        (of_another, fetch, "bad_signature"),
        (generate("pay", "call-1"), fetch, "wrong_function"),
        (good, {**fetch, "call_id": "call-2"}, "wrong_call"),
        (good, {**fetch, "call": {"call_id": "call-2"}}, "wrong_call"),
        # Summaries, and what only resembles a request for a conversation, name their call.
        (good, {"conversation_id": "customer-7"}, "wrong_call"),
        (good, {**fetch, "action": "post_conversation"}, "wrong_call"),
        (good, {**fetch, "action": ["fetch_conversation"]}, "wrong_call"),
        (good, {**fetch, "action": "Fetch_Conversation"}, "wrong_call"),
    ):
        caplog.clear()
        response = report(reporter, body, token=token)
        assert response.status == 403
        assert response.json == {"error": "Forbidden: invalid tool token"}
        assert f"reason={reason} " in caplog.text
    assert report(reporter, {**fetch, "call_id": 5}).status == 400
    assert reporter.seen == []


# -- handlers that raise


@pytest.mark.parametrize(
    "error",
    [RuntimeError("broken 77"), asyncio.CancelledError("broken 77"), SystemExit("broken 77")],
)
def test_a_handler_that_raises_is_a_200_with_a_traceback(
    reporter: Reporter, report: Any, client_of: Any, error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    reporter.reply = error
    for send, name in (
        (lambda: report(reporter, SUMMARY), "on_summary"),
        (lambda: report(reporter, {**SUMMARY, "action": "fetch_conversation"}), "on_summary"),
        (lambda: client_of(reporter).post("/debug_events", body={"event": "x"}), "on_debug_event"),
    ):
        response = send()
        assert (response.status, response.json) == (200, {"status": "failed"})
        (record,) = [each for each in caplog.records if each.exc_info]
        assert record.levelno == logging.ERROR
        assert f"{name} of agent 'bank' failed" in record.getMessage()
        assert "broken 77" in caplog.text
        caplog.clear()


def test_what_is_no_error_of_the_handler_is_passed_on_to_the_server(
    sharing: Reporter, report: Any
) -> None:
    class Timeout(BaseException):
        """As in gevent, where it is for the code that started it."""

    token = sharing.sessions.generate_token("post_prompt", "call-1")
    sharing.reply = Timeout()
    with pytest.raises(Timeout):
        report(sharing, SUMMARY, token=token)
    sharing.reply = {"n": 1}
    assert report(sharing, SUMMARY, token=token).json == {"n": 1}
    assert len(sharing.seen) == 2


def test_a_mapping_that_is_not_json_is_a_200_with_a_traceback(
    sharing: Reporter, report: Any, caplog: pytest.LogCaptureFixture
) -> None:
    token = sharing.sessions.generate_token("post_prompt", "call-1")
    for _ in range(2):
        sharing.reply = {"x": object()}
        response = report(sharing, SUMMARY, token=token)
        assert (response.status, response.json) == (200, {"status": "failed"})
    assert "on_summary of agent 'bank' returned what is not JSON" in caplog.text
    assert len(sharing.seen) == 1  # it had returned


def test_what_a_debug_event_returns_is_ignored(reporter: Reporter, client_of: Any) -> None:
    reporter.reply = {"a": 1}
    assert client_of(reporter).post("/debug_events", body={"e": 1}).json == {"status": "ok"}


# -- repeats


def test_a_repeat_gets_the_first_response(
    sharing: Reporter, report: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "swaig_wsgi.calls")
    token = sharing.sessions.generate_token("post_prompt", "call-1")
    replies = [{"n": 1}, {"n": 2}, {"n": 3}]
    got = []
    for sharing.reply in replies:
        got.append(report(sharing, SUMMARY, token=token).json)
    assert got == [{"n": 1}] * 3
    assert len(sharing.seen) == 1
    outcomes = [each.outcome for each in caplog.records if hasattr(each, "outcome")]
    assert outcomes == ["ran", "repeated", "repeated"]


def test_other_reports_are_no_repeats(sharing: Reporter, report: Any) -> None:
    generate = sharing.sessions.generate_token
    token = generate("post_prompt", "call-1")
    for count, (body, each) in enumerate(
        [
            (SUMMARY, token),
            # Another document of the same call, another body, another call.
            (SUMMARY, generate("post_prompt", "call-1")),
            ({**SUMMARY, "times": []}, token),
            (json.dumps(SUMMARY, indent=1).encode(), token),
            ({**SUMMARY, "call_id": "call-2"}, generate("post_prompt", "call-2")),
        ],
        1,
    ):
        for _ in range(2):
            options = {"CONTENT_TYPE": "application/json"} if isinstance(body, bytes) else {}
            assert report(sharing, body, token=each, **options).status == 200
        assert len(sharing.seen) == count


def test_questions_and_debug_events_are_handled_each_time(
    sharing: Reporter, report: Any, client_of: Any
) -> None:
    token = sharing.sessions.generate_token("post_prompt", "call-1")
    for sharing.reply in ({"n": 1}, {"n": 2}):
        body = {**SUMMARY, "action": "fetch_conversation"}
        assert report(sharing, body, token=token).json == sharing.reply
        client_of(sharing).post("/debug_events", body={"event": "x"})
    assert len(sharing.seen) == 4


def test_a_summary_whose_handler_raised_is_handled_again(sharing: Reporter, report: Any) -> None:
    token = sharing.sessions.generate_token("post_prompt", "call-1")
    for sharing.reply in (RuntimeError("broken"), RuntimeError("broken"), {"n": 1}, {"n": 2}):
        report(sharing, SUMMARY, token=token)
    assert len(sharing.seen) == 3


def test_a_summary_is_remembered_for_an_hour(
    sharing: Reporter, report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifetimes: list[float] = []
    store = sharing._own_store.base
    real = store.set

    def spy(key: str, value: Any, ttl: float) -> None:
        lifetimes.append(ttl)
        real(key, value, ttl)

    monkeypatch.setattr(store, "set", spy)
    report(sharing, SUMMARY)
    assert lifetimes == [3600.0]


def test_a_response_too_long_to_keep_is_not_repeated_but_the_handler_is_not_either(
    sharing: Reporter, report: Any
) -> None:
    token = sharing.sessions.generate_token("post_prompt", "call-1")
    sharing.reply = {"conversation_summary": "x" * 100_000}
    assert report(sharing, SUMMARY, token=token).json == sharing.reply
    assert report(sharing, SUMMARY, token=token).json == {"status": "ok"}
    assert len(sharing.seen) == 1


def test_without_a_shared_store_each_report_is_handled(reporter: Reporter, report: Any) -> None:
    token = reporter.sessions.generate_token("post_prompt", "call-1")
    for _ in range(2):
        report(reporter, SUMMARY, token=token)
    assert len(reporter.seen) == 2


@pytest.mark.parametrize("method", ["get", "set"])
def test_a_store_that_fails_costs_no_summary(
    sharing: Reporter,
    report: Any,
    method: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*args: Any) -> None:
        raise StoreError("the store is down")

    monkeypatch.setattr(SQLiteStore, method, fail)
    sharing.reply = {"n": 1}
    assert report(sharing, SUMMARY).json == {"n": 1}
    assert len(sharing.seen) == 1
    assert "a summary may be handled twice: the store could not be" in caplog.text
    assert "the store is down" in caplog.text


def test_attack_no_client_gets_the_response_to_the_summary_of_another(
    sharing: Reporter, report: Any
) -> None:
    """A repeat is verified like the first: what is remembered is under the verified call."""
    generate = sharing.sessions.generate_token
    sharing.reply = {"secret": "of call-1"}
    assert report(sharing, SUMMARY).json == sharing.reply
    sharing.reply = {"status": "another"}
    stale = generate("pay", "call-1")
    assert report(sharing, SUMMARY, token=None).status == 403
    assert report(sharing, SUMMARY, token=stale).status == 403
    assert report(sharing, SUMMARY, token=generate("post_prompt", "call-2")).status == 403
    by_conversation = {**SUMMARY, "conversation_id": "call-2"}
    token = generate("post_prompt", "call-2")
    assert report(sharing, by_conversation, token=token).json == {"status": "another"}
