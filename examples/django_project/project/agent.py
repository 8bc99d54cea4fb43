"""The credentials and tokens of the tool, shared by the views and wsgi.py."""

from django.conf import settings as django_settings

from swaig_wsgi import AuthHandler, SessionManager, Settings

settings = Settings.from_mapping(django_settings.SWAIG_WSGI)
sessions = SessionManager(
    secret_key=settings.swaig_secret, fallback_keys=settings.swaig_secret_fallbacks
)
# Without SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD, nothing is admitted.
platform = AuthHandler(basic_auth=settings.basic_auth_pairs, allow_unauthenticated=False)
