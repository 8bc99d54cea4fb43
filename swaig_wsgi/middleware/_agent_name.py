"""What is an agent, and its name in the records of layers around it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from ..wsgi import AGENT
from ..wsgi._types import StartResponse, WSGIApplication, WSGIEnvironment


class ServesAgents(ABC):
    """A class whose instances serve only agents, which registers itself.

    The modules of agents are not among those that are copied without packages.
    """

    @abstractmethod
    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a request."""


class NamedAgent(ServesAgents):
    """A class of single agents, which registers itself; sites may have an ``agent_name``, too."""

    agent_name: str


class AgentNameMiddleware:
    """Name `agent` in the records of every layer of `app`.

    Args:
        app: the wrapped application, whose innermost layer is `agent`.
        agent: an agent; its ``agent_name`` is read for each request.
    """

    def __init__(self, app: WSGIApplication, agent: Any) -> None:
        self.app = app
        self._agent = agent

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[AGENT] = self._agent.agent_name
        return self.app(environ, start_response)
