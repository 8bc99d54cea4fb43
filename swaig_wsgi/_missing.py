"""Names and arguments of the SDKs that this package does not have, and where to go instead.

The pages of the documentation for their users have the same texts; a test compares them.

Standard library only.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])

_SKILLS = "there are no skills: define their functions as tools"
_SIP = "use AgentServer.setup_sip_routing() and AgentServer.register_sip_username()"
_MCP = "there is no MCP: define tools"
_WSGI = "the agent itself is the WSGI application: serve it with gunicorn, or mount it"
_SHUTDOWN = "gunicorn shuts down gracefully"
_VERB = "use add_pre_answer_verb(), add_answer_verb(), add_post_answer_verb() or add_post_ai_verb()"
_RENDER = "use render_swml(): every document is rendered anew"
_SERVERLESS = "there is no serverless mode: serve the agent as a WSGI application"
_PREFAB = (
    "there are no prefabricated agents: subclass AgentApp, with PROMPT_SECTIONS and @AgentApp.tool"
)
_DATA_MAP = (
    "there is no DataMap builder: pass the finished definition, with its data_map, to "
    "AgentApp.register_swaig_function()"
)

_AGENT = {
    **dict.fromkeys(("add_skill", "remove_skill", "list_skills", "has_skill"), _SKILLS),
    "skill_manager": _SKILLS,
    "log": "use logging.getLogger(__name__)",
    **dict.fromkeys(
        ("enable_sip_routing", "register_sip_username", "auto_map_sip_usernames"), _SIP
    ),
    **dict.fromkeys(("add_mcp_server", "enable_mcp_server"), _MCP),
    "extract_sip_username": "read the call in the body that register_routing_callback() passes",
    **dict.fromkeys(("get_app", "as_router", "mount"), _WSGI),
    "handle_request": "use swaig_wsgi.testing.AgentClient, or call the agent as a WSGI application",
    "handle_serverless_request": _SERVERLESS,
    "serve": "use run() in development, and gunicorn in production",
    **dict.fromkeys(("setup_graceful_shutdown", "stop"), _SHUTDOWN),
    **dict.fromkeys(("add_verb", "add_verb_to_section", "register_verb_handler"), _VERB),
    "add_section": "the document has the section main alone: use FunctionResult.execute_swml()",
    **dict.fromkeys(("get_document", "render_document", "reset_document"), _RENDER),
    "full_validation_enabled": "there is no setting: methods validate their arguments",
    "manual_set_proxy_url": "set SWML_PROXY_URL_BASE, or Settings(proxy_url_base=...)",
    "get_name": "use the attribute name",
    "get_full_url": "set SWML_PROXY_URL_BASE, and add the attribute route",
    "validate_tool_token": "use sessions.validate_token(call_id, function_name, token)",  # nosec B105 # what to write instead
    "define_tools": "use define_tool(), or @AgentApp.tool on methods; list them with tools",
    "add_per_call_config": "use set_dynamic_config_callback(), or override on_swml_request()",
    "enable_debug_routes": "there are no debug routes: use swaig_wsgi.testing.AgentClient",
    "on_call_start": "define a tool named startup_hook",
    "on_call_end": "override on_summary(), or define a tool named hangup_hook",
    "set_multilingual": "return it from on_swml_request(): {'multilingual': {...}}",
    "set_semantic_gates": "give each tool its gates=",
    "set_function_includes": "use add_function_include()",
    "set_pronunciations": "use add_pronunciation()",
    **dict.fromkeys(
        ("set_language_params", "get_language_params"), "use add_language() with its params="
    ),
    "add_internal_filler": "use set_internal_fillers()",
    "SUPPORTED_INTERNAL_FILLER_NAMES": "set_internal_fillers() accepts any function",
    "contexts": "use define_contexts(), which returns the builder",
    "get_prompt": "use prompt.render()",
    "get_post_prompt": "use prompt.render_post_prompt()",
    "pom": "use prompt_add_section() or set_prompt_pom(), and read prompt.render()",
}

#: The parameters of the constructor.
CONSTRUCTOR = {
    "swaig_secret": "secret_key=, or SIGNALWIRE_SWAIG_SECRET; at least 16 bytes",  # nosec B105 # what to write instead
    "use_pom": "sections or one text, whichever is set",
    "native_functions": "call set_native_functions()",
    "default_webhook_url": "call set_web_hook_url()",
    "config_file": "environment variables, or settings=",
    "trust_proxy_for_signature": "SWML_TRUSTED_PROXIES or SWML_PROXY_URL_BASE",
    "suppress_logs": "SIGNALWIRE_LOG_LEVEL",
    "agent_id": "the agent's name identifies it",
    **dict.fromkeys(("schema_path", "schema_validation"), "methods validate their arguments"),
    **dict.fromkeys(
        ("enable_post_prompt_override", "check_for_input_override"),
        "override on_summary(); there is no /check_for_input",
    ),
}

#: The parameters of the constructor of a server.
SERVER_CONSTRUCTOR = {
    **dict.fromkeys(("host", "port"), "gunicorn --bind HOST:PORT module:server"),
    "log_level": "SIGNALWIRE_LOG_LEVEL",
}

#: The options of tools.
OPTIONS = {
    "is_typed_handler": "recognized from the handler's parameters",
    "swaig_fields": "active, meta_data, meta_data_token, skip_fillers, wait_file, "
    "wait_file_loops, wait_for_fillers by name, any other member in extra",
}

_SERVER = {
    "run": "the server itself is the WSGI application: gunicorn module:server",
    "app": "the server itself is the WSGI application",
    "agents": "use get_agents()",
}

_MODULE = {
    "AgentBase": "use AgentApp",
    "SwaigFunctionResult": "use FunctionResult",
    "SWAIGResponse": "use FunctionResult",
    "SWAIG": "use AgentApp, and its decorator tool",
    **dict.fromkeys(
        ("SWAIGArgument", "SWAIGArgumentItems"),
        "annotate the handler's parameters, or give the tool a JSON schema as parameters=",
    ),
    "SWAIGFunctionProperties": "give tool its members as options",
    "SWMLService": "use AgentApp",
    "SWMLBuilder": "use AgentApp",
    "SWAIGFunction": "use AgentApp.define_tool()",
    "SemanticGate": "give a tool its gates= as dictionaries",
    **dict.fromkeys(("DataMap", "create_simple_api_tool", "create_expression_tool"), _DATA_MAP),
    **dict.fromkeys(
        (
            "SkillBase",
            "SkillRegistry",
            "skills",
            "register_skill",
            "list_skills",
            "list_skills_with_params",
            "add_skill_directory",
        ),
        _SKILLS,
    ),
    **dict.fromkeys(
        (
            "Context",
            "ContextBuilder",
            "Step",
            "GatherInfo",
            "GatherQuestion",
            "create_simple_context",
        ),
        "use AgentApp.define_contexts(), which returns the builder",
    ),
    "SchemaValidationError": "methods raise ValueError",
    "WebService": "use AgentServer.serve_static_files()",
    **dict.fromkeys(
        (
            "prefabs",
            "BedrockAgent",
            "ConciergeAgent",
            "FAQBotAgent",
            "InfoGathererAgent",
            "ReceptionistAgent",
            "SurveyAgent",
        ),
        _PREFAB,
    ),
    **dict.fromkeys(
        ("AIChatClient", "RestClient", "RelayClient"),
        "there is no client for the platform: use signalwire-sdk",
    ),
}


def _error(owner: str, name: str, names: dict[str, str], target: object) -> AttributeError:
    problem = f"{owner} has no attribute {name!r}"
    if name in names:
        problem = f"{problem}: {names[name]}"
    # With the object, Python suggests similar names.
    return AttributeError(problem, name=name, obj=target)


def missing_in_agent(agent: Any, name: str) -> AttributeError:
    """Return the error for an attribute that an agent does not have."""
    return _error(f"{type(agent).__name__!r} object", name, _AGENT, agent)


def missing_in_server(server: Any, name: str) -> AttributeError:
    """Return the error for an attribute that a server of agents does not have."""
    return _error(f"{type(server).__name__!r} object", name, _SERVER, server)


def missing_in_package(package: Any, name: str) -> Exception:
    """Return the error for a name that the package does not have."""
    # ``from swaig_wsgi import AgentBase`` would replace an AttributeError by an ImportError without
    # the remedy. It looks for the name here: importlib's hasattr(), which passes on ImportErrors.
    importing = sys._getframe(2).f_globals.get("__name__") == "importlib._bootstrap"
    if importing and name in _MODULE:
        problem = f"cannot import name {name!r} from {package.__name__!r}: {_MODULE[name]}"
        return ImportError(problem, name=package.__name__)
    return _error(f"module {package.__name__!r}", name, _MODULE, package)


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the name in `known` that is most similar to `name`, or None.

    The time is quadratic in the length: cut a name that a client chooses.
    """
    from difflib import get_close_matches  # takes 1 ms to import, and only errors need it

    return next(iter(get_close_matches(name, known, 1, cutoff)), None)


