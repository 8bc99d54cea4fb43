"""What is hardened, and with which settings."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from ..config import Settings

#: What :func:`harden` has returned.
hardened: WeakSet[Any] = WeakSet()
#: The settings of all layers, by the outermost one.
settings_of_layers: WeakKeyDictionary[Any, Settings] = WeakKeyDictionary()


def is_hardened(layer: Any) -> bool:
    """Return whether :func:`harden` has returned `layer`."""
    # By identity: an application may have no hash, or compare as it likes.
    return any(layer is each for each in tuple(hardened))


def settings_of_outermost(layer: Any) -> Settings | None:
    """Return the settings of the layers in `layer`, if it is the outermost of them."""
    for each, settings in tuple(settings_of_layers.items()):
        if layer is each:
            return settings
    return None
