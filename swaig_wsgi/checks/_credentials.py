"""Passwords, secrets and keys, judged by their values.

No message contains a value, nor its length: a log of findings must not narrow down a search.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..config import Settings
from ..core._strength import MIN_BITS, is_guessable, password_weakness
from ..middleware.auth import AuthHandler
from ._findings import Finding, finding

#: By weakness, the finding, and what is said of the variable or argument.
_WEAK = {
    "user": ("E003", "is the name of its user, which anyone tries first."),
    "common": ("E002", "is one of the most common passwords, or a variant of one."),
    "pattern": ("E002", "is a pattern: repeated characters, or neighbors on the keyboard."),
    "short": ("W002", "has fewer than 12 characters."),
    "simple": (
        "W003",
        "has fewer than 20 characters, of fewer than three kinds (lower case, upper case, digits, "
        "others).",
    ),
}
_CODE_LINE = 'AuthHandler(basic_auth=("platform", os.environ["SWML_BASIC_AUTH_PASSWORD"]))'


def password_findings(variable: str, user: str, password: str) -> Iterator[Finding]:
    """Yield what is weak about a password: at most one finding, the worst."""
    weakness = password_weakness(user, password)
    if weakness is not None:
        number, text = _WEAK[weakness]
        yield finding(number, f"{variable} {text}", f'{variable}="$(swaig-wsgi secret)"')


def handler_findings(handler: AuthHandler) -> Iterator[Finding]:
    """Yield findings on the credentials of a handler, which has kept what is weak about them."""
    for parameter, weakness in dict.fromkeys(handler._weak):
        number, text = _WEAK[weakness]
        line = _CODE_LINE
        if parameter != "basic_auth":
            line = f'AuthHandler({parameter}=os.environ["{parameter.upper()}"])'
        yield finding(number, f"{parameter} of an AuthHandler {text}", line)


def credential_findings(settings: Settings) -> Iterator[Finding]:
    """Yield findings on user and password, and on earlier passwords that are still accepted."""
    if settings.basic_auth is None:
        text = "No credentials are set, so each start generates others."
        yield finding("W001", text)
        return
    user, password = settings.basic_auth
    yield from password_findings("SWML_BASIC_AUTH_PASSWORD", user, password)
    for earlier in settings.basic_auth_password_fallbacks:
        # It is weak once, however many of the list are.
        weak = list(password_findings("SWML_BASIC_AUTH_PASSWORD_FALLBACKS", user, earlier))
        if weak:
            line = "unset SWML_BASIC_AUTH_PASSWORD_FALLBACKS"
            yield finding(weak[0].id.removeprefix("swaig."), weak[0].message, line)
            break


def secret_findings(settings: Settings) -> Iterator[Finding]:
    """Yield findings on the secret of tool tokens, on signing keys, and on their fallbacks."""
    if settings.swaig_secret is None:
        yield finding("W021", "No secret signs tool tokens, so they end with the process.")
    if settings.signing_key is None:
        yield finding("W023", "No signing key is set, so webhooks need no signature.")
    current = {
        "SIGNALWIRE_SWAIG_SECRET": (settings.swaig_secret, settings.swaig_secret_fallbacks),
        "SIGNALWIRE_SIGNING_KEY": (settings.signing_key, settings.signing_key_fallbacks),
        "SWML_BASIC_AUTH_PASSWORD": (
            settings.basic_auth_password,
            settings.basic_auth_password_fallbacks,
        ),
    }
    for variable, (value, fallbacks) in current.items():
        if value is not None and value in fallbacks:
            text = f"The value of {variable} is also in {variable}_FALLBACKS"
            why = "the rotation is not finished, or changed nothing"
            yield finding("W005", f"{text}: {why}.", f"unset {variable}_FALLBACKS")
        if variable == "SWML_BASIC_AUTH_PASSWORD":
            continue  # judged as a password
        if value is not None and is_guessable(value):
            yield guessable_finding(variable, f'{variable}="$(swaig-wsgi secret)"')
        if any(map(is_guessable, fallbacks)):
            yield guessable_finding(f"{variable}_FALLBACKS", f"unset {variable}_FALLBACKS")
    yield from _shared_findings(current)


def _shared_findings(
    secrets: Mapping[str, tuple[str | None, Iterable[str]]],
) -> Iterator[Finding]:
    """Yield findings on values that are in several variables, or in their fallbacks."""
    by_value: dict[str, dict[str, str]] = {}
    for variable, (value, fallbacks) in secrets.items():
        for each in fallbacks:
            by_value.setdefault(each, {})[variable] = f"{variable}_FALLBACKS"
        if value is not None:
            by_value.setdefault(value, {})[variable] = variable
    for shared in dict.fromkeys(tuple(each.values()) for each in by_value.values()):
        if len(shared) > 1:
            text = f"{' and '.join(shared)} have the same value, so that one reveals the other."
            earlier = [name for name in shared if name.endswith("_FALLBACKS")]
            line = f"unset {earlier[0]}" if earlier else f'{shared[0]}="$(swaig-wsgi secret)"'
            yield finding("W006", text, line)


def guessable_finding(variable: str, line: str) -> Finding:
    text = f"{variable} can be guessed: it has less than {MIN_BITS} bits of entropy"
    return finding("W004", f"{text}, or consists of common words.", line)
