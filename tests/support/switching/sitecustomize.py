"""Imported by each Python that starts with this directory in PYTHONPATH: see tests/conftest.py."""

import sys

sys.setswitchinterval(1e-6)
