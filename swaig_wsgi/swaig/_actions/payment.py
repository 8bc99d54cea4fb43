"""The action that takes a payment, and the parts of its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._values import given
from .checks import (
    Action,
    choice,
    decimal,
    line,
    members,
    objects,
    optional_line,
    optional_string,
    optional_url,
    string,
    swml,
    swml_flag,
    url,
    whole,
)


def pay(
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
        payment_connector_url: the URL that makes the payment.
        input_method: ``dtmf``, the keys of the phone.
        status_url: the URL that is told of its state.
        payment_method: ``credit-card``.
        timeout: seconds to wait for the next digit.
        max_attempts: how often the caller may try.
        security_code: whether to ask for the card's security code.
        postal_code: whether to ask for the postal code; or the code itself.
        min_postal_code_length: digits that it has at least.
        token_type: ``one-time`` or ``reusable``.
        charge_amount: a decimal string such as ``29.99``, without currency.
        currency: its code (ISO 4217).
        language: of the prompts.
        voice: of the prompts.
        description: what is paid for.
        valid_card_types: kinds of cards with spaces between.
        parameters: names and values for the connector, from :func:`create_payment_parameter`.
        prompts: other words than the platform's, from :func:`create_payment_prompt`.
        ai_response: what the AI is told afterwards.

    Numbers from 0 and `security_code` may be variables; the platform reads them as strings, and
    so they are sent.

    Raises:
        ValueError: an argument is of a wrong type, or none of its values.
    """
    return swml(
        {"set": {"ai_response": optional_string(ai_response, "ai_response")}},
        {
            "pay": {
                "payment_connector_url": url(payment_connector_url, "payment_connector_url"),
                "input": choice(input_method, "input_method", ("dtmf",)),
                "payment_method": choice(payment_method, "payment_method", ("credit-card",)),
                "timeout": str(whole(timeout, "timeout")),
                "max_attempts": str(whole(max_attempts, "max_attempts")),
                "security_code": _spelled(swml_flag(security_code, "security_code")),
                "postal_code": _postal_code(postal_code),
                "min_postal_code_length": str(
                    whole(min_postal_code_length, "min_postal_code_length")
                ),
                "token_type": choice(token_type, "token_type", ("one-time", "reusable")),
                "currency": line(currency, "currency"),
                "language": line(language, "language"),
                "voice": line(voice, "voice"),
                "valid_card_types": line(valid_card_types, "valid_card_types"),
                **given(
                    status_url=optional_url(status_url, "status_url"),
                    charge_amount=decimal(charge_amount, "charge_amount"),
                    description=optional_string(description, "description"),
                    parameters=[
                        _parameter(each) for each in objects(parameters or [], "parameters")
                    ],
                    prompts=[_prompt(each) for each in objects(prompts or [], "prompts")],
                ),
            }
        },
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
        card_type: kinds of cards with spaces between; by default all.
        error_type: kinds of errors with spaces between; by default all.

    Raises:
        ValueError: an argument is malformed.
    """
    return _prompt(
        {
            "for": for_situation,
            "actions": objects(actions, "actions"),
            **given(
                card_type=optional_line(card_type, "card_type"),
                error_type=optional_line(error_type, "error_type"),
            ),
        }
    )


def create_payment_action(action_type: str, phrase: str) -> dict[str, str]:
    """Return one thing that is said or played during a payment.

    Args:
        action_type: ``Say`` or ``Play``.
        phrase: the words to say, or the URL of the sound to play.

    Raises:
        ValueError: `action_type` is neither, or `phrase` does not fit it.
    """
    kind = choice(action_type, "action_type", ("Say", "Play"))
    return {"type": kind, "phrase": (url if kind == "Play" else string)(phrase, "phrase")}


def create_payment_parameter(name: str, value: str) -> dict[str, str]:
    """Return a name and a value for the payment connector.

    Raises:
        ValueError: `name` is blank, or `value` no string.
    """
    return {"name": line(name, "name"), "value": string(value, "value")}


def _postal_code(value: bool | str) -> str:
    return _spelled(value) if isinstance(value, bool) else line(value, "postal_code")


def _spelled(value: bool | str) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    members(parameter, "each of parameters", ("name", "value"))
    return {**parameter, **create_payment_parameter(parameter["name"], parameter["value"])}


def _prompt(prompt: dict[str, Any]) -> dict[str, Any]:
    members(prompt, "each of prompts", ("for", "actions"))
    line(prompt["for"], "for_situation")
    for action in objects(prompt["actions"], "actions"):
        members(action, "each of actions", ("type", "phrase"))
        create_payment_action(action["type"], action["phrase"])
    return prompt
