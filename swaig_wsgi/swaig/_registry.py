"""The tools of an agent: what the AI may call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.tokens import is_function_name
from ._actions.checks import url
from ._arguments import check_schema
from ._schema import inspect_handler, object_schema
from ._values import flag, json_copy, json_object, text, texts

#: Names that the library signs tokens for itself.
RESERVED_NAMES = frozenset({"post_prompt"})

#: Seconds of the longest window in which a call is a repeat: a day.
MAX_ONCE = 86_400

Handler = Callable[..., Any]


@dataclass(frozen=True)
class Tool:
    """One function that the AI may call. Made by :class:`ToolRegistry`."""

    name: str
    #: The function as the document describes it, without a URL.
    definition: dict[str, Any]
    #: Calls the handler with (arguments, raw request); None when it runs elsewhere.
    call: Callable[[dict[str, Any], dict[str, Any]], Any] | None = field(repr=False)
    #: Whether a call must prove with a token which call it belongs to.
    secure: bool = False
    #: Seconds in which the same call is a repeat that does not run; None to run every call.
    once: float | None = None

    @property
    def signature(self) -> dict[str, Any]:
        """The definition with ``parameters.required``, which clients of signatures rely on."""
        parameters = self.definition.get("parameters", {})
        return {
            **self.definition,
            "parameters": {
                "type": "object",
                "properties": {},
                "required": [],
                **parameters,
            },
        }


class ToolRegistry:
    """Tools by name, in the order of their definition.

    No method changes the dictionary in place, so that a shallow copy stands alone, and a document
    may be rendered while another thread defines a tool.

    Args:
        secure_by_default: whether a tool is secure when its definition does not say.
    """

    def __init__(self, *, secure_by_default: bool = False) -> None:
        self._secure_by_default = flag(secure_by_default, "secure_by_default")
        self._tools: dict[str, Tool] = {}

    def define(
        self,
        /,
        name: str,
        description: str,
        parameters: Mapping[str, Any] | None,
        handler: Handler | None,
        *,
        secure: bool | None = None,
        fillers: Mapping[str, Any] | None = None,
        webhook_url: str | None = None,
        required: Iterable[str] | None = None,
        once: float | None = None,
        **extra: Any,
    ) -> None:
        """Define a tool.

        Args:
            name: an identifier of at most 128 ASCII characters.
            description: when to use the tool, and how, in words for the AI.
            parameters: a JSON schema of type object, or just its properties; None takes it from
                the handler's annotations.
            handler: called with (arguments, raw request), or with the arguments by name when it
                is written that way. It returns a FunctionResult, text or a dictionary, and may
                be ``async``.
            secure: whether a call needs a token bound to its call id and to this function.
            fillers: what to say while the tool runs, by language.
            webhook_url: where the platform calls the tool instead of here: an absolute http or
                https URL.
            required: names of arguments that must be there.
            once: seconds in which the same call (call, function, arguments, token) is a repeat:
                it gets the first one's answer, and does not run. Needs a secure tool.
            extra: further members of the definition, such as ``wait_file``.

        Raises:
            ValueError: the name is taken, reserved or no identifier; the schema is wrong; or a
                tool that runs elsewhere has a handler or is to be secured here.
        """
        self._check_name(name)
        if secure is not None:
            flag(secure, f"tool {name!r}: secure")
        if required is not None:
            required = texts(required, f"tool {name!r}: required")
        if webhook_url is not None:
            if handler is not None or secure:
                raise ValueError(
                    f"tool {name!r} has a webhook_url, so it never runs here: "
                    "it takes no handler and cannot be secure"
                )
        elif not callable(handler):
            raise ValueError(f"tool {name!r} needs a callable handler, not {handler!r}")
        call = None
        if handler is None:
            schema = object_schema(parameters, required)
        else:
            if parameters is None and required is not None:
                raise ValueError(f"tool {name!r}: required= belongs to explicit parameters")
            explicit = None if parameters is None else object_schema(parameters, required)
            described = inspect_handler(handler, explicit)
            schema = described.parameters if explicit is None else explicit
            description = description or described.description
            call = _caller(handler, described.bind)
        check_schema(schema)
        definition: dict[str, Any] = {
            "function": name,
            "description": text(description, f"the description of tool {name!r}"),
            "parameters": _without_empty_required(schema),
        }
        if fillers:
            definition["fillers"] = json_object(fillers, f"the fillers of tool {name!r}")
        if webhook_url is not None:
            definition["web_hook_url"] = url(webhook_url, f"the webhook_url of tool {name!r}")
        for member, value in extra.items():
            if member in definition or member == "web_hook_url":
                raise ValueError(f"tool {name!r}: {member} cannot be given as a further member")
            if value is not None:
                definition[member] = json_copy(value, f"{member} of tool {name!r}")
        if secure is None:
            secure = self._secure_by_default and webhook_url is None
        _check_once(name, once, secure)
        self._tools = {**self._tools, name: Tool(name, definition, call, secure, once)}

    def register(self, function_dict: Mapping[str, Any]) -> None:
        """Add a function that the platform runs by itself, such as a DataMap, as it is.

        Raises:
            ValueError: the name is taken, reserved or no identifier, or it is no dictionary that
                JSON can say.
        """
        copied = json_object(function_dict, "a function definition")
        name = copied.get("function")
        self._check_name(name)
        self._tools = {**self._tools, str(name): Tool(str(name), copied, None)}

    def get(self, name: str) -> Tool | None:
        """Return the tool of this name, or None."""
        return self._tools.get(name)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def _check_name(self, name: Any) -> None:
        if not is_function_name(name):
            raise ValueError(
                f"a tool's name must match [A-Za-z_][A-Za-z0-9_]{{0,127}}, which {name!r} does not"
            )
        if name in RESERVED_NAMES:
            raise ValueError(f"the name {name!r} is reserved and cannot be a tool's")
        if name in self._tools:
            raise ValueError(f"there is a tool {name!r} already")


def _caller(handler: Handler, bind: Any) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
    def call(arguments: dict[str, Any], raw_data: dict[str, Any]) -> Any:
        positional, named = bind(arguments, raw_data)
        return handler(*positional, **named)

    return call


def _check_once(name: str, once: Any, secure: bool) -> None:
    if once is None:
        return
    if not secure:
        raise ValueError(f"tool {name!r}: once= needs secure=True, which says whose call it is")
    if isinstance(once, bool) or not isinstance(once, (int, float)) or not 0 < once <= MAX_ONCE:
        raise ValueError(f"tool {name!r}: once must be seconds, more than 0 and up to {MAX_ONCE}")


def _without_empty_required(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("required") == []:
        return {key: value for key, value in schema.items() if key != "required"}
    return schema


def tool_name(handler: Handler) -> str:
    """Return the name under which a decorated handler is offered: that of the function."""
    name = getattr(inspect.unwrap(handler), "__name__", "")
    return str(name)
