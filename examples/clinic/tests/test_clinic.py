"""The agent as the platform sees it, and what is in the book afterwards."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from appointments import LOCATIONS, AppointmentBook

from swaig_wsgi.testing import AgentClient, ResponseError

CALLER = "+12125550123"


@pytest.fixture
def monday() -> datetime:
    """Monday of next week at ten, when both locations are open."""
    today = datetime.combine(datetime.now(), time(10))
    return today + timedelta(days=7 - today.weekday())


@pytest.fixture
def client(agent_client: AgentClient) -> AgentClient:
    """A client whose call came from CALLER to the south clinic."""
    start(agent_client, "call-1", "south")
    return agent_client


def start(client: AgentClient, call_id: str, location: str) -> dict[str, Any]:
    return client.fetch_swml(call_id, query={"location": location}, call={"from": CALLER})


def reserve(client: AgentClient, slot: datetime, **request: Any) -> dict[str, Any]:
    args = {"slot": slot, "patient": "Ada"}
    return client.call_tool("book_appointment", args, **request)


def cancel(client: AgentClient, slot: datetime, code: str) -> str:
    args = {"slot": slot, "code": code}
    return str(client.call_tool("cancel_appointment", args)["response"])


def actions_of(result: dict[str, Any]) -> str:
    return str(result.get("action", []))


def code_in(result: dict[str, Any]) -> str:
    found = re.search(r"code to cancel it is (\d{6})", result["response"])
    assert found, result
    return found[1]


def ai_of(document: dict[str, Any]) -> dict[str, Any]:
    return next(verb["ai"] for verb in document["sections"]["main"] if "ai" in verb)


# The document


def test_each_location_has_its_own_document(agent_client: AgentClient) -> None:
    north = ai_of(start(agent_client, "call-1", "north"))
    south = ai_of(start(agent_client, "call-2", "south"))
    assert north["global_data"] == {"clinic": "North Clinic"}
    assert south["global_data"] == {"clinic": "South Clinic"}
    assert "12 Hill Road" in str(north["prompt"])
    assert "12 Hill Road" not in str(south["prompt"])
    assert [each["code"] for each in north["languages"]] == ["en-US"]
    assert [each["code"] for each in south["languages"]] == ["en-US", "es-US"]


def test_an_unknown_location_gets_no_document(agent_client: AgentClient) -> None:
    with pytest.raises(ResponseError) as refusal:
        start(agent_client, "call-1", "nowhere")
    assert refusal.value.status == 500


def test_each_step_offers_its_own_tools(client: AgentClient) -> None:
    contexts = ai_of(start(client, "call-2", "north"))["prompt"]["contexts"]
    offered = {
        step["name"]: step["functions"] for each in contexts.values() for step in each["steps"]
    }
    assert "cancel_appointment" not in offered["choose"]
    assert "book_appointment" not in offered["code"]
    assert offered["goodbye"] == "none"


# Booking


def test_an_appointment_is_found_booked_and_texted(client: AgentClient, monday: datetime) -> None:
    day = {"day": f"{monday:%Y-%m-%d}"}
    assert ": 10:00, 10:30, " in client.call_tool("find_appointments", day)["response"]

    result = reserve(client, monday)
    assert CALLER in actions_of(result)
    assert f"South Clinic, 3 Harbor Street: {monday:%B %d} at 10:00" in actions_of(result)
    assert code_in(result) in actions_of(result)
    assert "goodbye" in actions_of(result)

    assert ": 10:30, " in client.call_tool("find_appointments", day)["response"]


def test_a_repeated_call_books_once(
    client: AgentClient, book: AppointmentBook, monday: datetime
) -> None:
    first = reserve(client, monday)
    # The platform did not receive the response. The caller must hear the same code again, and not
    # that the time is taken.
    assert reserve(client, monday) == first
    assert len(book.free("south", monday.date())) == 15


def test_two_callers_cannot_have_the_same_time(client: AgentClient, monday: datetime) -> None:
    code_in(reserve(client, monday))
    start(client, "call-2", "south")
    result = reserve(client, monday)
    assert result == {"response": "That time is not free. Offer another one."}
    # At the other location it is free.
    start(client, "call-3", "north")
    code_in(reserve(client, monday))


def test_a_time_when_the_clinic_is_closed_is_not_booked(
    client: AgentClient, monday: datetime
) -> None:
    early, crooked = monday.replace(hour=9), monday.replace(minute=10)
    saturday, past = monday + timedelta(days=5), monday - timedelta(days=14)
    for slot in (early, crooked, saturday, past):
        assert "not free" in reserve(client, slot)["response"]


def test_another_location_is_offered(agent_client: AgentClient, monday: datetime) -> None:
    start(agent_client, "call-1", "north")
    for slot in LOCATIONS["north"].slots(monday.date()):
        code_in(reserve(agent_client, slot))
    day = {"day": f"{monday:%Y-%m-%d}"}
    result = agent_client.call_tool("find_appointments", day)
    assert result["response"].endswith("There is time at South Clinic.")


@pytest.mark.parametrize("caller", ["anonymous", "+442071838750", "+12125550123;ext=1"])
def test_other_numbers_are_not_texted(
    agent_client: AgentClient, monday: datetime, caller: str
) -> None:
    agent_client.fetch_swml("call-1", query={"location": "south"}, call={"from": caller})
    result = reserve(agent_client, monday)
    code_in(result)
    assert "sms" not in actions_of(result)


def test_the_caller_is_the_one_of_the_document(client: AgentClient, monday: datetime) -> None:
    result = reserve(client, monday, caller_id_num="+12125550666")
    assert CALLER in actions_of(result)
    assert "+12125550666" not in actions_of(result)


def test_wrong_arguments_are_explained_to_the_ai(client: AgentClient, monday: datetime) -> None:
    result = client.call_tool("find_appointments", {"day": "tomorrow"})
    assert result["response"].startswith("The argument 'day' must be")
    args = {"slot": monday, "patient": ""}
    assert "'patient'" in client.call_tool("book_appointment", args)["response"]


# Canceling


def test_an_appointment_is_canceled_with_its_code(
    client: AgentClient, book: AppointmentBook, monday: datetime
) -> None:
    code = code_in(reserve(client, monday))
    assert cancel(client, monday, code) == "The appointment is canceled."
    assert monday in book.free("south", monday.date())


def test_codes_cannot_be_guessed(
    client: AgentClient, book: AppointmentBook, monday: datetime
) -> None:
    code = code_in(reserve(client, monday))
    wrong = f"{(int(code) + 1) % 1_000_000:06}"
    for _ in range(3):
        assert "no appointment" in cancel(client, monday, wrong)
    assert "no longer possible in this call" in cancel(client, monday, code)
    assert monday not in book.free("south", monday.date())


# The rest


def test_the_call_is_transferred_to_the_location_that_was_called(client: AgentClient) -> None:
    result = client.call_tool("transfer_to_reception")
    assert LOCATIONS["south"].phone in actions_of(result)
    assert result["post_process"] is True


def test_the_summary_is_kept(client: AgentClient, book: AppointmentBook) -> None:
    summary = {"reason": "checkup", "outcome": "booked"}
    assert client.post_prompt(summary) == {"status": "ok"}
    client.post_prompt("", call_id="call-2")
    client.post_prompt("The caller hung up.", call_id="call-3")
    assert book.summaries() == {"call-1": summary, "call-3": "The caller hung up."}


def test_a_wrong_password_is_refused(agent_client: AgentClient) -> None:
    with pytest.raises(ResponseError) as refusal:
        agent_client.fetch_swml(headers={"Authorization": "Basic bm86bm8="})
    assert refusal.value.status == 401


def test_it_works_over_a_socket(live_agent_client: AgentClient, monday: datetime) -> None:
    start(live_agent_client, "call-1", "south")
    code_in(reserve(live_agent_client, monday))
