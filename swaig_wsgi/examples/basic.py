"""A banking agent with one open and one secure tool.

Serve it with ``gunicorn swaig_wsgi.examples.basic:app``. It needs no configuration; to
choose the credentials, set ``SWML_BASIC_AUTH_USER`` and ``SWML_BASIC_AUTH_PASSWORD``.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from swaig_wsgi import AgentApp, FunctionResult

app = AgentApp("basic-agent")
app.prompt_add_section("Role", "You help callers of a small bank.")
app.prompt_add_section(
    "Rules",
    bullets=[
        "Before a transfer, repeat amount and account, and ask whether they are right.",
        "Put the results of tools in your own words.",
    ],
)


@app.tool()
def get_time() -> str:
    """Return the current time in UTC."""
    return f"It is {datetime.now(timezone.utc):%H:%M} UTC."


def transfer_funds(args: dict[str, Any], raw_data: dict[str, Any]) -> FunctionResult:
    """Move money; called only with a token for this call."""
    return FunctionResult("Transfer completed.")


app.define_tool(
    "transfer_funds",
    "Transfer money between accounts",
    {
        "type": "object",
        "properties": {
            "amount": {"type": "number", "description": "Amount to transfer"},
            "toAccount": {"type": "string", "description": "Destination account ID"},
        },
    },
    transfer_funds,
    secure=True,
)


if __name__ == "__main__":
    app.run()
