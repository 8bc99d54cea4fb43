"""The decorator ``tool`` in the body of a class."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest

from swaig_wsgi import AgentApp, AgentServer
from swaig_wsgi.testing import AgentClient

AUTH = ("a", "b")


class Bank(AgentApp):
    branch = "Springfield"

    @AgentApp.tool(secure=True, once=60)
    def transfer(self, amount: float) -> str:
        """Transfer money."""
        return f"{amount} from {self.branch}"

    @AgentApp.tool
    def hours(self) -> str:
        """Tell the opening hours."""
        return f"{self.branch} is open."

    @AgentApp.tool("find", "Find a branch", parameters={"city": {"type": "string"}})
    async def look(self, args: dict[str, Any], raw_data: dict[str, Any]) -> str:
        return f"{args['city']} near {self.branch}"


def call(agent: AgentApp, name: str, **arguments: Any) -> str:
    return AgentClient(agent).call_tool(name, arguments)["response"]


def test_methods_are_tools_of_the_agent(client_of: Any) -> None:
    agent = Bank("bank", basic_auth=AUTH)
    tools = client_of(agent).tools()
    assert list(tools) == ["transfer", "hours", "find"]
    assert "__token" in tools["transfer"]["web_hook_url"]
    assert agent.tools.get("transfer").once == 60
    assert tools["transfer"]["parameters"]["required"] == ["amount"]
    assert [tools[name]["description"] for name in tools] == [
        "Transfer money.",
        "Tell the opening hours.",
        "Find a branch",
    ]
    agent.branch = "Shelbyville"
    assert call(agent, "transfer", amount=5) == "5.0 from Shelbyville"
    assert call(agent, "hours") == "Shelbyville is open."
    assert call(agent, "find", city="Ogdenville") == "Ogdenville near Shelbyville"


def test_decorated_methods_remain_methods() -> None:
    assert Bank("bank", basic_auth=AUTH).transfer(5) == "5 from Springfield"
    assert list(inspect.signature(Bank.transfer).parameters) == ["self", "amount"]


def test_each_agent_calls_its_own_method() -> None:
    first, second = (Bank(name, basic_auth=AUTH) for name in ("first", "second"))
    second.branch = "Shelbyville"
    assert call(first, "hours") == "Springfield is open."
    assert call(second, "hours") == "Shelbyville is open."
    AgentApp("other", basic_auth=AUTH).tool(first.hours)
    assert len(first.tools) == 3


def test_attack_an_override_stays_secure(client_of: Any) -> None:
    class Plain(Bank):
        def transfer(self, amount: float, note: str = "") -> str:
            return f"{super().transfer(amount)}, {note}"

    class Decorated(Bank):
        @Bank.tool(description="Move money", max_runs=2)
        def transfer(self, amount: float, note: str = "") -> str:
            return f"{super().transfer(amount)}, {note}"

    for cls in (Plain, Decorated):
        agent = cls("bank", basic_auth=AUTH)
        tool = agent.tools.get("transfer")
        assert (tool.secure, tool.once) == (True, 60)
        assert list(tool.definition["parameters"]["properties"]) == ["amount", "note"]
        assert call(agent, "transfer", amount=1, note="rent") == "1.0 from Springfield, rent"
        body = {"function": "transfer", "argument": {"parsed": [{"amount": 1}]}}
        assert "Nothing was done" in client_of(agent).post("/swaig", body).json["response"]
    assert tool.max_runs == 2
    assert tool.definition["description"] == "Move money"
    # Tools stay in the order in which the base class defines them.
    assert [each.name for each in agent.tools] == ["transfer", "hours", "find"]


def test_an_override_may_open_or_rename_a_tool_explicitly() -> None:
    class Open(Bank):
        @AgentApp.tool("donate", secure=False, once=None)
        def transfer(self, amount: float) -> str:
            """Donate."""
            return "Thanks."

    tool = Open("bank", basic_auth=AUTH).tools.get("donate")
    assert (tool.secure, tool.once) == (False, None)


def test_none_drops_a_tool_and_a_mixin_adds_one() -> None:
    class Hours:
        @AgentApp.tool
        def now(self) -> str:
            """Tell the time."""
            return "Noon."

    class Small(Hours, Bank):
        transfer = None

    assert [each.name for each in Small("bank", basic_auth=AUTH).tools] == ["hours", "find", "now"]


def test_static_methods_class_methods_and_wrapped_methods_are_tools(client_of: Any) -> None:
    def shouting(method: Any) -> Any:
        @functools.wraps(method)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> str:
            return method(self, *args, **kwargs).upper()

        return wrapper

    class Agent(AgentApp):
        @AgentApp.tool
        @staticmethod
        def outer(n: int) -> str:
            """Outer."""
            return f"outer {n}"

        @staticmethod
        @AgentApp.tool
        def inner(n: int) -> str:
            """Inner."""
            return f"inner {n}"

        @classmethod
        @AgentApp.tool
        def of_class(cls, n: int) -> str:
            """Of the class."""
            return f"{cls.__name__} {n}"

        @shouting
        @AgentApp.tool
        def loud(self, n: int) -> str:
            """Loud."""
            return f"loud {n}"

    agent = Agent("a", basic_auth=AUTH)
    results = [call(agent, name, n=1) for name in ("outer", "inner", "of_class", "loud")]
    assert results == ["outer 1", "inner 1", "Agent 1", "LOUD 1"]


@pytest.mark.parametrize(
    ("misspelled", "message"),
    [
        ("descripton", "did you mean 'description'"),
        ("descriptions", "did you mean 'description'"),
        ("desc", "did you mean 'description'"),
        ("nmae", "did you mean 'name'"),
        ("handler", "no option 'handler': decorate the handler, or use define_tool"),
        ("swaig_fields", "no option 'swaig_fields': active, meta_data,"),
        ("is_typed_handler", "no option 'is_typed_handler': recognized from the handler"),
    ],
)
def test_a_misspelled_argument_of_the_decorator_names_the_nearest(
    misspelled: str, message: str
) -> None:
    for tool in (AgentApp("bank").tool, AgentApp.tool):
        with pytest.raises(TypeError, match=message):
            tool("pay", **{misspelled: "x"})


def test_a_misspelled_option_is_an_error_in_the_body_of_the_class() -> None:
    with pytest.raises(TypeError, match="no option 'onec'; did you mean 'once'"):
        AgentApp.tool(secure=True, onec=60)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="no option 'secured'; did you mean 'secure'"):
        AgentApp("a", basic_auth=AUTH).tool("pay", secured=True)  # type: ignore[call-overload]


def test_an_invalid_tool_is_an_error_when_an_agent_is_made() -> None:
    class Agent(AgentApp):
        @AgentApp.tool(once=60)
        def pay(self, amount: float) -> str:
            """Pay."""
            return "Paid."

    with pytest.raises(ValueError, match="tool 'pay': once= needs secure=True"):
        Agent("a", basic_auth=AUTH)


def test_a_handler_that_cannot_be_marked_says_what_to_decorate() -> None:
    class Slotted:
        __slots__ = ()

        def __call__(self) -> str:
            return "Done."

    for handler in (Slotted(), len, str.upper):
        with pytest.raises(TypeError, match=r"@AgentApp.tool cannot decorate .*: decorate a meth"):
            AgentApp.tool("slotted")(handler)


def test_attributes_of_any_kind_are_left_alone() -> None:
    class Unusual:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("not now")

    class Agent(AgentApp):
        proxy = Unusual()

    assert len(Agent("a", basic_auth=AUTH).tools) == 0


def test_one_class_serves_several_agents_of_a_server(client_of: Any) -> None:
    server = AgentServer()
    for name in ("first", "second"):
        server.register(Bank(name, route=f"/{name}", basic_auth=AUTH))
    agents = server.get_agents().values()
    assert [len(agent.tools) for agent in agents] == [3, 3]


def test_attack_a_second_decorator_does_not_open_a_tool() -> None:
    def logged(method: Any) -> Any:
        @functools.wraps(method)
        def wrapper(self: Any, amount: float) -> str:
            return str(method(self, amount))

        return wrapper

    for between in (lambda method: method, logged, staticmethod, classmethod):

        def pay(self: Any, amount: float) -> str:
            """Pay."""
            return "Paid."

        secured = between(AgentApp.tool(secure=True, once=60)(pay))
        with pytest.raises(ValueError, match=r"pay is a tool already: give all options to one"):
            AgentApp.tool(fillers={"en-US": ["Wait."]})(secured)
