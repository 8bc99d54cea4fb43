"""Credentials: comparing, parsing, resolving, and the decision made from them.

Implements RFC 9110 section 11 (Authorization, WWW-Authenticate), RFC 7617 (Basic), RFC 6750
(Bearer) and the seed's section "Authentication".
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# Explicit ASCII classes: \s would also match the octets 0x85 and 0xA0 of UTF-8 read as Latin-1.
_SCHEME = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?= |\Z)")
_ONE_CREDENTIAL = re.compile(r" +([^\x00-\x20\x7f,]+)")
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNFIT_FOR_USER = re.compile(r"[:\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_QUOTABLE = re.compile(r"[ -~\xa0-\xff]*")


def constant_time_equal(a: str | bytes, b: str | bytes) -> bool:
    """Tell whether `a` and `b` are equal, in a time that does not depend on where they differ.

    Digests are compared, so a difference in length costs no more and no less than any other.
    Text stands for its UTF-8 octets; lone surrogates have encodings of their own.

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


class Secret:
    """A configured credential, kept as its digest alone and compared in constant time."""

    __slots__ = ("_expected",)

    def __init__(self, value: str | bytes) -> None:
        self._expected = _digest(value)

    def __repr__(self) -> str:
        return "<Secret>"

    def matches(self, value: object) -> bool:
        """Tell whether `value` is the secret. What is neither str nor bytes is not."""
        if not isinstance(value, (str, bytes)):
            return False
        return hmac.compare_digest(self._expected, _digest(value))

    def matches_field(self, value: object) -> bool:
        """Tell whether a header value is the secret.

        WSGI hands octets over as Latin-1, other frameworks as text. Both readings are compared,
        so that a secret beyond ASCII fits either.
        """
        if not isinstance(value, str) or value.isascii():
            return self.matches(value)
        octets = value.encode("latin-1", "replace")
        as_octets = self.matches(octets) & (octets.decode("latin-1") == value)
        return self.matches(value) | as_octets


class BasicSecret:
    """A configured user name and password, kept and compared as :class:`Secret` is."""

    __slots__ = ("_expected",)

    def __init__(self, user: str, password: str) -> None:
        self._expected = _digest(user) + _digest(password)

    def __repr__(self) -> str:
        return "<BasicSecret>"

    def matches(self, user: object, password: object) -> bool:
        """Tell whether both are right.

        One comparison takes in both, so that no time, and no branch taken on the way, tells a
        wrong user from a wrong password.
        """
        if not isinstance(user, (str, bytes)) or not isinstance(password, (str, bytes)):
            return False
        return hmac.compare_digest(self._expected, _digest(user) + _digest(password))


class Authorization(NamedTuple):
    """The value of an Authorization field."""

    #: In lower case.
    scheme: str
    #: One credential, neither empty nor decoded.
    credentials: str

    def __repr__(self) -> str:
        return f"Authorization(scheme={self.scheme!r}, credentials='****')"


def authorization_scheme(value: str) -> str | None:
    """Return the scheme that an Authorization value starts with, in lower case.

    None when it does not start with a scheme (RFC 9110 section 11.1). What follows the scheme is
    not looked at.
    """
    found = _SCHEME.match(value)
    return found[1].lower() if found else None


def parse_authorization(value: str) -> Authorization | None:
    """Split an Authorization value into its scheme and its one credential (RFC 9110 11.6.2).

    None for anything else: no or several credentials, parameters, separators other than spaces,
    anything before or after. The credential may hold octets beyond ASCII.
    """
    scheme = _SCHEME.match(value)
    credential = _ONE_CREDENTIAL.fullmatch(value, scheme.end()) if scheme else None
    if scheme is None or credential is None:
        return None
    return Authorization(scheme[1].lower(), credential[1])


def is_repeated(value: str) -> bool:
    """Tell whether `value` may be several Authorization fields, joined by a server with commas.

    Neither a Basic nor a Bearer credential holds one. Several fields are several claims: whoever
    picks one of them may pick another than the application behind.
    """
    return "," in value and authorization_scheme(value) in (None, "basic", "bearer")


