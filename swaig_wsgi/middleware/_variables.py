"""Variables in the environment that look like settings but are not."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..config import known_variables
from ..core.redaction import escape_control
from ..wsgi import log
from ._options import nearest

_PREFIXES = ("SWML_", "SIGNALWIRE_")

#: Variables of the SDKs' clients for the platform, which an agent may use in the same process.
_OF_CLIENTS = frozenset(
    {
        "SIGNALWIRE_API_HOSTNAME",
        "SIGNALWIRE_API_PROJECT",
        "SIGNALWIRE_API_TOKEN",
        "SIGNALWIRE_CHAT_GATEWAY_KEY",
        "SIGNALWIRE_CHAT_GATEWAY_SECRET",
        "SIGNALWIRE_JWT_TOKEN",
        "SIGNALWIRE_PROJECT",
        "SIGNALWIRE_PROJECT_ID",
        "SIGNALWIRE_RELAY_CA_FILE",
        "SIGNALWIRE_RELAY_HOST",
        "SIGNALWIRE_RELAY_SCHEME",
        "SIGNALWIRE_REST_CA_FILE",
        "SIGNALWIRE_SPACE",
        "SIGNALWIRE_SPACE_NAME",
        "SIGNALWIRE_SPACE_URL",
        "SIGNALWIRE_TOKEN",
    }
)

#: Variables by which the SDKs and their examples configure agents, and what to use instead.
_EQUIVALENTS: Mapping[str, str] = {
    "SIGNALWIRE_LOG_MODE": "SIGNALWIRE_LOG_LEVEL",
    "SWML_ALLOW_PRIVATE_URLS": "allow_private= of swaig_wsgi.core.ssrf.validate_url",
    "SWML_DEV_PASSWORD": "SWML_BASIC_AUTH_PASSWORD",  # nosec B105 # names of variables
    "SWML_DEV_USERNAME": "SWML_BASIC_AUTH_USER",
    "SWML_DOMAIN": "SWML_SSL_DOMAIN",
    "SWML_HOST": "host= of AgentApp, or the server's option for the address",
    "SWML_PORT": "PORT",
    "SWML_REQUEST_TIMEOUT": "the server's timeout (gunicorn --timeout)",
    "SWML_SSL_CERT": "SWML_SSL_CERT_PATH",
    "SWML_SSL_KEY": "SWML_SSL_KEY_PATH",
    "SWML_SSL_VERIFY_MODE": "gunicorn's options --ca-certs and --cert-reqs",
    "SWML_TRUST_REMOTE_USER": "custom_validator= of AuthHandler",
}
_WITHOUT_EQUIVALENT = frozenset(
    {
        "SIGNALWIRE_LOG_COLOR",
        "SIGNALWIRE_SKILL_PATHS",
        "SWML_PROXY_DEBUG",
        "SWML_SCHEMA_PATH",
        "SWML_SKIP_SCHEMA_VALIDATION",
        "SWML_SYNC_HANDLERS_INLINE",
        "SWML_URL_FETCH_USE_PROXY",
    }
)

#: The names that were logged in this process.
_logged: set[str] = set()


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what to tell about each variable that is set, has our prefix and is unknown.

    Values are never part of the text: a secret may be in a variable with a misspelt name.
    """
    known = known_variables()
    return {
        name: f"{escape_control(name)}: {_explain(name, known)}"
        for name in sorted(environ)
        if name.startswith(_PREFIXES) and environ[name] and name not in known | _OF_CLIENTS
    }


def _explain(name: str, known: set[str]) -> str:
    if name in _EQUIVALENTS:
        return f"a variable of the SDKs, ignored here; use {_EQUIVALENTS[name]}"
    if name in _WITHOUT_EQUIVALENT:
        return "a variable of the SDKs, ignored here; it has no equivalent"
    near = nearest(name, known)
    return "unknown and ignored" + (f"; did you mean {near}?" if near else "")


def warn_of_unknown_variables() -> None:
    """Log a warning for each unknown variable in ``os.environ``, once in this process."""
    for name, text in unknown_variables(os.environ).items():
        if name not in _logged:
            _logged.add(name)
            log.warning("%s", text)
