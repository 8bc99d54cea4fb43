"""Tool tokens and metadata of call sessions.

:class:`SessionManager` provides the functions of :mod:`.core.tokens` with keys, a clock and random
numbers.

Keys form a ring: the first one signs, and all of them verify. To rotate the secret, move the old
one to `fallback_keys` in all processes, and remove it once its last token has expired. If no secret
is configured, one is generated: by the parent of the workers, which share it (see
:mod:`.processes`), else by each process for itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from .core._strength import is_guessable
from .core._validation import ArgumentTypeError, check_int, check_str
from .core.redaction import hide_values
from .core.tokens import (
    MIN_SECRET_BYTES,
    SigningKey,
    TokenError,
    ToolToken,
    check_signature_length,
    decode_token,
    is_signed_by,
    issue_token,
    open_token,
    verify_token,
)
from .processes import GeneratedKey, default_store, generated_key
from .stores._base import Store

__all__ = ["SessionManager"]

# The maximum TTL of a store. Added to the current time, it still has twelve digits.
_MAX_TOKEN_EXPIRY = 10**10


class SessionManager:
    """Signs and verifies tool tokens, and keeps metadata of sessions. Thread-safe.

    Verification needs only the keys, so every process with the same `secret_key` accepts the
    tokens of all others (the SDK's guide, "Secure Tools"). Metadata is kept in `store`.

    Args:
        token_expiry_secs: lifetime of tokens, and of metadata after its last change, in seconds.
        secret_key: signs tokens; at least 16 bytes, a string is encoded as UTF-8. If None, it is
            generated: by the parent process for all its workers (``gunicorn -c
            python:swaig_wsgi.gunicorn``), else by this process for itself. Tokens do not survive a
            restart of the process that generated it.
        fallback_keys: earlier secrets, which verify but never sign. Remove each once
            `token_expiry_secs` have passed since it was replaced.
        signature_length: hex characters of the signature in a token, 16 to 64; tokens with a
            shorter signature are rejected.
        store: keeps metadata; by default the store that the parent process shares among its
            workers, else the memory of this process.

    Raises:
        TypeError: a number or `fallback_keys` has the wrong type.
        ValueError: a key is not a string or bytes of at least 16 bytes, or a number is out of
            range.
    """

    #: Whether the key was generated because none was given.
    generated: bool
    #: The id of the process that generated the key; None for a key that was given.
    key_made_by: int | None
    #: When the key was generated, in seconds since the epoch; None for a key that was given.
    key_made_at: float | None
    #: Whether this process has written metadata to the store, or read some.
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
        check_int("token_expiry_secs", token_expiry_secs, 1, _MAX_TOKEN_EXPIRY)
        self._token_expiry_secs = token_expiry_secs
        if isinstance(fallback_keys, (str, bytes)):
            raise ArgumentTypeError("fallback_keys must be a sequence of keys, not a single one")
        if secret_key is None:
            secret_key = generated_key("sessions")
        self.generated = isinstance(secret_key, GeneratedKey)
        self.key_made_by = self.key_made_at = None
        if isinstance(secret_key, GeneratedKey):
            secret_key, self.key_made_by, self.key_made_at = secret_key
        fallback_keys = tuple(fallback_keys)
        self.keeps_metadata = False
        self._signature_length = check_signature_length(signature_length)
        self._keys = (
            _signing_key(secret_key, "secret_key"),
            *(_signing_key(key, "each of fallback_keys") for key in fallback_keys),
        )
        #: For `swaig-wsgi check`: whether one of the keys can be guessed.
        self._guessable = any(map(is_guessable, (secret_key, *fallback_keys)))
        self._store: Store = default_store() if store is None else store

    @property
    def store(self) -> Store:
        """The store of the metadata."""
        return self._store

    @property
    def token_expiry_secs(self) -> int:
        """The lifetime of a token, in seconds."""
        return self._token_expiry_secs

    def create_session(self, call_id: str | None = None) -> str:
        """Return `call_id`, or a random id if it is None or empty.

        Raises:
            TypeError: `call_id` is not a string.
        """
        if call_id is None or call_id == "":
            from uuid import uuid4  # takes 2 ms, with the platform module

            return str(uuid4())
        return check_str("session id", call_id)

    def generate_token(self, function_name: str, call_id: str) -> str:
        """Return a token that permits running `function_name` in `call_id` until it expires.

        Raises:
            ValueError: see :func:`.core.tokens.sign_token`.
        """
        return issue_token(
            self._keys[0],
            function_name,
            call_id,
            int(time.time()) + self._token_expiry_secs,
            os.urandom(4).hex(),
            self._signature_length,
        )

    def validate_token(self, call_id: str, function_name: str, token: str) -> bool:
        """Return whether `token` permits running `function_name` in `call_id`.

        Never raise an exception: all three come from the client.
        """
        try:
            self.check_token(call_id, function_name, token)
        except TokenError:
            return False
        return True

    def check_token(self, call_id: str, function_name: str, token: str) -> ToolToken:
        """Return the fields of `token` if it permits running `function_name` in `call_id`.

        Raises:
            TokenError: it does not. Its `reason` is for the log, not for the client.
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
        """Return the fields of `token` if it is genuine and not expired, whatever it permits.

        With this a request can be rejected before its body is read. What the token permits is
        checked by :func:`.core.tokens.check_claims`.

        Raises:
            TokenError: the token is `malformed`, has a `bad_signature` or is `expired`.
        """
        length = self._signature_length
        return open_token(self._keys, token, now=time.time(), signature_length=length)

    def is_fallback(self, token: ToolToken) -> bool:
        """Return whether a verified token was signed with a fallback key."""
        return len(self._keys) > 1 and not is_signed_by(self._keys[0], token)

    def debug_token(self, token: str) -> dict[str, Any]:
        """Return the fields of `token` and whether it is `expired`, **unverified**.

        Return ``{"error": "malformed"}`` if it is not a token. Never raise an exception.
        """
        try:
            fields = decode_token(token)
        except TokenError as error:
            return {"error": error.reason}
        return {**fields._asdict(), "expired": fields.expiry <= time.time()}

    def set_session_metadata(self, session_id: str, metadata: Mapping[str, Any]) -> None:
        """Update the metadata of a session with `metadata`.

        Raises:
            TypeError: `session_id` is not a string, or `metadata` is not a mapping with string
                names or not JSON-serializable.
            ValueError: `session_id` is empty, `metadata` contains NaN, an infinity or itself, or
                the updated metadata is too large.
            StoreError: the store failed; also raised by the next two methods, as are the errors
                of `session_id`.
        """
        key = self._use_metadata(session_id)
        self._store.merge(key, metadata, self._token_expiry_secs)

    def get_session_metadata(self, session_id: str) -> dict[str, Any]:
        """Return the metadata of a session; empty if there is none or it expired."""
        return self._store.get(self._use_metadata(session_id)) or {}

    def delete_session_metadata(self, session_id: str) -> bool:
        """Delete the metadata of a session, and return whether there was any."""
        return self._store.delete(self._use_metadata(session_id))

    def _use_metadata(self, session_id: object) -> str:
        key = "meta:" + check_str("session id", session_id)
        # When reading, too: a process that only reads misses what other processes keep to
        # themselves.
        self.keeps_metadata = True
        return key


def _signing_key(secret: object, what: str) -> SigningKey:
    if isinstance(secret, str):
        # Encode surrogates, too: the codec's errors would contain the secret.
        secret = secret.encode("utf-8", "surrogatepass")
    if not isinstance(secret, bytes) or len(secret) < MIN_SECRET_BYTES:
        raise ValueError(f"{what} must be a string or bytes of at least {MIN_SECRET_BYTES} bytes")
    hide_values((secret,))
    return SigningKey(secret)
