"""Documents of the same agents in both libraries.

The platform accepts lists, dictionaries of any values, ``Any``, and numbers with bounds as
parameters, but the package's schema of documents does not, so no agent here has them.
"""

import json
import re
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal, Optional

import jsonschema_rs
import pytest
import signalwire
from signalwire import AgentBase

from swaig_wsgi import AgentApp

SCHEMA = json.loads(Path(signalwire.__file__).with_name("schema.json").read_text(encoding="utf-8"))
DOCUMENTS = jsonschema_rs.validator_for(SCHEMA)
# The schema of actions refers to the document's schema by name.
VERBS = jsonschema_rs.validator_for(
    {"$ref": "SWMLObject.json#/$defs/SWMLMethod"},
    registry=jsonschema_rs.Registry([("json-schema:///SWMLObject.json", SCHEMA)]),
    base_uri="json-schema:///",
)

USER, PASSWORD = "demo", "secret-of-16-chars"
CALL_ID = "c0ffee00-1111-2222-3333-444455556666"


def handler(args, raw_data):
    return "Done."


AMOUNT = {
    "type": "object",
    "properties": {
        "amount": {"type": "number", "description": "How much"},
        "to": {"type": "string", "description": "Whom", "enum": ["ann", "bob"]},
        "now": {"type": "boolean", "description": "At once"},
    },
    "required": ["amount"],
}


def text(agent):
    agent.set_prompt_text("You are Ann.")


def sections(agent):
    agent.prompt_add_section("Role", "You are Ann.")
    agent.prompt_add_section("Rules", bullets=["Be short.", "Be kind."], numbered=True)
    agent.prompt_add_section(
        "Products",
        "We sell:",
        subsections=[{"title": "Tea", "body": "Green."}, {"title": "Cups", "body": "Blue."}],
    )
    agent.prompt_add_to_section("Rules", "These hold.", bullet="Never lie.")
    agent.prompt_add_to_section("Rules", "And these.", bullets=["Ask twice.", "Wait."])
    agent.prompt_add_to_section("Later", bullet="Made on the way.")
    agent.prompt_add_subsection("Products", "Pots", "Of clay.", bullets=["small", "big"])
    assert agent.prompt_has_section("Rules")
    assert not agent.prompt_has_section("Nowhere")


def bare_sections(agent):
    """Sections with only a title, which the schema does not allow."""
    agent.prompt_add_section("Role")
    agent.prompt_add_section("Products", subsections=[{"title": "Cups"}])
    agent.prompt_add_subsection("Elsewhere", "Far", "Away.")


def models(agent):
    agent.set_prompt_llm_params(temperature=0.3, top_p=0.9).set_prompt_llm_params(top_p=1.0)
    agent.set_post_prompt("Summarise the call as JSON.")
    agent.set_post_prompt_llm_params(temperature=0.0)


def open_tools(agent):
    agent.define_tool("look", "Look it up", {}, handler, secure=False)
    agent.define_tool(
        name="price",
        description="Tell the price",
        parameters={"item": {"type": "string", "description": "Which"}},
        handler=handler,
        secure=False,
        required=["item"],
        fillers={"en-US": ["One moment.", "Let me see."]},
    )


def secure_tools(agent):
    for number in range(3):
        agent.define_tool(f"pay_{number}", "Pay", AMOUNT, handler, secure=True)
    agent.define_tool("look", "Look it up", {}, handler, secure=False)


def waiting_tools(agent):
    agent.define_tool(
        "look",
        "Look it up",
        {"q": {"type": "string", "description": "What"}},
        handler,
        secure=True,
        wait_file="https://a.example/wait.mp3",
        wait_file_loops=3,
        meta_data_token="shared",
        meta_data={"a": 1},
    )


