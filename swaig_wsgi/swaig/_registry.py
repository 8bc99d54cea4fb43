"""The tools of an agent: the functions that the AI may call."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .._missing import checks_arguments
from ..core._validation import check_bool, check_int, check_str, shorten
from ..core.tokens import is_function_name
from ._arguments import CompiledSchema
from ._options import ToolOptions, check_options
from ._schema import Bind, bind_as_given, inspect_handler, object_schema
from ._validation import (
    bool_or_variable,
    check_line,
    check_strings,
    check_url,
    int_or_variable,
    json_object,
    json_objects,
    parse_copied,
)

#: Names for which the library itself signs tokens.
RESERVED_NAMES = frozenset({"post_prompt"})

#: The longest `once`, in seconds: a day.
MAX_ONCE = 86_400

#: The further members of a definition that the platform knows, and what checks each.
_MEMBERS: dict[str, Callable[[str, Any], Any]] = {
    "fillers": json_object,
    "active": bool_or_variable,
    "meta_data": json_object,
    "meta_data_token": check_str,
    "skip_fillers": bool_or_variable,
    "wait_file": check_line,
    "wait_file_loops": int_or_variable,
    "wait_for_fillers": bool_or_variable,
    "gates": json_objects,
    "gate_fillers": json_object,
}

Handler = Callable[..., Any]


@dataclass(frozen=True)
class Tool:
    """A function that the AI may call, made by :class:`ToolRegistry`."""

    name: str
    #: The definition, as JSON text: every reader gets its own copy.
    definition_json: str = field(repr=False)
    #: Calls the handler with (arguments, raw request); None if it runs elsewhere.
    call: Callable[[dict[str, Any], dict[str, Any]], Any] | None = field(repr=False)
    #: Whether a request needs a token that is bound to its call.
    secure: bool = False
    #: Seconds in which a repeat of the same call does not run; None to run every call.
    once: float | None = None
    #: How often it may run in one call; None for no limit.
    max_runs: int | None = None
    #: The definition's parameters, compiled; None if it runs elsewhere.
    schema: CompiledSchema | None = field(default=None, repr=False, compare=False)
    #: As in :class:`HandlerSignature`: the same for equal calls of the handler.
    simplify: Callable[[dict[str, Any]], dict[str, Any]] = field(
        default=dict, repr=False, compare=False
    )

    @property
    def definition(self) -> dict[str, Any]:
        """A copy of the function's description in the document, without a URL."""
        return parse_copied(self.definition_json)  # type: ignore[no-any-return]

    @property
    def signature(self) -> dict[str, Any]:
        """The definition with ``parameters.required``, which clients expect in signatures."""
        definition = self.definition
        required = {"type": "object", "properties": {}, "required": []}
        return {**definition, "parameters": {**required, **definition.get("parameters", {})}}