def check_names(
    what: str,
    given: Iterable[str],
    known: Collection[str],
    remedies: Mapping[str, str],
    hint: str = "",
) -> None:
    """Check the names of keyword arguments.

    Args:
        what: the beginning of the message, such as ``a tool has no option``.
        given: the names to check.
        known: the names that exist, of which the nearest is named.
        remedies: what to use instead, by the names of arguments of the SDKs.
        hint: the end of the message.

    Raises:
        TypeError: a name is unknown.
    """
    for name in given:
        if name in known:
            continue
        if name in remedies:
            raise TypeError(f"{what} {name!r}: {remedies[name]}")
        near = nearest(name, known, cutoff=0)
        raise TypeError(f"{what} {name!r}; did you mean {near!r}? {hint}".rstrip())


def checks_arguments(
    subject: str, check: Callable[[Iterable[str], Collection[str]], None]
) -> Callable[[Method], Method]:
    """Return a decorator for a method that checks its arguments first.

    Python itself would raise a TypeError, too, but name no remedy.

    Args:
        subject: what the user calls, such as ``AgentApp()``.
        check: called with the names of the keyword arguments, and those of the parameters.
    """

    def decorate(method: Method) -> Method:
        _, *parameters = inspect.signature(method).parameters.values()
        names = [each.name for each in parameters]
        positional = [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY]

        @functools.wraps(method)
        def checked(*args: Any, **kwargs: Any) -> Any:
            check(kwargs, names)
            if len(args) > 1 + len(positional):
                but = f" but {', '.join(positional)}" if positional else ""
                raise TypeError(f"{subject} takes all arguments{but} by keyword")
            return method(*args, **kwargs)

        return cast(Method, checked)

    return decorate
