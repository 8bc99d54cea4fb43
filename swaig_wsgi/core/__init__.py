"""Security decisions as functions over plain values.

Every decision receives what it needs as arguments. Nothing here reads a clock, the environment or
a WSGI environ, starts a thread, or does I/O; only :func:`.ssrf.validate_url` resolves names,
through its `resolver` argument. Standard library only, so that this directory can be copied.
"""

__all__: list[str] = []  # Import the modules.
