"""The source of an agent that the SDKs' commands call."""

APPLICATION = """
from swaig_wsgi import AgentApp, FunctionResult

app = AgentApp("bank")


def price(args, raw_data):
    return FunctionResult(f"{args['count']} {args['item']} cost 5.").say("Thank you.")


app.define_tool(
    "price",
    "Tell a price",
    {
        "type": "object",
        "properties": {
            "item": {"type": "string", "description": "Of what"},
            "count": {"type": "integer", "description": "How many"},
        },
        "required": ["item"],
    },
    price,
)
app.define_tool("ping", "Answer", {}, lambda args, raw_data: "pong")
app.define_tool("pay", "Pay", {}, lambda args, raw_data: "paid", secure=True)
"""
