"""What the platform and the model really send, over a socket, to two workers of gunicorn."""

from __future__ import annotations

import base64
import hmac
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from support.waiting import wait_until

APP = '''
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from swaig_wsgi import AgentApp


class Desk(AgentApp):
    def on_summary(self, summary, raw_data):
        if raw_data.get("action") == "fetch_conversation":
            return {"conversation_summary": f"About {raw_data['conversation_id']}."}
        if summary == "raise":
            raise RuntimeError("broken 77")
        print("HANDLED", repr(summary), flush=True)
        return summary if isinstance(summary, dict) else None

    def on_debug_event(self, event):
        raise RuntimeError("broken 78")


app = Desk("desk").set_post_prompt("Summarize the call.").enable_debug_events()


AMOUNT = {"amount": {"type": "number", "description": "How much"}}


def pay(args, raw_data):
    print("PAID", repr(args), flush=True)
    return f"Paid {args['amount']}."


app.define_tool("pay", "Pay", AMOUNT, pay, secure=True)
app.define_tool("ask", "Ask", AMOUNT, pay)


@app.tool
def look(args, raw_data):
    """Look."""
    return raw_data.get("caller_id_name", "nobody")


@app.tool(secure=True)
def deposit(
    amount: Annotated[Decimal, {"minimum": 5, "maximum": 100, "multipleOf": 0.01}],
    orders: Annotated[list[UUID], {"uniqueItems": True}],
):
    """Take a deposit for orders."""
    print("TAKEN", amount, len(orders), flush=True)
    return f"Took {amount}."
'''


@pytest.fixture
def desk(gunicorn: Any, tmp_path: Path) -> Any:
    """Return a function that starts the agent with two workers that share a store."""

    def start(**env: str) -> Any:
        (tmp_path / "desk.py").write_text(APP)
        env.setdefault("SIGNALWIRE_SWAIG_SECRET", "a secret of some length")
        env.setdefault("SWML_STORAGE_URL", f"sqlite:///{tmp_path}/state.db")
        return gunicorn("desk:app", "--workers=2", cwd=str(tmp_path), **env)

    return start


def urls_of(server: Any, call_id: Any = "call-1") -> dict[str, str]:
    """Return targets, with their tokens, by the name of the tool; ``""`` is the summary's."""
    document = server.request("POST", "/", {"call_id": call_id}).json
    ai = next(verb["ai"] for verb in document["sections"]["main"] if "ai" in verb)
    urls = {each["function"]: each.get("web_hook_url") for each in ai["SWAIG"]["functions"]}
    urls[""] = ai["post_prompt_url"]
    default = ai["SWAIG"].get("defaults", {}).get("web_hook_url", "http://x/swaig")
    parts = {name: urlsplit(url or default) for name, url in urls.items()}
    return {name: f"{part.path}?{part.query}".rstrip("?") for name, part in parts.items()}


def test_what_on_summary_returns_is_the_response(desk: Any) -> None:
    server = desk()
    url = urls_of(server)[""]
    fetch = {"action": "fetch_conversation", "conversation_id": "customer-7"}
    for more in ({}, {"call_id": "call-1"}):
        response = server.request("POST", url, {**fetch, **more})
        assert (response.status, response.json) == (
            200,
            {"conversation_summary": "About customer-7."},
        )
    assert server.request("POST", url, {**fetch, "call_id": "call-2"}).status == 403
    assert server.request("POST", "/post_prompt", fetch).status == 403


def test_each_shape_of_a_summary_reaches_the_handler(desk: Any) -> None:
    server = desk()
    url = urls_of(server)[""]
    for members in (
        {"post_prompt_data": {"parsed": [{"a": 1}]}},
        {"post_prompt_data": {"parsed": {"a": 1}}},
        {"post_prompt_data": {"raw": '{"a": 1}'}},
        {"post_prompt_data": {"raw": '```json\n{"a": 1}\n```'}},
        {"post_prompt_data": {"substituted": {"a": 1}}},
        {"post_prompt_data": {"a": 1}},
        {"summary": {"a": 1}},
    ):
        response = server.request("POST", url, {"call_id": "call-1", **members})
        assert (response.status, response.json) == (200, {"a": 1})
    text = {"call_id": "call-1", "post_prompt_data": {"raw": "He paid."}}
    assert server.request("POST", url, text).json == {"status": "ok"}
    server.wait_for_log("HANDLED 'He paid.'")


