"""Authentication in front of any WSGI application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Protocol

from ..concurrency import CALLBACK_ERRORS_AND_EXIT, resolve
from ..core.auth import (
    AuthResult,
    BasicSecret,
    CredentialPolicy,
    Decision,
    Secret,
    basic_challenge,
    bearer_challenge,
    check_api_key,
    check_basic_pair,
    check_bearer_token,
    check_field_name,
    is_repeated,
    unregistered_challenge,
)
from ..core.paths import path_scope
from ..core.redaction import redact_url
from ..wsgi import EnvironHeaders, FoldedHeaders, log, public_request_url, refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


@dataclass(frozen=True)
class AuthRequest:
    """What a custom validator gets to see of a request."""

    #: By name, in any case; values as the server gave them (WSGI: octets read as Latin-1).
    headers: Mapping[str, str]
    method: str
    #: The public URL, its path and query as in the request line. The host is what the client
    #: claims, unless AllowedHostsMiddleware stands outside.
    url: str

    def __repr__(self) -> str:
        return f"AuthRequest(method={self.method!r}, url={redact_url(self.url)!r})"


class Authenticator(Protocol):
    """What :class:`AuthMiddleware` asks of its handler.

    A handler may also have ``decide``, which takes the arguments of ``authenticate`` and returns
    a :class:`~swaig_wsgi.core.auth.Decision`: the reason for the log, and whether there were no
    credentials at all, which ``optional=True`` has to know. And ``reads_url = False`` saves
    building a URL that the handler does not read.
    """

    def authenticate(
        self, headers: Mapping[str, str], *, method: str = "", url: str = ""
    ) -> AuthResult | None:
        """Return who the request comes from, None to refuse it."""

    def challenges(self, realm: str) -> list[str]:
        """Return at least one WWW-Authenticate value."""


class AuthHandler:
    """Checks requests by bearer token, API key, Basic and a custom validator, in this order.

    The first success lets the request in. With none of them configured every request passes, and
    the log warns once, unless `allow_unauthenticated` is False: then every request is refused.

    A subclass may override :meth:`decide`, from which :meth:`validate` and :meth:`authenticate`
    follow, or ``verify_`` methods: a method that is overridden counts as configured, with or
    without a secret here.

    Args:
        bearer_token: accepted as ``Authorization: Bearer <token>``.
        api_key: accepted in the header `api_key_header`.
        basic_auth: user name and password, accepted as ``Authorization: Basic``.
        custom_validator: called with an :class:`AuthRequest` when nothing else let the request
            in. It may be ``async``. Only ``True`` lets in; one that raises refuses, and the log
            ``swaig_wsgi`` has its traceback, so its messages should hold no credentials.

    Raises:
        ValueError: a credential is empty, or no client could send it.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # AuthMiddleware calls decide(): a stricter check elsewhere must not be passed over.
        if (cls.validate, cls.authenticate) != (AuthHandler.validate, AuthHandler.authenticate):
            raise TypeError("override decide(), not validate() or authenticate()")

    def __init__(
        self,
        *,
        bearer_token: str | bytes | None = None,
        api_key: str | bytes | None = None,
        api_key_header: str = "X-Api-Key",
        basic_auth: Sequence[str] | None = None,
        custom_validator: Callable[[AuthRequest], object] | None = None,
        allow_unauthenticated: bool = True,
    ) -> None:
        if custom_validator is not None and not callable(custom_validator):
            raise ValueError("custom_validator must be callable")
        if not isinstance(allow_unauthenticated, bool):
            raise ValueError("allow_unauthenticated must be True or False")
        self._api_key_header = check_field_name(api_key_header, "api_key_header")
        self._bearer = self._api_key = self._basic = self._user = None
        if bearer_token is not None:
            self._bearer = Secret(check_bearer_token(bearer_token))
        if api_key is not None:
            self._api_key = Secret(check_api_key(api_key))
        if basic_auth is not None:
            self._user, password = check_basic_pair(basic_auth, "basic_auth")
            self._basic = BasicSecret(self._user, password)
        self._policy = CredentialPolicy(
            _verification(self, "verify_bearer_token", self._bearer),
            _verification(self, "verify_api_key", self._api_key),
            _verification(self, "verify_basic_auth", self._basic),
        )
        self._validator = custom_validator
        #: Whether `url` matters to this handler.
        self.reads_url = custom_validator is not None
        # What a subclass says of itself has no part in who gets in.
        unconfigured = self._policy == CredentialPolicy() and custom_validator is None
        self._refuses_all = unconfigured and not allow_unauthenticated
        #: Whether every request passes, because nothing is configured.
        self.is_open = unconfigured and allow_unauthenticated
        if self.is_open:
            log.warning("AuthHandler: no method is configured, so that every request passes")

    def validate(self, headers: Mapping[str, str], *, method: str = "", url: str = "") -> bool:
        """Tell whether a request may pass. Never raises, whatever it is given."""
        return self.decide(headers, method=method, url=url).result is not None

    def authenticate(
        self, headers: Mapping[str, str], *, method: str = "", url: str = ""
    ) -> AuthResult | None:
        """Return who a request comes from, None when it may not pass.

        Args:
            headers: any mapping; names in any case. The same header in two spellings, and an
                Authorization field that may be several joined ones, refuse the request.
            method: for the custom validator.
            url: for the custom validator.
        """
        return self.decide(headers, method=method, url=url).result

    def decide(self, headers: Mapping[str, str], *, method: str = "", url: str = "") -> Decision:
        """Do what :meth:`authenticate` does, and say why not.

        A custom validator that refuses counts as wrong credentials: only it knows whether it
        found none, and ``optional=True`` lets nothing through on a guess.
        """
        if self.is_open:
            return Decision(AuthResult("none"))
        if self._refuses_all:
            return Decision(None, "nothing_configured")
        try:
            if not isinstance(headers, (EnvironHeaders, FoldedHeaders)):
                headers = FoldedHeaders(headers)
            authorization = headers.get("Authorization")
            api_key = headers.get(self._api_key_header) if self._policy.api_key else None
            repeated = authorization is not None and is_repeated(authorization)
        except Exception:
            # Two spellings of a header, or an object that is no mapping at all.
            repeated = True
        if repeated:
            return Decision(None, "malformed_credentials")
        try:
            decision = self._policy.decide(authorization, api_key)
            if decision.result is not None or self._validator is None:
                return decision
            passed = resolve(self._validator(AuthRequest(headers, method, url)))
        except CALLBACK_ERRORS_AND_EXIT:
            log.exception("checking credentials raised; the request is refused")
            return Decision(None, "validator_error")
        if passed is True:
            return Decision(AuthResult("custom"))
        return Decision(None, decision.reason)

    def challenges(self, realm: str) -> list[str]:
        """Return the WWW-Authenticate values of a 401, one for each configured scheme.

        There is always one (RFC 9110 section 15.5.2). With neither Basic nor Bearer, it names an
        unregistered scheme: see :func:`~swaig_wsgi.core.auth.unregistered_challenge`.

        Raises:
            ValueError: `realm` holds control characters or text beyond Latin-1.
        """
        found = [bearer_challenge(realm)] if self.has_bearer_auth() else []
        if self.has_basic_auth():
            found.append(basic_challenge(realm))
        if not found:
            header = self._api_key_header if self.has_api_key_auth() else None
            found.append(unregistered_challenge(realm, header))
        return found

    def verify_basic_auth(self, user: object, password: object) -> bool:
        """Tell whether Basic is configured with this user name and password."""
        return self._basic is not None and self._basic.matches(user, password)

    def verify_bearer_token(self, token: object) -> bool:
        """Tell whether this bearer token is configured."""
        return self._bearer is not None and self._bearer.matches_field(token)

    def verify_api_key(self, key: object) -> bool:
        """Tell whether this API key is configured."""
        return self._api_key is not None and self._api_key.matches_field(key)

    @property
    def api_key_header(self) -> str:
        """The name of the header that an API key comes in."""
        return self._api_key_header

    def has_basic_auth(self) -> bool:
        """Tell whether Basic is configured."""
        return self._policy.basic is not None

    def has_bearer_auth(self) -> bool:
        """Tell whether a bearer token is configured."""
        return self._policy.bearer is not None

    def has_api_key_auth(self) -> bool:
        """Tell whether an API key is configured."""
        return self._policy.api_key is not None

    def get_auth_info(self) -> dict[str, dict[str, Any]]:
        """Describe the configured methods, in the order in which they are tried; no secrets."""
        info: dict[str, dict[str, Any]] = {}
        if self.has_bearer_auth():
            info["bearer"] = {"enabled": True}
        if self.has_api_key_auth():
            info["api_key"] = {"enabled": True, "header": self._api_key_header}
        if self.has_basic_auth():
            info["basic"] = {"enabled": True, "username": self._user}
        if self._validator is not None:
            info["custom"] = {"enabled": True}
        return info

    def middleware(
        self,
        app: WSGIApplication,
        *,
        protect: Iterable[str] = ("/*",),
        exempt: Iterable[str] = (),
        optional: bool = False,
        realm: str = "swaig-wsgi",
    ) -> AuthMiddleware:
        """Return `app` behind this handler: see :class:`AuthMiddleware`."""
        return AuthMiddleware(
            app, self, protect=protect, exempt=exempt, optional=optional, realm=realm
        )