class ToolRegistry:
    """Tools by name, in the order of their definition.

    No method changes the dictionary in place, so that a shallow copy is independent, and a document
    can be rendered while another thread defines a tool.

    Args:
        secure_by_default: whether a tool is secure if its definition does not specify it.
    """

    def __init__(self, *, secure_by_default: bool = False) -> None:
        self._secure_by_default = check_bool("secure_by_default", secure_by_default)
        self._tools: dict[str, Tool] = {}
        #: Whether there is a tool whose runs are counted or kept in the store.
        self.keeps_state = False

    @checks_arguments("define_tool()", check_options)
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
        max_runs: int | None = None,
        active: bool | str | None = None,
        meta_data: Mapping[str, Any] | None = None,
        meta_data_token: str | None = None,
        skip_fillers: bool | str | None = None,
        wait_file: str | None = None,
        wait_file_loops: int | str | None = None,
        wait_for_fillers: bool | str | None = None,
        gates: Sequence[Mapping[str, Any]] | None = None,
        gate_fillers: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Define a tool.

        Args:
            name: an identifier of at most 128 ASCII characters.
            description: when and how to use the tool, for the AI.
            parameters: a JSON schema of type object, or just its properties; None takes it from
                the handler's annotations.
            handler: called with (arguments, raw request), or with each argument by name; see
                :func:`inspect_handler`. It returns a FunctionResult, text or a dictionary, and
                may be ``async``.
            secure: whether a request needs a token bound to its call id and to this function.
            fillers: what to say while the tool runs, by language.
            webhook_url: an absolute http or https URL that the platform calls instead of this
                application.
            required: names of required arguments.
            once: seconds in which a repeat (same call, function, arguments and token) does not
                run, but returns the first result. Needs a secure tool.
            max_runs: how often the tool may run in one call, counted in the store under the
                verified call id. Beyond, the AI is told so. Needs a secure tool.
            active: False to define the tool without offering it yet.
            meta_data: data that the platform keeps for the tool.
            meta_data_token: tools with the same token share their `meta_data`.
            skip_fillers: whether to leave out the fillers of the language.
            wait_file: the URL of a sound to play while the tool runs.
            wait_file_loops: how often to play it.
            wait_for_fillers: whether the tool runs only after the fillers.
            gates: yes-or-no questions that the platform decides before it calls the tool.
            gate_fillers: what to say meanwhile, as in `fillers`.
            extra: members of the definition that have no argument here, passed on unchanged.

        Raises:
            TypeError: there is no such option; the message names the nearest one.
            ValueError: the name is taken, reserved or invalid; the schema is invalid; a tool with a
                `webhook_url` has a handler or is secure; or another argument is invalid.
        """
        given = dict(locals())  # the arguments, before there are other variables
        self._check_name(name)
        if secure is not None:
            check_bool(f"tool {name!r}: secure", secure)
        if required is not None:
            required = check_strings(f"tool {name!r}: required", required)
        if webhook_url is not None:
            if handler is not None or secure:
                problem = "it does not run here, so it cannot have a handler or be secure"
                raise ValueError(f"tool {name!r} has a webhook_url: {problem}")
        elif not callable(handler):
            raise ValueError(f"tool {name!r} needs a callable handler, not {handler!r}")
        call = compiled = None
        simplify: Callable[[dict[str, Any]], dict[str, Any]] = dict
        if handler is None:
            schema = object_schema(parameters, required)
        else:
            if parameters is None and required is not None:
                raise ValueError(f"tool {name!r}: required= needs explicit parameters")
            explicit = None if parameters is None else object_schema(parameters, required)
            described = inspect_handler(handler, explicit)
            schema = described.parameters
            description = description or described.description
            call = (
                handler  # is called with just these two arguments
                if described.bind is bind_as_given
                else functools.partial(_call, handler, described.bind)
            )
            compiled = CompiledSchema(schema)
            simplify = described.simplify
        definition: dict[str, Any] = {
            "function": name,
            "description": check_str(f"the description of tool {name!r}", description),
            "parameters": {key: part for key, part in schema.items() if part or key != "required"},
        }
        if webhook_url is not None:
            definition["web_hook_url"] = check_url(f"the webhook_url of tool {name!r}", webhook_url)
        for member, check in _MEMBERS.items():
            value = given[member]
            if value not in (None, {}, []):
                definition[member] = check(f"{member} of tool {name!r}", value)
        definition.update(_further_members(name, extra))
        if secure is None:
            secure = self._secure_by_default and webhook_url is None
        _check_once(name, once, secure)
        if max_runs is not None:
            check_int(f"tool {name!r}: max_runs", max_runs, 1)
            if not secure:
                problem = "max_runs= needs secure=True: only tokens identify calls"
                raise ValueError(f"tool {name!r}: {problem}")
        self._add(definition, call, secure, once, max_runs, compiled, simplify)

    def register(self, function_dict: Mapping[str, Any]) -> None:
        """Add the definition of a function that the platform runs, such as a DataMap, as it is.

        Raises:
            ValueError: it is not a JSON-serializable dictionary, or its name is taken, reserved or
                invalid.
        """
        copied = json_object("a function definition", function_dict)
        self._check_name(copied.get("function"))
        self._add(copied, None)

    def get(self, name: str) -> Tool | None:
        """Return the tool of this name, or None if there is none."""
        return self._tools.get(name)

    def __iter__(self) -> Iterator[Tool]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def _add(self, definition: dict[str, Any], *options: Any) -> None:
        name = definition["function"]
        tool = Tool(name, json.dumps(definition), *options)
        self._tools = {**self._tools, name: tool}
        self.keeps_state |= tool.once is not None or tool.max_runs is not None

    def _check_name(self, name: Any) -> None:
        if not is_function_name(name):
            if name == "":
                raise ValueError("the handler of a tool has no name: give the tool one, name=")
            expected = "a tool's name must match [A-Za-z_][A-Za-z0-9_]{0,127}"
            raise ValueError(f"{expected}: {shorten(name)}")
        if name in RESERVED_NAMES:
            raise ValueError(f"the tool name {name!r} is reserved")
        if name in self._tools:
            raise ValueError(f"there already is a tool {name!r}")


def _further_members(name: str, extra: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a copy of `extra`, unless a member has an argument of its own.

    In `extra`, ``secure`` would go into the document and secure nothing.
    """
    members = json_object(f"extra of tool {name!r}", {} if extra is None else extra)
    own = {"function", "description", "web_hook_url", *ToolOptions.__annotations__}
    for member in members:
        if member in own:
            problem = f"extra must not have {member!r}, which has an argument of its own"
            raise ValueError(f"tool {name!r}: {problem}")
    return members


def _call(handler: Handler, bind: Bind, args: dict[str, Any], raw_data: dict[str, Any]) -> Any:
    positional, named = bind(args, raw_data)
    return handler(*positional, **named)


def _check_once(name: str, once: Any, secure: bool) -> None:
    if once is None:
        return
    if not secure:
        raise ValueError(f"tool {name!r}: once= needs secure=True: only tokens identify calls")
    if isinstance(once, bool) or not isinstance(once, (int, float)) or not 0 < once <= MAX_ONCE:
        raise ValueError(f"tool {name!r}: once must be seconds, more than 0 and up to {MAX_ONCE}")


def tool_name(handler: Handler) -> str:
    """Return the default name of a handler's tool: that of the function, behind decorators."""
    return str(getattr(inspect.unwrap(handler), "__name__", ""))
