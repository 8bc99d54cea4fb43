"""Authentication of the requests to an agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..concurrency import callback_errors_and_exit, resolve
from ..core.auth import Decision, parse_authorization, parse_basic
from ..middleware.auth import AuthHandler, AuthRequest
from ..wsgi import log

__all__ = ["AgentAuthenticator"]


class AgentAuthenticator:
    """Basic authentication, and optionally the methods of another handler.

    Args:
        basic: has the agent's own credentials.
        other: further methods to accept, or None. What it admits without any is not admitted.
        validate: returns None, or a function to call with user name and password after they
            matched; the request is refused unless it returns True.
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

    def decide(self, request: AuthRequest) -> Decision:
        """Return the identity behind a request, or why it is refused."""
        decision = self._basic.decide(request)
        if decision.result is None and self._other is not None:
            other = self._other.decide(request)
            # "none" is the result of a handler without methods, and no identity.
            authenticated = other.result is not None and other.result.method != "none"
            # Without a result, the handler that found credentials of its kind has the reason. An
            # empty field must not hide the wrong credentials in another one.
            nothing = decision.anonymous or (decision.empty and not other.anonymous)
            if authenticated or (other.result is None and nothing):
                decision = other
        if decision.result is not None and decision.result.method == "basic":
            validate = self._validate()
            if validate is not None:
                return _confirmed(decision, request.headers, validate)
        return decision

    def challenges(self, realm: str) -> list[str]:
        """Return the values of ``WWW-Authenticate``: Basic, and Bearer if it is accepted."""
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
        except callback_errors_and_exit():
            log.exception("validate_basic_auth raised; the request is refused")
            return Decision(None, "validator_error")
    return Decision(None, "refused_by_validate_basic_auth")