def _verification(handler: AuthHandler, name: str, secret: object) -> Callable[..., bool] | None:
    """Return the method `name` of `handler`, if it can let anybody in."""
    verify: Callable[..., bool] = getattr(handler, name)
    overridden = getattr(verify, "__func__", None) is not getattr(AuthHandler, name)
    return verify if overridden or secret is not None else None


class AuthMiddleware:
    """Answers 401 to requests that `handler` does not let in.

    The application finds who was proved in ``environ["swaig_wsgi.auth"]``, an
    :class:`~swaig_wsgi.core.auth.AuthResult`; for Basic also in ``REMOTE_USER`` (UTF-8 octets
    read as Latin-1, as WSGI has it) and ``AUTH_TYPE``. Whatever stood in these three before is
    removed from *every* request, exempt and optional ones included: the application never sees
    an identity that this layer did not prove. A server or an outer middleware that authenticates
    by itself (mod_wsgi, a second AuthMiddleware) is therefore not heard inside this one.

    Args:
        app: the application.
        handler: an :class:`AuthHandler` or another :class:`Authenticator`.
        protect: paths to guard, each with everything below it.
        exempt: paths to let off, each exactly as written.
        optional: let requests without any credentials through, without an identity. Wrong
            credentials are refused all the same, and so is what a custom validator refuses.
        realm: named in WWW-Authenticate.

    OPTIONS is guarded like any method: a CORSMiddleware answers preflights if it stands outside.

    Raises:
        ValueError: a pattern or the realm is malformed, or `optional` asks for a handler with
            ``decide``.
    """

    def __init__(
        self,
        app: WSGIApplication,
        handler: Authenticator,
        *,
        protect: Iterable[str] = ("/*",),
        exempt: Iterable[str] = (),
        optional: bool = False,
        realm: str = "swaig-wsgi",
    ) -> None:
        for name in ("authenticate", "challenges"):
            if isinstance(handler, type) or not callable(getattr(handler, name, None)):
                raise ValueError(f"handler must be an object with {name}(), such as an AuthHandler")
        if not isinstance(optional, bool):
            raise ValueError("optional must be True or False")
        decide = getattr(handler, "decide", None)
        if optional and decide is None:
            raise ValueError("optional needs a handler with decide(), to tell absent from wrong")
        challenges = handler.challenges(realm)
        if not challenges or not isinstance(challenges, (list, tuple)):
            raise ValueError("handler.challenges() must return a list of at least one challenge")
        self._app = app
        self._authenticate = decide or handler.authenticate
        self._reads_url = getattr(handler, "reads_url", True)
        self._headers = [("WWW-Authenticate", challenge) for challenge in challenges]
        self._scope = path_scope(protect, exempt)
        self._optional = optional

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for key in ("swaig_wsgi.auth", "REMOTE_USER", "AUTH_TYPE"):
            environ.pop(key, None)
        if not self._scope.covers(environ.get("PATH_INFO", "")):
            return self._app(environ, start_response)
        decision = self._decide(environ)
        if decision.result is not None:
            _identify(environ, decision.result)
        elif not (self._optional and decision.anonymous):
            return refuse(
                environ,
                start_response,
                401,
                "Unauthorized",
                event="auth_refused",
                reason=decision.reason,
                headers=self._headers,
            )
        return self._app(environ, start_response)

    def _decide(self, environ: WSGIEnvironment) -> Decision:
        method = environ.get("REQUEST_METHOD", "")
        headers = EnvironHeaders(environ)
        try:
            url = public_request_url(environ) if self._reads_url else ""
        except (KeyError, ValueError):
            return Decision(None, "bad_url")
        try:
            found = self._authenticate(headers, method=method, url=url)
            if not isinstance(found, Decision):
                found = resolve(found)
        except CALLBACK_ERRORS_AND_EXIT:
            log.exception("the authenticator raised; the request is refused")
            return Decision(None, "validator_error")
        if isinstance(found, Decision):
            return found
        # Anything else, however true, is no proof.
        if isinstance(found, AuthResult):
            return Decision(found)
        present = "Authorization" in headers
        return Decision(None, "bad_credentials" if present else "missing_credentials")


def _identify(environ: WSGIEnvironment, result: AuthResult) -> None:
    environ["swaig_wsgi.auth"] = result
    if result.method == "basic" and result.username is not None:
        environ["REMOTE_USER"] = result.username.encode("utf-8").decode("latin-1")
        environ["AUTH_TYPE"] = "Basic"
