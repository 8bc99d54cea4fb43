"""Two agents in one process, each with its own route, credentials and tools."""

from __future__ import annotations

import os

from swaig_wsgi import AgentApp, AgentServer, FunctionResult


def credentials(name: str) -> tuple[str, str]:
    return os.environ[f"{name}_USER"], os.environ[f"{name}_PASSWORD"]


sales = AgentApp("sales", route="/sales", basic_auth=credentials("SALES"))
sales.prompt_add_section("Role", "You sell bicycles.")


@sales.tool(secure=True)
def reserve(model: str) -> FunctionResult:
    """Reserve a bicycle.

    Args:
        model: The model's name
    """
    return FunctionResult(f"The {model} is reserved.")


support = AgentApp("support", route="/support", basic_auth=credentials("SUPPORT"))
support.prompt_add_section("Role", "You help people who have bought a bicycle.")


@support.tool(secure=True)
def open_ticket(problem: str) -> FunctionResult:
    """Open a ticket.

    Args:
        problem: What is wrong
    """
    return FunctionResult("I have opened a ticket.")


app = AgentServer(listing=True)
app.register(sales)
app.register(support)