def tools_elsewhere(agent):
    agent.define_tool(
        "elsewhere", "Runs elsewhere", {}, None, secure=False, webhook_url="https://a.example/swaig"
    )
    agent.register_swaig_function(
        {
            "function": "weather",
            "description": "Tell the weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "Where"}},
            },
            "data_map": {
                "webhooks": [
                    {
                        "url": "https://api.example/${args.city}",
                        "method": "GET",
                        "output": {"response": "It is ${temperature}."},
                    }
                ]
            },
        }
    )
    agent.set_native_functions(["check_time", "wait_seconds"])
    agent.add_function_include("https://b.example/swaig", ["one", "two"], {"key": "value"})
    agent.add_function_include("https://c.example/swaig", ["three"])
    agent.set_internal_fillers({"check_time": {"en-US": ["Let me look at the clock."]}})
    agent.set_internal_fillers({"hangup": {"en-US": ["Bye."]}})


def speech(agent):
    agent.add_hint("SignalWire").add_hints(["SWML", "SWAIG"])
    agent.add_pattern_hint("swaig", "sw[ae]g", "SWAIG", ignore_case=True)
    agent.add_pattern_hint("swml", "swimmel", "SWML")
    agent.add_language("English", "en-US", "en-US-Neural2-F")
    agent.add_language("Spanish", "es", "elevenlabs.josh:eleven_v2.5", ["eh"], ["un momento"])
    agent.add_language("German", "de-DE", "a:b", function_fillers=["Moment."])
    agent.add_language("French", "fr", "spore", engine="rime", model="mist")
    agent.add_pronunciation("SWML", "swimmel")
    agent.add_pronunciation("API", with_text="A P I", ignore_case=True)


def parameters(agent):
    agent.set_param("end_of_speech_timeout", 500)
    agent.set_params({"attention_timeout": 15000, "ai_volume": 3, "wait_for_user": True})
    agent.set_param("ai_volume", 4)
    agent.set_global_data({"bank": {"name": "Small"}, "tier": 1})
    agent.update_global_data({"tier": 2})
    agent.set_global_data({"open": True})


def debugging(agent):
    agent.set_param("ai_volume", 3).enable_debug_events(2)


def phases(agent):
    agent.add_pre_answer_verb("play", {"urls": ["ring:us"], "auto_answer": False})
    agent.add_pre_answer_verb("sleep", {"duration": 500})
    agent.add_answer_verb({"max_duration": 3600})
    agent.add_post_answer_verb("play", {"url": "say:Welcome."})
    agent.add_post_ai_verb("request", {"url": "https://a.example/done", "method": "POST"})
    agent.add_post_ai_verb("hangup", {})


def cleared(agent):
    agent.clear_pre_answer_verbs().clear_post_answer_verbs().clear_post_ai_verbs()
    agent.add_post_ai_verb("hangup", {})


def contexts(agent):
    agent.prompt_add_section("Role", "You are Ann.")
    agent.define_tool("pay", "Pay", AMOUNT, handler, secure=True)
    built = agent.define_contexts()
    default = built.add_context("default")
    default.add_step("greet").set_text("Greet.").set_valid_steps(["pay"]).set_functions([])
    default.add_step("pay").set_text("Take the money.").set_functions(["pay"])
    other = built.add_context("other")
    other.add_step("end").add_section("Task", "Say goodbye.").set_step_criteria("All is said.")


#: Agents by name: the steps that build them, and arguments of their constructor.
AGENTS = {
    "minimal": ([text], {}),
    "sections": ([sections], {}),
    "models": ([text, models], {}),
    "open tools": ([text, open_tools], {}),
    "secure tools": ([text, secure_tools], {}),
    "waiting tools": ([text, waiting_tools], {}),
    "tools elsewhere": ([text, tools_elsewhere], {}),
    "speech": ([text, speech], {}),
    "parameters": ([text, parameters], {}),
    "debugging": ([text, debugging], {}),
    "phases": ([text, phases], {}),
    "cleared phases": ([text, phases, cleared], {}),
    "contexts": ([contexts], {}),
    "not answering": ([text], {"auto_answer": False}),
    "recording": ([text], {"record_call": True}),
    "recording otherwise": (
        [text],
        {"record_call": True, "record_format": "wav", "record_stereo": False},
    ),
    "below a route": ([text, models, secure_tools], {"route": "/ann"}),
    "everything": (
        [
            phases,
            speech,
            parameters,
            tools_elsewhere,
            debugging,
            models,
            secure_tools,
            sections,
            contexts,
        ],
        {"record_call": True},
    ),
}


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


