"""The action that takes a payment, and the parts of its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._validation import (
    bool_or_variable,
    check_choice,
    check_decimal,
    check_line,
    check_members,
    check_text,
    check_url,
    drop_empty,
    int_or_variable,
    json_objects,
    optional,
)
from . import Action, swml, verb


def pay(  # nosec B107 # how long a card's token lasts
    payment_connector_url: str,
    input_method: str = "dtmf",
    status_url: str | None = None,
    payment_method: str = "credit-card",
    timeout: int = 5,
    max_attempts: int = 1,
    security_code: bool = True,
    postal_code: bool | str = True,
    min_postal_code_length: int = 0,
    token_type: str = "reusable",  # noqa: S107 - how long a card's token lasts, no secret
    charge_amount: str | None = None,
    currency: str = "usd",
    language: str = "en-US",
    voice: str = "woman",
    description: str | None = None,
    valid_card_types: str = "visa mastercard amex",
    parameters: Sequence[Mapping[str, str]] | None = None,
    prompts: Sequence[Mapping[str, Any]] | None = None,
    ai_response: str | None = (
        "The payment status is ${pay_result}, do not mention anything else about collecting "
        "payment if successful."
    ),
) -> Action:
    """Ask the caller for a card, and let a payment connector charge it.

    The card's digits go from the platform to the connector; neither the AI nor this program sees
    them.

    Args:
        payment_connector_url: the URL of the payment connector.
        input_method: ``dtmf``, the keys of the phone.
        status_url: the URL that gets status events.
        payment_method: ``credit-card``.
        timeout: seconds to wait for the next digit.
        max_attempts: how often the caller may try.
        security_code: whether to ask for the card's security code.
        postal_code: whether to ask for the postal code; or the code itself.
        min_postal_code_length: the fewest digits of a postal code.
        token_type: ``one-time`` or ``reusable``.
        charge_amount: a decimal string such as ``29.99``, without currency.
        currency: its code (ISO 4217).
        language: the language of the prompts.
        voice: the voice of the prompts.
        description: what is paid for.
        valid_card_types: kinds of cards, separated by spaces.
        parameters: names and values for the connector, from :func:`create_payment_parameter`.
        prompts: replacements of the platform's prompts, from :func:`create_payment_prompt`.
        ai_response: the message returned to the AI afterwards.

    Numbers from 0 and `security_code` may be variables. They are sent as strings, as the platform
    expects.
    """
    if ai_response is not None:
        check_text("ai_response", ai_response)
    if not isinstance(postal_code, bool):
        check_line("postal_code", postal_code)
    return swml(
        {"set": {"ai_response": ai_response}},
        verb(
            "pay",
            payment_connector_url=check_url("payment_connector_url", payment_connector_url),
            input=check_choice("input_method", input_method, ("dtmf",)),
            payment_method=check_choice("payment_method", payment_method, ("credit-card",)),
            timeout=_spelled(int_or_variable("timeout", timeout)),
            max_attempts=_spelled(int_or_variable("max_attempts", max_attempts)),
            security_code=_spelled(bool_or_variable("security_code", security_code)),
            postal_code=_spelled(postal_code),
            min_postal_code_length=_spelled(
                int_or_variable("min_postal_code_length", min_postal_code_length)
            ),
            token_type=check_choice("token_type", token_type, ("one-time", "reusable")),
            currency=check_line("currency", currency),
            language=check_line("language", language),
            voice=check_line("voice", voice),
            valid_card_types=check_line("valid_card_types", valid_card_types),
            status_url=optional(check_url, "status_url", status_url),
            charge_amount=optional(check_decimal, "charge_amount", charge_amount),
            description=optional(check_text, "description", description),
            parameters=[_parameter(each) for each in json_objects("parameters", parameters or [])],
            prompts=[_prompt(each) for each in json_objects("prompts", prompts or [])],
        ),
    )


def create_payment_prompt(
    for_situation: str,
    actions: Sequence[Mapping[str, str]],
    card_type: str | None = None,
    error_type: str | None = None,
) -> dict[str, Any]:
    """Return what is said in one situation of a payment.

    Args:
        for_situation: such as ``payment-card-number``.
        actions: what to say or play, from :func:`create_payment_action`.
        card_type: kinds of cards, separated by spaces; by default all.
        error_type: kinds of errors, separated by spaces; by default all.
    """
    return _prompt(
        {
            "for": for_situation,
            "actions": json_objects("actions", actions),
            **drop_empty(
                card_type=optional(check_line, "card_type", card_type),
                error_type=optional(check_line, "error_type", error_type),
            ),
        }
    )


def create_payment_action(action_type: str, phrase: str) -> dict[str, str]:
    """Return one thing that is said or played during a payment.

    Args:
        action_type: ``Say`` or ``Play``.
        phrase: the words to say, or the http or https URL of the sound to play.
    """
    kind = check_choice("action_type", action_type, ("Say", "Play"))
    check = check_url if kind == "Play" else check_text
    return {"type": kind, "phrase": check("phrase", phrase)}


def create_payment_parameter(name: str, value: str) -> dict[str, str]:
    """Return a name and a value for the payment connector."""
    return {"name": check_line("name", name), "value": check_text("value", value)}


def _spelled(value: bool | int | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    check_members("each of parameters", parameter, ("name", "value"))
    return {**parameter, **create_payment_parameter(parameter["name"], parameter["value"])}


def _prompt(prompt: dict[str, Any]) -> dict[str, Any]:
    check_members("each of prompts", prompt, ("for", "actions"))
    check_line("for_situation", prompt["for"])
    for action in json_objects("actions", prompt["actions"]):
        check_members("each of actions", action, ("type", "phrase"))
        create_payment_action(action["type"], action["phrase"])
    return prompt
