"""Agents as WSGI applications; needs Werkzeug."""

from importlib.util import find_spec as _find_spec

# Werkzeug takes longer to import than the rest, and is imported where it is used: for query
# parameters, for the headers of callbacks, for static files and for the development server.
if _find_spec("werkzeug") is None:
    raise ModuleNotFoundError(
        "swaig_wsgi.agent needs Werkzeug: pip install 'swaig-wsgi[app]'", name="werkzeug"
    )
