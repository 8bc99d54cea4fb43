"""Credentials: comparison, parsing, resolution, and the decision made from them.

Implements RFC 9110 section 11 (Authorization, WWW-Authenticate), RFC 7617 (Basic), RFC 6750
(Bearer) and the "Authentication" section of the SDK's guide.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ._credential_checks import (
    CONTROL,
    check_api_key,
    check_basic_pair,
    check_basic_pairs,
    check_bearer_token,
    check_field_name,
    check_one_or_several,
)
from ._patterns import lazy_pattern
from ._validation import check_match
from .redaction import hide_values

__all__ = [
    "AuthResult",
    "Authorization",
    "BasicSecret",
    "CredentialPolicy",
    "Credentials",
    "Decision",
    "Secret",
    "UsualField",
    "authorization_scheme",
    "basic_challenge",
    "bearer_challenge",
    "check_api_key",
    "check_basic_pair",
    "check_basic_pairs",
    "check_bearer_token",
    "check_field_name",
    "check_one_or_several",
    "constant_time_equal",
    "is_repeated",
    "parse_authorization",
    "parse_basic",
    "resolve_credentials",
    "unregistered_challenge",
]

# Explicit ASCII classes: \s would also match the octets 0x85 and 0xA0 of UTF-8 read as Latin-1.
_SCHEME = lazy_pattern(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?= |\Z)")
_ONE_CREDENTIAL = lazy_pattern(r" +([^\x00-\x20\x7f,]+)")
_UNFIT_FOR_USER = lazy_pattern(r"[:\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_QUOTABLE = lazy_pattern(r"[ -~\xa0-\xff]*")


def constant_time_equal(a: str | bytes, b: str | bytes) -> bool:
    """Compare in constant time.

    The comparison is of digests, so it does not reveal lengths either. Text is compared as UTF-8;
    each lone surrogate has an encoding of its own.

    Raises:
        TypeError: `a` or `b` is neither str nor bytes.
    """
    return hmac.compare_digest(_digest(a), _digest(b))


def _digest(value: str | bytes) -> bytes:
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    elif not isinstance(value, bytes):
        raise TypeError("only str and bytes can be compared")
    return hashlib.sha256(value).digest()


def _compare(expected: tuple[bytes, ...], *given: bytes) -> list[bool]:
    """Return for each of `expected` whether one of `given` is equal to it.

    No comparison is skipped after a match, so that timing does not reveal which one matched.
    """
    return [sum([hmac.compare_digest(each, one) for one in given]) > 0 for each in expected]


class Secret:
    """A configured credential, stored only as a digest and compared in constant time.

    Args:
        value: the current credential.
        fallbacks: further ones that are accepted while it is rotated.
    """

    __slots__ = ("_expected",)

    def __init__(self, value: str | bytes, *fallbacks: str | bytes) -> None:
        self._expected = tuple(_digest(each) for each in (value, *fallbacks))
        hide_values((value, *fallbacks))

    def __repr__(self) -> str:
        return "<Secret>"

    def matches(self, value: object) -> bool:
        """Return whether `value` is accepted; False for anything but str and bytes."""
        return isinstance(value, (str, bytes)) and any(_compare(self._expected, _digest(value)))

    def matches_field(self, value: object) -> bool:
        """Return whether a header value is accepted.

        WSGI decodes header octets as Latin-1, other frameworks pass text. Both readings are
        compared, so that a non-ASCII secret matches in either.
        """
        return any(self._compare_field(value))

    def is_fallback(self, value: object) -> bool:
        """Return whether a header value matches a fallback, and not the current credential."""
        if len(self._expected) == 1:
            return False  # without comparing once more in every request
        current, *fallbacks = self._compare_field(value)
        return any(fallbacks) and not current

    def _compare_field(self, value: object) -> list[bool]:
        readings = [value] if isinstance(value, (str, bytes)) else []
        if isinstance(value, str) and not value.isascii():
            octets = value.encode("latin-1", "replace")
            if octets.decode("latin-1") == value:
                readings.append(octets)
        return _compare(self._expected, *map(_digest, readings))


class BasicSecret:
    """A configured user name and password, stored and compared like a :class:`Secret`.

    A single comparison covers both, so that timing cannot distinguish a wrong user name from a
    wrong password, and a fallback's password is accepted only with the user name of that fallback.

    Args:
        user: the current user name.
        password: the current password.
        fallbacks: further pairs that are accepted while these are rotated.
    """

    __slots__ = ("_expected",)

    def __init__(self, user: str, password: str, *fallbacks: tuple[str, str]) -> None:
        pairs = ((user, password), *fallbacks)
        self._expected = tuple(_digest(name) + _digest(secret) for name, secret in pairs)
        hide_values(secret for _, secret in pairs)

    def __repr__(self) -> str:
        return "<BasicSecret>"

    def matches(self, user: object, password: object) -> bool:
        """Return whether user name and password together are accepted."""
        return any(self._compare(user, password))

    def is_fallback(self, user: object, password: object) -> bool:
        """Return whether the pair is a fallback, and not the current one."""
        if len(self._expected) == 1:
            return False
        current, *fallbacks = self._compare(user, password)
        return any(fallbacks) and not current

    def _compare(self, user: object, password: object) -> list[bool]:
        if not isinstance(user, (str, bytes)) or not isinstance(password, (str, bytes)):
            return [False] * len(self._expected)
        return _compare(self._expected, _digest(user) + _digest(password))


class Authorization(NamedTuple):
    """The value of an Authorization field."""

    #: The scheme, in lower case.
    scheme: str
    #: The one credential: not empty, still encoded.
    credentials: str

    def __repr__(self) -> str:
        return f"Authorization(scheme={self.scheme!r}, credentials='****')"


def authorization_scheme(value: str) -> str | None:
    """Return the scheme of an Authorization value in lower case, or None without a scheme.

    Only the scheme is parsed (RFC 9110 section 11.1), not what follows it.
    """
    found = _SCHEME.match(value)
    return found[1].lower() if found else None


def parse_authorization(value: str) -> Authorization | None:
    """Split an Authorization value into scheme and credential (RFC 9110 section 11.6.2).

    Return None for anything else: no credential or several, parameters, separators other than
    spaces, leading or trailing characters. The credential may contain non-ASCII octets.
    """
    scheme = _SCHEME.match(value)
    credential = _ONE_CREDENTIAL.fullmatch(value, scheme.end()) if scheme else None
    if scheme is None or credential is None:
        return None
    return Authorization(scheme[1].lower(), credential[1])


def is_repeated(value: str) -> bool:
    """Return whether `value` may be several Authorization fields that a server joined with commas.

    Basic and Bearer credentials contain no comma. Several fields are several claims, and the
    application may act on another one than was verified here.
    """
    return "," in value and authorization_scheme(value) in (None, "basic", "bearer")


def parse_basic(credentials: str) -> tuple[str, str] | None:
    """Decode a Basic credential into user name and password (RFC 7617).

    Return None unless it is canonical, padded base64 of text that contains a colon and no control
    characters. Both parts may be empty; the password may contain further colons.

    The text is UTF-8, as the challenge says, or else Latin-1, which many clients send regardless.
    Octets that are UTF-8 are never read as Latin-1, so a credential has one meaning.
    """
    try:
        octets = binascii.a2b_base64(credentials)
    except ValueError:
        return None
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    # The decoder tolerates junk, stray bits and stray padding; the encoder produces none of them.
    if binascii.b2a_base64(octets, newline=False) != credentials.encode("ascii"):
        return None
    if CONTROL.search(text):
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None


@dataclass(frozen=True)
class AuthResult:
    """The authenticated sender of a request."""

    #: "bearer", "api_key", "basic", "custom", or "none" if nothing is configured.
    method: str
    #: The user name, for Basic; for other methods, what an override of ``decide`` sets.
    username: str | None = None


@dataclass(frozen=True)
class Decision:
    """The outcome of authenticating a request."""

    result: AuthResult | None
    #: Why there is no result, for the log only: "missing_credentials", "bad_credentials" or
    #: "malformed_credentials"; other authenticators have further reasons.
    reason: str = ""
    #: Whether the request carried no credentials of any configured kind.
    anonymous: bool = False
    #: Whether it carried wrong ones, although `reason` is another: a validator that raises must not
    #: hide failures from a limit on them.
    wrong: bool = field(default=False, compare=False)
    #: Whether the credential is a fallback: an earlier one, which is still accepted.
    fallback: bool = False
    #: Whether it was refused although all its fields of configured kinds were empty: it guessed
    #: nothing, so a limit on failures does not count it.
    empty: bool = field(default=False, compare=False)


#: Made once, because a guess should not take the time of another object.
_MISSING = Decision(None, "missing_credentials", anonymous=True)
_WRONG = {each: Decision(None, each) for each in ("bad_credentials", "malformed_credentials")}


class UsualField:
    """The ``Authorization`` field with the current credentials, which most clients send.

    It is compared as a whole, as a digest and in constant time, instead of being parsed. A field
    that differs, perhaps only in the spelling of the scheme, is parsed and checked.

    Args:
        user: the current user name.
        password: the current password.
    """

    __slots__ = ("_expected", "decision")

    def __init__(self, user: str, password: str) -> None:
        octets = f"{user}:{password}".encode("utf-8", "surrogatepass")
        credentials = binascii.b2a_base64(octets, newline=False).decode("ascii")
        #: The decision on this field.
        self.decision = Decision(AuthResult("basic", user))
        # A field that does not parse as these credentials must not match.
        fits = parse_basic(credentials) == (user, password)
        self._expected = _digest(f"Basic {credentials}") if fits else b""

    def __repr__(self) -> str:
        return "<UsualField>"

    def matches(self, authorization: str) -> bool:
        """Return whether `authorization` is exactly this field."""
        return hmac.compare_digest(_digest(authorization), self._expected)


@dataclass(frozen=True)
class CredentialPolicy:
    """The kinds of credentials that a service accepts, each with the function that checks one.

    A check accepts only by returning True itself. None disables a kind.
    """

    bearer: Callable[[str], bool] | None = None
    api_key: Callable[[str], bool] | None = None
    basic: Callable[[str, str], bool] | None = None
    #: Called with the method and what was accepted; returns whether that is a fallback.
    is_fallback: Callable[..., bool] | None = None
    #: A field with the current credentials, if `basic` checks nothing else.
    usual: UsualField | None = None

    def decide(self, authorization: str | None, api_key: str | None) -> Decision:
        """Check bearer token, API key and Basic, in this order; the first valid one wins.

        Args:
            authorization: the value of the Authorization field, None if missing.
            api_key: the value of the API key's field, None if missing.
        """
        usual = self.usual if api_key is None else None  # An API key takes precedence.
        if usual is not None and authorization is not None and usual.matches(authorization):
            return usual.decision
        reason = None
        pair = None
        sent = ""
        parsed = scheme = None
        if authorization is not None:
            parsed = parse_authorization(authorization)
            scheme = parsed.scheme if parsed else authorization_scheme(authorization)
        if authorization is not None and self._expects(scheme):
            reason = "bad_credentials"
            sent = authorization
            if parsed is None:
                reason = "malformed_credentials"
            elif self.bearer is not None and scheme == "bearer":
                if self.bearer(parsed.credentials) is True:
                    return self._accept(AuthResult("bearer"), parsed.credentials)
            else:
                pair = parse_basic(parsed.credentials)
                reason = "bad_credentials" if pair else "malformed_credentials"
        if self.api_key is not None and api_key is not None:
            reason = reason or "bad_credentials"
            sent += api_key
            if self.api_key(api_key) is True:
                return self._accept(AuthResult("api_key"), api_key)
        if self.basic is not None and pair is not None and self.basic(*pair) is True:
            return self._accept(AuthResult("basic", pair[0]), *pair)
        if reason is None:
            return _MISSING
        if sent.strip(" \t"):
            return _WRONG[reason]
        return Decision(None, reason, empty=True)

    def _accept(self, result: AuthResult, *credential: str) -> Decision:
        is_fallback = self.is_fallback
        fallback = is_fallback is not None and is_fallback(result.method, *credential)
        return Decision(result, fallback=fallback)

    def _expects(self, scheme: str | None) -> bool:
        if scheme == "bearer":
            return self.bearer is not None
        if scheme == "basic":
            return self.basic is not None
        # Without a scheme it is a malformed credential; with another scheme it is not for us.
        return scheme is None and (self.bearer is not None or self.basic is not None)


def basic_challenge(realm: str) -> str:
    """Return the WWW-Authenticate value that asks for Basic (RFC 7617 section 2.1).

    Raises:
        TypeError: `realm` is not a string.
        ValueError: `realm` contains control characters or characters outside Latin-1.
    """
    return f'Basic realm={_quoted("realm", realm)}, charset="UTF-8"'


def bearer_challenge(realm: str) -> str:
    """Return the WWW-Authenticate value that asks for a bearer token (RFC 6750 section 3).

    Raises:
        TypeError, ValueError: as :func:`basic_challenge`.
    """
    return f"Bearer realm={_quoted('realm', realm)}"


def unregistered_challenge(realm: str, header: str | None = None) -> str:
    """Return a WWW-Authenticate value for a service that accepts neither Basic nor Bearer.

    A 401 must carry a challenge (RFC 9110 section 15.5.2), but no registered scheme means "an API
    key" or "ask the operator". The schemes ``ApiKey``, which names its `header`, and ``Custom``
    are well-formed, and clients ignore unknown schemes.

    Raises:
        TypeError, ValueError: as :func:`basic_challenge`.
    """
    if header is None:
        return f"Custom realm={_quoted('realm', realm)}"
    return f"ApiKey realm={_quoted('realm', realm)}, header={_quoted('header', header)}"


def _quoted(name: str, text: str) -> str:
    check_match(name, text, _QUOTABLE, "text of printable Latin-1 characters")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Credentials(NamedTuple):
    """The user name and password of a service, and their source."""

    user: str
    password: str
    #: "provided", "environment" or "generated".
    source: str

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, password=..., source={self.source!r})"


def resolve_credentials(
    name: str,
    given: Sequence[str] | None,
    environment: Sequence[str | None] | None,
    *,
    password: str,
) -> Credentials:
    """Choose an agent's credentials (the SDK's guide, "Authentication").

    Args:
        name: the agent's name, used as the user name of generated credentials. Characters that a
            user name cannot contain (colons, control characters, lone surrogates) become ``-``.
        given: user name and password given in code, which take precedence.
        environment: values of SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD; None and the
            empty string are unset.
        password: the password of generated credentials, 16 random hex characters.

    Raises:
        TypeError: as :func:`check_basic_pair`.
        ValueError: as :func:`check_basic_pair`, or only one of the two variables is set.
    """
    if given is not None:
        return Credentials(*check_basic_pair(given, "basic_auth"), "provided")
    user, secret = environment or (None, None)
    if user and secret:
        what = "SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD"
        return Credentials(*check_basic_pair((user, secret), what), "environment")
    if user or secret:
        present, missing = ("USER", "PASSWORD") if user else ("PASSWORD", "USER")
        raise ValueError(f"SWML_BASIC_AUTH_{present} is set, SWML_BASIC_AUTH_{missing} is not")
    user = _UNFIT_FOR_USER.sub("-", name) or "agent"
    return Credentials(*check_basic_pair((user, password), "generated"), "generated")
