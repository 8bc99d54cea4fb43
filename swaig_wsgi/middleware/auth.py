"""Authentication by Basic, bearer token, API key (see :mod:`..core.auth`) or a validator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, Protocol

from ..concurrency import callback_errors_and_exit, resolve
from ..core._strength import password_weakness
from ..core._validation import ArgumentTypeError, check_bool
from ..core.auth import (
    AuthResult,
    BasicSecret,
    CredentialPolicy,
    Decision,
    Secret,
    UsualField,
    basic_challenge,
    bearer_challenge,
    check_api_key,
    check_basic_pairs,
    check_bearer_token,
    check_field_name,
    check_one_or_several,
    is_repeated,
    unregistered_challenge,
)
from ..core.paths import request_scope
from ..core.redaction import redact_url
from ..core.refusals import unauthorized
from ..wsgi import (
    EnvironHeaders,
    FoldedHeaders,
    log,
    log_security,
    public_request_url,
    refuse,
)
from ..wsgi._tracebacks import CallbackErrors
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment
from ._inner_app import InnerApp
from ._scope import in_scope

#: In ``environ``: functions of `environ` and the reason, to call when credentials are wrong.
AUTH_FAILURE = "swaig_wsgi.auth_failure"
#: The usual reasons for a refusal.
_REASONS = ("missing_credentials", "bad_credentials", "malformed_credentials")
#: Reasons for a refusal that say nothing about the credentials.
_UNCHECKED = frozenset({"nothing_configured", "validator_error"})

#: In ``environ``: the identity of the request.
_IDENTITY = frozenset({"swaig_wsgi.auth", "REMOTE_USER", "AUTH_TYPE"})

__all__ = ["AuthHandler", "AuthMiddleware", "AuthRequest", "Authenticator"]


class AuthRequest:
    """The request as passed to authenticators and custom validators.

    Attributes:
        headers: the fields by name, in any case; values as the server passed them (WSGI: octets
            decoded as Latin-1).
        method: the request method.
    """

    __slots__ = ("_url", "headers", "method")

    def __init__(
        self, headers: Mapping[str, str], method: str = "", url: str | Callable[[], str] = ""
    ) -> None:
        self.headers = headers
        self.method = method
        self._url = url

    @property
    def url(self) -> str:
        """The public URL, with path and query as in the request line.

        The client chooses its host, unless an AllowedHostsMiddleware is in an outer layer.

        Raises:
            ValueError: the Host or the scheme is malformed.
        """
        if not isinstance(self._url, str):
            self._url = self._url()  # Computed on first use: most handlers do not read it.
        return self._url

    def __repr__(self) -> str:
        url = self._url if isinstance(self._url, str) else ""
        return f"AuthRequest(method={self.method!r}, url={redact_url(url)!r})"


class Authenticator(Protocol):
    """The interface that :class:`AuthMiddleware` expects of its handler."""

    def decide(self, request: AuthRequest, /) -> Decision:
        """Return the identity behind a request, or why it is refused."""

    def challenges(self, realm: str, /) -> list[str]:
        """Return at least one value for ``WWW-Authenticate``."""


class AuthHandler:
    """Authenticate by bearer token, API key, Basic and a custom validator, in this order.

    The first that succeeds admits the request. If none of them is configured, every request
    passes and a warning is logged once; with `allow_unauthenticated` False every request is
    refused. See "Authentication" in the SDK's guide.

    To rotate a credential without refusing a request, give the new one and then the earlier ones
    as a list or tuple. All are accepted. The first is current (of `basic_auth`, the first of each
    user); requests with another one are recorded in the security log, with the event
    ``fallback_credential``.

    A subclass may override :meth:`decide`, on which :meth:`validate` and :meth:`authenticate`
    build, or the ``verify_`` methods. An overridden ``verify_`` method counts as configured.

    Args:
        bearer_token: one or several, accepted as ``Authorization: Bearer <token>`` (RFC 6750).
        api_key: one or several, accepted in the field `api_key_header`.
        api_key_header: a field name without underscores, other than Authorization.
        basic_auth: user name and password, or several such pairs, accepted as
            ``Authorization: Basic`` (RFC 7617). Two strings are one pair.
        custom_validator: called with an :class:`AuthRequest` if nothing else admitted the
            request; may be ``async``. Only ``True`` admits it. An exception refuses it, and its
            traceback is logged, so its message should contain no credentials.
        allow_unauthenticated: whether every request passes if nothing else is configured; if
            False, every request is refused instead.

    Raises:
        TypeError: an argument has the wrong type, or `custom_validator` is not callable.
        ValueError: a credential is empty or cannot be sent in its header field (control
            characters, white space in a bearer token, a colon in a user name), `basic_auth` is
            not a pair, a list is empty or contains a credential twice, or `api_key_header` is not
            such a field name. No message contains a credential.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # AuthMiddleware calls decide(), so a stricter check in the others would be bypassed.
        if (cls.validate, cls.authenticate) != (AuthHandler.validate, AuthHandler.authenticate):
            raise TypeError("override decide(), not validate() or authenticate()")

    def __init__(
        self,
        *,
        bearer_token: str | bytes | Sequence[str | bytes] | None = None,
        api_key: str | bytes | Sequence[str | bytes] | None = None,
        api_key_header: str = "X-Api-Key",
        basic_auth: Sequence[str] | Sequence[Sequence[str]] | None = None,
        custom_validator: Callable[[AuthRequest], object] | None = None,
        allow_unauthenticated: bool = True,
    ) -> None:
        if custom_validator is not None and not callable(custom_validator):
            raise ArgumentTypeError("custom_validator must be callable")
        check_bool("allow_unauthenticated", allow_unauthenticated)
        self._api_key_header = check_field_name(api_key_header, "api_key_header")
        self._bearer = self._api_key = self._basic = self._current = self._user = usual = None
        #: For `swaig-wsgi check`: only digests are kept of the credentials, and what is weak.
        self._weak: list[tuple[str, str]] = []
        if bearer_token is not None:
            tokens = check_one_or_several(bearer_token, check_bearer_token, "bearer_token")
            self._bearer = Secret(*tokens)
            self._keep_weakness("bearer_token", *(("", each) for each in tokens))
        if api_key is not None:
            keys = check_one_or_several(api_key, check_api_key, "api_key")
            self._api_key = Secret(*keys)
            self._keep_weakness("api_key", *(("", each) for each in keys))
        if basic_auth is not None:
            pairs = check_basic_pairs(basic_auth, "basic_auth")
            (self._user, password), *fallbacks = pairs
            self._basic = BasicSecret(self._user, password, *fallbacks)
            if not is_overridden(self, AuthHandler, "verify_basic_auth"):
                usual = UsualField(self._user, password)
            # The first pair of each user: the pair of another user is not a fallback.
            (user, password), *others = dict(reversed(pairs)).items()
            if len(others) < len(fallbacks):
                self._current = BasicSecret(user, password, *others)
            self._keep_weakness("basic_auth", *pairs)
        self._policy = CredentialPolicy(
            _verification(self, "verify_bearer_token", self._bearer),
            _verification(self, "verify_api_key", self._api_key),
            _verification(self, "verify_basic_auth", self._basic),
            self._is_fallback,
            usual,
        )
        self._validator = custom_validator
        self._validator_errors = CallbackErrors(
            "the custom validator raised; the request is refused"
        )
        methods = self._policy.bearer, self._policy.api_key, self._policy.basic
        unconfigured = not any(methods) and custom_validator is None
        # Private: what a subclass says about itself must not decide who is admitted.
        self._unconfigured = None
        if unconfigured:
            admitted = AuthResult("none") if allow_unauthenticated else None
            self._unconfigured = Decision(admitted, "" if admitted else "nothing_configured")
        admits_all = unconfigured and allow_unauthenticated
        #: Whether every request passes, because nothing is configured and no subclass decides.
        self.is_open = admits_all and not is_overridden(self, AuthHandler, "decide")
        if admits_all:
            log.warning(
                "AuthHandler: no method is configured, so it admits every request; "
                "an AgentApp still requires its Basic credentials"
            )

    def _keep_weakness(self, parameter: str, *pairs: tuple[str, str | bytes]) -> None:
        for user, value in pairs:
            text = value.decode("latin-1") if isinstance(value, bytes) else value
            weakness = password_weakness(user, text)
            if weakness is not None:
                self._weak.append((parameter, weakness))

    def validate(self, headers: Mapping[str, str], *, method: str = "", url: str = "") -> bool:
        """Return whether a request may pass. Never raises."""
        return self.authenticate(headers, method=method, url=url) is not None

    def authenticate(
        self, headers: Mapping[str, str], *, method: str = "", url: str = ""
    ) -> AuthResult | None:
        """Return the identity behind a request, or None if it may not pass. Never raises.

        Args:
            headers: a mapping of field names, in any case, to values. The request is refused if
                the mapping has a field in two spellings, or if the value of Authorization may
                consist of several joined fields.
            method: for the custom validator.
            url: for the custom validator.
        """
        decision = self.decide(AuthRequest(headers, method, url))
        if decision.result is not None and decision.fallback:
            _log_fallback({}, decision.result)
        return decision.result

    def decide(
        self, request: AuthRequest | Mapping[str, str], *, method: str = "", url: str = ""
    ) -> Decision:
        """Return the identity behind a request, or why it may not pass.

        A request that a custom validator rejects counts as one with wrong credentials, so
        ``optional=True`` does not admit it: whether it has credentials at all, only the validator
        could determine.

        Args:
            request: an :class:`AuthRequest`; or headers, with `method` and `url` as arguments.
        """
        if self._unconfigured is not None:
            return self._unconfigured
        if not isinstance(request, AuthRequest):
            request = AuthRequest(request, method, url)
        try:
            headers = request.headers
            if not isinstance(headers, (EnvironHeaders, FoldedHeaders)):
                headers = request.headers = FoldedHeaders(headers)
            authorization = headers.get("Authorization")
            api_key = headers.get(self._api_key_header) if self._policy.api_key else None
            repeated = authorization is not None and is_repeated(authorization)
        except Exception:
            # A field in two spellings, or an object that is not a mapping.
            repeated = True
        if repeated:
            return Decision(None, "malformed_credentials")
        wrong = False
        try:
            decision = self._policy.decide(authorization, api_key)
            if decision.result is not None or self._validator is None:
                return decision
            wrong = not (decision.anonymous or decision.empty)
            try:
                request.url  # noqa: B018 - computed now, so that a malformed Host has its reason
            except (KeyError, ValueError):
                return Decision(None, "bad_url")
            passed = resolve(self._validator(request))
        except callback_errors_and_exit():
            self._validator_errors.log()
            return Decision(None, "validator_error", wrong=wrong)
        if passed is True:
            return Decision(AuthResult("custom"))
        return Decision(None, decision.reason)

    def challenges(self, realm: str) -> list[str]:
        """Return the WWW-Authenticate values of a 401, one for each configured scheme.

        There is always one (RFC 9110 section 15.5.2). Without Basic and Bearer, it names an
        unregistered scheme: see :func:`~swaig_wsgi.core.auth.unregistered_challenge`.

        Raises:
            ValueError: `realm` contains control characters or text beyond Latin-1.
        """
        found = [bearer_challenge(realm)] if self.has_bearer_auth() else []
        if self.has_basic_auth():
            found.append(basic_challenge(realm))
        if not found:
            header = self._api_key_header if self.has_api_key_auth() else None
            found.append(unregistered_challenge(realm, header))
        return found

    def verify_basic_auth(self, user: object, password: object) -> bool:
        """Return whether Basic is configured with this user name and password."""
        return self._basic is not None and self._basic.matches(user, password)

    def verify_bearer_token(self, token: object) -> bool:
        """Return whether this bearer token is configured."""
        return self._bearer is not None and self._bearer.matches_field(token)

    def verify_api_key(self, key: object) -> bool:
        """Return whether this API key is configured."""
        return self._api_key is not None and self._api_key.matches_field(key)

    def _is_fallback(self, method: str, *credential: str) -> bool:
        if method == "basic":
            if self._current is None or self._basic is None:
                return False
            return self._basic.matches(*credential) and not self._current.matches(*credential)
        secret = self._bearer if method == "bearer" else self._api_key
        return secret is not None and secret.is_fallback(*credential)

    @property
    def api_key_header(self) -> str:
        """The name of the field that carries the API key."""
        return self._api_key_header

    def has_basic_auth(self) -> bool:
        """Return whether Basic is configured."""
        return self._policy.basic is not None

    def has_bearer_auth(self) -> bool:
        """Return whether a bearer token is configured."""
        return self._policy.bearer is not None

    def has_api_key_auth(self) -> bool:
        """Return whether an API key is configured."""
        return self._policy.api_key is not None

    def get_auth_info(self) -> dict[str, dict[str, Any]]:
        """Return the configured methods, in the order in which they are tried, without secrets."""
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
        methods: Iterable[str] | None = None,
        optional: bool = False,
        realm: str = "swaig-wsgi",
    ) -> AuthMiddleware:
        """Return `app` behind this handler: see :class:`AuthMiddleware`."""
        return AuthMiddleware(
            app,
            self,
            protect=protect,
            exempt=exempt,
            methods=methods,
            optional=optional,
            realm=realm,
        )