def typed_tools(agent):
    @agent.tool()
    def order(
        item: str,
        count: int,
        price: float,
        color: Colour,
        size: Annotated[Literal["s", "m"], "How big"],
        gift: bool = False,
        note: Optional[str] = None,
    ) -> str:
        """Order something.

        Args:
            item: what
            count: how many
            price: for one
            color: of it
            gift: whether to wrap it
            note: to go with it
        """
        return "Ordered."


def make(library, steps, options):
    agent = library("ann", basic_auth=(USER, PASSWORD), port=3000, **options)
    for step in steps:
        step(agent)
    return agent


def our_document(steps, options):
    # As JSON.
    return json.loads(json.dumps(make(AgentApp, steps, options).render_swml(CALL_ID)))


def their_document(steps, options):
    return json.loads(make(AgentBase, steps, options)._render_swml(CALL_ID))


def ai_of(document):
    return next(verb["ai"] for verb in document["sections"]["main"] if "ai" in verb)


def comparable(value):
    """Return `value` with an agent's own URLs reduced to path and presence of a token."""
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [comparable(each) for each in value]
    own = isinstance(value, str) and re.match(rf"http://{USER}:[^@]+@[^/?]+([^?]*)(.*)", value)
    if own:
        return {"own": own[1].rstrip("/"), "token": own[2].startswith("?__token=")}
    return value


@pytest.mark.parametrize("name", AGENTS)
def test_documents_are_valid(name):
    document = our_document(*AGENTS[name])
    DOCUMENTS.validate(document)
    for verb in document["sections"]["main"]:
        VERBS.validate(verb)


def test_documents_with_tools_from_annotations_are_valid():
    document = our_document([text, typed_tools], {})
    DOCUMENTS.validate(document)
    (function,) = ai_of(document)["SWAIG"]["functions"]
    assert len(function["parameters"]["properties"]) == 7


@pytest.mark.parametrize("spoil", ["verb", "ai", "function"])
def test_the_schema_rejects_invalid_documents(spoil):
    document = our_document(*AGENTS["secure tools"])
    if spoil == "verb":
        document["sections"]["main"].append({"dance": {}})
    elif spoil == "ai":
        del ai_of(document)["prompt"]
    else:
        ai_of(document)["SWAIG"]["functions"][0]["parameters"] = "none"
    with pytest.raises(jsonschema_rs.ValidationError):
        DOCUMENTS.validate(document)


@pytest.mark.parametrize(
    ("steps", "options"), [*AGENTS.values(), ([bare_sections], {})], ids=[*AGENTS, "bare sections"]
)
def test_the_same_agent_has_the_same_document(steps, options):
    document = our_document(steps, options)
    other = their_document(steps, options)
    assert comparable(ai_of(document)) == comparable(ai_of(other))
    assert comparable(document) == comparable(other)


def test_nothing_is_lost_by_comparing():
    own = f"http://{USER}:{PASSWORD}@localhost:3000/swaig"
    assert comparable([own, f"{own}/?__token=x", "https://a.example"]) == [
        {"own": "/swaig", "token": False},
        {"own": "/swaig", "token": True},
        "https://a.example",
    ]


def test_their_tools_are_secure_where_ours_are_with_secure_by_default():
    def tools(agent):
        agent.define_tool("pay", "Pay", AMOUNT, handler)

    document = our_document([text, tools], {"secure_by_default": True})
    other = their_document([text, tools], {})
    assert comparable(document) == comparable(other)
    assert "__token=" in ai_of(document)["SWAIG"]["functions"][0]["web_hook_url"]
    (function,) = ai_of(our_document([text, tools], {}))["SWAIG"]["functions"]
    assert "web_hook_url" not in function
