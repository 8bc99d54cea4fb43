"""Count the bytecode instructions of one request, by layer: unlike times, equal in every run.

``python tests/benchmarks/counts.py`` prints the counts beside the allowed ones, and with
``--write`` allows what it found. The time that functions written in C take does not show; for that
there are the other benchmarks.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

if __package__ != "benchmarks":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

ALLOWED = Path(__file__).with_name("counts.json")
#: The release for which instructions are counted: others compile to other bytecode.
PYTHON = (3, 11)
#: The share by which a count may differ from the allowed one.
TOLERANCE = 0.03
COUNTED = ("tool call", "tool call, proxy", "document", "401", "403", "429")

Counts = dict[str, int]

#: What layers are for, in the table of docs/performance.md.
PURPOSES = {
    "limits on requests and on failed authentications, and their store": (
        *("middleware/_counting", "middleware/auth_failure_limit", "middleware/rate_limit"),
        *("core/rate_limit", "stores/_base", "stores/_scoped", "stores/memory"),
    ),
    "the tool: its call, record, handler and result": (
        *("agent/agent", "agent/run_limit", "agent/spans", "agent/tool_calls", "wsgi/_observer"),
        *("concurrency/_awaiting", "swaig/_registry", "swaig/_requests", "swaig/_results"),
        "wsgi/_call_log",
    ),
    "the response: the fields of all layers, encoding, request id": (
        *("middleware/_response_fields", "middleware/cors", "middleware/headers"),
        *("middleware/request_id", "wsgi/_repeats", "wsgi/_request_id", "wsgi/_responses"),
        *("wsgi/_security_log", "wsgi/_unread"),
    ),
    "authentication": (
        *("agent/auth", "agent/stack", "core/auth", "middleware/auth", "wsgi/_request_headers"),
    ),
    "routing, endpoints, health and shared state": (
        *("agent/app", "agent/endpoints", "agent/health", "agent/routes"),
        *("middleware/_per_process", "middleware/_scope"),
    ),
    "names and types of the arguments": ("swaig/_arguments",),
    "length, framing and reading of the body": (
        *("core/body_size", "middleware/body_size", "wsgi/_bodies"),
    ),
    "the token: decoding, signature, expiry, function and call": (
        *("core/calls", "core/tokens", "middleware/tokens", "sessions.py"),
    ),
    "strict JSON": ("core/strict_json",),
    "the standard library, the handler and the benchmark itself": ("others",),
    "the allowlist of hosts": ("core/hosts", "middleware/hosts"),
    "remembered readings of hosts, addresses and names": ("core/_memo",),
    "trusted proxies": ("core/proxies", "middleware/proxies"),
}


def layer_of(code: CodeType) -> str:
    """Return the layer that a function belongs to: a package or module of ours, or ``others``."""
    parts = Path(code.co_filename).parts
    if "swaig_wsgi" in parts:
        inner = parts[len(parts) - parts[::-1].index("swaig_wsgi") :]
        return f"{inner[0]}/{inner[1].removesuffix('.py')}" if len(inner) > 1 else inner[0]
    return "werkzeug" if "werkzeug" in parts else "others"


def count(call: Any) -> Counts:
    """Call `call` and return the instructions it executes, by layer."""
    found: Counter[str] = Counter()
    layers: dict[CodeType, str] = {}

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        layer = layers.get(code)
        if layer is None:
            layer = layers[code] = layer_of(code)
        frame.f_trace_opcodes, frame.f_trace_lines = True, False

        def each(frame: FrameType, event: str, arg: Any) -> Any:
            if event == "opcode":
                found[layer] += 1
            return each

        return each

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return dict(found)


def by_purpose(found: Counts) -> Counts:
    """Return the counts of layers by what they are for, the largest first, and their sum."""
    purposes = {layer: purpose for purpose, layers in PURPOSES.items() for layer in layers}
    summed: Counter[str] = Counter()
    for layer, number in found.items():
        summed[purposes.get(layer, layer)] += number
    return {**dict(summed.most_common()), "all": summed.total()}


def measure() -> dict[str, Counts]:
    """Return the counts of each scenario in :data:`COUNTED`, by layer."""
    from benchmarks.scenarios import Scenarios

    # As in production, but without an output: how records are written is for the application.
    log = logging.getLogger("swaig_wsgi")
    log.propagate = False
    log.addHandler(logging.NullHandler())
    calls = Scenarios().calls
    return {name: count(calls[name]) for name in COUNTED}


def complaints(found: dict[str, Counts], allowed: dict[str, Counts]) -> list[str]:
    """Return a line for each scenario whose count is not the allowed one, and why."""
    lines = []
    for name in COUNTED:
        now, before = found[name], allowed[name]
        total, limit = sum(now.values()), sum(before.values())
        if abs(total - limit) <= TOLERANCE * limit:
            continue
        changes = {each: now.get(each, 0) - before.get(each, 0) for each in {*now, *before}}
        changed = sorted(filter(changes.get, changes), key=lambda each: -abs(changes[each]))
        layers = ", ".join(f"{each} {changes[each]:+}" for each in changed[:6])
        lines.append(f"{name}: {total} instructions instead of {limit}; {layers}")
    return lines


def main() -> None:
    """Print or write the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="allow the counts found")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    options = parser.parse_args()
    found = measure()
    if options.json:
        print(json.dumps(found))
        return
    allowed = json.loads(ALLOWED.read_text()) if ALLOWED.exists() else found
    for name, layers in found.items():
        print(f"{name}: {sum(layers.values())} instructions, {sum(allowed[name].values())} allowed")
        for layer, number in sorted(layers.items(), key=lambda pair: -pair[1]):
            print(f"    {layer:32} {number:6} {allowed[name].get(layer, 0):6}")
    if options.write:
        ALLOWED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