def is_overridden(instance: object, base: type, name: str) -> bool:
    """Return whether `instance` overrides the method `name` of the class `base`."""
    return getattr(getattr(instance, name), "__func__", None) is not getattr(base, name)


def _verification(handler: AuthHandler, name: str, secret: object) -> Callable[..., bool] | None:
    """Return the method `name` of `handler` if it can succeed, else None."""
    verify: Callable[..., bool] = getattr(handler, name)
    configured = secret is not None or is_overridden(handler, AuthHandler, name)
    return verify if configured else None


class AuthMiddleware:
    """Respond with 401 to requests that `handler` does not authenticate.

    Records the verified identity, an :class:`~swaig_wsgi.core.auth.AuthResult`, in
    ``environ["swaig_wsgi.auth"]``; for Basic also in ``REMOTE_USER`` (UTF-8 octets decoded as
    Latin-1, as WSGI requires) and ``AUTH_TYPE``. Earlier values of these three are removed from
    *every* request, exempt and optional ones included: the application never sees an identity
    that this layer did not verify. The authentication of a server or an outer middleware
    (mod_wsgi, a second AuthMiddleware) is therefore not visible inside.

    By default, OPTIONS is protected like any method; to respond to preflights, place a
    CORSMiddleware in an outer layer.

    Args:
        app: the wrapped application.
        handler: an :class:`AuthHandler` or another :class:`Authenticator`.
        protect: paths to protect, each with everything below it.
        exempt: paths that skip authentication, matched exactly unless they end in ``/*``.
        methods: the methods to protect, in any case; None for all.
        optional: admit requests without any credentials, without an identity. Wrong credentials
            are still refused, and so are requests that a custom validator rejects.
        realm: the realm in ``WWW-Authenticate``.

    Raises:
        TypeError, ValueError: a pattern, the handler or the realm is invalid.
    """

    app = InnerApp()
    _next: WSGIApplication

    def __init__(
        self,
        app: WSGIApplication,
        handler: Authenticator,
        *,
        protect: Iterable[str] = ("/*",),
        exempt: Iterable[str] = (),
        methods: Iterable[str] | None = None,
        optional: bool = False,
        realm: str = "swaig-wsgi",
    ) -> None:
        for name in ("decide", "challenges"):
            if isinstance(handler, type) or not callable(getattr(handler, name, None)):
                raise ArgumentTypeError(f"handler must have {name}(), like an AuthHandler object")
        challenges = handler.challenges(realm)
        if not challenges or not isinstance(challenges, (list, tuple)):
            raise ValueError("handler.challenges() must return a list of at least one challenge")
        self.app = app
        self._handler = handler
        self._errors = CallbackErrors("the authenticator raised; the request is refused")
        self._challenges = [("WWW-Authenticate", challenge) for challenge in challenges]
        #: Made once: a guess should cost less than what it asks for.
        self._refusals = {each: unauthorized(each, self._challenges) for each in _REASONS}
        self._scope = request_scope(protect, exempt, methods)
        self._optional = check_bool("optional", optional)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        for key in _IDENTITY & environ.keys():
            del environ[key]
        if not (self._scope.everything or in_scope(self._scope, environ)):
            return self._next(environ, start_response)
        decision = self._decide(environ)
        if decision.result is not None:
            _record_identity(environ, decision.result)
            if decision.fallback is True:
                _log_fallback(environ, decision.result)
        elif not (self._optional and decision.anonymous):
            _report_failure(environ, decision)
            refusal = self._refusals.get(decision.reason)
            if refusal is None:
                refusal = unauthorized(decision.reason, self._challenges)
            # Each time that a page raises it, Python adds to its traceback.
            return refuse(environ, start_response, refusal.with_traceback(None))
        return self._next(environ, start_response)

    def _decide(self, environ: WSGIEnvironment) -> Decision:
        request = AuthRequest(
            EnvironHeaders(environ),
            environ.get("REQUEST_METHOD", ""),
            lambda: public_request_url(environ),
        )
        try:
            decision: Any = self._handler.decide(request)
            if not isinstance(decision, Decision):
                decision = resolve(decision)
        except callback_errors_and_exit():
            self._errors.log(environ)
            return Decision(None, "validator_error")
        if isinstance(decision, Decision):
            result = decision.result
            if result is None or isinstance(result, AuthResult):
                return decision
        # Any other value, even a true one, is not an identity.
        return Decision(None, "validator_error")


def _report_failure(environ: WSGIEnvironment, decision: Decision) -> None:
    """Tell the layers outside, which limit failures, that the credentials were wrong.

    They learn nothing of a request without credentials, be it that their fields are empty, and of
    one whose credentials could not be checked.
    """
    if (
        decision.anonymous
        or decision.empty
        or (decision.reason in _UNCHECKED and not decision.wrong)
    ):
        return
    for report in environ.get(AUTH_FAILURE, ()):
        report(environ, decision.reason)


def _record_identity(environ: WSGIEnvironment, result: AuthResult) -> None:
    environ["swaig_wsgi.auth"] = result
    user = result.username
    if result.method == "basic" and user is not None:
        environ["REMOTE_USER"] = user if user.isascii() else user.encode("utf-8").decode("latin-1")
        environ["AUTH_TYPE"] = "Basic"


def _log_fallback(environ: WSGIEnvironment, result: AuthResult) -> None:
    kind = "password" if result.method == "basic" else result.method
    log_security(environ, "fallback_credential", kind)
