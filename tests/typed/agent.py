"""Checked by mypy and pyright, which reject the lines marked "wrong", and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swaig_wsgi import AgentApp, FunctionResult

if TYPE_CHECKING:
    from typing_extensions import assert_type

    from swaig_wsgi.swml import ContextBuilder

app = AgentApp("bank")


def pay(amount: float) -> FunctionResult:
    return FunctionResult(f"Paid {amount}.")


app.define_tool("pay", "Pay", None, pay, secure=True, once=60, max_runs=3, extra={"x": 1})
app.define_tool("pay", "Pay", None, pay, active=False, wait_file="https://a.example/x.mp3")
app.define_tool("pay", "Pay", None, pay, secured=True)  # wrong
app.define_tool("pay", "Pay", None, pay, secure=True, onec=60)  # wrong
app.define_tool("pay", "Pay", None, pay, secure="yes")  # wrong
app.define_tool("pay", "Pay", None, pay, wait_file=5)  # wrong


@app.tool
def bare(amount: float) -> str:
    return "Done."


@app.tool("other", "Do it", secure=True, fillers={"en-US": ["One moment."]})
def named(amount: float) -> str:
    return "Done."


@app.tool(secured=True)  # wrong
def misspelled(amount: float) -> str:
    return "Done."


@app.tool(secure=True, onec=60)  # wrong
def also_misspelled(amount: float) -> str:
    return "Done."


@app.tool(once="60")  # wrong
def mistyped(amount: float) -> str:
    return "Done."


class Bank(AgentApp):
    @AgentApp.tool(secure=True)
    def transfer(self, amount: float) -> str:
        assert_type(self.add_hint("IBAN").name, str)
        return "Done."

    @AgentApp.tool(secured=True)  # wrong
    def open(self, amount: float) -> str:
        return "Done."


assert_type(bare(1.0), str)
assert_type(named(1.0), str)
assert_type(Bank("bank").transfer(1.0), str)
Bank("bank").transfer("1.0")  # wrong
assert_type(Bank("bank").add_hint("IBAN").set_param("a", 1), Bank)
assert_type(app.define_contexts(), ContextBuilder)
assert_type(app.prompt_has_section("Role"), bool)
app.add_hintt("IBAN")  # wrong
