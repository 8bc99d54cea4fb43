"""The credentials and tokens of the tool, shared by the views and wsgi.py."""

import os

from django.conf import settings as django_settings

from swaig_wsgi import AuthHandler, SessionManager, Settings

settings = Settings.from_mapping(django_settings.SWAIG_WSGI)
sessions = SessionManager(secret_key=settings.swaig_secret)
platform = AuthHandler(bearer_token=os.environ["AGENT_BEARER_TOKEN"])
