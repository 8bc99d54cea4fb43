"""An agent that books and cancels appointments for a clinic with several locations."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any

from appointments import LOCATIONS, AppointmentBook, Location

from swaig_wsgi import AgentApp, FunctionResult

#: Only these numbers get text messages: they cost money, and callers can choose what they show.
TEXTED = re.compile(r"\+1[2-9][0-9]{9}", re.ASCII)


class ClinicAgent(AgentApp):
    PROMPT_SECTIONS = {
        "Role": "You are the receptionist of a clinic. You book and cancel appointments.",
        "Rules": [
            "Be brief: ask one question at a time.",
            "Never give medical advice. In an emergency, tell the caller to hang up and dial 911.",
        ],
    }

    def __init__(self, book: AppointmentBook, **options: Any) -> None:
        # Every tool requires a token, unless it is defined with secure=False.
        super().__init__("clinic", secure_by_default=True, **options)
        self.book = book
        self.set_post_prompt(
            'Write JSON: {"reason": "why the patient called", "outcome": "what was arranged"}.'
        )
        self.set_dynamic_config_callback(configure)
        define_steps(self)

    # Typed parameters become the schema of the tool, and arguments are checked against it.
    @AgentApp.tool(fillers={"en-US": ["Let me look at the calendar."]})
    async def find_appointments(self, day: date, raw_data: dict[str, Any]) -> str:
        """Find free appointments.

        Args:
            day: The day, such as 2031-05-12
        """
        here, _ = self.place_of(raw_data)
        # Tools may wait for several things at once. These would be requests to other services.
        found = await asyncio.gather(
            *(asyncio.to_thread(self.book.free, each, day) for each in LOCATIONS)
        )
        slots = dict(zip(LOCATIONS, found))
        if slots[here]:
            return f"Free on {day}: {', '.join(f'{slot:%H:%M}' for slot in slots[here])}."
        others = [LOCATIONS[each].name for each in LOCATIONS if slots[each]]
        elsewhere = f" There is time at {' and '.join(others)}." if others else ""
        return f"Nothing is free on {day}.{elsewhere}"

    # The platform repeats a call whose response it did not receive: book and text only once.
    @AgentApp.tool(once=60)
    def book_appointment(
        self,
        slot: datetime,
        patient: Annotated[str, {"minLength": 1, "maxLength": 80}],
        raw_data: dict[str, Any],
    ) -> FunctionResult:
        """Book an appointment, after the caller has confirmed day and time.

        Args:
            slot: When it begins, such as 2031-05-12T10:30
            patient: The patient's name
        """
        here, caller = self.place_of(raw_data)
        code = self.book.reserve(here, slot, patient)
        if code is None:
            return FunctionResult("That time is not free. Offer another one.")
        when = f"{slot:%B %d at %H:%M}"
        result = FunctionResult(f"Booked for {when}. The code to cancel it is {code}.")
        if TEXTED.fullmatch(caller):
            place = LOCATIONS[here]
            result.send_sms(
                to_number=caller,
                from_number=place.phone,
                body=f"{place.name}, {place.address}: {when}. To cancel, call us; code {code}.",
            )
        return result.swml_change_step("goodbye")

    # A code of six digits could be guessed in many attempts, but not in three.
    @AgentApp.tool(max_runs=3)
    def cancel_appointment(
        self,
        slot: datetime,
        code: Annotated[str, {"pattern": "^[0-9]{6}$"}],
        raw_data: dict[str, Any],
    ) -> str:
        """Cancel an appointment.

        Args:
            slot: When it begins, such as 2031-05-12T10:30
            code: The six digits that the caller was given
        """
        here, _ = self.place_of(raw_data)
        if self.book.cancel(here, slot, code):
            return "The appointment is canceled."
        return "There is no appointment with that time and code."

    @AgentApp.tool
    def transfer_to_reception(self, raw_data: dict[str, Any]) -> FunctionResult:
        """Transfer the call to a person, if the caller asks for one or you cannot help."""
        here, _ = self.place_of(raw_data)
        # The number comes from our own table: a model that chose it could be talked into any.
        return FunctionResult(
            "Tell the caller that a person takes over.", post_process=True
        ).connect(LOCATIONS[here].phone, final=True)

    def place_of(self, raw_data: Mapping[str, Any]) -> tuple[str, str]:
        """Return the location that was called, and the caller's number.

        The call id of a secure tool has been verified, and so belongs to the call for which
        `configure` kept this; what else the request says, its sender could have made up.
        """
        kept = self.sessions.get_session_metadata(raw_data["call_id"])
        return kept["location"], kept["caller"]

    def on_summary(self, summary: Any, raw_data: dict[str, Any]) -> None:
        # There is no summary in a request for an earlier conversation.
        if summary is not None:
            self.book.save_summary(raw_data["verified_call_id"], summary)


def configure(
    query: dict[str, str], body: dict[str, Any], headers: dict[str, str], agent: AgentApp
) -> None:
    """Prepare the document of one call; `agent` is a copy for it.

    The number of each location has its own URL at the platform, which ends with ``?location=...``.
    """
    name = query.get("location", "north")
    if name not in LOCATIONS:
        raise ValueError(f"there is no location {name!r}")
    place = LOCATIONS[name]
    agent.prompt_add_section("Clinic", describe(place))
    for language in place.languages:
        agent.add_language(*language)
    agent.set_global_data({"clinic": place.name})
    call = body.get("call", {})
    call_id = body.get("call_id") or call.get("call_id") or query.get("call_id")
    if call_id:
        kept = {"location": name, "caller": str(call.get("from", ""))}
        agent.sessions.set_session_metadata(call_id, kept)


def describe(place: Location) -> str:
    return (
        f"{place.name}, {place.address}, open Monday to Friday "
        f"from {place.opens:%H:%M} to {place.closes:%H:%M}. "
        f"Today is {date.today():%A, %Y-%m-%d}."
    )


def define_steps(agent: AgentApp) -> None:
    """Define what the agent does in which order, and which tools it is offered meanwhile."""
    contexts = agent.define_contexts()

    booking = contexts.add_context("default").set_valid_contexts(["cancellation"])
    booking.add_step(
        "need",
        task="Greet the caller, and ask whether to book or to cancel an appointment.",
        criteria="The caller wants to book an appointment.",
        functions=["transfer_to_reception"],
        valid_steps=["choose"],
    )
    booking.add_step(
        "choose",
        task="Find a time that suits the caller, and book it.",
        bullets=["Ask for the day.", "Offer at most three times.", "Repeat the time and the name."],
        criteria="An appointment is booked.",
        functions=["find_appointments", "book_appointment", "transfer_to_reception"],
        valid_steps=["goodbye"],
    )
    goodbye = booking.add_step("goodbye", task="Repeat day, time and code, and say goodbye.")
    goodbye.set_functions("none").set_end(True)

    cancellation = contexts.add_context("cancellation").set_valid_contexts(["default"])
    cancellation.add_step(
        "code",
        task="Ask for the time and the code of the appointment, and cancel it.",
        criteria="The appointment is canceled.",
        functions=["cancel_appointment", "transfer_to_reception"],
    )
