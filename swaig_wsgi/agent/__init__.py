"""Agents as WSGI applications; needs Werkzeug."""

try:
    import werkzeug as _werkzeug  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "werkzeug":
        raise
    raise ModuleNotFoundError(
        "swaig_wsgi.agent needs Werkzeug: pip install 'swaig-wsgi[app]'", name="werkzeug"
    ) from None