def test_half_an_emoji_costs_no_summary(desk: Any) -> None:
    server = desk()
    url = urls_of(server)[""]
    json_type = {"Content-Type": "application/json"}
    for member in (
        b'"post_prompt_data": {"parsed": [], "raw": "He paid \\ud83d"}',
        b'"post_prompt_data": {"substituted": "He paid \xff"}',
        b'"summary": "He paid \\ud83d"',
    ):
        body = b'{"call_id": "call-1", ' + member + b"}"
        response = server.request("POST", url, body, json_type)
        assert (response.status, response.json) == (200, {"status": "ok"})
    wait_until(lambda: server.log.count("HANDLED 'He paid \ufffd'") == 3)
    body = b'{"call_id": "call-1", "post_prompt_data": {"parsed": [{"a": "\\udc00", "a": 2}]}}'
    assert server.request("POST", url, body, json_type).json == {"a": 2}
    # What decides stays strict.
    body = b'{"call_id": "call-1\\ud83d", "summary": "He paid."}'
    assert server.request("POST", url, body, json_type).status == 400


def test_a_report_whose_handler_raises_is_a_200_and_one_that_ran_is_not_repeated(
    desk: Any,
) -> None:
    server = desk()
    url = urls_of(server)[""]
    failing = {"call_id": "call-1", "summary": "raise"}
    for _ in range(2):
        assert server.request("POST", url, failing).status == 200
    server.wait_for_log("RuntimeError: broken 77")
    assert server.log.count("RuntimeError: broken 77") == 2
    assert server.request("POST", "/debug_events", {"event": "x"}).status == 200
    server.wait_for_log("RuntimeError: broken 78")
    # Connections are distributed over both workers.
    for _ in range(12):
        response = server.request("POST", url, {"call_id": "call-1", "summary": {"n": 1}})
        assert (response.status, response.json) == (200, {"n": 1})
    assert server.log.count("HANDLED {'n': 1}") == 1
    other = urls_of(server)[""]
    assert server.request("POST", other, {"call_id": "call-1", "summary": {"n": 1}}).status == 200
    assert server.log.count("HANDLED {'n': 1}") == 2


LENIENT = (
    b'"caller_id_name": "J\xf6rg \\ud83d"',
    b'"sip_headers": {"Via": "a", "Via": "\xff"}',
    b'"call_log": [{"content": "\\udc00", "content": "\xe4"}]',
)


def test_half_an_emoji_a_latin_1_name_and_equal_keys_cost_no_call(desk: Any) -> None:
    server = desk()
    json_type = {"Content-Type": "application/json; charset=UTF-8; x=y"}
    extra = b", ".join(LENIENT)
    document = server.request("POST", "/", b'{"call_id": "call-1", ' + extra + b"}", json_type)
    assert document.status == 200
    url = urls_of(server)["pay"]
    body = b'{"function": "%s", "call_id": "call-1", "argument": {"parsed": [{"amount": 5}]}, '
    response = server.request("POST", url, body % b"pay" + extra + b"}", json_type)
    assert (response.status, response.json) == (200, {"response": "Paid 5."})
    response = server.request("POST", "/swaig", body % b"look" + extra + b"}", json_type)
    assert response.json == {"response": "J\ufffdrg \ufffd"}
    for _ in range(12):
        server.request("POST", "/swaig", body % b"look" + extra + b"}", json_type)
    server.wait_for_log("in caller_id_name: |in call_log, caller_id_name, sip_headers: ")
    assert 1 <= server.log.count("(logged once)") <= 2  # by each worker


