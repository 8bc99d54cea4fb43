"""Tool tokens and metadata of call sessions.

:class:`SessionManager` gives the functions of :mod:`.core.tokens` what they do not have: keys, a
clock and random numbers.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .core.tokens import (
    MIN_SECRET_BYTES,
    SigningKey,
    TokenError,
    ToolToken,
    check_signature_length,
    decode_token,
    open_token,
    sign_token,
    verify_token,
)
from .processes import GeneratedKey, default_store, generated_key

if TYPE_CHECKING:
    from .stores._base import Store

# No store keeps a value longer, and the sum with any likely time still has twelve digits.
_MAX_TOKEN_EXPIRY = 10**10


class SessionManager:
    """Signs and checks tool tokens, and keeps metadata of sessions. Threads may share one.

    Checking needs no state but the keys, so every process with the same `secret_key` accepts
    what any of them signed (seed, section "Secure Tools"). Metadata lives in `store`.

    Args:
        token_expiry_secs: seconds for which a token, and metadata after its last change, lives.
        secret_key: what tokens are signed with, at least 16 bytes; text counts as UTF-8. With
            None it is generated: by the parent of this process for all its workers where that
            did (``gunicorn -c python:swaig_wsgi.gunicorn``), else by this process for itself.
            After a restart of whoever made it, nobody accepts its tokens.
        fallback_keys: earlier secrets. They still verify and never sign; drop each once
            `token_expiry_secs` have passed since it was replaced.
        signature_length: hex characters of signature in a token, 16 to 64, and the least that
            one must have to be accepted.
        store: where metadata is kept; by default what the parent of this process shares among
            its workers, else the memory of this process.

    Raises:
        ValueError: a key is empty or shorter than 16 bytes, or a number is out of its range.
    """

    #: Whether the key was made because none was given.
    generated: bool
    #: The process that made it, and when (seconds since the epoch); None with a key that was given.
    key_made_by: int | None
    key_made_at: float | None
    #: Whether this process has put metadata into the store, or has looked for some there.
    keeps_metadata: bool

    def __init__(
        self,
        token_expiry_secs: int = 3600,
        secret_key: str | bytes | GeneratedKey | None = None,
        *,
        fallback_keys: Iterable[str | bytes] = (),
        signature_length: int = 16,
        store: Store | None = None,
    ) -> None:
        if (
            not isinstance(token_expiry_secs, int)
            or isinstance(token_expiry_secs, bool)
            or not 0 < token_expiry_secs <= _MAX_TOKEN_EXPIRY
        ):
            raise ValueError(
                f"token_expiry_secs must be an integer from 1 to {_MAX_TOKEN_EXPIRY} seconds"
            )
        if isinstance(fallback_keys, (str, bytes)):
            raise ValueError("fallback_keys must be a sequence of keys, not a single one")
        if secret_key is None:
            secret_key = generated_key("sessions")
        self.generated = isinstance(secret_key, GeneratedKey)
        self.key_made_by = self.key_made_at = None
        if isinstance(secret_key, GeneratedKey):
            secret_key, self.key_made_by, self.key_made_at = secret_key
        self.keeps_metadata = False
        self._token_expiry_secs = token_expiry_secs
        self._signature_length = check_signature_length(signature_length)
        self._keys = (
            _signing_key(secret_key, "secret_key"),
            *(_signing_key(key, "each of fallback_keys") for key in fallback_keys),
        )
        self._store: Store = default_store() if store is None else store

    @property
    def store(self) -> Store:
        """Where metadata is kept."""
        return self._store

    @property
    def token_expiry_secs(self) -> int:
        """Seconds for which a token lives."""
        return self._token_expiry_secs

    def create_session(self, call_id: str | None = None) -> str:
        """Return `call_id`, or without one a fresh id that nobody can guess.

        Raises:
            ValueError: `call_id` is not a string.
        """
        if call_id is None or call_id == "":
            return str(uuid.uuid4())
        return _check_session_id(call_id)

    def generate_token(self, function_name: str, call_id: str) -> str:
        """Return a token that lets `function_name` run in `call_id` until it expires.

        Raises:
            ValueError: see :func:`.core.tokens.sign_token`.
        """
        return sign_token(
            self._keys[0],
            function_name,
            call_id,
            int(time.time()) + self._token_expiry_secs,
            secrets.token_hex(4),
            self._signature_length,
        )

    def validate_token(self, call_id: str, function_name: str, token: str) -> bool:
        """Tell whether `token` lets `function_name` run in `call_id`.

        Never raises, whatever the three are: they come from whoever calls.
        """
        try:
            self.check_token(call_id, function_name, token)
        except TokenError:
            return False
        return True

    def check_token(self, call_id: str, function_name: str, token: str) -> ToolToken:
        """Return what `token` says if it lets `function_name` run in `call_id`.

        Raises:
            TokenError: it does not. Its `reason` is for the log, not for the caller.
        """
        return verify_token(
            self._keys,
            token,
            call_id=call_id,
            function_name=function_name,
            now=time.time(),
            signature_length=self._signature_length,
        )

    def open_token(self, token: str) -> ToolToken:
        """Return what `token` says if it is genuine and alive, whatever it was made for.

        So a request can be turned away before its body is read; what the token proves is then
        up to :func:`.core.tokens.check_claims`.

        Raises:
            TokenError: `malformed`, `bad_signature` or `expired`.
        """
        return open_token(
            self._keys, token, now=time.time(), signature_length=self._signature_length
        )

    def debug_token(self, token: str) -> dict[str, Any]:
        """Return the fields of `token` and whether it `expired`, **unverified**.

        What is no token at all gives ``{"error": "malformed"}``. Never raises.
        """
        try:
            fields = decode_token(token)
        except TokenError as error:
            return {"error": error.reason}
        return {**fields._asdict(), "expired": fields.expiry <= time.time()}

    def set_session_metadata(self, session_id: str, metadata: Mapping[str, Any]) -> None:
        """Update the metadata of a session by the members of `metadata`.

        Raises:
            ValueError: `session_id` is empty or no string, or `metadata` holds NaN, an infinity or
                itself, or gets too large.
            TypeError: `metadata` is not a mapping with text as names, or JSON cannot say it.
            StoreError: the store failed.
        """
        key = self._use_metadata(session_id)
        self._store.merge(key, metadata, self._token_expiry_secs)

    def get_session_metadata(self, session_id: str) -> dict[str, Any]:
        """Return the metadata of a session; empty when it has none or it expired.

        Raises:
            ValueError: `session_id` is empty or no string.
            StoreError: the store failed.
        """
        return self._store.get(self._use_metadata(session_id)) or {}

    def delete_session_metadata(self, session_id: str) -> bool:
        """Forget the metadata of a session, and tell whether it had any.

        Raises:
            ValueError: `session_id` is empty or no string.
            StoreError: the store failed.
        """
        return self._store.delete(self._use_metadata(session_id))

    def _use_metadata(self, session_id: object) -> str:
        key = "meta:" + _check_session_id(session_id)
        # On reading, too: a process that only reads would miss what others keep for themselves.
        self.keeps_metadata = True
        return key


def _signing_key(secret: object, what: str) -> SigningKey:
    if isinstance(secret, str):
        # Errors of the codec would carry the secret, so none is raised here.
        secret = secret.encode("utf-8", "surrogatepass")
    if not isinstance(secret, bytes) or len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"{what} must be a string or bytes of at least {MIN_SECRET_BYTES} bytes")
    return SigningKey(secret)


def _check_session_id(session_id: object) -> str:
    if not isinstance(session_id, str) or not session_id:
        raise ValueError("session id must be a non-empty string")
    return session_id
