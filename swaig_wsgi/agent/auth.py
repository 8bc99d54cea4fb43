"""Who may call an agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..concurrency import CALLBACK_ERRORS_AND_EXIT, resolve
from ..core.auth import AuthResult, Decision, parse_authorization, parse_basic
from ..middleware.auth import AuthHandler
from ..wsgi import log


class AgentAuthenticator:
    """Basic authentication, always, and beside it the methods of another handler.

    Args:
        basic: knows the agent's own credentials.
        other: further methods to accept, or None. What it lets through without credentials is
            not let through here.
        validate: returns None, or what is called with user name and password after they
            matched; anything but True refuses, and so does an exception.
    """

    def __init__(
        self,
        basic: AuthHandler,
        other: AuthHandler | None,
        validate: Callable[[], Callable[[str, str], Any] | None],
    ) -> None:
        self._basic = basic
        self._other = None if other is None or other.is_open else other
        self._validate = validate
        self.reads_url = self._other is not None and self._other.reads_url

    def decide(self, headers: Mapping[str, str], *, method: str = "", url: str = "") -> Decision:
        """Return who sent a request with these headers, or why nobody known did."""
        decision = self._basic.decide(headers, method=method, url=url)
        if decision.result is None and self._other is not None:
            beside = self._other.decide(headers, method=method, url=url)
            # The one that found credentials of its kind knows what was wrong with them.
            decision = beside if beside.result or decision.anonymous else decision
        if decision.result is not None and decision.result.method == "basic":
            validate = self._validate()
            if validate is not None:
                return _confirmed(decision, headers, validate)
        return decision

    def authenticate(
        self, headers: Mapping[str, str], *, method: str = "", url: str = ""
    ) -> AuthResult | None:
        """Return who sent a request with these headers, or None when nobody known did."""
        return self.decide(headers, method=method, url=url).result

    def challenges(self, realm: str) -> list[str]:
        """Return the values of ``WWW-Authenticate``: Basic, and Bearer where it is accepted."""
        found = self._basic.challenges(realm)
        if self._other is not None and self._other.has_bearer_auth():
            found += [each for each in self._other.challenges(realm) if each.startswith("Bearer")]
        return found


def _confirmed(
    decision: Decision, headers: Mapping[str, str], validate: Callable[[str, str], Any]
) -> Decision:
    parsed = parse_authorization(headers["Authorization"])
    credentials = parse_basic(parsed.credentials) if parsed else None
    if credentials is not None:
        try:
            if resolve(validate(*credentials)) is True:
                return decision
        except CALLBACK_ERRORS_AND_EXIT:
            log.exception("validate_basic_auth raised; the request is refused")
    return Decision(None, "refused_by_validate_basic_auth")
