"""A guard that restricts the imports of a copy, and a simulation of FIPS mode.

Needs only the standard library of Python 3.9 or later.
"""

from __future__ import annotations

import builtins
import functools
import hashlib
import hmac
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
WEAK = frozenset({"md5", "sha1", "md5-sha1", "sha1withrsa", "ripemd160", "md4"})


def hold_to_standard_library(package: str) -> None:
    """Make `package` import only its own modules and the standard library.

    Unlike a finder, this also covers modules that are already loaded.
    """
    original = builtins.__import__

    def guarded(
        name: str,
        globals: Any = None,
        locals: Any = None,
        fromlist: Any = (),
        level: int = 0,
    ) -> types.ModuleType:
        importer = (globals or {}).get("__name__") or ""
        if level == 0 and importer.partition(".")[0] == package and not is_standard(name):
            raise AssertionError(f"{importer} imports {name}")
        return original(name, globals, locals, fromlist, level)

    builtins.__import__ = guarded


# Until Python 3.12, re.sub() with a template imports `re` at each call.
@functools.cache
def is_standard(name: str) -> bool:
    top = name.partition(".")[0]
    if top in sys.builtin_module_names:
        return True
    loaded = sys.modules.get(top)
    spec = getattr(loaded, "__spec__", None) or importlib.util.find_spec(top)
    if spec is None or spec.origin in ("built-in", "frozen"):
        return spec is not None
    if spec.origin is None:
        return False
    path = Path(spec.origin).resolve()
    return LIBRARY in path.parents and "site-packages" not in path.parts


def refuse_weak_digests() -> None:
    """Behave like OpenSSL in FIPS mode: every use of MD5 and SHA-1 raises ValueError."""
    import _hashlib

    sha1 = hashlib.sha1

    def refuse(*args: Any, **options: Any) -> NoReturn:
        raise ValueError("[digital envelope routines] unsupported")

    def refuse_sha1(*args: Any, **options: Any) -> Any:
        # Hypothesis uses SHA-1 for the names of its own files.
        if sys._getframe(1).f_globals.get("__name__", "").startswith("hypothesis."):
            return sha1(*args, **options)
        return refuse()

    def weak(digest: Any) -> bool:
        name = digest if isinstance(digest, str) else getattr(digest, "__name__", "")
        return name.lower().replace("openssl_", "") in WEAK or digest in (refuse, refuse_sha1)

    def without_weak(function: Callable[..., Any], position: int) -> Callable[..., Any]:
        def checked(*args: Any, **options: Any) -> Any:
            named = [*args[position : position + 1], *options.values()]
            if any(weak(each) for each in named):
                refuse()
            return function(*args, **options)

        return checked

    for name, refusal in (("md5", refuse), ("sha1", refuse_sha1)):
        setattr(hashlib, name, refusal)
        setattr(_hashlib, f"openssl_{name}", refuse)
        # The implementations without OpenSSL, which a FIPS build leaves out.
        sys.modules[f"_{name}"] = None  # type: ignore[assignment]
    hashlib.new = without_weak(hashlib.new, 0)
    _hashlib.new = without_weak(_hashlib.new, 0)  # type: ignore[misc]
    _hashlib.hmac_digest = without_weak(_hashlib.hmac_digest, 2)  # type: ignore[misc]
    _hashlib.hmac_new = without_weak(_hashlib.hmac_new, 2)  # type: ignore[misc]
    for attempt in (
        lambda: hashlib.new("sha1"),  # noqa: S324 - no secret
        lambda: hashlib.sha1(b"", usedforsecurity=False),
        lambda: hmac.digest(b"key", b"", "sha1"),
        lambda: hmac.new(b"key", b"", "md5"),
        lambda: hmac.new(b"key", b"", hashlib.sha1),
    ):
        try:
            attempt()
        except ValueError:
            continue
        raise AssertionError("SHA-1 or MD5 is still available")
