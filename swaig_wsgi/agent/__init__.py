"""The agent application. The only room that knows Werkzeug."""
