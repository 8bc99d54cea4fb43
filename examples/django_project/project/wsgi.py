"""The site, with its tool endpoint protected and all of it hardened."""

import os

from django.core.wsgi import get_wsgi_application

from swaig_wsgi import harden
from swaig_wsgi.middleware import AuthMiddleware, ToolTokenMiddleware

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

application = get_wsgi_application()

from .agent import platform, sessions, settings  # noqa: E402 - needs Django's settings

# Innermost first: the tool token, the platform's credentials, then the layers for all requests.
application = ToolTokenMiddleware(application, sessions, protect=("/swaig",))
application = AuthMiddleware(application, platform, protect=("/swaig", "/swml"))
application = harden(application, settings)
