"""The diagrams are up to date, legible in both color schemes, and agree with the code."""

from __future__ import annotations

import importlib
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from support.wsgi import Response, request

from swaig_wsgi import AgentApp, SessionManager, Settings, processes
from swaig_wsgi.core import refusals
from swaig_wsgi.core.signatures import sign_body
from swaig_wsgi.core.tokens import TokenError
from swaig_wsgi.middleware._response_fields import ResponseFields

DOCS = Path(__file__).resolve().parent.parent / "docs"
DIAGRAMS = DOCS / "diagrams"
FILES = sorted(path.name for path in DIAGRAMS.glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"


def load(name: str) -> Any:
    """Return a module of the diagrams, which import each other by their bare names."""
    sys.path.insert(0, str(DIAGRAMS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(DIAGRAMS))


canvas, request_path, rotation = load("canvas"), load("request_path"), load("rotation")
state, token_life = load("state"), load("token_life")

# -- the files


def test_each_file_is_what_its_description_draws() -> None:
    drawn = load("draw").DIAGRAMS
    assert sorted(drawn) == FILES
    for name, draw in drawn.items():
        assert draw() == (DIAGRAMS / name).read_text(encoding="utf-8"), "run docs/diagrams/draw.py"


def parsed(name: str) -> ElementTree.Element:
    text = (DIAGRAMS / name).read_text(encoding="utf-8")
    return ElementTree.fromstring(text)  # noqa: S314 - a file of this repository


@pytest.mark.parametrize("name", FILES)
def test_each_file_works_as_an_image(name: str) -> None:
    text = (DIAGRAMS / name).read_text(encoding="utf-8")
    root = parsed(name)
    assert root.get("role") == "img"
    assert {root.find(f"{SVG}{part}").get("id") for part in ("title", "desc")} == set(
        root.get("aria-labelledby").split()
    )
    assert len(root.find(f"{SVG}desc").text) > 100
    # In an image, a browser loads nothing and runs no script.
    assert re.findall(r"https?://[^\s\"]+", text.replace("https://user:password", "")) == [
        "http://www.w3.org/2000/svg"
    ]
    assert re.search(r"<script|url\(|@import|href", text) is None


def texts(name: str) -> Iterator[tuple[str, float, float, float, float]]:
    """Yield each text with its left, top, right and bottom edge, in the widest of usual fonts."""
    for each in parsed(name).iter(f"{SVG}text"):
        size = float(each.get("font-size"))
        width = canvas.text_width(each.text, size, each.get("class"))
        shift = {"start": 0, "middle": 0.5, "end": 1}[each.get("text-anchor")]
        left, baseline = float(each.get("x")) - width * shift, float(each.get("y"))
        yield each.text, left, baseline - 0.8 * size, left + width, baseline + 0.2 * size


@pytest.mark.parametrize("name", FILES)
def test_texts_are_large_enough_and_do_not_overlap(name: str) -> None:
    root = parsed(name)
    assert root.get("width") == "700"
    assert min(float(each.get("font-size")) for each in root.iter(f"{SVG}text")) >= 12
    for one, other in itertools.combinations(texts(name), 2):
        _, left, top, right, bottom = one
        _, left_2, top_2, right_2, bottom_2 = other
        apart = right < left_2 or right_2 < left or bottom <= top_2 or bottom_2 <= top
        assert apart, (one, other)


def luminance(color: str) -> float:
    """Return the relative luminance (WCAG 2.2) of ``#rrggbb``."""
    parts = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_have_the_contrast_of_wcag(scheme: int) -> None:
    colors = {name: luminance(values[scheme]) for name, values in canvas.COLORS.items()}
    pairs = [
        *itertools.product(("ink", "muted", "red", "blue"), ("page", "panel")),
        ("page", "ink"),
        ("page", "blue"),
        *itertools.product(("ink", "muted", "blue"), ("bluefill",)),
        *itertools.product(("ink", "red"), ("redfill",)),
    ]
    for text, background in pairs:
        darker, lighter = sorted((colors[text], colors[background]))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, background)


def test_a_text_that_does_not_fit_is_an_error() -> None:
    drawing = canvas.Canvas("Title", "Description")
    with pytest.raises(ValueError, match="'a long text' needs"):
        drawing.text(24, 60, "a long text", room=20)
    with pytest.raises(ValueError, match="needs"):
        drawing.text(690, 60, "beyond the edge")


# -- the request path

HOST, TOOL = "agent.example.com", "transfer_funds"
SIGNING_KEY = "a-signing-key-of-the-platform"
LIMITED, GUESSING, CLIENT = "192.0.2.1", "192.0.2.2", "192.0.2.3"
LIMIT = 20
ALL = {
    "SWML_TRUSTED_PROXIES": "10.0.0.1",
    "SWML_USE_HSTS": "true",
    "SWML_ENFORCE_HTTPS": "true",
    "SWML_ALLOWED_HOSTS": HOST,
    "SWML_ALLOWED_CLIENTS": "192.0.2.0/24",
    "SWML_CORS_ORIGINS": "https://app.example.com",
    "SWML_CSRF_PROTECTION": "true",
    "SWML_RATE_LIMIT": str(LIMIT),
    "SWML_AUTH_FAILURE_LIMIT": "2",
    "SWML_MAX_REQUEST_SIZE": "1000",
    "SIGNALWIRE_SIGNING_KEY": SIGNING_KEY,
}


def agent_with(variables: dict[str, str], runs: list[float]) -> AgentApp:
    agent = AgentApp(
        "bank",
        basic_auth=("demo", "only-for-a-demo"),
        secret_key="a secret of the tests",
        settings=Settings.from_mapping(variables),
    )

    @agent.tool(secure=True, max_runs=1)
    def transfer_funds(amount: float) -> str:
        """Transfer money.

        Args:
            amount: Amount to transfer
        """
        runs.append(amount)
        return "Transfer completed."

    return agent


def layers_of(agent: AgentApp) -> list[str]:
    """Return the names of the layers of an agent, the outermost first.

    `ResponseFields` decides nothing: it adds the fields of the layers inside in one step.
    """
    names, layer = [], agent._application
    while hasattr(layer, "app"):
        if not isinstance(layer, ResponseFields):
            names.append(type(layer).__name__)
        layer = layer.app
    assert type(layer).__name__ == "Endpoints"
    return names


def test_the_layers_are_those_of_an_agent_in_their_order() -> None:
    assert layers_of(agent_with(ALL, [])) == [layer.name for layer in request_path.LAYERS]


def test_a_layer_that_is_always_there_needs_no_variable() -> None:
    always = [layer.name for layer in request_path.LAYERS if not layer.variable]
    assert layers_of(agent_with({}, [])) == always
    for layer in request_path.LAYERS:
        if layer.variable:
            added = layers_of(agent_with({layer.variable: ALL[layer.variable]}, []))
            assert [name for name in added if name not in always] == [layer.name]


#: What is wrong with a request, in the order of the refusals of the diagram.
FAULTS = (
    "unshared state",
    "method of /health",
    "plain HTTP",
    "malformed host",
    "other host",
    "other client",
    "other origin",
    "client over the limit",
    "client that guesses",
    "wrong password",
    "malformed length",
    "large body",
    "no signature",
    "other path",
    "other method",
    "other type",
    "no object",
    "other tool",
)
#: And in the order of the texts for the AI.
TEXT_FAULTS = ("no token", "other arguments", "second run")


def send(agent: AgentApp, wrong: tuple[str, ...]) -> Response:
    """Call the tool of `agent`, with everything in `wrong` wrong."""
    path, host, address = "/swaig", HOST, CLIENT
    token = agent.sessions.generate_token(TOOL, "call-1")
    body: Any = {"function": TOOL, "call_id": "call-1", "argument": {"parsed": [{"amount": 5}]}}
    content_type = "application/json"
    # The first fault takes effect. Unshared state does not concern /health.
    for fault in reversed(wrong):
        if fault == "method of /health" and "unshared state" not in wrong:
            path = "/health"
        elif fault == "malformed host":
            host = "agent example"
        elif fault == "other host":
            host = "evil.example"
        elif fault == "other client":
            address = "203.0.113.9"
        elif fault == "client over the limit":
            address = LIMITED
        elif fault == "client that guesses":
            address = GUESSING
        elif fault == "other path":
            path = "/other"
        elif fault == "other type":
            content_type = "text/plain"
        elif fault == "no object":
            body = [1]
        elif fault == "other tool":
            body = {**body, "function": "other"}
        elif fault == "no token":
            token = "none"
        elif fault == "other arguments":
            body = {**body, "argument": {"parsed": [{"amount": "five"}]}}
    content = json.dumps(body).encode()
    headers = {"Host": host, "Content-Type": content_type}
    if "other origin" in wrong:
        headers["Origin"] = "https://evil.example"
    if "no signature" not in wrong:
        url = f"https://{HOST}{path}?__token={token}"
        headers["X-SignalWire-Sha256-Signature"] = sign_body(SIGNING_KEY, url, content)
    lengths = {"malformed length": "five", "large body": "5000"}
    length = next((lengths[fault] for fault in wrong if fault in lengths), str(len(content)))
    return request(
        agent,
        "PUT" if "other method" in wrong else "POST",
        path,
        query=f"__token={token}",
        headers=headers,
        body=content,
        auth=("demo", "a guess" if "wrong password" in wrong else "only-for-a-demo"),
        REMOTE_ADDR=address,
        CONTENT_LENGTH=length,
        wsgi_url_scheme="http" if "plain HTTP" in wrong else "https",
        wsgi_multiprocess="unshared state" in wrong,
        validate=False,  # The validator rejects a malformed length itself.
    )


# The clients of an allowlist are never locked out, so both limits need an agent of their own.
@pytest.mark.parametrize(
    ("variable", "fault", "name"),
    [
        ("SWML_ALLOWED_CLIENTS", "other client", "AllowedClientsMiddleware"),
        ("SWML_AUTH_FAILURE_LIMIT", "client that guesses", "AuthFailureLimitMiddleware"),
    ],
)
def test_the_refusals_of_a_request_are_those_of_the_diagram_in_its_order(
    variable: str, fault: str, name: str
) -> None:
    runs: list[float] = []
    agent = agent_with({key: value for key, value in ALL.items() if key != variable}, runs)
    for _ in range(LIMIT):
        assert send(agent, ("client over the limit", "other tool")).status == 404
    for _ in range(2):
        assert send(agent, ("client that guesses", "wrong password")).status == 401
    rows = [row for row in request_path.LAYERS if row.name != name]
    expected = [each for row in (*rows, *request_path.STEPS) for each in row.refusals]
    wrong = tuple(each for each in (*FAULTS, *TEXT_FAULTS) if each not in (fault, "second run"))
    for status, error in expected:
        response = send(agent, wrong)
        assert response.status == status, wrong[0]
        assert error.removesuffix(" ...") in response.json["error"], wrong[0]
        wrong = wrong[1:]
    assert wrong == TEXT_FAULTS[:2]
    with_texts = [step for step in request_path.STEPS if step.for_ai]
    assert len(with_texts) == len(TEXT_FAULTS)
    for _ in TEXT_FAULTS[:2]:
        response = send(agent, wrong)
        assert (response.status, runs) == (200, [])
        wrong = wrong[1:]
    assert send(agent, ()).json == {"response": "Transfer completed."}
    assert send(agent, ()).json != {"response": "Transfer completed."}
    assert runs == [5]


def test_the_texts_of_refusals_are_those_of_the_documentation() -> None:
    table = re.findall(r"^\| ([\d, ]+) \| (.*?) \|", (DOCS / "index.md").read_text(), re.M)
    for row in (*request_path.LAYERS, *request_path.STEPS):
        for status, error in row.refusals:
            listed = [texts for statuses, texts in table if str(status) in statuses]
            assert listed, status
            if status != 400:  # These name the malformed part.
                assert any(error in each for each in listed), error


# -- the life of a token


def test_the_fields_of_a_token_are_those_of_the_diagram() -> None:
    sessions = SessionManager(3600, "a secret of the tests")
    fields = sessions.check_token("call-1", TOOL, sessions.generate_token(TOOL, "call-1"))._fields
    names = [name for name, _ in token_life.FIELDS]
    assert names == ["function" if each == "function_name" else each for each in fields]
    assert len(token_life.FIELDS[-1][1]) == 16


def test_the_checks_of_a_token_are_those_of_the_diagram_in_its_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sessions = SessionManager(3600, "a secret of the tests")
    other = SessionManager(3600, "another secret of the tests")
    reasons = []
    with monkeypatch.context() as patch:
        patch.setattr("swaig_wsgi.sessions.time.time", lambda: 1e9)
        of_other, expired = other.generate_token("x", "y"), sessions.generate_token("x", "y")
    in_time, of_tool = sessions.generate_token("x", "y"), sessions.generate_token(TOOL, "y")
    for token in (".", of_other, expired, in_time, of_tool):
        with pytest.raises(TokenError) as caught:
            sessions.check_token("call-1", TOOL, token)
        reasons.append(caught.value.reason)
    assert reasons == [reason for _, reason in token_life.CHECKS]


# -- rotation and state


def test_machines_in_adjacent_phases_of_the_rotation_accept_each_others_tokens() -> None:
    secrets = {"old": "an old secret of the tests", "new": "a new secret of the tests"}
    machines = [
        SessionManager(
            3600, secrets[phase.secret], fallback_keys=[secrets[name] for name in phase.fallbacks]
        )
        for phase in rotation.PHASES
    ]
    tokens = [machine.generate_token(TOOL, "call-1") for machine in machines]
    accepted = [
        [machine.validate_token("call-1", TOOL, token) for token in tokens] for machine in machines
    ]
    assert accepted == [
        [True, True, False, False],  # before: a machine signs with the new one only after step 1
        [True, True, True, True],
        [True, True, True, True],
        [False, False, True, True],  # after step 4: old tokens have expired in step 3
    ]


def test_the_diagram_of_state_names_the_variables_of_what_is_shared() -> None:
    assert state.VARIABLES == (processes.SECRET, processes.PASSWORD, processes.STORAGE)
    assert set(state.VARIABLES) == set(processes.EXPLANATIONS)


# -- where they are shown


def test_each_diagram_is_shown_by_a_page_with_a_text_for_those_who_cannot_see_it() -> None:
    shown = {}
    for page in DOCS.glob("*.md"):
        for alt, name in re.findall(r"!\[([^\]]*)\]\(diagrams/([\w-]+\.svg)\)", page.read_text()):
            assert len(alt) > 20, (page.name, alt)
            shown[name] = page.name
    assert sorted(shown) == FILES


def test_every_status_of_the_diagram_is_one_of_a_refusal() -> None:
    source = Path(refusals.__file__).read_text()
    for row in (*request_path.LAYERS, *request_path.STEPS):
        for status, _ in row.refusals:
            assert f"({status}, " in source
