"""Explanations of error responses for the user of a command."""

from __future__ import annotations

import json
from http import HTTPStatus

from ..core.redaction import redact_text, redact_url
from ..testing import ResponseError


def explanation(error: ResponseError) -> str:
    """Return why the agent refused or failed, and what to do, without secrets."""
    try:
        body = json.loads(error.text)
        message = str(body["error"]) if isinstance(body, dict) and "error" in body else error.text
    except ValueError:
        message = error.text
    message = redact_text(message, 300)
    if 200 <= error.status < 300:
        return f"the response is not JSON: {message}"
    name = {each.value: each.phrase for each in HTTPStatus}.get(error.status, "")
    text = f"{error.status} {name}".strip()
    if 300 <= error.status < 400:
        return (
            f"{text}: redirects are not followed: {redact_url(error.headers.get('location', ''))}"
        )
    if error.status == 401:
        return (
            f"{text}: user and password are missing or wrong: set SWML_BASIC_AUTH_USER and "
            "SWML_BASIC_AUTH_PASSWORD, or write them into the URL"
        )
    if error.status == 404:
        return f"{text}: no agent's document is here"
    if error.status == 403 and "signature" in message:
        return (
            f"{text}: {message}: SIGNALWIRE_SIGNING_KEY differs from that of the service or is not "
            "set here, or the service has another public URL (SWML_PROXY_URL_BASE): give that one"
        )
    return text if message in ("", name) else f"{text}: {message}"
