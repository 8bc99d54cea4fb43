from swaig_wsgi import AgentApp, FunctionResult

app = AgentApp("shop")
app.prompt_add_section("Role", "You answer for a shop.")


@app.tool(secure=True)
def order_status(number: int) -> FunctionResult:
    """Say where an order is.

    Args:
        number: The order's number
    """
    return FunctionResult(f"Order {number} is on its way.")
