"""What handlers return, of the types that parameters may have, over a socket."""

from __future__ import annotations

from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from swaig_wsgi.testing import AgentClient

APP = '''
import collections
import dataclasses
import enum
import types
from datetime import date, datetime
from decimal import Decimal
from typing import TypedDict
from uuid import UUID

from swaig_wsgi import AgentApp, FunctionResult

KINDS = {
    "dict": dict,
    "proxy": lambda members: types.MappingProxyType({**members, "inner": collections.ChainMap({})}),
    "chain": collections.ChainMap,
    "user": collections.UserDict,
}


class Currency(enum.Enum):
    EURO = "EUR"


@dataclasses.dataclass
class Price:
    amount: Decimal
    currency: Currency = Currency.EURO


class Guest(TypedDict):
    born: date
    id: UUID


class Desk(AgentApp):
    def on_summary(self, summary, raw_data):
        day = date(2026, 11, 29)
        return KINDS[summary]({"day": day, "price": [Price(Decimal("1.10"))]})

    def on_swml_request(self, request_data, callback_path, request=None):
        return {"global_data": {"day": date(2026, 11, 29)}}


app = Desk("desk").set_post_prompt("Summarize.").set_global_data({"id": UUID(int=1)})


@app.tool(secure=True, once=60)
def book(day: date, at: datetime, price: Decimal, id: UUID, guest: Guest, how: str):
    """Book."""
    print("BOOKED", flush=True)
    facts = {"day": day, "at": at, "price": price, "id": id, "guest": guest}
    if how == "action":
        return FunctionResult("Booked.").add_action("facts", facts)
    if how == "data":
        return FunctionResult("Booked.").update_global_data(facts)
    if how == "result":
        return FunctionResult(facts)
    return types.MappingProxyType({"response": "Booked.", "action": [{"facts": facts}]})
'''
ID = UUID("01234567-89ab-4cde-8f01-23456789abcd")
ARGS = {
    "day": date(2026, 11, 29),
    "at": datetime(2026, 11, 29, 10, 30, tzinfo=timezone.utc),
    "price": Decimal("19.90"),
    "id": ID,
    "guest": {"born": date(2000, 2, 29), "id": ID},
}
FACTS = {
    "day": "2026-11-29",
    "at": "2026-11-29T10:30:00+00:00",
    "price": "19.90",
    "id": str(ID),
    "guest": {"born": "2000-02-29", "id": str(ID)},
}


@pytest.fixture
def client(gunicorn: Any, tmp_path: Path) -> AgentClient:
    (tmp_path / "desk.py").write_text(APP)
    server = gunicorn("desk:app", cwd=str(tmp_path))
    return AgentClient(f"http://127.0.0.1:{server.port}/", auth=("demo", "p@ss:w/ö"))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("action", {"response": "Booked.", "action": [{"facts": FACTS}]}),
        ("data", {"response": "Booked.", "action": [{"set_global_data": FACTS}]}),
        ("result", {"response": FACTS}),
        ("mapping", {"response": "Booked.", "action": [{"facts": FACTS}]}),
    ],
)
def test_dates_and_ids_go_into_tools_and_come_back(
    client: AgentClient, how: str, expected: dict[str, Any]
) -> None:
    for _ in range(2):  # what `once` kept, too
        assert client.call_tool("book", {**ARGS, "how": how}) == expected


def test_a_mapping_of_any_type_is_the_response_to_a_summary(client: AgentClient) -> None:
    expected = {"day": "2026-11-29", "price": [{"amount": "1.10", "currency": "EUR"}]}
    for kind in ("dict", "chain", "user"):
        assert client.post_prompt(kind) == expected
    assert client.post_prompt("proxy") == {**expected, "inner": {}}


def test_dates_and_ids_stand_in_the_document(client: AgentClient) -> None:
    ai = next(verb["ai"] for verb in client.fetch_swml()["sections"]["main"] if "ai" in verb)
    assert ai["global_data"] == {"id": str(UUID(int=1)), "day": "2026-11-29"}
