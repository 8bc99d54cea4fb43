"""The URLs to which the platform posts, as an application changes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

from ..core._validation import ArgumentTypeError, check_str
from ..swaig._validation import check_url
from ._document import Endpoints

#: Parameters that the agent itself reads.
_OWN_PARAMS = ("__token", "call_id")


class Webhooks:
    """URLs elsewhere that replace the agent's own, and parameters that its own carry.

    No method changes a dictionary in place, so that a shallow copy is independent.

    Raises:
        ValueError: an argument is invalid. For a wrong type it is a TypeError as well.
    """

    def __init__(self) -> None:
        self._swaig: str | None = None
        self._post_prompt: str | None = None
        self._params: dict[str, str] = {}

    def set_web_hook_url(self, url: str) -> None:
        """Let the platform call another service for the tools that are not secure.

        A secure tool keeps its own URL, here: its token is valid for this agent only.

        Args:
            url: an absolute http or https URL, or a variable.
        """
        self._swaig = check_url("the web hook URL", url)

    def set_post_prompt_url(self, url: str) -> None:
        """Let the platform post summaries to another service, without a token.

        Args:
            url: an absolute http or https URL, or a variable.
        """
        self._post_prompt = check_url("the post-prompt URL", url)

    def add_query_params(self, params: Mapping[str, str]) -> None:
        """Add parameters to the URLs of this agent's tools and of its post-prompt.

        They are not part of the token: a handler must not trust them.

        Args:
            params: text by name; ``__token`` and ``call_id`` are invalid names.
        """
        if not isinstance(params, Mapping):
            raise ArgumentTypeError(f"query parameters must be a dictionary, not {params!r}")
        for name, value in params.items():
            if check_str("the name of a query parameter", name) in _OWN_PARAMS:
                raise ValueError(f"{name!r} is a query parameter of the agent itself")
            if not isinstance(value, str):
                raise ArgumentTypeError(f"the query parameter {name!r} must be text")
        self._params = {**self._params, **params}

    def clear_query_params(self) -> None:
        """Remove all parameters of :meth:`add_query_params`."""
        self._params = {}

    def applied_to(self, endpoints: Endpoints) -> Endpoints:
        """Return `endpoints` with these changes."""
        if not self._params and self._swaig is None and self._post_prompt is None:
            return endpoints
        query = f"?{urlencode(self._params)}" if self._params else ""
        return replace(
            endpoints,
            swaig=endpoints.swaig + query,
            post_prompt=endpoints.post_prompt + query,
            swaig_elsewhere=self._swaig,
            post_prompt_elsewhere=self._post_prompt,
        )
