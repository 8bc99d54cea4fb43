"""The ``call`` line of the banner, pasted as it is."""

import datetime
import decimal
import enum
import sys
import types
import typing
import uuid

import pytest

from swaig_wsgi import AgentApp
from swaig_wsgi.cli._banner import facts_of
from swaig_wsgi.cli._main import main
from swaig_wsgi.cli._samples import sample_value
from swaig_wsgi.swaig import check_arguments


class Room(enum.Enum):
    QUIET = "quiet"
    AT = "@home"


class At(enum.Enum):
    AT = "@home"


class Guest(typing.TypedDict):
    born: datetime.date
    name: str


def narrowed(kind, **keywords):
    return typing.Annotated[kind, keywords]


@pytest.mark.parametrize(
    "annotation",
    [
        str,
        int,
        float,
        bool,
        datetime.date,
        datetime.datetime,
        uuid.UUID,
        decimal.Decimal,
        narrowed(decimal.Decimal, minimum=5),
        Room,
        At,
        Guest,
        list[Guest],
        narrowed(list[datetime.date], minItems=2),
        dict[str, int],
        typing.Optional[uuid.UUID],
        typing.Union[int, datetime.date],
        typing.Literal[3, 4],
        typing.Literal["a", 4],
        typing.Any,
        narrowed(str, pattern="^[A-Z]{2}-\\d{4}$"),
        narrowed(str, pattern=r"^\+?\d{10,15}$"),
        narrowed(str, minLength=30),
        narrowed(str, maxLength=2),
        narrowed(int, minimum=18),
        narrowed(int, maximum=-1),
        narrowed(int, exclusiveMinimum=7, multipleOf=5),
        narrowed(float, exclusiveMinimum=0, exclusiveMaximum=1),
        narrowed(float, multipleOf=0.25, minimum=0.5),
    ],
)
def test_the_line_calls_the_tool(annotation, monkeypatch, capsys):
    def use(value):
        """Use it."""
        return f"Used {type(value).__name__}."

    use.__annotations__["value"] = annotation
    app = AgentApp("desk")
    app.tool(secure=True)(use)
    module = types.ModuleType("sampled")
    module.app = app
    monkeypatch.setitem(sys.modules, "sampled", module)
    (facts,) = facts_of(app)
    assert main(["call", "sampled:app", *facts.call]) == 0
    assert capsys.readouterr().out.startswith("Used ")


def test_parameters_without_a_known_sample_get_text_of_their_type():
    assert sample_value({"type": "string", "pattern": "^(a|b)c+[0-9]$"}) == "text"
    assert check_arguments({}, {"it": sample_value({})}) is None
