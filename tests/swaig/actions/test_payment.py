import pytest

from swaig_wsgi.swaig._actions import payment

URL = "https://pay.example/connect"
DEFAULTS = {
    "payment_connector_url": URL,
    "input": "dtmf",
    "payment_method": "credit-card",
    "timeout": "5",
    "max_attempts": "1",
    "security_code": "true",
    "postal_code": "true",
    "min_postal_code_length": "0",
    "token_type": "reusable",
    "currency": "usd",
    "language": "en-US",
    "voice": "woman",
    "valid_card_types": "visa mastercard amex",
}


def verbs(*args, **kwargs):
    action = payment.pay(*args, **kwargs)
    assert action.keys() == {"SWML"}
    return action["SWML"]["sections"]["main"]


def test_pay():
    message, paid = verbs(URL)
    assert "${pay_result}" in message["set"]["ai_response"]
    assert paid == {"pay": DEFAULTS}


def test_pay_with_everything():
    prompt = payment.create_payment_prompt(
        "payment-card-number",
        [
            payment.create_payment_action("Say", "Card, please."),
            payment.create_payment_action("Play", "https://a.example/a.wav"),
        ],
        "visa",
        "timeout",
    )
    parameter = payment.create_payment_parameter("order", "1")
    message, paid = verbs(
        URL,
        status_url="https://a.example/status",
        timeout="${t}",
        max_attempts="3",
        security_code="false",
        postal_code="94103",
        min_postal_code_length=5,
        token_type="one-time",
        charge_amount="29.99",
        currency="eur",
        language="de-DE",
        voice="man",
        description="Order 1",
        valid_card_types="visa",
        parameters=[parameter],
        prompts=[prompt],
        ai_response=None,
    )
    assert message == {"set": {"ai_response": None}}
    assert paid["pay"] == {
        **DEFAULTS,
        "status_url": "https://a.example/status",
        "timeout": "${t}",
        "max_attempts": "3",
        "security_code": "false",
        "postal_code": "94103",
        "min_postal_code_length": "5",
        "token_type": "one-time",
        "charge_amount": "29.99",
        "currency": "eur",
        "language": "de-DE",
        "voice": "man",
        "description": "Order 1",
        "valid_card_types": "visa",
        "parameters": [{"name": "order", "value": "1"}],
        "prompts": [
            {
                "for": "payment-card-number",
                "actions": [
                    {"type": "Say", "phrase": "Card, please."},
                    {"type": "Play", "phrase": "https://a.example/a.wav"},
                ],
                "card_type": "visa",
                "error_type": "timeout",
            }
        ],
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {"payment_connector_url": "http://"},
        {"payment_connector_url": "file:///etc/passwd"},
        {"input_method": "voice"},
        {"status_url": "a.example"},
        {"payment_method": "cash"},
        {"timeout": -1},
        {"max_attempts": "many"},
        {"security_code": 1},
        {"postal_code": ""},
        {"postal_code": 94103},
        {"min_postal_code_length": 1.5},
        {"token_type": "forever"},
        {"charge_amount": 29.99},
        {"charge_amount": "$5"},
        {"currency": ""},
        {"language": "\n"},
        {"voice": None},
        {"description": 5},
        {"valid_card_types": ""},
        {"parameters": {"name": "a", "value": "1"}},
        {"parameters": [{"name": "a"}]},
        {"prompts": [{"for": "a"}]},
        {"prompts": "a"},
        {"ai_response": 5},
    ],
)
def test_invalid_pay(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        payment.pay(**{"payment_connector_url": URL, **arguments})


@pytest.mark.parametrize(
    "action",
    [
        {"type": "say", "phrase": "a"},
        {"type": "Say"},
        {"type": "Say", "phrase": 5},
        {"type": "Play", "phrase": "a.wav"},
        {"type": "Play", "phrase": "ftp://a.example/a.wav"},
        "Say",
    ],
)
def test_prompts_and_parameters_are_validated_without_the_helpers(action):
    prompt = {"for": "payment-card-number", "actions": [action]}
    with pytest.raises(ValueError, match="action_type|phrase|actions"):
        payment.pay(URL, prompts=[prompt])
    with pytest.raises(ValueError, match="action_type|phrase|actions"):
        payment.create_payment_prompt(**{"for_situation": "a", "actions": [action]})


def test_invalid_arguments_of_the_helpers():
    with pytest.raises(ValueError, match="^for_situation must be"):
        payment.create_payment_prompt("", [])
    with pytest.raises(ValueError, match="^card_type must be"):
        payment.create_payment_prompt("a", [], "\n")
    with pytest.raises(ValueError, match="^name must be"):
        payment.create_payment_parameter("", "a")
    with pytest.raises(ValueError, match="^value must be"):
        payment.create_payment_parameter("a", 1)
    with pytest.raises(ValueError, match="^value must be"):
        payment.pay(URL, parameters=[{"name": "a", "value": 1}])


def test_helpers_omit_missing_arguments():
    assert payment.create_payment_prompt("a", []) == {"for": "a", "actions": []}
