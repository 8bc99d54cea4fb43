"""Security decisions as functions over plain values.

Nothing here knows WSGI, reads the environment or looks at a clock: what a decision needs is
an argument. Standard library only, so that this directory can be copied on its own.
"""
