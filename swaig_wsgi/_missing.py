"""Names of the SDKs that this package does not have, and where to go instead.

Standard library only.
"""

from __future__ import annotations

from typing import Any

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
    "validate_tool_token": "use sessions.validate_token(call_id, function_name, token)",
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


def missing_in_package(package: Any, name: str) -> AttributeError:
    """Return the error for a name that the package does not have."""
    return _error(f"module {package.__name__!r}", name, _MODULE, package)
