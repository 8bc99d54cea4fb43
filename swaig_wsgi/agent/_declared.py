"""The decorator ``tool``, on an agent and on methods in the body of its class.

On an agent, the decorator defines the tool. On the class there is no agent yet, so it only marks
the method; each agent defines the tools of its class when it is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from .._missing import OPTIONS
from ..core._validation import ArgumentTypeError, shorten
from ..swaig import ToolOptions, ToolRegistry, check_options, tool_name

if TYPE_CHECKING:
    from typing_extensions import Unpack

Handler = TypeVar("Handler", bound=Callable[..., Any])

_MARK = "_swaig_tool"

_KNOWN = ("name", "description", *ToolOptions.__annotations__)
_REMEDIES = {**OPTIONS, "handler": "decorate the handler, or use define_tool()"}


class Decorator(Protocol):
    """What ``tool`` is for type checkers."""

    @overload
    def __call__(self, name: Handler, /) -> Handler: ...
    @overload
    def __call__(
        self,
        name: str | None = None,
        description: str | None = None,
        **options: Unpack[ToolOptions],
    ) -> Callable[[Handler], Handler]: ...


@dataclass(frozen=True)
class Declaration:
    """What a decorator on a method specifies of its tool; the rest has defaults."""

    name: str | None
    description: str | None
    options: Mapping[str, Any]

    def define(self, tools: ToolRegistry, handler: Callable[..., Any]) -> None:
        """Define the tool, which calls `handler`."""
        options = dict(self.options)
        parameters = options.pop("parameters", None)
        name = self.name or tool_name(handler)
        tools.define(name, self.description or "", parameters, handler, **options)

    def over(self, inherited: Declaration) -> Declaration:
        """Return this declaration, completed with `inherited`.

        An override of a secure method thus stays secure if its decorator omits ``secure``.
        """
        return replace(
            self,
            name=self.name or inherited.name,
            description=self.description or inherited.description,
            options={**inherited.options, **self.options},
        )


class ToolMethod:
    """The attribute ``tool`` of agents and of their classes."""

    def __get__(self, agent: Any, owner: type | None = None) -> Decorator:
        def tool(name: Any = None, description: str | None = None, **options: Any) -> Any:
            """Return a decorator that defines a tool and leaves the function unchanged.

            Use it on an agent, or on the class for methods in the body of a subclass:
            ``@AgentApp.tool(secure=True)``. Methods are called with ``self``, the agent. Subclasses
            inherit the tool and may override the method; an override that is decorated, too, keeps
            what it does not give itself, and the attribute None drops the tool.

            Args:
                name: by default the function's name. ``@app.tool`` without parentheses passes the
                    function itself.
                description: by default the first paragraph of the docstring.
                options: as for :meth:`AgentApp.define_tool`; ``parameters`` are by default derived
                    from the function's annotations and docstring.

            Raises:
                TypeError: there is no such option; the message names the nearest one.
                ValueError: when the function is decorated (for a method: when an agent is made), as
                    for :meth:`AgentApp.define_tool`; also if an annotation is not supported. When a
                    method is decorated a second time.
            """
            check_options(options, _KNOWN, _REMEDIES)
            has_name = name is None or isinstance(name, str)
            declaration = Declaration(name if has_name else None, description, options)

            def decorate(handler: Any) -> Any:
                if agent is None:
                    _mark(_function(handler), declaration)
                else:
                    declaration.define(agent.tools, handler)
                return handler

            return decorate if has_name else decorate(name)

        return tool


def _mark(function: Any, declaration: Declaration) -> None:
    # functools.wraps copies the mark, so a decorator in between does not hide it.
    if isinstance(inspect.getattr_static(function, _MARK, None), Declaration):
        name = getattr(function, "__qualname__", function)
        raise ValueError(f"{name} is a tool already: give all options to one decorator")
    try:
        setattr(function, _MARK, declaration)
    except (AttributeError, TypeError):  # it has __slots__, or is written in C
        raise ArgumentTypeError(
            f"@AgentApp.tool cannot decorate {shorten(function)}: decorate a method that calls it"
        ) from None


def _function(value: Any) -> Any:
    return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value


def define_declared(agent: Any, tools: ToolRegistry) -> None:
    """Define the tools that the methods of the agent's class declare.

    An inherited tool keeps its place and its options, and calls the method of the agent's class. A
    class drops it by setting the attribute to None.
    """
    declared: dict[str, Declaration] = {}
    for each in reversed(type(agent).__mro__):
        for attribute, value in vars(each).items():
            # Static, because a class may have attributes of any kind, such as proxies.
            mark = inspect.getattr_static(_function(value), _MARK, None)
            if isinstance(mark, Declaration):
                inherited = declared.get(attribute)
                declared[attribute] = mark if inherited is None else mark.over(inherited)
            elif value is None:
                declared.pop(attribute, None)
    for attribute, declaration in declared.items():
        declaration.define(tools, getattr(agent, attribute))
