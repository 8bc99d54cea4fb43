"""Settings of a small site without a database."""

import os

SECRET_KEY = os.environ["DJANGO_SECRET_KEY"]
DEBUG = False
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "localhost,127.0.0.1").split(",")
ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
INSTALLED_APPS = ["django.contrib.sessions", "swaig_wsgi.django"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
DATABASES: dict = {}
USE_TZ = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}

# Behind a proxy that terminates TLS. The trusted proxies are in SWAIG_WSGI, below.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = os.environ.get("DJANGO_SSL_REDIRECT") == "true"

SWAIG_WSGI = {
    "allowed_hosts": ALLOWED_HOSTS,
    # Failed authentications. A rate limit would count all calls of the platform, which come from
    # few addresses, and refuse the rest.
    "auth_failure_limit": os.environ.get("SWML_AUTH_FAILURE_LIMIT", "10"),
    "rate_limit": os.environ.get("SWML_RATE_LIMIT"),
    "max_request_size": 5_000_000,
    "trusted_proxies": os.environ.get("SWML_TRUSTED_PROXIES"),
    "basic_auth_user": os.environ.get("SWML_BASIC_AUTH_USER"),
    "basic_auth_password": os.environ.get("SWML_BASIC_AUTH_PASSWORD"),
    "swaig_secret": os.environ.get("SIGNALWIRE_SWAIG_SECRET"),
    # Earlier ones, which calls in progress still use.
    "basic_auth_password_fallbacks": os.environ.get("SWML_BASIC_AUTH_PASSWORD_FALLBACKS"),
    "swaig_secret_fallbacks": os.environ.get("SIGNALWIRE_SWAIG_SECRET_FALLBACKS"),
}