def test_attack_no_leniency_where_it_decides(desk: Any) -> None:
    server = desk()
    url = urls_of(server)["pay"]
    argument = b'"argument": {"parsed": [{"amount": 5}]}'
    call_id, function = b'"call_id": "call-1"', b'"function": "pay"'
    for members in (
        (b'"call_id": "call-2"', call_id, function, argument),
        (call_id, b'"function": "look"', function, argument),
        (call_id, function, argument, b'"argument": {"parsed": [{"amount": 6}]}'),
        (call_id, function, b'"argument": {"parsed": [{"amount": 5, "amount": 6}]}'),
        (call_id, function, argument, b'"conversation_id": "\xff"'),
        (b'"call_id": "call-1\xff"', function, argument),
        (b'"call_id": "call-1\\ud800"', function, argument),
        (call_id, b'"function": "pay\xff"', argument),
        (call_id, function, b'"argument": {"parsed": [{"amount": 5, "to": "\xff"}]}'),
        (call_id, function, b'"argument": {"call_log": "\xff", "parsed": [{"amount": 5}]}'),
        (call_id, function, argument, b'"global_data": {"sip_headers": {"a": 1, "a": 2}}'),
        (call_id, function, argument, b'"caller_id_num": "\xff"'),
        (call_id, function, argument, b'"sip_headers": 1, "sip_headers": 2'),
    ):
        body = b"{" + b", ".join((*members, LENIENT[2])) + b"}"
        response = server.request("POST", url, body, {"Content-Type": "application/json"})
        assert response.status == 400, members
    # The octet before the quotation mark would hide the real call id from a careless parser.
    hiding = b'{"call_log": "\xc3", "call_id": "call-2", "x": ", \\"call_id\\": \\"call-1\\"", '
    body = hiding + function + b", " + argument + b"}"
    response = server.request("POST", url, body, {"Content-Type": "application/json"})
    assert "Nothing was done" in response.json["response"]
    assert "PAID" not in server.log


@pytest.mark.parametrize("secure", [True, False])
def test_badly_written_arguments_are_a_sentence_and_run_nothing(desk: Any, secure: bool) -> None:
    server = desk()
    name = "pay" if secure else "ask"
    url = urls_of(server)[name]
    call = {"function": name, "call_id": "call-1"}
    for argument in (
        {"raw": "Pay 5 euro."},
        {"raw": "{'amount': 5}"},
        {"raw": '```json\n{"amount": 5}\n```'},
        {"raw": '{"amount": 5'},
        {"parsed": [{}], "raw": '{"amount": 5'},
        {"parsed": [5]},
        {"arguments": [5]},
    ):
        response = server.request("POST", url, {**call, "argument": argument})
        assert response.status == 200
        assert list(response.json) == ["response"]
        assert "Write one JSON object" in response.json["response"]
        assert '"amount" (a number)' in response.json["response"]
        assert "euro" not in response.json["response"]
    assert "PAID" not in server.log
    if secure:
        # Only with a token is anything said about arguments.
        bad = {**call, "argument": {"raw": "Pay 5 euro."}}
        refused = server.request("POST", "/swaig", bad)
        assert "Write" not in refused.json["response"]
    for flat in (
        {"argument": {"arguments": {"amount": 5}}},
        {"argument": {"parsed": {"amount": 5}}},
        {"argument": {"amount": 5}},
        {"arguments": {"amount": 5}},
        {"parsed": {"amount": 5}},
    ):
        assert server.request("POST", url, {**call, **flat}).json == {"response": "Paid 5."}
    assert server.log.count("PAID {'amount': 5}") == 5


def test_attack_bounds_hold_for_amounts_as_text_and_for_capital_letters(desk: Any) -> None:
    server = desk()
    order = "01234567-89ab-4cde-8f01-23456789abcd"
    call = {"function": "deposit", "call_id": "call-1"}
    url = urls_of(server)["deposit"]

    def response_to(amount: Any, orders: list[str]) -> Any:
        arguments = {"amount": amount, "orders": orders}
        body = {**call, "argument": {"parsed": [arguments]}}
        return server.request("POST", url, body).json["response"]

    sentences = {
        "must be at least 5": (2, "2", "-5", "-5.00", "4.999999999999999999999999999999"),
        "must be at most 100": (100000, "100000", "100.01", "9" * 30),
        "must be a multiple of 0.01": (5.001, "5.001", "5." + "0" * 29 + "1"),
    }
    for sentence, amounts in sentences.items():
        for amount in amounts:
            assert response_to(amount, [order]) == f"The argument 'amount' {sentence}.", amount
    assert response_to("5", [order, order.upper()]) == (
        "The argument 'orders' must not hold the same item twice."
    )
    assert "TAKEN" not in server.log
    for amount in (5, "5", "100.00", "99.99"):
        assert response_to(amount, [order]) == f"Took {amount}."


def test_a_number_as_conversation_id_is_its_text(desk: Any) -> None:
    server = desk()
    url = urls_of(server, "42")["pay"]
    call = {"function": "pay", "call_id": "leg-1", "arguments": {"amount": 5}}
    response = server.request("POST", url, {**call, "conversation_id": 42})
    assert response.json == {"response": "Paid 5."}
    for value in (43, 42.0, None):
        response = server.request("POST", url, {**call, "conversation_id": value})
        assert "Nothing was done" in response.json["response"]
    for members in ({"conversation_id": True}, {"conversation_id": 42, "call_id": 42}):
        assert server.request("POST", url, {**call, **members}).status == 400
    assert server.log.count("PAID") == 1


