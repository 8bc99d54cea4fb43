"""One call of each method of a store."""

from __future__ import annotations

HOUR = 3600.0


def calls(store):
    return [
        lambda: store.hit("key", HOUR),
        lambda: store.get("key"),
        *([lambda: store.peek("key")] if hasattr(store, "peek") else []),
        lambda: store.set("key", {}, HOUR),
        lambda: store.merge("key", {}, HOUR),
        lambda: store.delete("key"),
        lambda: store.add("key", {}, HOUR),
        lambda: store.replace_if("key", "owner", {}, HOUR),
    ]
