"""The same site with an AI tool: its endpoint is protected, and the whole site hardened."""

from __future__ import annotations

from flask import request, url_for
from pages import app

from swaig_wsgi import AuthHandler, FunctionResult, SessionManager, Settings, harden, tool_url
from swaig_wsgi.middleware import AuthMiddleware, ToolTokenMiddleware

settings = Settings.from_env()
sessions = SessionManager(
    secret_key=settings.swaig_secret, fallback_keys=settings.swaig_secret_fallbacks
)
# Without SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD, nothing is admitted.
platform = AuthHandler(basic_auth=settings.basic_auth_pairs, allow_unauthenticated=False)

OPENING_HOURS = {"monday": "9 to 5", "saturday": "10 to 2"}


@app.post("/swml")
def swml() -> dict[str, object]:
    """Return the SWML document, with the URL of this call's tool."""
    token = sessions.generate_token("opening_hours", request.get_json()["call_id"])
    tool = {
        "function": "opening_hours",
        "description": "Say when the shop is open",
        "parameters": {"type": "object", "properties": {"day": {"type": "string"}}},
        # The platform calls this URL and sends no other credentials.
        "web_hook_url": tool_url(url_for("swaig", _external=True), token, settings.basic_auth),
    }
    ai = {"prompt": {"text": "You answer for a shop."}, "SWAIG": {"functions": [tool]}}
    return {"version": "1.0.0", "sections": {"main": [{"answer": {}}, {"ai": ai}]}}


@app.post("/swaig")
def swaig() -> dict[str, object]:
    """Handle a tool call; the middleware has verified its token for this call and function."""
    call_id = request.environ["swaig_wsgi.call_id"]
    app.logger.info("tool call in %s", call_id)
    day = str(request.get_json()["argument"]["parsed"][0].get("day", "")).lower()
    return FunctionResult(f"We are open {OPENING_HOURS.get(day, 'never')}.").to_dict()


# Innermost first: the tool token, the platform's credentials, then the layers for all requests.
app.wsgi_app = ToolTokenMiddleware(app.wsgi_app, sessions, protect=("/swaig",))
app.wsgi_app = AuthMiddleware(app.wsgi_app, platform, protect=("/swaig", "/swml"))
app.wsgi_app = harden(app.wsgi_app, settings)