def test_credentials_in_latin_1_open_the_urls_of_the_document(desk: Any) -> None:
    server = desk(SWML_BASIC_AUTH_USER="jörg", SWML_BASIC_AUTH_PASSWORD="pässwörd")

    def post(path: str, pair: str, charset: str, body: Any) -> Any:
        credentials = base64.b64encode(pair.encode(charset)).decode()
        headers = {"Authorization": f"Basic {credentials}"}
        return server.request("POST", path, body, headers, auth=None)

    for charset in ("utf-8", "latin-1"):
        document = post("/", "jörg:pässwörd", charset, {"call_id": "call-1"}).json
        url = urlsplit(document["sections"]["main"][1]["ai"]["post_prompt_url"])
        pair = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
        assert pair == "jörg:pässwörd"
        summary = {"call_id": "call-1", "summary": {"n": 1}}
        assert post(f"{url.path}?{url.query}", pair, charset, summary).json == {"n": 1}
    for pair, charset in (
        ("jörg:passwörd", "latin-1"),
        ("jörg:pässwörd", "utf-16"),
        ("jörg:pässwörd", "cp437"),
        ("jÃ¶rg:pÃ¤sswÃ¶rd", "utf-8"),
        ("jörg:pässwörd\x85", "latin-1"),
    ):
        assert post("/", pair, charset, {"call_id": "call-1"}).status == 401


KEY = "PSKtest1234567890abcdef"
HOST = "https://Agent.Example.com"


def test_signatures_of_equivalent_urls_and_in_other_encodings_are_valid(desk: Any) -> None:
    server = desk(SIGNALWIRE_SIGNING_KEY=KEY, SWML_PROXY_URL_BASE=f"{HOST}/")
    body = b'{"call_id": "call-1"}'
    for url in (
        HOST,
        f"{HOST}/",
        f"{HOST}:443",
        f"{HOST}:443/",
        HOST.lower(),
        f"{HOST.lower()}/",
    ):
        for encode in (bytes.hex, lambda digest: base64.b64encode(digest).decode()):
            for header, name in (
                ("X-SignalWire-Sha256-Signature", "sha256"),
                ("X-SignalWire-Signature", "sha1"),
                ("X-Twilio-Signature", "sha1"),
            ):
                signature = encode(hmac.digest(KEY.encode(), url.encode() + body, name))
                headers = {header: signature, "Content-Type": "application/json"}
                assert server.request("POST", "/", body, headers).status == 200
    signature = hmac.new(KEY.encode(), f"{HOST}?a=%2F".encode() + body, "sha256").hexdigest()
    headers = {"X-SignalWire-Sha256-Signature": signature, "Content-Type": "application/json"}
    assert server.request("POST", "/?a=%2F", body, headers).status == 200
    for path in ("/?a=/", "/", "//?a=%2F", "/swaig?a=%2F"):
        assert server.request("POST", path, body, headers).status == 403


def test_attack_the_strongest_signature_decides(desk: Any) -> None:
    server = desk(SIGNALWIRE_SIGNING_KEY=KEY, SWML_PROXY_URL_BASE=HOST)
    body = b'{"call_id": "call-1"}'
    message = f"{HOST.lower()}/".encode() + body
    good = {name: hmac.new(KEY.encode(), message, name).hexdigest() for name in ("sha256", "sha1")}

    def status(sha256: str | None, sha1: str | None, alias: str | None) -> int:
        names = ("X-SignalWire-Sha256-Signature", "X-SignalWire-Signature", "X-Twilio-Signature")
        headers = {"Content-Type": "application/json"}
        headers |= {
            k: v for k, v in zip(names, (sha256, sha1, alias), strict=True) if v is not None
        }
        return int(server.request("POST", "/", body, headers).status)

    assert status(good["sha256"], None, None) == 200
    assert status(good["sha256"], "0" * 40, "junk") == 200
    assert status(None, good["sha1"], "0" * 40) == 200
    assert status(None, "0" * 40, good["sha1"]) == 200
    for sha256 in ("", "0" * 64, "A" * 43 + "=", good["sha1"], f"{good['sha256']}, {'0' * 64}"):
        assert status(sha256, good["sha1"], good["sha1"]) == 403
    assert status(None, "0" * 40, "1" * 40) == 403
    assert status(None, good["sha256"], None) == 403
