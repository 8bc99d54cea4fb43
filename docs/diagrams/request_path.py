"""The layers of an agent, in their order, and what each of them refuses."""

from __future__ import annotations

from typing import NamedTuple

from canvas import Canvas

__all__ = ["LAYERS", "STEPS", "Layer", "Step", "draw"]


class Layer(NamedTuple):
    """A layer: a WSGI middleware."""

    #: The name of its class.
    name: str
    #: What it does, or the variable that narrows it.
    purpose: str = ""
    #: Status and text of each refusal.
    refusals: tuple[tuple[int, str], ...] = ()
    #: The variable that adds the layer; empty if it is always there.
    variable: str = ""

    @property
    def label(self) -> str:
        return self.name.removesuffix("Middleware")


class Step(NamedTuple):
    """What the agent itself does."""

    label: str
    purpose: str
    refusals: tuple[tuple[int, str], ...] = ()
    #: What the response tells the AI instead of the tool's result.
    for_ai: str = ""


#: From the outermost to the innermost.
LAYERS = (
    Layer("TrustedProxyMiddleware", variable="SWML_TRUSTED_PROXIES"),
    Layer("SecurityHeadersMiddleware", "in every response"),
    Layer("HSTSMiddleware", variable="SWML_USE_HSTS"),
    Layer("RequestIDMiddleware", "in every response and record"),
    Layer("PerProcessGuard", "do all workers share state?", ((503, "Service misconfigured"),)),
    Layer("HealthEndpoints", "/health and /ready end here", ((405, "Method not allowed"),)),
    Layer("HTTPSMiddleware", "", ((403, "https required"),), "SWML_ENFORCE_HTTPS"),
    Layer(
        "AllowedHostsMiddleware",
        "SWML_ALLOWED_HOSTS",
        ((400, "malformed Host header"), (403, "host not allowed")),
    ),
    Layer("AllowedClientsMiddleware", "", ((403, "client not allowed"),), "SWML_ALLOWED_CLIENTS"),
    Layer("CORSMiddleware", "SWML_CORS_ORIGINS", ((403, "origin not allowed"),)),
    Layer("RateLimitMiddleware", "", ((429, "Rate limit exceeded"),), "SWML_RATE_LIMIT"),
    Layer(
        "AuthFailureLimitMiddleware",
        "",
        ((429, "Rate limit exceeded"),),
        "SWML_AUTH_FAILURE_LIMIT",
    ),
    Layer("AuthMiddleware", "user and password", ((401, "Unauthorized"),)),
    Layer(
        "BodySizeMiddleware",
        "SWML_MAX_REQUEST_SIZE",
        ((400, "malformed Content-Length"), (413, "Request too large")),
    ),
    Layer(
        "WebhookSignatureMiddleware",
        "",
        ((403, "invalid signature"),),
        "SIGNALWIRE_SIGNING_KEY",
    ),
)
#: In their order, for a call of a secure tool.
STEPS = (
    Step("Route", "is it a path of the agent?", ((404, "Not found"), (405, "Method not allowed"))),
    Step(
        "JSON", "one object, no key twice", ((415, "Unsupported media type"), (400, "body is ..."))
    ),
    Step("Tool", "is it defined?", ((404, "Not found"),)),
    Step("Token", "for this tool and this call", for_ai="an apology; the log says why"),
    Step("Arguments", "as in the tool's schema", for_ai="what to correct"),
    Step("once, max_runs", "has it run in this call?", for_ai="the first result, or why not"),
)

_LEFT, _RIGHT = 24, 430  # of the layers
_PURPOSE = 218
_REFUSALS = 464


def draw() -> str:
    """Return the diagram."""
    canvas = Canvas(
        "The path of a request, and what each layer refuses",
        "From the outermost to the innermost: "
        + "; ".join(
            f"{each.label} ({', '.join(f'{status} {text}' for status, text in each.refusals)})"
            if each.refusals
            else each.label
            for each in (*LAYERS, *STEPS)
        )
        + "; then the tool runs. No layer outside of Auth reads a body.",
    )
    y = _legend(canvas)
    middle = (_LEFT + _RIGHT) / 2
    canvas.text(middle, y, "request", "bold ink", anchor="middle")
    canvas.arrow((middle, y + 10), (middle, y + 26))
    y += 28
    for layer in LAYERS:
        purpose = layer.variable or layer.purpose
        y = _row(canvas, y, layer.label, purpose, layer.refusals, dashed=bool(layer.variable))
        if layer.name == "AuthMiddleware":
            canvas.line((_LEFT, y + 10), (_RIGHT, y + 10), color="ink")
            canvas.text(_REFUSALS, y + 10, "The body is read below.", "bold ink", size=12)
            y += 24
    y += 8
    canvas.text(_LEFT, y + 8, "The agent", "bold ink")
    y += 22
    for step in STEPS:
        y = _row(canvas, y, step.label, step.purpose, step.refusals, for_ai=step.for_ai)
    canvas.arrow((middle, y), (middle, y + 18))
    y += 20
    canvas.box(_LEFT, y, _RIGHT - _LEFT, 32, fill="ink", stroke="ink")
    canvas.text(middle, y + 16, "your tool runs", "bold page", anchor="middle")
    return canvas.svg(y + 32 + 20)


def _legend(canvas: Canvas) -> float:
    y = 58
    canvas.box(_LEFT, y - 9, 28, 18)
    x = canvas.text(_LEFT + 36, y, "always", "muted", size=12)
    canvas.box(x + 20, y - 9, 28, 18, fill="page", dashed=True)
    x = canvas.text(x + 56, y, "only if configured", "muted", size=12)
    canvas.arrow((x + 20, y), (x + 44, y), color="red")
    x = canvas.text(x + 52, y, "refusal, in JSON", "muted", size=12)
    canvas.arrow((x + 20, y), (x + 44, y), color="blue")
    canvas.text(x + 52, y, "200: a text for the AI", "muted", size=12)
    return y + 30


def _row(
    canvas: Canvas,
    y: float,
    label: str,
    purpose: str,
    refusals: tuple[tuple[int, str], ...],
    *,
    dashed: bool = False,
    for_ai: str = "",
) -> float:
    """Draw a layer or a step at `y`, and return where the next one begins."""
    height = 26 if len(refusals) < 2 else 38
    center = y + height / 2
    fill = "page" if dashed else "panel"
    canvas.box(_LEFT, y, _RIGHT - _LEFT, height, fill=fill, dashed=dashed)
    canvas.text(_LEFT + 10, center, label, "bold ink", room=_PURPOSE - _LEFT - 16)
    is_variable = purpose.startswith(("SWML_", "SIGNALWIRE_"))
    style = "muted mono" if is_variable else "muted"
    canvas.text(_PURPOSE, center, purpose, style, size=12, room=_RIGHT - _PURPOSE - 8)
    if refusals or for_ai:
        color = "red" if refusals else "blue"
        canvas.arrow((_RIGHT, center), (_REFUSALS - 8, center), color=color)
    for number, (status, text) in enumerate(refusals):
        line = center + (number - (len(refusals) - 1) / 2) * 17
        canvas.text(_REFUSALS, line, str(status), "red bold")
        canvas.text(_REFUSALS + 34, line, text)
    if for_ai:
        canvas.text(_REFUSALS, center, for_ai, "blue")
    return y + height + 4
