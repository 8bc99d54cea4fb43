"""The nonce of the content security policy, for templates."""

from __future__ import annotations

from typing import Any


def csp_nonce(request: Any) -> dict[str, str]:
    """Return the nonce of the request as ``csp_nonce``, for ``<script nonce="{{ csp_nonce }}">``.

    It is empty where ``harden`` has no policy with a nonce, and in ``django.test.Client``.
    """
    return {"csp_nonce": request.META.get("swaig_wsgi.csp_nonce", "")}
