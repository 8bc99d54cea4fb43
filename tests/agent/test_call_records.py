"""The log of calls: one record for each tool call, document and summary."""

from __future__ import annotations

import logging
import re
import threading
from typing import Any

import pytest
from support.wsgi import request

from swaig_wsgi import AgentApp, Settings
from swaig_wsgi.agent import at_most_once
from swaig_wsgi.stores import StoreError
from swaig_wsgi.wsgi import add_observer, remove_observer

AUTH = ("user", "a-long-password")
PAY = {"amount": {"type": "number"}}


def fail(args: Any, raw: Any) -> str:
    raise RuntimeError("no backend")


@pytest.fixture
def agent() -> AgentApp:
    agent = AgentApp("desk", basic_auth=AUTH, settings=Settings())
    agent.define_tool("look", "Look.", {}, lambda args, raw: "Seen.")
    agent.define_tool("fail", "Fail.", {}, fail)
    agent.define_tool("pay", "Pay.", PAY, lambda args, raw: "Paid.", secure=True, once=60)
    agent.define_tool("beep", "Beep.", {}, lambda args, raw: "Beep.", secure=True, max_runs=1)
    return agent


@pytest.fixture
def calls(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the records of calls, to which further ones are added."""
    caplog.set_level(logging.INFO, "swaig_wsgi.calls")
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    handler.addFilter(lambda record: record.name == "swaig_wsgi.calls")
    logging.getLogger("swaig_wsgi.calls").addHandler(handler)
    yield records
    logging.getLogger("swaig_wsgi.calls").removeHandler(handler)


def call(agent: AgentApp, name: str, *, token: bool = False, **arguments: Any) -> Any:
    body = {"function": name, "call_id": "call-1", "argument": {"parsed": [arguments]}}
    query = f"__token={agent.sessions.generate_token(name, 'call-1')}" if token else ""
    return send(agent, body, query)


def send(agent: AgentApp, body: Any, query: str = "", path: str = "/swaig") -> Any:
    return request(
        agent, "POST", path, body=body, query=query, auth=AUTH, HTTP_X_REQUEST_ID="the-request"
    )


def outcomes(records: list[logging.LogRecord]) -> list[str]:
    return [record.outcome for record in records]


def test_a_tool_call_leaves_one_record(agent, calls):
    assert call(agent, "look").json == {"response": "Seen."}
    (record,) = calls
    assert record.levelno == logging.INFO
    names = ("event", "outcome", "client", "request_id", "agent", "tool", "call_id", "user")
    assert [getattr(record, name) for name in names] == [
        *("tool_call", "ran", "192.0.2.7", "the-request", "desk", "look", "call-1", "user")
    ]
    assert 0 <= record.milliseconds < 60_000
    assert re.fullmatch(
        r"tool_call outcome=ran client=192\.0\.2\.7 request_id=the-request agent=desk method=POST "
        r"path=/swaig call_id=call-1 user=user tool=look milliseconds=\d+\.\d",
        record.getMessage(),
    )


def test_repeats_of_a_once_call_have_the_same_key(agent, calls):
    body = {"function": "pay", "call_id": "call-1", "argument": {"parsed": [{"amount": 5}]}}
    query = f"__token={agent.sessions.generate_token('pay', 'call-1')}"
    for amount in 5, 5, 6:
        body["argument"]["parsed"][0]["amount"] = amount
        send(agent, body, query)
    call(agent, "pay", token=True, amount=5)  # with another token
    call(agent, "look")
    first, repeat, other_amount, other_token, look = calls
    assert [each.outcome for each in calls] == ["ran", "repeated", "ran", "ran", "ran"]
    assert re.fullmatch("[0-9a-f]{12}", first.once)
    assert f" tool=pay once={first.once} milliseconds=" in first.getMessage()
    assert first.once == repeat.once
    assert len({first.once, other_amount.once, other_token.once}) == 3
    assert not hasattr(look, "once")


def test_each_outcome_of_a_tool_call(agent, calls):
    call(agent, "look")
    call(agent, "fail")
    call(agent, "pay", amount=5)
    call(agent, "pay", token=True, amount="much")
    call(agent, "beep", token=True)
    call(agent, "beep", token=True)
    assert outcomes(calls) == ["ran", "failed", "refused", "invalid_arguments", "ran", "limited"]
    assert [record.tool for record in calls] == ["look", "fail", "pay", "pay", "beep", "beep"]
    assert {record.levelno for record in calls} == {logging.INFO}


def test_each_refused_call_says_why_when_the_security_log_sums_up(agent, calls, caplog):
    for number in range(60):
        body = {"function": "pay", "call_id": f"call-{number}"}
        other = agent.sessions.generate_token("pay", "another-call")
        send(agent, body, f"__token={other}" if number % 2 else "")
    summed = [each for each in caplog.records if each.name == "swaig_wsgi.security"]
    assert len(summed) == 20  # ten of each reason
    assert [(each.call_id, each.outcome, each.reason) for each in calls] == [
        (f"call-{number}", "refused", "wrong_call" if number % 2 else "missing")
        for number in range(60)
    ]
    assert calls[-1].getMessage().startswith("tool_call outcome=refused reason=wrong_call client=")


def test_each_call_that_did_not_run_says_why(agent, calls, monkeypatch):
    send(agent, {"function": "nothing"})
    send(agent, {"call_id": "call-1"}, path="/post_prompt")
    call(agent, "pay", token=True, amount="much")
    call(agent, "pay", token=True, sum=5)
    send(
        agent,
        {"function": "pay", "call_id": "call-1", "argument": {"raw": "five"}},
        f"__token={agent.sessions.generate_token('pay', 'call-1')}",
    )
    call(agent, "beep", token=True)
    call(agent, "beep", token=True)
    assert [(each.outcome, getattr(each, "reason", None)) for each in calls] == [
        ("refused", "unknown_function"),
        ("refused", "missing"),
        ("invalid_arguments", "schema_mismatch"),
        ("invalid_arguments", "unexpected"),
        ("invalid_arguments", "unreadable"),
        ("ran", None),
        ("limited", "max_runs"),
    ]

    def no_hit(*args: Any) -> Any:
        raise StoreError("the store is down")

    def no_thread(*args: Any) -> Any:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(agent._own_store.base, "hit", no_hit)
    monkeypatch.setattr(at_most_once, "_Heartbeat", no_thread)
    del calls[:]
    call(agent, "beep", token=True)
    call(agent, "pay", token=True, amount=5)
    assert [(each.outcome, each.reason) for each in calls] == [
        ("limited", "store_failed"),
        ("refused", "no_thread"),
    ]


def test_a_repeat_is_recorded_as_repeated(agent, calls):
    body = {"function": "pay", "call_id": "call-1", "argument": {"parsed": [{"amount": 5}]}}
    query = f"__token={agent.sessions.generate_token('pay', 'call-1')}"
    for _ in range(2):
        assert send(agent, body, query).json == {"response": "Paid."}
    assert outcomes(calls) == ["ran", "repeated"]


def test_an_unknown_outcome_is_a_warning(agent, calls, monkeypatch):
    def add(*args: Any) -> bool:
        raise StoreError("the store is down")

    monkeypatch.setattr(agent._own_store.base, "add", add)
    call(agent, "pay", token=True, amount=5)
    (record,) = calls
    assert (record.outcome, record.levelname, record.tool) == ("unknown", "WARNING", "pay")


def test_a_call_in_progress_is_repeated_and_a_silent_one_unknown(agent, calls, monkeypatch):
    monkeypatch.setattr(at_most_once, "WAIT", 0.5)
    monkeypatch.setattr(at_most_once, "HEARTBEAT", 0.1)
    started, end = threading.Event(), threading.Event()

    def slow(args: Any, raw: Any) -> str:
        started.set()
        end.wait(60)
        return "Done."

    agent.define_tool("slow", "Slow.", {}, slow, secure=True, once=60)
    body = {"function": "slow", "call_id": "call-1"}
    query = f"__token={agent.sessions.generate_token('slow', 'call-1')}"
    first = threading.Thread(target=send, args=(agent, body, query))
    first.start()
    try:
        assert started.wait(60)
        send(agent, body, query)
        monkeypatch.setattr(at_most_once, "WAIT", 0)
        send(agent, body, query)
    finally:
        end.set()
        first.join()
    assert outcomes(calls) == ["repeated", "unknown", "ran"]


def test_a_call_that_cannot_start_a_heartbeat_is_refused(agent, calls, monkeypatch):
    def start(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(at_most_once, "_Heartbeat", start)
    call(agent, "pay", token=True, amount=5)
    assert outcomes(calls) == ["refused"]


@pytest.mark.parametrize("body", [{"function": "no\nsuch"}, {"function": 1}, {"argument": {}}])
def test_attack_an_invented_tool_is_refused_and_no_label(agent, calls, body):
    assert send(agent, body).status in (400, 404)
    (record,) = calls
    assert (record.outcome, record.tool) == ("refused", "-")


def test_documents_and_summaries_are_recorded(agent, calls):
    token = agent.sessions.generate_token("post_prompt", "call-9")
    request(agent, auth=AUTH, query="call_id=call-9")
    summary = {"call_id": "call-9", "post_prompt_data": {"raw": "The caller paid 5 euro."}}
    send(agent, summary, f"__token={token}", "/post_prompt")
    send(agent, summary, "", "/post_prompt")
    agent.register_routing_callback(lambda body, headers: "/elsewhere", "/sip")
    request(agent, "POST", "/sip", auth=AUTH, body={})
    assert [
        (record.event, record.outcome, getattr(record, "call_id", None)) for record in calls
    ] == [
        ("document", "ran", "call-9"),
        ("summary", "ran", "call-9"),
        ("summary", "refused", "call-9"),
        ("document", "redirected", None),
    ]
    assert not any("euro" in record.getMessage() for record in calls)


def test_a_document_without_a_call_id_is_recorded_with_the_new_one(agent, calls):
    document = request(agent, auth=AUTH)
    assert calls[0].call_id
    assert document.status == 200


def test_what_fails_is_recorded_as_failed(agent, calls, monkeypatch):
    def fail(*args: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(agent, "on_summary", fail)
    agent.set_dynamic_config_callback(fail)
    assert request(agent, auth=AUTH).status == 500
    token = agent.sessions.generate_token("post_prompt", "call-1")
    # A 5xx would be repeated.
    assert send(agent, {"call_id": "call-1"}, f"__token={token}", "/post_prompt").status == 200
    assert outcomes(calls) == ["failed", "failed"]


def test_refusals_before_the_endpoint_leave_no_record_of_a_call(agent, calls):
    request(agent, "POST", "/swaig", body={"function": "look"})
    assert calls == []


def test_observers_see_calls_that_are_not_logged(agent):
    seen: list[Any] = []

    def observer(kind: str, fields: Any) -> None:
        seen.append((kind, fields["event"], fields["outcome"], fields["tool"]))

    logging.getLogger("swaig_wsgi.calls").setLevel(logging.ERROR)
    add_observer(observer)
    try:
        call(agent, "look")
    finally:
        remove_observer(observer)
        logging.getLogger("swaig_wsgi.calls").setLevel(logging.NOTSET)
    assert seen == [("call", "tool_call", "ran", "look")]


def test_a_start_is_recorded_before_a_tool_that_must_not_run_twice(agent, calls, caplog):
    caplog.set_level(logging.INFO, "swaig_wsgi")
    seen: list[list[str]] = []

    def handler(args: Any, raw: Any) -> str:
        seen.append([each.name for each in caplog.records])
        return "Done."

    agent.define_tool("once", "Once.", {}, handler, secure=True, once=60)
    agent.define_tool("limited", "Limited.", {}, handler, secure=True, max_runs=1)
    agent.define_tool("plain", "Plain.", {}, handler, secure=True)
    for name in "once", "limited", "plain":
        caplog.clear()
        call(agent, name, token=True)
        started = [each for each in caplog.records if each.name == "swaig_wsgi.calls.started"]
        if name == "plain":
            assert not started
            continue
        (start,) = started
        assert seen[-1] == ["swaig_wsgi.calls.started"]
        names = ("event", "tool", "call_id", "request_id", "agent")
        assert [getattr(start, each) for each in names] == [
            *("tool_call_started", name, "call-1", "the-request", "desk")
        ]
        assert start.levelno == logging.INFO
        assert getattr(start, "once", None) == getattr(calls[-1], "once", None)
    caplog.clear()
    call(agent, "limited", token=True)  # does not run
    assert [each.name for each in caplog.records if "started" in each.name] == []


def test_neither_arguments_nor_results_are_logged(agent, calls, caplog):
    caplog.set_level(logging.DEBUG)
    agent.define_tool("keep", "Keep.", {"pin": {"type": "string"}}, lambda args, raw: "resultat-77")
    call(agent, "keep", pin="argument-4711")
    call(agent, "pay", token=True, amount="argument-4711")
    assert outcomes(calls) == ["ran", "invalid_arguments"]
    assert "4711" not in caplog.text
    assert "resultat" not in caplog.text


def test_the_traceback_of_a_tool_names_the_request(agent, caplog):
    call(agent, "fail")
    (record,) = [each for each in caplog.records if each.exc_info]
    assert record.getMessage().endswith(" failed request_id=the-request")
    assert (record.request_id, record.tool, record.call_id) == ("the-request", "fail", "call-1")
