"""The types of WSGI (PEP 3333). ``wsgiref.types`` has them only from Python 3.11 on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
else:
    StartResponse = WSGIApplication = WSGIEnvironment = Any

__all__ = ["StartResponse", "WSGIApplication", "WSGIEnvironment"]