def parse_basic(credentials: str) -> tuple[str, str] | None:
    """Decode the credential of the Basic scheme into user and password (RFC 7617).

    Either may be empty. None when it is not canonical, padded base64 of UTF-8 that holds a colon
    and no control characters. The first colon splits: the password may hold more.
    """
    try:
        octets = binascii.a2b_base64(credentials)
        text = octets.decode("utf-8")
    except ValueError:
        return None
    # The decoder forgives junk, stray bits and stray padding; the encoder makes none of them.
    if binascii.b2a_base64(octets, newline=False) != credentials.encode("ascii"):
        return None
    if _CONTROL.search(text):
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon else None


@dataclass(frozen=True)
class AuthResult:
    """Who a request was proved to come from."""

    #: "bearer", "api_key", "basic", "custom", or "none" where nothing is configured.
    method: str
    #: The user name, for Basic.
    username: str | None = None


@dataclass(frozen=True)
class Decision:
    """What came of checking a request."""

    result: AuthResult | None
    #: Why there is no result, for the log alone: "missing_credentials", "bad_credentials",
    #: "malformed_credentials" or "validator_error".
    reason: str = ""
    #: No credentials of any configured kind were there, so nothing wrong was claimed.
    anonymous: bool = False


@dataclass(frozen=True)
class CredentialPolicy:
    """The kinds of credentials that a service accepts, each with what checks one of them.

    Of a check's answers only True lets in. None where the kind is not accepted.
    """

    bearer: Callable[[str], bool] | None = None
    api_key: Callable[[str], bool] | None = None
    basic: Callable[[str, str], bool] | None = None

    def decide(self, authorization: str | None, api_key: str | None) -> Decision:
        """Check bearer token, API key and Basic, in this order; the first that is right wins.

        Args:
            authorization: the value of the Authorization field, None when there is none.
            api_key: the value of the API key's field.
        """
        reason = None
        pair = None
        scheme = None if authorization is None else authorization_scheme(authorization)
        if authorization is not None and self._expects(scheme):
            reason = "bad_credentials"
            parsed = parse_authorization(authorization)
            if parsed is None:
                reason = "malformed_credentials"
            elif self.bearer is not None and scheme == "bearer":
                if self.bearer(parsed.credentials) is True:
                    return Decision(AuthResult("bearer"))
            else:
                pair = parse_basic(parsed.credentials)
                reason = "bad_credentials" if pair else "malformed_credentials"
        if self.api_key is not None and api_key is not None:
            reason = reason or "bad_credentials"
            if self.api_key(api_key) is True:
                return Decision(AuthResult("api_key"))
        if self.basic is not None and pair is not None and self.basic(*pair) is True:
            return Decision(AuthResult("basic", pair[0]))
        return Decision(None, reason or "missing_credentials", anonymous=reason is None)

    def _expects(self, scheme: str | None) -> bool:
        if scheme == "bearer":
            return self.bearer is not None
        if scheme == "basic":
            return self.basic is not None
        # What has no scheme is meant for somebody, and a foreign scheme for somebody else.
        return scheme is None and (self.bearer is not None or self.basic is not None)


def basic_challenge(realm: str) -> str:
    """Return the WWW-Authenticate value that asks for Basic (RFC 7617 section 2.1).

    Raises:
        ValueError: `realm` holds control characters or text beyond Latin-1.
    """
    return f'Basic realm={_quoted(realm, "realm")}, charset="UTF-8"'


def bearer_challenge(realm: str) -> str:
    """Return the WWW-Authenticate value that asks for a bearer token (RFC 6750 section 3).

    Raises:
        ValueError: as :func:`basic_challenge`.
    """
    return f"Bearer realm={_quoted(realm, 'realm')}"


def unregistered_challenge(realm: str, header: str | None = None) -> str:
    """Return a WWW-Authenticate value for a service that accepts neither Basic nor Bearer.

    A 401 must carry a challenge (RFC 9110 section 15.5.2), but no registered scheme says "an API
    key" or "ask the operator". The schemes ``ApiKey``, which names its `header`, and ``Custom``
    are well-formed, and clients skip what they do not know.

    Raises:
        ValueError: as :func:`basic_challenge`.
    """
    if header is None:
        return f"Custom realm={_quoted(realm, 'realm')}"
    return f"ApiKey realm={_quoted(realm, 'realm')}, header={_quoted(header, 'header')}"


def _quoted(text: str, what: str) -> str:
    if not isinstance(text, str) or not _QUOTABLE.fullmatch(text):
        raise ValueError(f"{what} must be text of printable Latin-1 characters")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def check_field_name(name: str, what: str) -> str:
    """Return `name` if it can name a header that WSGI hands over.

    Raises:
        ValueError: it is not a field name (RFC 9110 section 5.1), holds an underscore, which
            WSGI cannot tell from a hyphen and servers drop, or is Authorization itself.
    """
    if not isinstance(name, str) or not _FIELD_NAME.fullmatch(name):
        raise ValueError(f"{what} must be a header name without underscores, such as X-Api-Key")
    if name.lower() == "authorization":
        raise ValueError(f"{what} cannot be Authorization; set bearer_token or basic_auth instead")
    return name


def check_bearer_token(value: str | bytes, what: str = "bearer_token") -> str | bytes:
    """Return a configured bearer token if an Authorization field can carry it.

    Raises:
        ValueError: it is empty, not text that UTF-8 can encode (nor bytes), or holds white
            space, commas or control characters.
    """
    if re.search(r"[\x00-\x20\x7f,]", _checked_text(value, what)):
        raise ValueError(f"{what} must not hold white space, commas or control characters")
    return value


def check_api_key(value: str | bytes, what: str = "api_key") -> str | bytes:
    """Return a configured API key if a header can carry it.

    Raises:
        ValueError: it is empty, not text that UTF-8 can encode (nor bytes), holds control
            characters, or starts or ends with a space.
    """
    text = _checked_text(value, what)
    if re.search(r"[\x00-\x1f\x7f]|\A | \Z", text):
        raise ValueError(f"{what} must not hold control characters or a space at either end")
    return value


def _checked_text(value: str | bytes, what: str) -> str:
    if not isinstance(value, (str, bytes)) or not value:
        raise ValueError(f"{what} must be text that is not empty")
    if isinstance(value, bytes):
        return value.decode("latin-1")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        # Not chained: the error would carry the secret.
        raise ValueError(f"{what} must be text that UTF-8 can encode") from None
    return value


def check_basic_pair(pair: Sequence[str], what: str) -> tuple[str, str]:
    """Return a configured user name and password if the Basic scheme can carry them (RFC 7617).

    Raises:
        ValueError: it is not a pair of strings, one of them is empty, cannot be encoded as UTF-8
            or holds control characters, or the user name holds a colon.
    """
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise ValueError(f"{what} must be a pair of user name and password")
    for part, name in zip(pair, ("user name", "password")):
        if not isinstance(part, str):
            raise ValueError(f"{what}: the {name} must be text")
        if _CONTROL.search(_checked_text(part, f"{what}: the {name}")):
            raise ValueError(f"{what}: the {name} must not hold control characters")
    user, password = pair
    if ":" in user:
        raise ValueError(f"{what}: the user name must not hold a colon")
    return user, password


class Credentials(NamedTuple):
    """The user name and password of a service, and where they came from."""

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
    """Choose the credentials of an agent, as the seed's section "Authentication" orders them.

    Args:
        name: the agent's name, the user name of generated credentials. Characters that cannot
            stand in one (colons, control characters, lone surrogates) become ``-``.
        given: user name and password given in code, which win.
        environment: values of SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD; None and the
            empty string are unset.
        password: the password of generated credentials, 16 random hex characters.

    Raises:
        ValueError: one variable of the two is set, or by :func:`check_basic_pair`.
    """
    if given is not None:
        return Credentials(*check_basic_pair(given, "basic_auth"), "provided")
    user, secret = environment or (None, None)
    if user and secret:
        what = "SWML_BASIC_AUTH_USER and SWML_BASIC_AUTH_PASSWORD"
        return Credentials(*check_basic_pair((user, secret), what), "environment")
    if user or secret:
        there, absent = ("USER", "PASSWORD") if user else ("PASSWORD", "USER")
        raise ValueError(f"SWML_BASIC_AUTH_{there} is set, SWML_BASIC_AUTH_{absent} is not")
    user = _UNFIT_FOR_USER.sub("-", name) or "agent"
    return Credentials(*check_basic_pair((user, password), "generated"), "generated")
